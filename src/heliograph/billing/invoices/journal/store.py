"""All SQL of the journal, and of the prepaid credit that it carries forward."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Column, Connection, Table, Text, func, insert, select, update

from heliograph.billing.invoices.journal.values import Account, Side
from heliograph.core.errors import Code, HeliographError
from heliograph.storage.tables import METADATA, SEQUENCE

JOURNAL = Table(
    "journal",
    METADATA,
    Column("seq", SEQUENCE, primary_key=True, autoincrement=True),
    Column("entry", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("workspace", Text, nullable=False, index=True),
    Column("currency", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("debit", BigInteger, nullable=False),
    Column("credit", BigInteger, nullable=False),
    Column("document", Text, nullable=False, index=True),
    Column("memo", Text, nullable=False),
)
BALANCES = Table(
    "prepaid_balances",
    METADATA,
    Column("workspace", Text, primary_key=True),
    Column("currency", Text, primary_key=True),
    Column("amount", BigInteger, nullable=False),
)


class Entry(NamedTuple):
    """One entry of the journal, with both of its sides."""

    id: str
    at_ms: int
    workspace: str
    currency: str
    document: str
    memo: str
    sides: tuple[Side, ...]


def balances(connection: Connection, currency: str, only: Collection[str]) -> dict[str, int]:
    """Prepaid credit by workspace."""
    rows = connection.execute(
        select(BALANCES.c.workspace, BALANCES.c.amount).where(
            BALANCES.c.currency == currency, BALANCES.c.workspace.in_(only)
        )
    )
    return {row.workspace: row.amount for row in rows}


def post(connection: Connection, entries: Sequence[Entry]) -> None:
    """Write entries into the journal and carry prepaid credit forward; see `invoices.store.lock`.

    Raises:
        HeliographError: `conflict` where a workspace's credit would fall below nothing.
    """
    rows = [
        {
            "entry": one.id,
            "at_ms": one.at_ms,
            "workspace": one.workspace,
            "currency": one.currency,
            "account": side.account.value,
            "debit": side.debit,
            "credit": side.credit,
            "document": one.document,
            "memo": one.memo,
        }
        for one in entries
        for side in one.sides
    ]
    if rows:
        # With RETURNING the driver need not be asked row by row.
        connection.execute(insert(JOURNAL).returning(JOURNAL.c.seq), rows)
    for one in entries:
        change = sum(s.credit - s.debit for s in one.sides if s.account is Account.PREPAID)
        if change:
            _carry(connection, one, change)


def _carry(connection: Connection, one: Entry, change: int) -> None:
    moved = connection.execute(
        update(BALANCES)
        .where(
            BALANCES.c.workspace == one.workspace,
            BALANCES.c.currency == one.currency,
            BALANCES.c.amount + change >= 0,
        )
        .values(amount=BALANCES.c.amount + change)
    )
    if moved.rowcount:
        return
    known = balances(connection, one.currency, [one.workspace])
    if change < 0 or known:
        raise HeliographError(Code.CONFLICT, "The prepaid credit is less than that.")
    connection.execute(
        insert(BALANCES).values(workspace=one.workspace, currency=one.currency, amount=change)
    )


def used_credit(connection: Connection, document: str) -> int:
    """Prepaid credit that a document has used, by the journal."""
    asked = select(func.coalesce(func.sum(JOURNAL.c.debit), 0)).where(
        JOURNAL.c.document == document, JOURNAL.c.account == Account.PREPAID.value
    )
    return int(connection.execute(asked).scalar_one())


def movements(
    connection: Connection, workspace: str, after: int, limit: int
) -> list[dict[str, Any]]:
    """Movements of a workspace's prepaid credit, the newest first."""
    asked = (
        select(JOURNAL)
        .where(JOURNAL.c.workspace == workspace, JOURNAL.c.account == Account.PREPAID.value)
        .order_by(JOURNAL.c.seq.desc())
        .limit(limit)
    )
    if after:
        asked = asked.where(JOURNAL.c.seq < after)
    return [dict(row) for row in connection.execute(asked).mappings()]


def trial_balance(connection: Connection) -> dict[tuple[str, str], tuple[int, int]]:
    """Debits and credits by currency and account: what the books' laws are held against."""
    rows = connection.execute(
        select(
            JOURNAL.c.currency,
            JOURNAL.c.account,
            func.sum(JOURNAL.c.debit),
            func.sum(JOURNAL.c.credit),
        ).group_by(JOURNAL.c.currency, JOURNAL.c.account)
    )
    return {
        (currency, account): (int(debit), int(credit)) for currency, account, debit, credit in rows
    }
