"""Price books: numbered, never changed, in force from their time."""

from __future__ import annotations

from threading import Thread

import pytest

from heliograph.billing.prices.service import LEAD_MS, PriceService
from heliograph.billing.prices.sheet import canonical, read_sheet
from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act
from heliograph.core.money import NOTHING
from heliograph.storage.database import Database
from support.invoices import AUGUST, SHEET, house, operator


def test_nothing_costs_anything_before_the_first_book(database: Database) -> None:
    one = house(database, sheet=None)
    assert one.prices.current().version == 0
    tariff = one.prices.current().tariff("detector", "cpu")
    assert not any(tariff)
    assert NOTHING.price_version == 0


def test_a_book_comes_into_force_for_every_process_at_once(database: Database) -> None:
    one = house(database, sheet=None)
    other = PriceService(database, one.clock, one.record)
    assert other.current().version == 0
    book = one.publish()
    assert (book.version, book.valid_from_ms) == (1, one.clock.now + LEAD_MS)
    assert one.prices.current().version == other.current().version == 0
    one.clock.now += LEAD_MS - 1
    assert one.prices.current().version == other.current().version == 0
    one.clock.now += 1
    assert one.prices.current().version == other.current().version == 1
    kept, sheet = other.sheet(1)
    assert canonical(sheet) == canonical(read_sheet(SHEET))
    assert (kept.digest, kept.actor) == (book.digest, "admin")
    assert [event.act for event in one.events] == [Act.PRICE_PUBLISHED]


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ('valid_from = "2026-07-31T23:59:00Z"', "lies in the past"),
        ('valid_from = "2099-01-01T00:00:00Z"', "ten years ahead"),
        ('valid_from = "2026-10-25T02:30:00"', "a time with its zone"),
        ('valid_from = "tomorrow"', "a time with its zone"),
    ],
)
def test_times_that_are_not_right(database: Database, head: str, said: str) -> None:
    one = house(database, sheet=None)
    with pytest.raises(HeliographError) as refused:
        one.publish(head + SHEET)
    assert refused.value.code == Code.VALIDATION
    assert said in refused.value.detail


def test_another_currency_is_refused(database: Database) -> None:
    one = house(database)
    with pytest.raises(HeliographError) as refused:
        one.publish('currency = "USD"\n')
    assert (refused.value.code, "kept in EUR" in refused.value.detail) == (Code.VALIDATION, True)


def test_a_plan_that_somebody_keeps_to_cannot_vanish(database: Database) -> None:
    one = house(database)
    one.invoices.terms.change_plan(operator(), "firm")
    with pytest.raises(HeliographError) as refused:
        one.publish('currency = "EUR"\n')
    assert "plan 'firm'" in refused.value.detail
    one.invoices.terms.change_plan(operator(), "")
    one.publish('currency = "EUR"\n')


def test_books_follow_each_other(database: Database) -> None:
    one = house(database)
    one.publish(valid_from="2026-09-01T00:00:00+02:00")
    assert one.prices.shelf().books[2].valid_from_ms == AUGUST.to_ms - 2 * 3_600_000
    with pytest.raises(HeliographError) as refused:
        one.publish()
    assert "must follow it" in refused.value.detail
    assert [kept.version for kept in one.prices.history()] == [2, 1]
    with pytest.raises(HeliographError) as refused:
        one.prices.sheet(3)
    assert refused.value.code == Code.NOT_FOUND


def test_many_publish_at_once_and_every_number_is_given_once(database: Database) -> None:
    one = house(database, sheet=None)
    outcomes: list[int | Code] = []

    def publish(second: int) -> None:
        try:
            book = one.publish(valid_from=f"2026-08-02T00:00:{second:02d}Z")
            outcomes.append(book.version)
        except HeliographError as error:
            outcomes.append(error.code)

    threads = [Thread(target=publish, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    numbers = sorted(one for one in outcomes if isinstance(one, int))
    assert numbers == list(range(1, len(numbers) + 1))
    assert {one for one in outcomes if not isinstance(one, int)} <= {Code.VALIDATION, Code.CONFLICT}
