"""The folder of signed checkpoints: files beside the database, numbered without gaps.

    HOME/audit/checkpoints/00000001, 00000002, …    and the same in a second folder, if one is set

A checkpoint appears whole or not at all, is on disk before anybody is told of it, and is never
written a second time. Of several processes that share the folder one writes at a time.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from heliograph.core.faults import reach

log = logging.getLogger("heliograph.audit")
_NAME = re.compile(r"[0-9]{8}")


class Checkpoints:
    """The checkpoints of one log.

    Args:
        folder: where they lie; made if it is not there.
        copies: a second folder, best on another machine's disk; None for none.
    """

    def __init__(self, folder: Path, copies: Path | None = None) -> None:
        self._folder = folder
        self._copies = copies
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)

    def all(self) -> list[tuple[int, str]]:
        """Numbers and notes, in order."""
        return _read(self._folder)

    def last(self) -> tuple[int, str]:
        """The newest one's number and note; 0 and nothing if there is none."""
        names = _names(self._folder)
        if not names:
            return 0, ""
        return int(names[-1]), (self._folder / names[-1]).read_text("utf-8", "replace")

    def kept(self) -> list[str]:
        """The notes of the second folder, as far as it can be read now."""
        if self._copies is None or not self._copies.is_dir():
            return []
        return [note for _, note in _read(self._copies)]

    def add(self, note: str) -> int:
        """Keep a checkpoint; says its number. Only while `alone`."""
        number = self.last()[0] + 1
        _write(self._folder, f"{number:08}", note)
        return number

    def copy(self) -> None:
        """Bring the second folder up to date; a failure is logged, and made good the next time."""
        if self._copies is None:
            return
        try:
            self._copies.mkdir(mode=0o700, parents=True, exist_ok=True)
            there = set(_names(self._copies))
            for name in _names(self._folder):
                if name not in there:
                    _write(self._copies, name, (self._folder / name).read_text("utf-8"))
        except OSError as error:
            log.error(  # noqa: TRY400 - the errno says it all
                "the second folder of audit checkpoints cannot be written: %s", error
            )

    @contextmanager
    def alone(self) -> Generator[None]:
        """While this is held nobody else adds a checkpoint."""
        with (self._folder.parent / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _names(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir() if _NAME.fullmatch(one.name))


def _read(folder: Path) -> list[tuple[int, str]]:
    return [(int(name), (folder / name).read_text("utf-8", "replace")) for name in _names(folder)]


def _write(folder: Path, name: str, note: str) -> None:
    handle, scratch = tempfile.mkstemp(prefix=".new-", dir=folder)  # mode 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(note)
            file.flush()
            os.fsync(file.fileno())
        # A link fails where a name is taken: nothing is ever written over.
        os.link(scratch, folder / name)
        reach("checkpoint.linked")
    finally:
        Path(scratch).unlink()
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Have the folder's entries on disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
