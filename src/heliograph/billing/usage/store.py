"""All SQL that reads the ledger for people, and the hourly sums that keep it quick.

    ledger rows ─ folded up to a mark ─► usage_hours, usage_months
                └ after the mark ──────► read as they are

A question takes whole hours from `usage_hours` up to the mark and everything else from the ledger:
it is exact at any mark, and quick while the mark follows. The mark is a number of the ledger, not a
time: a row is either below it and in the sums or above it and read by itself, never both.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Integer,
    RowMapping,
    Select,
    Table,
    Text,
    case,
    func,
    literal_column,
    select,
    text,
    tuple_,
    union_all,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from heliograph.billing.invoices.values import Month, Span
from heliograph.billing.ledger.store import LEDGER
from heliograph.billing.usage.values import HOUR_MS, By, Sums, month_number
from heliograph.storage.tables import METADATA

_DIMENSIONS = ("key", "model", "version", "task", "device")
HOURS = Table(
    "usage_hours",
    METADATA,
    Column("workspace", Text, primary_key=True),
    Column("hour", BigInteger, primary_key=True),
    *(Column(name, Text, primary_key=True) for name in _DIMENSIONS),
    *(Column(name, BigInteger, nullable=False) for name in Sums._fields),
)
"""Sums of an hour (since 1970) up to the mark."""
MONTHS = Table(
    "usage_months",
    METADATA,
    Column("workspace", Text, primary_key=True),
    Column("month", Integer, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("cost", BigInteger, nullable=False),
)
"""What a key has cost in a month (since the year 0) up to the mark: for budgets."""
MARKS = Table(
    "usage_marks",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("upto", BigInteger, nullable=False),
)
_LEDGER = "ledger"
_INLINE_HOUR = literal_column(str(HOUR_MS))


class Folded(NamedTuple):
    """What one hour of one combination of names has to be added to the sums."""

    workspace: str
    hour: int
    names: tuple[str, ...]
    sums: Sums


def one_view(connection: Connection) -> None:
    """Let everything that is read from here on be of one moment; before anything is read.

    Readers of SQLite are like that always.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))


def mark(connection: Connection) -> int:
    """The highest number of the ledger that is in the sums; 0 for none."""
    found = connection.scalar(select(MARKS.c.upto).where(MARKS.c.name == _LEDGER))
    return 0 if found is None else found


def sums(
    connection: Connection, workspace: str, span: Span, by: Sequence[By], most: int
) -> list[tuple[tuple[Any, ...], Sums]]:
    """Sums over a span, by groups; at most `most` of them, in no order.

    Returns:
        Names and sums; hours, days and months are numbers (see `values.moment_of`).
    """
    parts = union_all(*_parts(workspace, span, mark(connection))).subquery("parts")
    columns = [_column(parts, one, span) for one in by]
    asked = select(*columns, *(func.sum(parts.c[name]) for name in Sums._fields))
    # By their place: a CASE with bound values is never the same expression twice to PostgreSQL.
    asked = asked.group_by(*(literal_column(str(n + 1)) for n in range(len(columns))))
    found = [tuple[Any, ...](row) for row in connection.execute(asked.limit(most))]
    width = len(by)
    return [
        (row[:width], Sums(*(int(one) for one in row[width:])))
        for row in found
        if row[width] is not None
    ]


def _parts(workspace: str, span: Span, upto: int) -> Iterable[Select[Any]]:
    begin, end = -(-span.from_ms // HOUR_MS), span.to_ms // HOUR_MS
    seq = LEDGER.c.seq
    if begin >= end or not upto:
        yield _rows(workspace, span)
        return
    yield (
        select(HOURS.c.hour, *(HOURS.c[name] for name in (*_DIMENSIONS, *Sums._fields)))
        .where(HOURS.c.workspace == workspace, HOURS.c.hour >= begin, HOURS.c.hour < end)
    )  # fmt: skip
    # What is after the mark is found by its number: no index of (workspace, time) may be taken.
    yield _rows(workspace, span, seq > upto, LEDGER.c.workspace.concat("") == workspace)
    for edge in (Span(span.from_ms, begin * HOUR_MS), Span(end * HOUR_MS, span.to_ms)):
        if edge.from_ms < edge.to_ms:
            yield _rows(workspace, edge, seq <= upto)


def _rows(workspace: str, span: Span, *where: ColumnElement[bool]) -> Select[Any]:
    c = LEDGER.c
    own = (c.workspace == workspace,) if len(where) < 2 else ()
    return select(
        (c.at_ms // _INLINE_HOUR).label("hour"),
        *(c[name] for name in _DIMENSIONS),
        literal_column("1").label("calls"),
        *(c[name] for name in Sums._fields[1:]),
    ).where(*own, c.at_ms >= span.from_ms, c.at_ms < span.to_ms, *where)


def _column(parts: Any, by: By, span: Span) -> ColumnElement[Any]:
    match by:
        case By.HOUR:
            return parts.c.hour
        case By.DAY:
            return parts.c.hour // literal_column("24")
        case By.MONTH:
            month, last = Month.of(span.from_ms), month_number(Month.of(span.from_ms))
            steps: list[tuple[Any, Any]] = []
            while month.to_ms < span.to_ms:
                last = month_number(month)
                steps.append((parts.c.hour < month.to_ms // HOUR_MS, literal_column(str(last))))
                month = month.next()
            last = literal_column(str(month_number(month)))
            return case(*steps, else_=last) if steps else last + parts.c.hour * 0
        case _:
            return parts.c[by.value]


def page(
    connection: Connection, workspace: str, span: Span, after: RowMapping | None, limit: int
) -> list[RowMapping]:
    """Rows of the ledger by time, those after one of them."""
    c = LEDGER.c
    asked = select(LEDGER).where(c.workspace == workspace, c.at_ms < span.to_ms)
    asked = asked.where(c.at_ms >= (after["at_ms"] if after else span.from_ms))
    if after:
        asked = asked.where(tuple_(c.at_ms, c.seq) > tuple_(after["at_ms"], after["seq"]))
    return list(connection.execute(asked.order_by(c.at_ms, c.seq).limit(limit)).mappings())


def row(connection: Connection, workspace: str, call: str) -> RowMapping | None:
    """One row of a workspace's."""
    asked = select(LEDGER).where(LEDGER.c.id == call, LEDGER.c.workspace == workspace)
    return connection.execute(asked).mappings().one_or_none()


# Folding


def highest(connection: Connection, table: Table) -> int:
    """The highest number there is; 0 for none."""
    return connection.scalar(select(func.coalesce(func.max(table.c.seq), 0))) or 0


def writers(connection: Connection) -> set[str]:
    """Transactions that may be adding rows to the ledger just now; SQLite commits in order.

    PostgreSQL gives a row its number before the row is committed. Whoever is about to has the
    table's lock by then, which this looks at without waiting for it or being in anybody's way.
    """
    if connection.dialect.name != "postgresql":
        return set()
    asked = text(
        "SELECT DISTINCT virtualtransaction FROM pg_locks WHERE mode = 'RowExclusiveLock'"
        " AND relation = to_regclass(:ledger) AND database ="
        " (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    return set(connection.execute(asked, {"ledger": LEDGER.name}).scalars())


def fresh(connection: Connection, after: int, upto: int) -> list[Folded]:
    """Sums over the rows numbered between (exclusive, inclusive), by hour and names."""
    c = LEDGER.c
    keys = [
        c.workspace,
        (c.at_ms // _INLINE_HOUR).label("at_hour"),
        *(c[name] for name in _DIMENSIONS),
    ]
    counted = [func.count(), *(func.sum(c[name]) for name in Sums._fields[1:])]
    asked = select(*keys, *counted).where(c.seq > after, c.seq <= upto)
    places = (literal_column(str(n + 1)) for n in range(len(keys)))
    found = [tuple[Any, ...](one) for one in connection.execute(asked.group_by(*places))]
    return [
        Folded(one[0], int(one[1]), one[2:7], Sums(*(int(part) for part in one[7:])))
        for one in found
    ]


def fold(connection: Connection, before: int, upto: int, folded: Sequence[Folded]) -> bool:
    """Move the mark and add to the sums; False if another process has moved it meanwhile."""
    moved = update(MARKS).where(MARKS.c.name == _LEDGER, MARKS.c.upto == before)
    if not connection.execute(moved.values(upto=upto)).rowcount:
        return False
    hours = [
        {
            "workspace": one.workspace,
            "hour": one.hour,
            **dict(zip(_DIMENSIONS, one.names, strict=True)),
            **one.sums._asdict(),
        }
        for one in folded
    ]
    months: dict[tuple[str, int, str], int] = {}
    for one in folded:
        name = one.workspace, month_number(Month.of(one.hour * HOUR_MS)), one.names[0]
        months[name] = months.get(name, 0) + one.sums.cost
    _add(connection, HOURS, hours)
    _add(
        connection,
        MONTHS,
        [dict(zip(MONTHS.c.keys(), (*name, cost), strict=True)) for name, cost in months.items()],
    )
    return True


def begin(connection: Connection) -> None:
    """Put the mark at the beginning, if there is none."""
    connection.execute(
        _insert(connection, MARKS).values(name=_LEDGER, upto=0).on_conflict_do_nothing()
    )


def _add(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    if not rows:
        return
    asked = _insert(connection, table)
    keys = [one.name for one in table.primary_key]
    more = {one.name: one + asked.excluded[one.name] for one in table.c if not one.primary_key}
    connection.execute(asked.on_conflict_do_update(index_elements=keys, set_=more), rows)


def _insert(connection: Connection, table: Table) -> Any:
    return (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(table)


def spent(
    connection: Connection, month: Month, only: Collection[str]
) -> list[tuple[str, str, int]]:
    """Workspace, key and cost in a month up to the mark."""
    c = MONTHS.c
    asked = select(c.workspace, c.key, c.cost)
    asked = asked.where(c.month == month_number(month), c.workspace.in_(only))
    return [(one[0], one[1], one[2]) for one in connection.execute(asked)]
