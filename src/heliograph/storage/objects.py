"""Where the bytes of blobs lie: a folder of ours, or a bucket of an S3-compatible store.

Objects are named by us, written once and never changed. The folder is plain files and not
`obstore`'s, which renames a file without waiting for the disk: a row must not outlive its object.
"""

from __future__ import annotations

import itertools
import logging
import os
import re
import tempfile
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

from heliograph.core.errors import Code, HeliographError
from heliograph.storage.root import sync_folder

log = logging.getLogger("heliograph.storage")
_NAME = re.compile(r"[0-9a-z]{2}/[a-z]+_[0-9a-z]+", re.ASCII)
_SCRATCH = ".new-"
_PIECE = 1 << 20
_ALONE = 5 << 20
_PATIENCE = timedelta(seconds=20)
_TRIES = 3


class Objects(Protocol):
    """A flat store of objects by name."""

    def put(self, name: str, pieces: Iterable[bytes]) -> None:
        """Store an object; it is whole and on disk afterwards, or not there.

        Raises:
            HeliographError: `storage_full`, or `db_unavailable` if the store cannot be reached.
        """
        ...

    def get(self, name: str) -> Iterator[bytes]:
        """The bytes of an object, in pieces.

        Raises:
            FileNotFoundError: there is none; said before the first piece.
            HeliographError: `db_unavailable`.
        """
        ...

    def delete(self, name: str) -> None:
        """Delete an object, if it is there.

        Raises:
            HeliographError: `db_unavailable`.
        """
        ...

    def names(self, before: float) -> Iterator[str]:
        """Every object that was last written before a time, in seconds since 1970.

        Raises:
            HeliographError: `db_unavailable`.
        """
        ...


def place(id_: str) -> str:
    """The name of a blob's object: its id under two of its random digits."""
    return f"{id_[-2:]}/{id_}"


def open_objects(address: str, home: Path) -> Objects:
    """The store that a setting names.

    Args:
        address: `s3://BUCKET`, `s3://BUCKET/PREFIX` or one with `?endpoint=ADDRESS&region=NAME`;
            empty for a folder in the data folder. Credentials come from the `AWS_…` variables.
        home: the data folder.

    Raises:
        HeliographError: `validation` for another address or without the library.
    """
    return _bucket(address) if address else Folder(home / "blobs")


class Folder:
    """Objects as files.

    Args:
        folder: theirs alone; made at the first object.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, name: str, pieces: Iterable[bytes]) -> None:
        """See `Objects`."""
        target = self._folder / _checked(name)
        try:
            self._make(target.parent)
            handle, scratch = tempfile.mkstemp(prefix=_SCRATCH, dir=self._folder)  # mode 0600
            try:
                with os.fdopen(handle, "wb") as file:
                    for piece in pieces:
                        file.write(piece)
                    file.flush()
                    os.fsync(file.fileno())
                Path(scratch).replace(target)
            finally:
                Path(scratch).unlink(missing_ok=True)
            sync_folder(target.parent)
        except OSError as error:
            raise HeliographError(
                Code.STORAGE_FULL, "The file cannot be stored: no space, or no right to write."
            ) from error

    def get(self, name: str) -> Iterator[bytes]:
        """See `Objects`."""
        try:
            file = (self._folder / _checked(name)).open("rb")
        except FileNotFoundError:
            raise
        except OSError as error:
            raise _unreachable() from error
        return self._read(file)

    def delete(self, name: str) -> None:
        """See `Objects`."""
        try:
            (self._folder / _checked(name)).unlink(missing_ok=True)
        except OSError as error:
            raise _unreachable() from error

    def names(self, before: float) -> Iterator[str]:
        """See `Objects`; what a killed process left half written is cleared on the way."""
        for folder in sorted(self._folder.glob("*")):
            if folder.name.startswith(_SCRATCH) and _older(folder, before):
                folder.unlink(missing_ok=True)
            for one in sorted(folder.glob("*")) if folder.is_dir() else ():
                name = f"{folder.name}/{one.name}"
                if _NAME.fullmatch(name) and _older(one, before):
                    yield name

    def _make(self, folder: Path) -> None:
        if folder.is_dir():
            return
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        sync_folder(self._folder)
        sync_folder(self._folder.parent)

    @staticmethod
    def _read(file: Any) -> Iterator[bytes]:
        with file:
            while piece := file.read(_PIECE):
                yield piece


class Bucket:
    """Objects in a bucket, by `obstore`.

    Args:
        store: an `obstore` store.
    """

    def __init__(self, store: Any) -> None:
        import obstore

        self._store = store
        self._obstore: Any = obstore
        self._troubles = (obstore.exceptions.BaseError, OSError, ValueError)

    def put(self, name: str, pieces: Iterable[bytes]) -> None:
        """See `Objects`."""
        path, rest = _checked(name), iter(pieces)
        first = bytearray()
        for piece in rest:
            first += piece
            if len(first) > _ALONE:
                break
        # What fits is one request: only more is worth the three of an upload in parts.
        whole = len(first) <= _ALONE
        data: Any = bytes(first) if whole else itertools.chain([bytes(first)], rest)
        try:
            self._obstore.put(self._store, path, data, use_multipart=not whole)
        except HeliographError:
            raise
        except self._troubles as error:
            raise self._told(error) from error

    def get(self, name: str) -> Iterator[bytes]:
        """See `Objects`."""
        try:
            got = self._obstore.get(self._store, _checked(name))
        except FileNotFoundError:
            raise
        except self._troubles as error:
            raise self._told(error) from error
        return self._read(got)

    def delete(self, name: str) -> None:
        """See `Objects`."""
        try:
            self._obstore.delete(self._store, _checked(name))
        except FileNotFoundError:
            return
        except self._troubles as error:
            raise self._told(error) from error

    def names(self, before: float) -> Iterator[str]:
        """See `Objects`."""
        limit = datetime.fromtimestamp(before, UTC)
        try:
            for some in self._obstore.list(self._store, chunk_size=1000):
                for one in some:
                    if _NAME.fullmatch(one["path"]) and one["last_modified"] < limit:
                        yield one["path"]
        except self._troubles as error:
            raise self._told(error) from error

    def _read(self, got: Any) -> Iterator[bytes]:
        try:
            for piece in got.stream(min_chunk_size=_PIECE):
                yield bytes(piece)
        except self._troubles as error:
            raise self._told(error) from error

    @staticmethod
    def _told(error: Exception) -> HeliographError:
        # Its words may hold the address and the account: they are for the log alone.
        log.error("the object store failed: %s", error)
        return _unreachable()


def _bucket(address: str) -> Bucket:
    parts = urlsplit(address)
    query = dict(parse_qsl(parts.query))
    if parts.scheme != "s3" or not parts.hostname or set(query) - {"endpoint", "region"}:
        raise HeliographError(
            Code.VALIDATION,
            "storage.blobs is s3://BUCKET/PREFIX, with ?endpoint=ADDRESS if it is not Amazon's, or "
            "empty for a folder in the data folder.",
        )
    try:
        import obstore
        from obstore.store import S3Store
    except ModuleNotFoundError as error:
        raise HeliographError(
            Code.VALIDATION, "storage.blobs in a bucket needs: pip install 'heliograph[s3]'."
        ) from error
    endpoint, more = query.get("endpoint", ""), dict[str, Any]()
    if endpoint:
        more["endpoint"] = endpoint
        more["client_options"] = {"allow_http": endpoint.startswith("http://")}
    if "region" in query:
        more["region"] = query["region"]
    try:
        store = S3Store(
            parts.hostname,
            prefix=parts.path.strip("/") or None,
            retry_config={"max_retries": _TRIES, "retry_timeout": _PATIENCE},
            **more,
        )
    except (obstore.exceptions.BaseError, ValueError) as error:
        raise HeliographError(
            Code.VALIDATION, "storage.blobs: the AWS_… variables of the environment are wrong."
        ) from error
    return Bucket(store)


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise AssertionError(f"{name[:80]!r} is no object's name; this is a bug")
    return name


def _older(path: Path, before: float) -> bool:
    try:
        return path.stat().st_mtime < before
    except FileNotFoundError:
        return False


def an_hour_ago() -> float:
    """Before which an object without a row belongs to nobody: no upload takes that long."""
    return time.time() - 3600


def _unreachable() -> HeliographError:
    return HeliographError(
        Code.DB_UNAVAILABLE,
        "The store of files cannot be reached now. Try again.",
        retry_after=5.0,
    )
