"""All SQL about budgets."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Integer,
    Table,
    Text,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from heliograph.billing.budgets.values import Budget
from heliograph.storage.tables import METADATA

BUDGETS = Table(
    "budgets",
    METADATA,
    Column("workspace", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("amount", BigInteger, nullable=False),
    Column("shares", Text, nullable=False),
    Column("hard", Boolean, nullable=False),
    Column("changed_ms", BigInteger, nullable=False),
)
BUDGETS_REACHED = Table(
    "budgets_reached",
    METADATA,
    Column("workspace", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("month", Text, primary_key=True),
    Column("amount", BigInteger, primary_key=True),
    Column("share", Integer, primary_key=True),
    Column("spent", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)
"""What has been told: a budget that is given another amount is told of anew."""


def put(connection: Connection, budget: Budget) -> None:
    """Set a budget, in place of the one that was there."""
    values = {**budget._asdict(), "shares": ",".join(map(str, budget.shares))}
    where = _where(budget.workspace, budget.key)
    if not connection.execute(update(BUDGETS).where(*where).values(values)).rowcount:
        connection.execute(insert(BUDGETS).values(values))


def drop(connection: Connection, workspace: str, key: str) -> bool:
    """Take a budget away; whether there was one."""
    return bool(connection.execute(delete(BUDGETS).where(*_where(workspace, key))).rowcount)


def of(connection: Connection, workspace: str) -> list[Budget]:
    """The budgets of a workspace, its own first."""
    asked = select(BUDGETS).where(BUDGETS.c.workspace == workspace)
    return [_budget(one) for one in connection.execute(asked.order_by(BUDGETS.c.key))]


def every(connection: Connection) -> list[Budget]:
    """All of them."""
    return [_budget(one) for one in connection.execute(select(BUDGETS))]


def hard(connection: Connection) -> list[Budget]:
    """Those that stop."""
    return [_budget(one) for one in connection.execute(select(BUDGETS).where(BUDGETS.c.hard))]


def told(connection: Connection, month: str) -> set[tuple[str, str, int, int]]:
    """Workspace, key, amount and share of everything that has been told of a month."""
    c = BUDGETS_REACHED.c
    asked = select(c.workspace, c.key, c.amount, c.share).where(c.month == month)
    return {(one[0], one[1], one[2], one[3]) for one in connection.execute(asked)}


def reach(
    connection: Connection, budget: Budget, month: str, share: int, spent: int, at_ms: int
) -> bool:
    """Note that a share was reached; False if that is noted already or the budget has changed."""
    same = select(BUDGETS.c.amount).where(*_where(budget.workspace, budget.key))
    if connection.scalar(same) != budget.amount:
        return False
    kind: Any = sqlite if connection.dialect.name == "sqlite" else postgresql
    added = kind.insert(BUDGETS_REACHED).values(
        workspace=budget.workspace,
        key=budget.key,
        month=month,
        amount=budget.amount,
        share=share,
        spent=spent,
        at_ms=at_ms,
    )
    return connection.execute(added.on_conflict_do_nothing()).rowcount == 1


def _budget(row: Any) -> Budget:
    shares = tuple(int(one) for one in row.shares.split(",") if one)
    return Budget(row.workspace, row.key, row.amount, shares, bool(row.hard), row.changed_ms)


def _where(workspace: str, key: str) -> tuple[Any, ...]:
    return BUDGETS.c.workspace == workspace, BUDGETS.c.key == key
