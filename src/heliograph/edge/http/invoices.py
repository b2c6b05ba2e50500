"""Invoices and what goes into them: `/api/v1/invoices`, `/credits`, `/lines`, `/plan`, `/buyer`.

Reading is for whoever may read the workspace's bills. Writing is the operator's, and never in a
workspace that the operator is a member of; only how a workspace is addressed, it says itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from heliograph.billing.invoices.as_csv import as_csv
from heliograph.billing.invoices.as_pdf import as_pdf
from heliograph.billing.invoices.corrections import Correction, Kind
from heliograph.billing.invoices.document import canonical, digest, told_party
from heliograph.billing.invoices.journal import Account
from heliograph.billing.invoices.service import InvoiceService
from heliograph.billing.invoices.store import Kept
from heliograph.billing.invoices.values import moment, read_month
from heliograph.billing.prices.sheet import PartySheet, instant
from heliograph.core.errors import Code, HeliographError
from heliograph.core.permissions import Permission
from heliograph.edge.http.doors import Asked, Door, Reply

_MonthText = Annotated[str, Meta(pattern=r"^$|^[0-9]{4}-[0-9]{2}$")]
_Line = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
_Amount = Annotated[str, Meta(min_length=1, max_length=40)]
_MEDIA: dict[str, tuple[str, Callable[[dict[str, Any]], bytes]]] = {
    "json": ("application/json", lambda document: canonical(document).encode("utf-8")),
    "csv": ("text/csv; charset=utf-8", as_csv),
    "pdf": ("application/pdf", as_pdf),
}


class InvoicesAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which invoices.

    Attributes:
        month: only this one, as `2026-08`.
        all: those of every workspace; operators only.
        after: id of the last one seen; empty to begin.
        limit: most to be told.
    """

    month: _MonthText = ""
    all: bool = False
    after: Annotated[str, Meta(max_length=80)] = ""
    limit: Annotated[int, Meta(ge=1, le=200)] = 100


class FormAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """In which form.

    Attributes:
        format: wins over the header `Accept`; JSON where neither says anything.
    """

    format: Literal["", "json", "csv", "pdf"] = ""


class CreditsAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which movements of credit.

    Attributes:
        after: number of the last one seen; 0 to begin.
        limit: most to be told.
    """

    after: Annotated[int, Meta(ge=0, le=2**62)] = 0
    limit: Annotated[int, Meta(ge=1, le=200)] = 100


class CloseMonth(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A month to be closed.

    Attributes:
        month: as `2026-08`.
        early: do not wait for the end of the grace.
    """

    month: Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}$")]
    early: bool = False


class LineCorrection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How much of a line.

    Attributes:
        line: its place on the invoice, from 1.
        amount: in the currency, before tax; left out in a credit note: all that is left of it.
    """

    line: Annotated[int, Meta(ge=1, le=100_000)]
    amount: Annotated[str, Meta(max_length=40)] = ""


class NewNote(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A correction of a final invoice.

    Attributes:
        reason: as it stands on the note.
        lines: what is corrected; left out in a credit note: all that is left of the invoice.
        against: what changes: the sum that is owed, or the prepaid credit.
    """

    reason: _Line
    lines: Annotated[tuple[LineCorrection, ...], Meta(max_length=1000)] = ()
    against: Literal["receivable", "prepaid"] = "receivable"


class NewCredit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Prepaid credit.

    Attributes:
        amount: in the currency; negative to take back.
        kind: `paid` beforehand, or `goodwill`.
        memo: why.
    """

    amount: _Amount
    kind: Literal["paid", "goodwill"]
    memo: _Line


class NewLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A one-off line.

    Attributes:
        name: as it stands on the invoice.
        price: of one, in the currency, above 0.
        quantity: how many.
        month: on whose invoice, as `2026-08`; the running month's if left out.
    """

    name: _Line
    price: _Amount
    quantity: Annotated[int, Meta(ge=1, le=10**9)] = 1
    month: _MonthText = ""


class NewPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Another plan.

    Attributes:
        plan: of the prices in force; empty for their default.
        valid_from: time with its zone; now if left out.
    """

    plan: Annotated[str, Meta(max_length=63)]
    valid_from: Annotated[str, Meta(max_length=40)] = ""


class InvoiceCard(msgspec.Struct, frozen=True, kw_only=True):
    """An invoice in a list.

    Attributes:
        id: of the invoice; `number` in its series, empty for a draft.
        workspace: whose.
        month: which.
        state: `draft` or `final`.
        total: what is due, in minor units; 0 while it is a draft: look at the draft itself.
        currency: of ISO 4217; empty for a draft.
        finalised: when it became final, in UTC; empty for a draft.
        digest: SHA-256 of its JSON; empty for a draft.
    """

    id: str
    number: str
    workspace: str
    month: str
    state: str
    total: int
    currency: str
    finalised: str
    digest: str


class InvoiceList(msgspec.Struct, frozen=True, kw_only=True):
    """Invoices.

    Attributes:
        invoices: the newest first.
    """

    invoices: list[InvoiceCard]


class ClosedCard(msgspec.Struct, frozen=True, kw_only=True):
    """What closing a month has come to.

    Attributes:
        month: which.
        state: `grace` while late usage is taken, `final` when every invoice is, `failed` if one
            could not be made.
        drafted: drafts that are new; `finalised` invoices that are.
        failed: workspaces whose invoice could not be made, and the reason.
    """

    month: str
    state: str
    drafted: int
    finalised: int
    failed: dict[str, str]


class CreditMovement(msgspec.Struct, frozen=True, kw_only=True):
    """One movement of prepaid credit.

    Attributes:
        seq: its number.
        at: when, in UTC.
        amount: in minor units; negative where it was used or taken back.
        currency: of ISO 4217.
        document: id of the invoice or note it belongs to; empty for a grant.
        memo: why, or the document's number.
    """

    seq: int
    at: str
    amount: int
    currency: str
    document: str
    memo: str


class CreditCard(msgspec.Struct, frozen=True, kw_only=True):
    """Prepaid credit.

    Attributes:
        balance: in minor units.
        movements: the newest first.
    """

    balance: int
    movements: list[CreditMovement]


class LineCard(msgspec.Struct, frozen=True, kw_only=True):
    """A one-off line that waits for its invoice.

    Attributes:
        id: of the line.
        month: on whose invoice.
        name: as it stands there.
        quantity: how many.
        amount: of all of them, in minor units.
        currency: of ISO 4217.
    """

    id: str
    month: str
    name: str
    quantity: int
    amount: int
    currency: str


class PlanCard(msgspec.Struct, frozen=True, kw_only=True):
    """The plan of the workspace.

    Attributes:
        plan: name; empty for the default of the prices in force.
        valid_from: since when, in UTC.
    """

    plan: str
    valid_from: str


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
