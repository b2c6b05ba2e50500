"""Tables as lines of JSON, and back into a database of either kind.

A line is one row as a list, its values in the order of the columns that the manifest names; bytes
are base64. All tables are read in one snapshot.
"""

from __future__ import annotations

import base64
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec
from sqlalchemy import Connection, LargeBinary, Table, func, inspect, select, text, tuple_
from sqlalchemy.exc import DataError, IntegrityError, StatementError

from heliograph.core.errors import Code, HeliographError
from heliograph.storage import replies, store
from heliograph.storage.database import Database
from heliograph.storage.tables import METADATA

# Features bring their tables when they are wired; those of this room are brought here.
OWN = (store.RING_KEYS, store.RING_DATA_KEYS, store.BLOBS, replies.REPLIES)
_PAGE = 2000
_VALUES = 8000
_OTHERS = {"alembic_version"}


@contextmanager
def snapshot(database: Database) -> Generator[Connection]:
    """A connection whose reads all see the same moment.

    Raises:
        HeliographError: `internal` if the database has a table that we do not know: it would be
            missing in a backup.
    """
    with database.read() as connection:
        if database.kind == "postgresql":
            connection.execution_options(isolation_level="REPEATABLE READ")
        found = set(inspect(connection).get_table_names()) - _OTHERS
        if unknown := found - set(METADATA.tables):
            raise HeliographError(
                Code.INTERNAL, f"The database has tables that are not ours: {sorted(unknown)[:5]}."
            )
        yield connection


def columns(table: Table) -> list[str]:
    """The names of a table's columns, in order."""
    return [str(column.name) for column in table.columns]


def count(connection: Connection, table: Table) -> int:
    """How many rows a table has."""
    return connection.execute(select(func.count()).select_from(table)).scalar_one()


def rows(connection: Connection, table: Table) -> Iterator[list[Any]]:
    """Every row of a table, a page at a time: a driver may fetch all that it is asked for."""
    key = list(table.primary_key.columns)
    query = select(table).order_by(*key).limit(_PAGE if key else None)
    after: tuple[Any, ...] | None = None
    while True:
        page = query if after is None else query.where(tuple_(*key) > tuple_(*after))
        found = connection.execute(page).all()
        for row in found:
            yield list(row)
        if not key or len(found) < _PAGE:
            return
        at = columns(table)
        after = tuple(found[-1][at.index(str(column.name))] for column in key)


def line(row: list[Any]) -> bytes:
    """A row as a line."""
    return msgspec.json.encode(row) + b"\n"


def fill(
    connection: Connection, table: Table, names: list[str], lines: Iterable[bytes]
) -> Iterator[int]:
    """Insert rows; gives how many after each page.

    Raises:
        HeliographError: `validation` if a line is no row of the table.
    """
    binary = {at for at, name in enumerate(names) if isinstance(table.c[name].type, LargeBinary)}
    most = max(1, min(_PAGE, _VALUES // max(1, len(names))))
    held: list[dict[str, Any]] = []
    try:
        for one in lines:
            held.append(_row(one, names, binary))
            if len(held) == most:
                yield _insert(connection, table, held)
                held = []
        if held:
            yield _insert(connection, table, held)
    except (msgspec.DecodeError, ValueError, TypeError, DataError, IntegrityError) as error:
        raise _unfit(table) from error
    except StatementError as error:
        # A value of a type that the column has not; what the connection says stays as it is.
        if error.orig is None or isinstance(error.orig, TypeError | ValueError):
            raise _unfit(table) from error
        raise


def _row(one: bytes, names: list[str], binary: set[int]) -> dict[str, Any]:
    found = msgspec.json.decode(one, type=list[Any])
    if len(found) != len(names):
        raise ValueError("a row of another length")
    for at in binary:
        if found[at] is not None:
            found[at] = base64.b64decode(found[at], validate=True)
    return dict(zip(names, found, strict=True))


def _insert(connection: Connection, table: Table, held: list[dict[str, Any]]) -> int:
    if connection.dialect.name == "sqlite":
        connection.execute(table.insert(), held)
    else:
        # This driver sends a statement a row otherwise.
        connection.execute(table.insert().values(held))
    return len(held)


def empty(connection: Connection) -> None:
    """Delete every row of every table."""
    for table in reversed(METADATA.sorted_tables):
        connection.execute(table.delete())


def counters(connection: Connection) -> dict[str, int]:
    """The last number that each table has given a row, for those that count."""
    found: dict[str, int] = {}
    for table in METADATA.sorted_tables:
        column = table.autoincrement_column
        if column is None or column.autoincrement is not True:
            continue
        found[str(table.name)] = connection.execute(select(func.max(column))).scalar() or 0
        if connection.dialect.name == "postgresql":
            name = connection.execute(_sequence(table.name, column.name)).scalar_one()
            given = connection.execute(text(f"SELECT last_value, is_called FROM {name}")).one()  # noqa: S608 - the database's own name
            found[table.name] = max(found[table.name], given[0] if given[1] else 0)
        elif table.dialect_options["sqlite"]["autoincrement"]:
            query = text("SELECT seq FROM sqlite_sequence WHERE name = :name")
            given = connection.execute(query, {"name": table.name}).scalar()
            found[table.name] = max(found[table.name], given or 0)
    return found


def count_on(connection: Connection, said: Mapping[str, int]) -> None:
    """Let tables that count go on after the rows that are there, and after `said`."""
    for name, last in counters(connection).items():
        table, wanted = METADATA.tables[name], max(last, said.get(name, 0))
        column = table.autoincrement_column
        if column is None or not wanted:
            continue
        if connection.dialect.name == "postgresql":
            sequence = connection.execute(_sequence(name, column.name)).scalar_one()
            connection.execute(
                text("SELECT setval(CAST(:name AS regclass), :last)"),
                {"name": sequence, "last": wanted},
            )
        elif table.dialect_options["sqlite"]["autoincrement"]:
            values = {"name": name, "last": wanted}
            connection.execute(text("DELETE FROM sqlite_sequence WHERE name = :name"), values)
            connection.execute(
                text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :last)"), values
            )


def _sequence(table: str, column: str) -> Any:
    return select(func.pg_get_serial_sequence(table, column))


def _unfit(table: Table) -> HeliographError:
    return HeliographError(
        Code.VALIDATION, f"The backup's table {table.name} holds something that is no row of it."
    )
