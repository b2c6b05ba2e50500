"""Usage as invoices read it: raw rows of the ledger and of the meters, up to marks.

Implements `invoices.values.UsageReader`. Rows that belong to no workspace are on nobody's invoice.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Table, func, select, text

from heliograph.billing.invoices.values import DAY_MS, SAMPLED, Marks, MonthUsage, Span
from heliograph.billing.ledger.store import LEDGER
from heliograph.billing.meters.store import HOSTED, STORED
from heliograph.billing.usage.store import highest


class _Source(NamedTuple):
    """A table of usage.

    Attributes:
        at: when a row counts, in ms; `day` since 1970.
        keys: columns that make a row of `MonthUsage`; `sums` those that are added up, by its names.
    """

    table: Table
    at: ColumnElement[int]
    day: ColumnElement[int]
    keys: tuple[str, ...]
    sums: dict[str, str]


_HOSTED_AT = HOSTED.c.from_ms
_SOURCES = (
    _Source(
        LEDGER,
        LEDGER.c.at_ms,
        LEDGER.c.at_ms // DAY_MS,
        ("workspace", "model", "device", "price_version"),
        {one: one for one in ("images", "rows", "pixels", "run_us", "bytes_in", "bytes_out")},
    ),
    _Source(
        HOSTED,
        _HOSTED_AT,
        _HOSTED_AT // DAY_MS,
        ("workspace", "model", "device"),
        {"replica_ms": "replica_ms", "busy_ms": "busy_ms"},
    ),
    _Source(STORED, STORED.c.day * DAY_MS, STORED.c.day, ("workspace",), {"byte_days": "bytes"}),
)


class LedgerReader:
    """Reads usage for invoices."""

    def marks(self, connection: Connection) -> Marks:
        """See `UsageReader.marks`."""
        if connection.dialect.name == "postgresql":
            names = ", ".join(one.table.name for one in _SOURCES)
            connection.execute(text(f"LOCK TABLE {names} IN SHARE MODE"))
        return Marks(*(highest(connection, one.table) for one in _SOURCES))

    def usage(
        self, connection: Connection, span: Span, upto: Marks, only: Collection[str] | None
    ) -> Iterable[MonthUsage]:
        """See `UsageReader.usage`."""
        for source, high in zip(_SOURCES, upto, strict=True):
            yield from _sums(connection, source, span, high, only)

    def late(
        self, connection: Connection, before_ms: int, after: Marks, upto: Marks
    ) -> Iterable[tuple[str, int]]:
        """See `UsageReader.late`."""
        for source, low, high in zip(_SOURCES, after, upto, strict=True):
            c = source.table.c
            asked = select(c.workspace, source.day).distinct()
            asked = asked.where(source.at < before_ms, c.seq > low, c.seq <= high)
            for workspace, day in connection.execute(asked.where(c.workspace != "")):
                yield workspace, int(day)


def _sums(
    connection: Connection, source: _Source, span: Span, upto: int, only: Collection[str] | None
) -> Iterable[MonthUsage]:
    c = source.table.c
    keys = [c[name] for name in source.keys]
    counted = [func.count(), *(func.sum(c[name]) for name in source.sums.values())]
    asked = select(*keys, *counted).group_by(*keys)
    asked = asked.where(source.at >= span.from_ms, source.at < span.to_ms, c.seq <= upto)
    asked = asked.where(c.workspace != "" if only is None else c.workspace.in_(only))
    width = len(keys)
    for row in connection.execute(asked):
        found = tuple[Any, ...](row)
        told: dict[str, Any] = {"price_version": SAMPLED}
        told.update(zip(source.keys, found, strict=False))
        told.update(
            (name, int(part)) for name, part in zip(source.sums, found[width + 1 :], strict=True)
        )
        calls = int(found[width]) if source.table is LEDGER else 0
        yield MonthUsage(calls=calls, **told)
