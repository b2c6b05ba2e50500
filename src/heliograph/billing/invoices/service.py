"""Invoices, as doors and commands ask for them: closing, looking, checking, correcting.

invoices.closing       months become final
invoices.terms         plans, buyers, one-off lines, prepaid credit
invoices.corrections   credit and debit notes
"""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection

from heliograph.billing.invoices import store
from heliograph.billing.invoices.closing import GRACE_MS, Closing
from heliograph.billing.invoices.corrections import Corrections
from heliograph.billing.invoices.desk import Desk
from heliograph.billing.invoices.document import Heading, canonical
from heliograph.billing.invoices.journal import store as journal
from heliograph.billing.invoices.making import make, read_buyer
from heliograph.billing.invoices.terms import Terms
from heliograph.billing.invoices.values import Rated, read_month
from heliograph.core.errors import Code, HeliographError


class InvoiceService:
    """The invoices of this house.

    Args:
        desk: what it works with.
        grace_ms: how long after its end a month takes late usage.
    """

    def __init__(self, desk: Desk, grace_ms: int = GRACE_MS) -> None:
        self._desk = desk
        self.closing = Closing(desk, grace_ms)
        self.terms = Terms(desk)
        self.corrections = Corrections(desk)

    def listed(
        self, workspace: str, month: str = "", after: str = "", limit: int = 50
    ) -> list[store.Kept]:
        """Invoices and drafts, the newest first; of every workspace for an empty one."""
        with self._desk.database.read() as connection:
            return store.listed(connection, workspace, month, after, limit)

    def document(self, workspace: str, name: str) -> dict[str, Any]:
        """An invoice, note or draft as its document.

        Args:
            workspace: whose; empty for any (an operator who named none).
            name: an id, a number, or, of one workspace, a month such as `2026-08`.

        Raises:
            HeliographError: `not_found`, `validation`.
        """
        with self._desk.database.read() as connection:
            text = store.note_text(connection, workspace, name)
            if text:
                return json.loads(text)
            found = store.find(connection, workspace, name)
            if found and found[0].final:
                return json.loads(found[1])
            if found:
                return self._preview(connection, found[0].workspace, found[0])
            if not (workspace and name[:1].isdecimal()):
                raise HeliographError(Code.NOT_FOUND, "There is no such invoice here.")
            month = read_month(name)
            if month.from_ms > self._desk.clock():
                raise HeliographError(Code.NOT_FOUND, f"{month} has not begun.")
            kept = store.Kept("", workspace, str(month), "", "", 0, 0, 0, 0, 0, "")
            return self._preview(connection, workspace, kept)

    def _preview(self, connection: Connection, workspace: str, kept: store.Kept) -> dict[str, Any]:
        """What the invoice would be if the month ended now."""
        month, now = read_month(kept.month), self._desk.clock()
        found = self.closing.gather(connection, month, workspace)
        if workspace in found.failed:
            raise found.failed[workspace]
        book = self._desk.shelf().at(min(now, month.to_ms - 1))
        details = store.buyers(connection, [workspace]).get(workspace, (0, ""))[1]
        state = "draft" if now < month.to_ms else "grace"
        heading = Heading(kept.id, "", state, now, read_buyer(details))
        extras = store.open_lines(connection, month, [workspace]).get(workspace, [])
        balance = journal.balances(connection, book.currency, [workspace]).get(workspace, 0)
        rated = found.rated.get(workspace, Rated(workspace, (), ()))
        return make(heading, month, rated, extras, book, balance)

    def notes(self, workspace: str, name: str) -> list[store.Note]:
        """The notes on an invoice, the first first.

        Raises:
            HeliographError: `not_found`.
        """
        with self._desk.database.read() as connection:
            found = store.find(connection, workspace, name)
            if found is None:
                raise HeliographError(Code.NOT_FOUND, "There is no such invoice here.")
            return store.notes(connection, found[0].id)

    def rerated(self, workspace: str, name: str) -> tuple[str, str]:
        """A final invoice, made anew from the raw rows, and as it is kept: the same bytes.

        Raises:
            HeliographError: `not_found`, `conflict` for a draft.
        """
        with self._desk.database.read() as connection:
            found = store.find(connection, workspace, name)
            if found is None:
                raise HeliographError(Code.NOT_FOUND, "There is no such invoice here.")
            kept, text = found
            seal = store.find_seal(connection, read_month(kept.month))
            if not kept.final or seal is None:
                raise HeliographError(Code.CONFLICT, "A draft has nothing to be held against.")
            return canonical(self._again(connection, kept, seal)), text

    def _again(self, connection: Connection, kept: store.Kept, seal: store.Seal) -> dict[str, Any]:
        month = seal.month
        gathered = self.closing.gather(connection, month, kept.workspace)
        heading = Heading(
            id=kept.id,
            number=kept.number,
            state="final",
            issued_ms=seal.sealed_ms,
            buyer=read_buyer(store.buyer(connection, kept.buyer)),
        )
        rated = gathered.rated.get(kept.workspace, Rated(kept.workspace, (), ()))
        extras = store.taken_lines(connection, kept.id)
        book = self._desk.shelf().at(month.to_ms - 1)
        used = journal.used_credit(connection, kept.id)
        return make(heading, month, rated, extras, book, used)

    def trial_balance(self) -> dict[tuple[str, str], tuple[int, int]]:
        """Debits and credits of the journal by currency and account."""
        with self._desk.database.read() as connection:
            return journal.trial_balance(connection)
