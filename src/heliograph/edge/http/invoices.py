"""Invoices and what goes into them: `/api/v1/invoices`, `/credits`, `/lines`, `/plan`, `/buyer`.

Reading is for whoever may read the workspace's bills. Writing is the operator's, and never in a
workspace that the operator is a member of; only how a workspace is addressed, it says itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec

from heliograph.billing.invoices.as_csv import as_csv
from heliograph.billing.invoices.as_pdf import as_pdf
from heliograph.billing.invoices.corrections import Correction, Kind
from heliograph.billing.invoices.document import canonical, digest, told_party
from heliograph.billing.invoices.journal.values import Account
from heliograph.billing.invoices.service import InvoiceService
from heliograph.billing.invoices.store import Kept
from heliograph.billing.invoices.values import moment, read_month
from heliograph.billing.prices.sheet import PartySheet, instant
from heliograph.core.errors import Code, HeliographError
from heliograph.core.permissions import Permission
from heliograph.edge.http.doors import Asked, Door, Reply
from heliograph.edge.http.invoice_shapes import (
    ClosedCard,
    CloseMonth,
    CreditCard,
    CreditMovement,
    CreditsAsked,
    FormAsked,
    InvoiceCard,
    InvoiceList,
    InvoicesAsked,
    LineCard,
    NewCredit,
    NewLine,
    NewNote,
    NewPlan,
    PlanCard,
)

_MEDIA: dict[str, tuple[str, Callable[[dict[str, Any]], bytes]]] = {
    "json": ("application/json", lambda document: canonical(document).encode("utf-8")),
    "csv": ("text/csv; charset=utf-8", as_csv),
    "pdf": ("application/pdf", as_pdf),
}


def doors(invoices: InvoiceService) -> list[Door]:
    """The addresses."""
    use = _Use(invoices)
    root = "/api/v1/invoices"
    one = root + "/{invoice}"
    read, write = Permission.BILLING_READ, Permission.BILLING_WRITE
    gone, held = (Code.NOT_FOUND,), (Code.FORBIDDEN, Code.CONFLICT)
    tag = "billing"
    return [
        Door("GET", root, read, use.index, "Invoices, the newest first", tag, query=InvoicesAsked,
             gives=InvoiceList, codes=(Code.FORBIDDEN,)),
        Door("POST", root + "/close", write, use.close, "Close a month; operators only", tag,
             takes=CloseMonth, gives=ClosedCard, codes=held),
        Door("GET", one, read, use.show,
             "An invoice, note or draft, by id, number or month; as JSON, CSV or PDF", tag,
             query=FormAsked, gives=dict[str, Any], codes=(*gone, Code.UNSUPPORTED)),
        Door("GET", one + "/notes", read, use.notes, "The notes on an invoice", tag,
             gives=list[dict[str, Any]], codes=gone),
        Door("POST", one + "/credit-notes", write, use.credit_note,
             "Take back what an invoice charged; operators only", tag, takes=NewNote,
             gives=dict[str, Any], codes=(*gone, *held), status=201),
        Door("POST", one + "/debit-notes", write, use.debit_note,
             "Charge more on a final invoice; operators only", tag, takes=NewNote,
             gives=dict[str, Any], codes=(*gone, *held), status=201),
        Door("GET", "/api/v1/credits", read, use.credits, "Prepaid credit and its movements", tag,
             query=CreditsAsked, gives=CreditCard),
        Door("POST", "/api/v1/credits", write, use.grant, "Grant prepaid credit; operators only",
             tag, takes=NewCredit, gives=CreditCard, codes=held, status=201),
        Door("POST", "/api/v1/lines", write, use.add_line,
             "Put a one-off line on the next invoice; operators only", tag, takes=NewLine,
             gives=LineCard, codes=held, status=201),
        Door("GET", "/api/v1/plan", read, use.plan, "The workspace's plan", tag, gives=PlanCard),
        Door("PUT", "/api/v1/plan", write, use.change_plan, "Agree to a plan; operators only", tag,
             takes=NewPlan, gives=PlanCard, codes=held),
        Door("GET", "/api/v1/buyer", read, use.buyer, "How invoices address the workspace", tag,
             gives=PartySheet),
        Door("PUT", "/api/v1/buyer", write, use.set_buyer, "Say how invoices are to address it",
             tag, takes=PartySheet, gives=PartySheet),
    ]  # fmt: skip


class _Use:
    """The use cases behind the addresses."""

    def __init__(self, invoices: InvoiceService) -> None:
        self._invoices = invoices

    def index(self, asked: Asked) -> InvoiceList:
        """A page of invoices."""
        query = asked.query
        if query.all:
            _operator(asked)
        workspace = "" if query.all else _workspace(asked)
        found = self._invoices.listed(workspace, query.month, query.after, query.limit)
        return InvoiceList(invoices=[_card(one) for one in found])

    def close(self, asked: Asked) -> ClosedCard:
        """Close a month."""
        _operator(asked)
        month = read_month(asked.body.month)
        closed = self._invoices.closing.close(month, asked.caller.name, early=asked.body.early)
        return ClosedCard(**closed._asdict())

    def show(self, asked: Asked) -> Reply:
        """One, in the form that is asked for."""
        document = self._invoices.document(_workspace(asked), asked.path["invoice"])
        form = asked.query.format or _accepted(asked.headers.get("accept", ""))
        media, render = _MEDIA[form]
        name = document["number"] or f"{document['month']}-{document['state']}"
        headers = {"content-disposition": f'inline; filename="{name}.{form}"', "vary": "accept"}
        if document["state"] == "final":
            headers["etag"] = f'"{digest(canonical(document))}-{form}"'
        return Reply(render(document), media=media, headers=headers)

    def notes(self, asked: Asked) -> list[dict[str, Any]]:
        """The notes on one."""
        found = self._invoices.notes(_workspace(asked), asked.path["invoice"])
        return [json.loads(one.document) for one in found]

    def credit_note(self, asked: Asked) -> Reply:
        """Take back."""
        return self._note(asked, "credit_note")

    def debit_note(self, asked: Asked) -> Reply:
        """Add."""
        return self._note(asked, "debit_note")

    def _note(self, asked: Asked, kind: Kind) -> Reply:
        said: NewNote = asked.body
        lines = [Correction(one.line, one.amount) for one in said.lines]
        note = self._invoices.corrections.issue(
            asked.caller, asked.path["invoice"], kind, said.reason, lines, Account(said.against)
        )
        return Reply(note.document.encode("utf-8"), 201)

    def credits(self, asked: Asked) -> CreditCard:
        """Balance and movements."""
        after, limit = asked.query.after, asked.query.limit
        return self._credits(_workspace(asked), after, limit)

    def _credits(self, workspace: str, after: int, limit: int) -> CreditCard:
        balance, moved = self._invoices.terms.credits(workspace, after, limit)
        return CreditCard(
            balance=balance,
            movements=[
                CreditMovement(
                    seq=one["seq"],
                    at=moment(one["at_ms"]),
                    amount=one["credit"] - one["debit"],
                    currency=one["currency"],
                    document=one["document"],
                    memo=one["memo"],
                )
                for one in moved
            ],
        )

    def grant(self, asked: Asked) -> Reply:
        """Grant credit."""
        said: NewCredit = asked.body
        self._invoices.terms.credit(asked.caller, said.amount, said.kind, said.memo)
        return Reply(self._credits(asked.caller.workspace, 0, 1), 201)

    def add_line(self, asked: Asked) -> Reply:
        """Add a one-off line."""
        said: NewLine = asked.body
        month = read_month(said.month) if said.month else None
        line = self._invoices.terms.add_line(
            asked.caller, said.name, said.price, said.quantity, month
        )
        card = LineCard(
            id=line.id,
            month=line.month,
            name=line.name,
            quantity=line.quantity,
            amount=line.quantity * line.price,
            currency=line.currency,
        )
        return Reply(card, 201)

    def plan(self, asked: Asked) -> PlanCard:
        """The plan that holds."""
        agreed = self._invoices.terms.plan(_workspace(asked))
        return PlanCard(plan=agreed.plan, valid_from=moment(agreed.from_ms))

    def change_plan(self, asked: Asked) -> PlanCard:
        """Agree to one."""
        said: NewPlan = asked.body
        start = instant(said.valid_from, "valid_from") if said.valid_from else None
        agreed = self._invoices.terms.change_plan(asked.caller, said.plan, start)
        return PlanCard(plan=agreed.plan, valid_from=moment(agreed.from_ms))

    def buyer(self, asked: Asked) -> PartySheet:
        """The address."""
        return msgspec.convert(
            told_party(self._invoices.terms.buyer(_workspace(asked))), PartySheet
        )

    def set_buyer(self, asked: Asked) -> PartySheet:
        """Another address."""
        self._invoices.terms.set_buyer(asked.caller, asked.body)
        return asked.body


def _operator(asked: Asked) -> None:
    if not asked.caller.operator:
        raise HeliographError(Code.FORBIDDEN, "Only those who run this server may do that.")


def _workspace(asked: Asked) -> str:
    """The workspace whose bills are asked for; nobody reads everybody's by naming none."""
    if not asked.caller.workspace:
        raise HeliographError(
            Code.VALIDATION, "Name the workspace in the header Heliograph-Workspace."
        )
    return asked.caller.workspace


def _accepted(accept: str) -> str:
    """The first form that the header names; JSON for anything else."""
    for part in accept.lower().split(","):
        media = part.partition(";")[0].strip()
        if media in {"application/pdf", "text/csv", "application/json"}:
            return media.rpartition("/")[2]
    return "json"


def _card(one: Kept) -> InvoiceCard:
    return InvoiceCard(
        id=one.id,
        number=one.number,
        workspace=one.workspace,
        month=one.month,
        state="final" if one.final else "draft",
        total=one.total,
        currency=one.currency if one.final else "",
        finalised=moment(one.finalised_ms) if one.final else "",
        digest=one.digest,
    )
