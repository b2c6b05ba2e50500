"""The list price of one call, at the moment of its answer.

It is the marginal price: what one more call costs without free amounts, plans and taxes, which only
the month's invoice knows. Whole numbers all the way; rounded once, to a millionth.
"""

from __future__ import annotations

from typing import NamedTuple

from heliograph.billing.prices.values import PriceBook
from heliograph.core.money import Cost, half_even

# Nanos times 10^9, the largest number of base units in a unit, to millionths.
_MILLIONTH = 10**12
_GIGA, _MEGA, _KILO = 10**9, 10**6, 10**3


class CallUse(NamedTuple):
    """What one call used.

    Attributes:
        model: the model's name; `device` the class of what it ran on, e.g. `cpu`.
        images: pictures; `rows` pictures or rows of tensors that the model ran on.
        pixels: of all upright pictures.
        run_us: microseconds of the model's run.
        bytes_in: of the request's body; `bytes_out` of the reply's.
    """

    model: str
    device: str
    images: int
    rows: int
    pixels: int
    run_us: int
    bytes_in: int
    bytes_out: int


def quote(book: PriceBook, use: CallUse) -> Cost:
    """What the call costs by the price list; takes a microsecond or two."""
    calls, images, rows, megapixels, run_ms, gb_in, gb_out = book.tariff(use.model, use.device)
    exact = (
        (calls + images * use.images + rows * use.rows) * _GIGA
        + megapixels * use.pixels * _KILO
        + run_ms * use.run_us * _MEGA
        + gb_in * use.bytes_in
        + gb_out * use.bytes_out
    )
    return Cost(half_even(exact, _MILLIONTH), book.currency, book.version)
