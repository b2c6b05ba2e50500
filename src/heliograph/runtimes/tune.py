"""Finding the best plan for a model on this machine, by measuring.

The tuner tries engines, threads, instances and batch sizes, a short while each, and keeps what was
measured with the plan. Batching is chosen only if it raised throughput by a tenth; another engine
only if it did and its outputs agree. Without a stored plan the default stands: no batching.
"""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from heliograph.runtimes.base import Arrays, Plan, Runner

GAIN = 1.10
"""A change of batch size or engine must raise throughput by this factor to be chosen."""

AGREEMENT = 1e-3
"""Largest difference between two engines' outputs, relative to the output's largest value."""

_OPENVINO_ALSO = {".onnx"}


class Trial(msgspec.Struct, frozen=True):
    """One measurement: how many pictures a second a plan ran, and how long one run took.

    Attributes:
        plan: what was tried.
        per_second: pictures per second with all instances busy.
        run_ms: median milliseconds of one run.
        difference: largest difference of outputs to the reference engine, relative; 0 for it.
    """

    plan: Plan
    per_second: float
    run_ms: float
    difference: float = 0.0


def default_plan(engine: str, instances: int = 0) -> Plan:
    """The plan where nothing was measured: a run a core, one thread each, no batching."""
    cores = len(os.sched_getaffinity(0))
    # ONNX Runtime shares no memory between sessions, but its copy is small; OpenVINO's is not.
    wide = cores if engine == "onnx" and cores > 1 and not instances else 0
    return Plan(engine, threads=1, instances=instances or cores, wide=wide)


def machine() -> str:
    """A name for this machine's kind: a plan measured on another kind is not used."""
    try:
        model = next(
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines()
            if line.startswith("model name")
        )
    except (OSError, StopIteration):
        model = platform.machine()
    return f"{model}, {len(os.sched_getaffinity(0))} cores"


def candidates(engine: str, path: Path, *, free_batch: bool) -> list[Plan]:
    """The plans worth trying for a model file."""
    cores = len(os.sched_getaffinity(0))
    engines = [engine]
    if path.suffix in _OPENVINO_ALSO and engine != "openvino":
        engines.append("openvino")
    shapes = {(1, cores), (cores, 1)}
    batches = (1, 4, 8) if free_batch else (1,)
    return [
        replace(default_plan(one), threads=threads, instances=instances, max_batch=batch, wide=0)
        for one in engines
        for threads, instances in sorted(shapes)
        for batch in batches
    ]


def tune(
    path: Path,
    engine: str,
    example: dict[str, NDArray[Any]],
    load: Callable[[Path, Plan], Runner],
    *,
    seconds: float = 1.0,
    told: Callable[[Trial], None] = lambda _: None,
) -> tuple[Plan, list[Trial]]:
    """Measure the candidates and choose.

    Args:
        path: the model file.
        engine: the package's own engine: the reference for outputs.
        example: one picture's tensors with a batch axis of 1.
        load: opens a runner.
        seconds: time for each candidate.
        told: called with each measurement as it is made.

    Returns:
        The plan, its `reason` in words, and every measurement.
    """
    reference = load(path, default_plan(engine))
    expected = reference.run(example)
    free = all(tensor.shape[:1] == (-1,) for tensor in reference.inputs)
    reference.close()
    trials: list[Trial] = []
    for plan in candidates(engine, path, free_batch=free):
        try:
            runner = load(path, plan)
            try:
                trial = _try(runner, plan, example, expected, seconds)
            finally:
                runner.close()
        except Exception:  # noqa: BLE001, S112 - an engine that cannot run it is no candidate
            continue
        trials.append(trial)
        told(trial)
    return choose(engine, trials), trials


def choose(engine: str, trials: list[Trial]) -> Plan:
    """The best plan: throughput, with a bias to the package's own engine and to no batching."""

    def worth(trial: Trial) -> float:
        handicap = (GAIN if trial.plan.max_batch > 1 else 1.0) * (
            GAIN if trial.plan.engine != engine else 1.0
        )
        return trial.per_second / handicap

    allowed = [one for one in trials if one.difference <= AGREEMENT]
    best = max(allowed, key=worth)
    alone = max((one for one in allowed if one.plan.max_batch == 1), key=lambda one: one.per_second)
    reason = (
        f"measured on {machine()}: {best.per_second:.1f} pictures/s, {best.run_ms:.1f} ms a run; "
        f"the best without batching made {alone.per_second:.1f}"
    )
    wide = default_plan(best.plan.engine).wide if best.plan.threads == 1 else 0
    return replace(best.plan, reason=reason, wide=wide)


def _try(
    runner: Runner, plan: Plan, example: dict[str, NDArray[Any]], expected: Arrays, seconds: float
) -> Trial:
    batch = {name: np.repeat(one, plan.max_batch, axis=0) for name, one in example.items()}
    difference = _difference(runner.run(example), expected)
    runner.run(batch)
    times: list[float] = []
    stop = time.perf_counter() + seconds
    began = time.perf_counter()

    def hand() -> None:
        start = time.perf_counter()
        while True:
            runner.run(batch)
            end = time.perf_counter()
            times.append(end - start)
            start = end
            if end >= stop:
                return

    hands = [threading.Thread(target=hand) for _ in range(plan.instances)]
    for one in hands:
        one.start()
    for one in hands:
        one.join()
    spent = time.perf_counter() - began
    return Trial(
        plan, len(times) * plan.max_batch / spent, float(np.median(times)) * 1000.0, difference
    )


def _difference(found: Arrays, expected: Arrays) -> float:
    """The largest relative difference; infinite where outputs are missing or of another kind."""
    worst = 0.0
    for name, other in expected.items():
        one = found.get(name)
        if one is None or one.shape != other.shape or one.dtype != other.dtype:
            return float("inf")
        if one.size == 0:
            continue
        if one.dtype.kind != "f":
            # A class or a count is right or wrong: there is no nearly.
            worst = max(worst, 0.0 if np.array_equal(one, other) else float("inf"))
            continue
        largest = float(np.nanmax(np.abs(other), initial=0.0)) or 1.0
        apart = np.where(np.isnan(one) & np.isnan(other), 0.0, np.abs(one - other))
        # A NaN on one side only is as far apart as can be.
        worst = max(worst, float(np.nan_to_num(apart, nan=np.inf).max()) / largest)
    return worst


def read_plan(folder: Path, digest: str) -> Plan | None:
    """The plan measured for this model on this kind of machine; None if there is none."""
    try:
        said = msgspec.json.decode((folder / f"{digest.removeprefix('sha256:')}.json").read_bytes())
        return msgspec.convert(said["plan"], Plan) if said["machine"] == machine() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_plan(folder: Path, digest: str, plan: Plan, trials: list[Trial]) -> Path:
    """Keep a plan with its evidence."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{digest.removeprefix('sha256:')}.json"
    said = {"machine": machine(), "plan": plan, "trials": trials}
    path.write_bytes(msgspec.json.format(msgspec.json.encode(said), indent=2))
    return path
