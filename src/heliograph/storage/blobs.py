"""The vault: pictures, documents and model files, each sealed under a key of its own.

    put      encrypt ─► objects (on disk) ─► row with the wrapped key     an object without a row is
    shred    the wrapped key goes from the row: unreadable from then on      swept after an hour
    sweep    what is past its term is shredded; objects of the shredded go, then their rows

What is held (a legal hold) is taken by neither its term nor a deletion; its key lies under the
tenant's key for holds then, which the tenant's erasure spares.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from sqlalchemy import Connection

from heliograph.core.clock import Clock
from heliograph.core.errors import Code, HeliographError
from heliograph.core.faults import reach
from heliograph.core.ids import new_id
from heliograph.storage import store
from heliograph.storage.database import Database
from heliograph.storage.envelope import Binding, Damaged, decrypt, encrypt, new_key
from heliograph.storage.keyring import HOLDS, Ring, Wrapped, damaged, destroyed
from heliograph.storage.objects import Objects, an_hour_ago, place
from heliograph.storage.store import Blob

log = logging.getLogger("heliograph.storage")
_TOGETHER = 200


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep did.

    Attributes:
        expired: blobs that were past their term.
        deleted: objects of shredded blobs that are gone now.
        orphans: objects without a row that are gone now.
        bytes: what all of them took in the store, but orphans.
    """

    expired: int
    deleted: int
    orphans: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong with the store.

    Attributes:
        ref: the blob's id.
        what: `missing` (a row without its object), `damaged` (it does not open) or `orphan` (an
            object without a row).
    """

    ref: str
    what: str


class Vault:
    """Stores files.

    Args:
        database: where their rows are.
        ring: wraps their keys.
        objects: where their bytes are.
        clock: the time.
        orphaned: gives the time, in seconds since 1970, before which an object without a row was
            left by a process that died.
    """

    def __init__(
        self,
        database: Database,
        ring: Ring,
        objects: Objects,
        clock: Clock,
        orphaned: Callable[[], float] = an_hour_ago,
    ) -> None:
        self._database = database
        self._ring = ring
        self.objects = objects
        self._clock = clock
        self._orphaned = orphaned

    def put(
        self,
        connection: Connection | None,
        tenant: str,
        purpose: str,
        data: bytes | Iterable[bytes],
        expires_ms: int | None = None,
    ) -> str:
        """Store a file.

        With a connection its row is a part of that transaction, which waits for the store: for what
        is large or a bucket, `upload` first and `keep` in the transaction.

        Args:
            connection: a transaction that writes; None for one of its own.
            tenant: whose it is, by id.
            purpose: what it is for, as for `Ring.seal`.
            data: the file, or its pieces.
            expires_ms: when it goes by itself.

        Returns:
            Its id, `blob_…`.

        Raises:
            HeliographError: `storage_full`, `db_unavailable`, or `not_found` if the tenant's keys
                were destroyed.
        """
        blob = self.upload(tenant, purpose, data, expires_ms)
        if connection is not None:
            return self.keep(connection, blob)
        return self._database.write(lambda inside: self.keep(inside, blob))

    def upload(
        self,
        tenant: str,
        purpose: str,
        data: bytes | Iterable[bytes],
        expires_ms: int | None = None,
    ) -> Blob:
        """Seal and store a file whose row is still to be written, by `keep`; see `put`."""
        id_, key = new_id("blob"), new_key()
        wrapped = self._ring.wrap(purpose, tenant, id_, key)
        count = _Count()
        pieces = [data] if isinstance(data, bytes) else data
        sealed = encrypt(key, Binding(purpose, tenant, id_), count.plain(pieces))
        self.objects.put(place(id_), count.sealed(sealed))
        reach("vault.stored")
        return Blob(
            id=id_,
            tenant=tenant,
            purpose=purpose,
            size=count.size,
            stored=count.stored,
            digest=count.digest.hexdigest(),
            key=wrapped.by,
            wrapped=wrapped.key,
            created_ms=self._clock(),
            expires_ms=expires_ms,
        )

    def keep(self, connection: Connection, blob: Blob) -> str:
        """Write the row of what `upload` has stored, and give its id."""
        store.add_blob(connection, blob)
        return blob.id

    def get(self, ref: str, tenant: str, purpose: str) -> bytes:
        """A file as a whole; for large ones see `read`.

        Raises:
            HeliographError: `not_found` if there is none of that tenant and purpose, its term is
                over or it was shredded; `internal` if it was changed; `db_unavailable`.
        """
        return b"".join(self.read(ref, tenant, purpose))

    def read(self, ref: str, tenant: str, purpose: str) -> Iterator[bytes]:
        """A file in pieces, each genuine; that none is missing is known at the end.

        Raises:
            HeliographError: as `get`; what is cut short says so after its last good piece.
        """
        with self._database.read() as connection:
            blob = store.blob(connection, ref)
        if blob is None or (blob.tenant, blob.purpose) != (tenant, purpose):
            raise HeliographError(Code.NOT_FOUND, "There is no such file.")
        if blob.expires_ms is not None and blob.expires_ms <= self._clock() and not blob.hold:
            raise HeliographError(Code.NOT_FOUND, "It was deleted: its term is over.")
        return self._open(blob)

    def shred(self, ref: str, connection: Connection | None = None) -> None:
        """Destroy a file's key: nobody can read it again. Its object goes with the next sweep.

        Raises:
            HeliographError: `conflict` if it is held, `not_found`.
        """

        def work(inside: Connection) -> None:
            blob = store.blob(inside, ref, lock=True)
            if blob is None:
                raise HeliographError(Code.NOT_FOUND, "There is no such file.")
            if blob.hold:
                raise HeliographError(
                    Code.CONFLICT, "The file is under a legal hold and cannot be deleted now."
                )
            store.shred_blob(inside, ref)

        if connection is None:
            self._database.write(work)
        else:
            work(connection)

    def delete(self, ref: str) -> None:
        """Shred a file and delete its object now.

        Raises:
            HeliographError: as `shred`.
        """
        self.shred(ref)
        self.objects.delete(place(ref))
        self._database.write(lambda connection: store.forget_blobs(connection, [ref]))

    def shred_tenant(self, connection: Connection, tenant: str) -> int:
        """Destroy every key of a tenant, of files and sealed values, but what is held.

        Returns:
            How many files there were.
        """
        count = store.shred_blobs_of(connection, tenant)
        self._ring.shred(connection, tenant)
        return count

    def hold(self, connection: Connection, ref: str) -> None:
        """Keep a file whatever its term and its tenant say.

        Raises:
            HeliographError: `not_found` if there is none or it is shredded.
        """
        self._move(connection, ref, hold=True)

    def release(self, connection: Connection, ref: str) -> None:
        """End a hold. If the tenant has been erased meanwhile, the file is shredded now.

        Raises:
            HeliographError: `not_found`.
        """
        self._move(connection, ref, hold=False)

    def sweep(self) -> Swept:
        """Shred what is past its term, delete objects of the shredded and those of nobody."""
        now, expired = self._clock(), 0
        while some := self._database.write(lambda connection: _expire(connection, now)):
            expired += some
        deleted = size = 0
        while True:
            with self._database.read() as connection:
                gone = store.shredded_blobs(connection, _TOGETHER)
            if not gone:
                break
            for blob in gone:
                self.objects.delete(place(blob.id))
            reach("vault.emptied")
            ids = [blob.id for blob in gone]
            deleted += self._database.write(
                lambda connection, ids=ids: store.forget_blobs(connection, ids)
            )
            size += sum(blob.stored for blob in gone)
        orphans = [*self._orphans()]
        for name in orphans:
            self.objects.delete(name)
        swept = Swept(expired, deleted, len(orphans), size)
        log.info("files swept: %s", swept)
        return swept

    def check(self) -> Iterator[Finding]:
        """Open every file and look for what has no row; gives only what is wrong."""
        after = ""
        while True:
            with self._database.read() as connection:
                some = store.blobs_after(connection, after, _TOGETHER)
            if not some:
                break
            for blob in some:
                what = self._wrong(blob)
                if what:
                    yield Finding(blob.id, what)
            after = some[-1].id
        for name in self._orphans():
            yield Finding(name.partition("/")[2], "orphan")

    def _wrong(self, blob: Blob) -> str:
        if blob.wrapped is None:
            return ""
        try:
            for _ in self._open(blob):
                pass
        except HeliographError as error:
            if error.code != Code.INTERNAL:
                # A locked ring or a silent store is no damage, and a tenant's erasure neither.
                return "" if error.code == Code.NOT_FOUND else str(error.code)
            missing = isinstance(error.__cause__, FileNotFoundError)
            return "missing" if missing else "damaged"
        return ""

    def _open(self, blob: Blob) -> Iterator[bytes]:
        if blob.wrapped is None:
            raise destroyed()
        key = self._key(blob, blob.wrapped)
        try:
            pieces = self.objects.get(place(blob.id))
        except FileNotFoundError as error:
            raise damaged(f"the object of {blob.id} is missing") from error
        return self._plain(blob, key, pieces)

    @staticmethod
    def _plain(blob: Blob, key: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
        try:
            yield from decrypt(key, Binding(blob.purpose, blob.tenant, blob.id), pieces)
        except Damaged as error:
            raise damaged(f"{blob.id} does not open") from error

    def _key(self, blob: Blob, wrapped: bytes) -> bytes:
        purpose = HOLDS if blob.hold else blob.purpose
        return self._ring.unwrap(purpose, blob.tenant, blob.id, Wrapped(blob.key, wrapped))

    def _move(self, connection: Connection, ref: str, *, hold: bool) -> None:
        blob = store.blob(connection, ref, lock=True)
        if blob is None or blob.wrapped is None:
            raise HeliographError(Code.NOT_FOUND, "There is no such file.")
        if blob.hold == hold:
            return
        key = self._key(blob, blob.wrapped)
        purpose = HOLDS if hold else blob.purpose
        try:
            again = self._ring.wrap(purpose, blob.tenant, ref, key)
        except HeliographError as error:
            if error.code != Code.NOT_FOUND or hold:
                raise
            store.rekey_blob(connection, ref, blob.key, blob.wrapped, hold=False)
            store.shred_blob(connection, ref)
            return
        store.rekey_blob(connection, ref, again.by, again.key, hold=hold)

    def _orphans(self) -> Iterator[str]:
        names = self.objects.names(self._orphaned())
        while some := list(itertools.islice(names, _TOGETHER)):
            ids = [name.partition("/")[2] for name in some]
            with self._database.read() as connection:
                known = store.known_blobs(connection, ids)
            yield from (name for name, id_ in zip(some, ids, strict=True) if id_ not in known)


class _Count:
    """Counts what passes, before and after it is sealed."""

    def __init__(self) -> None:
        self.size = 0
        self.stored = 0
        self.digest = hashlib.sha256()

    def plain(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self.size += len(piece)
            yield piece

    def sealed(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self.stored += len(piece)
            self.digest.update(piece)
            yield piece


def _expire(connection: Connection, now_ms: int) -> int:
    some = store.expired_blobs(connection, now_ms, _TOGETHER)
    return sum(store.shred_blob(connection, blob.id) for blob in some)
