"""Usage is conserved: every grouping, at every state of the folding, sums to the ledger."""

from __future__ import annotations

import threading
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select, text, update

from heliograph.billing.invoices.values import ALL, Month, Span
from heliograph.billing.ledger.store import LEDGER
from heliograph.billing.usage import store
from heliograph.billing.usage.folding import Folder
from heliograph.billing.usage.reader import LedgerReader
from heliograph.billing.usage.service import Usage
from heliograph.billing.usage.values import HOUR_MS, By, Sums, moment_of, month_number
from heliograph.storage.database import Database
from support.clock import START, Turned
from support.usage import answer, answered

DAY = 24 * HOUR_MS
FIRST = Month(2026, 11).from_ms
QUIET = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
rows = st.fixed_dictionaries(
    {
        "at_ms": st.one_of(
            st.integers(FIRST, FIRST + 62 * DAY),
            st.sampled_from([FIRST, FIRST + HOUR_MS - 1, FIRST + HOUR_MS, FIRST + 30 * DAY - 1]),
        ),
        "workspace": st.sampled_from(["ws_a", "ws_b"]),
        "model": st.sampled_from(["detector", "classes"]),
        "version": st.sampled_from(["1", "2"]),
        "key": st.sampled_from(["", "key_1", "key_2"]),
        "task": st.sampled_from(["detection", "text"]),
        "device": st.sampled_from(["cpu", "gpu"]),
        "images": st.integers(0, 2**31 - 1),
        "pixels": st.integers(0, 2**45),
        "run_us": st.integers(0, 2**40),
        "cost": st.integers(0, 2**45),
    }
)
times = st.one_of(
    st.integers(FIRST - DAY, FIRST + 63 * DAY),
    st.integers(-2, 64 * 24).map(lambda hour: FIRST + hour * HOUR_MS),
)


def clear(database: Database) -> None:
    def work(connection: Any) -> None:
        for table in (LEDGER, store.HOURS, store.MONTHS, store.MARKS):
            connection.execute(delete(table))

    database.write(work)


def put(database: Database, some: list[dict[str, Any]]) -> list[dict[str, Any]]:
    made = [answer(one["workspace"], **{k: v for k, v in one.items() if k != "workspace"})
            for one in some]  # fmt: skip
    database.write(lambda connection: answered(connection, made))
    return made


def name(row: dict[str, Any], by: By) -> str:
    """What group a row is in, by the calendar of the standard library."""
    at = datetime.fromtimestamp(row["at_ms"] // 1000, UTC)
    match by:
        case By.HOUR:
            return at.strftime("%Y-%m-%dT%H:00:00Z")
        case By.DAY:
            return at.strftime("%Y-%m-%d")
        case By.MONTH:
            return at.strftime("%Y-%m")
        case _:
            return row[by.value]


def counted(row: dict[str, Any]) -> Sums:
    return Sums(1, *(row[one] for one in Sums._fields[1:]))


@given(
    before=st.lists(rows, max_size=12),
    after=st.lists(rows, max_size=6),
    ends=st.tuples(times, times),
    by=st.lists(st.sampled_from(By), unique=True, max_size=4),
)
@QUIET
def test_groups_and_totals_are_the_ledgers(
    database: Database,
    before: list[dict[str, Any]],
    after: list[dict[str, Any]],
    ends: tuple[int, int],
    by: list[By],
) -> None:
    clear(database)
    made = put(database, before)
    Folder(database).fold()
    made += put(database, after)
    span = Span(min(ends), max(ends))
    expected: dict[tuple[str, ...], Sums] = defaultdict(Sums)
    for one in made:
        if one["workspace"] == "ws_a" and span.from_ms <= one["at_ms"] < span.to_ms:
            group = tuple(name(one, kind) for kind in by)
            expected[group] = expected[group].plus(counted(one))
    report = Usage(database, Turned(), lambda: "EUR").report("ws_a", span, by)
    total = Sums()
    for one in expected.values():
        total = total.plus(one)
    assert report.totals == total
    if by:
        assert {group.by: group.sums for group in report.groups} == expected
        assert [group.by for group in report.groups] == sorted(expected)


@given(some=st.lists(rows, max_size=12), steps=st.lists(st.booleans(), max_size=12))
@QUIET
def test_months_of_keys_are_the_ledgers(
    database: Database, some: list[dict[str, Any]], steps: list[bool]
) -> None:
    clear(database)
    for n, one in enumerate(some):
        put(database, [one])
        if n < len(steps) and steps[n]:
            Folder(database).fold()
    Folder(database).fold()
    usage = Usage(database, Turned(), lambda: "EUR")
    for month in (Month(2026, 11), Month(2026, 12), Month(2027, 1)):
        expected: dict[tuple[str, str], int] = defaultdict(int)
        for one in some:
            if Month.of(one["at_ms"]) == month:
                expected[one["workspace"], one["key"]] += one["cost"]
        assert usage.spent(month, ["ws_a", "ws_b"]) == expected


@given(some=st.lists(rows, max_size=12), ends=st.tuples(times, times))
@QUIET
def test_invoices_read_what_people_see(
    database: Database, some: list[dict[str, Any]], ends: tuple[int, int]
) -> None:
    clear(database)
    put(database, some)
    Folder(database).fold()
    span = Span(min(ends), max(ends))
    usage = Usage(database, Turned(), lambda: "EUR")
    with database.read() as connection:
        read = list(LedgerReader().usage(connection, span, ALL, ["ws_a"]))
    seen = usage.report("ws_a", span).totals
    for field in ("calls", "images", "pixels", "bytes_in", "bytes_out", "run_us"):
        assert sum(getattr(one, field) for one in read) == getattr(seen, field)


@given(ms=st.integers(0, 4_000_000_000_000))
def test_hours_days_and_months_partition_time(ms: int) -> None:
    at = datetime.fromtimestamp(ms // 1000, UTC)
    assert moment_of(By.HOUR, ms // HOUR_MS) == at.strftime("%Y-%m-%dT%H:00:00Z")
    assert moment_of(By.DAY, ms // DAY) == at.strftime("%Y-%m-%d")
    assert moment_of(By.MONTH, month_number(Month.of(ms))) == at.strftime("%Y-%m")
    month = Month.of(ms)
    assert month.from_ms <= ms < month.to_ms == month.next().from_ms
    assert month.from_ms % HOUR_MS == 0


def test_processes_that_fold_at_once_count_nothing_twice(database: Database) -> None:
    put(database, [{"workspace": "ws_a", "at_ms": START + n * 60_000, "cost": 7}
                   for n in range(300)])  # fmt: skip
    threads = [threading.Thread(target=Folder(database).fold) for _ in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    Folder(database).fold()
    with database.read() as connection:
        found = connection.execute(select(store.HOURS.c.calls, store.HOURS.c.cost)).all()
        assert store.mark(connection) == store.highest(connection, LEDGER)
    assert sum(one[0] for one in found) == 300
    assert sum(one[1] for one in found) == 2100


def test_a_row_that_is_committed_late_is_waited_for(database: Database) -> None:
    """PostgreSQL numbers rows before they are committed: a lower number can appear later."""
    if database.kind != "postgresql":
        pytest.skip("SQLite has one writer")
    with database.engine.connect() as slow:
        slow.execute(text("SELECT 1"))
        answered(slow, [answer("ws_a", START)])
        put(database, [{"workspace": "ws_a", "at_ms": START}])
        assert Folder(database).fold() == 0
        slow.commit()
    assert Folder(database).fold() == 2
    report = Usage(database, Turned(), lambda: "EUR").report("ws_a", Span(START - DAY, START + DAY))
    assert report.totals.calls == 2


def test_a_sum_that_is_wrong_is_seen(database: Database) -> None:
    """The laws above read the hourly sums, not the ledger behind their back."""
    put(database, [{"workspace": "ws_a", "at_ms": START}])
    Folder(database).fold()
    database.write(lambda connection: connection.execute(update(store.HOURS).values(calls=5)) and 0)
    report = Usage(database, Turned(), lambda: "EUR").report("ws_a", Span(START - DAY, START + DAY))
    assert report.totals.calls == 5
