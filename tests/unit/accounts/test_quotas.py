from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection

from heliograph.accounts.keys.service import PERIODS
from heliograph.accounts.quotas import store
from heliograph.accounts.quotas.service import Allowances
from heliograph.accounts.quotas.values import Amounts, window
from heliograph.core.call import Caller, Limit
from heliograph.core.errors import Code, HeliographError
from heliograph.storage.database import Database
from support.clock import Turned

ONE = Amounts(1, 1, 2_000_000, 30)


@pytest.fixture
def clock() -> Turned:
    return Turned()


def settle(database: Database, allowances: Allowances, clock: Turned, *limits: Limit) -> None:
    database.write(lambda connection: allowances.settle(connection, [(limits, ONE)], clock()))


@pytest.mark.parametrize(
    ("meter", "most", "fits"), [("calls", 3, 3), ("images", 2, 2), ("megapixels", 5, 2),
                                ("cost", 100, 3), ("calls", 0, 0)],
)  # fmt: skip
def test_a_limit_is_never_passed(
    database: Database, clock: Turned, meter: str, most: int, fits: int
) -> None:
    limit, allowances = Limit("key_1", meter, "day", most), Allowances(clock)
    for _ in range(fits):
        settle(database, allowances, clock, limit)
    with pytest.raises(HeliographError) as failed:
        settle(database, allowances, clock, limit)
    assert failed.value.code is Code.QUOTA_EXCEEDED
    clock.forward(days=1)
    if fits:
        settle(database, allowances, clock, limit)


def test_two_processes_share_one_limit(database: Database, clock: Turned) -> None:
    limit = Limit("ws_1", "calls", "month", 10)
    houses = [Allowances(clock) for _ in range(4)]
    outcomes: list[bool] = []

    def work(allowances: Allowances) -> None:
        for _ in range(10):
            try:
                settle(database, allowances, clock, limit)
            except HeliographError:
                outcomes.append(False)
            else:
                outcomes.append(True)

    threads = [threading.Thread(target=work, args=(one,)) for one in houses]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert outcomes.count(True) == 10
    begin = window("month", clock()).begin_ms
    with database.read() as connection:
        assert store.used(connection, limit, begin) == 10


def test_one_limit_that_refuses_undoes_the_others(database: Database, clock: Turned) -> None:
    wide, narrow = Limit("a", "calls", "day", 10), Limit("b", "calls", "day", 0)
    with pytest.raises(HeliographError):
        settle(database, Allowances(clock), clock, wide, narrow)
    with database.read() as connection:
        assert store.used(connection, wide, window("day", clock()).begin_ms) == 0


def test_calls_in_progress_count_before_they_are_booked(clock: Turned) -> None:
    caller = Caller("k", limits=(Limit("k", "calls", "day", 2),))
    allowances = Allowances(clock)
    allowances.take(caller)
    allowances.take(caller)
    for ask in (allowances.take, allowances.look):
        with pytest.raises(HeliographError) as failed:
            ask(caller)
        assert failed.value.code is Code.QUOTA_EXCEEDED
    allowances.give_back(caller)
    allowances.take(caller)


def test_rates_say_when_to_come_again(database: Database, clock: Turned) -> None:
    clock.now_ms -= clock.now_ms % 1000 - 250
    caller = Caller("k", limits=(Limit("k", "calls", "second", 1),))
    allowances = Allowances(clock)
    settle(database, allowances, clock, *caller.limits)
    with pytest.raises(HeliographError) as failed:
        allowances.look(caller)
    assert (failed.value.code, failed.value.retry_after) == (Code.RATE_LIMITED, 0.75)
    clock.forward(seconds=0.75)
    allowances.look(caller)


def test_what_is_believed_used_up_is_tried_again(database: Database, clock: Turned) -> None:
    limit = Limit("k", "calls", "month", 1)
    caller, allowances = Caller("k", limits=(limit,)), Allowances(clock)
    settle(database, allowances, clock, limit)
    with pytest.raises(HeliographError):
        allowances.look(caller)
    # Somebody gave it back in the database: a second later this process finds out by itself.
    allowances._counters[limit[:3]].learnt -= 2
    database.write(_forget)
    allowances.look(caller)
    settle(database, allowances, clock, limit)


def _forget(connection: Connection) -> None:
    connection.execute(store.COUNTERS.delete())


def test_those_without_limits_are_never_counted(clock: Turned) -> None:
    allowances = Allowances(clock)
    for _ in range(3):
        allowances.take(Caller("k"))
    assert not allowances._counters


@given(st.integers(0, 4_102_444_800_000), st.sampled_from(PERIODS))
def test_stretches_of_time_follow_each_other_without_a_gap(now: int, period: str) -> None:
    begin, end = window(period, now)
    assert begin <= now < end
    assert window(period, begin) == window(period, end - 1) == (begin, end)
    assert window(period, end).begin_ms == end


def test_months_of_any_length() -> None:
    leap = window("month", int(datetime(2028, 2, 29, 23, tzinfo=UTC).timestamp() * 1000))
    assert leap.end_ms - leap.begin_ms == 29 * 86_400_000
    december = window("month", int(datetime(2026, 12, 31, tzinfo=UTC).timestamp() * 1000))
    assert december.end_ms == datetime(2027, 1, 1, tzinfo=UTC).timestamp() * 1000
