"""Logging in at somebody else's door: OpenID Connect, code flow with PKCE, state and nonce.

    begin ──► the provider's address, a cookie that ties the log-in to this browser
    finish ◄── code and state ──► tokens ──► `id_tokens.verify` ──► whose link? ──► a session

Covered: discovery and keys from the issuer's own address, over TLS; state good once and only in the
browser that began; `iss` in the answer (RFC 9207); accounts linked by issuer and subject, never by
an address that merely looks the same. Not covered: logging out at the provider.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, cast

import msgspec
from sqlalchemy import Connection

from heliograph.accounts.people import id_tokens, store, store_factors, store_sessions, throttle
from heliograph.accounts.people.ground import Ground
from heliograph.accounts.people.providers import Door, Fetch, Flow, Provider
from heliograph.accounts.people.sessions import Sessions
from heliograph.accounts.people.values import (
    MINUTE_MS,
    Opened,
    Person,
    Registration,
    Visit,
    check_mail,
    digest,
    fold,
    new_secret,
)
from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act
from heliograph.core.ids import new_id

log = logging.getLogger("heliograph.accounts")
_FLOW_MS = 10 * MINUTE_MS
_KIND = "oidc"


class Sent(NamedTuple):
    """A log-in that has begun.

    Attributes:
        url: where the browser goes.
        ticket: what it keeps in a cookie till it is back.
    """

    url: str
    ticket: str


class Oidc:
    """The providers, and logging in by one.

    Args:
        ground: rows, time, audit, mails.
        sessions: opens them.
        fetch: reads the provider's addresses.
        providers: as set up.
        registration: whether a provider may bring new people.
    """

    def __init__(
        self,
        ground: Ground,
        sessions: Sessions,
        fetch: Fetch,
        providers: Sequence[Provider],
        registration: Registration,
    ) -> None:
        self._ground = ground
        self._sessions = sessions
        self._open = registration in {"open", "approval"}
        self._approved = registration == "open"
        self._doors = {one.name: Door(one, fetch, ground) for one in providers}

    @property
    def names(self) -> tuple[str, ...]:
        """The providers' names."""
        return tuple(self._doors)

    def begin(self, provider: str, visit: Visit, token: str = "") -> Sent:
        """Where to send the browser.

        Args:
            provider: its name.
            visit: from where.
            token: of a session of somebody who wants to link their account there.

        Raises:
            HeliographError: `not_found`; `rate_limited`; `upstream_fetch_failed`; with a token
                those of `Sessions.fresh`.
        """
        person = self._sessions.fresh(token).person if token else ""
        door = self._door(provider)
        counted = (throttle.Counted(throttle.ASKING, throttle.network(visit.address)),)
        flow = Flow(provider, new_secret(), new_secret(), new_secret())
        ticket = new_secret()

        def work(connection: Connection) -> HeliographError | None:
            now = self._ground.clock()
            wait = throttle.enter(connection, counted, now)
            if wait:
                return throttle.refusal(wait)
            data = msgspec.json.encode(flow).decode()
            store_sessions.begin(connection, digest(ticket), _KIND, person, data, now + _FLOW_MS)
            return None

        self._ground.write(work)
        return Sent(door.address(flow), ticket)

    def finish(
        self, provider: str, ticket: str, state: str, code: str, visit: Visit, issuer: str = ""
    ) -> Opened:
        """Log in, or link, whom the provider sent back.

        Raises:
            HeliographError: `unauthenticated` if anything does not fit; `forbidden` if nobody here
                is linked to the account; `upstream_fetch_failed`.
        """
        door = self._door(provider)
        flow, linking = self._flow(provider, ticket, state)
        try:
            claims = door.claims(flow, code, issuer)
        except id_tokens.BadToken as error:
            log.info("an ID token was refused: %s", error)
            raise self._refuse("id_token") from error
        return self._ground.write(lambda c: self._enter(c, door.provider, claims, linking, visit))

    def unlink(self, token: str, provider: str) -> Opened:
        """Forget a person's account at a provider.

        Raises:
            HeliographError: those of `Sessions.fresh`; `not_found`.
        """
        signed = self._sessions.fresh(token)
        issuer = self._door(provider).provider.issuer

        def work(connection: Connection) -> Opened:
            if not store_factors.drop_link(connection, issuer, signed.person):
                raise HeliographError(Code.NOT_FOUND, "Your account is not linked there.")
            self._ground.tell(connection, Act.FACTOR_REMOVED, signed.person, kind="oidc")
            return self._sessions.rotate(connection, signed)

        return self._ground.database.write(work)

    def linked(self, person: str) -> list[str]:
        """Names of the providers that a person is linked to."""
        with self._ground.database.read() as connection:
            there = {row.issuer for row in store_factors.links(connection, person)}
        return [name for name, door in self._doors.items() if door.provider.issuer in there]

    def _door(self, provider: str) -> Door:
        if provider not in self._doors:
            raise HeliographError(Code.NOT_FOUND, "There is no such provider here.")
        return self._doors[provider]

    def _flow(self, provider: str, ticket: str, state: str) -> tuple[Flow, str]:
        hashed = digest(ticket)

        def work(connection: Connection) -> tuple[Flow, str] | HeliographError:
            row = store_sessions.ceremony(connection, hashed, _KIND, self._ground.clock())
            flow = msgspec.json.decode(row.data, type=Flow) if row else None
            if row is None or flow is None or (flow.provider, flow.state) != (provider, state):
                return HeliographError(
                    Code.UNAUTHENTICATED,
                    "This log-in was not begun in this browser, or took too long. Begin again.",
                )
            store_sessions.end(connection, hashed)
            return flow, row.person

        return self._ground.write(work)

    def _enter(
        self,
        connection: Connection,
        provider: Provider,
        claims: Mapping[str, Any],
        linking: str,
        visit: Visit,
    ) -> Opened | HeliographError:
        subject = cast("str", claims["sub"])
        whose = store_factors.link(connection, provider.issuer, subject)
        if linking and not whose:
            self._link(connection, provider, subject, linking)
            whose = linking
        elif linking and linking != whose:
            return HeliographError(Code.CONFLICT, "That account is linked to somebody else here.")
        if not whose:
            made = self._create(connection, provider, claims)
            if isinstance(made, HeliographError):
                return made
            whose = made
        person = store.find(connection, whose, lock=True)
        if person is None or person.state != "active":
            state = person.state if person else "erased"
            self._ground.tell(connection, Act.SESSION_REFUSED, whose, reason=state)
            code = Code.SUSPENDED if state == "suspended" else Code.FORBIDDEN
            return HeliographError(code, "This account may not log in now.")
        return self._sessions.open(connection, person, "oidc", visit)

    def _create(
        self, connection: Connection, provider: Provider, claims: Mapping[str, Any]
    ) -> str | HeliographError:
        """A new person for somebody whom the provider knows; the id."""
        mail = claims.get("email")
        proved = isinstance(mail, str) and claims.get("email_verified") is True
        taken = proved and store.find_mail(connection, fold(str(mail))) is not None
        if not (provider.create and self._open and proved) or taken:
            self._ground.tell(
                connection, Act.SESSION_REFUSED, "", actor="anyone", reason="not_linked"
            )
            return HeliographError(
                Code.FORBIDDEN,
                "Nobody here is linked to that account. Log in as you usually do and link it.",
            )
        now = self._ground.clock()
        state: Literal["active", "pending"] = "active" if self._approved else "pending"
        person = Person(
            *(new_id("usr"), check_mail(str(mail)), "", state, self._approved, False),
            *(now, now, now, "en"),
        )
        store.add(connection, person, fold(str(mail)), "")
        self._ground.tell(connection, Act.USER_REGISTERED, person.id, how="oidc")
        self._link(connection, provider, str(claims["sub"]), person.id)
        return person.id

    def _link(self, connection: Connection, provider: Provider, subject: str, person: str) -> None:
        now = self._ground.clock()
        store_factors.add_link(connection, provider.issuer, subject, person, now)
        self._ground.tell(connection, Act.FACTOR_ADDED, person, kind="oidc")

    def _refuse(self, reason: str) -> HeliographError:
        self._ground.database.write(
            lambda c: self._ground.tell(c, Act.SESSION_REFUSED, "", actor="anyone", reason=reason)
        )
        return HeliographError(Code.UNAUTHENTICATED, "The provider's answer proves nothing here.")
