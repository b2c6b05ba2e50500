"""The stopwatch of a call: its steps add up to the whole."""

from __future__ import annotations

import time

import pytest

from heliograph.core.call import STEPS, Timings


def test_each_lap_lasts_since_the_one_before() -> None:
    timings = Timings()
    time.sleep(0.02)
    timings.lap("queue")
    timings.lap("decode")
    assert timings.ms["queue"] >= 20
    assert timings.ms["decode"] < timings.ms["queue"]
    assert list(timings.ms) == ["queue", "decode"]


def test_a_split_takes_its_part_of_the_time_and_leaves_the_rest_to_the_next_lap() -> None:
    timings = Timings()
    time.sleep(0.03)
    timings.split("batch", 10.0)
    timings.lap("run")
    assert timings.ms["batch"] == 10.0
    assert timings.ms["run"] >= 19.9
    assert timings.ms["batch"] + timings.ms["run"] <= timings.total_ms()


def test_the_total_is_the_sum_of_the_steps_and_no_more_than_the_time_that_passed() -> None:
    timings = Timings()
    for step in STEPS:
        time.sleep(0.001)
        timings.lap(step)
    said = timings.rounded()
    assert list(said) == [*STEPS, "total"]
    assert sum(said[step] for step in STEPS) == pytest.approx(said["total"], abs=0.005)
    assert said["total"] <= timings.total_ms()
    assert timings.rounded() == said, "reading changes nothing"


def test_a_call_that_went_nowhere_has_a_total_of_nothing() -> None:
    assert Timings().rounded() == {"total": 0}
