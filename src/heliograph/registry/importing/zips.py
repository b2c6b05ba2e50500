"""Zip archives of strangers: bombs, overlaps, slips and links are refused before unpacking.

`.keras`, `.pt2`, TorchScript, skops and Azure Custom Vision's exports are zips.
"""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from heliograph.core.errors import Code, HeliographError
from heliograph.registry.importing.names import printable

MOST_ENTRIES = 10_000
MOST_BYTES = 16 << 30
_MOST_RATIO = 200
_SMALL = 1 << 20
_END = b"PK\x05\x06"
_END64 = b"PK\x06\x06"
_LARGEST_DIRECTORY = 8 << 20


@contextmanager
def open_zip(path: Path) -> Generator[zipfile.ZipFile]:
    """Open an archive after holding its directory against the limits.

    Raises:
        HeliographError: `model_invalid` or `model_resource_limit`.
    """
    _directory(path)
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise _invalid("is damaged") from error
    with archive:
        _check(archive)
        try:
            yield archive
        except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
            raise _invalid("is damaged") from error


def unpack(path: Path, target: Path) -> None:
    """Unpack a checked archive into a folder of ours, counting what really comes out.

    Raises:
        HeliographError: as `open_zip`, and `storage_full`.
    """
    with open_zip(path) as archive:
        for one in archive.infolist():
            if not one.is_dir():
                try:
                    _entry(archive, one, target / one.filename)
                except OSError as error:
                    raise HeliographError(
                        Code.STORAGE_FULL, "The archive cannot be unpacked into the data folder."
                    ) from error


def _entry(archive: zipfile.ZipFile, one: zipfile.ZipInfo, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    left = one.file_size
    with archive.open(one) as given, place.open("xb") as made:
        while block := given.read(1 << 20):
            left -= len(block)
            if left < 0:
                raise _invalid(f"holds more in {printable(one.filename)} than it says")
            made.write(block)


def _directory(path: Path) -> None:
    """Look at the end record only: a directory of millions of entries is never read."""
    with path.open("rb") as file:
        file.seek(0, 2)
        size = file.tell()
        file.seek(max(0, size - 65_557))
        tail = file.read()
    at = tail.rfind(_END)
    if at < 0 or at + 22 > len(tail):
        raise _invalid("has no end")
    length = int.from_bytes(tail[at + 12 : at + 16], "little")
    if length == 0xFFFFFFFF:
        wide = tail.rfind(_END64, 0, at)
        length = int.from_bytes(tail[wide + 40 : wide + 48], "little") if wide >= 0 else length
    if length > _LARGEST_DIRECTORY:
        raise HeliographError(
            Code.MODEL_RESOURCE_LIMIT,
            f"The archive's directory has {length:,} bytes; {_LARGEST_DIRECTORY:,} are allowed.",
        )


def _check(archive: zipfile.ZipFile) -> None:
    entries = archive.infolist()
    if len(entries) > MOST_ENTRIES:
        raise HeliographError(
            Code.MODEL_RESOURCE_LIMIT,
            f"The archive has {len(entries):,} entries; {MOST_ENTRIES:,} are allowed.",
        )
    seen: set[str] = set()
    for one in entries:
        why = _wrong(one)
        if not why and one.filename.casefold() in seen:
            why = "stands twice"
        if why:
            raise _invalid(f"has an entry {printable(one.filename)} that {why}")
        seen.add(one.filename.casefold())
        if one.file_size > max(_SMALL, _MOST_RATIO * one.compress_size):
            raise HeliographError(
                Code.MODEL_RESOURCE_LIMIT,
                f"The entry {printable(one.filename)} would grow {_MOST_RATIO} times or more "
                f"when unpacked.",
            )
    total = sum(one.file_size for one in entries)
    if total > MOST_BYTES:
        raise HeliographError(
            Code.MODEL_RESOURCE_LIMIT,
            f"Unpacked, the archive has {total:,} bytes; {MOST_BYTES:,} are allowed.",
        )
    _overlaps(entries)


def _wrong(one: zipfile.ZipInfo) -> str:
    path = PurePosixPath(one.filename)
    mode = one.external_attr >> 16
    if "\\" in one.filename or "\0" in one.orig_filename or ":" in one.filename:
        return "is no plain relative path"
    if path.is_absolute() or ".." in path.parts or not one.filename.isprintable():
        return "is no plain relative path"
    if not path.parts or len(one.filename) > 1000:
        return "is no plain relative path"
    if mode and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or not stat.S_IFMT(mode)):
        return "is a link or a device"
    if one.flag_bits & 0x1:
        return "is encrypted"
    if one.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        return "is compressed in an unusual way"
    return ""


def _overlaps(entries: list[zipfile.ZipInfo]) -> None:
    """Entries that share bytes unpack to more than the archive holds."""
    end = 0
    for one in sorted(entries, key=lambda entry: entry.header_offset):
        if one.header_offset < end:
            raise _invalid(f"has an entry {printable(one.filename)} that overlaps another")
        # 30 bytes of local header at least, and the name once more.
        end = one.header_offset + 30 + len(one.orig_filename.encode()) + one.compress_size


def _invalid(why: str) -> HeliographError:
    return HeliographError(Code.MODEL_INVALID, f"The archive {why}.")
