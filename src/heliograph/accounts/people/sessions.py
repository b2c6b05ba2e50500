"""Sessions: opened after a log-in, looked up by the gate, closed by their person.

A token is 256 random bits and is kept as its SHA-256. A session ends after 12 hours without a call
and after 7 days in any case; changing what a log-in rests on gives it a new token.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future
from typing import Any

from sqlalchemy import Connection

from heliograph.accounts.people import store_sessions
from heliograph.accounts.people.ground import Ground
from heliograph.accounts.people.values import (
    ABSOLUTE_MS,
    FRESH_MS,
    IDLE_MS,
    MINUTE_MS,
    Opened,
    Person,
    Session,
    Signed,
    Strength,
    Visit,
    digest,
    new_secret,
)
from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act
from heliograph.core.ids import new_id

log = logging.getLogger("heliograph.accounts")
_MOST_DEVICES = 20
_MOST_SESSIONS = 50


class Sessions:
    """Every session there is."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    def lookup(self, token: str) -> Signed | None:
        """What a token stands for; None if it stands for nothing, or no longer.

        One read by an index. A use is noted once a minute, without waiting for it.
        """
        now = self._ground.clock()
        with self._ground.database.read() as connection:
            found = store_sessions.find(connection, digest(token), now, now - IDLE_MS)
        if found is not None and now - found.session.seen_ms >= MINUTE_MS:
            session = found.session.id
            noted = self._ground.database.submit(lambda c: store_sessions.seen(c, session, now))
            noted.add_done_callback(_complain)
        return found

    def signed(self, token: str) -> Signed:
        """As `lookup`.

        Raises:
            HeliographError: `unauthenticated`.
        """
        found = self.lookup(token)
        if found is None:
            raise HeliographError(Code.UNAUTHENTICATED, "Log in: this needs a session.")
        return found

    def fresh(self, token: str) -> Signed:
        """As `signed`, for what only somebody may do who has just proved who they are.

        Raises:
            HeliographError: `unauthenticated`; `forbidden` ten minutes after the log-in.
        """
        found = self.signed(token)
        if self._ground.clock() - found.session.signed_ms > FRESH_MS:
            raise HeliographError(
                Code.FORBIDDEN,
                "Log in again and repeat this: it changes how you log in, and takes a log-in of "
                "the last ten minutes.",
            )
        return found

    def mine(self, person: str) -> list[Session]:
        """A person's sessions, oldest first."""
        now = self._ground.clock()
        with self._ground.database.read() as connection:
            return store_sessions.listed(connection, person, now, now - IDLE_MS)

    def close(self, person: str, session: str, *, actor: str = "") -> None:
        """End one session.

        Raises:
            HeliographError: `not_found` if the person has none with this id.
        """

        def work(connection: Connection) -> None:
            if not store_sessions.close(connection, session, person):
                raise HeliographError(Code.NOT_FOUND, "You have no session with this id.")
            self._ground.tell(connection, Act.SESSION_CLOSED, person, actor=actor, session=session)

        self._ground.database.write(work)

    def close_others(self, signed: Signed) -> int:
        """End every session of a person but this one; says how many."""

        def work(connection: Connection) -> int:
            session = signed.session.id
            closed = store_sessions.close_all(connection, signed.person, but=session)
            if closed:
                self._ground.tell(connection, Act.SESSION_CLOSED, signed.person, count=closed)
            return closed

        return self._ground.database.write(work)

    def open(
        self,
        connection: Connection,
        person: Person,
        strength: Strength,
        visit: Visit,
        *,
        quiet: bool = False,
    ) -> Opened:
        """Open a session within a transaction.

        Args:
            connection: of the transaction.
            person: who proved themselves.
            strength: by what.
            visit: from where; an unknown browser becomes known, and a mail says so.
            quiet: the person sits at this browser anyway; no mail, and no event of its own.
        """
        now = self._ground.clock()
        token = new_secret()
        session = Session(
            *(new_id("ses"), person.id, now, now, now, now + ABSOLUTE_MS),
            *(visit.address, visit.agent, strength),
        )
        kept = store_sessions.listed(connection, person.id, now, now - IDLE_MS)
        for old in kept[: -_MOST_SESSIONS + 1]:
            store_sessions.close(connection, old.id, person.id)
        store_sessions.add(connection, session, digest(token))
        device, others = self.know(connection, person.id, visit)
        if not quiet:
            facts: dict[str, Any] = {
                "session": session.id,
                "strength": strength,
                "new_device": bool(device),
            }
            self._ground.tell(connection, Act.SESSION_OPENED, person.id, **facts)
            if device and others:
                self._ground.write_to(
                    connection,
                    person,
                    "new_sign_in",
                    address=visit.address or "unknown",
                    device=visit.agent or "unknown",
                )
        return Opened(session, token, device)

    def know(self, connection: Connection, person: str, visit: Visit) -> tuple[str, bool]:
        """Make a browser known to belong to a person.

        Returns:
            The token it shall keep, empty if it is known already; and whether others are known.
        """
        now = self._ground.clock()
        known = self.device(connection, person, visit)
        if known is not None:
            store_sessions.touch_device(connection, known, now)
            return "", True
        device = new_secret()
        others = store_sessions.add_device(connection, person, digest(device), now, _MOST_DEVICES)
        return device, others

    def device(self, connection: Connection, person: str, visit: Visit) -> bytes | None:
        """The hash of a browser's token if it is this person's; else None."""
        # Asked for nobody too: how long it takes must not tell who has an account.
        hashed = digest(visit.device)
        known = store_sessions.knows_device(connection, person, hashed, self._ground.clock())
        return hashed if known else None

    def rotate(self, connection: Connection, signed: Signed) -> Opened:
        """Give a session a new token: what it may do has changed.

        Raises:
            HeliographError: `unauthenticated` if it has just been closed.
        """
        token = new_secret()
        if not store_sessions.rotate(connection, signed.session.id, digest(token)):
            raise HeliographError(Code.UNAUTHENTICATED, "This session has ended. Log in again.")
        return Opened(signed.session, token)


def _complain(done: Future[None]) -> None:
    if done.exception() is not None:
        log.warning("the use of a session could not be noted: %s", done.exception())
