"""Credit notes and debit notes: the only way to correct a final invoice.

A note names lines of its invoice and how much of each it takes back or adds; its taxes are those of
the invoice, worked out from what is left, so that a line that is taken back in pieces gives back
exactly the tax it cost. Notes have series of their own, without gaps.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection

from heliograph.billing.invoices import store
from heliograph.billing.invoices.desk import Desk
from heliograph.billing.invoices.document import canonical, digest
from heliograph.billing.invoices.journal import store as journal
from heliograph.billing.invoices.journal.values import Account, of_note
from heliograph.billing.invoices.values import Month, moment
from heliograph.core.call import Caller
from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act, Event
from heliograph.core.ids import new_id
from heliograph.core.money import MOST_MINOR, exact, half_even, written
from heliograph.core.notices import Hook

Kind = Literal["credit_note", "debit_note"]
_SHOWN = ("head", "name", "meter", "model", "device", "from", "to", "price_version", "late")
_SERIES = {"credit_note": "CN", "debit_note": "DN"}


class Correction(NamedTuple):
    """How much of one line.

    Attributes:
        line: its place on the invoice, from 1.
        amount: decimal text in the currency, before tax; empty for all that is left of it.
    """

    line: int
    amount: str = ""


class Corrections:
    """Issues notes.

    Args:
        desk: what it works with.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def issue(
        self,
        by: Caller,
        invoice: str,
        kind: Kind,
        reason: str,
        asked: Sequence[Correction],
        against: Account = Account.RECEIVABLE,
    ) -> store.Note:
        """Correct an invoice of the workspace that the caller acts for.

        Args:
            by: who; an operator who is no member of the workspace.
            invoice: its id or number.
            kind: taking back or adding.
            reason: as it stands on the note.
            asked: which lines; none for all that is left of every line (credit notes only).
            against: `receivable`: what is owed changes; `prepaid`: the credit to use up does.

        Raises:
            HeliographError: `forbidden`, `not_found`, `conflict` for a draft or a line of which
                nothing is left, `validation`.
        """
        self._desk.allow(by, by.workspace)

        def work(connection: Connection) -> store.Note:
            store.lock(connection)
            found = store.find(connection, by.workspace, invoice)
            if found is None:
                raise HeliographError(Code.NOT_FOUND, "There is no such invoice here.")
            kept, text = found
            if not kept.final:
                raise HeliographError(
                    Code.CONFLICT, "Only a final invoice takes notes; a draft follows its usage."
                )
            past = [json.loads(one.document) for one in store.notes(connection, kept.id)]
            case = _Case(json.loads(text), past, kind)
            document = case.document(case.changes(asked)) | {
                "reason": reason,
                "against": against.value,
            }
            return self._keep(connection, by, document)

        return self._desk.database.write(work)

    def _keep(self, connection: Connection, by: Caller, document: dict[str, Any]) -> store.Note:
        now, kind = self._desk.clock(), document["kind"]
        series = f"{_SERIES[kind]}-{Month.of(now).year}"
        number = f"{series}-{store.take(connection, series, 1):06d}"
        document |= {"id": new_id("note"), "number": number, "issued": moment(now)}
        text = canonical(document)
        note = store.Note(
            id=document["id"],
            invoice=document["invoice"]["id"],
            workspace=document["workspace"],
            kind=kind,
            number=number,
            issued_ms=now,
            total=document["total"],
            digest=digest(text),
            document=text,
        )
        store.add_note(connection, note)
        self._post(connection, note, document)
        facts = {"number": number, "kind": kind, "invoice": note.invoice, "total": note.total}
        self._desk.record(
            connection, Event(Act.NOTE_ISSUED, by.name, note.workspace, note.id, facts)
        )
        told = {**facts, "note": note.id}
        self._desk.notify(connection, Hook(note.workspace, "note.issued", told))
        return note

    def _post(self, connection: Connection, note: store.Note, document: dict[str, Any]) -> None:
        sign = 1 if note.kind == "debit_note" else -1
        sides = of_note(
            sign * document["net"], sign * document["tax"], Account(document["against"])
        )
        entry = journal.Entry(
            id=new_id("ent"),
            at_ms=note.issued_ms,
            workspace=note.workspace,
            currency=document["currency"],
            document=note.id,
            memo=note.number,
            sides=sides,
        )
        journal.post(connection, [entry])


def _moved(past: Sequence[dict[str, Any]]) -> dict[int, int]:
    """What notes have added to each line so far; negative where they took back."""
    moved: dict[int, int] = defaultdict(int)
    for note in past:
        for line in note["lines"]:
            moved[line["line"]] += (1 if note["kind"] == "debit_note" else -1) * line["amount"]
    return moved


class _Case(NamedTuple):
    """An invoice, the notes that it has, and the kind of the next one."""

    invoice: dict[str, Any]
    past: Sequence[dict[str, Any]]
    kind: Kind

    def changes(self, asked: Sequence[Correction]) -> dict[int, int]:
        """What the note takes back from or adds to each line, in minor units, above 0."""
        return _changes(self.invoice, _moved(self.past), self.kind, asked)

    def document(self, changes: dict[int, int]) -> dict[str, Any]:
        """The note, without its own number and date."""
        return _document(self.invoice, _moved(self.past), self.kind, changes)


def _changes(
    invoice: dict[str, Any], moved: dict[int, int], kind: Kind, asked: Sequence[Correction]
) -> dict[int, int]:
    lines = invoice["lines"]
    left = {n: line["amount"] + moved[n] for n, line in enumerate(lines, 1)}
    if not asked and kind == "credit_note":
        asked = [Correction(n) for n in left if left[n] > 0]
    changes: dict[int, int] = {}
    for one in asked:
        if one.line not in left or one.line in changes:
            raise HeliographError(
                Code.VALIDATION,
                f"The invoice has lines 1 to {len(lines)}, each once; {one.line} came.",
            )
        if one.amount:
            amount = exact(one.amount, invoice["exponent"], "An amount")
        else:
            amount = left[one.line] if kind == "credit_note" else 0
        most = left[one.line] if kind == "credit_note" else MOST_MINOR
        if not 0 < amount <= most:
            there = written(left[one.line], invoice["exponent"])
            raise HeliographError(
                Code.CONFLICT if kind == "credit_note" and most <= 0 else Code.VALIDATION,
                f"Line {one.line} has {there} left; the amount must be above 0"
                + (" and not more than that." if kind == "credit_note" else "."),
            )
        changes[one.line] = amount
    if not changes:
        raise HeliographError(Code.CONFLICT, "Nothing is left to correct on this invoice.")
    return changes


def _document(
    invoice: dict[str, Any], moved: dict[int, int], kind: Kind, changes: dict[int, int]
) -> dict[str, Any]:
    sign = 1 if kind == "debit_note" else -1
    lines = invoice["lines"]
    taxes: list[dict[str, Any]] = []
    for tax in invoice["taxes"]:
        taxed = [n for n, line in enumerate(lines, 1) if line["head"] in tax["heads"]]
        before = sum(lines[n - 1]["amount"] + moved[n] for n in taxed)
        base = sum(changes.get(n, 0) for n in taxed)
        amount = half_even((before + sign * base) * tax["rate"], 10_000) - half_even(
            before * tax["rate"], 10_000
        )
        if base:
            taxes.append({**tax, "base": base, "amount": sign * amount})
    net, tax_sum = sum(changes.values()), sum(tax["amount"] for tax in taxes)
    return {
        "kind": kind,
        "invoice": {key: invoice[key] for key in ("id", "number", "month")},
        **{key: invoice[key] for key in ("workspace", "currency", "exponent", "seller", "buyer")},
        "month": invoice["month"],
        "state": "final",
        "lines": [
            {
                **{name: lines[n - 1][name] for name in _SHOWN if name in lines[n - 1]},
                "line": n,
                "amount": changes[n],
            }
            for n in sorted(changes)
        ],
        "net": net,
        "taxes": taxes,
        "tax": tax_sum,
        "gross": net + tax_sum,
        "total": net + tax_sum,
    }
