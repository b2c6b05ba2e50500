"""The file of a backup: a zip whose last entry lists all others with size and SHA-256.

    home/PATH            files of the data folder
    tables/NAME.jsonl    rows, compressed
    blobs/XX/ID          objects, as sealed as they lie in the store
    manifest.json

Reading takes an archive for a stranger's. Covered: names that lead elsewhere, links, entries that
overlap, stand twice or grow beyond measure, and whatever differs from the manifest: all refused
before anything is written. Not covered: an archive that somebody made as a whole; locked with a
passphrase it shows who made it.
"""

from __future__ import annotations

import hashlib
import re
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, Self

import msgspec

from heliograph.core.errors import Code, HeliographError
from heliograph.storage.envelope import Damaged
from heliograph.storage.lock import Lock, Locking, is_locked, unlock

_MANIFEST = "manifest.json"
_NAME = re.compile(
    r"tables/[a-z_]{1,63}\.jsonl|blobs/[0-9a-z]{2}/blob_[0-9a-z]{1,64}|home(/[^/\\:\x00-\x1f]{1,255}){1,20}"
)
_LARGEST_MANIFEST = 256 << 20
_LARGEST_DIRECTORY = 512 << 20
_MOST_RATIO = 200
_SMALL = 1 << 20
_PIECE = 1 << 20
_TROUBLES = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError)
_END = b"PK\x05\x06"
_END64 = b"PK\x06\x06"


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the manifest says of an entry: its bytes, and their SHA-256 as hex."""

    size: int
    sha256: str


class Contents(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The manifest.

    Attributes:
        format: 1.
        version: of Heliograph, which made it.
        created_ms: when its snapshot was taken.
        database: `sqlite` or `postgresql`.
        schema: version of the tables.
        tables: columns by table.
        counters: the last number that a table has given a row.
        lost: blobs that were not there, or damaged, when they were copied.
        root_key: whether the root key is in it.
        entries: every other entry.
    """

    format: int
    version: str
    created_ms: int
    database: str
    schema: str
    tables: dict[str, list[str]]
    counters: dict[str, int]
    lost: list[str]
    root_key: bool
    entries: dict[str, Entry]


class Writing:
    """An archive that is being written.

    Args:
        file: where to.
        lock: with what it is locked; None leaves it open.
    """

    def __init__(self, file: IO[bytes], lock: Lock | None) -> None:
        self._to = Locking(file, lock)
        sink: Any = self._to
        self._zip = zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED, compresslevel=3)
        self.entries: dict[str, Entry] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # One that was not finished must not write its directory when it is collected.
        self._zip.fp = None

    def add(self, name: str, pieces: Iterable[bytes], *, squeeze: bool = True) -> Entry:
        """Write an entry and remember its digest."""
        if name in self.entries or not _NAME.fullmatch(name):
            raise HeliographError(Code.VALIDATION, f"{name!r} cannot be put into a backup.")
        self.entries[name] = entry = self._write(name, pieces, squeeze=squeeze)
        return entry

    def finish(self, contents: Contents) -> None:
        """Write the manifest and wait for the disk."""
        self._write(_MANIFEST, [msgspec.json.format(msgspec.json.encode(contents))], squeeze=True)
        self._zip.close()
        self._to.finish()

    def _write(self, name: str, pieces: Iterable[bytes], *, squeeze: bool) -> Entry:
        about = zipfile.ZipInfo(name)
        about.external_attr = 0o600 << 16
        about.compress_type = zipfile.ZIP_DEFLATED if squeeze else zipfile.ZIP_STORED
        digest, size = hashlib.sha256(), 0
        with self._zip.open(about, "w", force_zip64=True) as entry:
            for piece in pieces:
                digest.update(piece)
                size += len(piece)
                entry.write(piece)
        return Entry(size, digest.hexdigest())


class Reading:
    """An archive that was checked; made by `open_archive`."""

    def __init__(self, held: zipfile.ZipFile, contents: Contents) -> None:
        self._zip = held
        self.contents = contents

    def under(self, folder: str) -> list[str]:
        """Names of the entries of a folder."""
        return sorted(one for one in self.contents.entries if one.startswith(f"{folder}/"))

    def pieces(self, name: str) -> Iterator[bytes]:
        """An entry; what differs from the manifest says so at its end at the latest.

        Raises:
            HeliographError: `validation`.
        """
        entry = self.contents.entries[name]
        digest, left = hashlib.sha256(), entry.size
        try:
            with self._zip.open(name) as file:
                while piece := file.read(min(_PIECE, left + 1)):
                    left -= len(piece)
                    if left < 0:
                        break
                    digest.update(piece)
                    yield piece
        except _TROUBLES as error:
            raise _refused(f"its entry {name[:100]!r} is damaged") from error
        if left or digest.hexdigest() != entry.sha256:
            raise _refused(f"its entry {name[:100]!r} is not what its manifest says")

    def lines(self, name: str) -> Iterator[bytes]:
        """The lines of an entry.

        Raises:
            HeliographError: `validation`.
        """
        held = b""
        for piece in self.pieces(name):
            *whole, held = (held + piece).split(b"\n")
            yield from whole
            if len(held) > _LARGEST_MANIFEST:
                raise _refused(f"its entry {name[:100]!r} has a line without end")
        if held:
            raise _refused(f"its entry {name[:100]!r} ends within a line")

    def verify(self) -> Iterator[str]:
        """Hold every entry against the manifest; gives the names of those that were.

        Raises:
            HeliographError: `validation`.
        """
        for name in self.contents.entries:
            for _ in self.pieces(name):
                pass
            yield name


@contextmanager
def open_archive(path: Path, lock: Lock | None, scratch: Path) -> Generator[Reading]:
    """Open an archive after looking at its directory and manifest.

    Args:
        path: which.
        lock: what unlocks it.
        scratch: a folder of ours for what is unlocked; it never has a name there.

    Raises:
        HeliographError: `validation`, saying what is wrong with it.
    """
    with ExitStack() as stack:
        try:
            file: IO[bytes] = stack.enter_context(path.open("rb"))
        except OSError as error:
            raise _refused("it cannot be read") from error
        if is_locked(file):
            file = stack.enter_context(_unlocked(file, lock, scratch))
        _directory(file)
        try:
            held = stack.enter_context(zipfile.ZipFile(file))
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise _refused("it is damaged or cut short") from error
        yield Reading(held, _checked(held))


@contextmanager
def _unlocked(file: IO[bytes], lock: Lock | None, scratch: Path) -> Generator[IO[bytes]]:
    if lock is None:
        raise HeliographError(
            Code.VALIDATION, "The backup is locked: give its passphrase or private key."
        )
    with tempfile.TemporaryFile(dir=scratch) as plain:
        try:
            for piece in unlock(file, lock):
                plain.write(piece)
        except Damaged as error:
            raise _refused(
                "it does not open: another passphrase or key is needed, or it is damaged"
            ) from error
        except OSError as error:
            raise HeliographError(
                Code.STORAGE_FULL, "No space is left to unlock the backup."
            ) from error
        plain.seek(0)
        yield plain


def _directory(file: IO[bytes]) -> None:
    """Look at the end record only: a directory of millions of entries is never read."""
    size = file.seek(0, 2)
    file.seek(max(0, size - 65_557))
    tail = file.read()
    file.seek(0)
    at = tail.rfind(_END)
    if at < 0 or at + 22 > len(tail):
        raise _refused("it is no archive, or cut short")
    length = int.from_bytes(tail[at + 12 : at + 16], "little")
    wide = tail.rfind(_END64, 0, at)
    if length == 0xFFFFFFFF and wide >= 0:
        length = int.from_bytes(tail[wide + 40 : wide + 48], "little")
    if length > min(_LARGEST_DIRECTORY, size):
        raise _refused("its directory is larger than it may be")


def _checked(held: zipfile.ZipFile) -> Contents:
    found = held.infolist()
    names = [one.filename for one in found]
    if len({one.casefold() for one in names}) != len(names):
        raise _refused("an entry stands twice in it")
    for one in found:
        if why := _wrong(one):
            raise _refused(f"its entry {one.filename[:100]!r} {why}")
    _overlaps(found)
    contents = _manifest(held, names)
    if contents.format != 1:
        raise _refused(f"it has format {contents.format}, made by {contents.version[:20]!r}")
    if set(contents.entries) != set(names) - {_MANIFEST}:
        raise _refused("it holds other entries than its manifest says")
    for one in found:
        if one.filename != _MANIFEST and contents.entries[one.filename].size != one.file_size:
            raise _refused(f"its entry {one.filename[:100]!r} is not what its manifest says")
    return contents


def _manifest(held: zipfile.ZipFile, names: list[str]) -> Contents:
    if _MANIFEST not in names:
        raise _refused("it has no manifest: it is no backup, or cut short")
    if held.getinfo(_MANIFEST).file_size > _LARGEST_MANIFEST:
        raise _refused("its manifest is too large")
    try:
        with held.open(_MANIFEST) as file:
            return msgspec.json.decode(file.read(_LARGEST_MANIFEST + 1), type=Contents)
    except (*_TROUBLES, msgspec.DecodeError) as error:
        raise _refused("its manifest cannot be read") from error


def _wrong(one: zipfile.ZipInfo) -> str:
    parts = one.filename.split("/")
    mode = one.external_attr >> 16
    if one.filename != _MANIFEST and not _NAME.fullmatch(one.filename):
        return "has a name that no backup has"
    # A NUL cuts a name short in one reader and not in another.
    if ".." in parts or "." in parts or one.filename != one.orig_filename:
        return "has a name that leads elsewhere"
    if stat.S_IFMT(mode) not in {0, stat.S_IFREG}:
        return "is a link or a device"
    if one.flag_bits & 0x1 or one.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        return "is packed in an unusual way"
    if one.file_size > max(_SMALL, _MOST_RATIO * one.compress_size):
        return f"would grow {_MOST_RATIO} times or more"
    return ""


def _overlaps(found: list[zipfile.ZipInfo]) -> None:
    """Entries that share bytes unpack to more than the archive holds."""
    end = 0
    for one in sorted(found, key=lambda entry: entry.header_offset):
        if one.header_offset < end:
            raise _refused(f"its entry {one.filename[:100]!r} overlaps another")
        # 30 bytes of local header at least, and the name once more.
        end = one.header_offset + 30 + len(one.orig_filename.encode()) + one.compress_size


def _refused(why: str) -> HeliographError:
    return HeliographError(Code.VALIDATION, f"The backup is refused: {why}.")
