"""In memory or not: loaded once, failed once, let go when nobody runs, nothing left open."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from numpy.typing import NDArray

from heliograph.core.errors import Code, HeliographError
from heliograph.runtimes.base import Arrays
from heliograph.runtimes.identity import IdentityRunner
from heliograph.serving.resident import Copies, Resident


class Counted(IdentityRunner):
    """A runner that knows whether it is open, and fails what is run on a closed one."""

    opened = 0
    closed = 0
    lock = threading.Lock()

    def __init__(self) -> None:
        self.is_open = True
        with Counted.lock:
            Counted.opened += 1

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Arrays:
        assert self.is_open, "run on a closed copy"
        return dict(feeds)

    def memory(self) -> int:
        return 7

    def close(self) -> None:
        assert self.is_open, "closed twice"
        self.is_open = False
        with Counted.lock:
            Counted.closed += 1


@pytest.fixture(autouse=True)
def count() -> None:
    Counted.opened = Counted.closed = 0


def at_once(count: int, work: Callable[[], object]) -> list[BaseException | None]:
    """Do it in so many threads; what each raised."""
    with ThreadPoolExecutor(count) as pool:
        return [one.exception(20) for one in [pool.submit(work) for _ in range(count)]]


def test_many_want_it_and_it_is_loaded_once() -> None:
    def open_copies() -> Copies:
        time.sleep(0.05)
        return Copies(Counted(), Counted())

    one = Resident(open_copies, on_demand=True)
    assert at_once(16, one.take) == [None] * 16
    assert (Counted.opened, one.leases, one.state, one.memory) == (2, 16, "ready", 14)
    for _ in range(16):
        one.give()
    assert one.unload()
    assert (Counted.closed, one.state, one.memory) == (2, "unloaded", 0)


def test_a_loading_that_fails_fails_for_all_who_waited_and_is_not_tried_for_each() -> None:
    tries: list[int] = []
    gate = threading.Event()

    def open_copies() -> Copies:
        tries.append(1)
        assert gate.wait(20)
        raise HeliographError(Code.MODEL_INVALID, "It is broken.")

    one = Resident(open_copies, on_demand=True)
    with ThreadPoolExecutor(16) as pool:
        waiting = [pool.submit(one.take) for _ in range(16)]
        time.sleep(0.1)
        gate.set()
        errors = [each.exception(20) for each in waiting]
    assert len(tries) == 1
    assert all(isinstance(error, HeliographError) for error in errors)
    assert all("It is broken." in str(error) for error in errors)
    assert (one.state, one.reason, one.leases) == ("failed", "It is broken.", 0)
    with pytest.raises(HeliographError):
        one.load()
    assert len(tries) == 2, "who asks for it by name tries again"


def test_an_error_that_is_no_ours_is_not_told() -> None:
    def open_copies() -> Copies:
        raise ZeroDivisionError("a secret")

    one = Resident(open_copies)
    with pytest.raises(HeliographError) as failed:
        one.load()
    assert failed.value.code is Code.MODEL_UNAVAILABLE
    assert "secret" not in failed.value.detail
    one.unload()
    assert (one.state, one.reason) == ("unloaded", "")


class Odd(Counted):
    """It cannot say how large it is."""

    def memory(self) -> int:
        raise OSError("no such process")


def test_copies_that_cannot_be_weighed_are_closed_and_nobody_waits_for_ever() -> None:
    one = Resident(lambda: Copies(Odd(), Odd()))
    for _ in range(2):
        with pytest.raises(HeliographError):
            one.load()
    assert one.state == "failed"
    assert (Counted.opened, Counted.closed) == (4, 4)


def test_it_is_not_let_go_while_somebody_runs() -> None:
    one = Resident(lambda: Copies(Counted()))
    one.load()
    copies = one.take()
    assert not one.unload(patience=0.02)
    assert one.takes_calls
    leaving = threading.Thread(target=one.unload)
    leaving.start()
    while str(one.state) != "unloading":
        time.sleep(0.001)
    with pytest.raises(HeliographError, match="being unloaded"):
        one.take()
    copies.runner.run({})
    assert leaving.is_alive()
    one.give()
    leaving.join(20)
    assert (one.state, Counted.closed) == ("unloaded", 1)


def test_who_asks_while_it_is_let_go_gets_it_back_on_demand() -> None:
    one = Resident(lambda: Copies(Counted()), on_demand=True)
    first = one.take()
    leaving = threading.Thread(target=one.unload)
    leaving.start()
    while str(one.state) != "unloading":
        time.sleep(0.001)
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(one.take)
        time.sleep(0.02)
        assert not second.done()
        one.give()
        assert second.result(20) is not first
    leaving.join(20)
    assert (Counted.opened, Counted.closed, one.leases) == (2, 1, 1)


def test_without_demand_nobody_loads_it_by_calling() -> None:
    one = Resident(lambda: Copies(Counted()))
    for ask in (one.take, lambda: one.signature):
        with pytest.raises(HeliographError) as failed:
            ask()
        assert failed.value.code is Code.MODEL_UNAVAILABLE
    assert Counted.opened == 0
    one.load()
    known = one.signature
    one.unload()
    assert one.signature is known, "what it takes is known also while it is not there"


def test_closing_that_fails_does_not_keep_it() -> None:
    one = Resident(lambda: Copies(Counted()))
    one.load()
    one.take().runner.close()
    one.give()
    assert one.unload()
    assert one.state == "unloaded"
