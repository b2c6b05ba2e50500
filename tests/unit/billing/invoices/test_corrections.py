"""Credit and debit notes, and who may issue them (B135)."""

from __future__ import annotations

import json
from threading import Thread
from typing import Any

import pytest

from heliograph.billing.invoices.corrections import Correction
from heliograph.billing.invoices.journal.values import Account
from heliograph.core.call import Caller
from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act
from heliograph.core.permissions import EVERY
from heliograph.storage.database import Database
from support import usage
from support.invoices import AUGUST, House, house, operator

IMAGES = 3
"""The place of that line: two of traffic, that come to nothing, stand before it."""


@pytest.fixture
def one(database: Database) -> House:
    made = house(database)
    made.answer(*(usage.answer("ws_1", AUGUST.from_ms, run_us=10**9) for _ in range(111)))
    made.invoices.terms.add_line(operator(), "Set-up", "0.33")
    made.close()
    return made


def issue(one: House, *asked: Correction, kind: Any = "credit_note", **more: Any) -> dict[str, Any]:
    invoice = one.invoice("ws_1")["id"]
    note = one.invoices.corrections.issue(operator(), invoice, kind, "mistaken", asked, **more)
    return json.loads(note.document)


def test_a_line_taken_back_in_pieces_gives_back_exactly_its_tax(one: House) -> None:
    invoice = one.invoice("ws_1")
    last = len(invoice["lines"])
    assert invoice["lines"][last - 1]["amount"] == 33
    pieces = [issue(one, Correction(last, "0.03")) for _ in range(11)]
    rest = issue(one)
    assert [piece["net"] for piece in pieces] == [3] * 11
    assert sum(note["tax"] for note in [*pieces, rest]) == invoice["tax"]
    assert sum(note["total"] for note in [*pieces, rest]) == invoice["gross"]
    numbers = [note["number"] for note in [*pieces, rest]]
    assert numbers == [f"CN-2026-{n:06d}" for n in range(1, 13)]
    assert rest["invoice"]["number"] == invoice["number"]
    sums = one.invoices.trial_balance()
    assert sums["EUR", "receivable"][0] == sums["EUR", "receivable"][1]
    with pytest.raises(HeliographError) as refused:
        issue(one)
    assert refused.value.code == Code.CONFLICT
    # The invoice itself is as it was.
    again, kept = one.invoices.rerated("ws_1", invoice["id"])
    assert again == kept
    assert [event.act for event in one.events].count(Act.NOTE_ISSUED) == 12


def test_a_debit_note_adds_and_a_credit_note_can_take_it_back(one: House) -> None:
    first = issue(one, Correction(IMAGES, "1.00"), kind="debit_note")
    assert (first["number"], first["net"], first["tax"]) == ("DN-2026-000001", 100, 19)
    left = issue(one)
    assert left["net"] == one.invoice("ws_1")["net"] + 100
    assert one.invoices.document("ws_1", "DN-2026-000001") == first


def test_a_note_can_become_prepaid_credit(one: House) -> None:
    note = issue(one, Correction(IMAGES, "0.05"), against=Account.PREPAID)
    assert one.invoices.terms.credits("ws_1", 0, 10)[0] == note["total"] == 6


BAD = [Correction(99, "0.01"), Correction(0, "0.01")] + [
    Correction(IMAGES, amount) for amount in ("0", "-0.01", "0.001", "1000000000000000000", "NaN")
]


def test_more_than_there_is_cannot_be_taken_back(one: House) -> None:
    for asked in BAD:
        with pytest.raises(HeliographError) as refused:
            issue(one, asked)
        assert refused.value.code == Code.VALIDATION
    assert one.invoices.notes("ws_1", "2026-08") == []


def test_only_an_operator_who_is_no_member_moves_money(one: House) -> None:
    one.members.add(("usr_1", "ws_1"))
    own = operator("ws_1", "usr_1")
    customer = Caller("usr_2", "ws_1", person="usr_2", permissions=EVERY)
    invoice = one.invoice("ws_1")["id"]
    terms, corrections = one.invoices.terms, one.invoices.corrections
    for by in (own, customer):
        for act in (
            lambda by=by: terms.credit(by, "1.00", "paid", "x"),
            lambda by=by: terms.add_line(by, "x", "1.00"),
            lambda by=by: terms.change_plan(by, "team"),
            lambda by=by: corrections.issue(by, invoice, "credit_note", "x", []),
        ):
            with pytest.raises(HeliographError) as refused:
                act()
            assert refused.value.code == Code.FORBIDDEN
    assert terms.credits("ws_1", 0, 10) == (0, [])
    # Somebody else's workspace is nobody's business of theirs either way: it is not there.
    with pytest.raises(HeliographError) as refused:
        corrections.issue(operator("ws_2"), invoice, "credit_note", "x", [])
    assert refused.value.code == Code.NOT_FOUND


LINES = [("0", 1), ("-1", 1), ("1", 0), ("0.001", 1), ("1" + "0" * 15, 1), ("1", 10**16)]


def test_one_off_lines_are_above_nothing_and_exact(one: House) -> None:
    for price, quantity in LINES:
        with pytest.raises(HeliographError) as refused:
            one.invoices.terms.add_line(operator(), "x", price, quantity)
        assert refused.value.code == Code.VALIDATION


def test_a_closed_month_takes_nothing_more(one: House) -> None:
    with pytest.raises(HeliographError) as refused:
        one.invoices.terms.add_line(operator(), "x", "1", 1, AUGUST)
    assert refused.value.code == Code.CONFLICT
    with pytest.raises(HeliographError) as refused:
        one.invoices.terms.change_plan(operator(), "team", AUGUST.to_ms - 1)
    assert refused.value.code == Code.CONFLICT


def test_credit_is_never_spent_twice(database: Database) -> None:
    one = house(database)
    terms = one.invoices.terms
    terms.credit(operator(), "5.00", "paid", "x")
    outcomes: list[bool] = []

    def take() -> None:
        try:
            terms.credit(operator(), "-1.00", "paid", "back")
        except HeliographError:
            outcomes.append(False)
        else:
            outcomes.append(True)

    threads = [Thread(target=take) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count(True) == 5
    assert terms.credits("ws_1", 0, 10)[0] == 0
