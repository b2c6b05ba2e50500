"""Usage for tests of invoices: a reader over the real ledger table and samples of our own."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Integer,
    MetaData,
    Table,
    Text,
    func,
    insert,
    select,
    text,
)

from heliograph.billing.invoices.values import DAY_MS, SAMPLED, Marks, MonthUsage, Span
from heliograph.billing.ledger.store import LEDGER
from heliograph.core.events import Event
from heliograph.core.notices import Hook, Notice

_OWN = MetaData()
_SEQ = BigInteger().with_variant(Integer(), "sqlite")
HOSTED = Table(
    "probe_hosted",
    _OWN,
    Column("seq", _SEQ, primary_key=True, autoincrement=True),
    Column("workspace", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("device", Text, nullable=False),
    Column("from_ms", BigInteger, nullable=False),
    Column("replica_ms", BigInteger, nullable=False),
    Column("busy_ms", BigInteger, nullable=False),
)
STORED = Table(
    "probe_stored",
    _OWN,
    Column("seq", _SEQ, primary_key=True, autoincrement=True),
    Column("workspace", Text, nullable=False),
    Column("day", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
)
HAPPENED = Table(
    "probe_happened",
    _OWN,
    Column("seq", _SEQ, primary_key=True, autoincrement=True),
    Column("what", Text, nullable=False),
    Column("subject", Text, nullable=False),
)
_IDS = itertools.count()


class Reader:
    """Reads the ledger and the samples."""

    def marks(self, connection: Connection) -> Marks:
        if connection.dialect.name == "postgresql":
            connection.execute(text("LOCK TABLE ledger, probe_hosted, probe_stored IN SHARE MODE"))
        return Marks(*(_highest(connection, table) for table in (LEDGER, HOSTED, STORED)))

    def usage(
        self, connection: Connection, span: Span, upto: Marks, only: Collection[str] | None
    ) -> Iterable[MonthUsage]:
        yield from self._called(connection, span, upto.ledger, only)
        yield from self._hosted(connection, span, upto.hosted, only)
        yield from self._stored(connection, span, upto.stored, only)

    def _called(
        self, connection: Connection, span: Span, upto: int, only: Collection[str] | None
    ) -> Iterable[MonthUsage]:
        c = LEDGER.c
        keys = [c.workspace, c.model, c.device, c.price_version]
        sums = [
            func.count(),
            *map(func.sum, (c.images, c.rows, c.pixels, c.run_us, c.bytes_in, c.bytes_out)),
        ]
        asked = select(*keys, *sums).group_by(*keys)
        asked = asked.where(c.at_ms >= span.from_ms, c.at_ms < span.to_ms, c.seq <= upto)
        if only is not None:
            asked = asked.where(c.workspace.in_(only))
        for row in connection.execute(asked):
            workspace, model, device, version, *found = tuple[Any, ...](row)
            yield MonthUsage(workspace, model, device, version, *map(int, found))

    def _hosted(
        self, connection: Connection, span: Span, upto: int, only: Collection[str] | None
    ) -> Iterable[MonthUsage]:
        c = HOSTED.c
        keys = [c.workspace, c.model, c.device]
        asked = select(*keys, func.sum(c.replica_ms), func.sum(c.busy_ms)).group_by(*keys)
        asked = asked.where(c.from_ms >= span.from_ms, c.from_ms < span.to_ms, c.seq <= upto)
        if only is not None:
            asked = asked.where(c.workspace.in_(only))
        for row in connection.execute(asked):
            workspace, model, device, replica, busy = tuple[Any, ...](row)
            yield MonthUsage(
                workspace, model, device, SAMPLED, replica_ms=int(replica), busy_ms=int(busy)
            )

    def _stored(
        self, connection: Connection, span: Span, upto: int, only: Collection[str] | None
    ) -> Iterable[MonthUsage]:
        c = STORED.c
        at = c.day * DAY_MS
        asked = select(c.workspace, func.sum(c.bytes)).group_by(c.workspace)
        asked = asked.where(at >= span.from_ms, at < span.to_ms, c.seq <= upto)
        if only is not None:
            asked = asked.where(c.workspace.in_(only))
        for row in connection.execute(asked):
            yield MonthUsage(row[0], byte_days=int(row[1]))

    def late(
        self, connection: Connection, before_ms: int, after: Marks, upto: Marks
    ) -> Iterable[tuple[str, int]]:
        sources: Sequence[tuple[Table, ColumnElement[int], ColumnElement[int], int, int]] = (
            (LEDGER, LEDGER.c.at_ms, LEDGER.c.at_ms // DAY_MS, after.ledger, upto.ledger),
            (HOSTED, HOSTED.c.from_ms, HOSTED.c.from_ms // DAY_MS, after.hosted, upto.hosted),
            (STORED, STORED.c.day * DAY_MS, STORED.c.day, after.stored, upto.stored),
        )
        for table, at, day, low, high in sources:
            asked = select(table.c.workspace, day).distinct()
            asked = asked.where(at < before_ms, table.c.seq > low, table.c.seq <= high)
            for workspace, number in connection.execute(asked):
                yield workspace, int(number)


def _highest(connection: Connection, table: Table) -> int:
    return int(connection.execute(select(func.coalesce(func.max(table.c.seq), 0))).scalar_one())


def prepare(connection: Connection) -> None:
    """Make the tables of the samples."""
    _OWN.create_all(connection)


def answer(workspace: str, at_ms: int, price_version: int = 1, **more: Any) -> dict[str, Any]:
    """A row of the ledger."""
    return {
        "id": f"pred_{next(_IDS):032x}",
        "at_ms": at_ms,
        "workspace": workspace,
        "key": "key_1",
        "person": "",
        "model": "detector",
        "version": "1",
        "digest": "d" * 64,
        "task": "detection",
        "images": 1,
        "rows": 1,
        "pixels": 307_200,
        "bytes_in": 60_000,
        "bytes_out": 900,
        "run_us": 12_345,
        "device": "cpu",
        "price_version": price_version,
        "cost": 0,
        "result_digest": "r" * 64,
        "idempotency": "",
        **more,
    }


def answered(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Add rows to the ledger."""
    if rows:
        connection.execute(insert(LEDGER).returning(LEDGER.c.seq), rows)


def hosted(connection: Connection, workspace: str, at_ms: int, replica: int, busy: int) -> None:
    """Add a sample of hosting."""
    connection.execute(
        insert(HOSTED).values(
            workspace=workspace,
            model="detector",
            device="cpu",
            from_ms=at_ms,
            replica_ms=replica,
            busy_ms=busy,
        )
    )


class Happenings:
    """Keeps events and notices in the database: those of an undone transaction are undone too."""

    def record(self, connection: Connection, event: Event) -> None:
        connection.execute(insert(HAPPENED).values(what=event.act.value, subject=event.subject))

    def notify(self, connection: Connection, notice: Notice) -> None:
        assert isinstance(notice, Hook)
        subject = str(notice.body.get("invoice", ""))
        connection.execute(insert(HAPPENED).values(what=notice.kind, subject=subject))


def stored(connection: Connection, workspace: str, day: int, size: int) -> None:
    """Add a sample of storage."""
    connection.execute(insert(STORED).values(workspace=workspace, day=day, bytes=size))
