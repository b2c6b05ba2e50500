"""All SQL about workspaces and members, and the counter that tells other processes of changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    ForeignKey,
    Integer,
    Table,
    Text,
    delete,
    insert,
    select,
    update,
)

from heliograph.accounts.roles import Role
from heliograph.accounts.workspaces.values import Member, State, Workspace
from heliograph.storage.tables import METADATA

WORKSPACES = Table(
    "workspaces",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("folded", Text, nullable=False, unique=True),
    Column("state", Text, nullable=False),
    Column("until_ms", BigInteger, nullable=False),
    Column("share", Integer, nullable=False),
    Column("region", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)
MEMBERS = Table(
    "members",
    METADATA,
    Column("workspace", Text, ForeignKey("workspaces.id"), primary_key=True),
    Column("person", Text, primary_key=True, index=True),
    Column("role", Text, nullable=False),
    Column("added_ms", BigInteger, nullable=False),
)
EPOCHS = Table(
    "epochs",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
)
"""Counts changes by kind; who keeps a copy in memory looks here whether it is stale."""

ACCOUNTS = "accounts"


def touch(connection: Connection) -> None:
    """Tell every process that what the gate knows has changed."""
    found = connection.execute(
        update(EPOCHS).where(EPOCHS.c.name == ACCOUNTS).values(value=EPOCHS.c.value + 1)
    )
    if not found.rowcount:
        connection.execute(insert(EPOCHS).values(name=ACCOUNTS, value=1))


def epoch(connection: Connection) -> int:
    """How many changes there have been."""
    return connection.scalar(select(EPOCHS.c.value).where(EPOCHS.c.name == ACCOUNTS)) or 0


def add(connection: Connection, one: Workspace, folded: str) -> None:
    """A new workspace; raises IntegrityError if the name is taken."""
    values = {name: getattr(one, name) for name in one.__slots__}
    connection.execute(insert(WORKSPACES).values(**values, folded=folded))
    touch(connection)


def get(connection: Connection, workspace: str, *, lock: bool = False) -> Workspace | None:
    """One workspace; `lock` keeps other writers off it until the transaction ends."""
    query = select(WORKSPACES).where(WORKSPACES.c.id == workspace)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    return _workspace(row) if row else None


def page(connection: Connection, after: str, limit: int) -> list[Workspace]:
    """Workspaces by id."""
    query = select(WORKSPACES).where(WORKSPACES.c.id > after).order_by(WORKSPACES.c.id)
    return [_workspace(row) for row in connection.execute(query.limit(limit))]


def every(connection: Connection) -> list[Workspace]:
    """All of them, for the gate."""
    return [_workspace(row) for row in connection.execute(select(WORKSPACES))]


def change(connection: Connection, workspace: str, **values: Any) -> bool:
    """Change columns of a workspace; whether there was one."""
    found = connection.execute(
        update(WORKSPACES).where(WORKSPACES.c.id == workspace).values(**values)
    )
    touch(connection)
    return bool(found.rowcount)


def add_member(connection: Connection, one: Member) -> None:
    """A person joins; raises IntegrityError if it is in already."""
    values = {name: getattr(one, name) for name in one.__slots__}
    connection.execute(insert(MEMBERS).values(**values))
    touch(connection)


def change_member(connection: Connection, workspace: str, person: str, role: Role) -> bool:
    """A member's new role; whether there was such a member."""
    found = connection.execute(update(MEMBERS).where(*_member(workspace, person)).values(role=role))
    touch(connection)
    return bool(found.rowcount)


def remove_member(connection: Connection, workspace: str, person: str) -> bool:
    """A member leaves; whether there was one."""
    found = connection.execute(delete(MEMBERS).where(*_member(workspace, person)))
    touch(connection)
    return bool(found.rowcount)


def members(connection: Connection, workspace: str, *, lock: bool = False) -> list[Member]:
    """Who belongs to a workspace."""
    query = select(MEMBERS).where(MEMBERS.c.workspace == workspace).order_by(MEMBERS.c.person)
    rows = connection.execute(query.with_for_update() if lock else query)
    return _members(rows.all())


def of_person(connection: Connection, person: str) -> list[str]:
    """Where a person is a member, by id."""
    query = select(MEMBERS.c.workspace).where(MEMBERS.c.person == person)
    return list(connection.scalars(query.order_by(MEMBERS.c.workspace)))


def every_member(connection: Connection) -> list[Member]:
    """All memberships, for the gate."""
    return _members(connection.execute(select(MEMBERS)).all())


def _member(workspace: str, person: str) -> tuple[Any, Any]:
    return MEMBERS.c.workspace == workspace, MEMBERS.c.person == person


def _members(rows: Sequence[Any]) -> list[Member]:
    return [Member(row.workspace, row.person, Role(row.role), row.added_ms) for row in rows]


def _workspace(row: Any) -> Workspace:
    return Workspace(
        row.id, row.name, State(row.state), row.until_ms, row.share, row.region, row.created_ms
    )
