"""What invoices are made of: months, usage, segments, lines; whole numbers only.

MonthUsage ─┐
Segment    ─┼─ rating ─► Line ─┬─ document ─► the invoice's JSON
PriceBook  ─┘      one-off lines, buyer, credits ─┘
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from sqlalchemy import Connection

from heliograph.billing.prices.values import Head
from heliograph.core.errors import Code, HeliographError
from heliograph.core.money import short

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
DAY_MS = 86_400_000
SAMPLED = -1
"""Price version of usage that was sampled: it is priced by the book in force at its time."""


class Month(NamedTuple):
    """A month by the calendar of UTC; months sort by time."""

    year: int
    month: int

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.month:02d}"

    @property
    def from_ms(self) -> int:
        """Its first millisecond."""
        return (datetime(self.year, self.month, 1, tzinfo=UTC) - _EPOCH) // _MS

    @property
    def to_ms(self) -> int:
        """The first millisecond after it."""
        return self.next().from_ms

    def next(self) -> Month:
        """The month after it."""
        return Month(self.year + 1, 1) if self.month == 12 else Month(self.year, self.month + 1)

    @staticmethod
    def of(ms: int) -> Month:
        """The month that a time lies in."""
        at = _EPOCH + ms * _MS
        return Month(at.year, at.month)


def read_month(text: str) -> Month:
    """A month written as `2026-08`.

    Raises:
        HeliographError: `validation`.
    """
    year, _, month = text.partition("-")
    right = len(year) == 4 and len(month) == 2 and (year + month).isdecimal() and text.isascii()
    if not right or not 1 <= int(month) <= 12 or not 1970 <= int(year) <= 9000:
        raise HeliographError(
            Code.VALIDATION, f"A month is written as 2026-08; {text[:20]!r} came."
        )
    return Month(int(year), int(month))


@lru_cache(maxsize=4096)
def moment(ms: int) -> str:
    """A time as RFC 3339 writes it, in UTC, to the second."""
    return (_EPOCH + ms * _MS).strftime("%Y-%m-%dT%H:%M:%SZ")


class Span(NamedTuple):
    """From a time until before another."""

    from_ms: int
    to_ms: int


class Marks(NamedTuple):
    """How far each source of usage has been read: the highest `seq` that counts.

    What is above a month's marks when it is sealed was late, and belongs to the next month.
    """

    ledger: int = 0
    hosted: int = 0
    stored: int = 0


ALL = Marks(*[(1 << 63) - 1] * 3)
"""Everything there is: for drafts, whose month is still open."""


class MonthUsage(NamedTuple):
    """Sums of usage of one workspace, model, device class and price version in a span of time.

    Attributes:
        workspace: whose.
        model: name; empty for storage. `device` is the class of what ran it.
        price_version: of the ledger's rows; `SAMPLED` for hosting and storage.
        calls: answers; `images`, `rows`, `pixels`, `run_us`, `bytes_in` and `bytes_out` are sums
            over them.
        replica_ms: time that replicas were there; `busy_ms` of it, while they ran.
        byte_days: bytes stored, a sample each day.
    """

    workspace: str
    model: str = ""
    device: str = ""
    price_version: int = SAMPLED
    calls: int = 0
    images: int = 0
    rows: int = 0
    pixels: int = 0
    run_us: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    replica_ms: int = 0
    busy_ms: int = 0
    byte_days: int = 0

    def quantities(self) -> tuple[tuple[str, int], ...]:
        """Base units by meter."""
        return (
            ("busy_seconds", self.busy_ms),
            ("idle_seconds", max(0, self.replica_ms - self.busy_ms)),
            ("gb_in", self.bytes_in),
            ("gb_out", self.bytes_out),
            ("calls", self.calls),
            ("images", self.images),
            ("rows", self.rows),
            ("megapixels", self.pixels),
            ("run_ms", self.run_us),
            ("gb_days", self.byte_days),
        )


class UsageReader(Protocol):
    """Where usage comes from; every row has a `seq` that counts up and is never changed."""

    def marks(self, connection: Connection) -> Marks:
        """The highest numbers that are settled: no row with a lower one can appear any more.

        Called within a writing transaction. On PostgreSQL a number is given out before its row is
        committed, so that the tables must be locked against writers for this moment.
        """
        ...

    def usage(
        self, connection: Connection, span: Span, upto: Marks, only: Collection[str] | None
    ) -> Iterable[MonthUsage]:
        """Sums over rows whose time lies in `span` and whose numbers are not above `upto`.

        A row of hosting counts at the time it begins, one of storage when its day begins.

        Args:
            connection: any.
            span: by the time of the event.
            upto: inclusive.
            only: these workspaces; None for all.
        """
        ...

    def late(
        self, connection: Connection, before_ms: int, after: Marks, upto: Marks
    ) -> Iterable[tuple[str, int]]:
        """Workspaces and days (since 1970) that have rows from before a time, numbered between.

        Args:
            connection: any.
            before_ms: exclusive.
            after: exclusive.
            upto: inclusive.
        """
        ...


class Segment(NamedTuple):
    """A part of a month in which a workspace kept to one plan.

    Attributes:
        from_ms: its beginning; `to_ms` the first millisecond after it.
        plan: name; empty for the price book's default.
    """

    from_ms: int
    to_ms: int
    plan: str


class Part(NamedTuple):
    """What a model has of a line.

    Attributes:
        model: name; `quantity` in base units; `amount` in minor units.
    """

    model: str
    quantity: int
    amount: int


class LineKey(NamedTuple):
    """What makes two lines the same line of the month, rated at different times."""

    head: Head
    meter: str
    model: str
    device: str
    name: str
    from_ms: int
    price_version: int


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an invoice: rounded once, when its amount was made.

    Attributes:
        head: of the five, under which it stands.
        name: what it is called.
        amount: in minor units, after the discount.
        meter: of what was counted; empty for fees and one-off lines.
        model: that the rate is for; `device` likewise; empty for all.
        from_ms: when it begins to hold; `to_ms` when it ends.
        price_version: of the book that priced it.
        quantity: base units; `places` of them make a unit, as a power of ten.
        free: base units of `quantity` that cost nothing, by the rate or the plan.
        unit: what the price is for.
        price: of a unit, as text; with tiers, each with its bound.
        discount: basis points that were taken off.
        share: of fees: how much of the month, as a fraction in milliseconds.
        parts: who of the models caused how much; they sum to quantity and amount.
        late: the month that it should have stood in.
        source: id of a one-off line.
    """

    head: Head
    name: str
    amount: int
    meter: str = ""
    model: str = ""
    device: str = ""
    from_ms: int = 0
    to_ms: int = 0
    price_version: int = 0
    quantity: int = 0
    free: int = 0
    places: int = 0
    unit: str = ""
    price: str = ""
    discount: int = 0
    share: tuple[int, int] | None = None
    parts: tuple[Part, ...] = ()
    late: str = ""
    source: str = ""

    @property
    def key(self) -> LineKey:
        """What identifies it within its month."""
        return LineKey(
            self.head,
            self.meter,
            self.model,
            self.device,
            self.name,
            self.from_ms,
            self.price_version,
        )

    def told(self) -> dict[str, Any]:
        """As it stands in the invoice's JSON; what does not apply is left out."""
        told: dict[str, Any] = {
            "head": self.head.value,
            "name": self.name,
            "amount": self.amount,
            "from": moment(self.from_ms),
            "to": moment(self.to_ms),
        }
        if self.unit:
            told |= {
                "quantity": short(self.quantity, self.places),
                "free": short(self.free, self.places),
                "unit": self.unit,
                "price": self.price,
            }
        if self.share:
            told["share"] = {"ms": self.share[0], "of": self.share[1]}
        if self.parts:
            told["parts"] = [
                {
                    "model": part.model,
                    "quantity": short(part.quantity, self.places),
                    "amount": part.amount,
                }
                for part in self.parts
            ]
        for name in ("meter", "model", "device", "price_version", "discount", "late", "source"):
            if value := getattr(self, name):
                told[name] = value
        return told

    def less(self, before: Line | None) -> Line:
        """What it has become more than it was."""
        if before is None:
            return self
        old = {part.model: part for part in before.parts}
        parts = (
            part
            if part.model not in old
            else Part(
                part.model,
                part.quantity - old[part.model].quantity,
                part.amount - old[part.model].amount,
            )
            for part in self.parts
        )
        return replace(
            self,
            amount=self.amount - before.amount,
            quantity=self.quantity - before.quantity,
            free=self.free - before.free,
            parts=tuple(part for part in parts if part.quantity or part.amount),
        )


class Rated(NamedTuple):
    """A workspace's month, rated; still without one-off lines, taxes and credits.

    Attributes:
        workspace: whose.
        lines: in the order of the invoice.
        usage: sums by model and device, before any price.
    """

    workspace: str
    lines: tuple[Line, ...]
    usage: tuple[Mapping[str, Any], ...]
