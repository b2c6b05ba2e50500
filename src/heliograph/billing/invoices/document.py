"""The invoice itself: lines, taxes, credits and their sums as one document of canonical JSON.

    total = sum of lines + sum of taxes - sum of credits

Canonical means RFC 8785: keys sorted, no spaces. All numbers are whole (amounts in the currency's
minor unit, quantities as decimal text), so that equal content has equal bytes everywhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from heliograph.billing.invoices.rating import order
from heliograph.billing.invoices.values import Line, Month, Rated, moment
from heliograph.billing.prices.values import Head, Party, PriceBook, Tax
from heliograph.core.errors import Code, HeliographError
from heliograph.core.money import MOST_MINOR, half_even


class Heading(NamedTuple):
    """What stands on an invoice besides its figures.

    Attributes:
        id: of the invoice; `number` in its series, empty for a draft.
        state: `draft` while the month runs, `grace` while late usage is taken, `final`.
        issued_ms: when it was made out; for a draft, when it was asked for.
        buyer: as they were known then.
    """

    id: str
    number: str
    state: str
    issued_ms: int
    buyer: Party


class TaxLine(NamedTuple):
    """A tax on the sum of the lines that it is due on.

    Attributes:
        name: of the tax; `rate` in basis points; `base` what it is due on.
        amount: in minor units, rounded once.
        heads: of the lines that are its base.
        note: a sentence for the invoice.
    """

    name: str
    rate: int
    base: int
    amount: int
    heads: tuple[str, ...]
    note: str


def canonical(document: Any) -> str:
    """Canonical JSON (RFC 8785) of a document without fractions and with ASCII keys."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(text: str) -> str:
    """SHA-256 of canonical JSON."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def told_party(party: Party) -> dict[str, Any]:
    """Seller or buyer as JSON."""
    return {
        "name": party.name,
        "address": list(party.address),
        "country": party.country,
        "tax_id": party.tax_id,
        "email": party.email,
    }


def taxes(rules: Iterable[Tax], buyer: Party, lines: Sequence[Line]) -> list[TaxLine]:
    """The taxes that are due, in the order of the price book."""
    made: list[TaxLine] = []
    for rule in rules:
        if not rule.holds(buyer.country, buyer.tax_id):
            continue
        base = sum(line.amount for line in lines if line.head in rule.heads)
        heads = tuple(sorted(head.value for head in rule.heads))
        amount = half_even(base * rule.rate, 10_000)
        made.append(TaxLine(rule.name, rule.rate, base, amount, heads, rule.note))
    return made


def invoice(
    heading: Heading,
    month: Month,
    rated: Rated,
    more: Sequence[Line],
    book: PriceBook,
    balance: int,
) -> dict[str, Any]:
    """The document.

    Args:
        heading: who, which number, when.
        month: which.
        rated: the month's usage and plans.
        more: one-off lines.
        book: in force at the month's end: its taxes hold.
        balance: prepaid credit that may be used, in minor units.

    Raises:
        HeliographError: `validation` if the sums are beyond what an invoice can hold.
    """
    lines = sorted((*rated.lines, *more), key=order)
    due = taxes(book.taxes, heading.buyer, lines)
    net, tax = sum(line.amount for line in lines), sum(one.amount for one in due)
    if abs(net) + abs(tax) > MOST_MINOR:
        raise HeliographError(Code.VALIDATION, "The sum is more than an invoice can hold.")
    credit = max(0, min(balance, net + tax))
    return {
        "kind": "invoice",
        "id": heading.id,
        "number": heading.number,
        "state": heading.state,
        "month": str(month),
        "issued": moment(heading.issued_ms),
        "workspace": rated.workspace,
        "currency": book.currency,
        "exponent": book.exponent,
        "seller": told_party(book.seller),
        "buyer": told_party(heading.buyer),
        "lines": [line.told() for line in lines],
        "heads": _by_head(lines),
        "net": net,
        "taxes": [told_tax(one) for one in due],
        "tax": tax,
        "gross": net + tax,
        "credits": [{"name": "Prepaid credit", "amount": credit}] if credit else [],
        "credit": credit,
        "total": net + tax - credit,
        "usage": list(rated.usage),
        "terms": book.terms,
    }


def _by_head(lines: Sequence[Line]) -> dict[str, int]:
    sums = {head.value: 0 for head in Head}
    for line in lines:
        sums[line.head.value] += line.amount
    return sums


def told_tax(one: TaxLine) -> dict[str, Any]:
    """A tax line as JSON."""
    return {**one._asdict(), "heads": list(one.heads)}
