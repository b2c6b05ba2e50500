"""Making the tables, and bringing an older database up to date.

Every step is one file in `versions/`, written once and never changed. All steps that a database
lacks run in one transaction: a process that is killed within leaves the database as it was.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text

from heliograph.core.errors import Code, HeliographError
from heliograph.storage.database import Database

HERE = Path(__file__).parent
HEAD: Final = "0001"
"""The newest step; `tests/unit/storage/test_migrations.py` holds it against the folder."""


def migrate(database: Database) -> str:
    """Bring a database up to date.

    Returns:
        The step that it was at before; empty for a new one.

    Raises:
        HeliographError: `conflict` for a database that a newer Heliograph has written.
    """
    with database.read() as connection:
        before = version(connection)
    if before == HEAD:
        return before
    database.write(_upgrade)
    return before


def version(connection: Connection) -> str:
    """The step that a database is at; empty for one without tables."""
    if not inspect(connection).has_table("alembic_version"):
        return ""
    return connection.scalar(text("SELECT version_num FROM alembic_version")) or ""


def _upgrade(connection: Connection) -> None:
    # Alembic takes a tenth of a second to import; a database that is up to date needs none of it.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    if connection.dialect.name == "postgresql":
        # Of several processes that start at once one migrates and the others wait.
        connection.execute(text("SELECT pg_advisory_xact_lock(4851)"))
    config = Config()
    config.set_main_option("script_location", str(HERE))
    config.attributes["connection"] = connection
    before = version(connection)
    known = {one.revision for one in ScriptDirectory(str(HERE)).walk_revisions()}
    if before and before not in known:
        raise HeliographError(
            Code.CONFLICT,
            "This database was written by a newer Heliograph. Start that one, or restore a backup "
            "from before the upgrade.",
        )
    command.upgrade(config, "head")
