"""The year's counts, for the public: how much was reported, what became of it, how fast.

Numbers and words of ours only: no subject, no workspace, no text of anybody.
"""

from __future__ import annotations

import csv
import io
import statistics
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime

from sqlalchemy import Connection, select

from heliograph.accounts.abuse.parts import Parts
from heliograph.accounts.abuse.store import APPEALS, CASES, DECISIONS, REPORTS
from heliograph.accounts.abuse.texts import cell
from heliograph.accounts.abuse.values import HOUR_MS, CaseState, Force
from heliograph.core.errors import Code, HeliographError

Line = tuple[str, str, str]
_HEAD: Line = ("measure", "of", "value")


class Transparency:
    """Counts of a calendar year in UTC.

    Args:
        parts: what the procedure needs of the house.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def year(self, year: int) -> list[Line]:
        """Lines of measure, of what, and value; shares and medians only where there are cases.

        Raises:
            HeliographError: `validation` for a year that no calendar has.
        """
        if not 1970 <= year <= 9998:
            raise HeliographError(Code.VALIDATION, "The year is 1970 to 9998.")
        begin, end = (
            int(datetime(one, 1, 1, tzinfo=UTC).timestamp() * 1000) for one in (year, year + 1)
        )
        with self._parts.database.read() as connection:
            return [
                *_reports(connection, begin, end),
                *_cases(connection, begin, end),
                *_decisions(connection, begin, end),
                *_appeals(connection, begin, end),
            ]

    def table(self, year: int) -> bytes:
        """The same as CSV in UTF-8."""
        file = io.StringIO(newline="")
        writer = csv.writer(file)
        writer.writerow(_HEAD)
        writer.writerows(tuple(map(cell, line)) for line in self.year(year))
        return file.getvalue().encode()


def _reports(connection: Connection, begin: int, end: int) -> list[Line]:
    query = select(REPORTS.c.ground, REPORTS.c.signal).where(
        REPORTS.c.created_ms >= begin, REPORTS.c.created_ms < end
    )
    rows = connection.execute(query).all()
    automatic = sum(bool(row.signal) for row in rows)
    head = [("notices", "all", str(len(rows))), ("notices", "automatic", str(automatic))]
    return head + _counted("notices", (row.ground for row in rows))


def _cases(connection: Connection, begin: int, end: int) -> list[Line]:
    query = select(CASES).where(
        CASES.c.decided_ms >= begin,
        CASES.c.decided_ms < end,
        CASES.c.state == CaseState.DECIDED,
    )
    rows = connection.execute(query).all()
    lines = [("cases decided", "all", str(len(rows)))]
    late = sum(row.decided_ms > row.due_ms for row in rows)
    lines.append(("cases decided", "after their deadline", str(late)))
    for severity in sorted({row.severity for row in rows}):
        hours = [
            (row.decided_ms - row.opened_ms) / HOUR_MS for row in rows if row.severity == severity
        ]
        lines.append(("median hours to decision", severity, f"{statistics.median(hours):.2f}"))
    return lines


def _decisions(connection: Connection, begin: int, end: int) -> list[Line]:
    query = select(DECISIONS).where(DECISIONS.c.begun_ms >= begin, DECISIONS.c.begun_ms < end)
    rows = connection.execute(query).all()
    lines = _counted("decisions", (row.action for row in rows))
    if rows:
        share = sum(row.automation for row in rows) / len(rows)
        lines.append(("share of decisions with automation", "all", f"{share:.4f}"))
    reversed_ = sum(row.force in {Force.REVERSED, Force.CHANGED} for row in rows)
    lines.append(("decisions", "reversed or changed since", str(reversed_)))
    return lines


def _appeals(connection: Connection, begin: int, end: int) -> list[Line]:
    query = select(APPEALS).where(APPEALS.c.created_ms >= begin, APPEALS.c.created_ms < end)
    rows = connection.execute(query).all()
    lines = [("appeals", "all", str(len(rows)))]
    lines += _counted("appeals", (row.outcome for row in rows if row.outcome))
    hours = [(row.decided_ms - row.created_ms) / HOUR_MS for row in rows if row.decided_ms]
    if hours:
        lines.append(
            ("median hours to an appeal's outcome", "all", f"{statistics.median(hours):.2f}")
        )
    return lines


def _counted(measure: str, words: Iterable[str]) -> list[Line]:
    return [(measure, word, str(count)) for word, count in sorted(Counter(words).items())]
