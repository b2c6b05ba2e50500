"""Laws of residence: whatever many threads do, no run meets closed copies and no lease is left."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from heliograph.core.errors import Code, HeliographError
from heliograph.runtimes.base import Arrays
from heliograph.runtimes.identity import IdentityRunner
from heliograph.serving.resident import Copies, Resident

ACTS = st.sampled_from(["load", "unload", "hurry", "run", "run", "run"])


class Copy(IdentityRunner):
    """A copy that knows whether it is open."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._open = True

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Arrays:
        self._house.check(self._open, "run on a closed copy")
        time.sleep(0.0005)
        self._house.check(self._open, "closed while it ran")
        return dict(feeds)

    def close(self) -> None:
        self._house.check(self._open, "closed twice")
        self._open = False
        self._house.open -= 1


class House:
    """Opens copies, one at a time, some of them broken."""

    def __init__(self, broken: list[bool]) -> None:
        self.wrong: list[str] = []
        self.open = 0
        self._broken = broken
        self._busy = threading.Lock()
        self._turn = 0

    def check(self, true: bool, what: str) -> None:
        if not true:
            self.wrong.append(what)

    def open_copies(self) -> Copies:
        self.check(self._busy.acquire(blocking=False), "loaded twice at once")
        self.check(self.open == 0, "loaded while it was there")
        try:
            time.sleep(0.0005)
            self._turn += 1
            if self._broken and self._broken[self._turn % len(self._broken)]:
                raise HeliographError(Code.MODEL_INVALID, "This one is broken.")
            self.open += 1
            return Copies(Copy(self))
        finally:
            self._busy.release()


@pytest.mark.parametrize("on_demand", [True, False])
@given(
    plans=st.lists(st.lists(ACTS, min_size=1, max_size=12), min_size=2, max_size=8),
    broken=st.lists(st.booleans(), max_size=4),
)
@settings(max_examples=30, deadline=None)
def test_no_run_on_closed_copies_and_no_lease_left(
    on_demand: bool, plans: list[list[str]], broken: list[bool]
) -> None:
    house = House(broken)
    one = Resident(house.open_copies, on_demand=on_demand)

    def follow(plan: list[str]) -> None:
        for act in plan:
            with suppress(HeliographError):
                _act(one, act)

    threads = [threading.Thread(target=follow, args=(plan,)) for plan in plans]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive(), "somebody waits for ever"
    assert house.wrong == []
    assert one.leases == 0
    assert (one.state == "ready") == (house.open == 1)
    assert one.unload()
    assert (one.state, house.open) == ("unloaded", 0)


def _act(one: Resident, act: str) -> None:
    if act == "load":
        one.load()
    elif act == "unload":
        one.unload()
    elif act == "hurry":
        one.unload(patience=0.0)
    else:
        copies = one.take()
        try:
            copies.runner.run({})
        finally:
            one.give()
