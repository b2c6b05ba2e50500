from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from heliograph.audit.refusals import Bounds, Refusals
from heliograph.audit.service import Audit
from heliograph.audit.values import Filter, Told
from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act, Event
from support.audited import KEY, SPACE, Turned

SMALL = Bounds(each=3, singles=100, sources=4, waiting=1000)


class Log:
    """What was written, until it is told to fail."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.fails = False

    def write(self, *events: Event) -> None:
        if self.fails:
            raise HeliographError(Code.DB_UNAVAILABLE, "Not now.")
        self.events += events

    def facts(self) -> list[dict[str, str | int | bool]]:
        return [dict(one.facts) for one in self.events]


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def refusals(log: Log, clock: Turned) -> Iterator[Refusals]:
    made = Refusals(log.write, clock, SMALL)
    yield made
    made.close()


def test_the_first_are_told_and_the_others_counted(
    refusals: Refusals, log: Log, clock: Turned
) -> None:
    for _ in range(50):
        refusals.refused(Code.UNAUTHENTICATED, "", "203.0.113.7", "")
    refusals.refused(Code.FORBIDDEN, "", "203.0.113.7", "")
    refusals.flush()
    single = {"code": "unauthenticated", "address": "203.0.113.7"}
    assert log.facts() == [single] * 3
    clock.ms += 60_000
    refusals.flush()
    summary = {
        "more": 48,
        "of_unauthenticated": 47,
        "of_forbidden": 1,
        "address": "203.0.113.7",
    }
    assert log.facts() == [single] * 3 + [summary]
    refusals.refused(Code.UNAUTHENTICATED, "", "203.0.113.7", "")
    refusals.flush()
    assert len(log.events) == 5


def test_few_refusals_have_no_summary(refusals: Refusals, log: Log, clock: Turned) -> None:
    for _ in range(3):
        refusals.refused(Code.SUSPENDED, KEY, "203.0.113.7", SPACE)
    clock.ms += 60_000
    refusals.flush()
    assert [(one.act, one.actor, one.workspace) for one in log.events] == [
        (Act.CALL_REFUSED, KEY, SPACE)
    ] * 3


def test_keys_are_told_apart_and_households_are_one(refusals: Refusals, log: Log) -> None:
    for number in range(9):
        refusals.refused(Code.RATE_LIMITED, "", f"2001:db8:1:2::{number}", "")
        refusals.refused(Code.RATE_LIMITED, f"key_{number % 2}", "203.0.113.7", SPACE)
    refusals.flush()
    assert len(log.events) == 3 + 2 * 3


def test_many_sources_are_bounded(refusals: Refusals, log: Log, clock: Turned) -> None:
    for number in range(200):
        refusals.refused(Code.UNAUTHENTICATED, "", f"198.51.100.{number}", "")
    clock.ms += 60_000
    refusals.flush()
    assert len(log.events) == 4 + 1
    assert log.facts()[-1] == {"more": 196, "of_unauthenticated": 196}


def test_singles_of_all_sources_are_bounded(log: Log, clock: Turned) -> None:
    refusals = Refusals(log.write, clock, Bounds(each=3, singles=5, sources=4, waiting=1000))
    for number in range(4):
        for _ in range(3):
            refusals.refused(Code.UNAUTHENTICATED, "", f"198.51.100.{number}", "")
    refusals.close()
    assert sum("more" not in one for one in log.facts()) == 5
    assert sum(int(one.get("more", 0)) for one in log.facts()) == 7


def test_every_refusal_is_told_or_counted(log: Log, clock: Turned) -> None:
    """Whatever comes from whom and when: singles and counts make up what was refused."""
    refusals = Refusals(log.write, clock, Bounds(each=2, singles=9, sources=3, waiting=100_000))
    count = 0

    def send(thread: int) -> None:
        for number in range(500):
            refusals.refused(Code.FORBIDDEN, f"key_{number % 7}" if thread else "", "::1", "")

    for _ in range(3):
        threads = [threading.Thread(target=send, args=(one,)) for one in range(4)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        count += 2000
        clock.ms += 60_000
    refusals.close()
    told = sum(int(one.get("more", 1)) for one in log.facts())
    assert told + sum(int(one.get("uncounted", 0)) for one in log.facts()) == count
    assert len(log.events) <= 3 * (9 + 4)


def test_what_overflows_is_counted(log: Log, clock: Turned) -> None:
    refusals = Refusals(log.write, clock, Bounds(each=1, singles=9, sources=3, waiting=10))
    with refusals._turn:
        for _ in range(25):
            refusals.refused(Code.FORBIDDEN, "", "203.0.113.7", "")
        assert refusals.lost == 15
    refusals.close()
    assert {"uncounted": 15} in log.facts()
    assert refusals.lost == 0


def test_a_database_that_fails_loses_nothing(refusals: Refusals, log: Log) -> None:
    log.fails = True
    refusals.refused(Code.FORBIDDEN, "", "203.0.113.7", "")
    refusals.flush()
    assert log.events == []
    log.fails = False
    refusals.refused(Code.FORBIDDEN, "", "203.0.113.7", "")
    refusals.flush()
    assert len(log.events) == 2


def test_the_caller_never_waits(clock: Turned) -> None:
    stuck = threading.Event()

    def write(*events: Event) -> None:
        del events
        stuck.wait(10)

    refusals = Refusals(write, clock)
    refusals.refused(Code.FORBIDDEN, "", "203.0.113.7", "")
    time.sleep(0.3)  # the thread is in `write` now
    began = time.perf_counter()
    for _ in range(1000):
        refusals.refused(Code.FORBIDDEN, "", "203.0.113.7", "")
    assert time.perf_counter() - began < 0.5
    stuck.set()
    refusals.close()


@pytest.mark.parametrize(
    ("caller", "address", "workspace"),
    [
        ("", "testclient", ""),
        ("", "", ""),
        ("", "fe80::1%eth0", ""),
        ("hg_live_0123456789", "203.0.113.7", ""),
        ("", "203.0.113.7", "ws with spaces"),
        ("", "alice@example.com", ""),
    ],
)
def test_what_strangers_send_is_not_repeated(
    refusals: Refusals, log: Log, caller: str, address: str, workspace: str
) -> None:
    refusals.refused(Code.FORBIDDEN, caller, address, workspace)
    refusals.refused(Code.FORBIDDEN, "", "203.0.113.9", "")
    refusals.flush()
    text = str(log.events)
    for word in ("hg_live", "spaces", "alice", "eth0", "testclient"):
        assert word not in text
    assert "203.0.113.9" in text


def test_in_a_real_log(audit: Audit, clock: Turned) -> None:
    refusals = Refusals(audit.record, clock, SMALL)
    for _ in range(5):
        refusals.refused(Code.UNAUTHENTICATED, "", "203.0.113.7", "")
    refusals.close()
    found: list[Told] = audit.find(Filter(act=Act.CALL_REFUSED))
    assert len(found) == 4
    assert found[0].facts["more"] == 2
    assert {one.facts["address"] for one in found} == {"203.0.113.7"}
    assert audit.seals.verify().faults == []
