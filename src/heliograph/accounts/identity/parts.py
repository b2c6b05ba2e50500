"""What identity needs of the house, declared here by the side that calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sqlalchemy import Connection

from heliograph.accounts.identity.evidence import Vault
from heliograph.accounts.identity.values import Policy, Terms
from heliograph.core.clock import Clock
from heliograph.core.events import Act, Event
from heliograph.core.notices import Hook, Mail
from heliograph.storage.database import Database, Notify, Record

Held = Callable[[Connection, str], bool]
"""Whether what is kept about a person (by id) may not be destroyed now: a legal hold."""


class People(Protocol):
    """What identity asks about a person."""

    def mail(self, connection: Connection, person: str) -> str:
        """Their e-mail address; empty if there is no such person or address."""
        ...

    def workspaces(self, connection: Connection, person: str) -> Sequence[str]:
        """The workspaces that they are a member of, whose programs may hear of a decision."""
        ...


def never_held(connection: Connection, person: str) -> bool:
    """For an installation that keeps no legal holds."""
    del connection, person
    return False


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that the use cases of identity share.

    Attributes:
        secret: at least 32 bytes, a key that serves nothing else: of the hashes of names, numbers
            and codes. Whoever loses it loses the finding of duplicates, nothing more.
        held: asked before evidence is destroyed.
    """

    database: Database
    clock: Clock
    record: Record
    notify: Notify
    vault: Vault
    people: People
    secret: bytes = field(repr=False)
    policy: Policy = field(default_factory=Policy)
    terms: Terms = field(default_factory=Terms)
    held: Held = never_held

    def say(
        self, connection: Connection, act: Act, actor: str, check: str, **facts: str | int | bool
    ) -> None:
        """Append one event about a check."""
        self.record(connection, Event(act, actor, subject=check, facts=facts))

    def tell(self, connection: Connection, person: str, template: str, **facts: str) -> None:
        """Write to a person, if they can be written to."""
        if to := self.people.mail(connection, person):
            self.notify(connection, Mail(to, template, facts))

    def hook(self, connection: Connection, person: str, level: str, state: str) -> None:
        """Tell the programs of the person's workspaces of a decision, not of its reasons."""
        body = {"person": person, "level": level, "state": state}
        for workspace in self.people.workspaces(connection, person):
            self.notify(connection, Hook(workspace, "identity.decided", body))
