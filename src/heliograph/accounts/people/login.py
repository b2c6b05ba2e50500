"""Logging in with a password, and with the code that completes it.

password ──► wrong, or nobody's: the same answer after the same work
         ──► right, no factor:   a session
         ──► right, a factor:    a ticket for five minutes ──► code ──► a session
"""

from __future__ import annotations

from sqlalchemy import Connection

from heliograph.accounts.people import store, store_factors, store_sessions, throttle
from heliograph.accounts.people.ground import Ground
from heliograph.accounts.people.passwords import Passwords
from heliograph.accounts.people.sessions import Sessions
from heliograph.accounts.people.totp import Key, Totp
from heliograph.accounts.people.values import (
    MINUTE_MS,
    Half,
    Opened,
    Person,
    Visit,
    digest,
    fold,
    new_secret,
)
from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act

_TICKET_MS = 5 * MINUTE_MS
_HALF = "half"
_WARN_AT = 10


class LogIn:
    """The use cases of logging in with something one knows."""

    def __init__(
        self, ground: Ground, passwords: Passwords, sessions: Sessions, totp: Totp
    ) -> None:
        self._ground = ground
        self._passwords = passwords
        self._sessions = sessions
        self._totp = totp

    def password(self, mail: str, password: str, visit: Visit) -> Opened | Half:
        """Log in with a password.

        Returns:
            A session, or what is still needed.

        Raises:
            HeliographError: `unauthenticated` for a wrong password, and for an address that is
                nobody's; `rate_limited`; `suspended` or `forbidden` after the right one.
        """
        folded = fold(mail)
        person, kept, counted = self._enter(folded, visit)
        right = self._passwords.matches(kept, password)
        renewed = ""
        if right and self._passwords.stale(kept):
            renewed = self._passwords.hash(password)

        def work(connection: Connection) -> Opened | Half | HeliographError:
            # Read again: it may have been changed while this was being compared.
            current = store.find(connection, person.id, lock=True) if person else None
            same = store.password_of(connection, person.id if person else "") == kept
            if not (right and same and current):
                return self._refuse(connection, person.id if person else "", "password")
            throttle.forgive(connection, counted)
            if current.state != "active":
                return _not_active(connection, self._ground, current)
            if renewed:
                store.change(connection, current.id, self._ground.clock(), password=renewed)
            return self._proceed(connection, current, visit)

        return self._ground.write(work)

    def code(self, ticket: str, code: str, visit: Visit) -> Opened:
        """Complete a log-in with a code of six digits, or with a recovery code.

        Raises:
            HeliographError: `unauthenticated` for a wrong or spent code or ticket; `rate_limited`.
        """
        hashed = digest(ticket)
        key = self._key(hashed)

        def work(connection: Connection) -> Opened | HeliographError:
            now = self._ground.clock()
            begun = store_sessions.ceremony(connection, hashed, _HALF, now)
            person = store.find(connection, begun.person, lock=True) if begun else None
            if person is None or person.state != "active":
                return HeliographError(
                    Code.UNAUTHENTICATED, "This log-in took too long. Begin again."
                )
            device = self._sessions.device(connection, person.id, visit)
            counted = throttle.at_factor(person.id, device)
            wait = throttle.enter(connection, counted, now)
            if wait:
                return throttle.refusal(wait)
            if not self._totp.accept(connection, person, key, code):
                return self._wrong_code(connection, person, counted)
            throttle.forgive(connection, counted)
            store_sessions.end(connection, hashed)
            return self._sessions.open(connection, person, "totp", visit)

        return self._ground.write(work)

    def _key(self, hashed: bytes) -> Key:
        """The secret of whoever has begun a log-in."""
        with self._ground.database.read() as connection:
            now = self._ground.clock()
            begun = store_sessions.ceremony(connection, hashed, _HALF, now, lock=False)
        return self._totp.key(begun.person if begun else "")

    def _enter(
        self, folded: str, visit: Visit
    ) -> tuple[Person | None, str, tuple[throttle.Counted, ...]]:
        """Count an attempt before it is looked at; gives who it may be and the hash to compare."""

        def work(
            connection: Connection,
        ) -> tuple[Person | None, str, tuple[throttle.Counted, ...]] | HeliographError:
            person = store.find_mail(connection, folded)
            who = person.id if person else ""
            device = self._sessions.device(connection, who, visit)
            counted = throttle.at_password(folded, visit.address, device)
            wait = throttle.enter(connection, counted, self._ground.clock())
            if wait:
                return throttle.refusal(wait)
            return person, store.password_of(connection, who), counted

        return self._ground.write(work)

    def _proceed(self, connection: Connection, person: Person, visit: Visit) -> Opened | Half:
        """A right password: is it enough?"""
        needs = needed(connection, person.id)
        if not needs:
            return self._sessions.open(connection, person, "password", visit)
        ticket = new_secret()
        until = self._ground.clock() + _TICKET_MS
        store_sessions.begin(connection, digest(ticket), _HALF, person.id, "", until)
        return Half(ticket, needs)

    def _wrong_code(
        self, connection: Connection, person: Person, counted: tuple[throttle.Counted, ...]
    ) -> HeliographError:
        keys = [one.key for one in counted]
        if any(row.made == _WARN_AT for row in store_sessions.attempts(connection, keys).values()):
            # Whoever comes so far knows the password.
            what = "wrong codes are tried with your password"
            self._ground.warn(connection, person, what)
        return self._refuse(connection, person.id, "code")

    def _refuse(self, connection: Connection, person: str, reason: str) -> HeliographError:
        self._ground.tell(
            connection, Act.SESSION_REFUSED, person, actor=person or "anyone", reason=reason
        )
        what = "address or password" if reason == "password" else "code"
        return HeliographError(Code.UNAUTHENTICATED, f"Wrong {what}.")


def needed(connection: Connection, person: str) -> tuple[str, ...]:
    """What a person must bring besides the password; empty if nothing."""
    needs: list[str] = []
    row = store_factors.totp(connection, person)
    if row is not None and row.confirmed_ms:
        needs.append("totp")
    if store_factors.passkeys(connection, person):
        needs.append("passkey")
    if needs and store_factors.recovery_left(connection, person):
        needs.append("recovery")
    return tuple(needs)


def _not_active(connection: Connection, ground: Ground, person: Person) -> HeliographError:
    ground.tell(connection, Act.SESSION_REFUSED, person.id, reason=person.state)
    if person.state == "suspended":
        return HeliographError(Code.SUSPENDED, "This account is suspended. A mail told you why.")
    if not person.verified_ms:
        return HeliographError(
            Code.FORBIDDEN, "Your address is not proved yet: follow the link in the mail to you."
        )
    return HeliographError(Code.FORBIDDEN, "The operator has not let you in yet.")
