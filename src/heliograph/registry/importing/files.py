"""Reading a stranger's files: only plain ones, by an open descriptor, without following links."""

from __future__ import annotations

import hashlib
import mmap
import os
import shutil
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from heliograph.core.errors import Code, HeliographError

LARGEST = 16 << 30
"""Bytes of one file of a model."""


@contextmanager
def mapped(path: Path) -> Generator[memoryview]:
    """A file's bytes without reading them all.

    Raises:
        HeliographError: `empty_file`, `model_invalid` if it is no plain file,
            `model_resource_limit` if it is larger than `LARGEST`.
    """
    descriptor = open_plain(path)
    with os.fdopen(descriptor, "rb") as file:
        size = os.fstat(descriptor).st_size
        if not size:
            raise HeliographError(Code.EMPTY_FILE, f"{path.name!r} is empty.")
        if size > LARGEST:
            raise HeliographError(
                Code.MODEL_RESOURCE_LIMIT,
                f"{path.name!r} has {size:,} bytes; {LARGEST:,} are allowed.",
            )
        held = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    # Views of parts of it may live on, in a model that was read or an error's traceback: the map
    # is not closed here, it goes with the last of them.
    yield memoryview(held)


def open_plain(path: Path, *, links: bool = True) -> int:
    """A descriptor of a plain file.

    Args:
        path: which.
        links: whether the name itself may be a link; for what an operator typed, yes.

    Raises:
        HeliographError: `model_invalid`, or `model_external_data` where links are not allowed.
    """
    # Without O_NONBLOCK a FIFO would hold us for ever.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if links else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        code = Code.MODEL_INVALID if links else Code.MODEL_EXTERNAL_DATA
        raise HeliographError(
            code, f"{path.name!r} cannot be opened as a plain file: it is missing or a link."
        ) from error
    about = os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode) or (not links and about.st_nlink > 1):
        os.close(descriptor)
        code = Code.MODEL_INVALID if links else Code.MODEL_EXTERNAL_DATA
        what = "has more than one name" if stat.S_ISREG(about.st_mode) else "is no plain file"
        raise HeliographError(code, f"{path.name!r} {what}; a plain file of its own is needed.")
    return descriptor


def copy_plain(source: Path, target: Path, *, links: bool = True) -> str:
    """Copy a plain file, of our own mode, and give its SHA-256.

    Raises:
        HeliographError: as `open_plain`; `storage_full`.
    """
    digest = hashlib.sha256()
    with os.fdopen(open_plain(source, links=links), "rb") as given:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with target.open("xb") as made:
                while block := given.read(1 << 20):
                    digest.update(block)
                    made.write(block)
                    if made.tell() > LARGEST:
                        raise HeliographError(
                            Code.MODEL_RESOURCE_LIMIT,
                            f"{source.name!r} has more than {LARGEST:,} bytes.",
                        )
        except OSError as error:
            target.unlink(missing_ok=True)
            raise HeliographError(
                Code.STORAGE_FULL, f"{source.name!r} cannot be copied into the data folder."
            ) from error
    return digest.hexdigest()


def sha256(path: Path) -> str:
    """The SHA-256 of a file, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def plain_files(folder: Path, most: int = 10_000) -> list[Path]:
    """Every file under a folder, relative to it, sorted; links and devices are refused.

    Raises:
        HeliographError: `model_external_data` for a link, `model_resource_limit` for too many.
    """
    found: list[Path] = []
    for base, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(base, name)
            mode = path.lstat().st_mode
            if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
                raise HeliographError(
                    Code.MODEL_EXTERNAL_DATA,
                    f"{name!r} in the model's folder is a link or a device; only plain files go.",
                )
            if stat.S_ISREG(mode):
                found.append(path.relative_to(folder))
        if len(found) > most:
            raise HeliographError(
                Code.MODEL_RESOURCE_LIMIT, f"The folder has more than {most:,} files."
            )
    return sorted(found)


def remove(folder: Path) -> None:
    """Remove a folder of ours, whatever is left of it."""
    shutil.rmtree(folder, ignore_errors=True)
