"""What can be asked of usage: a span of time, what to group by, and the sums that come back."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from heliograph.billing.invoices.values import DAY_MS, Month, Span
from heliograph.core.errors import Code, HeliographError

HOUR_MS = 3_600_000
MOST_DAYS = 1100
"""Days of the longest span: three years."""
MOST_GROUPS = 10_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_LAST_MS = 32_503_680_000_000  # the year 3000
_ISO = re.compile(
    r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:?\d{2})?)?", re.ASCII
)


class By(StrEnum):
    """What usage can be grouped by; the hours, days and months are those of UTC."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"
    MODEL = "model"
    VERSION = "version"
    KEY = "key"
    TASK = "task"
    DEVICE = "device"


_NAMES = frozenset(one.value for one in By)
TIMES = frozenset({By.HOUR, By.DAY, By.MONTH})


class Sums(NamedTuple):
    """What was used.

    Attributes:
        calls: answers; `images` pictures decoded.
        pixels: of the upright pictures.
        bytes_in: of the questions; `bytes_out` of the answers.
        run_us: microseconds that models ran.
        cost: in millionths of the currency's unit, as told in the answers.
    """

    calls: int = 0
    images: int = 0
    pixels: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    run_us: int = 0
    cost: int = 0

    def plus(self, other: Sums) -> Sums:
        """Both together."""
        return Sums(*(one + more for one, more in zip(self, other, strict=True)))


class Group(NamedTuple):
    """The sums of one group.

    Attributes:
        by: its names, in the order they were asked for: `2026-08-01T13:00:00Z`, `2026-08-01` and
            `2026-08` for times.
        sums: what was used in it.
    """

    by: tuple[str, ...]
    sums: Sums


class Report(NamedTuple):
    """An answer about usage.

    Attributes:
        span: that it is about.
        by: what it is grouped by; the groups are in the order of their names.
        totals: of everything in the span: what the groups sum to.
    """

    span: Span
    by: tuple[By, ...]
    totals: Sums
    groups: tuple[Group, ...]


def read_by(text: str) -> tuple[By, ...]:
    """A list such as `day,model`.

    Raises:
        HeliographError: `unknown_filter` for what is no group, `validation` for one named twice.
    """
    names = [one.strip() for one in text.split(",")] if text else []
    for name in names:
        if name not in _NAMES:
            raise HeliographError(
                Code.UNKNOWN_FILTER,
                f"Usage is grouped by {', '.join(By)}; {name[:40]!r} came.",
            )
    found = tuple(By(one) for one in names)
    if len(set(found)) < len(found):
        raise HeliographError(
            Code.VALIDATION, "A group is named twice in group_by; once is enough."
        )
    return found


def read_time(text: str, name: str) -> int:
    """A time as ISO 8601 writes it (UTC unless it says otherwise), or in ms since 1970.

    Args:
        text: `2026-08-01`, `2026-08-01T13:00Z`, `2026-08-01T13:00:00+02:00`, `1785542400000`.
        name: how the message calls it.

    Raises:
        HeliographError: `validation`.
    """
    # In a query a plus sign that was not escaped arrives as a space.
    text = re.sub(r" (\d{2}:?\d{2})$", r"+\1", text) if "T" in text else text
    found = -1
    if text == "0" or (text.isascii() and text.isdecimal() and 12 <= len(text) <= 15):
        found = int(text)
    elif _ISO.fullmatch(text):
        found = _iso(text)
    if not 0 <= found < _LAST_MS:
        raise HeliographError(
            Code.VALIDATION,
            f"{name} is a time such as 2026-08-01, 2026-08-01T13:00:00Z or 1785542400000 "
            f"(milliseconds since 1970); {text[:40]!r} came.",
        )
    return found


def _iso(text: str) -> int:
    try:
        at = datetime.fromisoformat(text)
        return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - _EPOCH) // _MS
    except (ValueError, OverflowError):
        return -1


def read_span(from_: str, to: str, now_ms: int) -> Span:
    """From a time until before another; empty ones are the ends of the present month.

    Raises:
        HeliographError: `validation`.
    """
    month = Month.of(now_ms)
    span = Span(
        read_time(from_, "from") if from_ else month.from_ms,
        read_time(to, "to") if to else month.to_ms,
    )
    if span.from_ms > span.to_ms:
        raise HeliographError(Code.VALIDATION, "`from` lies after `to`.")
    if span.to_ms - span.from_ms > MOST_DAYS * DAY_MS:
        raise HeliographError(
            Code.VALIDATION, f"A span may have {MOST_DAYS} days; ask for a part of it."
        )
    return span


def moment_of(by: By, number: int) -> str:
    """An hour since 1970, a day since 1970 or a month since the year 0, as text.

    Args:
        by: which of the three.
        number: of hours, days or months.
    """
    if by is By.MONTH:
        return f"{number // 12:04d}-{number % 12 + 1:02d}"
    at = _EPOCH + (timedelta(hours=number) if by is By.HOUR else timedelta(days=number))
    return at.strftime("%Y-%m-%dT%H:00:00Z" if by is By.HOUR else "%Y-%m-%d")


def month_number(month: Month) -> int:
    """Months since the year 0."""
    return month.year * 12 + month.month - 1
