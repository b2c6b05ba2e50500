"""A year of billing for a thousand workspaces, by an injected clock, in seconds."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import func, select

from heliograph.billing.invoices import store
from heliograph.billing.invoices.journal import store as journal
from heliograph.storage.database import Database
from support import usage
from support.invoices import AUGUST, House, house, operator

PEOPLE = [f"ws_{n:04d}" for n in range(1000)]
MODELS = ("detector", "reader", "edges")


def a_month(one: House, month_ms: int, n: int) -> None:
    rows = [
        usage.answer(name, month_ms + k, model=MODELS[k], run_us=1000 * (7 * w + n + k + 1))
        for w, name in enumerate(PEOPLE)
        for k in range(3)
    ]
    one.answer(*rows)


@pytest.mark.long_on_postgresql
def test_a_year_for_a_thousand_workspaces(database: Database) -> None:
    one = house(database)
    for n in range(0, 1000, 100):
        one.invoices.terms.change_plan(operator(PEOPLE[n]), "team")
        one.invoices.terms.credit(operator(PEOPLE[n]), "100.00", "paid", "in advance")
    month, spent = AUGUST, 0
    for n in range(12):
        a_month(one, month.from_ms, n)
        began = time.perf_counter_ns()
        one.close(month)
        spent += time.perf_counter_ns() - began
        month = month.next()
    with database.read() as connection:
        invoices = connection.execute(select(func.count()).select_from(store.INVOICES)).scalar()
        sums = journal.trial_balance(connection)
    assert invoices == 12_000
    assert sum(debit - credit for debit, credit in sums.values()) == 0
    for name in ("ws_0000", "ws_0999"):
        again, kept = one.invoices.rerated(name, "2027-07")
        assert again == kept
    print(f"\n12 months x 1000 workspaces: {spent / 1e9:.2f} s on {database.kind}")
    assert spent < 60_000_000_000
