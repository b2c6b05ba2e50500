"""The database: SQLite in the data folder, or PostgreSQL by its address.

    with database.read() as connection: …       read-only, many at a time
    database.write(lambda connection: …)        waits until it is on disk
    database.submit(lambda connection: …)       a future that is done when it is

SQLite runs with `synchronous=FULL`: at a power cut NORMAL loses what was committed since the last
checkpoint (measured; see docs/decisions). What that costs, the group commit of `writer.py` wins
back. A library with the WAL-reset bug is refused at the start.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Event
from heliograph.core.notices import Notice
from heliograph.storage.writer import Bulk, Writer, understand

T = TypeVar("T")
R = TypeVar("R")
Record = Callable[[Connection, Event], None]
"""Appends an event to the audit log within somebody's transaction: the act and its trace are
committed together or not at all."""

Notify = Callable[[Connection, Notice], None]
"""Puts a message into the outbox within somebody's transaction: it is sent after the commit."""

FILE = "heliograph.db"
_BUSY_MS = 3000
_READERS = 8
_CONNECT_SECONDS = 5


class Database:
    """One database of either kind, with one writer in this process.

    Args:
        writing: gives the writer its connection.
        reading: gives read-only connections.
    """

    def __init__(self, writing: Engine, reading: Engine) -> None:
        self._writing = writing
        self._reading = reading
        self._writer = Writer(writing)

    @property
    def kind(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._writing.dialect.name

    @property
    def engine(self) -> Engine:
        """The writing side, for migrations and backups, while nobody else writes."""
        return self._writing

    @contextmanager
    def read(self) -> Generator[Connection]:
        """A read-only connection with one consistent view.

        Raises:
            HeliographError: `db_unavailable`.
        """
        try:
            with self._reading.connect() as connection:
                yield connection
        except DBAPIError as error:
            raise understand(error) from error

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction and wait until it is on disk; see `Writer.submit`.

        Raises:
            HeliographError: `db_unavailable`, `storage_full`, or what `work` raises.
        """
        return self.submit(work).result()

    def submit(self, work: Callable[[Connection], T]) -> Future[T]:
        """As `write`, without waiting."""
        return self._writer.submit(work)

    def bulk(self, write: Callable[[Connection, Sequence[R]], None]) -> Bulk[R]:
        """Rows of one kind that are written together; see `Bulk`."""
        return self._writer.bulk(write)

    def gather(self, patience: Callable[[], float]) -> None:
        """Let rows wait for others; see `Writer.gather`."""
        self._writer.gather(patience)

    def close(self) -> None:
        """Write what waits, and close every connection."""
        self._writer.close()
        self._reading.dispose()
        self._writing.dispose()


def open_database(url: str, home: Path) -> Database:
    """Open the database; its tables are `migrations.migrate`'s business.

    Args:
        url: `postgresql://USER:PASSWORD@HOST/NAME`; empty for SQLite in the data folder.
        home: the data folder.

    Raises:
        HeliographError: `validation` for another kind of address, a missing driver or an SQLite
            library that can lose data.
    """
    if not url:
        return _open_sqlite(home / FILE)
    try:
        address = make_url(url)
    except ArgumentError as error:
        raise _bad_url() from error
    if address.get_backend_name() != "postgresql":
        raise _bad_url()
    return _open_postgresql(address)


def _bad_url() -> HeliographError:
    return HeliographError(
        Code.VALIDATION,
        "storage.url is postgresql://USER:PASSWORD@HOST/NAME, or empty for SQLite in the data "
        "folder.",
    )


def _open_sqlite(path: Path) -> Database:
    import pysqlite3

    check_sqlite(pysqlite3.sqlite_version_info)
    path.parent.mkdir(parents=True, exist_ok=True)
    writing = create_engine(
        f"sqlite:///{path}",
        module=pysqlite3,
        pool_size=1,
        max_overflow=0,
        connect_args={"check_same_thread": False, "timeout": _BUSY_MS / 1000},
    )
    reading = create_engine(
        f"sqlite:///file:{path}?mode=ro&uri=true",
        module=pysqlite3,
        pool_size=_READERS,
        max_overflow=_READERS,
        connect_args={"check_same_thread": False, "timeout": _BUSY_MS / 1000},
    )
    event.listen(writing, "connect", _prepare_writer)
    event.listen(writing, "begin", _begin_immediate)
    event.listen(reading, "connect", _prepare_reader)
    event.listen(reading, "begin", _begin_deferred)
    # The file and its mode are there before the first reader asks for it.
    with writing.connect():
        path.chmod(0o600)
    return Database(writing, reading)


def _open_postgresql(given: URL) -> Database:
    folder = str(given.query.get("host", ""))
    address = given.difference_update_query(["host"]).set(drivername="postgresql+pg8000")
    # libpq's way to name a socket in the file system is `?host=/folder`; the driver has its own.
    args: dict[str, Any] = {"timeout": _CONNECT_SECONDS}
    if folder.startswith("/"):
        args["unix_sock"] = f"{folder}/.s.PGSQL.{given.port or 5432}"
    pool: dict[str, Any] = {"pool_pre_ping": True, "connect_args": args}
    try:
        writing = create_engine(address, pool_size=1, max_overflow=1, **pool)
        reading = create_engine(
            address, pool_size=_READERS, max_overflow=_READERS, **pool
        ).execution_options(postgresql_readonly=True)
    except ModuleNotFoundError as error:
        raise HeliographError(
            Code.VALIDATION,
            "PostgreSQL needs a driver: pip install 'heliograph[postgresql]'.",
        ) from error
    return Database(writing, reading)


def check_sqlite(version: tuple[int, ...]) -> None:
    """Refuse a library that can corrupt the write-ahead log (fixed in 3.51.3, 3.50.7, 3.44.6).

    Raises:
        HeliographError: `validation`.
    """
    fixed = (
        version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)
    )
    if not fixed:
        raise HeliographError(
            Code.VALIDATION,
            f"SQLite {'.'.join(map(str, version))} can corrupt its write-ahead log; 3.51.3 or "
            "newer is needed: pip install --upgrade pysqlite3.",
        )


def _prepare_writer(connection: Any, _record: object) -> None:
    # Transactions are begun by us, as a writer's from the first: see `_begin_immediate`.
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout={_BUSY_MS}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "trusted_schema=OFF",
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _prepare_reader(connection: Any, _record: object) -> None:
    connection.isolation_level = None
    for pragma in (f"busy_timeout={_BUSY_MS}", "query_only=ON", "trusted_schema=OFF"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _begin_deferred(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")
