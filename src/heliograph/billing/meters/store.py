"""All SQL about samples of replicas and of storage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    Table,
    Text,
    UniqueConstraint,
    func,
    insert,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite

from heliograph.billing.ledger.store import LEDGER
from heliograph.billing.meters.values import NOBODY, Sample
from heliograph.storage.store import BLOBS
from heliograph.storage.tables import METADATA, SEQUENCE

HOSTED = Table(
    "hosted",
    METADATA,
    Column("seq", SEQUENCE, primary_key=True, autoincrement=True),
    Column("workspace", Text, nullable=False),
    Column("node", Text, nullable=False),
    Column("boot", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("device", Text, nullable=False),
    Column("from_ms", BigInteger, nullable=False),
    Column("to_ms", BigInteger, nullable=False),
    Column("replica_ms", BigInteger, nullable=False),
    Column("busy_ms", BigInteger, nullable=False),
    UniqueConstraint("node", "boot", "model", "version", "device", "from_ms", "workspace"),
    Index(None, "from_ms"),
    sqlite_autoincrement=True,
)
STORED = Table(
    "stored",
    METADATA,
    Column("seq", SEQUENCE, primary_key=True, autoincrement=True),
    Column("workspace", Text, nullable=False),
    Column("day", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    UniqueConstraint("day", "workspace"),
    sqlite_autoincrement=True,
)
"""Bytes at a day's sample. The row of `NOBODY` says that the day has been sampled; it holds what
belongs to no workspace."""


def add_hosted(connection: Connection, samples: Sequence[Sample]) -> None:
    """Add samples; raises IntegrityError if one is there already."""
    connection.execute(insert(HOSTED), [one._asdict() for one in samples])


def newest(connection: Connection) -> int:
    """The highest number of the ledger; 0 for none."""
    return connection.scalar(select(func.coalesce(func.max(LEDGER.c.seq), 0))) or 0


def users(
    connection: Connection, after: int, upto: int
) -> dict[tuple[str, str, str], dict[str, int]]:
    """Microseconds that each workspace had models run, by model, version and device.

    Args:
        connection: any.
        after: number of the ledger; exclusive.
        upto: inclusive.
    """
    c = LEDGER.c
    asked = select(c.model, c.version, c.device, c.workspace, func.sum(c.run_us))
    asked = asked.where(c.seq > after, c.seq <= upto)
    found: dict[tuple[str, str, str], dict[str, int]] = {}
    for row in connection.execute(asked.group_by(c.model, c.version, c.device, c.workspace)):
        model, version, device, workspace, run_us = tuple[Any, ...](row)
        if run_us:
            found.setdefault((model, version, device), {})[workspace] = int(run_us)
    return found


def sampled(connection: Connection, day: int) -> bool:
    """Whether a day's storage has been sampled."""
    asked = select(STORED.c.seq).where(STORED.c.day == day, STORED.c.workspace == NOBODY)
    return connection.scalar(asked) is not None


def add_stored(connection: Connection, day: int, prefix: str) -> int | None:
    """Sample the storage of a day; None if somebody has done so already.

    Args:
        connection: a transaction that writes.
        day: since 1970.
        prefix: what the ids of workspaces begin with; what is others' is `NOBODY`'s.

    Returns:
        How many workspaces have something in store.
    """
    kind: Any = sqlite if connection.dialect.name == "sqlite" else postgresql
    first = kind.insert(STORED).values(workspace=NOBODY, day=day, bytes=0)
    if not connection.execute(first.on_conflict_do_nothing()).rowcount:
        return None
    c = BLOBS.c
    asked = select(c.tenant, func.sum(c.size)).where(c.wrapped.is_not(None)).group_by(c.tenant)
    rows: list[dict[str, Any]] = []
    others = 0
    for tenant, size in connection.execute(asked):
        if tenant.startswith(prefix):
            rows.append({"workspace": tenant, "day": day, "bytes": int(size)})
        else:
            others += int(size)
    if rows:
        connection.execute(insert(STORED), rows)
    own = STORED.c.day == day, STORED.c.workspace == NOBODY
    connection.execute(STORED.update().where(*own).values(bytes=others))
    return len(rows)
