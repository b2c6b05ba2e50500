"""From raw rows to a rated month, for every workspace at once.

One question to each source of usage for each stretch between two price books, for all workspaces;
those that changed their plan within the month are asked for apart, since their month is cut.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from heliograph.billing.invoices import store
from heliograph.billing.invoices.late import late_lines, late_usage
from heliograph.billing.invoices.rating import Used, cut, order, rate_month
from heliograph.billing.invoices.values import (
    DAY_MS,
    SAMPLED,
    Marks,
    Month,
    Rated,
    Segment,
    Span,
    UsageReader,
)
from heliograph.billing.prices.values import Shelf
from heliograph.core.errors import HeliographError


class Gathered(NamedTuple):
    """A month of everybody.

    Attributes:
        rated: by workspace; those with nothing at all are left out.
        failed: what could not be rated, and why.
    """

    rated: dict[str, Rated]
    failed: dict[str, HeliographError]


class Gatherer:
    """Reads and rates.

    Args:
        reader: where usage comes from.
        books: the price books.
    """

    def __init__(self, reader: UsageReader, books: Shelf) -> None:
        self._reader = reader
        self._books = books

    def gather(
        self,
        connection: Connection,
        month: Month,
        after: Marks,
        upto: Marks,
        only: Collection[str] | None = None,
    ) -> Gathered:
        """A month with what came too late for the months before it.

        Args:
            connection: any.
            month: which.
            after: marks of the month sealed before it.
            upto: its own marks.
            only: these workspaces; None for all.
        """
        found = self._month(connection, month, upto, only)
        late = self._late(connection, month, after, upto, only)
        for other in sorted(late):
            names = late[other] - set(found.failed)
            now = self._month(connection, other, upto, names)
            before = self._month(connection, other, after, names)
            found.failed.update(now.failed | before.failed)
            for name in sorted(names - set(found.failed)):
                nothing = Rated(name, (), ())
                pair = now.rated.get(name, nothing), before.rated.get(name, nothing)
                one = found.rated.get(name, nothing)
                found.rated[name] = Rated(
                    workspace=name,
                    lines=tuple(sorted((*one.lines, *late_lines(other, *pair)), key=order)),
                    usage=(*one.usage, *late_usage(other, *pair)),
                )
        return found

    def _late(
        self,
        connection: Connection,
        month: Month,
        after: Marks,
        upto: Marks,
        only: Collection[str] | None,
    ) -> dict[Month, set[str]]:
        found: dict[Month, set[str]] = defaultdict(set)
        for workspace, day in self._reader.late(connection, month.from_ms, after, upto):
            if only is None or workspace in only:
                found[Month.of(day * DAY_MS)].add(workspace)
        return found

    def _month(
        self, connection: Connection, month: Month, upto: Marks, only: Collection[str] | None
    ) -> Gathered:
        segments = self._segments(connection, month, only)
        used = self._used(connection, month, upto, only, segments)
        whole = [Segment(month.from_ms, month.to_ms, "")]
        rated: dict[str, Rated] = {}
        failed: dict[str, HeliographError] = {}
        for name in sorted(used.keys() | segments.keys()):
            try:
                one = rate_month(name, month, segments.get(name, whole), used[name], self._books)
            except HeliographError as error:
                failed[name] = error
                continue
            if one.lines or one.usage:
                rated[name] = one
        return Gathered(rated, failed)

    def _segments(
        self, connection: Connection, month: Month, only: Collection[str] | None
    ) -> dict[str, list[Segment]]:
        agreed = store.plans(connection, month.to_ms, only)
        return {name: _segments(month, entries) for name, entries in agreed.items()}

    def _used(
        self,
        connection: Connection,
        month: Month,
        upto: Marks,
        only: Collection[str] | None,
        segments: Mapping[str, Sequence[Segment]],
    ) -> dict[str, list[Used]]:
        changed = {name: parts for name, parts in segments.items() if len(parts) > 1}
        used: dict[str, list[Used]] = defaultdict(list)
        starts = [book.valid_from_ms for book in self._books.books]

        def read(span: Span, names: Collection[str] | None, segment: int) -> None:
            sampled = self._books.at(span.from_ms).version
            for row in self._reader.usage(connection, span, upto, names):
                if names is None and row.workspace in changed:
                    continue
                usage = row._replace(price_version=sampled) if row[3] == SAMPLED else row
                used[row.workspace].append(Used(segment, usage))

        plain = only if only is None else set(only) - changed.keys()
        if plain is None or plain:
            for span in cut(Span(month.from_ms, month.to_ms), starts):
                read(span, plain, 0)
        for name, parts in changed.items():
            for n, part in enumerate(parts):
                for span in cut(Span(part.from_ms, part.to_ms), starts):
                    read(span, [name], n)
        return used


def _segments(month: Month, entries: Iterable[tuple[int, str]]) -> list[Segment]:
    """The month by plans, from what was agreed to when."""
    starts: list[tuple[int, str]] = [(month.from_ms, "")]
    for from_ms, plan in entries:
        at = max(from_ms, month.from_ms)
        if starts[-1][0] == at:
            starts.pop()
        if not starts or starts[-1][1] != plan:
            starts.append((at, plan))
    ends = [at for at, _ in starts[1:]] + [month.to_ms]
    return [Segment(at, end, plan) for (at, plan), end in zip(starts, ends, strict=True)]
