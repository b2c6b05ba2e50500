"""Prices: `/api/v1/prices`. Everybody who pays may read them; the operator publishes them."""

from __future__ import annotations

from typing import Annotated

import msgspec

from heliograph.billing.invoices.values import moment
from heliograph.billing.prices.service import PriceService
from heliograph.billing.prices.sheet import PriceSheet
from heliograph.core.errors import Code, HeliographError
from heliograph.core.permissions import Permission
from heliograph.edge.http.doors import Asked, Door


class WhichPrices(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which price book.

    Attributes:
        version: its number; 0 for the one in force now.
    """

    version: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] = 0


class PriceBookCard(msgspec.Struct, frozen=True, kw_only=True):
    """A price book.

    Attributes:
        version: its number; replies and ledger rows name it.
        valid_from: when it came or comes into force, in UTC.
        published: when it was handed in.
        digest: SHA-256 of the sheet's canonical JSON.
        sheet: its content.
    """

    version: int
    valid_from: str
    published: str
    digest: str
    sheet: PriceSheet


def doors(prices: PriceService) -> list[Door]:
    """The addresses."""
    use = _Use(prices)
    read, write = Permission.BILLING_READ, Permission.PRICES_WRITE
    return [
        Door("GET", "/api/v1/prices", read, use.show, "The prices in force, or those of a version",
             "billing", query=WhichPrices, gives=PriceBookCard, codes=(Code.NOT_FOUND,)),
        Door("PUT", "/api/v1/prices", write, use.publish, "Publish new prices; operators only",
             "billing", takes=PriceSheet, gives=PriceBookCard,
             codes=(Code.FORBIDDEN, Code.CONFLICT), most=1 << 20),
    ]  # fmt: skip


class _Use:
    """The use cases behind the addresses."""

    def __init__(self, prices: PriceService) -> None:
        self._prices = prices

    def show(self, asked: Asked) -> PriceBookCard:
        """One book."""
        version = asked.query.version or self._prices.current().version
        if not version:
            raise HeliographError(Code.NOT_FOUND, "No prices are in force yet: all calls are free.")
        return self._card(version)

    def publish(self, asked: Asked) -> PriceBookCard:
        """A new book."""
        if not asked.caller.operator:
            raise HeliographError(Code.FORBIDDEN, "Only those who run this server set prices.")
        return self._card(self._prices.publish(asked.body, asked.caller.name).version)

    def _card(self, version: int) -> PriceBookCard:
        kept, sheet = self._prices.sheet(version)
        return PriceBookCard(
            version=kept.version,
            valid_from=moment(kept.valid_from_ms),
            published=moment(kept.published_ms),
            digest=kept.digest,
            sheet=sheet,
        )
