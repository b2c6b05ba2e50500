"""The rows of the key ring and of the blobs: all their SQL.

The ring's rows hold wrapped keys only. A key that is destroyed leaves its row, without the key, so
that it is never made again and what it sealed is told from what is damaged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Index,
    Integer,
    LargeBinary,
    Row,
    Select,
    Table,
    Text,
    UniqueConstraint,
    delete,
    func,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert as insert_postgresql
from sqlalchemy.dialects.sqlite import insert as insert_sqlite

from heliograph.storage.tables import METADATA

RING_KEYS = Table(
    "ring_keys",
    METADATA,
    Column("purpose", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("root", Text, nullable=False),
    Column("wrapped", LargeBinary),
    Column("uses", BigInteger, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("retired_ms", BigInteger),
)
RING_DATA_KEYS = Table(
    "ring_data_keys",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("purpose", Text, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("wrapped", LargeBinary),
    Column("uses", BigInteger, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("shredded_ms", BigInteger),
    UniqueConstraint("purpose", "tenant", "generation"),
    Index(None, "purpose", "version"),
    Index(None, "tenant"),
)
BLOBS = Table(
    "blobs",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("stored", BigInteger, nullable=False),
    Column("digest", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("wrapped", LargeBinary),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger),
    Column("hold", Boolean, nullable=False),
    Index(None, "tenant"),
    Index(None, "expires_ms"),
)


@dataclass(frozen=True, slots=True)
class RingKey:
    """A version of a purpose's key-encryption key.

    Attributes:
        purpose: what for.
        version: counts from 1; the newest wraps.
        root: name of the root key that wrapped it.
        wrapped: the key; None once it is retired.
        uses: how often it has wrapped.
        created_ms: when it was made.
        retired_ms: when it was destroyed.
    """

    purpose: str
    version: int
    root: str
    wrapped: bytes | None
    uses: int
    created_ms: int
    retired_ms: int | None = None


@dataclass(frozen=True, slots=True)
class DataKey:
    """A tenant's key for a purpose.

    Attributes:
        id: `dek_…`.
        purpose: what for.
        tenant: whose; empty for the house's own.
        generation: counts from 1; the newest seals.
        version: of the purpose's key that wrapped it.
        wrapped: the key; None once it is shredded.
        uses: how many it may have sealed; counted ahead.
        created_ms: when it was made.
        shredded_ms: when it was destroyed.
    """

    id: str
    purpose: str
    tenant: str
    generation: int
    version: int
    wrapped: bytes | None
    uses: int
    created_ms: int
    shredded_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Blob:
    """A stored file.

    Attributes:
        id: `blob_…`.
        tenant: whose.
        purpose: what for.
        size: bytes.
        stored: bytes in the store, where it is sealed.
        digest: SHA-256 of what is in the store, as hex.
        key: id of the data key that wraps its own.
        wrapped: its own key; None once it is shredded.
        created_ms: when it was stored.
        expires_ms: when it goes by itself; None for never.
        hold: it must be kept: neither its term nor a deletion takes it.
    """

    id: str
    tenant: str
    purpose: str
    size: int
    stored: int
    digest: str
    key: str
    wrapped: bytes | None
    created_ms: int
    expires_ms: int | None
    hold: bool = False


_BURIED = ""
"""The purpose of the row that marks a tenant whose keys were destroyed."""

T = TypeVar("T", RingKey, DataKey, Blob)


def values(one: RingKey | DataKey | Blob) -> dict[str, Any]:
    """A value as the columns of its row."""
    return {field.name: getattr(one, field.name) for field in fields(one)}


def _all(kind: type[T], rows: Sequence[Row[Any]]) -> list[T]:
    return [kind(**dict(zip(row._fields, row, strict=True))) for row in rows]


def add_if_new(connection: Connection, table: Table, row: dict[str, Any]) -> bool:
    """Insert a row unless one with its key is there or is being written by another process."""
    insert = insert_postgresql if connection.dialect.name == "postgresql" else insert_sqlite
    return connection.execute(insert(table).values(row).on_conflict_do_nothing()).rowcount == 1


def newest_ring_key(connection: Connection, purpose: str, *, lock: bool = False) -> RingKey | None:
    """The version of a purpose's key that wraps; locked against being retired, if asked."""
    query = (
        select(RING_KEYS)
        .where(RING_KEYS.c.purpose == purpose)
        .order_by(RING_KEYS.c.version.desc())
        .limit(1)
    )
    rows = connection.execute(query.with_for_update() if lock else query).all()
    return next(iter(_all(RingKey, rows)), None)


def ring_key(connection: Connection, purpose: str, version: int) -> RingKey | None:
    """One version of a purpose's key."""
    query = select(RING_KEYS).where(RING_KEYS.c.purpose == purpose, RING_KEYS.c.version == version)
    return next(iter(_all(RingKey, connection.execute(query).all())), None)


def ring_keys(connection: Connection, *, lock: bool = False) -> list[RingKey]:
    """Every version of every key that is not retired, the oldest first."""
    query = (
        select(RING_KEYS)
        .where(RING_KEYS.c.wrapped.is_not(None))
        .order_by(RING_KEYS.c.purpose, RING_KEYS.c.version)
    )
    return _all(RingKey, connection.execute(query.with_for_update() if lock else query).all())


def count_ring_uses(connection: Connection, key: RingKey, count: int) -> None:
    """Count what a purpose's key wraps."""
    connection.execute(_this(update(RING_KEYS), key).values(uses=RING_KEYS.c.uses + count))


def reroot(connection: Connection, key: RingKey, root: str, wrapped: bytes) -> bool:
    """Put a purpose's key, wrapped by another root key, in its place."""
    query = _this(update(RING_KEYS), key).where(RING_KEYS.c.root == key.root)
    return connection.execute(query.values(root=root, wrapped=wrapped)).rowcount == 1


def retire(connection: Connection, key: RingKey, now_ms: int) -> None:
    """Destroy a version of a purpose's key."""
    connection.execute(_this(update(RING_KEYS), key).values(wrapped=None, retired_ms=now_ms))


def _this(query: Any, key: RingKey) -> Any:
    return query.where(RING_KEYS.c.purpose == key.purpose, RING_KEYS.c.version == key.version)


def data_key(connection: Connection, id_: str) -> DataKey | None:
    """A data key by its id."""
    query = select(RING_DATA_KEYS).where(RING_DATA_KEYS.c.id == id_)
    return next(iter(_all(DataKey, connection.execute(query).all())), None)


def edge_data_key(
    connection: Connection, purpose: str, tenant: str, *, newest: bool = True
) -> DataKey | None:
    """The newest generation of a tenant's key for a purpose, or the first."""
    generation = RING_DATA_KEYS.c.generation
    query = (
        select(RING_DATA_KEYS)
        .where(RING_DATA_KEYS.c.purpose == purpose, RING_DATA_KEYS.c.tenant == tenant)
        .order_by(generation.desc() if newest else generation)
        .limit(1)
    )
    return next(iter(_all(DataKey, connection.execute(query).all())), None)


def spend(connection: Connection, id_: str, count: int, limit: int) -> bool:
    """Count uses of a data key; False if it is destroyed or would pass its limit."""
    query = update(RING_DATA_KEYS).where(
        RING_DATA_KEYS.c.id == id_,
        RING_DATA_KEYS.c.wrapped.is_not(None),
        RING_DATA_KEYS.c.uses + count <= limit,
    )
    done = connection.execute(query.values(uses=RING_DATA_KEYS.c.uses + count))
    return done.rowcount == 1


def _under(purpose: str, below: int) -> Select[Any]:
    return select(RING_DATA_KEYS).where(
        RING_DATA_KEYS.c.purpose == purpose,
        RING_DATA_KEYS.c.version < below,
        RING_DATA_KEYS.c.wrapped.is_not(None),
    )


def data_keys_below(
    connection: Connection, purpose: str, below: int, most: int, *, lock: bool = False
) -> list[DataKey]:
    """Data keys that an older version of their purpose's key wraps."""
    query = _under(purpose, below).order_by(RING_DATA_KEYS.c.id).limit(most)
    return _all(DataKey, connection.execute(query.with_for_update() if lock else query).all())


def count_data_keys_below(connection: Connection, purpose: str, below: int) -> int:
    """How many of them there are."""
    inner = _under(purpose, below).subquery()
    return connection.execute(select(func.count()).select_from(inner)).scalar_one()


def rewrap(connection: Connection, key: DataKey, version: int, wrapped: bytes) -> bool:
    """Put a data key, wrapped by a newer version, in its place."""
    query = update(RING_DATA_KEYS).where(
        RING_DATA_KEYS.c.id == key.id,
        RING_DATA_KEYS.c.version == key.version,
        RING_DATA_KEYS.c.wrapped.is_not(None),
    )
    return connection.execute(query.values(version=version, wrapped=wrapped)).rowcount == 1


def shred_data_keys(connection: Connection, tenant: str, spare: str, now_ms: int) -> int:
    """Destroy every key of a tenant but those of one purpose."""
    query = update(RING_DATA_KEYS).where(
        RING_DATA_KEYS.c.tenant == tenant,
        RING_DATA_KEYS.c.purpose != spare,
        RING_DATA_KEYS.c.wrapped.is_not(None),
    )
    return connection.execute(query.values(wrapped=None, shredded_ms=now_ms)).rowcount


def bury(connection: Connection, id_: str, tenant: str, now_ms: int) -> None:
    """Leave a mark that a tenant's keys were destroyed and that it gets no new ones."""
    mark = DataKey(id_, _BURIED, tenant, 1, 0, None, 0, now_ms, now_ms)
    add_if_new(connection, RING_DATA_KEYS, values(mark))


def is_buried(connection: Connection, tenant: str) -> bool:
    """Whether a tenant's keys were destroyed."""
    return edge_data_key(connection, _BURIED, tenant) is not None


def add_blob(connection: Connection, blob: Blob) -> None:
    """Insert a blob's row."""
    connection.execute(BLOBS.insert().values(values(blob)))


def blob(connection: Connection, id_: str, *, lock: bool = False) -> Blob | None:
    """A blob's row."""
    query = select(BLOBS).where(BLOBS.c.id == id_)
    rows = connection.execute(query.with_for_update() if lock else query).all()
    return next(iter(_all(Blob, rows)), None)


def blobs_after(connection: Connection, after: str, most: int) -> list[Blob]:
    """Blobs in the order of their ids."""
    query = select(BLOBS).where(BLOBS.c.id > after).order_by(BLOBS.c.id).limit(most)
    return _all(Blob, connection.execute(query).all())


def known_blobs(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Which of these ids have a row."""
    return set(connection.execute(select(BLOBS.c.id).where(BLOBS.c.id.in_(ids))).scalars())


def expired_blobs(connection: Connection, now_ms: int, most: int) -> list[Blob]:
    """Blobs whose term is over and that nobody holds."""
    query = (
        select(BLOBS)
        .where(BLOBS.c.expires_ms <= now_ms, BLOBS.c.hold.is_(False), BLOBS.c.wrapped.is_not(None))
        .order_by(BLOBS.c.expires_ms)
        .limit(most)
        .with_for_update()
    )
    return _all(Blob, connection.execute(query).all())


def shredded_blobs(connection: Connection, most: int) -> list[Blob]:
    """Blobs without their key, whose object may still be there."""
    query = select(BLOBS).where(BLOBS.c.wrapped.is_(None)).limit(most)
    return _all(Blob, connection.execute(query).all())


def shred_blob(connection: Connection, id_: str) -> bool:
    """Destroy a blob's key unless it is held."""
    query = update(BLOBS).where(
        BLOBS.c.id == id_, BLOBS.c.hold.is_(False), BLOBS.c.wrapped.is_not(None)
    )
    return connection.execute(query.values(wrapped=None)).rowcount == 1


def shred_blobs_of(connection: Connection, tenant: str) -> int:
    """Destroy the keys of every blob of a tenant that is not held."""
    query = update(BLOBS).where(
        BLOBS.c.tenant == tenant, BLOBS.c.hold.is_(False), BLOBS.c.wrapped.is_not(None)
    )
    return connection.execute(query.values(wrapped=None)).rowcount


def rekey_blob(connection: Connection, id_: str, key: str, wrapped: bytes, *, hold: bool) -> None:
    """Put a blob's key, wrapped by another data key, in its place."""
    query = update(BLOBS).where(BLOBS.c.id == id_)
    connection.execute(query.values(key=key, wrapped=wrapped, hold=hold))


def forget_blobs(connection: Connection, ids: Sequence[str]) -> int:
    """Delete the rows of shredded blobs whose objects are gone."""
    query = delete(BLOBS).where(BLOBS.c.id.in_(ids), BLOBS.c.wrapped.is_(None))
    return connection.execute(query).rowcount
