"""What every part of the house of people stands on: rows, time, the audit log, the outbox."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from sqlalchemy import Connection

from heliograph.accounts.people.values import Person
from heliograph.core.clock import Clock
from heliograph.core.errors import HeliographError
from heliograph.core.events import Act, Event
from heliograph.core.notices import Mail
from heliograph.storage.database import Database, Notify, Record

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ground:
    """What is given to people by the composition root.

    Attributes:
        database: where they are kept.
        clock: milliseconds since 1970.
        record: writes to the audit log.
        notify: puts mails into the outbox.
        base: the address under which browsers reach this server, e.g. `https://images.example.org`.
    """

    database: Database
    clock: Clock
    record: Record
    notify: Notify
    base: str

    @property
    def secure(self) -> bool:
        """Whether browsers come by TLS."""
        return self.base.startswith("https://")

    def write(self, work: Callable[[Connection], T | HeliographError]) -> T:
        """Run `work` in a transaction, and raise the error that it gives back.

        An error that is raised inside undoes what was written; one that is given back does not: so
        that a refusal stands in the audit log and among the counted attempts.
        """
        answer = self.database.write(work)
        if isinstance(answer, HeliographError):
            raise answer
        return answer

    def tell(
        self,
        connection: Connection,
        act: Act,
        person: str,
        *,
        actor: str = "",
        **facts: str | int | bool,
    ) -> None:
        """Write to the audit log what happened to a person, by themselves unless `actor` says."""
        self.record(connection, Event(act, actor or person, subject=person, facts=facts))

    def write_to(
        self, connection: Connection, person: Person, template: str, *, to: str = "", **facts: str
    ) -> None:
        """Put a mail to a person into the outbox; `to` another address than theirs."""
        common = {"name": person.name, "locale": person.locale, "when": written(self.clock())}
        self.notify(connection, Mail(to or person.mail, template, {**common, **facts}))

    def warn(self, connection: Connection, person: Person, what: str) -> None:
        """Tell a person that something about their account has changed."""
        self.write_to(connection, person, "security_notice", what=what)

    def link(self, page: str, token: str) -> str:
        """The address of a page that takes a token; behind `#`, so that no log ever sees it."""
        return f"{self.base}/account/{page}#{token}"


def written(ms: int) -> str:
    """A time as it stands in a mail."""
    return f"{datetime.fromtimestamp(ms / 1000, tz=UTC):%Y-%m-%d %H:%M} UTC"
