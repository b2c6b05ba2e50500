"""Stretches of time that limits are counted in, and what a call counts for."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from heliograph.core.call import Limit

_MS = {"second": 1000, "minute": 60_000, "hour": 3_600_000, "day": 86_400_000}
RATES = {"second", "minute"}
"""Periods so short that waiting is the remedy."""
MEGA = 1_000_000


class Window(NamedTuple):
    """One stretch of time: the first millisecond in it and the first after it."""

    begin_ms: int
    end_ms: int


def window(period: str, now_ms: int) -> Window:
    """The stretch that `now_ms` is in: whole seconds, minutes, hours, days, months of UTC."""
    if period in _MS:
        begin = now_ms - now_ms % _MS[period]
        return Window(begin, begin + _MS[period])
    day = datetime.fromtimestamp(now_ms // 1000, UTC)
    first = datetime(day.year, day.month, 1, tzinfo=UTC)
    after = datetime(day.year + day.month // 12, day.month % 12 + 1, 1, tzinfo=UTC)
    return Window(int(first.timestamp()) * 1000, int(after.timestamp()) * 1000)


class Amounts(NamedTuple):
    """What one answered call counts for; `pixels` are kept whole, a megapixel being a million."""

    calls: int
    images: int
    pixels: int
    cost: int


def amount(limit: Limit, used: Amounts) -> int:
    """What a call counts for a limit, in the unit that is counted in."""
    match limit.meter:
        case "calls":
            return used.calls
        case "images":
            return used.images
        case "megapixels":
            return used.pixels
        case _:
            return used.cost


def most(limit: Limit) -> int:
    """A limit's bound in the unit that is counted in: pixels, where it says megapixels."""
    return limit.most * MEGA if limit.meter == "megapixels" else limit.most
