"""What goes through the doors of `invoices.py`, in and out."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

_MonthText = Annotated[str, Meta(pattern=r"^$|^[0-9]{4}-[0-9]{2}$")]
_Line = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
_Amount = Annotated[str, Meta(min_length=1, max_length=40)]


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
