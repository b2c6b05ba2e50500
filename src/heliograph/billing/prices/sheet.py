"""A price sheet: a price book as an operator writes it, in TOML or JSON, and its check.

    currency = "EUR"
    valid_from = "2026-09-01T00:00:00Z"

    [[rates]]
    meter = "run_ms"
    device = "cpu"
    price = "0.0000021"

Prices are text, so that no reader of the file makes a binary fraction of them. What is not exact,
not known or out of range is refused with its place; nothing is rounded, nothing is ignored.
"""

from __future__ import annotations

import hashlib
import tomllib
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from heliograph.billing.prices.values import (
    FREE_OF_MODEL,
    METERS,
    Fee,
    Head,
    Kind,
    Party,
    Plan,
    PriceBook,
    Rate,
    RateKey,
    Tax,
    Tier,
)
from heliograph.core.errors import Code, HeliographError
from heliograph.core.money import MOST_MINOR, NO_CURRENCY, exact, exponent_of

MOST_PRICE = 1_000_000
"""The highest price of a unit, in whole units of currency."""
_MOST_UNITS = 10**12
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)

Text = Annotated[str, Meta(min_length=1, max_length=120, pattern=r"^[^\x00-\x1f\x7f]*$")]
"""A line of text: no line breaks, no control characters."""
Line = Annotated[str, Meta(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
TaxId = Annotated[str, Meta(max_length=40, pattern=r"^[^\x00-\x1f\x7f]*$")]
Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
ModelName = Annotated[str, Meta(pattern=r"^$|^[a-z0-9][a-z0-9._-]{0,62}$")]
Country = Annotated[str, Meta(pattern=r"^$|^[A-Z]{2}$")]
Points = Annotated[int, Meta(ge=0, le=10_000)]
Amount = Annotated[str, Meta(max_length=40)]
Quantity = Annotated[str, Meta(max_length=40)] | int


class TierSheet(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One tier of a rate.

    Attributes:
        price: of a unit.
        up_to: units of a month up to which it holds; left out in the last tier.
    """

    price: Amount
    up_to: Quantity | None = None


class RateSheet(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The price of a meter.

    Attributes:
        meter: one of `busy_seconds`, `idle_seconds`, `gb_in`, `gb_out`, `calls`, `images`,
            `rows`, `megapixels`, `run_ms`, `gb_days`.
        price: of a unit; or `tiers`.
        tiers: prices by the month's quantity, ascending; the last without `up_to`.
        kind: `graduated` or `volume`.
        free: units a month that cost nothing.
        model: only for this model; `device` only for this device class.
        name: what the invoice calls it.
    """

    meter: str
    price: Amount = ""
    tiers: Annotated[tuple[TierSheet, ...], Meta(max_length=20)] = ()
    kind: Kind = "graduated"
    free: Quantity = 0
    model: ModelName = ""
    device: ModelName = ""
    name: Line = ""


class FeeSheet(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A sum for each month.

    Attributes:
        name: what the invoice calls it.
        monthly: in the currency, with its decimals.
        model: of licences: due in months in which this model is called.
    """

    name: Text
    monthly: Amount
    model: ModelName = ""


class PlanSheet(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a workspace can agree to.

    Attributes:
        title: what the invoice calls it.
        monthly: fee of a whole month.
        minimum: least that fees and usage of a month come to.
        included: units a month by meter that cost nothing.
        discounts: basis points off by head, `usage` for all that do not stand here.
        fees: further sums each month.
    """

    title: Text
    monthly: Amount = "0"
    minimum: Amount = "0"
    included: dict[str, Quantity] = {}
    discounts: dict[str, Points] = {}
    fees: Annotated[tuple[FeeSheet, ...], Meta(max_length=20)] = ()


class TaxSheet(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A tax.

    Attributes:
        name: as the invoice shows it.
        rate: basis points: 1900 is 19 %.
        heads: which it is due on; left out: all.
        countries: of buyers for whom it is due; left out: all.
        without_tax_id: only for buyers without a tax number.
        note: a sentence for the invoice.
    """

    name: Text
    rate: Points
    heads: tuple[Head, ...] = ()
    countries: Annotated[tuple[Country, ...], Meta(max_length=250)] = ()
    without_tax_id: bool = False
    note: Line = ""


class PartySheet(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Seller or buyer, as the invoice shows them.

    Attributes:
        name: of the person or firm.
        address: lines of it.
        country: two letters of ISO 3166.
        tax_id: number for taxes.
        email: for questions.
    """

    name: Line = ""
    address: Annotated[tuple[Line, ...], Meta(max_length=6)] = ()
    country: Country = ""
    tax_id: TaxId = ""
    email: Line = ""


class PriceSheet(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A whole price book.

    Attributes:
        currency: of ISO 4217.
        valid_from: time with its zone, as in RFC 3339; left out: at once.
        rates: prices of meters; what has none is free.
        plans: by name.
        default_plan: of workspaces that agreed to none.
        licences: fees of models in months in which they are called.
        taxes: as they are due.
        seller: who sends the invoices.
        prefix: what invoice numbers begin with.
        terms: small print of the invoice.
    """

    currency: Annotated[str, Meta(min_length=3, max_length=3)]
    valid_from: Annotated[str, Meta(max_length=40)] = ""
    rates: Annotated[tuple[RateSheet, ...], Meta(max_length=1000)] = ()
    plans: Annotated[dict[Name, PlanSheet], Meta(max_length=100)] = {}
    default_plan: Annotated[str, Meta(max_length=63)] = ""
    licences: Annotated[tuple[FeeSheet, ...], Meta(max_length=200)] = ()
    taxes: Annotated[tuple[TaxSheet, ...], Meta(max_length=20)] = ()
    seller: PartySheet = PartySheet()
    prefix: Annotated[str, Meta(pattern=r"^[A-Z][A-Z0-9]{0,7}$")] = "INV"
    terms: Annotated[str, Meta(max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""


def read_sheet(text: str) -> PriceSheet:
    """A sheet in TOML.

    Raises:
        HeliographError: `validation` or `unknown_field`, naming the place.
    """
    try:
        return msgspec.convert(tomllib.loads(text), PriceSheet)
    except tomllib.TOMLDecodeError as error:
        # Of the parser's words only where: they can quote the file.
        raise _bad(f"The sheet is not TOML: {str(error).rpartition('(')[2].rstrip(')')}") from error
    except msgspec.ValidationError as error:
        code = Code.UNKNOWN_FIELD if "unknown field" in str(error) else Code.VALIDATION
        hint = " Write prices as text, in quotes." if "got `float`" in str(error) else ""
        raise HeliographError(code, f"{str(error)[:300]}.{hint}") from error


def canonical(sheet: PriceSheet) -> str:
    """The sheet as it is stored: its bytes are the same whenever its content is."""
    return msgspec.json.encode(sheet, order="deterministic").decode("utf-8")


def compile_book(
    sheet: PriceSheet, version: int, valid_from_ms: int, published_ms: int
) -> PriceBook:
    """Check a sheet and make the book of it.

    Raises:
        HeliographError: `validation`, naming the place and what was expected.
    """
    if sheet.currency == NO_CURRENCY:
        raise _bad("currency: a price sheet needs one, such as EUR")
    exponent = exponent_of(sheet.currency)
    rates = _rates(sheet)
    plans = {name: _plan(name, one, exponent) for name, one in sheet.plans.items()}
    if sheet.default_plan and sheet.default_plan not in plans:
        raise _bad(f"default_plan: there is no plan {sheet.default_plan!r}")
    licences = tuple(_fee(one, exponent, f"licences[{n}]") for n, one in enumerate(sheet.licences))
    return PriceBook(
        version=version,
        valid_from_ms=valid_from_ms,
        published_ms=published_ms,
        currency=sheet.currency,
        exponent=exponent,
        rates=rates,
        plans=plans,
        default_plan=sheet.default_plan,
        licences=licences,
        taxes=tuple(_tax(one) for one in sheet.taxes),
        seller=party(sheet.seller),
        prefix=sheet.prefix,
        terms=sheet.terms,
        digest=hashlib.sha256(canonical(sheet).encode()).hexdigest(),
    )


def party(sheet: PartySheet) -> Party:
    """Seller or buyer of their written form."""
    return Party(sheet.name, sheet.address, sheet.country, sheet.tax_id, sheet.email)


def instant(text: str, what: str) -> int:
    """A time of RFC 3339 in milliseconds since 1970.

    It must name its zone or `Z`: local times do not exist or exist twice when clocks are changed.

    Raises:
        HeliographError: `validation`.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise _bad(f"{what} is a time with its zone, such as 2026-09-01T00:00:00Z")
    return (found - _EPOCH) // _MS


def _bad(detail: str) -> HeliographError:
    return HeliographError(Code.VALIDATION, f"{detail}.")


def _rates(sheet: PriceSheet) -> dict[RateKey, Rate]:
    found: dict[RateKey, Rate] = {}
    for n, one in enumerate(sheet.rates):
        where = f"rates[{n}]"
        rate = _rate(one, where)
        if rate.key in found:
            raise _bad(f"{where}: the same meter, model and device stand in an earlier rate")
        found[rate.key] = rate
    return found


def _rate(one: RateSheet, where: str) -> Rate:
    if one.meter not in METERS:
        raise _bad(f"{where}.meter: there is no {one.meter[:40]!r}; there are {', '.join(METERS)}")
    if one.meter in FREE_OF_MODEL and (one.model or one.device):
        raise _bad(f"{where}: {one.meter} is not known by model or device")
    if bool(one.price) == bool(one.tiers):
        raise _bad(f"{where}: give either price or tiers")
    tiers = one.tiers or (TierSheet(price=one.price),)
    meter = METERS[one.meter]
    return Rate(
        key=RateKey(one.meter, one.model, one.device),
        kind=one.kind,
        tiers=_tiers(tiers, one.meter, where),
        free=_units(one.free, one.meter, f"{where}.free", 0),
        name=one.name or meter.title,
    )


def _tiers(given: tuple[TierSheet, ...], meter: str, where: str) -> tuple[Tier, ...]:
    found: list[Tier] = []
    floor = 0
    for n, one in enumerate(given):
        place, last = f"{where}.tiers[{n}]", n == len(given) - 1
        if last != (one.up_to is None):
            raise _bad(f"{place}: every tier but the last needs up_to, and the last has none")
        upto = None if one.up_to is None else _units(one.up_to, meter, f"{place}.up_to", floor + 1)
        found.append(Tier(upto, _price(one.price, place)))
        floor = upto or floor
    return tuple(found)


def _price(text: str, where: str) -> int:
    nanos = exact(text, 9, f"{where}: a price")
    if not 0 <= nanos <= MOST_PRICE * 10**9:
        raise _bad(f"{where}: a price is between 0 and {MOST_PRICE}; {text[:40]} came")
    return nanos


def _units(given: str | int, meter: str, where: str, least: int) -> int:
    value = exact(given, METERS[meter].places, f"{where}: a quantity")
    if not least <= value <= _MOST_UNITS * METERS[meter].base:
        more = "more than the tier before it" if least > 1 else "above 0" if least else "0 or more"
        raise _bad(f"{where}: a quantity is {more}, and at most {_MOST_UNITS}; {given} came")
    return value


def money(text: str, exponent: int, where: str, *, least: int = 0) -> int:
    """An amount in minor units.

    Raises:
        HeliographError: `validation` where it is below `least`, too large, or finer than the
            currency's minor unit.
    """
    value = exact(text, exponent, f"{where}: an amount")
    if not least <= value <= MOST_MINOR:
        bound = "more than 0" if least == 1 else "0 or more" if not least else f"at least {least}"
        raise _bad(f"{where}: an amount is {bound} and below 2^53 minor units; {text[:40]} came")
    return value


def _fee(one: FeeSheet, exponent: int, where: str) -> Fee:
    return Fee(one.name, money(one.monthly, exponent, f"{where}.monthly"), one.model)


def _plan(name: str, one: PlanSheet, exponent: int) -> Plan:
    where = f"plans.{name}"
    for meter in one.included:
        if meter not in METERS:
            raise _bad(f"{where}.included: there is no meter {meter[:40]!r}")
    usage = [head for head in Head if head is not Head.OTHER]
    for head in one.discounts:
        if head != "usage" and head not in usage:
            raise _bad(f"{where}.discounts: {head[:40]!r} is none of usage, {', '.join(usage)}")
    general = one.discounts.get("usage", 0)
    return Plan(
        name=name,
        title=one.title,
        monthly=money(one.monthly, exponent, f"{where}.monthly"),
        minimum=money(one.minimum, exponent, f"{where}.minimum"),
        included={
            meter: _units(given, meter, f"{where}.included.{meter}", 0)
            for meter, given in one.included.items()
        },
        discounts={head: one.discounts.get(head, general) for head in usage},
        fees=tuple(_fee(fee, exponent, f"{where}.fees[{n}]") for n, fee in enumerate(one.fees)),
    )


def _tax(one: TaxSheet) -> Tax:
    heads = frozenset(one.heads or Head)
    return Tax(one.name, one.rate, heads, frozenset(one.countries), one.without_tax_id, one.note)


def fits(value: Any, kind: type[Any]) -> Any:
    """A written form of plain values, checked; for files that are not a request's body.

    Raises:
        HeliographError: `validation` or `unknown_field`.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        code = Code.UNKNOWN_FIELD if "unknown field" in str(error) else Code.VALIDATION
        raise HeliographError(code, f"{str(error)[:300]}.") from error
