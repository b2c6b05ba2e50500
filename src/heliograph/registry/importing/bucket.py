"""A watched place in an S3-compatible object store, by `obstore` (the extra `s3`).

Endpoint and credentials come from the environment as for other programs: `AWS_ENDPOINT_URL`,
`AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, a web identity or
the machine's role; `AWS_SKIP_SIGNATURE` for a public bucket, `AWS_ALLOW_HTTP` for an endpoint
without TLS. An object is read in pieces, each only if it is still the one that was listed.
"""

from __future__ import annotations

import importlib.util
import logging
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

from heliograph.core.errors import Code, HeliographError
from heliograph.registry.importing.places import MOST_ENTRIES, S3, Entry, Moved, too_many

log = logging.getLogger("heliograph.registry")
_ADDRESS = re.compile(
    rf"{S3}(?P<bucket>[a-z0-9][a-z0-9.-]{{1,61}}[a-z0-9])(?:/(?P<prefix>[^?#\s]*))?", re.ASCII
)
_STATUS = re.compile(r"status code: (\d{3})")
_PIECE = 8 << 20
_PATIENCE = timedelta(seconds=20)
_TRIES = 3


def check_address(address: str) -> None:
    """Refuse an address that names no bucket, and any without the library.

    Raises:
        HeliographError: `validation`, or `model_unavailable` without the extra.
    """
    if not _ADDRESS.fullmatch(address):
        raise HeliographError(
            Code.VALIDATION, f"registry.watch: {address[:60]!r} is not s3://BUCKET or s3://BUCKET/…"
        )
    if importlib.util.find_spec("obstore") is None:
        raise HeliographError(
            Code.MODEL_UNAVAILABLE,
            "registry.watch: an object store needs the library obstore: pip install "
            "'heliograph[s3]'.",
        )


class Bucket:
    """A bucket, or what lies below a prefix of it.

    Args:
        address: `s3://BUCKET` or `s3://BUCKET/PREFIX`.

    Raises:
        HeliographError: as `check_address`, or `validation` for an environment that is no use.
    """

    def __init__(self, address: str) -> None:
        check_address(address)
        import obstore
        from obstore.store import S3Store

        match = _ADDRESS.fullmatch(address)
        if match is None:
            raise AssertionError("a checked address names no bucket; this is a bug")
        prefix = (match["prefix"] or "").strip("/")
        self._obstore: Any = obstore
        try:
            self._store = S3Store(
                match["bucket"],
                prefix=prefix or None,
                retry_config={"max_retries": _TRIES, "retry_timeout": _PATIENCE},
            )
        except (obstore.exceptions.BaseError, ValueError) as error:
            raise HeliographError(
                Code.VALIDATION, "registry.watch: the AWS_… variables of the environment are wrong."
            ) from error

    def look(self) -> list[Entry]:
        """See `Place`."""
        found: list[Entry] = []
        try:
            for some in self._obstore.list(self._store, chunk_size=1000):
                found += [Entry(one["path"], one["size"], _mark(one)) for one in some]
                if len(found) > MOST_ENTRIES:
                    raise too_many()
        except self._troubles() as error:
            raise self._told(error) from error
        return _files(found)

    def copy(self, entry: Entry, target: Path) -> None:
        """See `Place`."""
        with target.open("xb") as made:
            for start in range(0, entry.size, _PIECE):
                made.write(self._piece(entry, start, min(start + _PIECE, entry.size)))

    def _piece(self, entry: Entry, start: int, end: int) -> bytes:
        kind, _, mark = entry.mark.partition(" ")
        options: dict[str, Any] = {"range": (start, end)}
        if kind == "etag":
            options["if_match"] = mark
        try:
            got = self._obstore.get(self._store, entry.path, options=options)
            if got.meta["size"] != entry.size or _mark(got.meta) != entry.mark:
                raise Moved
            data = bytes(got.bytes())
        except (self._obstore.exceptions.PreconditionError, FileNotFoundError) as error:
            raise Moved from error
        except self._troubles() as error:
            raise self._told(error) from error
        if len(data) != end - start:
            raise Moved
        return data

    def _troubles(self) -> tuple[type[Exception], ...]:
        return (self._obstore.exceptions.BaseError, OSError, ValueError)

    def _told(self, error: Exception) -> HeliographError:
        """A library's error in our words; its own are for the log of those who ask for it."""
        log.debug("the object store says: %s", error)
        # A listing's failures are all of one kind; only the words tell which.
        said = _STATUS.search(str(error))
        status = int(said[1]) if said else 0
        if status in {401, 403}:
            return HeliographError(
                Code.FORBIDDEN, "The object store does not let us in: look at its credentials."
            )
        if status == 404:
            return HeliographError(Code.NOT_FOUND, "The object store has no such bucket.")
        if "invalid path" in str(error):
            return HeliographError(
                Code.MODEL_INVALID,
                "An object's key there has an empty part, dots alone or control characters, which "
                "no file can be named; rename it.",
            )
        return HeliographError(
            Code.MODEL_UNAVAILABLE,
            "The object store cannot be read; the log level `debug` tells what it says.",
        )


def _files(entries: list[Entry]) -> list[Entry]:
    """The objects without those empty ones that only stand for folders."""
    folders = {
        "/".join(parts[:depth])
        for parts in (one.path.split("/") for one in entries)
        for depth in range(1, len(parts))
    }
    return [
        one
        for one in entries
        if one.size or (one.path not in folders and "." in one.path.rpartition("/")[2])
    ]


def _mark(meta: Any) -> str:
    if meta["e_tag"]:
        return f"etag {meta['e_tag']}"
    return f"time {meta['last_modified'].isoformat()}"
