"""A price book, compiled: whole numbers only, and the rule that finds the rate for a quantity.

    sheet.py  PriceSheet   as an operator writes it (TOML, JSON), checked
       │
    PriceBook              numbered, in force from a time, never changed
       │
    quoting.py  Cost       the list price of one call, told in its reply
    invoices    lines      the month's quantities by the same rates, with tiers, plans and taxes

Quantities are whole *base* units of a meter (bytes, microseconds, pixels); a price is nanos for one
priced *unit* of it (GB, millisecond, megapixel).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, NamedTuple

from heliograph.core.errors import Code, HeliographError
from heliograph.core.money import NO_CURRENCY


class Head(StrEnum):
    """The five heads of an invoice, in their order."""

    HOST = "host"
    TRAFFIC = "traffic"
    COMPUTE = "compute"
    STORAGE = "storage"
    OTHER = "other"


class Meter(NamedTuple):
    """Something that is counted and can have a price.

    Attributes:
        head: under which head of the invoice it stands.
        unit: what a price is for.
        places: base units in a unit, as a power of ten: 9 for bytes in a GB.
        title: what an invoice calls it.
    """

    head: Head
    unit: str
    places: int
    title: str

    @property
    def base(self) -> int:
        """Base units in a unit."""
        return 10**self.places


METERS: dict[str, Meter] = {
    "busy_seconds": Meter(Head.HOST, "s", 3, "Replicas, busy"),
    "idle_seconds": Meter(Head.HOST, "s", 3, "Replicas, idle"),
    "gb_in": Meter(Head.TRAFFIC, "GB", 9, "Traffic in"),
    "gb_out": Meter(Head.TRAFFIC, "GB", 9, "Traffic out"),
    "calls": Meter(Head.COMPUTE, "call", 0, "Calls"),
    "images": Meter(Head.COMPUTE, "image", 0, "Images"),
    "rows": Meter(Head.COMPUTE, "row", 0, "Rows"),
    "megapixels": Meter(Head.COMPUTE, "MP", 6, "Pixels"),
    "run_ms": Meter(Head.COMPUTE, "ms", 3, "Run time"),
    "gb_days": Meter(Head.STORAGE, "GB-day", 9, "Storage"),
}
"""Every meter, by the name that price sheets use, in the order of an invoice."""

CALL_METERS = ("calls", "images", "rows", "megapixels", "run_ms", "gb_in", "gb_out")
"""Those that a single call moves."""

FREE_OF_MODEL = frozenset({"gb_days"})
"""Meters of which nobody knows a model or device."""

Kind = Literal["graduated", "volume"]


class Tier(NamedTuple):
    """A stretch of a month's quantity and its price.

    Attributes:
        up_to: the last base unit that it holds for; None for the last tier.
        nanos: price of one unit.
    """

    up_to: int | None
    nanos: int


class RateKey(NamedTuple):
    """What a rate is for; the same key in two books is the same rate with another price."""

    meter: str
    model: str = ""
    device: str = ""


@dataclass(frozen=True, slots=True)
class Rate:
    """The price of one meter, for everything or for one model or device class.

    Attributes:
        key: meter, model and device; empty ones mean all that have no rate of their own.
        kind: `graduated`: each unit costs what the tier says in which it lies; `volume`: all cost
            what the tier says in which the month's sum lies.
        tiers: ascending, at least one; the last is open.
        free: base units a month that cost nothing, before the tiers begin to count.
        name: what the invoice calls it.
    """

    key: RateKey
    kind: Kind
    tiers: tuple[Tier, ...]
    free: int
    name: str

    @property
    def list_nanos(self) -> int:
        """The list price of a unit: of the first tier that costs something."""
        return next((tier.nanos for tier in self.tiers if tier.nanos), 0)

    def charge(self, before: int, quantity: int, total: int) -> int:
        """What a quantity costs, in nanos times base units: exact, nothing is rounded here.

        Args:
            before: base units of the month that were counted before these.
            quantity: base units to price.
            total: base units of the whole month, `before` and what follows included.
        """
        if self.kind == "volume":
            return quantity * next(
                t.nanos for t in self.tiers if t.up_to is None or total <= t.up_to
            )
        cost, at, end = 0, before, before + quantity
        for tier in self.tiers:
            upto = end if tier.up_to is None else min(end, tier.up_to)
            if upto > at:
                cost += (upto - at) * tier.nanos
                at = upto
        return cost


class Fee(NamedTuple):
    """A sum for a whole month.

    Attributes:
        name: what the invoice calls it.
        monthly: in minor units.
        model: due only in months in which this model was called; empty for every month.
    """

    name: str
    monthly: int
    model: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a workspace has agreed to.

    Attributes:
        name: short, for programs; `title` for invoices.
        monthly: fee in minor units, for a whole month.
        minimum: least that fees and usage of a whole month come to, in minor units.
        included: base units a month by meter that cost nothing.
        discounts: basis points off, by head; not on fees.
        fees: further sums each month: support, licences.
    """

    name: str
    title: str
    monthly: int = 0
    minimum: int = 0
    included: Mapping[str, int] = field(default_factory=dict[str, int])
    discounts: Mapping[Head, int] = field(default_factory=dict[Head, int])
    fees: tuple[Fee, ...] = ()


NO_PLAN = Plan("", "")


@dataclass(frozen=True, slots=True)
class Tax:
    """A tax and when it is due.

    Attributes:
        name: as it stands on the invoice.
        rate: basis points of the net amount.
        heads: which heads it is due on.
        countries: of buyers for whom it is due; empty for all.
        without_tax_id: only for buyers who gave no tax number (others reverse the charge).
        note: a sentence that the law wants on the invoice with it.
    """

    name: str
    rate: int
    heads: frozenset[Head]
    countries: frozenset[str] = frozenset()
    without_tax_id: bool = False
    note: str = ""

    def holds(self, country: str, tax_id: str) -> bool:
        """Whether it is due from such a buyer."""
        if self.countries and country not in self.countries:
            return False
        return not (self.without_tax_id and tax_id)


@dataclass(frozen=True, slots=True)
class Party:
    """Seller or buyer, as the invoice shows them.

    Attributes:
        name: of the person or firm.
        address: lines of it.
        country: two letters of ISO 3166; empty if unknown.
        tax_id: its number for taxes.
        email: where questions go.
    """

    name: str = ""
    address: tuple[str, ...] = ()
    country: str = ""
    tax_id: str = ""
    email: str = ""


class Tariff(NamedTuple):
    """Nanos for each unit that one call moves, for one model on one device class."""

    calls: int
    images: int
    rows: int
    megapixels: int
    run_ms: int
    gb_in: int
    gb_out: int


@dataclass(frozen=True, slots=True)
class PriceBook:
    """Everything that prices are made of, from one time until the next book.

    Attributes:
        version: counted from 1; 0 is the book in force before any was published: all is free.
        valid_from_ms: when it comes into force; `published_ms` when it was handed in.
        currency: of ISO 4217; `exponent` the decimal places of its minor unit.
        rates: by what they are for.
        plans: by name; `default_plan` holds for workspaces that agreed to none.
        licences: fees of models, in months in which they are called.
        taxes: as they are due.
        seller: who sends the invoices; `prefix` begins their numbers, `terms` is small print.
        digest: SHA-256 of the sheet's canonical JSON.
    """

    version: int
    valid_from_ms: int
    published_ms: int
    currency: str
    exponent: int
    rates: Mapping[RateKey, Rate]
    plans: Mapping[str, Plan]
    default_plan: str
    licences: tuple[Fee, ...]
    taxes: tuple[Tax, ...]
    seller: Party
    prefix: str
    terms: str
    digest: str
    _found: dict[RateKey, Rate | None] = field(
        default_factory=dict[RateKey, "Rate | None"], compare=False, repr=False
    )
    _tariffs: dict[tuple[str, str], Tariff] = field(
        default_factory=dict[tuple[str, str], Tariff], compare=False, repr=False
    )

    def rate(self, meter: str, model: str = "", device: str = "") -> Rate | None:
        """The rate for a quantity; None where it has no price.

        That of this model on this device; else the model's; else the device's; else the general.
        """
        asked = RateKey(meter, model, device)
        if asked not in self._found:
            keys = (asked, RateKey(meter, model), RateKey(meter, "", device), RateKey(meter))
            self._found[asked] = next((self.rates[k] for k in keys if k in self.rates), None)
        return self._found[asked]

    def tariff(self, model: str, device: str) -> Tariff:
        """List prices of everything that one call of a model moves; worked out once."""
        known = self._tariffs.get((model, device))
        if known is None:
            rates = (self.rate(meter, model, device) for meter in CALL_METERS)
            known = Tariff(*(rate.list_nanos if rate else 0 for rate in rates))
            self._tariffs[(model, device)] = known
        return known

    def plan(self, name: str) -> Plan:
        """A plan by name; one without any terms if this book has none of that name."""
        return self.plans.get(name or self.default_plan, NO_PLAN)


FREE = PriceBook(0, 0, 0, NO_CURRENCY, 0, {}, {}, "", (), (), Party(), "INV", "", "")
"""What is in force before any book was published."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """Every price book there is, as somebody found them at one moment; version 0 is the first.

    Attributes:
        books: in the order of their numbers, which is that of their times.
    """

    books: tuple[PriceBook, ...] = (FREE,)

    def at(self, ms: int) -> PriceBook:
        """The book in force at a time."""
        after = bisect_right(self.books, ms, key=lambda book: book.valid_from_ms)
        return self.books[max(after, 1) - 1]

    def version(self, number: int) -> PriceBook:
        """A book by its number.

        Raises:
            HeliographError: `not_found`.
        """
        if not 0 <= number < len(self.books):
            raise HeliographError(Code.NOT_FOUND, f"There is no price version {number}.")
        return self.books[number]
