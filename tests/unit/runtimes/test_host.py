from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from heliograph.core.errors import Code, HeliographError
from heliograph.runtimes import wall
from heliograph.runtimes.base import Plan, Runner
from heliograph.runtimes.channel import KEPT_BYTES
from heliograph.runtimes.engines import open_runner
from heliograph.runtimes.host import HostRunner, open_hosted
from heliograph.runtimes.process import GuestLimits, Opener
from support.models import identity, product

SUPPORT = Path(__file__).parents[2] / "support"

pytestmark = pytest.mark.skipif(
    bool(wall.missing(wall.report(), wall.ESSENTIAL)), reason="this kernel offers no whole wall"
)


@pytest.fixture
def hosted(tmp_path: Path) -> Iterator[HostRunner]:
    runner = open_hosted(identity(tmp_path / "good.onnx"), Plan("onnx", instances=2))
    assert isinstance(runner, HostRunner)
    yield runner
    runner.close()


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_it_answers_as_the_same_model_in_this_process(engine: str, tmp_path: Path) -> None:
    path, plan = product(tmp_path / "product.onnx"), Plan(engine)
    x = {"x": np.random.default_rng(2).standard_normal((3, 512)).astype(np.float32)}
    here: Runner = open_runner(path, plan)
    there = open_hosted(path, plan)
    try:
        assert there.inputs == here.inputs
        assert there.outputs == here.outputs
        assert there.platform == here.platform
        np.testing.assert_array_equal(there.run(x)["y"], here.run(x)["y"])
    finally:
        there.close()
        here.close()


def test_answers_are_the_callers_own(hosted: HostRunner) -> None:
    first = hosted.run({"x": np.ones((1, 4), np.float32)})["y"]
    second = hosted.run({"x": np.zeros((1, 4), np.float32)})["y"]
    assert first.min() == 1.0
    assert second.max() == 0.0
    second[:] = 5.0
    assert first.flags.owndata


def test_sizes_may_change_from_call_to_call(hosted: HostRunner) -> None:
    for rows in (1, 3, 100_000, 0, 2, (KEPT_BYTES >> 4) + 1, 1):
        x = np.full((rows, 4), float(rows), np.float32)
        np.testing.assert_array_equal(hosted.run({"x": x})["y"], x)


def test_inputs_need_not_lie_in_one_piece(hosted: HostRunner) -> None:
    x = np.arange(32, dtype=np.float32).reshape(4, 8)[:, ::2]
    np.testing.assert_array_equal(hosted.run({"x": x})["y"], x)


def test_threads_get_their_own_answers(hosted: HostRunner) -> None:
    wrong: list[float] = []

    def hand(number: float) -> None:
        for at in range(200):
            x = np.full((1 + at % 5, 4), number + at, np.float32)
            if not np.array_equal(hosted.run({"x": x})["y"], x):
                wrong.append(number)

    hands = [threading.Thread(target=hand, args=(1000.0 * one,)) for one in range(6)]
    for one in hands:
        one.start()
    for one in hands:
        one.join()
    assert not wrong


def test_byte_strings_go_both_ways(tmp_path: Path) -> None:
    (tmp_path / "text").touch()
    opener = Opener("rogues", "open_rogue", str(SUPPORT))
    runner = HostRunner(tmp_path / "text", Plan("rogue"), limits=GuestLimits(), opener=opener)
    try:
        for words in ([b"a", b"", b"\xff\x00" * 50_000], [b"b"], []):
            found = runner.run({"x": np.array(words, object)})["x"]
            assert list(found) == words[::-1]
    finally:
        runner.close()


@pytest.mark.parametrize(
    ("feeds", "code"),
    [
        ({"x": np.zeros((1, 4), "M8[s]")}, Code.VALIDATION),
        ({f"x{at}": np.zeros(1) for at in range(20_000)}, Code.VALIDATION),
        ({"x": np.zeros((1, 5), np.float32)}, Code.MODEL_CRASHED),
        ({"z": np.zeros((1, 4), np.float32)}, Code.MODEL_CRASHED),
    ],
    ids=["type", "number", "shape", "name"],
)
def test_a_call_that_cannot_be_is_refused_and_the_worker_stays(
    feeds: dict[str, NDArray[np.generic]], code: Code, hosted: HostRunner
) -> None:
    pid = hosted.pid
    with pytest.raises(HeliographError) as caught:
        hosted.run(feeds)
    assert caught.value.code is code
    assert hosted.run({"x": np.ones((1, 4), np.float32)})["y"].max() == 1.0
    assert hosted.pid == pid


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    before = list(Path("/proc/self/fd").iterdir())
    with pytest.raises(HeliographError) as caught:
        open_hosted(tmp_path / "bad.onnx", Plan("onnx"))
    assert caught.value.code is Code.MODEL_INVALID
    assert str(tmp_path) not in caught.value.detail
    assert len(list(Path("/proc/self/fd").iterdir())) == len(before)


def test_an_unknown_engine_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(HeliographError, match="no engine 'steam'"):
        open_hosted(tmp_path / "model", Plan("steam"))


def test_a_worker_that_was_killed_between_calls_costs_none(hosted: HostRunner) -> None:
    for _ in range(2):
        pid = hosted.pid
        os.kill(pid, 9)
        while Path(f"/proc/{pid}").exists():
            time.sleep(0.001)
        assert hosted.run({"x": np.ones((1, 4), np.float32)})["y"].max() == 1.0


def test_memory_is_told(hosted: HostRunner) -> None:
    assert 5 << 20 < hosted.memory() < 500 << 20
    hosted.close()
    assert hosted.memory() == 0


def test_close_is_final_and_may_be_repeated(hosted: HostRunner) -> None:
    pid = hosted.pid
    hosted.close()
    hosted.close()
    assert not Path(f"/proc/{pid}").exists()
    assert not hosted.quarantine
    with pytest.raises(HeliographError) as caught:
        hosted.run({"x": np.ones((1, 4), np.float32)})
    assert caught.value.code is Code.MODEL_UNAVAILABLE


def test_closing_ends_a_call_that_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "sleep").touch()
    opener = Opener("rogues", "open_rogue", str(SUPPORT))
    runner = HostRunner(tmp_path / "sleep", Plan("rogue"), limits=GuestLimits(), opener=opener)
    said: list[Code] = []

    def call() -> None:
        try:
            runner.run({"x": np.full((1, 4), 2.0, np.float32)})
        except HeliographError as error:
            said.append(error.code)

    caller = threading.Thread(target=call)
    caller.start()
    caller.join(0.3)
    runner.close()
    caller.join(5.0)
    assert said == [Code.MODEL_UNAVAILABLE]


def test_a_hundred_lives_leave_nothing_behind(tmp_path: Path) -> None:
    path = identity(tmp_path / "good.onnx", "N", 4096)
    x = {"x": np.ones((8, 4096), np.float32)}

    def life() -> None:
        runner = open_hosted(path, Plan("onnx", instances=2))
        runner.run(x)
        runner.close()

    def state() -> tuple[int, int, int, int, int]:
        rss = int(Path("/proc/self/statm").read_text("ascii").split()[1])
        descriptors = len(list(Path("/proc/self/fd").iterdir()))
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text("ascii").split()
        arenas = Path("/proc/self/maps").read_text("utf-8").count("memfd:arena")
        return rss, descriptors, len(children), threading.active_count(), arenas

    for _ in range(10):
        life()
    before = state()
    for _ in range(100):
        life()
    after = state()
    assert after[0] < before[0] * 1.02, f"{before[0]} pages became {after[0]}"
    assert after[1:] == before[1:]


def test_the_server_may_ask_for_less_of_a_wall(tmp_path: Path) -> None:
    limits = replace(GuestLimits(), require=())
    runner = open_hosted(identity(tmp_path / "good.onnx"), Plan("onnx"), limits)
    assert isinstance(runner, HostRunner)
    assert set(runner.wall) == set(wall.PARTS)
    runner.close()
