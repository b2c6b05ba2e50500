"""How long things are kept, and the sweep that ends it, with a report of what went.

A `Shelf` is one kind of thing with one term. Pictures are on no shelf unless the operator sets a
term *and* their owner has agreed to `storing_images`: by default nothing is stored.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection

from heliograph.accounts.privacy import store
from heliograph.accounts.privacy.consents import Consents
from heliograph.accounts.privacy.parts import Parts
from heliograph.accounts.privacy.values import DAY_MS, Purpose
from heliograph.core.errors import HeliographError
from heliograph.core.events import Act, Event

log = logging.getLogger("heliograph.privacy")


@dataclass(frozen=True, slots=True)
class Shelf:
    """One kind of thing that is kept for a term.

    Attributes:
        name: `[a-z_]+`.
        days: the term; 0 for "not kept at all".
        why: what it is kept for, in words for people.
        clear: deletes what is older than a time in milliseconds, but what is held; says how much.
    """

    name: str
    days: int
    why: str
    clear: Callable[[int], int]


class Line(NamedTuple):
    """A line of a report of deletions: shelf, its term, what was older than `before_ms`."""

    shelf: str
    days: int
    before_ms: int
    deleted: int
    failed: bool


class Report(NamedTuple):
    """What a sweep deleted."""

    at_ms: int
    lines: tuple[Line, ...]

    def printed(self) -> str:
        """As a text for people."""
        wide = max([len(one.shelf) for one in self.lines], default=5)
        rows = [
            f"{one.shelf:<{wide}}  {one.days:>5} days  "
            + ("failed; tried again" if one.failed else f"{one.deleted:>9,} deleted")
            for one in self.lines
        ]
        return "\n".join(rows)


class Retention:
    """Keeps to the terms.

    Args:
        parts: what privacy needs of the house.
        consents: asked before a picture is stored.
        shelves: what is kept, and for how long.
        picture_days: for how long pictures are kept whose owner agreed; 0 for never.
    """

    def __init__(
        self, parts: Parts, consents: Consents, shelves: Sequence[Shelf], picture_days: int = 0
    ) -> None:
        self._parts = parts
        self._consents = consents
        self.shelves = tuple(shelves)
        self._picture_days = picture_days

    def picture_until(self, *subjects: str) -> int | None:
        """Until when a picture of one of these may be kept, ms since 1970; None: not at all.

        Args:
            subjects: ids of the person and the workspace that it came from.
        """
        if not self._picture_days:
            return None
        agreed = any(self._consents.agreed(one, Purpose.STORING_IMAGES) for one in subjects if one)
        return self._parts.clock() + self._picture_days * DAY_MS if agreed else None

    def sweep(self) -> Report:
        """Delete what is past its term; the report is kept, and the audit log tells the sums."""
        now = self._parts.clock()
        report = Report(now, tuple(self._line(shelf, now) for shelf in self.shelves))
        if any(one.deleted or one.failed for one in report.lines):
            self._parts.database.write(lambda connection: self._keep(connection, report))
        return report

    def _line(self, shelf: Shelf, now: int) -> Line:
        before = now - shelf.days * DAY_MS
        try:
            return Line(shelf.name, shelf.days, before, shelf.clear(before), failed=False)
        except HeliographError as error:
            log.warning("what is past its term on %s is still there: %s", shelf.name, error)
            return Line(shelf.name, shelf.days, before, 0, failed=True)

    def _keep(self, connection: Connection, report: Report) -> None:
        lines = json.dumps([list(one) for one in report.lines])
        store.add_report(connection, report.at_ms, lines)
        facts = {
            "deleted": sum(one.deleted for one in report.lines),
            "failed": sum(one.failed for one in report.lines),
        }
        self._parts.record(connection, Event(Act.RETENTION_SWEPT, "system", facts=facts))

    def reports(self, limit: int = 30) -> list[Report]:
        """The newest reports, the newest first."""
        with self._parts.database.read() as connection:
            rows = store.reports(connection, limit)
        return [
            Report(row.at_ms, tuple(Line(*one) for one in json.loads(row.lines))) for row in rows
        ]
