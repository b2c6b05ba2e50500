"""B94, B95, B97, B105, B106: a model that misbehaves costs its own call, and gets nowhere."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from heliograph.core.errors import Code, HeliographError
from heliograph.runtimes import wall
from heliograph.runtimes.base import Plan
from heliograph.runtimes.host import HostRunner, open_hosted
from heliograph.runtimes.process import GuestLimits, Opener
from support import rogues
from support.models import floats, identity, model, save

SUPPORT = Path(__file__).parents[1] / "support"
ROGUES = Opener("rogues", "open_rogue", str(SUPPORT))
LIMITS = GuestLimits(memory_bytes=1 << 30, run_seconds=20.0, load_seconds=20.0, crashes=100)
GOOD = {"x": np.array([[0.5, 1, 2, 3]], np.float32)}
BAD = {"x": np.array([[2.0, 1, 2, 3]], np.float32)}
BACK_SECONDS = 3.0

pytestmark = pytest.mark.skipif(
    bool(wall.missing(wall.report(), wall.ESSENTIAL)), reason="this kernel offers no whole wall"
)


@contextmanager
def rogue(
    folder: Path, deed: str, limits: GuestLimits = LIMITS, instances: int = 1
) -> Generator[HostRunner]:
    path = folder / deed
    path.write_bytes(b"not a model")
    plan = Plan("rogue", instances=instances)
    runner = HostRunner(path, plan, limits=limits, opener=ROGUES)
    try:
        yield runner
    finally:
        runner.close()


def code(runner: HostRunner, feeds: dict[str, NDArray[np.float32]] = BAD) -> Code:
    with pytest.raises(HeliographError) as caught:
        runner.run(feeds)
    assert str(SUPPORT) not in caught.value.detail
    return caught.value.code


def answers(runner: HostRunner) -> None:
    np.testing.assert_array_equal(runner.run(GOOD)["y"], GOOD["x"])


@pytest.fixture
def neighbour(tmp_path: Path) -> Iterator[HostRunner]:
    """A good model in a worker of its own, which must not notice."""
    runner = open_hosted(identity(tmp_path / "good.onnx"), Plan("onnx"), LIMITS)
    assert isinstance(runner, HostRunner)
    pid = runner.pid
    yield runner
    np.testing.assert_array_equal(runner.run(GOOD)["y"], GOOD["x"])
    assert runner.pid == pid
    runner.close()


@pytest.mark.parametrize(
    "deed", ["network", "processes", "program", "files", "parent", "limits", "shared"]
)
def test_a_deed_is_denied(deed: str, tmp_path: Path, neighbour: HostRunner) -> None:
    (tmp_path / "secret").write_bytes(b"of the server")
    os.environ["HELIOGRAPH_TEST_SECRET"] = "of the server"
    before = {one: one.stat().st_mtime_ns for one in tmp_path.iterdir()}
    try:
        with rogue(tmp_path, deed) as runner:
            assert runner.run(BAD)["y"].max() == rogues.DENIED
            answers(runner)
            environ = Path(f"/proc/{runner.pid}/environ").read_bytes()
            assert b"secret" not in environ.lower()
    finally:
        del os.environ["HELIOGRAPH_TEST_SECRET"]
    after = {one: one.stat().st_mtime_ns for one in tmp_path.iterdir() if one.name != deed}
    assert after == before
    assert not Path("/dev/shm/rogue").exists()
    assert not Path("/tmp/rogue").exists()


@pytest.mark.parametrize("deed", ["network", "processes", "files", "limits", "shared"])
def test_without_the_wall_the_same_deed_gets_through(deed: str, tmp_path: Path) -> None:
    path = tmp_path / deed
    path.write_bytes(b"not a model")
    for made in (Path("/dev/shm/rogue"), Path("/tmp/rogue")):
        made.unlink(missing_ok=True)
    program = f"""
import sys, pathlib
sys.path.append({str(SUPPORT)!r})
import rogues
print(rogues._ACTS[{deed!r}](pathlib.Path({str(path)!r})))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    for made in (Path("/dev/shm/rogue"), Path("/tmp/rogue")):
        made.unlink(missing_ok=True)
    assert done.stdout.strip().endswith("True")


@pytest.mark.parametrize("deed", ["segfault", "abort", "leave"])
def test_a_crash_costs_its_own_call(deed: str, tmp_path: Path, neighbour: HostRunner) -> None:
    with rogue(tmp_path, deed) as runner:
        pid = runner.pid
        answers(runner)
        assert code(runner) is Code.MODEL_CRASHED
        began = time.monotonic()
        answers(runner)
        assert time.monotonic() - began < BACK_SECONDS
        assert runner.pid != pid


@pytest.mark.parametrize("deed", ["sleep", "spin"])
def test_a_hang_ends_and_is_replaced(deed: str, tmp_path: Path, neighbour: HostRunner) -> None:
    with rogue(tmp_path, deed, replace(LIMITS, run_seconds=0.5)) as runner:
        answers(runner)
        began = time.monotonic()
        assert code(runner) is Code.INFERENCE_TIMEOUT
        assert 0.4 < time.monotonic() - began < 1.5
        answers(runner)
        assert time.monotonic() - began < 0.5 + BACK_SECONDS


@pytest.mark.parametrize(
    "deed",
    ["outside", "short", "negative", "endless", "object", "pickle", "nothing", "late", "deep"],
)
def test_nonsense_is_a_crash(deed: str, tmp_path: Path, neighbour: HostRunner) -> None:
    with rogue(tmp_path, deed) as runner:
        answers(runner)
        assert code(runner) is Code.MODEL_CRASHED
        answers(runner)


@pytest.mark.parametrize("deed", ["rank", "dtype"])
def test_an_answer_of_another_kind_than_declared_is_refused(deed: str, tmp_path: Path) -> None:
    with rogue(tmp_path, deed) as runner:
        assert code(runner) is Code.MODEL_CRASHED
        answers(runner)


def test_values_are_the_decoders_business(tmp_path: Path) -> None:
    with rogue(tmp_path, "nan") as runner:
        assert np.isnan(runner.run(BAD)["y"]).all()
    with rogue(tmp_path, "rows") as runner:
        assert runner.run(BAD)["y"].shape == (5, 4)


def test_too_large_an_answer_is_never_mapped(tmp_path: Path, neighbour: HostRunner) -> None:
    with rogue(tmp_path, "large", replace(LIMITS, memory_bytes=8 << 30)) as runner:
        answers(runner)
        pid = runner.pid
        assert code(runner) is Code.MODEL_CRASHED
        answers(runner)
        assert runner.pid == pid, "an answer that is refused needs no new worker"


@pytest.mark.parametrize("deed", ["memory", "threads"])
def test_memory_is_refused(deed: str, tmp_path: Path, neighbour: HostRunner) -> None:
    # Thousands of threads take their time on a busy machine.
    with rogue(tmp_path, deed, replace(LIMITS, run_seconds=90.0)) as runner:
        if deed == "memory":
            assert code(runner) is Code.MODEL_RESOURCE_LIMIT
        else:
            assert runner.run(BAD)["y"].max() == rogues.DENIED
        answers(runner)


def test_memory_that_no_limit_counts_is_seen(tmp_path: Path, neighbour: HostRunner) -> None:
    with rogue(tmp_path, "creeping", replace(LIMITS, memory_bytes=512 << 20)) as runner:
        assert code(runner) is Code.MODEL_RESOURCE_LIMIT
        answers(runner)


@pytest.mark.parametrize("deed", ["write", "many"])
def test_a_scratch_is_small_and_its_own(deed: str, tmp_path: Path) -> None:
    if not wall.report()["scratch"]:
        pytest.skip("no mount of one's own here")
    with rogue(tmp_path, deed, replace(LIMITS, scratch_bytes=16 << 20)) as runner:
        assert code(runner) is Code.MODEL_CRASHED
        answers(runner)
        assert not (wall.SCRATCH / "big").exists()
        assert not (wall.SCRATCH / "0").exists()
    with rogue(tmp_path, deed) as runner:
        assert code(runner) is Code.MODEL_CRASHED, "without a scratch there is none"


def test_what_it_prints_has_an_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with rogue(tmp_path, "shout") as runner:
        code(runner)
        answers(runner)
    assert "\x1b" not in caplog.text


@pytest.mark.parametrize(
    ("deed", "expected"),
    [
        ("load-segfault", Code.MODEL_CRASHED_ON_LOAD),
        ("load-abort", Code.MODEL_CRASHED_ON_LOAD),
        ("load-leave", Code.MODEL_CRASHED_ON_LOAD),
        ("load-sleep", Code.MODEL_RESOURCE_LIMIT),
        ("load-spin", Code.MODEL_RESOURCE_LIMIT),
        ("load-memory", Code.MODEL_RESOURCE_LIMIT),
        ("load-creeping", Code.MODEL_RESOURCE_LIMIT),
        ("unknown-deed", None),
    ],
)
def test_while_it_is_loaded(
    deed: str, expected: Code | None, tmp_path: Path, neighbour: HostRunner
) -> None:
    limits = replace(LIMITS, load_seconds=2.0, memory_bytes=512 << 20)
    if expected is None:
        with rogue(tmp_path, deed, limits) as runner:
            assert code(runner) is Code.MODEL_CRASHED
        return
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(HeliographError) as caught, rogue(tmp_path, deed, limits):
        pass
    assert caught.value.code is expected
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_three_crashes_are_quarantine_until_it_is_loaded_anew(tmp_path: Path) -> None:
    limits = replace(LIMITS, crashes=3)
    with rogue(tmp_path, "segfault", limits) as runner:
        for _ in range(3):
            assert not runner.quarantine
            answers(runner)
            assert code(runner) is Code.MODEL_CRASHED
        deadline = time.monotonic() + 5
        while not runner.quarantine and time.monotonic() < deadline:
            time.sleep(0.01)
        assert "3 times" in runner.quarantine
        assert code(runner, GOOD) is Code.MODEL_UNAVAILABLE
        assert runner.pid == 0
    with rogue(tmp_path, "segfault", limits) as runner:
        answers(runner)


def test_old_crashes_are_forgiven(tmp_path: Path) -> None:
    with rogue(tmp_path, "segfault", replace(LIMITS, crashes=2, window_seconds=0.2)) as runner:
        for _ in range(4):
            assert code(runner) is Code.MODEL_CRASHED
            answers(runner)
            time.sleep(0.25)
        assert not runner.quarantine


@pytest.mark.parametrize("deed", ["segfault", "sleep"])
def test_neighbours_in_the_same_worker_are_answered(deed: str, tmp_path: Path) -> None:
    limits = replace(LIMITS, run_seconds=1.0)
    outcomes: list[object] = []
    with rogue(tmp_path, deed, limits, instances=3) as runner:
        stop = threading.Event()

        def polite() -> None:
            while not stop.is_set():
                try:
                    outcomes.append(float(runner.run(GOOD)["y"][0, 0]))
                except HeliographError as error:
                    outcomes.append(error)

        threads = [threading.Thread(target=polite) for _ in range(2)]
        for one in threads:
            one.start()
        try:
            time.sleep(0.1)
            for _ in range(3):
                expected = Code.MODEL_CRASHED if deed == "segfault" else Code.INFERENCE_TIMEOUT
                assert code(runner) is expected
        finally:
            stop.set()
            for one in threads:
                one.join()
    assert len(outcomes) > 100
    assert set(outcomes) == {0.5}


def test_a_bomb_in_a_real_file(tmp_path: Path, neighbour: HostRunner) -> None:
    value = helper.make_tensor("value", TensorProto.FLOAT, [1], [1.0])
    for size in (10**12, 10**10):
        nodes = [
            helper.make_node("ConstantOfShape", ["sides"], ["many"], value=value),
            helper.make_node("ReduceSum", ["many"], ["sum"], keepdims=0),
            helper.make_node("Add", ["x", "sum"], ["y"]),
        ]
        sides = np.array([size], np.int64)
        made = model(nodes, floats("x", "N", 4), floats("y", "N", 4), {"sides": sides})
        path = save(made, tmp_path / f"bomb{size}.onnx")
        with pytest.raises(HeliographError) as caught:
            _open_and_run(path)
        assert caught.value.code is Code.MODEL_RESOURCE_LIMIT


def _open_and_run(path: Path) -> None:
    # An engine may fold the constant while it loads, or leave it to the first run.
    runner = open_hosted(path, Plan("onnx"), LIMITS)
    try:
        runner.run(GOOD)
    finally:
        runner.close()


def test_a_required_part_that_does_not_hold_refuses_the_model(tmp_path: Path) -> None:
    limits = replace(LIMITS, require=("files", "scratch"))
    with pytest.raises(HeliographError) as caught, rogue(tmp_path, "network", limits):
        pass
    assert caught.value.code is Code.UNSUPPORTED
    assert "scratch" in caught.value.detail


def test_every_thread_stands_behind_the_wall(neighbour: HostRunner) -> None:
    tasks = list(Path(f"/proc/{neighbour.pid}/task").iterdir())
    assert tasks
    for task in tasks:
        status = (task / "status").read_text("ascii")
        assert "Seccomp:\t2" in status
        assert "NoNewPrivs:\t1" in status
        assert "CapEff:\t0000000000000000" in status


def test_nothing_of_the_server_is_inherited(neighbour: HostRunner) -> None:
    with socket.socket() as listening, Path("/etc/hostname").open("rb") as file:
        listening.bind(("127.0.0.1", 0))
        os.set_inheritable(listening.fileno(), True)
        os.set_inheritable(file.fileno(), True)
        runner = open_hosted(Path(neighbour._order.path), Plan("onnx"), LIMITS)
        assert isinstance(runner, HostRunner)
        try:
            kinds = [str(one.readlink()) for one in Path(f"/proc/{runner.pid}/fd").iterdir()]
            assert len([one for one in kinds if one.startswith("socket:")]) == 1
            assert not [one for one in kinds if one == "/etc/hostname"]
        finally:
            runner.close()


def test_a_server_that_is_killed_leaves_no_worker_behind(tmp_path: Path) -> None:
    identity(tmp_path / "good.onnx")
    program = f"""
import time
from pathlib import Path
from heliograph.runtimes.base import Plan
from heliograph.runtimes.host import open_hosted
runner = open_hosted(Path({str(tmp_path / "good.onnx")!r}), Plan("onnx"))
print(runner.pid, flush=True)
time.sleep(60)
"""
    server = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert server.stdout is not None
    worker = int(server.stdout.readline())
    assert Path(f"/proc/{worker}").exists()
    server.kill()
    server.wait()
    server.stdout.close()
    ends = time.monotonic() + 5
    while _runs(worker) and time.monotonic() < ends:
        time.sleep(0.01)
    assert not _runs(worker)


def _runs(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text("ascii")
    except OSError:
        return False
