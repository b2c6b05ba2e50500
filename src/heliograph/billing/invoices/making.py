"""Making an invoice's document of what has been gathered; the same from the same, byte for byte."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from heliograph.billing.invoices.document import Heading, invoice
from heliograph.billing.invoices.store import Extra
from heliograph.billing.invoices.values import Line, Month, Rated
from heliograph.billing.prices.sheet import PartySheet, fits, party
from heliograph.billing.prices.values import Head, Party, PriceBook
from heliograph.core.money import written


def read_buyer(details: str) -> Party:
    """Buyer's details as they are kept; nobody's from nothing."""
    return party(fits(json.loads(details), PartySheet)) if details else Party()


def extra_line(extra: Extra, month: Month, exponent: int) -> Line:
    """A one-off line as a line of an invoice."""
    return Line(
        head=Head.OTHER,
        name=extra.name,
        amount=extra.quantity * extra.price,
        from_ms=month.from_ms,
        to_ms=month.to_ms,
        quantity=extra.quantity,
        unit="item",
        price=written(extra.price, exponent),
        source=extra.id,
    )


def make(
    heading: Heading,
    month: Month,
    rated: Rated,
    extras: Sequence[Extra],
    book: PriceBook,
    balance: int,
) -> dict[str, Any]:
    """The document; see `document.invoice`."""
    more = [extra_line(one, month, book.exponent) for one in extras]
    return invoice(heading, month, rated, more, book, balance)
