"""Backups: one file with everything that the machine knows but its root key.

    data folder ─► snapshot of all tables ─► the objects that it names ─► manifest ─► rename

The files go first: a checkpoint of the audit log must not tell of more events than the snapshot
has. Objects never change, and one that was deleted meanwhile is listed as lost; so the server goes
on while a backup is made. Tables are lines of JSON, so that a backup of SQLite is restored into
PostgreSQL as well, and the other way. Getting one back: `restoring.py`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from sqlalchemy import Connection

from heliograph.core.clock import Clock
from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act, Event
from heliograph.storage import dump
from heliograph.storage.archive import Contents, Writing
from heliograph.storage.database import Database, Record
from heliograph.storage.lock import Lock
from heliograph.storage.migrations import version as step
from heliograph.storage.objects import Objects, place
from heliograph.storage.root import FILE as ROOT_KEY
from heliograph.storage.root import sync_folder
from heliograph.storage.store import BLOBS
from heliograph.storage.tables import METADATA

log = logging.getLogger("heliograph.storage")
Told = Callable[[int, int], None]
"""Hears how many steps are done, and of how many."""

SETTINGS = "heliograph.toml"
KEPT = (SETTINGS, "watched.json", "models", "trust", "audit")
"""Files and folders of the data folder that a backup holds."""

SECRET = (str(ROOT_KEY), "audit/key", "tokens.key")
"""Files of the data folder that open or sign something: only where they are asked for."""

_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Made:
    """A backup that was made.

    Attributes:
        rows: how many rows it has.
        files: how many files of the data folder.
        blobs: how many blobs.
        lost: ids of blobs that were missing or damaged and are not in it.
        bytes: how large it is.
    """

    rows: int
    files: int
    blobs: int
    lost: list[str]
    bytes: int


class Backup:
    """Makes backups.

    Args:
        database: of which.
        home: the data folder.
        objects: where blobs lie.
        clock: the time.
        record: appends to the audit log.
    """

    def __init__(
        self, database: Database, home: Path, objects: Objects, clock: Clock, record: Record
    ) -> None:
        self.database = database
        self.home = home
        self.objects = objects
        self._clock = clock
        self._record = record

    def make(
        self,
        target: Path,
        *,
        actor: str,
        lock: Lock | None = None,
        with_root_key: bool = False,
        told: Told | None = None,
    ) -> Made:
        """Write a backup; it appears when it is whole.

        Args:
            target: the file; there must be none yet.
            actor: who wants it, for the audit log.
            lock: what locks it; None leaves it open.
            with_root_key: also the keys that open what is sealed and sign the audit log: the file
                is then as secret as the server.
            told: hears of the progress.

        Raises:
            HeliographError: `conflict` if the file is there, `storage_full`, `db_unavailable`.
        """
        if target.exists():
            raise HeliographError(Code.CONFLICT, f"{target.name!r} is there already.")
        scratch = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "wb") as file:
                with Writing(file, lock) as archive:
                    made = self._fill(archive, told, with_root_key=with_root_key)
                size = file.tell()
            os.link(scratch, target)
            sync_folder(target.parent)
        except OSError as error:
            raise HeliographError(
                Code.STORAGE_FULL, "The backup cannot be written there: no space or no right."
            ) from error
        finally:
            with contextlib.suppress(OSError):
                scratch.unlink(missing_ok=True)
        facts = {"rows": made.rows, "blobs": made.blobs, "lost": len(made.lost)}
        more = {"locked": lock is not None, "root_key": with_root_key}
        event = Event(Act.BACKUP_CREATED, actor, facts={**facts, **more})
        self.database.write(lambda connection: self._record(connection, event))
        return Made(made.rows, made.files, made.blobs, made.lost, size)

    def _fill(self, archive: Writing, told: Told | None, *, with_root_key: bool) -> Made:
        files = list(self._files(with_root_key=with_root_key))
        for name in files:
            with contextlib.suppress(FileNotFoundError):
                archive.add(f"home/{name}", _read(self.home / name))
        now = self._clock()
        with dump.snapshot(self.database) as connection:
            tables = METADATA.sorted_tables
            total = sum(dump.count(connection, table) for table in tables)
            total += dump.count(connection, BLOBS)
            steps = _Steps(told, total)
            wanted: dict[str, str] = {}
            for table in tables:
                lines = _lines(connection, table.name, wanted, steps)
                archive.add(f"tables/{table.name}.jsonl", lines)
            counters, schema = dump.counters(connection), step(connection)
        rows = steps.done
        lost = [
            one for one, digest in wanted.items() if not self._copy(archive, one, digest, steps)
        ]
        contents = Contents(
            format=1,
            version=version("heliograph"),
            created_ms=now,
            database=self.database.kind,
            schema=schema,
            tables={str(table.name): dump.columns(table) for table in tables},
            counters=counters,
            lost=lost,
            root_key=with_root_key,
            entries=archive.entries,
        )
        archive.finish(contents)
        steps.end()
        return Made(rows, len(files), len(wanted) - len(lost), lost, 0)

    def _copy(self, archive: Writing, id_: str, digest: str, steps: _Steps) -> bool:
        """Copy a blob; False if it is not there, or not what was stored."""
        steps.one()
        try:
            pieces = self.objects.get(place(id_))
        except FileNotFoundError:
            log.warning("the object of %s is not there and not in the backup", id_)
            return False
        entry = archive.add(f"blobs/{place(id_)}", pieces, squeeze=False)
        if entry.sha256 != digest:
            log.error("the object of %s is damaged", id_)
            return False
        return True

    def _files(self, *, with_root_key: bool) -> Iterator[str]:
        """Plain files of the data folder, by their path within it."""
        for name in (*KEPT, *SECRET):
            if name in SECRET and not with_root_key:
                continue
            start = self.home / name
            for path in sorted(start.rglob("*")) if start.is_dir() else [start]:
                inside = path.relative_to(self.home)
                hidden = any(part.startswith(".") for part in inside.parts)
                twice = name in KEPT and str(inside) in SECRET
                # Half-imported models are hidden; links are somebody else's files.
                if not hidden and not twice and _is_plain(path):
                    yield str(inside)


class _Steps:
    """Counts what is done and tells it."""

    def __init__(self, told: Told | None, total: int) -> None:
        self._told = told
        self._total = total
        self.done = 0

    def one(self) -> None:
        self.done += 1
        if self.done % 100 == 0 and self._told is not None:
            self._told(self.done, max(self._total, self.done))

    def end(self) -> None:
        if self._told is not None:
            self._told(self._total, self._total)


def _lines(
    connection: Connection, name: str, wanted: dict[str, str], steps: _Steps
) -> Iterator[bytes]:
    table = METADATA.tables[name]
    at = {column: index for index, column in enumerate(dump.columns(table))}
    for row in dump.rows(connection, table):
        if table is BLOBS and row[at["wrapped"]] is not None:
            wanted[row[at["id"]]] = row[at["digest"]]
        steps.one()
        yield dump.line(row)


def _is_plain(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece
