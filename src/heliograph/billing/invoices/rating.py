"""Rating: a month's quantities and plans, by price books, to lines. Pure, exact, repeatable.

A rate counts its quantity through the whole month. Where the plan or the price book changed within
it there is a line for each stretch, and the later ones go on counting where the earlier stopped:
tiers and free amounts are had once a month, however often prices change. Quantities that a plan
includes are had in proportion to its share of the month. Each line is rounded once, half to even;
models share its amount by the largest remainder.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from heliograph.billing.invoices.values import (
    Line,
    Month,
    MonthUsage,
    Part,
    Rated,
    Segment,
    Span,
)
from heliograph.billing.prices.values import METERS, Fee, Head, PriceBook, Rate, RateKey, Shelf
from heliograph.core.errors import Code, HeliographError
from heliograph.core.money import MOST_MINOR, allocate, half_even, short

_METER_ORDER = {meter: n for n, meter in enumerate(METERS)}
_HEAD_ORDER = {head: n for n, head in enumerate(Head)}


class Used(NamedTuple):
    """Usage and the segment of the month that it fell into."""

    segment: int
    usage: MonthUsage


class _Slice(NamedTuple):
    """A stretch of the month in which one plan and one price book held."""

    segment: int
    version: int


_Bucket = dict[_Slice, dict[str, int]]


def rate_month(
    workspace: str,
    month: Month,
    segments: Sequence[Segment],
    used: Iterable[Used],
    books: Shelf,
) -> Rated:
    """Everything that a month costs by its rates and plans.

    Args:
        workspace: whose month it is.
        month: which.
        segments: cover the month without gaps, in order.
        used: sums whose price version is settled, in any order and any cut.
        books: the price books.

    Raises:
        HeliographError: `validation` if an amount is beyond what an invoice can hold.
    """
    there = list(used)
    exponent = books.at(month.to_ms - 1).exponent
    lines = _Month(month, segments, books, exponent).lines(there)
    called = {one.usage.model for one in there if one.usage.calls}
    lines += _fees(month, segments, books, called)
    lines += _minimum(month, segments, books, sum(line.amount for line in lines))
    for line in lines:
        if abs(line.amount) > MOST_MINOR:
            raise HeliographError(
                Code.VALIDATION, f"The amount of {line.name!r} is more than an invoice can hold."
            )
    return Rated(workspace, tuple(sorted(lines, key=order)), tuple(_sums(there)))


def order(line: Line) -> tuple[Any, ...]:
    """Where a line stands among others."""
    return (
        _HEAD_ORDER[line.head],
        line.late,
        _METER_ORDER.get(line.meter, len(_METER_ORDER)),
        line.model,
        line.device,
        line.from_ms,
        line.price_version,
        line.name,
        line.source,
    )


class _Month:
    """The lines of quantities: what has been had of free and included amounts so far."""

    def __init__(
        self, month: Month, segments: Sequence[Segment], books: Shelf, exponent: int
    ) -> None:
        self._month = month
        self._segments = segments
        self._books = books
        self._exponent = exponent
        self._included: dict[tuple[int, str], int] = defaultdict(int)
        self._ends = _ends(books)

    def lines(self, used: Iterable[Used]) -> list[Line]:
        made: list[Line] = []
        buckets = self._buckets(used)
        for key in sorted(buckets, key=lambda k: (_METER_ORDER[k.meter], k.model, k.device)):
            made += self._rated(key, buckets[key])
        return made

    def _buckets(self, used: Iterable[Used]) -> dict[RateKey, _Bucket]:
        found: dict[RateKey, _Bucket] = {}
        for segment, one in used:
            book = self._books.version(one.price_version)
            place = _Slice(segment, one.price_version)
            for meter, quantity in one.quantities():
                if not quantity:
                    continue
                rate = book.rate(meter, one.model, one.device)
                if rate is None:
                    continue
                models = found.setdefault(rate.key, {}).setdefault(place, {})
                models[one.model] = models.get(one.model, 0) + quantity
        return found

    def _rated(self, key: RateKey, bucket: _Bucket) -> list[Line]:
        places = sorted(bucket)
        free: dict[_Slice, int] = {}
        had = 0
        for place in places:
            quantity = sum(bucket[place].values())
            rate = self._rate(key, place)
            by_rate = min(quantity, max(0, rate.free - had))
            had += by_rate
            free[place] = by_rate + self._include(place, key.meter, quantity - by_rate)
        total = sum(sum(bucket[place].values()) - free[place] for place in places)
        made: list[Line] = []
        before = 0
        for place in places:
            billable = sum(bucket[place].values()) - free[place]
            cost = self._rate(key, place).charge(before, billable, total)
            before += billable
            made.append(self._line(key, place, bucket[place], free[place], cost))
        return made

    def _include(self, place: _Slice, meter: str, quantity: int) -> int:
        """How much of a quantity the plan includes; it is taken from what is left of that."""
        segment = self._segments[place.segment]
        whole = self._book(place).plan(segment.plan).included.get(meter, 0)
        if not whole:
            return 0
        of = self._month.to_ms - self._month.from_ms
        allowed = half_even(whole * (segment.to_ms - segment.from_ms), of)
        taken = min(quantity, max(0, allowed - self._included[(place.segment, meter)]))
        self._included[(place.segment, meter)] += taken
        return taken

    def _line(
        self, key: RateKey, place: _Slice, models: dict[str, int], free: int, cost: int
    ) -> Line:
        rate, meter, segment = self._rate(key, place), METERS[key.meter], self._segments[place[0]]
        book = self._book(place)
        discount = book.plan(segment.plan).discounts.get(meter.head, 0)
        # Nanos times base units, to minor units: the one rounding of this line.
        amount = half_even(
            cost * (10_000 - discount), meter.base * 10 ** (9 - self._exponent) * 10_000
        )
        names = sorted(models)
        shares = allocate(amount, [models[name] for name in names])
        parts = tuple(Part(n, models[n], share) for n, share in zip(names, shares, strict=True))
        return Line(
            head=meter.head,
            name=rate.name,
            amount=amount,
            meter=key.meter,
            model=key.model,
            device=key.device,
            from_ms=max(segment.from_ms, book.valid_from_ms),
            to_ms=min(segment.to_ms, self._ends.get(place.version, segment.to_ms)),
            price_version=place.version,
            quantity=sum(models.values()),
            free=free,
            places=meter.places,
            unit=meter.unit,
            price=price_text(rate),
            discount=discount,
            parts=() if names in ([key.model], [""]) else parts,
        )

    def _book(self, place: _Slice) -> PriceBook:
        return self._books.version(place.version)

    def _rate(self, key: RateKey, place: _Slice) -> Rate:
        return self._book(place).rates[key]


def price_text(rate: Rate) -> str:
    """A rate's prices in words of an invoice, e.g. `0.01 to 1000, then 0.005`."""
    places = METERS[rate.key.meter].places
    said = [
        short(tier.nanos, 9) + (f" to {short(tier.up_to, places)}" if tier.up_to else "")
        for tier in rate.tiers
    ]
    text = ", then ".join(said)
    return f"{text} (all at the tier of the sum)" if rate.kind == "volume" and said[1:] else text


def _ends(books: Shelf) -> dict[int, int]:
    """When each book stopped being in force."""
    return {book.version: after.valid_from_ms for book, after in pairwise(books.books)}


def cut(span: Span, times: Iterable[int]) -> list[Span]:
    """A span, cut at those of `times` that lie in it."""
    inside = sorted({at for at in times if span.from_ms < at < span.to_ms})
    bounds = [span.from_ms, *inside, span.to_ms]
    return [Span(*pair) for pair in pairwise(bounds)]


class _Due(NamedTuple):
    """A fee and the stretch of the month it is due for."""

    fee: Fee
    from_ms: int
    to_ms: int
    version: int


def _fees(month: Month, segments: Sequence[Segment], books: Shelf, called: set[str]) -> list[Line]:
    """Fees of plans for their share of the month, and licences of the models that were called."""
    dues: list[_Due] = []
    for book, segment, span in _stretches(segments, books):
        plan = book.plan(segment.plan)
        fees = [Fee(plan.title, plan.monthly), *plan.fees]
        dues += [
            _Due(fee, *span, book.version)
            for fee in fees
            if fee.monthly and (not fee.model or fee.model in called)
        ]
    last = books.at(month.to_ms - 1)
    dues += [
        _Due(fee, month.from_ms, month.to_ms, last.version)
        for fee in last.licences
        if fee.model in called or not fee.model
    ]
    of = month.to_ms - month.from_ms
    return [_fee_line(due, of) for due in _joined(dues)]


def _joined(dues: Iterable[_Due]) -> list[_Due]:
    """The same fee in stretches that meet is one fee: it is rounded once."""
    found: list[_Due] = []
    for due in dues:
        n = next(
            (n for n, one in enumerate(found) if one.fee == due.fee and one.to_ms == due.from_ms),
            None,
        )
        if n is None:
            found.append(due)
        else:
            found[n] = found[n]._replace(to_ms=due.to_ms)
    return found


def _fee_line(due: _Due, of: int) -> Line:
    length = due.to_ms - due.from_ms
    return Line(
        head=Head.OTHER,
        name=due.fee.name,
        amount=half_even(due.fee.monthly * length, of),
        model=due.fee.model,
        from_ms=due.from_ms,
        to_ms=due.to_ms,
        price_version=due.version,
        share=(length, of),
    )


def _minimum(month: Month, segments: Sequence[Segment], books: Shelf, net: int) -> list[Line]:
    """What is missing to the least that the month's plans ask for, each for its share."""
    asked = [
        (book.plan(segment.plan).minimum * (span.to_ms - span.from_ms), book.version)
        for book, segment, span in _stretches(segments, books)
    ]
    least = half_even(sum(share for share, _ in asked), month.to_ms - month.from_ms)
    if not least or net >= least:
        return []
    return [
        Line(
            head=Head.OTHER,
            name="Up to the plan's minimum",
            amount=least - net,
            from_ms=month.from_ms,
            to_ms=month.to_ms,
            price_version=asked[-1][1],
        )
    ]


def _stretches(segments: Sequence[Segment], books: Shelf) -> list[tuple[PriceBook, Segment, Span]]:
    """The month, cut where its plan or its price book changed."""
    starts = [book.valid_from_ms for book in books.books]
    return [
        (books.at(span.from_ms), segment, span)
        for segment in segments
        for span in cut(Span(segment.from_ms, segment.to_ms), starts)
    ]


_SUMS = MonthUsage._fields[4:]


def _sums(used: Iterable[Used]) -> list[dict[str, Any]]:
    """Sums by model and device, before any price: what the ledger must agree with."""
    found: dict[tuple[str, str], list[int]] = {}
    for _, one in used:
        sums = found.setdefault((one.model, one.device), [0] * len(_SUMS))
        for n, value in enumerate(one[4:]):
            sums[n] += value
    return [
        {"model": model, "device": device, **dict(zip(_SUMS, sums, strict=True))}
        for (model, device), sums in sorted(found.items())
    ]
