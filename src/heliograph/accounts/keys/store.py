"""All SQL about keys."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    ForeignKey,
    LargeBinary,
    Table,
    Text,
    insert,
    select,
    update,
)

from heliograph.accounts.keys.values import Key
from heliograph.core.call import Limit
from heliograph.core.permissions import Permission
from heliograph.storage.tables import METADATA

KEYS = Table(
    "keys",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("workspace", Text, ForeignKey("workspaces.id"), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("models", Text, nullable=False),
    Column("addresses", Text, nullable=False),
    Column("origins", Text, nullable=False),
    Column("limits", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Column("revoked_ms", BigInteger, nullable=False),
    Column("exposed_ms", BigInteger, nullable=False),
)


def add(connection: Connection, key: Key) -> None:
    """A new key."""
    connection.execute(insert(KEYS).values(**_row(key)))


def replace(connection: Connection, key: Key) -> None:
    """A key as it is from now on."""
    connection.execute(update(KEYS).where(KEYS.c.id == key.id).values(**_row(key)))


def get(connection: Connection, workspace: str, key: str, *, lock: bool = False) -> Key | None:
    """A key of a workspace; empty workspace for whichever it is of."""
    query = select(KEYS).where(KEYS.c.id == key)
    if workspace:
        query = query.where(KEYS.c.workspace == workspace)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    return _key(row) if row else None


def page(connection: Connection, workspace: str, after: str, limit: int) -> list[Key]:
    """Keys of a workspace by id."""
    query = select(KEYS).where(KEYS.c.workspace == workspace, KEYS.c.id > after)
    return [_key(row) for row in connection.execute(query.order_by(KEYS.c.id).limit(limit))]


def living(connection: Connection, now_ms: int) -> list[Key]:
    """Every key that may open something, for the gate."""
    alive = (KEYS.c.revoked_ms == 0) | (KEYS.c.revoked_ms > now_ms)
    fresh = (KEYS.c.expires_ms == 0) | (KEYS.c.expires_ms > now_ms)
    return [_key(row) for row in connection.execute(select(KEYS).where(alive, fresh))]


def _row(key: Key) -> dict[str, Any]:
    values = {name: getattr(key, name) for name in key.__slots__}
    for name in ("models", "addresses", "origins"):
        values[name] = json.dumps(values[name])
    values["scopes"] = json.dumps(sorted(key.scopes))
    values["limits"] = json.dumps([[one.meter, one.period, one.most] for one in key.limits])
    return values


def _key(row: Any) -> Key:
    return Key(
        id=row.id,
        workspace=row.workspace,
        name=row.name,
        digest=bytes(row.digest),
        scopes=frozenset(Permission(one) for one in json.loads(row.scopes)),
        models=tuple(json.loads(row.models)),
        addresses=tuple(json.loads(row.addresses)),
        origins=tuple(json.loads(row.origins)),
        limits=tuple(Limit(row.id, *one) for one in json.loads(row.limits)),
        created_ms=row.created_ms,
        created_by=row.created_by,
        expires_ms=row.expires_ms,
        revoked_ms=row.revoked_ms,
        exposed_ms=row.exposed_ms,
    )
