"""Money: whole numbers only, and the few rules by which they are made, rounded and shared out.

Prices are exact in *nanos* (a thousand-millionth of the currency's unit), what one call costs is
told in millionths, and what stands on an invoice is in the currency's minor unit (a cent, a yen, a
fils). Rounding is half to even, done once, where a line of an invoice is made; a rounded sum is
shared out by the largest remainder, so that its parts sum to it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from heliograph.core.errors import Code, HeliographError

NANOS = 1_000_000_000
"""Nanos in a unit of currency."""
MILLIONTHS = 1_000_000
"""Millionths in a unit of currency."""
NO_CURRENCY = "XXX"
"""What ISO 4217 calls a transaction without a currency: while no prices are set."""
MOST_MINOR = (1 << 53) - 1
"""The largest amount on an invoice: what every reader of JSON holds exactly."""

# ISO 4217: the currencies in use, without funds, metals and codes for testing.
_BY_PLACES = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF",
    2: """
AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY
COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF
IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR
MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG
SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES
WST XCD XCG YER ZAR ZMW ZWG
""",
    3: "BHD IQD JOD KWD LYD OMR TND",
}
EXPONENTS: dict[str, int] = {
    code: places for places, codes in _BY_PLACES.items() for code in codes.split()
}
"""Decimal places of a currency's minor unit, by its code of ISO 4217."""
_DECIMAL = re.compile(r"(-?)([0-9]{1,24})(?:\.([0-9]{1,18}))?", re.ASCII)


class Cost(NamedTuple):
    """What one call costs by the price list, as its reply and its ledger row tell it.

    Attributes:
        amount_millionths: in millionths of the currency's unit.
        currency: its code of ISO 4217; `XXX` while no prices are set.
        price_version: number of the price book it was priced by; 0 while no prices are set.
    """

    amount_millionths: int
    currency: str
    price_version: int


NOTHING = Cost(0, NO_CURRENCY, 0)
"""What a call costs where no prices are set."""


def half_even(numerator: int, denominator: int) -> int:
    """`numerator` over `denominator` (positive), rounded to whole; a half goes to the even one."""
    whole, rest = divmod(numerator, denominator)
    if 2 * rest > denominator or (2 * rest == denominator and whole & 1):
        return whole + 1
    return whole


def allocate(total: int, weights: Sequence[int]) -> list[int]:
    """Share `total` out by `weights` so that the parts sum to it exactly.

    Each gets its share without the fraction; what is left goes, one by one, to those whose fraction
    was largest, the earlier first among equals. With no weight at all the first gets everything.

    Args:
        total: of either sign.
        weights: not negative, at least one.
    """
    whole = sum(weights)
    if not whole:
        return [total] + [0] * (len(weights) - 1)
    sign = -1 if total < 0 else 1
    shares = [divmod(abs(total) * weight, whole) for weight in weights]
    parts = [share for share, _ in shares]
    order = sorted(range(len(weights)), key=lambda n: -shares[n][1])
    for n in order[: abs(total) - sum(parts)]:
        parts[n] += 1
    return [sign * part for part in parts]


def exact(text: str | int, places: int, what: str = "An amount") -> int:
    """A decimal number as whole units of 10^-places.

    Args:
        text: digits, with a point and further digits where wanted; no exponent, no separators.
        places: decimal places that are kept; more that are not zero are refused, never rounded.
        what: how the message calls it.

    Raises:
        HeliographError: `validation`.
    """
    found = _DECIMAL.fullmatch(str(text))
    if found is None:
        raise HeliographError(
            Code.VALIDATION,
            f"{what} is a decimal number such as '0.0025', without exponent or separators; "
            f"{str(text)[:40]!r} came.",
        )
    sign, whole, fraction = found[1], found[2], (found[3] or "").rstrip("0")
    if len(fraction) > places:
        raise HeliographError(
            Code.VALIDATION, f"{what} may have {places} decimal places; {str(text)[:40]!r} came."
        )
    value = int(whole + fraction.ljust(places, "0"))
    return -value if sign else value


def written(value: int, places: int) -> str:
    """The reverse of `exact`, with all of `places`: `written(1250, 2)` is `12.50`."""
    sign, digits = ("-" if value < 0 else ""), str(abs(value)).rjust(places + 1, "0")
    return sign + (f"{digits[:-places]}.{digits[-places:]}" if places else digits)


def short(value: int, places: int) -> str:
    """As `written`, without zeros at the end."""
    text = written(value, places)
    return text.rstrip("0").rstrip(".") if places else text


def exponent_of(currency: str) -> int:
    """Decimal places of a currency.

    Raises:
        HeliographError: `validation` if ISO 4217 has no such currency in use.
    """
    if currency == NO_CURRENCY:
        return 0
    if currency not in EXPONENTS:
        raise HeliographError(
            Code.VALIDATION,
            f"{currency[:20]!r} is no currency of ISO 4217; a code such as EUR, USD or CNY is.",
        )
    return EXPONENTS[currency]
