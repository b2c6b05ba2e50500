"""Closing a month: from its end to final invoices, in steps that may be cut off anywhere.

    the month ends        drafts: everybody sees what is coming; late usage is still taken
    grace is over   1.    the seal: one small transaction settles which rows count
                    2.    everybody is rated from those rows; nothing is written
                    3.    invoices become final, some at a time; each lot is one transaction that
                          gives the numbers, keeps the documents, writes the journal, the audit and
                          the messages, or does none of it
                    4.    the month is done

Who runs it again after a crash, or beside another, finds the seal and the invoices that are final,
and goes on with the others in the same order: the numbers have no gap and nobody is billed twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection

from heliograph.billing.invoices import store
from heliograph.billing.invoices.desk import Desk
from heliograph.billing.invoices.document import Heading, canonical, digest
from heliograph.billing.invoices.gathering import Gathered, Gatherer
from heliograph.billing.invoices.journal import store as journal
from heliograph.billing.invoices.journal.values import of_invoice
from heliograph.billing.invoices.making import make, read_buyer
from heliograph.billing.invoices.values import ALL, DAY_MS, Marks, Month, Rated, moment
from heliograph.billing.prices.values import PriceBook
from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act, Event
from heliograph.core.faults import reach
from heliograph.core.ids import new_id
from heliograph.core.notices import Hook

LOT = 25
"""Invoices in one transaction: it holds the writer for some milliseconds."""
GRACE_MS = 3 * DAY_MS


class Closed(NamedTuple):
    """What closing a month has come to.

    Attributes:
        month: which.
        state: `grace` while late usage is taken, `final` when every invoice is.
        drafted: drafts that are new; `finalised` invoices that are.
        failed: workspaces whose invoice could not be made, and the reason.
    """

    month: str
    state: str
    drafted: int
    finalised: int
    failed: dict[str, str]


class Closing:
    """Closes months.

    Args:
        desk: what it works with.
        grace_ms: how long after its end a month takes late usage.
    """

    def __init__(self, desk: Desk, grace_ms: int = GRACE_MS) -> None:
        self._desk = desk
        self.grace_ms = grace_ms

    def due(self) -> list[Month]:
        """Months that have ended and are not done, in order; none while no prices are set."""
        with self._desk.database.read() as connection:
            open_months = [seal.month for seal in store.undone(connection)]
            last = store.last_seal(connection)
        after = last.month.next() if last else self._first()
        now = self._desk.clock()
        while after is not None and after.to_ms <= now:
            open_months.append(after)
            after = after.next()
        return open_months

    def _first(self) -> Month | None:
        books = self._desk.shelf().books
        return Month.of(books[1].valid_from_ms) if len(books) > 1 else None

    def close_due(self, actor: str = "system") -> list[Closed]:
        """Bring every month that has ended as far as it can be; for a timer."""
        return [self._close(month, actor, early=False) for month in self.due()]

    def close(self, month: Month, actor: str, *, early: bool = False) -> Closed:
        """Bring a month, and those before it, as far as it can be.

        Args:
            month: it must have ended.
            actor: who, for the audit log.
            early: do not wait for the end of the grace.

        Raises:
            HeliographError: `conflict` if it has not ended, or had no prices.
        """
        if self._desk.clock() < month.to_ms:
            raise HeliographError(
                Code.CONFLICT, f"{month} ends at {moment(month.to_ms)}; it can be closed then."
            )
        first = self._first()
        if first is None or month < first:
            raise HeliographError(Code.CONFLICT, f"No prices were in force in {month}.")
        for before in self.due():
            if before < month:
                self._close(before, actor, early=early)
        return self._close(month, actor, early=early)

    def _close(self, month: Month, actor: str, *, early: bool) -> Closed:
        with self._desk.database.read() as connection:
            seal = store.find_seal(connection, month)
        if seal is None and not early and self._desk.clock() < month.to_ms + self.grace_ms:
            return self._draft(month)
        if seal is not None and seal.done_ms:
            return Closed(str(month), "final", 0, 0, {})
        return self._finish(seal or self._seal(month, actor), actor)

    def _seal(self, month: Month, actor: str) -> store.Seal:
        """Settle which rows of usage belong to the month."""
        reach("close.begun")

        def work(connection: Connection) -> store.Seal:
            store.lock(connection)
            there = store.find_seal(connection, month)
            if there is not None:
                return there
            marks = self._desk.reader.marks(connection)
            seal = store.Seal(month, marks, self._desk.clock(), 0)
            store.add_seal(connection, seal)
            facts = {"month": str(month), **marks._asdict()}
            self._desk.record(connection, Event(Act.MONTH_SEALED, actor, "", str(month), facts))
            return seal

        seal = self._desk.database.write(work)
        reach("close.sealed")
        return seal

    def _finish(self, seal: store.Seal, actor: str) -> Closed:
        month, books = seal.month, self._desk.shelf()
        book = books.at(month.to_ms - 1)
        with self._desk.database.read() as connection:
            found = Gatherer(self._desk.reader, books).gather(
                connection, month, self.marks_before(connection, month), seal.marks
            )
            extras = store.open_lines(connection, month)
        reach("close.rated")
        names = sorted((found.rated.keys() | extras.keys()) - found.failed.keys())
        made = 0
        for start in range(0, len(names), LOT):
            lot = [found.rated.get(n, Rated(n, (), ())) for n in names[start : start + LOT]]
            made += self._desk.database.write(_Lot(self._desk, seal, book, lot, actor).write)
            reach("close.committed")
        if not found.failed:
            self._desk.database.write(lambda c: self._end(c, month))
        reach("close.done")
        failed = {name: error.detail for name, error in found.failed.items()}
        return Closed(str(month), "final" if not failed else "failed", 0, made, failed)

    def _end(self, connection: Connection, month: Month) -> None:
        store.lock(connection)
        store.drop_drafts(connection, month)
        store.end_seal(connection, month, self._desk.clock())

    def marks_before(self, connection: Connection, month: Month) -> Marks:
        """What earlier invoices have taken already."""
        before = store.last_seal(connection, str(month))
        return before.marks if before else Marks()

    def gather(self, connection: Connection, month: Month, workspace: str) -> Gathered:
        """A month as it is now, or as it was sealed, of one workspace or of all."""
        seal = store.find_seal(connection, month)
        upto = seal.marks if seal else ALL
        gatherer = Gatherer(self._desk.reader, self._desk.shelf())
        only = [workspace] if workspace else None
        before = self.marks_before(connection, month)
        return gatherer.gather(connection, month, before, upto, only)

    def _draft(self, month: Month) -> Closed:
        """Give every invoice to come an id, and tell the workspace's programs of it."""
        with self._desk.database.read() as connection:
            found = self.gather(connection, month, "")
            extras = store.open_lines(connection, month)
        currency = self._desk.shelf().at(month.to_ms - 1).currency
        names = sorted(found.rated.keys() | extras.keys())

        def work(connection: Connection, lot: Sequence[str]) -> int:
            store.lock(connection)
            there = {one.workspace for one in store.kept(connection, month, lot)}
            now = self._desk.clock()
            new = [
                store.Kept(new_id("inv"), name, str(month), "", currency, 0, 0, 0, now, 0, "")
                for name in lot
                if name not in there
            ]
            if new:
                store.add_drafts(connection, new)
            for one in new:
                told = {"invoice": one.id, "month": str(month)}
                self._desk.notify(connection, Hook(one.workspace, "invoice.drafted", told))
            return len(new)

        drafted = 0
        for start in range(0, len(names), LOT):
            lot = names[start : start + LOT]
            drafted += self._desk.database.write(lambda c, lot=lot: work(c, lot))
        failed = {name: error.detail for name, error in found.failed.items()}
        return Closed(str(month), "grace", drafted, 0, failed)


class _Lot:
    """Some invoices of a month that become final together."""

    def __init__(
        self, desk: Desk, seal: store.Seal, book: PriceBook, lot: Sequence[Rated], actor: str
    ) -> None:
        self._desk = desk
        self._seal = seal
        self._book = book
        self._lot = lot
        self._actor = actor

    def write(self, connection: Connection) -> int:
        """Do it, within a transaction; how many are new."""
        store.lock(connection)
        month, names = self._seal.month, [one.workspace for one in self._lot]
        there = {one.workspace: one for one in store.kept(connection, month, names)}
        extras = store.open_lines(connection, month, names)
        todo = [
            one
            for one in self._lot
            if not (one.workspace in there and there[one.workspace].final)
            and (one.lines or one.usage or one.workspace in extras)
        ]
        if not todo:
            return 0
        series = f"{self._book.prefix}-{Month.of(self._seal.sealed_ms).year}"
        first = store.take(connection, series, len(todo))
        reach("close.numbered")
        buyers = store.buyers(connection, names)
        balances = journal.balances(connection, self._book.currency, names)
        finals: list[tuple[store.Kept, str]] = []
        entries: list[journal.Entry] = []
        for n, one in enumerate(todo, first):
            draft = there.get(one.workspace)
            seq, details = buyers.get(one.workspace, (0, ""))
            heading = Heading(
                id=draft.id if draft else new_id("inv"),
                number=f"{series}-{n:06d}",
                state="final",
                issued_ms=self._seal.sealed_ms,
                buyer=read_buyer(details),
            )
            mine, balance = extras.get(one.workspace, []), balances.get(one.workspace, 0)
            document = make(heading, month, one, mine, self._book, balance)
            drafted_ms = draft.drafted_ms if draft else 0
            finals.append(self._kept(document, seq, drafted_ms))
            entries.append(self._entry(document))
            store.take_lines(connection, [(extra.id, heading.id) for extra in mine])
        store.finalise(connection, finals)
        journal.post(connection, entries)
        for kept, _ in finals:
            self._tell(connection, kept)
        reach("close.written")
        return len(finals)

    def _kept(
        self, document: dict[str, Any], buyer: int, drafted_ms: int
    ) -> tuple[store.Kept, str]:
        text = canonical(document)
        kept = store.Kept(
            id=document["id"],
            workspace=document["workspace"],
            month=document["month"],
            number=document["number"],
            currency=document["currency"],
            total=document["total"],
            credit=document["credit"],
            buyer=buyer,
            drafted_ms=drafted_ms,
            finalised_ms=self._desk.clock(),
            digest=digest(text),
        )
        return kept, text

    def _entry(self, document: dict[str, Any]) -> journal.Entry:
        return journal.Entry(
            id=new_id("ent"),
            at_ms=self._desk.clock(),
            workspace=document["workspace"],
            currency=document["currency"],
            document=document["id"],
            memo=document["number"],
            sides=of_invoice(document["net"], document["tax"], document["credit"]),
        )

    def _tell(self, connection: Connection, one: store.Kept) -> None:
        facts = {"number": one.number, "total": one.total, "digest": one.digest}
        self._desk.record(
            connection, Event(Act.INVOICE_FINALISED, self._actor, one.workspace, one.id, facts)
        )
        told = {
            "invoice": one.id,
            "number": one.number,
            "month": one.month,
            "total": one.total,
            "currency": one.currency,
        }
        self._desk.notify(connection, Hook(one.workspace, "invoice.finalised", told))
