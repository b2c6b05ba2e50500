"""What a model worker costs: a call through it against the same call in this process.

python bench/workers.py            microseconds a call, interleaved, for several sizes
python bench/workers.py --model F  the same for an ONNX file that takes one float32 picture, and
                                   two runs at once: threads in one worker against two workers
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper

from heliograph.runtimes.base import Plan, Runner
from heliograph.runtimes.engines import open_runner
from heliograph.runtimes.host import HostRunner, open_hosted


def identity(folder: Path, numbers: int) -> Path:
    """A model of one node: `x` float32 [N, numbers] comes back as `y`."""
    kinds = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", numbers]) for n in "xy"]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])], "one", kinds[:1], kinds[1:]
    )
    made = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    path = folder / f"identity-{numbers}.onnx"
    path.write_bytes(made.SerializeToString())
    return path


def interleaved(calls: dict[str, Callable[[], object]], rounds: int, each: int) -> None:
    """Time the calls in turn, so that what else the machine does hits all of them alike."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            for _ in range(3):
                call()
            for _ in range(each):
                began = time.perf_counter()
                call()
                times[name].append((time.perf_counter() - began) * 1e6)
    for name, spent in times.items():
        p10, p50, p99 = np.percentile(spent, (10, 50, 99))
        print(f"  {name:24} p10 {p10:8.0f}  p50 {p50:8.0f}  p99 {p99:8.0f} us")


def overhead(path: Path, x: np.ndarray, rounds: int, each: int) -> None:
    plan = Plan("onnx", instances=1)
    here, there, far = open_runner(path, plan), open_hosted(path, plan), open_hosted(path, plan)
    assert isinstance(far, HostRunner)
    assert far._process is not None  # noqa: SLF001
    for channel in far._process.channels:  # noqa: SLF001
        channel.thread = 0  # unknown: nothing to hand the processor to
    name = here.inputs[0].name
    calls = {
        "in this process": here,
        "in a worker": there,
        "without handing over": far,
    }
    print(f"{x.nbytes} bytes")
    interleaved(
        {one: (lambda runner=runner: runner.run({name: x})) for one, runner in calls.items()},
        rounds,
        each,
    )
    there.close()
    far.close()


def throughput(runners: list[Runner], x: np.ndarray, seconds: float = 4.0) -> float:
    """Runs a second with one thread a runner."""
    done = [0] * len(runners)
    name = runners[0].inputs[0].name
    ends = time.perf_counter() + seconds

    def hand(at: int) -> None:
        while time.perf_counter() < ends:
            runners[at].run({name: x})
            done[at] += 1

    hands = [threading.Thread(target=hand, args=(at,)) for at in range(len(runners))]
    for one in hands:
        one.start()
    for one in hands:
        one.join()
    return sum(done) / seconds


def starts(path: Path) -> None:
    for engine in ("onnx", "openvino"):
        spent: list[float] = []
        for _ in range(5):
            began = time.perf_counter()
            runner = open_hosted(path, Plan(engine))
            spent.append(time.perf_counter() - began)
            runner.close()
        print(f"  {engine:10} ready after {np.median(spent) * 1000:.0f} ms")


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--model", type=Path)
    model = asked.parse_args().model
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder:
        if model is None:
            starts(identity(Path(folder), 4))
            for numbers in (1, 150_000):
                x = rng.random((1, numbers), np.float32)
                overhead(identity(Path(folder), numbers), x, 40, 50)
            return
    shape = [max(1, side) for side in open_runner(model, Plan("onnx")).inputs[0].shape]
    x = rng.random(shape, np.float32)
    overhead(model, x, 20, 10)
    one = open_hosted(model, Plan("onnx", instances=2))
    two = [open_hosted(model, Plan("onnx", instances=1)) for _ in range(2)]
    here = open_runner(model, Plan("onnx", instances=2))
    for _ in range(2):
        print(f"  in this process   {throughput([here, here], x):6.1f}/s")
        print(f"  one worker        {throughput([one, one], x):6.1f}/s {one.memory() >> 20} MiB")
        memory = sum(each.memory() for each in two) >> 20
        print(f"  two workers       {throughput(list(two), x):6.1f}/s {memory} MiB")
    one.close()
    for each in two:
        each.close()


if __name__ == "__main__":
    main()
