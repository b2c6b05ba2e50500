"""All SQL of invoices: documents, their numbers, and what goes into them.

Whoever changes what an invoice is made of first takes the one lock (`lock`): it happens rarely, and
makes the order of such changes the same for everybody.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    Table,
    Text,
    UniqueConstraint,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

# Redundant names on purpose: who knows this store knows every table of invoices.
from heliograph.billing.invoices.journal.store import BALANCES as BALANCES  # noqa: PLC0414
from heliograph.billing.invoices.journal.store import JOURNAL as JOURNAL  # noqa: PLC0414
from heliograph.billing.invoices.values import Marks, Month, read_month
from heliograph.storage.tables import METADATA, SEQUENCE

SERIES = Table(
    "invoice_series",
    METADATA,
    Column("series", Text, primary_key=True),
    Column("last", BigInteger, nullable=False),
)
SEALS = Table(
    "invoice_seals",
    METADATA,
    Column("month", Text, primary_key=True),
    Column("ledger", BigInteger, nullable=False),
    Column("hosted", BigInteger, nullable=False),
    Column("stored", BigInteger, nullable=False),
    Column("sealed_ms", BigInteger, nullable=False),
    Column("done_ms", BigInteger, nullable=False),
)
INVOICES = Table(
    "invoices",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("workspace", Text, nullable=False),
    Column("month", Text, nullable=False),
    Column("number", Text, unique=True),
    Column("currency", Text, nullable=False),
    Column("total", BigInteger, nullable=False),
    Column("credit", BigInteger, nullable=False),
    Column("buyer", BigInteger, nullable=False),
    Column("drafted_ms", BigInteger, nullable=False),
    Column("finalised_ms", BigInteger, nullable=False),
    Column("digest", Text, nullable=False),
    Column("document", Text, nullable=False),
    UniqueConstraint("workspace", "month"),
    Index(None, "month"),
)
NOTES = Table(
    "invoice_notes",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("invoice", Text, nullable=False, index=True),
    Column("workspace", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("number", Text, nullable=False, unique=True),
    Column("issued_ms", BigInteger, nullable=False),
    Column("total", BigInteger, nullable=False),
    Column("digest", Text, nullable=False),
    Column("document", Text, nullable=False),
)
BUYERS = Table(
    "invoice_buyers",
    METADATA,
    Column("seq", SEQUENCE, primary_key=True, autoincrement=True),
    Column("workspace", Text, nullable=False, index=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("details", Text, nullable=False),
)
PLANS = Table(
    "invoice_plans",
    METADATA,
    Column("seq", SEQUENCE, primary_key=True, autoincrement=True),
    Column("workspace", Text, nullable=False, index=True),
    Column("from_ms", BigInteger, nullable=False),
    Column("plan", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
)
LINES = Table(
    "invoice_lines",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("workspace", Text, nullable=False),
    Column("month", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("quantity", BigInteger, nullable=False),
    Column("price", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("invoice", Text, nullable=False),
    Index(None, "invoice", "workspace"),
)
_LOCK = "lock"


class Kept(NamedTuple):
    """A row of `invoices`, without its document."""

    id: str
    workspace: str
    month: str
    number: str
    currency: str
    total: int
    credit: int
    buyer: int
    drafted_ms: int
    finalised_ms: int
    digest: str

    @property
    def final(self) -> bool:
        """Whether it can no longer change."""
        return bool(self.number)


_KEPT = [INVOICES.c[name] for name in Kept._fields]


class Seal(NamedTuple):
    """A month whose usage is settled.

    Attributes:
        month: which; `marks` says up to where usage counts.
        sealed_ms: when; the date of its invoices.
        done_ms: when the last of its invoices was final; 0 while they are being made.
    """

    month: Month
    marks: Marks
    sealed_ms: int
    done_ms: int


class Note(NamedTuple):
    """A row of `invoice_notes`."""

    id: str
    invoice: str
    workspace: str
    kind: str
    number: str
    issued_ms: int
    total: int
    digest: str
    document: str


class Extra(NamedTuple):
    """A one-off line; `invoice` is empty until one has taken it."""

    id: str
    workspace: str
    month: str
    name: str
    quantity: int
    price: int
    currency: str
    at_ms: int
    actor: str
    invoice: str


def _add(
    connection: Connection, table: Table, key: Column[Any], rows: Sequence[dict[str, Any]]
) -> None:
    """Insert rows by few statements: with RETURNING the driver need not be asked row by row."""
    connection.execute(insert(table).returning(key), rows)


def lock(connection: Connection) -> None:
    """Wait until nobody else changes what invoices are made of; held until the commit."""
    if connection.dialect.name == "sqlite":
        return  # Its writers are one after the other anyway.
    from sqlalchemy.dialects.postgresql import insert as upsert

    connection.execute(upsert(SERIES).values(series=_LOCK, last=0).on_conflict_do_nothing())
    connection.execute(select(SERIES.c.last).where(SERIES.c.series == _LOCK).with_for_update())


def take(connection: Connection, series: str, count: int) -> int:
    """The first of `count` numbers of a series that nobody else gets; see `lock`."""
    took = connection.execute(
        update(SERIES).where(SERIES.c.series == series).values(last=SERIES.c.last + count)
    )
    if not took.rowcount:
        connection.execute(insert(SERIES).values(series=series, last=count))
        return 1
    last = connection.execute(select(SERIES.c.last).where(SERIES.c.series == series)).scalar_one()
    return last - count + 1


def last_seal(connection: Connection, before: str = "9") -> Seal | None:
    """The latest sealed month, of those before one."""
    row = connection.execute(
        select(SEALS).where(SEALS.c.month < before).order_by(SEALS.c.month.desc()).limit(1)
    ).first()
    return _seal(row) if row else None


def find_seal(connection: Connection, month: Month) -> Seal | None:
    """The seal of a month, if it has one."""
    row = connection.execute(select(SEALS).where(SEALS.c.month == str(month))).first()
    return _seal(row) if row else None


def undone(connection: Connection) -> list[Seal]:
    """Sealed months of which not every invoice is final, in order."""
    rows = connection.execute(select(SEALS).where(SEALS.c.done_ms == 0).order_by(SEALS.c.month))
    return [_seal(row) for row in rows]


def _seal(row: Any) -> Seal:
    return Seal(read_month(row[0]), Marks(*row[1:4]), row[4], row[5])


def add_seal(connection: Connection, seal: Seal) -> None:
    """Settle a month."""
    connection.execute(
        insert(SEALS).values(
            month=str(seal.month),
            **seal.marks._asdict(),
            sealed_ms=seal.sealed_ms,
            done_ms=seal.done_ms,
        )
    )


def end_seal(connection: Connection, month: Month, done_ms: int) -> None:
    """Say that a month's invoices are all final."""
    connection.execute(update(SEALS).where(SEALS.c.month == str(month)).values(done_ms=done_ms))


def kept(connection: Connection, month: Month, only: Collection[str] | None = None) -> list[Kept]:
    """Invoices of a month, drafts too, of these workspaces or of all."""
    asked = select(*_KEPT).where(INVOICES.c.month == str(month))
    if only is not None:
        asked = asked.where(INVOICES.c.workspace.in_(only))
    return [_kept(row) for row in connection.execute(asked.order_by(INVOICES.c.workspace))]


def _kept(row: Any) -> Kept:
    return Kept(*row[: len(_KEPT)])._replace(number=row.number or "")


def listed(
    connection: Connection, workspace: str, month: str, after: str, limit: int
) -> list[Kept]:
    """Invoices by id, the newest first; of one workspace, or with an empty one of all."""
    asked = select(*_KEPT).order_by(INVOICES.c.id.desc()).limit(limit)
    if workspace:
        asked = asked.where(INVOICES.c.workspace == workspace)
    if month:
        asked = asked.where(INVOICES.c.month == month)
    if after:
        asked = asked.where(INVOICES.c.id < after)
    return [_kept(row) for row in connection.execute(asked)]


def find(connection: Connection, workspace: str, name: str) -> tuple[Kept, str] | None:
    """An invoice with its document, by id, number or month; of this workspace, or of any."""
    if name[:1].isdecimal():
        by = INVOICES.c.month
    else:
        by = INVOICES.c.id if name.startswith("inv_") else INVOICES.c.number
    asked = select(*_KEPT, INVOICES.c.document).where(by == name)
    if workspace:
        asked = asked.where(INVOICES.c.workspace == workspace)
    rows = connection.execute(asked.limit(2)).all()
    if len(rows) != 1:
        return None
    return _kept(rows[0]), rows[0].document


def add_drafts(connection: Connection, drafts: Sequence[Kept]) -> None:
    """Keep drafts."""
    rows = [{**one._asdict(), "number": None, "document": ""} for one in drafts]
    _add(connection, INVOICES, INVOICES.c.id, rows)


def finalise(connection: Connection, finals: Sequence[tuple[Kept, str]]) -> None:
    """Put final invoices in the place of their drafts, or where there was nothing."""
    ids = [one.id for one, _ in finals]
    connection.execute(delete(INVOICES).where(INVOICES.c.id.in_(ids), INVOICES.c.number.is_(None)))
    rows = [{**one._asdict(), "document": document} for one, document in finals]
    _add(connection, INVOICES, INVOICES.c.id, rows)


def drop_drafts(connection: Connection, month: Month) -> None:
    """Forget drafts of a month that came to nothing."""
    connection.execute(
        delete(INVOICES).where(INVOICES.c.month == str(month), INVOICES.c.number.is_(None))
    )


def add_note(connection: Connection, note: Note) -> None:
    """Keep a credit or debit note."""
    connection.execute(insert(NOTES).values(note._asdict()))


def notes(connection: Connection, invoice: str) -> list[Note]:
    """The notes on an invoice, in their order."""
    rows = connection.execute(select(NOTES).where(NOTES.c.invoice == invoice).order_by(NOTES.c.id))
    return [Note(*row) for row in rows]


def note_text(connection: Connection, workspace: str, name: str) -> str:
    """A note's document by id or number; empty if there is none."""
    by = NOTES.c.id if name.startswith("note_") else NOTES.c.number
    asked = select(NOTES.c.document).where(by == name)
    if workspace:
        asked = asked.where(NOTES.c.workspace == workspace)
    return connection.execute(asked).scalar() or ""


def add_buyer(connection: Connection, workspace: str, at_ms: int, actor: str, text: str) -> None:
    """Keep how a workspace is to be addressed from now on."""
    connection.execute(
        insert(BUYERS).values(workspace=workspace, at_ms=at_ms, actor=actor, details=text)
    )


def buyers(connection: Connection, only: Collection[str]) -> dict[str, tuple[int, str]]:
    """Number and details of the latest buyer's details of each workspace."""
    newest = (
        select(func.max(BUYERS.c.seq))
        .where(BUYERS.c.workspace.in_(only))
        .group_by(BUYERS.c.workspace)
    )
    rows = connection.execute(
        select(BUYERS.c.workspace, BUYERS.c.seq, BUYERS.c.details).where(BUYERS.c.seq.in_(newest))
    )
    return {workspace: (seq, details) for workspace, seq, details in rows}


def buyer(connection: Connection, seq: int) -> str:
    """Buyer's details by number; empty for number 0."""
    found = connection.execute(select(BUYERS.c.details).where(BUYERS.c.seq == seq)).scalar()
    return found or ""


def add_plan(
    connection: Connection, workspace: str, plan: str, from_ms: int, at_ms: int, actor: str
) -> None:
    """Keep what a workspace has agreed to from a time on."""
    connection.execute(
        insert(PLANS).values(
            workspace=workspace, plan=plan, from_ms=from_ms, at_ms=at_ms, actor=actor
        )
    )


def plans(
    connection: Connection, before_ms: int, only: Collection[str] | None = None
) -> dict[str, list[tuple[int, str]]]:
    """When each workspace agreed to which plan; of the same time the latest holds."""
    asked = select(PLANS.c.workspace, PLANS.c.from_ms, PLANS.c.plan)
    asked = asked.where(PLANS.c.from_ms < before_ms).order_by(PLANS.c.from_ms, PLANS.c.seq)
    if only is not None:
        asked = asked.where(PLANS.c.workspace.in_(only))
    found: dict[str, list[tuple[int, str]]] = {}
    for workspace, from_ms, plan in connection.execute(asked):
        found.setdefault(workspace, []).append((from_ms, plan))
    return found


def plans_in_use(connection: Connection) -> frozenset[str]:
    """Names of plans that a workspace keeps to now or will."""
    last = plans(connection, (1 << 62) - 1)
    return frozenset(entries[-1][1] for entries in last.values()) - {""}


def add_line(connection: Connection, line: Extra) -> None:
    """Keep a one-off line."""
    connection.execute(insert(LINES).values(line._asdict()))


def open_lines(
    connection: Connection, month: Month, only: Collection[str] | None = None
) -> dict[str, list[Extra]]:
    """One-off lines that no invoice has taken, of a month and those before it."""
    asked = select(LINES).where(LINES.c.invoice == "", LINES.c.month <= str(month))
    if only is not None:
        asked = asked.where(LINES.c.workspace.in_(only))
    found: dict[str, list[Extra]] = {}
    for row in connection.execute(asked.order_by(LINES.c.id)):
        found.setdefault(row.workspace, []).append(Extra(*row))
    return found


def taken_lines(connection: Connection, invoice: str) -> list[Extra]:
    """One-off lines that an invoice has taken."""
    asked = select(LINES).where(LINES.c.invoice == invoice).order_by(LINES.c.id)
    return [Extra(*row) for row in connection.execute(asked)]


def take_lines(connection: Connection, taken: Iterable[tuple[str, str]]) -> None:
    """Say which invoice has taken which lines: pairs of line and invoice."""
    values = [{"line": line, "taker": invoice} for line, invoice in taken]
    if values:
        connection.execute(
            update(LINES).where(LINES.c.id == bindparam("line")).values(invoice=bindparam("taker")),
            values,
        )
