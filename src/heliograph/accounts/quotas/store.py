"""All SQL about limits of workspaces (those of keys are the keys' own)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, Connection, Table, Text, delete, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from heliograph.core.call import Limit
from heliograph.storage.tables import METADATA

LIMITS = Table(
    "limits",
    METADATA,
    Column("holder", Text, primary_key=True),
    Column("meter", Text, primary_key=True),
    Column("period", Text, primary_key=True),
    Column("most", BigInteger, nullable=False),
)


COUNTERS = Table(
    "counters",
    METADATA,
    Column("holder", Text, primary_key=True),
    Column("meter", Text, primary_key=True),
    Column("period", Text, primary_key=True),
    Column("begin_ms", BigInteger, primary_key=True),
    Column("used", BigInteger, nullable=False),
)
"""What is used of each limit in each stretch of time."""


def add_up(
    connection: Connection, limit: Limit, begin_ms: int, added: int, bound: int
) -> int | None:
    """Add to a counter unless that would pass the bound.

    Returns:
        What is used then; None if it would have passed, and nothing was added.
    """
    there = _counter(limit, begin_ms)
    more = update(COUNTERS).where(*there, COUNTERS.c.used + added <= bound)
    for _ in range(2):
        used = connection.scalar(
            more.values(used=COUNTERS.c.used + added).returning(COUNTERS.c.used)
        )
        if used is not None:
            return used
        if connection.scalar(select(COUNTERS.c.used).where(*there)) is not None:
            return None
        # Two processes may both find no counter: one makes it, then both add to it.
        _begin(connection, limit, begin_ms)
    return None


def _begin(connection: Connection, limit: Limit, begin_ms: int) -> None:
    kind = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    connection.execute(
        kind(COUNTERS)
        .values(
            holder=limit.holder,
            meter=limit.meter,
            period=limit.period,
            begin_ms=begin_ms,
            used=0,
        )
        .on_conflict_do_nothing()
    )


def seed(connection: Connection, limit: Limit, begin_ms: int, least: int) -> None:
    """See to it that a counter shows no less than was used before it was counted."""
    _begin(connection, limit, begin_ms)
    connection.execute(
        update(COUNTERS)
        .where(*_counter(limit, begin_ms), COUNTERS.c.used < least)
        .values(used=least)
    )


def used(connection: Connection, limit: Limit, begin_ms: int) -> int:
    """What is used of a limit in a stretch of time."""
    query = select(COUNTERS.c.used).where(*_counter(limit, begin_ms))
    return connection.scalar(query) or 0


def _counter(limit: Limit, begin_ms: int) -> tuple[Any, ...]:
    return (
        COUNTERS.c.holder == limit.holder,
        COUNTERS.c.meter == limit.meter,
        COUNTERS.c.period == limit.period,
        COUNTERS.c.begin_ms == begin_ms,
    )


def put(connection: Connection, limit: Limit) -> None:
    """Set a limit, in place of the one on the same meter and period."""
    where = _where(limit.holder, limit.meter, limit.period)
    if not connection.execute(update(LIMITS).where(*where).values(most=limit.most)).rowcount:
        connection.execute(insert(LIMITS).values(**limit._asdict()))


def drop(connection: Connection, holder: str, meter: str, period: str) -> bool:
    """Take a limit away; whether there was one."""
    return bool(connection.execute(delete(LIMITS).where(*_where(holder, meter, period))).rowcount)


def of(connection: Connection, holder: str) -> list[Limit]:
    """The limits of one holder."""
    query = select(LIMITS).where(LIMITS.c.holder == holder)
    rows = connection.execute(query.order_by(LIMITS.c.meter, LIMITS.c.period))
    return [Limit(row.holder, row.meter, row.period, row.most) for row in rows]


def every(connection: Connection) -> list[Limit]:
    """All of them, for the gate."""
    rows = connection.execute(select(LIMITS))
    return [Limit(row.holder, row.meter, row.period, row.most) for row in rows]


def _where(holder: str, meter: str, period: str) -> tuple[Any, ...]:
    return LIMITS.c.holder == holder, LIMITS.c.meter == meter, LIMITS.c.period == period
