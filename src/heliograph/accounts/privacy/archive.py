"""The file of an export: one zip, signed, written piece by piece and never in the clear on a disk.

    data/NAME.json, data/NAME.csv   the same rows twice: exact, and for a spreadsheet
    files/…                         files as they were
    schema.json                     the columns of every table
    manifest.json                   what is inside: bytes and SHA-256 of each file, whose, when
    manifest.sig, key.pub           Ed25519 over manifest.json, and the key, both in base64

In the CSV files a text that a spreadsheet would take for a formula begins with an apostrophe.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
import zipfile
from collections.abc import Iterable, Iterator
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from heliograph.accounts.privacy.values import File, Part, Sheet, Subject
from heliograph.core.errors import Code, HeliographError

VERSION = 1
_NAME = re.compile(r"[a-z][a-z_]{0,40}")
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", '"', ",", "\n")
_PIECE = 64 << 10
_SEALS = ("manifest.json", "manifest.sig", "key.pub")
_DATE = (1980, 1, 1, 0, 0, 0)


class _Pipe(io.RawIOBase):
    """Takes what a zip file writes, to be given on at once; it cannot go back."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Any, /) -> int:
        """Keep a piece until it is taken."""
        self._pieces.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        """Everything since the last time."""
        taken, self._pieces = b"".join(self._pieces), []
        return taken


class Packing:
    """Makes the file of an export.

    Args:
        subject: whose data.
        export: its id.
        at_ms: when.
        key: signs the manifest.
    """

    def __init__(self, subject: Subject, export: str, at_ms: int, key: Ed25519PrivateKey) -> None:
        self._about = {"export": export, "kind": subject.kind, "subject": subject.id}
        self._at_ms = at_ms
        self._key = key
        self._pipe = _Pipe()
        self._files: dict[str, dict[str, int | str]] = {}
        self._schema: dict[str, list[str]] = {}

    def pieces(self, parts: Iterable[Part]) -> Iterator[bytes]:
        """The file, in pieces, while the parts are read."""
        with zipfile.ZipFile(self._pipe, "w", zipfile.ZIP_DEFLATED) as packed:
            for part in parts:
                for name, content in _written(part):
                    yield from self._put(packed, name, content)
                if isinstance(part, Sheet):
                    self._schema[part.name] = list(part.columns)
            yield from self._put(packed, "schema.json", [_json({"tables": self._schema})])
            manifest = _json({**self._about, "at_ms": self._at_ms, "files": self._files,
                              "version": VERSION})  # fmt: skip
            signature = base64.b64encode(self._key.sign(manifest))
            public = base64.b64encode(self._key.public_key().public_bytes_raw())
            for name, data in zip(_SEALS, (manifest, signature, public), strict=True):
                yield from self._put(packed, name, [data])
        yield self._pipe.take()

    def _put(self, packed: zipfile.ZipFile, name: str, content: Iterable[bytes]) -> Iterator[bytes]:
        if name in self._files:
            raise AssertionError(f"two parts of an export are called {name}; this is a bug")
        size, digest = 0, hashlib.sha256()
        entry = zipfile.ZipInfo(name, _DATE)
        entry.compress_type = zipfile.ZIP_DEFLATED
        with packed.open(entry, "w", force_zip64=True) as inside:
            for piece in content:
                size += len(piece)
                digest.update(piece)
                inside.write(piece)
                yield self._pipe.take()
        if name not in _SEALS:
            self._files[name] = {"bytes": size, "sha256": digest.hexdigest()}


def _written(part: Part) -> Iterator[tuple[str, Iterable[bytes]]]:
    if isinstance(part, File):
        if not _FILE.fullmatch(part.name):
            raise AssertionError("a file of an export has a name that is none; this is a bug")
        yield f"files/{part.name}", part.pieces
        return
    if not _NAME.fullmatch(part.name):
        raise AssertionError("a table of an export has a name that is none; this is a bug")
    yield f"data/{part.name}.json", _together(_rows(part))
    yield f"data/{part.name}.csv", _together(_cells(part))


def _rows(sheet: Sheet) -> Iterator[bytes]:
    yield b"["
    before = b"\n"
    for row in sheet.rows():
        yield before + _json(dict(zip(sheet.columns, row, strict=True)))
        before = b",\n"
    yield b"\n]\n"


def _cells(sheet: Sheet) -> Iterator[bytes]:
    line = io.StringIO(newline="")
    write = csv.writer(line)
    write.writerow(sheet.columns)
    for row in sheet.rows():
        write.writerow([cell(value) for value in row])
        yield line.getvalue().encode()
        line.seek(0)
        line.truncate()
    yield line.getvalue().encode()


def _together(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Short lines as larger pieces."""
    kept, size = list[bytes](), 0
    for line in lines:
        kept.append(line)
        size += len(line)
        if size >= _PIECE:
            yield b"".join(kept)
            kept, size = [], 0
    yield b"".join(kept)


def cell(value: object) -> str:
    """A value as it stands in a CSV file: no spreadsheet takes it for a formula."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    if isinstance(value, str) and text.lstrip(" ").startswith(_FORMULA):
        return "'" + text
    return text


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def check(data: bytes, public: bytes = b"") -> dict[str, Any]:
    """Read an export again: every digest and the signature.

    Args:
        data: the zip file.
        public: the 32 bytes of the key that must have signed it; the file's own if empty, which
            shows only that nothing was damaged.

    Returns:
        The manifest.

    Raises:
        HeliographError: `validation` if anything is missing, added or changed.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            manifest, signature, told = (packed.read(name) for name in _SEALS)
            key = public or base64.b64decode(told, validate=True)
            Ed25519PublicKey.from_public_bytes(key).verify(
                base64.b64decode(signature, validate=True), manifest
            )
            said: dict[str, Any] = json.loads(manifest)
            names = packed.namelist()
            if sorted(names) != sorted([*said["files"], *_SEALS]):
                raise _changed("it has other files than its manifest")
            for name, one in said["files"].items():
                if hashlib.sha256(packed.read(name)).hexdigest() != one["sha256"]:
                    raise _changed(f"{name} was changed")
    except (InvalidSignature, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise _changed("its manifest is not the one that was signed") from error
    return said


def _changed(why: str) -> HeliographError:
    return HeliographError(Code.VALIDATION, f"The export is not whole: {why}.")
