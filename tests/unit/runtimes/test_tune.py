"""Plans: how one is chosen, kept and read, and a real measurement of a tiny model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from heliograph.runtimes import tune
from heliograph.runtimes.base import Arrays, Plan, Runner
from heliograph.runtimes.engines import open_runner
from heliograph.runtimes.tune import (
    Trial,
    choose,
    default_plan,
    machine,
    read_plan,
    write_plan,
)
from support import models

DIGEST = "sha256:" + "a" * 64


def trial(
    engine: str = "onnx",
    batch: int = 1,
    *,
    per_second: float,
    threads: int = 1,
    difference: float = 0.0,
) -> Trial:
    plan = Plan(engine, threads=threads, instances=2, max_batch=batch)
    return Trial(plan, per_second, 1000 / per_second, difference)


@pytest.mark.parametrize(
    ("trials", "engine", "batch"),
    [
        # Batching must bring a tenth.
        ([trial(per_second=100), trial(batch=4, per_second=109)], "onnx", 1),
        ([trial(per_second=100), trial(batch=4, per_second=111)], "onnx", 4),
        # So must another engine.
        ([trial(per_second=100), trial("openvino", per_second=109)], "onnx", 1),
        ([trial(per_second=100), trial("openvino", per_second=111)], "openvino", 1),
        # Both at once must bring both.
        ([trial(per_second=100), trial("openvino", 8, per_second=120)], "onnx", 1),
        ([trial(per_second=100), trial("openvino", 8, per_second=122)], "openvino", 8),
        # Another engine that answers otherwise is none, however quick.
        ([trial(per_second=100), trial("openvino", per_second=900, difference=0.01)], "onnx", 1),
        (
            [trial(per_second=100), trial("openvino", per_second=900, difference=1e-4)],
            "openvino",
            1,
        ),
        (
            [trial(per_second=100), trial("openvino", per_second=900, difference=float("inf"))],
            "onnx",
            1,
        ),
        (
            [trial(per_second=100), trial("openvino", per_second=900, difference=float("nan"))],
            "onnx",
            1,
        ),
    ],
)
def test_the_choice_leans_to_the_own_engine_and_to_no_batching(
    trials: list[Trial], engine: str, batch: int
) -> None:
    plan = choose("onnx", trials)
    assert (plan.engine, plan.max_batch) == (engine, batch)
    assert choose("onnx", trials[::-1]) == plan, "the order of trying does not matter"


def test_the_quickest_threads_win_without_any_handicap() -> None:
    plan = choose("onnx", [trial(per_second=100), trial(threads=2, per_second=101)])
    assert plan.threads == 2
    assert plan.wide == 0, "a plan that uses every core already needs no wide copy"


def test_a_plan_gives_its_reason_in_words_and_numbers() -> None:
    reason = choose("onnx", [trial(per_second=100), trial(batch=4, per_second=150)]).reason
    assert "150.0 pictures/s" in reason
    assert "without batching made 100.0" in reason
    assert machine() in reason


def test_a_plan_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    plan = Plan("openvino", 1, 2, 4, 1.5, 0, "because")
    path = write_plan(tmp_path / "plans", DIGEST, plan, [trial(per_second=5)])
    assert read_plan(tmp_path / "plans", DIGEST) == plan
    said = msgspec.json.decode(path.read_bytes())
    assert said["trials"][0]["per_second"] == 5.0, "the evidence is kept with it"
    assert read_plan(tmp_path / "plans", "sha256:" + "b" * 64) is None


@pytest.mark.parametrize(
    "spoiled",
    [
        {"machine": "PDP-11, 1 cores"},
        {"machine": None},
        {"plan": None},
        {"plan": {"threads": 1}},
        {"plan": {"engine": "onnx", "threads": "many"}},
        {"plan": []},
    ],
)
def test_a_plan_of_another_machine_or_a_broken_one_is_not_used(
    spoiled: dict[str, Any], tmp_path: Path
) -> None:
    path = write_plan(tmp_path, DIGEST, Plan("onnx"), [])
    path.write_bytes(msgspec.json.encode(msgspec.json.decode(path.read_bytes()) | spoiled))
    assert read_plan(tmp_path, DIGEST) is None


@pytest.mark.parametrize("text", ['{"machine": ', "[]", "null", "{}", ""])
def test_a_plan_file_that_is_something_else_is_not_used(text: str, tmp_path: Path) -> None:
    write_plan(tmp_path, DIGEST, Plan("onnx"), []).write_text(text)
    assert read_plan(tmp_path, DIGEST) is None


def test_without_measurements_a_run_a_core_and_no_batching() -> None:
    cores = len(os.sched_getaffinity(0))
    plan = default_plan("onnx")
    assert (plan.threads, plan.instances, plan.max_batch) == (1, cores, 1)
    assert default_plan("openvino").wide == 0, "its second copy costs too much memory"
    assert default_plan("onnx", instances=3).instances == 3


def test_a_tiny_model_is_measured_for_real(tmp_path: Path) -> None:
    path = models.mean_colour(tmp_path / "model.onnx")
    example = {"images": np.full((1, 3, 8, 8), 0.5, np.float32)}
    told: list[Trial] = []
    plan, trials = tune.tune(path, "onnx", example, open_runner, seconds=0.005, told=told.append)
    assert told == trials
    assert {one.plan.engine for one in trials} == {"onnx", "openvino"}
    assert {one.plan.max_batch for one in trials} == {1, 4, 8}
    assert all(one.per_second > 0 and one.run_ms > 0 for one in trials)
    assert all(one.difference <= 1e-5 for one in trials)
    assert replace(plan, reason="", wide=0) in [replace(one.plan, reason="") for one in trials]


def test_no_time_at_all_still_measures_each_once(tmp_path: Path) -> None:
    path = models.mean_colour(tmp_path / "model.onnx")
    example = {"images": np.full((1, 3, 8, 8), 0.5, np.float32)}
    _, trials = tune.tune(path, "onnx", example, open_runner, seconds=0.0)
    assert all(one.per_second > 0 for one in trials)


def test_a_model_of_fixed_batch_is_not_tried_in_batches(tmp_path: Path) -> None:
    path = models.identity(tmp_path / "model.onnx", 1, 4)
    _, trials = tune.tune(
        path, "onnx", {"x": np.ones((1, 4), np.float32)}, open_runner, seconds=0.001
    )
    assert {one.plan.max_batch for one in trials} == {1}


class Odd:
    """An engine that gives other outputs than it should, or none."""

    def __init__(self, runner: Runner, how: str) -> None:
        self.inputs, self.outputs = runner.inputs, runner.outputs
        self.platform = runner.platform
        self._runner, self._how = runner, how

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Arrays:
        (scores,) = self._runner.run(feeds).values()
        if self._how == "raises":
            raise OSError("no such instruction")
        if self._how == "renames":
            return {"Softmax_3:0": scores}
        if self._how == "nan":
            return {"scores": np.full_like(scores, np.nan)}
        if self._how == "half":
            return {"scores": scores.astype(np.float16)}
        return {"scores": scores + 0.01}

    def memory(self) -> int:
        return self._runner.memory()

    def close(self) -> None:
        self._runner.close()


@pytest.mark.parametrize("how", ["raises", "renames", "nan", "half", "differs"])
def test_an_engine_that_does_not_answer_alike_is_not_chosen(how: str, tmp_path: Path) -> None:
    def load(path: Path, plan: Plan) -> Runner:
        runner = open_runner(path, plan)
        return Odd(runner, how) if plan.engine == "openvino" else runner

    path = models.mean_colour(tmp_path / "model.onnx")
    example = {"images": np.full((1, 3, 8, 8), 0.5, np.float32)}
    plan, trials = tune.tune(path, "onnx", example, load, seconds=0.001)
    assert plan.engine == "onnx"
    others = [one.difference for one in trials if one.plan.engine == "openvino"]
    assert all(one > tune.AGREEMENT for one in others)
    assert bool(others) == (how != "raises")


@pytest.mark.parametrize(
    ("found", "apart"), [([3, 1], 0.0), ([3, 2], float("inf")), ([[3, 1]], float("inf"))]
)
def test_whole_numbers_are_right_or_wrong(found: list[Any], apart: float) -> None:
    expected = {"label": np.array([3, 1])}
    assert tune._difference({"label": np.array(found)}, expected) == apart
