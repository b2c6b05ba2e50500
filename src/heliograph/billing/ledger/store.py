"""All SQL that writes the ledger; `billing/usage` reads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from operator import attrgetter

from sqlalchemy import BigInteger, Column, Connection, Index, Integer, Table, Text, insert

from heliograph.billing.ledger.values import Row
from heliograph.storage.tables import METADATA, SEQUENCE

LEDGER = Table(
    "ledger",
    METADATA,
    Column("seq", SEQUENCE, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("workspace", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("person", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("task", Text, nullable=False),
    Column("images", Integer, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("pixels", BigInteger, nullable=False),
    Column("bytes_in", BigInteger, nullable=False),
    Column("bytes_out", BigInteger, nullable=False),
    Column("run_us", BigInteger, nullable=False),
    Column("device", Text, nullable=False),
    Column("price_version", Integer, nullable=False),
    Column("cost", BigInteger, nullable=False),
    Column("result_digest", Text, nullable=False),
    Column("idempotency", Text, nullable=False),
    Index("ix_ledger_workspace_at_ms", "workspace", "at_ms"),
    # For the closing of a month, which is everybody's.
    Index("ix_ledger_at_ms", "at_ms"),
    sqlite_autoincrement=True,
)
_NAMES = [one.name for one in fields(Row)]
_values = attrgetter(*_NAMES)
_PLAIN = (
    f"INSERT INTO ledger ({', '.join(LEDGER.c[name].name for name in _NAMES)}) "  # noqa: S608 - our own names
    f"VALUES ({', '.join('?' * len(_NAMES))})"
)


def append(connection: Connection, rows: Sequence[Row]) -> None:
    """Add rows; raises IntegrityError if one is there already."""
    if connection.dialect.name == "sqlite":
        # The one statement that every call waits for: said plainly it costs a third.
        connection.exec_driver_sql(_PLAIN, [_values(one) for one in rows])
        return
    connection.execute(
        insert(LEDGER), [dict(zip(_NAMES, _values(one), strict=True)) for one in rows]
    )
