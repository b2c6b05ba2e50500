from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

import heliograph
from heliograph.core.errors import Code, HeliographError
from heliograph.storage.database import Database, open_database
from heliograph.storage.migrations import HEAD, HERE, migrate, version
from heliograph.storage.tables import METADATA
from support.databases import bare


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database without any table."""
    url = ""
    if request.param == "postgresql":
        url = bare(request.getfixturevalue("postgres_server"))
    database = open_database(url, tmp_path)
    yield database
    database.close()


def test_the_newest_step_is_the_newest_file() -> None:
    assert ScriptDirectory(str(HERE)).get_current_head() == HEAD


def test_the_steps_make_exactly_the_tables_that_the_rooms_declare(empty: Database) -> None:
    for module in pkgutil.walk_packages(heliograph.__path__, "heliograph."):
        if module.name.endswith((".store", ".replies")):
            importlib.import_module(module.name)
    assert migrate(empty) == ""

    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        return [one for one in compare_metadata(context, METADATA) if "alembic" not in repr(one)]

    assert empty.write(differences) == []


def test_a_second_time_nothing_happens(empty: Database) -> None:
    migrate(empty)
    assert migrate(empty) == HEAD


def test_a_newer_database_is_not_touched(empty: Database) -> None:
    migrate(empty)
    empty.write(lambda c: c.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    with pytest.raises(HeliographError) as failed:
        migrate(empty)
    assert failed.value.code is Code.CONFLICT


MIGRATING = """
import sys
from pathlib import Path
from heliograph.storage.database import open_database
from heliograph.storage.migrations import migrate
database = open_database("", Path(sys.argv[1]))
migrate(database)
database.close()
"""


@pytest.mark.parametrize("site", ["writer.worked", "writer.before_commit", "writer.after_commit"])
def test_a_kill_leaves_all_of_it_or_nothing(tmp_path: Path, site: str) -> None:
    command = [sys.executable, "-c", MIGRATING, str(tmp_path)]
    killed = subprocess.run(command, env={"HELIOGRAPH_FAULTS": site}, check=False, timeout=60)
    assert killed.returncode == -9
    database = open_database("", tmp_path)
    with database.read() as connection:
        assert version(connection) == (HEAD if site == "writer.after_commit" else "")
    migrate(database)
    with database.read() as connection:
        assert version(connection) == HEAD
        assert connection.scalar(text("SELECT count(*) FROM ledger")) == 0
    database.close()


def test_processes_that_start_at_once_make_one_set_of_tables(tmp_path: Path) -> None:
    command = [sys.executable, "-c", MIGRATING, str(tmp_path)]
    running = [subprocess.Popen(command) for _ in range(3)]
    assert [one.wait(60) for one in running] == [0, 0, 0]
