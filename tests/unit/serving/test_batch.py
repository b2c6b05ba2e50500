"""A lane: when a batch closes, and when the wide copy runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from heliograph.runtimes.base import Arrays, Plan, Tensor
from heliograph.serving.batch import Item, Lane
from heliograph.serving.resident import Resident

PATIENCE = 20.0


class Copy:
    """A runner that notes the sizes of its batches and waits at a gate."""

    platform = "copy"
    inputs = (Tensor("x", "float32", (-1, 2)),)
    outputs = inputs

    def __init__(self, *, shut: bool = False) -> None:
        self.sizes: list[int] = []
        self.gate = threading.Event()
        if not shut:
            self.gate.set()

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Arrays:
        self.sizes.append(len(feeds["x"]))
        assert self.gate.wait(PATIENCE)
        return {"x": feeds["x"] + 1}

    def memory(self) -> int:
        return 0

    def close(self) -> None:
        self.closed = True


def item() -> Item:
    return Item.picture(np.zeros(2, np.float32), lambda: None)


def test_the_wide_copy_runs_a_call_that_is_alone_and_only_that() -> None:
    narrow, wide = Copy(), Copy(shut=True)
    lane = Lane(Resident.of(narrow, wide), Plan("copy", instances=2, wide=2))
    first = lane.submit(lane.run, item())
    while not wide.sizes:
        time.sleep(0.001)
    second = lane.submit(lane.run, item())
    second.result(PATIENCE)
    wide.gate.set()
    first.result(PATIENCE)
    assert (wide.sizes, narrow.sizes) == ([1], [1])
    while lane._calls:
        time.sleep(0.001)
    lane.submit(lane.run, item()).result(PATIENCE)
    assert (wide.sizes, narrow.sizes) == ([1, 1], [1])
    lane.close()


def test_a_full_batch_does_not_wait() -> None:
    copy = Copy()
    lane = Lane(Resident.of(copy), Plan("copy", max_batch=3, max_wait_ms=60_000))
    futures = [lane.submit(lane.run, item()) for _ in range(3)]
    assert {one.result(PATIENCE).batch for one in futures} == {3}
    assert copy.sizes == [3]
    lane.close()


def test_a_batch_that_does_not_fill_closes_after_its_wait() -> None:
    copy = Copy()
    lane = Lane(Resident.of(copy), Plan("copy", max_batch=8, max_wait_ms=60.0))
    began = time.perf_counter()
    futures = [lane.submit(lane.run, item()) for _ in range(2)]
    assert {one.result(PATIENCE).batch for one in futures} == {2}
    assert time.perf_counter() - began >= 0.05
    assert copy.sizes == [2]
    lane.close()


def test_without_a_wait_a_single_call_runs_at_once() -> None:
    copy = Copy()
    lane = Lane(Resident.of(copy), Plan("copy", max_batch=8))
    assert lane.submit(lane.run, item()).result(PATIENCE).batch == 1
    assert copy.sizes == [1]
    lane.close()


def test_what_gathers_while_the_instances_are_busy_runs_together() -> None:
    copy = Copy(shut=True)
    lane = Lane(Resident.of(copy), Plan("copy", max_batch=4))
    futures = [lane.submit(lane.run, item())]
    while not copy.sizes:
        time.sleep(0.001)
    futures += [lane.submit(lane.run, item()) for _ in range(4)]
    while len(lane._waiting) < 4:
        time.sleep(0.001)
    copy.gate.set()
    assert [one.result(PATIENCE).batch for one in futures] == [1, 4, 4, 4, 4]
    assert copy.sizes == [1, 4]
    lane.close()


def test_without_batching_nobody_waits_for_anybody() -> None:
    copy = Copy()
    lane = Lane(Resident.of(copy), Plan("copy", instances=2))
    futures = [lane.submit(lane.run, item()) for _ in range(5)]
    assert {one.result(PATIENCE).batch for one in futures} == {1}
    assert copy.sizes == [1] * 5
    lane.close()


def test_an_engine_whose_outputs_are_too_few_for_a_batch_runs_each_alone() -> None:
    class Short(Copy):
        def run(self, feeds: Mapping[str, NDArray[Any]]) -> Arrays:
            return {"x": super().run(feeds)["x"][:1]}

    short = Short()
    lane = Lane(Resident.of(short), Plan("short", max_batch=2, max_wait_ms=50.0))
    items = [Item.picture(np.full(2, at, np.float32), lambda: None) for at in range(2)]
    futures = [lane.submit(lane.run, one) for one in items]
    for at, future in enumerate(futures):
        arrays = future.result(PATIENCE).arrays
        assert arrays is not None
        np.testing.assert_array_equal(arrays["x"], np.full((1, 2), at + 1, np.float32))
    assert short.sizes == [2, 1, 1]
    lane.close()


def test_a_lane_that_is_closed_finishes_what_it_has_begun() -> None:
    copy = Copy(shut=True)
    lane = Lane(Resident.of(copy), Plan("copy"))
    begun = lane.submit(lane.run, item())
    while not copy.sizes:
        time.sleep(0.001)
    threading.Timer(0.02, copy.gate.set).start()
    lane.close()
    assert begun.result(0).batch == 1
    with pytest.raises(RuntimeError):
        lane.submit(lane.run, item())
