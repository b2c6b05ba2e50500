"""Laws of money, rating and invoices: I-06 to I-11 of the house's invariants."""

from __future__ import annotations

import ast
import json
import tempfile
from contextlib import ExitStack
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any

import pytest
import rfc8785
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sqlalchemy import func, select

import heliograph
from heliograph.billing.invoices import store
from heliograph.billing.invoices.corrections import Correction
from heliograph.billing.invoices.document import canonical, digest
from heliograph.billing.invoices.journal import store as journal
from heliograph.billing.invoices.journal.values import Account
from heliograph.billing.invoices.rating import Used, rate_month
from heliograph.billing.invoices.values import Month, MonthUsage, Segment
from heliograph.billing.ledger.store import LEDGER
from heliograph.billing.prices.sheet import compile_book, read_sheet
from heliograph.billing.prices.values import FREE, Rate, RateKey, Shelf, Tier
from heliograph.core.errors import HeliographError
from heliograph.core.money import allocate, exact, half_even, short, written
from support import usage
from support.databases import opened
from support.invoices import AUGUST, SHEET, House, house, operator

SOURCE = Path(heliograph.__file__).parent
WHOLE = st.integers(-(10**20), 10**20)


@given(WHOLE, st.integers(1, 10**12))
def test_rounding_is_half_even(numerator: int, denominator: int) -> None:
    assert half_even(numerator, denominator) == round(Fraction(numerator, denominator))


@given(WHOLE, st.lists(st.integers(0, 10**12), min_size=1, max_size=20))
def test_parts_sum_to_the_whole_and_miss_their_share_by_less_than_one(
    total: int, weights: list[int]
) -> None:
    parts = allocate(total, weights)
    assert sum(parts) == total
    if sum(weights):
        for part, weight in zip(parts, weights, strict=True):
            assert abs(part - Fraction(total * weight, sum(weights))) < 1


@given(
    st.decimals(
        allow_nan=False, allow_infinity=False, places=9, min_value=-(10**9), max_value=10**9
    )
)
def test_amounts_are_read_and_written_without_loss(value: Decimal) -> None:
    nanos = exact(f"{value:f}", 9)
    assert Fraction(nanos, 10**9) == Fraction(value)
    assert exact(written(nanos, 9), 9) == exact(short(nanos, 9), 9) == nanos


@given(
    st.recursive(
        st.integers(-(2**53) + 1, 2**53 - 1)
        | st.booleans()
        | st.none()
        | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.text(st.sampled_from("abcxyz_09"), max_size=6), inner, max_size=4)
        ),
        max_leaves=20,
    )
)
def test_our_canonical_json_is_that_of_rfc_8785(document: Any) -> None:
    assert canonical(document).encode() == rfc8785.dumps(document)


@st.composite
def rates(draw: st.DrawFn) -> Rate:
    bounds = sorted(draw(st.sets(st.integers(1, 60), max_size=3)))
    prices = draw(st.lists(st.integers(0, 50), min_size=len(bounds) + 1, max_size=len(bounds) + 1))
    tiers = tuple(Tier(up, price) for up, price in zip([*bounds, None], prices, strict=True))
    return Rate(RateKey("calls"), draw(st.sampled_from(["graduated", "volume"])), tiers, 0, "x")


@given(rates(), st.lists(st.integers(0, 40), max_size=6))
def test_tiers_price_unit_by_unit_however_the_month_is_cut(rate: Rate, cuts: list[int]) -> None:
    total, before, cost = sum(cuts), 0, 0
    for quantity in cuts:
        cost += rate.charge(before, quantity, total)
        before += quantity

    def price(unit: int) -> int:
        at = total if rate.kind == "volume" else unit
        return next(t.nanos for t in rate.tiers if t.up_to is None or at <= t.up_to)

    assert cost == sum(price(unit) for unit in range(1, total + 1))


BOOKS = Shelf((FREE, compile_book(read_sheet(SHEET), 1, AUGUST.from_ms, 0)))
USED = st.builds(
    MonthUsage,
    workspace=st.just("ws_1"),
    model=st.sampled_from(["detector", "reader", ""]),
    device=st.sampled_from(["cpu", "gpu"]),
    price_version=st.sampled_from([0, 1]),
    calls=st.integers(0, 500),
    images=st.integers(0, 500),
    rows=st.integers(0, 500),
    pixels=st.integers(0, 10**12),
    run_us=st.integers(0, 10**12),
    bytes_in=st.integers(0, 10**13),
    bytes_out=st.integers(0, 10**13),
    replica_ms=st.integers(0, 10**10),
    busy_ms=st.integers(0, 10**10),
    byte_days=st.integers(0, 10**15),
)


@given(st.lists(USED, max_size=8), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_rating_does_not_ask_in_which_order_or_pieces_usage_came(
    used: list[MonthUsage], seed: int
) -> None:
    random = Random(seed)
    segments = [Segment(AUGUST.from_ms, AUGUST.to_ms, "team")]
    whole = rate_month("ws_1", AUGUST, segments, [Used(0, one) for one in used], BOOKS)
    pieces: list[Used] = []
    for one in used:
        cut = [random.randint(0, value) for value in one[4:]]
        rest = [value - part for value, part in zip(one[4:], cut, strict=True)]
        # Idle time is what is left of a replica's: it is cut where busy time is.
        if one.busy_ms > one.replica_ms:
            cut, rest = list(one[4:]), [0] * len(cut)
        else:
            n = MonthUsage._fields.index("busy_ms") - 4
            cut[n] = min(cut[n], cut[n - 1])
            cut[n] = max(cut[n], one.busy_ms - (one.replica_ms - cut[n - 1]))
            rest[n] = one.busy_ms - cut[n]
        pieces += [Used(0, MonthUsage(*one[:4], *cut)), Used(0, MonthUsage(*one[:4], *rest))]
    random.shuffle(pieces)
    again = rate_month("ws_1", AUGUST, segments, pieces, BOOKS)
    assert again == whole
    for line in whole.lines:
        if line.parts:
            assert sum(part.amount for part in line.parts) == line.amount
            assert sum(part.quantity for part in line.parts) == line.quantity
        assert 0 <= line.free <= line.quantity


def test_there_is_no_fraction_near_money() -> None:
    """No literal, function or division that makes a binary fraction (I-07)."""
    files = [SOURCE / "core" / "money.py", *SOURCE.glob("billing/prices/*.py")]
    files += SOURCE.glob("billing/invoices/*.py")
    assert len(files) > 15
    for file in files:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            where = f"{file.name}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Constant):
                assert not isinstance(node.value, float), where
            if isinstance(node, ast.BinOp | ast.AugAssign):
                assert not isinstance(node.op, ast.Div), where
            if isinstance(node, ast.Name):
                assert node.id not in {"float", "round", "divmod_", "math"}, where
            if isinstance(node, ast.Attribute):
                assert node.attr not in {"timestamp", "total_seconds", "perf_counter"}, where


DAY = 86_400_000
PEOPLE = st.sampled_from(["ws_1", "ws_2", "ws_3"])
DEARER = SHEET.replace('"0.01"', '"0.013"').replace("free = 10", "free = 25")


class Billing(RuleBasedStateMachine):
    """Everything that can happen to bills, in any order; the laws hold after each step."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.database = self.stack.enter_context(opened("", folder))
        self.one: House = house(self.database)
        self.seen: dict[str, str] = {}

    def teardown(self) -> None:
        self.stack.close()

    @rule(
        name=PEOPLE,
        count=st.integers(1, 60),
        back=st.sampled_from([0, 1, 8, 35]),
        model=st.booleans(),
    )
    def call(self, name: str, count: int, back: int, model: bool) -> None:
        at = max(AUGUST.from_ms, self.one.clock.now - back * DAY)
        version = self.one.prices.shelf().at(at).version
        more = {"model": "reader"} if model else {}
        rows = (usage.answer(name, at, version, run_us=10**8 + n, **more) for n in range(count))
        self.one.answer(*rows)

    @rule(name=PEOPLE, size=st.integers(0, 10**14))
    def sample(self, name: str, size: int) -> None:
        now = self.one.clock.now
        self.database.write(lambda c: usage.stored(c, name, now // DAY, size))
        self.database.write(lambda c: usage.hosted(c, name, now, 2 * size // 10**6, size // 10**6))

    @rule(days=st.integers(1, 20))
    def wait(self, days: int) -> None:
        self.one.clock.now += days * DAY + 12_345_678

    @rule(dearer=st.booleans())
    def price(self, dearer: bool) -> None:
        self.one.publish(DEARER if dearer else SHEET)
        self.one.clock.now += 10_000

    @rule(name=PEOPLE, plan=st.sampled_from(["", "free", "team", "firm"]), days=st.integers(0, 30))
    def agree(self, name: str, plan: str, days: int) -> None:
        start = self.one.clock.now + days * DAY
        self.one.invoices.terms.change_plan(operator(name), plan, start)

    @rule(name=PEOPLE, minor=st.integers(-5000, 20_000).filter(bool))
    def credit(self, name: str, minor: int) -> None:
        terms = self.one.invoices.terms
        before = terms.credits(name, 0, 1)[0]
        try:
            after = terms.credit(operator(name), written(minor, 2), "paid", "x")
        except HeliographError:
            assert before + minor < 0
        else:
            assert after == before + minor >= 0

    @rule(name=PEOPLE, minor=st.integers(1, 10_000), quantity=st.integers(1, 3))
    def line(self, name: str, minor: int, quantity: int) -> None:
        self.one.invoices.terms.add_line(operator(name), "=1+1", written(minor, 2), quantity)

    @rule(days=st.integers(0, 5))
    def close(self, days: int) -> None:
        self.one.clock.now = Month.of(self.one.clock.now).to_ms + days * DAY
        for closed in self.one.invoices.closing.close_due():
            assert not closed.failed

    @precondition(lambda self: self.seen)
    @rule(data=st.data(), debit=st.booleans(), prepaid=st.booleans())
    def note(self, data: st.DataObject, debit: bool, prepaid: bool) -> None:
        name = data.draw(st.sampled_from(sorted(self.seen)))
        document = self.one.invoices.document("", name)
        lines = document["lines"]
        asked = (
            [
                Correction(
                    data.draw(st.integers(1, len(lines))), data.draw(st.sampled_from(["", "0.01"]))
                )
            ]
            if lines and data.draw(st.booleans())
            else []
        )
        against = Account.PREPAID if prepaid else Account.RECEIVABLE
        kind = "debit_note" if debit else "credit_note"
        try:
            self.one.invoices.corrections.issue(
                operator(document["workspace"]), name, kind, "x", asked, against
            )
        except HeliographError:
            return  # Nothing left, or less credit than is to be taken: nothing has happened.

    @invariant()
    def the_laws_hold(self) -> None:
        documents = self._finals()
        self._unchanged(documents)
        self._numbers()
        for document in documents:
            self._sums(document)
        self._usage(documents)
        self._journal(documents)

    def _finals(self) -> list[dict[str, Any]]:
        with self.database.read() as connection:
            asked = select(store.INVOICES.c.document).where(store.INVOICES.c.number.is_not(None))
            return [json.loads(text) for text in connection.execute(asked).scalars()]

    def _unchanged(self, documents: list[dict[str, Any]]) -> None:
        """I-08 and I-09: what was final is as it was, and comes out of the raw rows again."""
        for document in documents:
            found = digest(canonical(document))
            assert self.seen.setdefault(document["id"], found) == found
            again, kept = self.one.invoices.rerated(document["workspace"], document["id"])
            assert again == kept
        assert len(self.seen) == len(documents)

    def _numbers(self) -> None:
        """I-09: every series is without gaps."""
        with self.database.read() as connection:
            numbers = [
                *connection.execute(select(store.INVOICES.c.number)).scalars(),
                *connection.execute(select(store.NOTES.c.number)).scalars(),
            ]
        series: dict[str, list[int]] = {}
        for number in filter(None, numbers):
            name, _, n = number.rpartition("-")
            series.setdefault(name, []).append(int(n))
        for found in series.values():
            assert sorted(found) == list(range(1, len(found) + 1))

    def _sums(self, document: dict[str, Any]) -> None:
        """I-07: total = lines + taxes - credits; a note never takes more than there was."""
        lines = sum(line["amount"] for line in document["lines"])
        taxes = sum(tax["amount"] for tax in document["taxes"])
        used = sum(one["amount"] for one in document["credits"])
        assert document["total"] == lines + taxes - used
        assert 0 <= used <= max(0, lines + taxes)
        assert sum(document["heads"].values()) == lines
        for tax in document["taxes"]:
            wanted = (Decimal(tax["base"]) * tax["rate"] / 10_000).quantize(1, ROUND_HALF_EVEN)
            assert tax["amount"] == wanted
        left = {n: line["amount"] for n, line in enumerate(document["lines"], 1)}
        tax_left = taxes
        for note in self.one.invoices.notes("", document["id"]):
            sign = 1 if note.kind == "debit_note" else -1
            said = json.loads(note.document)
            for line in said["lines"]:
                left[line["line"]] += sign * line["amount"]
            tax_left += sign * said["tax"]
        assert all(value >= min(0, document["lines"][n - 1]["amount"]) for n, value in left.items())
        if not any(left.values()):
            assert tax_left == 0

    def _usage(self, documents: list[dict[str, Any]]) -> None:
        """I-06 and I-10: every row of a closed month stands on exactly one invoice."""
        names = ("calls", "images", "pixels", "run_us", "bytes_in", "bytes_out")
        billed = [sum(row[n] for d in documents for row in d["usage"]) for n in names]
        with self.database.read() as connection:
            seal = store.last_seal(connection)
            upto = (seal.marks.ledger, seal.month.to_ms) if seal and seal.done_ms else (0, 0)
            c = LEDGER.c
            sums = [func.count(), *(func.sum(c[name]) for name in names[1:])]
            row = connection.execute(select(*sums).where(c.seq <= upto[0], c.at_ms < upto[1])).one()
        assert billed == [int(value or 0) for value in row]

    def _journal(self, documents: list[dict[str, Any]]) -> None:
        """I-11: debits are credits; prepaid credit is what the journal says and never below 0."""
        sums = self.one.invoices.trial_balance()
        assert sum(debit - credit for debit, credit in sums.values()) == 0
        made = [(1, document) for document in documents]
        for document in documents:
            for note in self.one.invoices.notes("", document["id"]):
                sign = 1 if note.kind == "debit_note" else -1
                made.append((sign, json.loads(note.document)))
        for account, name in (("tax", "tax"), ("revenue", "net")):
            debit, credit = sums.get(("EUR", account), (0, 0))
            assert credit - debit == sum(sign * document[name] for sign, document in made)
        with self.database.read() as connection:
            kept = connection.execute(select(journal.BALANCES.c.amount)).scalars().all()
        debit, credit = sums.get(("EUR", "prepaid"), (0, 0))
        assert sum(kept) == credit - debit
        assert all(amount >= 0 for amount in kept)


TestBilling = pytest.mark.timeout(300)(Billing.TestCase)
Billing.TestCase.settings = settings(
    max_examples=20,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def test_months_follow_each_other() -> None:
    month = Month(2024, 1)
    for _ in range(40):
        assert month.to_ms == month.next().from_ms
        assert Month.of(month.from_ms) == Month.of(month.to_ms - 1) == month
        month = month.next()
