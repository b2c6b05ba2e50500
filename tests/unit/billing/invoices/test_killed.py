"""A month's closing is killed at every step, and run again: nothing twice, no gap (real kills)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import select

from heliograph.billing.invoices import store
from heliograph.billing.invoices.journal import store as journal
from heliograph.storage.database import Database
from support import usage
from support.databases import fresh, opened
from support.invoices import AUGUST, House, house

Place = tuple[str, Path]
ROOT = Path(__file__).parents[4]
PEOPLE = [f"ws_{n}" for n in range(8)]
# Lots of three: three transactions for eight invoices; the writer also seals and ends the month.
SITES = [
    *("close.begun=1", "close.sealed=1", "close.rated=1", "close.done=1"),
    *(f"close.{step}={n}" for step in ("numbered", "written", "committed") for n in (1, 2, 3)),
    *(f"writer.{step}_commit={n}" for step in ("before", "after") for n in (1, 2, 4, 5)),
    "writer.worked=3",
]


def close_and_be_killed(url: str, home: Path) -> list[tuple[str, int, int]]:
    done = subprocess.run(
        [sys.executable, "-m", "support.close_months", url, str(home), *SITES],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT / "tests",
        timeout=100,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}"},
    )
    assert not done.returncode, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Where a database is that several processes open."""
    sqlite = request.param == "sqlite"
    return "" if sqlite else fresh(request.getfixturevalue("postgres_server")), tmp_path


@pytest.mark.long_on_postgresql
def test_killed_at_every_step_it_goes_on_as_if_nothing_was(place: Place) -> None:
    url, home = place
    with opened(url, home) as database:
        fill(database)
    seen = close_and_be_killed(url, home)
    assert [(site, died) for site, died, _ in seen] == [(site, -9) for site in SITES]
    assert {ended for _, _, ended in seen} == {0}
    with opened(url, home) as database:
        look(database)


def fill(database: Database) -> None:
    one, month = house(database), AUGUST
    for _ in SITES:
        rows = [
            usage.answer(name, month.from_ms + k, run_us=10**9 * (n + 1))
            for n, name in enumerate(PEOPLE)
            for k in range(3)
        ]
        one.answer(*rows)
        month = month.next()


def look(database: Database) -> None:
    with database.read() as connection:
        kept = connection.execute(
            select(store.INVOICES.c.month, store.INVOICES.c.workspace, store.INVOICES.c.number)
        ).all()
        happened = Counter(connection.execute(select(usage.HAPPENED.c.what)).scalars())
        booked = Counter(connection.execute(select(journal.JOURNAL.c.document)).scalars())
        sums = journal.trial_balance(connection)
    # Every series runs without a gap, in the order of months and workspaces.
    wanted, month, counts = set[tuple[str, str, str]](), AUGUST, Counter[int]()
    for _ in SITES:
        year = month.next().year
        for name in PEOPLE:
            counts[year] += 1
            wanted.add((str(month), name, f"INV-{year}-{counts[year]:06d}"))
        month = month.next()
    assert {tuple(row) for row in kept} == wanted
    assert len(kept) == len(wanted)
    # Each once in the audit, in the outbox and in the journal (receivable, revenue, tax).
    assert happened["invoice:finalised"] == happened["invoice.finalised"] == len(wanted)
    assert happened["month:sealed"] == len(SITES)
    assert set(booked.values()) == {3}
    assert len(booked) == len(wanted)
    assert sum(debit - credit for debit, credit in sums.values()) == 0


def test_two_servers_close_at_once_and_nobody_is_billed_twice(place: Place) -> None:
    url, home = place
    with opened(url, home) as database, opened(url, home) as other:
        one = house(database)
        for name in (f"ws_{n:03d}" for n in range(150)):
            one.answer(usage.answer(name, AUGUST.from_ms))
        one.clock.now = AUGUST.to_ms + 4 * 86_400_000
        beside = House(other, one.clock)
        with ThreadPoolExecutor(2) as pool:
            closings = [
                pool.submit(each.invoices.closing.close, AUGUST, "system") for each in (one, beside)
            ]
        assert sum(each.result().finalised for each in closings) == 150
        with database.read() as connection:
            numbers = sorted(connection.execute(select(store.INVOICES.c.number)).scalars())
        assert numbers == [f"INV-2026-{n:06d}" for n in range(1, 151)]
