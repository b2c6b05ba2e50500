"""How somebody becomes a person here, and how one who lost the password comes back in.

    register ──► a mail with a link ──► verify, with the password again ──► active or approved
    invite   ──► a mail with a link ──► reset: choose a password ─────────► active
    forgot   ──► a mail with a link ──► reset: choose a password

A link is good once, for ten minutes, and only while the address is the person's. The
password is asked for again when the address is proved: else somebody could register another's
address, wait for the owner to follow the link, and hold an account in their name.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

from sqlalchemy import Connection

from heliograph.accounts.people import store, store_sessions, throttle
from heliograph.accounts.people.ground import Ground
from heliograph.accounts.people.letters import Letters
from heliograph.accounts.people.passwords import Passwords
from heliograph.accounts.people.sessions import Sessions
from heliograph.accounts.people.values import (
    Person,
    Purpose,
    Registration,
    State,
    Visit,
    check_locale,
    check_mail,
    check_name,
    digest,
    fold,
)
from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act
from heliograph.core.ids import new_id

log = logging.getLogger("heliograph.accounts")


class Invited(NamedTuple):
    """Somebody who was asked in.

    Attributes:
        person: pending until they have chosen a password.
        link: what the mail to them says; whoever has it is them.
    """

    person: Person
    link: str


class Applicant(NamedTuple):
    """What somebody says of themselves.

    Attributes:
        mail: address.
        name: to be shown.
        locale: of mails and pages.
    """

    mail: str
    name: str = ""
    locale: str = "en"

    def check(self) -> None:
        """Refuse what cannot be; raises `validation`."""
        check_mail(self.mail)
        check_name(self.name)
        check_locale(self.locale)


class Joining:
    """Registering, inviting, proving an address, coming back."""

    def __init__(
        self,
        ground: Ground,
        passwords: Passwords,
        sessions: Sessions,
        registration: Registration,
    ) -> None:
        self._ground = ground
        self._passwords = passwords
        self._sessions = sessions
        self._letters = Letters(ground)
        self._registration = registration

    def register(self, who: Applicant, password: str, visit: Visit) -> None:
        """Ask to become a person; the rest goes by mail.

        Raises:
            HeliographError: `forbidden` where registration is closed; `validation`;
                `rate_limited`.
        """
        if self._registration not in {"open", "approval"}:
            raise HeliographError(
                Code.FORBIDDEN, "Nobody can register here. Ask those who run this server."
            )
        who.check()
        self._passwords.check(password, (who.mail, who.name))
        self._letters.knock(visit)
        kept = self._passwords.hash(password)
        self._letters.later(lambda connection: self._registered(connection, who, kept))

    def forgot(self, mail: str, visit: Visit) -> None:
        """Ask for a link to choose a new password.

        Raises:
            HeliographError: `rate_limited`.
        """
        self._letters.knock(visit)
        folded = fold(mail)

        def work(connection: Connection) -> None:
            person = store.find_mail(connection, folded)
            if (
                person
                and person.state in {"pending", "active"}
                and self._letters.may_write(connection, folded)
            ):
                self._letters.send(connection, person, "reset", "reset")

        self._letters.later(work)

    def verify(self, link: str, password: str = "") -> Person:
        """Prove an address.

        Args:
            link: what stands behind `#` in the mail's link.
            password: the one that was registered; for a changed address it is not needed.

        Raises:
            HeliographError: `bad_request` if the link is worth nothing or the password is wrong;
                then the link is still good.
        """
        hashed = digest(link)
        with self._ground.database.read() as connection:
            now = self._ground.clock()
            found = store.look_at_link(connection, hashed, ("verify", "change"), now)
            kept = store.password_of(connection, found.person) if found else ""
        if found is None:
            raise _bad_link()
        if found.purpose == "change":
            return self._ground.write(lambda c: self._changed(c, hashed, found.person))
        if not self._passwords.matches(kept, password):
            raise HeliographError(
                Code.BAD_REQUEST, "This is not the password that this address was registered with."
            )
        return self._ground.write(lambda c: self._verified(c, hashed, found.person, kept))

    def reset(self, link: str, password: str, visit: Visit) -> str:
        """Choose a password by a link; ends every session of the person.

        Returns:
            What marks this browser as known, so that nobody's guesses can shut it out; empty if it
            was known.

        Raises:
            HeliographError: `bad_request` if the link is worth nothing; `validation`, after which
                the link is still good.
        """
        hashed = digest(link)
        with self._ground.database.read() as connection:
            now = self._ground.clock()
            found = store.look_at_link(connection, hashed, ("reset", "invite"), now)
            person = store.find(connection, found.person) if found else None
        if found is None or person is None:
            raise _bad_link()
        self._passwords.check(password, (person.mail, person.name))
        kept = self._passwords.hash(password)
        return self._ground.write(lambda c: self._reset(c, hashed, person.id, kept, visit))

    def invite(
        self, who: Applicant, actor: str, *, operator: bool = False, by_operator: bool = True
    ) -> Invited:
        """Ask somebody in.

        Args:
            who: they are.
            actor: who asks, for the audit log.
            operator: they shall run this server too.
            by_operator: an operator asks; a member may only where registration is not closed.

        Raises:
            HeliographError: `name_taken` if the address is somebody's; `forbidden`; `validation`.
        """
        if not by_operator and self._registration == "closed":
            raise HeliographError(
                Code.FORBIDDEN, "Only those who run this server can invite somebody new."
            )
        who.check()

        def work(connection: Connection) -> Invited:
            if store.find_mail(connection, fold(who.mail)):
                raise HeliographError(Code.NAME_TAKEN, "Somebody has this address already.")
            person = self._add(connection, who, "", approved=True, operator=operator)
            token = self._letters.send(connection, person, "reset", "invite")
            self._ground.tell(
                connection, Act.USER_INVITED, person.id, actor=actor, operator=operator
            )
            return Invited(person, self._ground.link("reset", token))

        return self._ground.database.write(work)

    def change_mail(self, token: str, mail: str) -> None:
        """Ask for another address; it is changed when a link that is sent there is followed.

        Raises:
            HeliographError: those of `Sessions.fresh`; `validation`.
        """
        signed = self._sessions.fresh(token)
        check_mail(mail)

        def work(connection: Connection) -> None:
            person = store.find(connection, signed.person)
            if person is None or not self._letters.may_write(connection, fold(mail)):
                return
            owner = store.find_mail(connection, fold(mail))
            if owner and owner.id != person.id:
                self._ground.warn(connection, owner, "somebody tried to take your address")
                return
            self._letters.send(connection, person, "verify", "change", to=mail)

        self._letters.later(work)

    # --- within a transaction ----------------------------------------------------------------

    def _registered(self, connection: Connection, who: Applicant, kept: str) -> None:
        folded = fold(who.mail)
        if not self._letters.may_write(connection, folded):
            return
        person = store.find_mail(connection, folded)
        if person is None:
            approved = self._registration == "open"
            person = self._add(connection, who, kept, approved=approved)
            self._ground.tell(connection, Act.USER_REGISTERED, person.id, how="password")
        elif person.verified_ms or person.state != "pending":
            self._ground.warn(connection, person, "somebody tried to register with your address")
            return
        elif not store.password_of(connection, person.id):
            # Invited: the link lets them choose a password themselves.
            self._letters.send(connection, person, "reset", "invite")
            return
        else:
            store.drop_links(connection, person.id)
            now = self._ground.clock()
            store.change(connection, person.id, now, password=kept, name=who.name)
        self._letters.send(connection, person, "verify", "verify")

    def _add(
        self,
        connection: Connection,
        who: Applicant,
        kept: str,
        *,
        approved: bool,
        operator: bool = False,
    ) -> Person:
        now = self._ground.clock()
        person = Person(
            *(new_id("usr"), who.mail, who.name, "pending", approved, operator),
            *(0, now, now, who.locale),
        )
        store.add(connection, person, fold(who.mail), kept)
        return person

    def _verified(
        self, connection: Connection, hashed: bytes, person: str, kept: str
    ) -> Person | HeliographError:
        current = self._take(connection, hashed, person)
        if current is None or store.password_of(connection, person) != kept:
            return _bad_link()
        self._prove(connection, current)
        return store.find(connection, person) or current

    def _changed(
        self, connection: Connection, hashed: bytes, person: str
    ) -> Person | HeliographError:
        now = self._ground.clock()
        found = store.look_at_link(connection, hashed, ("change",), now)
        current = store.find(connection, person, lock=True)
        taken = found and store.find_mail(connection, fold(found.mail))
        if found is None or current is None or (taken and taken.id != person):
            return _bad_link()
        # Links to the old address are worth nothing from now on; this one is among them.
        store.drop_links(connection, person)
        store_sessions.end_all(connection, person)
        store.change(
            connection, person, now, mail=found.mail, mail_folded=fold(found.mail), verified_ms=now
        )
        self._ground.tell(connection, Act.MAIL_CHANGED, person)
        self._ground.write_to(connection, current, "changed_mail", mail=found.mail)
        return store.find(connection, person) or current

    def _reset(
        self, connection: Connection, hashed: bytes, person: str, kept: str, visit: Visit
    ) -> str | HeliographError:
        current = self._take(connection, hashed, person)
        if current is None or current.state not in {"pending", "active"}:
            return _bad_link()
        store.drop_links(connection, person)
        if not current.verified_ms:
            self._prove(connection, current)
        end_everything(connection, self._ground, current, kept)
        # The way back in must not be shut by whoever guesses: their guesses are forgotten.
        folded = fold(current.mail)
        counted = throttle.at_password(folded, visit.address, None)
        mine = [one.key for one in counted if one.rule != throttle.ADDRESS]
        store_sessions.forget_attempts(connection, mine)
        return self._sessions.know(connection, person, visit)[0]

    def _take(self, connection: Connection, hashed: bytes, person: str) -> Person | None:
        """The person, if the link holds, is theirs and goes to the address they have."""
        now = self._ground.clock()
        purposes: tuple[Purpose, ...] = ("verify", "reset", "invite")
        found = store.look_at_link(connection, hashed, purposes, now)
        current = store.find(connection, person, lock=True)
        if found is None or current is None or found.mail != current.mail:
            return None
        return current if store.use_link(connection, hashed) else None

    def _prove(self, connection: Connection, person: Person) -> None:
        now = self._ground.clock()
        state: State = "active" if person.approved else "pending"
        store.change(connection, person.id, now, verified_ms=now, state=state)
        self._ground.tell(connection, Act.USER_VERIFIED, person.id, state=state)


def end_everything(connection: Connection, ground: Ground, person: Person, kept: str) -> None:
    """Set a password, end every session and every log-in half done, and say so."""
    store.change(connection, person.id, ground.clock(), password=kept)
    closed = store_sessions.close_all(connection, person.id)
    store_sessions.end_all(connection, person.id)
    ground.tell(connection, Act.PASSWORD_CHANGED, person.id, sessions=closed)
    ground.warn(connection, person, "the password was changed")


def _bad_link() -> HeliographError:
    return HeliographError(
        Code.BAD_REQUEST, "This link was used, has run out or is not one of ours. Ask for another."
    )
