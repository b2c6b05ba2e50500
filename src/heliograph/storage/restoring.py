"""Getting a backup back: all of it is checked before anything is written.

    every digest ─► objects ─► files, aside ─► one transaction: rows, and who was erased ─► files

A kill on the way leaves the mark `.restoring`, with which nothing should be opened: the restore is
run again with `replace`. Who was erased since the backup was made is erased again within the same
transaction, from a list that no backup holds (`erasures.py`).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from heliograph.core.clock import Clock
from heliograph.core.errors import Code, HeliographError
from heliograph.core.faults import reach
from heliograph.core.ids import new_id
from heliograph.storage import dump, store
from heliograph.storage.archive import Contents, Reading, open_archive
from heliograph.storage.backup import KEPT, SECRET, SETTINGS, Told
from heliograph.storage.database import Database
from heliograph.storage.keyring import HOLDS
from heliograph.storage.lock import Lock
from heliograph.storage.migrations import version as step
from heliograph.storage.objects import Objects
from heliograph.storage.root import sync_folder
from heliograph.storage.tables import METADATA

MARK = ".restoring"
_ASIDE = ".restored"
Erase = Callable[[Connection, str], object]
"""Erases a tenant again within the transaction of a restore."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did.

    Attributes:
        created_ms: when the backup was made.
        rows: how many rows are back.
        blobs: how many blobs.
        lost: blobs that the backup did not have.
        erased: how many tenants were erased again.
        root_key: whether the root key came with it.
        sealed: whether it has anything that needs the root key.
    """

    created_ms: int
    rows: int
    blobs: int
    lost: int
    erased: int
    root_key: bool
    sealed: bool


@dataclass(frozen=True, slots=True)
class Target:
    """Where a backup is restored to.

    Attributes:
        database: with its tables; empty, unless it is to be replaced.
        home: the data folder.
        objects: where blobs go.
        clock: the time.
    """

    database: Database
    home: Path
    objects: Objects
    clock: Clock


def check_whole(home: Path) -> None:
    """Refuse a data folder whose restore was cut off.

    Raises:
        HeliographError: `conflict`.
    """
    if (home / MARK).exists():
        raise HeliographError(
            Code.CONFLICT, "A restore was cut off: run 'heliograph restore FILE --replace' again."
        )


def restore(
    file: Path,
    target: Target,
    *,
    lock: Lock | None = None,
    replace: bool = False,
    erased: Sequence[str] = (),
    erase: Sequence[Erase] = (),
    told: Told | None = None,
) -> Restored:
    """Restore a backup while nothing else is running on the data folder.

    Args:
        file: the backup.
        target: where to.
        lock: what unlocks it.
        replace: delete what is there.
        erased: tenants that were erased since; see `erasures.erased`.
        erase: further steps of an erasure, after the keys are destroyed.
        told: hears of the progress.

    Raises:
        HeliographError: `validation` if the backup is refused, `conflict` if something is there,
            `storage_full`, `db_unavailable`.
    """
    told = told or _silent
    target.home.mkdir(parents=True, exist_ok=True)
    with open_archive(file, lock, target.home) as archive:
        _fits(archive.contents, target)
        if not replace:
            _nothing_there(target)
        _room(archive.contents, target.home)
        total = 3 * len(archive.contents.entries)
        for done, _ in enumerate(archive.verify(), 1):
            told(done, total)
        (target.home / MARK).touch()
        sync_folder(target.home)
        blobs = _objects(archive, target.objects)
        told(2 * total // 3, total)
        aside = _files(archive, target.home)
        reach("restore.staged")
        rows = target.database.write(
            lambda connection: _rows(connection, archive, target, [*erased], [*erase])
        )
        reach("restore.committed")
        _move(aside, target.home)
        (target.home / MARK).unlink()
        told(total, total)
        with target.database.read() as connection:
            sealed = bool(store.ring_keys(connection))
        said = archive.contents
        return Restored(
            created_ms=said.created_ms,
            rows=rows,
            blobs=blobs,
            lost=len(said.lost),
            erased=len(erased),
            root_key=said.root_key,
            sealed=sealed,
        )


def _silent(done: int, of: int) -> None:
    del done, of


def _fits(contents: Contents, target: Target) -> None:
    unknown = [
        f"{name}.{column}"
        for name, columns in contents.tables.items()
        for column in columns
        if name not in METADATA.tables or column not in METADATA.tables[name].columns
    ]
    tables = {f"tables/{name}.jsonl" for name in contents.tables}
    if tables != {one for one in contents.entries if one.startswith("tables/")}:
        raise HeliographError(Code.VALIDATION, "The backup is refused: it lists other tables.")
    with target.database.read() as connection:
        schema = step(connection)
    if unknown or (schema and contents.schema and schema != contents.schema):
        raise HeliographError(
            Code.VALIDATION,
            f"The backup was made by Heliograph {contents.version[:20]!r}, whose tables are not "
            "these. Restore it with that version, then upgrade.",
        )
    for name in contents.entries:
        inside = name.removeprefix("home/")
        if name.startswith("home/") and inside not in SECRET and inside.split("/")[0] not in KEPT:
            raise HeliographError(
                Code.VALIDATION, f"The backup is refused: it holds a file {inside[:80]!r}."
            )


def _nothing_there(target: Target) -> None:
    with target.database.read() as connection:
        rows = any(dump.count(connection, table) for table in METADATA.sorted_tables)
    # Keys and settings are brought before: with them alone a data folder counts as empty.
    places = ("models", "trust", "watched.json", "audit/checkpoints")
    if rows or any(_holds(target.home / name) for name in places):
        raise HeliographError(
            Code.CONFLICT,
            "Something is there already. Restore into an empty data folder and database, or with "
            "--replace, which deletes what is there.",
        )
    check_whole(target.home)


def _holds(path: Path) -> bool:
    return any(one.is_file() for one in path.rglob("*")) if path.is_dir() else path.exists()


def _room(contents: Contents, home: Path) -> None:
    needed = sum(one.size for one in contents.entries.values())
    if needed > shutil.disk_usage(home).free:
        raise HeliographError(
            Code.STORAGE_FULL, f"The backup has {needed:,} bytes, more than the disk has free."
        )


def _objects(archive: Reading, objects: Objects) -> int:
    # What was damaged when it was copied has an entry and is lost all the same.
    lost = {f"blobs/{one[-2:]}/{one}" for one in archive.contents.lost}
    names = [name for name in archive.under("blobs") if name not in lost]
    for name in names:
        objects.put(name.removeprefix("blobs/"), archive.pieces(name))
    return len(names)


def _files(archive: Reading, home: Path) -> Path:
    """Write the files of the data folder beside it, on the same disk."""
    aside = home / _ASIDE
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(mode=0o700)
    try:
        for name in archive.under("home"):
            path = aside / name.removeprefix("home/")
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "wb") as file:
                for piece in archive.pieces(name):
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
    except OSError as error:
        raise HeliographError(
            Code.STORAGE_FULL, "The files of the backup cannot be written into the data folder."
        ) from error
    return aside


def _rows(
    connection: Connection,
    archive: Reading,
    target: Target,
    erased: list[str],
    erase: list[Erase],
) -> int:
    contents, count = archive.contents, 0
    dump.empty(connection)
    for table in METADATA.sorted_tables:
        if table.name not in contents.tables:
            continue
        lines = archive.lines(f"tables/{table.name}.jsonl")
        count += sum(dump.fill(connection, table, contents.tables[table.name], lines))
    dump.count_on(connection, contents.counters)
    for id_ in contents.lost:
        connection.execute(store.BLOBS.delete().where(store.BLOBS.c.id == id_))
    now = target.clock()
    for tenant in erased:
        store.shred_blobs_of(connection, tenant)
        store.shred_data_keys(connection, tenant, HOLDS, now)
        store.bury(connection, new_id("dek"), tenant, now)
        for again in erase:
            again(connection, tenant)
    reach("restore.filled")
    return count


def _move(aside: Path, home: Path) -> None:
    """Put the files in their places; those that were there go."""
    for name in (*KEPT, *SECRET):
        there, made = home / name, aside / name
        if name == SETTINGS and there.exists():
            # They say where this very restore goes to.
            continue
        if name in SECRET:
            # A secret that the backup does not have stays: it may be the right one.
            if made.exists():
                there.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                made.replace(there)
            continue
        secrets = {one: home / one for one in SECRET if one.startswith(f"{name}/")}
        for one, kept in secrets.items():
            if kept.exists() and not (aside / one).exists():
                (aside / one).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                kept.replace(aside / one)
        if there.is_dir():
            shutil.rmtree(there)
        elif there.exists():
            there.unlink()
        if made.exists():
            made.replace(there)
    shutil.rmtree(aside, ignore_errors=True)
    sync_folder(home)
