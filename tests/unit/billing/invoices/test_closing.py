"""From usage to final invoices, on both databases."""

from __future__ import annotations

import json
from threading import Thread

import pytest

from heliograph.billing.invoices.document import canonical, digest
from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act
from heliograph.core.notices import Hook
from heliograph.storage.database import Database
from support import usage
from support.invoices import AUGUST, SHEET, House, house, operator

DAY = 86_400_000
SEPTEMBER = AUGUST.next()


@pytest.fixture
def one(database: Database) -> House:
    return house(database)


def amounts(document: dict[str, object]) -> dict[str, int]:
    lines: list[dict[str, object]] = document["lines"]  # type: ignore[assignment]
    return {f"{line['name']}{line.get('late', '')}": int(str(line["amount"])) for line in lines}


def test_a_month_is_billed_by_all_five_heads(one: House) -> None:
    at = AUGUST.from_ms + 5 * DAY
    one.answer(*(usage.answer("ws_1", at + n, run_us=1_000_000) for n in range(200)))
    one.answer(*(usage.answer("ws_1", at, model="reader", bytes_in=10**9) for _ in range(51)))
    one.database.write(lambda c: usage.hosted(c, "ws_1", at, 3_600_000_000, 600_000_000))
    one.database.write(lambda c: usage.stored(c, "ws_1", at // DAY, 50 * 10**12))
    one.invoices.terms.add_line(operator(), "Set-up", "120.00", 2)
    one.close()
    made = one.invoice("ws_1")
    assert amounts(made) == {
        "Replicas, busy": 6000,  # 600,000 s at 0.0001
        "Replicas, idle": 6000,  # 3,000,000 s at 0.00002
        "Traffic in": 255,  # 51.012 GB at 0.05
        "Traffic out": 0,
        "Images": 51,  # the reader's; both are held below
        "Run time": 42,  # 200,629.595 ms at 0.0000021
        "Storage": 5000,
        "Set-up": 24000,
        "Licence of reader": 500,
    }
    images = [line["amount"] for line in made["lines"] if line["name"] == "Images"]
    assert images == [145, 51]  # 100 x 0.01 + 90 x 0.005; 51 x 0.01, all at the tier of the sum
    assert made["net"] == sum(line["amount"] for line in made["lines"])
    assert made["taxes"][0]["amount"] == made["tax"] == (made["net"] * 19 + 50) // 100
    assert made["total"] == made["net"] + made["tax"]
    assert made["number"] == "INV-2026-000001"
    assert list(made["heads"]) == ["compute", "host", "other", "storage", "traffic"]
    calls = {row["model"]: row["calls"] for row in made["usage"] if row["calls"]}
    assert calls == {"detector": 200, "reader": 51}


def test_a_final_invoice_is_the_same_when_it_is_made_anew(one: House) -> None:
    one.answer(*(usage.answer("ws_1", AUGUST.from_ms + n) for n in range(300)))
    one.invoices.terms.credit(operator(), "1.00", "paid", "in advance")
    one.invoices.terms.add_line(operator(), "Set-up", "0.50")
    one.close()
    kept = one.invoices.listed("ws_1")[0]
    # Later facts do not reach back: late usage, new prices, another plan, another address.
    one.answer(usage.answer("ws_1", AUGUST.from_ms + 1))
    one.invoices.terms.change_plan(operator(), "team")
    again, there = one.invoices.rerated("ws_1", kept.id)
    assert again == there
    assert digest(there) == kept.digest
    assert canonical(json.loads(there)) == there


def test_drafts_then_grace_then_final(one: House) -> None:
    one.answer(usage.answer("ws_1", AUGUST.from_ms))
    assert one.invoice("ws_1")["state"] == "draft"
    with pytest.raises(HeliographError) as refused:
        one.invoices.closing.close(AUGUST, "admin")
    assert refused.value.code == Code.CONFLICT
    one.clock.now = AUGUST.to_ms
    closed = one.invoices.closing.close(AUGUST, "admin")
    assert (closed.state, closed.drafted) == ("grace", 1)
    assert one.invoices.closing.close(AUGUST, "admin").drafted == 0
    drafted = one.invoices.listed("ws_1")[0]
    assert one.invoices.document("ws_1", drafted.id)["state"] == "grace"
    # What comes within the grace is still taken.
    one.answer(usage.answer("ws_1", AUGUST.to_ms - 1))
    one.close()
    final = one.invoice("ws_1")
    assert (final["state"], final["id"]) == ("final", drafted.id)
    assert final["usage"][0]["calls"] == 2
    assert [n.kind for n in one.notices if isinstance(n, Hook)] == [
        "invoice.drafted",
        "invoice.finalised",
    ]
    acts = [event.act for event in one.events]
    assert acts == [Act.PRICE_PUBLISHED, Act.MONTH_SEALED, Act.INVOICE_FINALISED]


def test_late_usage_costs_what_it_would_have_cost_in_time(one: House) -> None:
    at = AUGUST.from_ms + DAY
    one.answer(*(usage.answer("ws_1", at, run_us=0) for _ in range(105)))
    one.close()
    # Five more of the first tier's hundred are left, then the second begins.
    one.answer(*(usage.answer("ws_1", at, run_us=0) for _ in range(10)))
    one.answer(*(usage.answer("ws_1", SEPTEMBER.from_ms, run_us=0) for _ in range(20)))
    one.close(SEPTEMBER)
    first, second = one.invoice("ws_1"), one.invoice("ws_1", SEPTEMBER)
    assert amounts(first)["Images"] == 95
    # 5 x 0.01 + 5 x 0.005 = 0.075, rounded within the month's line: 1.025 is 1.02.
    assert amounts(second)["Images2026-08"] == 7
    assert amounts(second)["Images"] == 10
    calls = [(row.get("late", ""), row["calls"]) for row in second["usage"]]
    assert calls == [("", 20), ("2026-08", 10)]
    # The month itself is as it was.
    again, there = one.invoices.rerated("ws_1", first["id"])
    assert again == there
    again, there = one.invoices.rerated("ws_1", second["id"])
    assert again == there


def test_prices_that_change_within_a_month(one: House) -> None:
    one.answer(*(usage.answer("ws_1", AUGUST.from_ms, run_us=0) for _ in range(60)))
    one.clock.now = AUGUST.from_ms + 10 * DAY
    dearer = 'price = "0.05"'
    one.publish(
        'currency = "EUR"\ndefault_plan="free"\n[plans.free]\ntitle="Free"\n'
        f'[[rates]]\nmeter = "images"\nfree = 20\n{dearer}\n'
    )
    one.clock.now += 6_000
    later = (usage.answer("ws_1", one.clock.now, 2, run_us=0) for _ in range(30))
    one.answer(*later)
    one.close()
    made = one.invoice("ws_1")
    images = [line for line in made["lines"] if line["name"] == "Images"]
    # 10 of 60 free, then 10 more of 30 by the second book, whose 20 count those already had.
    assert [(line["price_version"], line["free"]) for line in images] == [(1, "10"), (2, "10")]
    assert [line["amount"] for line in images] == [50, 100]
    assert images[0]["to"] == images[1]["from"]


def test_plans_that_change_within_a_month(one: House) -> None:
    one.invoices.terms.change_plan(operator(), "team", AUGUST.from_ms + 10 * DAY)
    one.answer(*(usage.answer("ws_1", AUGUST.from_ms, run_us=0) for _ in range(20)))
    rows = (usage.answer("ws_1", AUGUST.from_ms + 20 * DAY, run_us=0) for _ in range(100))
    one.answer(*rows)
    one.close()
    made = one.invoice("ws_1")
    # 49.00 for 21 of 31 days; of 31 included images 21; 10 % off what is left of 100.
    assert amounts(made)["Team"] == 3319
    images = [line for line in made["lines"] if line["name"] == "Images"]
    assert [(line["quantity"], line["free"]) for line in images] == [("20", "10"), ("100", "21")]
    assert [line["amount"] for line in images] == [10, 71]
    assert images[1]["discount"] == 1000


def test_a_minimum_and_fees(one: House) -> None:
    one.invoices.terms.change_plan(operator(), "firm", AUGUST.from_ms)
    one.close()
    made = one.invoice("ws_1")
    assert amounts(made) == {"Firm": 20000, "Support": 3100, "Up to the plan's minimum": 6900}
    assert made["net"] == 30000


def test_prepaid_credit_is_used_up_and_never_below_nothing(one: House) -> None:
    terms = one.invoices.terms
    assert terms.credit(operator(), "10.00", "paid", "transfer") == 1000
    assert terms.credit(operator(), "-2.00", "goodwill", "mistaken") == 800
    with pytest.raises(HeliographError) as refused:
        terms.credit(operator(), "-8.01", "paid", "too much")
    assert refused.value.code == Code.CONFLICT
    terms.add_line(operator(), "Set-up", "5.00")
    one.close()
    first = one.invoice("ws_1")
    assert (first["gross"], first["credit"], first["total"]) == (595, 595, 0)
    terms.add_line(operator(), "More", "5.00")
    one.close(SEPTEMBER)
    second = one.invoice("ws_1", SEPTEMBER)
    assert (second["gross"], second["credit"], second["total"]) == (595, 205, 390)
    assert terms.credits("ws_1", 0, 10)[0] == 0
    sums = one.invoices.trial_balance()
    assert sum(debit - credit for debit, credit in sums.values()) == 0
    assert sums["EUR", "receivable"] == (1190, 800)


def test_a_workspace_of_others_is_not_there(one: House) -> None:
    one.answer(usage.answer("ws_1", AUGUST.from_ms))
    one.close()
    found = one.invoices.listed("ws_1")[0]
    for name in (found.id, found.number, "inv_0", "note_0", "CN-2026-000001"):
        with pytest.raises(HeliographError) as refused:
            one.invoices.document("ws_2", name)
        assert refused.value.code == Code.NOT_FOUND
    assert one.invoices.listed("ws_2") == []
    assert one.invoices.document("", found.number)["id"] == found.id


def test_nothing_used_nothing_billed(one: House) -> None:
    one.close()
    assert one.invoices.listed("") == []
    assert one.invoices.closing.due() == []


def test_due_months_are_closed_in_order(one: House) -> None:
    for month in (AUGUST, SEPTEMBER):
        one.answer(usage.answer("ws_1", month.from_ms), usage.answer("ws_2", month.from_ms))
    one.clock.now = SEPTEMBER.to_ms
    states = [(one.month, one.state) for one in one.invoices.closing.close_due()]
    assert states == [("2026-08", "final"), ("2026-09", "grace")]
    one.clock.now += 3 * DAY
    assert [c.state for c in one.invoices.closing.close_due()] == ["final"]
    numbers = [kept.number for kept in one.invoices.listed("")]
    assert sorted(numbers) == [f"INV-2026-00000{n}" for n in (1, 2, 3, 4)]


def test_two_who_close_at_once_bill_nobody_twice(database: Database) -> None:
    one = house(database)
    people = [f"ws_{n:02d}" for n in range(60)]
    one.answer(*(usage.answer(name, AUGUST.from_ms) for name in people))
    one.clock.now = AUGUST.to_ms + 4 * DAY
    closed: list[int] = []

    def close() -> None:
        closed.append(one.invoices.closing.close(AUGUST, "admin").finalised)

    threads = [Thread(target=close) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(closed) == 60
    numbers = sorted(kept.number for kept in one.invoices.listed("", limit=200))
    assert numbers == [f"INV-2026-{n:06d}" for n in range(1, 61)]


def test_one_whose_bill_cannot_be_made_holds_up_nobody_else(database: Database) -> None:
    one = house(database, sheet=SHEET.replace('price = "0.05"', 'price = "1000000"'))
    one.answer(usage.answer("ws_1", AUGUST.from_ms), usage.answer("ws_2", AUGUST.from_ms))
    huge = [usage.answer("ws_1", AUGUST.from_ms, bytes_in=2**60) for _ in range(7)]
    one.answer(*huge)
    one.clock.now = AUGUST.to_ms + 4 * DAY
    closed = one.invoices.closing.close(AUGUST, "admin")
    assert (closed.state, list(closed.failed)) == ("failed", ["ws_1"])
    assert [kept.workspace for kept in one.invoices.listed("")] == ["ws_2"]
    # It is tried again each time, until somebody has put it right.
    assert one.invoices.closing.due() == [AUGUST]
