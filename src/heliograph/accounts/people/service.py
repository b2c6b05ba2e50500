"""People: the whole of it, as the rest of the house sees it.

What somebody does with their own account is here, and what an operator does with others'. The parts
hang on it: `joining`, `login`, `sessions`, `totp`, `passkeys`, `oidc`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from heliograph.accounts.people import store, store_factors, store_sessions, throttle
from heliograph.accounts.people.ground import Ground
from heliograph.accounts.people.joining import Joining, end_everything
from heliograph.accounts.people.letters import Letters
from heliograph.accounts.people.login import LogIn, needed
from heliograph.accounts.people.oidc import Oidc
from heliograph.accounts.people.passkeys import Passkeys
from heliograph.accounts.people.passwords import Passwords
from heliograph.accounts.people.providers import Fetch, Provider
from heliograph.accounts.people.sessions import Sessions
from heliograph.accounts.people.totp import Totp
from heliograph.accounts.people.values import (
    DAY_MS,
    IDLE_MS,
    Opened,
    Person,
    Registration,
    Seal,
    State,
    Visit,
    check_locale,
    check_name,
    fold,
)
from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act

_UNVERIFIED_MS = 7 * DAY_MS


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator decides about people.

    Attributes:
        registration: `closed`: only the operator asks people in; `invited`: members may too;
            `approval`: anybody may ask, the operator decides; `open`: anybody with an address.
        passwords: checks and hashes them.
        providers: of OpenID Connect.
    """

    registration: Registration = "closed"
    passwords: Passwords = field(default_factory=Passwords)
    providers: Sequence[Provider] = ()


class People:
    """Everybody who may log in.

    Args:
        ground: rows, time, audit log, outbox, our address.
        seal: encrypts the secrets of code generators.
        fetch: reads the addresses of OpenID providers.
        rules: what the operator decides.
    """

    def __init__(self, ground: Ground, seal: Seal, fetch: Fetch, rules: Rules) -> None:
        self._ground = ground
        self._passwords = rules.passwords
        self.sessions = Sessions(ground)
        self.totp = Totp(ground, self.sessions, seal)
        self.letters = Letters(ground)
        self.joining = Joining(ground, rules.passwords, self.sessions, rules.registration)
        self.login = LogIn(ground, rules.passwords, self.sessions, self.totp)
        self.passkeys = Passkeys(ground, self.sessions)
        self.oidc = Oidc(ground, self.sessions, fetch, rules.providers, rules.registration)

    @property
    def secure(self) -> bool:
        """Whether browsers come by TLS."""
        return self._ground.secure

    # --- who -----------------------------------------------------------------------------------

    def get(self, person: str) -> Person:
        """A person by id; `not_found` if there is none."""
        with self._ground.database.read() as connection:
            return _there(store.find(connection, person))

    def by_mail(self, mail: str) -> Person | None:
        """A person by address, however it is spelt."""
        with self._ground.database.read() as connection:
            return store.find_mail(connection, fold(mail))

    def listed(
        self, *, state: str = "", mail: str = "", after: str = "", limit: int = 100
    ) -> list[Person]:
        """A page of people in the order of their ids; see `store.listed`."""
        with self._ground.database.read() as connection:
            return store.listed(connection, state=state, mail=fold(mail), after=after, limit=limit)

    def factors(self, person: str) -> tuple[str, ...]:
        """What a person must bring besides the password."""
        with self._ground.database.read() as connection:
            return needed(connection, person)

    # --- one's own -----------------------------------------------------------------------------

    def amend(self, person: str, *, name: str | None = None, locale: str | None = None) -> Person:
        """Change how one is called and spoken to.

        Raises:
            HeliographError: `validation`; `not_found`.
        """
        said: dict[str, str] = {}
        if name is not None:
            said["name"] = check_name(name)
        if locale is not None:
            said["locale"] = check_locale(locale)

        def work(connection: Connection) -> Person:
            before = _there(store.find(connection, person, lock=True))
            if said:
                store.change(connection, person, self._ground.clock(), **said)
            if said.get("name", before.name) != before.name:
                self._ground.tell(connection, Act.USER_RENAMED, person)
            return _there(store.find(connection, person))

        return self._ground.database.write(work)

    def change_password(self, token: str, old: str, new: str, visit: Visit) -> Opened:
        """Set a new password; every session ends, and this browser gets a new one.

        Args:
            token: of a session.
            old: the present password; empty if there is none.
            new: the next one.
            visit: from where.

        Raises:
            HeliographError: those of `Sessions.fresh`; `unauthenticated` if the old one is wrong;
                `validation` for the new one; `rate_limited`.
        """
        signed = self.sessions.fresh(token)
        person = self.get(signed.person)
        self._passwords.check(new, (person.mail, person.name))
        counted = throttle.at_factor(person.id, None)

        def enter(connection: Connection) -> str | HeliographError:
            wait = throttle.enter(connection, counted, self._ground.clock())
            return throttle.refusal(wait) if wait else store.password_of(connection, person.id)

        kept = self._ground.write(enter)
        if kept and not self._passwords.matches(kept, old):
            raise HeliographError(Code.UNAUTHENTICATED, "The present password is another one.")
        made = self._passwords.hash(new)

        def work(connection: Connection) -> Opened:
            current = _there(store.find(connection, person.id, lock=True))
            throttle.forgive(connection, counted)
            store.drop_links(connection, person.id)
            end_everything(connection, self._ground, current, made)
            strength = signed.session.strength
            return self.sessions.open(connection, current, strength, visit, quiet=True)

        return self._ground.database.write(work)

    # --- the operator's --------------------------------------------------------------------------

    def suspend(self, person: str, actor: str) -> Person:
        """Let somebody in no longer; ends their sessions.

        Raises:
            HeliographError: `not_found`; `conflict` if they are erased, or are the actor.
        """

        def work(connection: Connection) -> Person:
            current = _living(store.find(connection, person, lock=True))
            if person == actor:
                raise HeliographError(Code.CONFLICT, "You cannot suspend yourself.")
            if current.state != "suspended":
                store.change(connection, person, self._ground.clock(), state="suspended")
                self._shut(connection, person)
                self._ground.tell(connection, Act.USER_SUSPENDED, person, actor=actor)
                self._ground.warn(connection, current, "the account was suspended")
            return _there(store.find(connection, person))

        return self._ground.database.write(work)

    def restore(self, person: str, actor: str) -> Person:
        """Let somebody in: again after a suspension, or for the first time.

        Raises:
            HeliographError: `not_found`; `conflict` if they are erased.
        """

        def work(connection: Connection) -> Person:
            current = _living(store.find(connection, person, lock=True))
            state: State = "active" if current.verified_ms else "pending"
            if (current.state, current.approved) != (state, True):
                now = self._ground.clock()
                store.change(connection, person, now, state=state, approved=True)
                act = Act.USER_RESTORED if current.state == "suspended" else Act.USER_CHANGED
                self._ground.tell(connection, act, person, actor=actor, state=state)
            return _there(store.find(connection, person))

        return self._ground.database.write(work)

    def set_operator(self, person: str, actor: str, *, operator: bool) -> Person:
        """Let somebody run this server, or no longer; they log in again.

        Raises:
            HeliographError: `not_found`; `conflict` if they are erased.
        """

        def work(connection: Connection) -> Person:
            current = _living(store.find(connection, person, lock=True))
            if current.operator != operator:
                store.change(connection, person, self._ground.clock(), operator=operator)
                self._shut(connection, person)
                self._ground.tell(
                    connection, Act.USER_CHANGED, person, actor=actor, operator=operator
                )
                what = "it now runs the server" if operator else "it no longer runs the server"
                self._ground.warn(connection, current, what)
            return _there(store.find(connection, person))

        return self._ground.database.write(work)

    def reset_link(self, person: str, actor: str, *, factors: bool = False) -> str:
        """A link by which somebody chooses a new password, to be handed over in person.

        Args:
            person: by id.
            actor: who makes it.
            factors: remove code generator, passkeys and links to providers too, for one who has
                lost everything.

        Raises:
            HeliographError: `not_found`; `conflict` if they are erased.
        """

        def work(connection: Connection) -> str:
            current = _living(store.find(connection, person, lock=True))
            removed = store_factors.drop_all(connection, person) if factors else 0
            facts: Mapping[str, bool | int] = {"reset_link": True, "factors_removed": removed}
            self._ground.tell(connection, Act.USER_CHANGED, person, actor=actor, **facts)
            if removed:
                self._ground.warn(connection, current, "the operator removed your factors")
            return self.letters.link_for(connection, current)

        return self._ground.database.write(work)

    def remove(self, person: str, actor: str) -> None:
        """Erase somebody; see `erase`.

        Raises:
            HeliographError: `not_found`; `conflict` if they are erased, or are the actor.
        """

        def work(connection: Connection) -> None:
            _living(store.find(connection, person, lock=True))
            if person == actor:
                raise HeliographError(Code.CONFLICT, "You cannot remove yourself.")
            self.erase(connection, person)
            self._ground.tell(connection, Act.USER_ERASED, person, actor=actor)

        self._ground.database.write(work)

    def erase(self, connection: Connection, person: str) -> None:
        """Blank everything that tells who somebody is, within a transaction.

        The id stays, for what must be kept: it says nothing of anybody. No event is written.
        """
        current = store.find(connection, person, lock=True)
        if current is None or current.state == "erased":
            return
        folded = fold(current.mail)
        counted = (
            throttle.Counted(throttle.ACCOUNT, folded),
            throttle.Counted(throttle.LETTERS, folded),
            throttle.Counted(throttle.FACTOR, person),
        )
        store_sessions.forget_attempts(connection, [one.key for one in counted])
        store.blank(connection, person, self._ground.clock())

    def sweep(self) -> None:
        """Remove what has ended: sessions, links, attempts, people who never proved an address."""

        def work(connection: Connection) -> None:
            now = self._ground.clock()
            store.forget_links(connection, now)
            store_sessions.forget(connection, now, now - IDLE_MS)
            store.forget_unverified(connection, now - _UNVERIFIED_MS)

        self._ground.database.write(work)

    def _shut(self, connection: Connection, person: str) -> None:
        store_sessions.close_all(connection, person)
        store_sessions.end_all(connection, person)
        store.drop_links(connection, person)


def _there(person: Person | None) -> Person:
    if person is None:
        raise HeliographError(Code.NOT_FOUND, "There is no such person.")
    return person


def _living(person: Person | None) -> Person:
    if _there(person).state == "erased":
        raise HeliographError(Code.CONFLICT, "This person was erased.")
    return _there(person)
