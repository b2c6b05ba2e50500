"""Mails that somebody asked for: how often, and the links in them.

Whoever asks is answered before we look whether there is such an address: neither the answer nor its
time tells. An address gets three mails at once and fewer and fewer then, and nobody is told.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future

from sqlalchemy import Connection

from heliograph.accounts.people import store, throttle
from heliograph.accounts.people.ground import Ground
from heliograph.accounts.people.values import LINK_MS, Person, Purpose, Visit, digest, new_secret
from heliograph.core.errors import HeliographError

log = logging.getLogger("heliograph.accounts")


class Letters:
    """What goes out because somebody asked for it."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    def knock(self, visit: Visit) -> None:
        """Count somebody who asks for a mail, whoever it is to."""
        counted = (throttle.Counted(throttle.ASKING, throttle.network(visit.address)),)

        def work(connection: Connection) -> HeliographError | None:
            wait = throttle.enter(connection, counted, self._ground.clock())
            return throttle.refusal(wait) if wait else None

        self._ground.write(work)

    def may_write(self, connection: Connection, folded: str) -> bool:
        """Whether an address has not had too many mails; nobody is told if it has."""
        counted = (throttle.Counted(throttle.LETTERS, folded),)
        return not throttle.enter(connection, counted, self._ground.clock())

    def later(self, work: Callable[[Connection], None]) -> None:
        """Do it after the answer: how long it takes would tell who has an account."""
        self._ground.database.submit(work).add_done_callback(_complain)

    def send(
        self,
        connection: Connection,
        person: Person,
        page: str,
        purpose: Purpose,
        *,
        to: str = "",
    ) -> str:
        """Put a mail with a link to a page into the outbox; gives the link's token."""
        token = new_secret()
        until = self._ground.clock() + LINK_MS
        mail = to or person.mail
        store.add_link(connection, digest(token), person.id, purpose, mail, until)
        template, facts = page, dict[str, str]()
        if purpose == "invite":
            role = "operator" if person.operator else "user"
            template, facts = "invite", {"workspace": self._ground.base, "role": role}
        link = self._ground.link(page, token)
        self._ground.write_to(connection, person, template, to=to, link=link, **facts)
        return token

    def link_for(self, connection: Connection, person: Person) -> str:
        """A link to choose a password, to be handed over by an operator instead of a mail."""
        token = new_secret()
        until = self._ground.clock() + LINK_MS
        store.add_link(connection, digest(token), person.id, "reset", person.mail, until)
        return self._ground.link("reset", token)


def _complain(done: Future[None]) -> None:
    error = done.exception()
    if error is not None:
        log.error("a request for a mail was lost: %s", error, exc_info=error)
