"""The key ring: seals small values itself, and wraps the keys of large ones.

    root        outside the database: `root.py`
     └─ ring key       one a purpose, in versions; wrapped by the root       ring_keys
         └─ data key   one a tenant and purpose; wrapped by a ring key       ring_data_keys
             └─ key    one an object, used once; wrapped by a data key, beside the object

A tenant whose data keys are destroyed has no readable data left, wherever copies of it lie. The
verbs that change the ring (rotate, rewrap, retire) are in `rotation.py`.

Rows are read at each use and only unwrapped keys are remembered, by the wrapping that they came
from: what another process rotates, retires or destroys counts here at once.
"""

from __future__ import annotations

import hmac
import logging
import re
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn, TypeVar

from sqlalchemy import Connection, event

from heliograph.core.clock import Clock
from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act, Event
from heliograph.core.ids import new_id
from heliograph.storage import store
from heliograph.storage.database import Database, Record
from heliograph.storage.envelope import (
    WRAPPED,
    Binding,
    Damaged,
    decrypt,
    encrypt,
    new_key,
    unwrap,
    wrap,
)
from heliograph.storage.root import Roots
from heliograph.storage.store import DataKey, RingKey

log = logging.getLogger("heliograph.storage")
T = TypeVar("T")
LIMIT = 1 << 31
"""Most uses of one key: half of what random nonces of 96 bits allow (NIST SP 800-38D, 2**32)."""

HOLDS = "holds"
"""The purpose whose keys a tenant's erasure spares: what must be kept by law lies under it."""

_PURPOSE = re.compile(r"[a-z][a-z_]{0,31}")
_MAGIC = b"hg\x01"
_ID = 16
_PREFIX = "dek_"
_LEASE = 64
_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class Wrapped:
    """The key of one object, sealed.

    Attributes:
        by: id of the data key that wraps it.
        key: the wrapped key.
    """

    by: str
    key: bytes


@dataclass(slots=True)
class _Lease:
    """Uses of a data key that are counted already."""

    key: DataKey
    left: int


class Ring:
    """Seals and opens; makes the keys that it needs.

    Within a transaction of `database` (in the work given to `write` or `submit`) it reads and
    writes as a part of that transaction; elsewhere in one of its own.

    Args:
        database: where the wrapped keys are.
        roots: what wraps the ring's keys.
        clock: the time.
        record: appends to the audit log; a locked ring is told there once.
        limit: most uses of one key.
    """

    def __init__(
        self,
        database: Database,
        roots: Roots,
        clock: Clock,
        record: Record | None = None,
        *,
        limit: int = LIMIT,
    ) -> None:
        self.database = database
        self.roots = roots
        self.clock = clock
        self.record = record
        self._limit = limit
        self._keys: dict[tuple[str, bytes], bytes] = {}
        self._leases: dict[tuple[str, str], _Lease] = {}
        self._leasing = threading.Lock()
        self._told: set[str] = set()
        self._thread = threading.local()
        event.listen(database.engine, "begin", self._begun)

    def seal(self, purpose: str, tenant: str, plain: bytes, context: str | bytes) -> bytes:
        """Seal a small value.

        Args:
            purpose: what it is for, e.g. `secrets`: `[a-z_]`, at most 32 characters.
            tenant: whose it is, by id; empty for the house's own.
            plain: the value.
            context: what it belongs to, e.g. the id of its row; opens only with the same.

        Raises:
            HeliographError: `db_unavailable` if the ring is locked, `not_found` if the tenant's
                keys were destroyed.
        """
        key = new_key()
        wrapped = self.wrap(purpose, tenant, _text(context), key)
        binding = Binding(purpose, tenant, _text(context))
        head = _MAGIC + bytes.fromhex(wrapped.by.removeprefix(_PREFIX)) + wrapped.key
        return head + b"".join(encrypt(key, binding, [plain]))

    def open(self, purpose: str, tenant: str, sealed: bytes, context: str | bytes) -> bytes:
        """Open what `seal` sealed; the same four must be said again.

        Raises:
            HeliographError: `internal` if it was changed or is another's, `not_found` if its key
                was destroyed, `db_unavailable` if the ring is locked.
        """
        start, end = len(_MAGIC) + _ID, len(_MAGIC) + _ID + WRAPPED
        if not sealed.startswith(_MAGIC) or len(sealed) < end:
            raise damaged(f"a value of {purpose} is not sealed")
        by = _PREFIX + sealed[len(_MAGIC) : start].hex()
        subject = _text(context)
        key = self.unwrap(purpose, tenant, subject, Wrapped(by, sealed[start:end]))
        try:
            return b"".join(decrypt(key, Binding(purpose, tenant, subject), [sealed[end:]]))
        except Damaged as error:
            raise damaged(f"a value of {purpose} does not open") from error

    def digest(self, purpose: str, data: bytes) -> bytes:
        """A keyed hash (HMAC-SHA-256): the same data give the same 32 bytes, here and for ever.

        Rotating keeps the key; nobody without the ring can try values.

        Raises:
            HeliographError: `db_unavailable` if the ring is locked.
        """
        with self._reading() as connection:
            row = store.edge_data_key(connection, purpose, "", newest=False)
        if row is None:
            row = self._within(lambda connection: self._mint(connection, purpose, "", None))
        key = hmac.digest(self._data_key(row), b"heliograph keyed hash", "sha256")
        return hmac.digest(key, data, "sha256")

    def wrap(self, purpose: str, tenant: str, subject: str, key: bytes) -> Wrapped:
        """Seal the key of one object.

        Raises:
            HeliographError: as `seal`.
        """
        row = self._sealing_key(purpose, tenant)
        return Wrapped(row.id, wrap(self._data_key(row), key, Binding(purpose, tenant, subject)))

    def unwrap(self, purpose: str, tenant: str, subject: str, wrapped: Wrapped) -> bytes:
        """The key that `wrap` sealed.

        Raises:
            HeliographError: as `open`.
        """
        with self._reading() as connection:
            row = store.data_key(connection, wrapped.by)
        if row is None or (row.purpose, row.tenant) != (purpose, tenant):
            raise damaged(f"a value of {purpose} was sealed for another place")
        if row.wrapped is None:
            raise destroyed()
        try:
            return unwrap(self._data_key(row), wrapped.key, Binding(purpose, tenant, subject))
        except Damaged as error:
            raise damaged(f"the key of an object of {purpose} does not open") from error

    def shred(self, connection: Connection | None, tenant: str) -> int:
        """Destroy every data key of a tenant: what they sealed cannot be read again by anybody.

        What is under a legal hold stays readable. `rotation.scrub` afterwards clears what the
        database still has of the old rows in its files.

        Returns:
            How many keys there were.
        """

        def work(inside: Connection) -> int:
            now = self.clock()
            count = store.shred_data_keys(inside, tenant, HOLDS, now)
            store.bury(inside, new_id("dek"), tenant, now)
            self.tell(inside, Event(Act.RING_SHREDDED, "system", "", tenant, {"keys": count}))
            return count

        return self.database.write(work) if connection is None else work(connection)

    def check(self) -> list[str]:
        """What keeps the ring from opening; empty if every key of it opens."""
        with self._reading() as connection:
            rows = store.ring_keys(connection)
        wrong: list[str] = []
        for row in rows:
            try:
                self.unlocked(row)
            except HeliographError as error:
                wrong.append(f"{row.purpose} version {row.version}: {error.detail}")
        return wrong

    def tell(self, connection: Connection, said: Event) -> None:
        """Append to the audit log, if there is one."""
        if self.record is not None:
            self.record(connection, said)

    def unlocked(self, row: RingKey) -> bytes:
        """A purpose's key.

        Raises:
            HeliographError: `db_unavailable` if its root key is missing or another one.
        """
        name = f"{row.purpose} version {row.version}"
        if row.wrapped is None:
            self._locked(f"the key {name} was retired", "a key of it was retired too early")
        known = self._keys.get((name, row.wrapped))
        if known is not None:
            return known
        root = self.roots.named(row.root)
        if root is None:
            self._locked(
                f"the key {name} is wrapped by the root {row.root}, which is not here",
                f"the root key {row.root} is not here",
            )
        try:
            key = root.unwrap(row.wrapped, ring_binding(row.purpose, row.version))
        except Damaged:
            self._locked(f"the key {name} does not open: {row.root}", f"the key {name} is damaged")
        return self._remember(name, row.wrapped, key)

    def fresh(self, connection: Connection, purpose: str, version: int) -> RingKey | None:
        """Make a version of a purpose's key; None if another process has.

        Raises:
            HeliographError: `db_unavailable` if there is no root key and there was one.
        """
        root = self.roots.first()
        if root is None:
            if store.ring_keys(connection):
                self._locked("there is no root key", "there is no root key")
            self.roots.make()
            root = self.roots.first()
        if root is None:
            raise AssertionError("a root key that was made is not there; this is a bug")
        wrapped = root.wrap(new_key(), ring_binding(purpose, version))
        made = RingKey(purpose, version, root.name, wrapped, 0, self.clock())
        return made if store.add_if_new(connection, store.RING_KEYS, store.values(made)) else None

    def _begun(self, connection: Connection) -> None:
        self._thread.connection = connection
        if connection.dialect.name == "sqlite" and "secure_delete" not in connection.info:
            # A wrapped key that moves or goes must not stay in a page's free space.
            connection.exec_driver_sql("PRAGMA secure_delete=ON").close()
            connection.info["secure_delete"] = True

    def _current(self) -> Connection | None:
        """The transaction that this thread is in, if it is one that writes."""
        connection: Connection | None = getattr(self._thread, "connection", None)
        if connection is None or connection.closed or connection.invalidated:
            return None
        return connection if connection.in_transaction() else None

    @contextmanager
    def _reading(self) -> Generator[Connection]:
        current = self._current()
        if current is not None:
            yield current
        else:
            with self.database.read() as connection:
                yield connection

    def _within(self, work: Callable[[Connection], T]) -> T:
        current = self._current()
        return work(current) if current is not None else self.database.write(work)

    def _sealing_key(self, purpose: str, tenant: str) -> DataKey:
        if not _PURPOSE.fullmatch(purpose):
            raise AssertionError(f"{purpose!r} is no purpose; this is a bug")
        current = self._current()
        if current is not None:
            # No lease: if the transaction is undone, what was counted is undone as well. And no
            # lock: who holds it may be waiting for this very thread.
            return self._spent(current, purpose, tenant, 1)
        with self._leasing:
            lease = self._leases.get((purpose, tenant))
            if lease is None or not lease.left:
                row = self.database.write(
                    lambda connection: self._spent(
                        connection, purpose, tenant, min(_LEASE, self._limit)
                    )
                )
                if len(self._leases) > _REMEMBERED:
                    self._leases.clear()
                lease = self._leases[purpose, tenant] = _Lease(row, min(_LEASE, self._limit))
            lease.left -= 1
            return lease.key

    def _spent(self, connection: Connection, purpose: str, tenant: str, count: int) -> DataKey:
        """The key that seals, with so many uses counted; a new generation where one is used up."""
        row = store.edge_data_key(connection, purpose, tenant)
        while row is None or not store.spend(connection, row.id, count, self._limit):
            row = self._mint(connection, purpose, tenant, row)
        return row

    def _mint(
        self, connection: Connection, purpose: str, tenant: str, last: DataKey | None
    ) -> DataKey:
        if tenant and purpose != HOLDS and store.is_buried(connection, tenant):
            raise destroyed()
        ring_key = self._wrapping_key(connection, purpose)
        made_id = new_id("dek")
        binding = Binding(f"ring:{purpose}", tenant, made_id, ring_key.version)
        row = DataKey(
            id=made_id,
            purpose=purpose,
            tenant=tenant,
            generation=last.generation + 1 if last else 1,
            version=ring_key.version,
            wrapped=wrap(self.unlocked(ring_key), new_key(), binding),
            uses=0,
            created_ms=self.clock(),
        )
        store.count_ring_uses(connection, ring_key, 1)
        if not store.add_if_new(connection, store.RING_DATA_KEYS, store.values(row)):
            there = store.edge_data_key(connection, purpose, tenant)
            if there is None:
                raise AssertionError("a data key that is there is not found; this is a bug")
            return there
        return row

    def _wrapping_key(self, connection: Connection, purpose: str) -> RingKey:
        """The newest version of a purpose's key; the next one where it is used up."""
        newest = store.newest_ring_key(connection, purpose, lock=True)
        if newest is None or newest.wrapped is None or newest.uses >= self._limit:
            self.fresh(connection, purpose, newest.version + 1 if newest else 1)
            newest = store.newest_ring_key(connection, purpose, lock=True)
        if newest is None:
            raise AssertionError("a ring key that was made is not there; this is a bug")
        return newest

    def _data_key(self, row: DataKey) -> bytes:
        if row.wrapped is None:
            raise destroyed()
        known = self._keys.get((row.id, row.wrapped))
        if known is not None:
            return known
        with self._reading() as connection:
            ring_key = store.ring_key(connection, row.purpose, row.version)
        if ring_key is None:
            self._locked(
                f"version {row.version} of {row.purpose} is missing", "a key of it is missing"
            )
        return self._remember(row.id, row.wrapped, self.data_key_under(row, ring_key))

    def data_key_under(self, row: DataKey, ring_key: RingKey) -> bytes:
        """A data key, opened with the version that wraps it.

        Raises:
            HeliographError: `db_unavailable`, or `internal` if the row was changed.
        """
        if row.wrapped is None:
            raise destroyed()
        try:
            return unwrap(self.unlocked(ring_key), row.wrapped, data_binding(row))
        except Damaged as error:
            raise damaged(f"the data key {row.id} does not open") from error

    def _remember(self, name: str, wrapped: bytes, key: bytes) -> bytes:
        if len(self._keys) > _REMEMBERED:
            self._keys.clear()
        self._keys[name, wrapped] = key
        return key

    def _locked(self, why: str, said: str) -> NoReturn:
        log.error("the key ring is locked: %s", why)
        if self.record is not None and said not in self._told:
            self._told.add(said)
            locked = Event(Act.RING_LOCKED, "system", facts={"why": said})
            # Not waited for: this thread may be the one that writes.
            self.database.submit(lambda connection: self.tell(connection, locked))
        raise HeliographError(
            Code.DB_UNAVAILABLE,
            f"The key ring is locked: {said}. What is sealed cannot be read until it is back.",
            retry_after=30.0,
        )


def ring_binding(purpose: str, version: int) -> Binding:
    """What a version of a purpose's key is bound to."""
    return Binding("ring", "", purpose, version)


def data_binding(row: DataKey) -> Binding:
    """What a data key is bound to."""
    return Binding(f"ring:{row.purpose}", row.tenant, row.id, row.version)


def damaged(why: str) -> HeliographError:
    """Something stored was changed behind our back, or put in another's place: page somebody."""
    log.error("%s: it was changed, or put in another's place", why)
    return HeliographError(Code.INTERNAL, "Something stored was changed and is not given out.")


def destroyed() -> HeliographError:
    """What is asked for cannot be read again by anybody."""
    return HeliographError(Code.NOT_FOUND, "It was deleted: its key is destroyed.")


def _text(context: str | bytes) -> str:
    return context if isinstance(context, str) else context.hex()
