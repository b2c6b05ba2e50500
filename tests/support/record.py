"""An audit log for tests of features: it keeps what it is told, and nothing else."""

from __future__ import annotations

from sqlalchemy import Connection

from heliograph.core.events import Event


class Recorded:
    """A `Record` that remembers."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, connection: Connection, event: Event) -> None:
        del connection
        self.events.append(event)

    @property
    def acts(self) -> list[str]:
        return [str(one.act) for one in self.events]
