"""The late runner: somebody else's answers until its own copy is open, and nothing left behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from heliograph.runtimes.base import Arrays, Tensor
from heliograph.runtimes.late import LateRunner

PATIENCE = 20.0
X = {"x": np.zeros(1, np.float32)}


class Saying:
    """A runner that says its number."""

    platform = "saying"
    inputs = (Tensor("x", "float32", (-1,)),)
    outputs = inputs

    def __init__(self, number: int) -> None:
        self.number = number
        self.closed = False

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Arrays:
        assert not self.closed
        return {"x": feeds["x"] + self.number}

    def memory(self) -> int:
        return self.number

    def close(self) -> None:
        self.closed = True


def said(runner: LateRunner) -> float:
    return float(runner.run(X)["x"][0])


def until(true: Any) -> None:
    ends = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < ends, "this never came true"
        time.sleep(0.001)


def test_it_opens_once_and_the_other_one_answers_meanwhile() -> None:
    gate, opened = threading.Event(), list[Saying]()

    def open_own() -> Saying:
        assert gate.wait(PATIENCE)
        opened.append(Saying(2))
        return opened[-1]

    other = Saying(1)
    late = LateRunner(open_own, other)
    assert (late.inputs, late.platform, late.memory()) == (other.inputs, "saying", 0)
    assert [said(late) for _ in range(5)] == [1.0] * 5
    gate.set()
    until(lambda: said(late) == 2.0)
    assert len(opened) == 1
    assert late.memory() == 2
    late.close()
    assert opened[0].closed
    assert not other.closed, "it belongs to somebody else"


def test_what_opens_after_the_end_is_closed_at_once() -> None:
    gate, own = threading.Event(), Saying(2)

    def open_own() -> Saying:
        assert gate.wait(PATIENCE)
        return own

    late = LateRunner(open_own, Saying(1))
    said(late)
    threading.Timer(0.05, gate.set).start()
    late.close()
    assert own.closed, "closing waits for it"
    assert said(late) == 1.0


def test_one_that_cannot_be_opened_is_told_once_and_missed_by_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tries: list[int] = []

    def open_own() -> Saying:
        tries.append(1)
        raise MemoryError

    late = LateRunner(open_own, Saying(1))
    said(late)
    until(lambda: "did not open" in caplog.text)
    assert [said(late) for _ in range(3)] == [1.0] * 3
    assert len(tries) == 1


def test_one_that_nobody_wanted_is_never_opened() -> None:
    late = LateRunner(lambda: pytest.fail("nobody asked"), Saying(1))
    late.close()
