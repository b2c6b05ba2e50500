"""Laws of a lane: a batch is never anybody's business but the machine's."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from heliograph.core.errors import Code, HeliographError
from heliograph.runtimes.base import Arrays, Plan, Tensor
from heliograph.runtimes.engines import open_runner
from heliograph.serving.batch import Item, Lane
from heliograph.serving.resident import Resident
from heliograph.serving.values import Entry
from support import models, pictures
from support.serving import House, gone, house, late

# A lane that hangs is the failure these laws look for; it must not hang the tests.
PATIENCE = 20.0
quick = settings(max_examples=60, deadline=None)


class Recorder:
    """A runner that remembers its batches; rows that begin with NaN make it fail."""

    inputs = (Tensor("x", "float32", (-1, -1)),)
    outputs = (Tensor("y", "float32", (-1, -1)),)
    platform = "recorder"

    def __init__(self, *, gate: threading.Event | None = None, seconds: float = 0.0) -> None:
        self.batches: list[NDArray[Any]] = []
        self.running = 0
        self.most_running = 0
        self._gate = gate
        self._seconds = seconds
        self._lock = threading.Lock()

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Arrays:
        x = feeds["x"]
        with self._lock:
            self.batches.append(x.copy())
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        try:
            if self._gate:
                assert self._gate.wait(PATIENCE)
            time.sleep(self._seconds)
            if np.isnan(x[:, 0]).any():
                raise RuntimeError("NaN")
            return {"y": answer_of(x), "sum": x.sum(axis=1)}
        finally:
            with self._lock:
                self.running -= 1

    def memory(self) -> int:
        return 0

    def close(self) -> None:
        self.closed = True

    @property
    def marks(self) -> list[list[int]]:
        """The numbers of the items of each batch: their last column."""
        return [[int(row[-1]) for row in batch] for batch in self.batches]


def answer_of(x: NDArray[Any]) -> NDArray[Any]:
    return np.sqrt(np.abs(x)) * 3 + 1


@dataclass(frozen=True)
class Sent:
    """An item to be: its place in the order, and what is the matter with it."""

    long: bool = False
    dead: bool = False
    bad: bool = False
    pause_ms: int = 0

    def tensor(self, number: int) -> NDArray[np.float32]:
        row = np.full(5 if self.long else 3, number, np.float32)
        row[0] = np.nan if self.bad else number * 0.37
        return row


sent = st.builds(
    Sent,
    long=st.booleans(),
    dead=st.sampled_from([False, False, False, True]),
    bad=st.sampled_from([False, False, False, True]),
    pause_ms=st.sampled_from([0, 0, 0, 1, 3]),
)
plans = st.builds(
    Plan,
    engine=st.just("recorder"),
    instances=st.integers(1, 3),
    max_batch=st.integers(2, 5),
    max_wait_ms=st.sampled_from([0.0, 1.0, 4.0]),
)


def check_of(one: Sent) -> Callable[[], None]:
    def check() -> None:
        if one.dead:
            raise HeliographError(Code.REQUEST_TIMEOUT, "The caller has gone.")

    return check


@contextmanager
def lane_of(runner: Any, plan: Plan) -> Generator[Lane]:
    lane = Lane(Resident.of(runner), plan, name="law")
    try:
        yield lane
    finally:
        lane.close()


@quick
@given(plans, st.lists(sent, min_size=1, max_size=20))
def test_every_item_gets_what_it_would_get_alone(plan: Plan, order: list[Sent]) -> None:
    recorder = Recorder(seconds=0.001)
    with lane_of(recorder, plan) as lane:
        futures: list[Future[Item]] = []
        for number, one in enumerate(order):
            time.sleep(one.pause_ms / 1000)
            futures.append(lane.submit(lane.run, Item.picture(one.tensor(number), check_of(one))))
        for number, (one, future) in enumerate(zip(order, futures, strict=True)):
            if one.dead or one.bad:
                with pytest.raises(HeliographError) as failed:
                    future.result(PATIENCE)
                wanted = Code.REQUEST_TIMEOUT if one.dead else Code.MODEL_CRASHED
                assert failed.value.code is wanted
                continue
            item = future.result(PATIENCE)
            assert item.arrays is not None
            tensor = one.tensor(number)
            np.testing.assert_array_equal(item.arrays["y"][0], answer_of(tensor), strict=True)
            assert item.arrays["sum"][0] == tensor.sum()
            assert 1 <= item.batch <= plan.max_batch
            assert item.ran_ms > 0

    ran = [mark for batch in recorder.marks for mark in batch]
    assert all(len(batch) <= plan.max_batch for batch in recorder.batches)
    assert recorder.most_running <= plan.instances
    assert not {number for number, one in enumerate(order) if one.dead} & set(ran)
    healthy = [number for number, one in enumerate(order) if not (one.dead or one.bad)]
    assert set(healthy) <= set(ran)
    assert lane._waiting == []
    assert lane._free == plan.instances


@quick
@given(
    st.integers(2, 5),
    st.lists(sent, min_size=1, max_size=12),
)
def test_batches_are_the_oldest_of_one_shape_in_order_of_arrival(
    max_batch: int, order: list[Sent]
) -> None:
    gate = threading.Event()
    recorder = Recorder(gate=gate)
    with lane_of(recorder, Plan("recorder", max_batch=max_batch)) as lane:
        # The first item keeps the only instance busy until all others stand in line.
        first = lane.submit(lane.run, Item.picture(np.array([0, -1], np.float32), check_of(Sent())))
        until(lambda: len(recorder.batches) == 1)
        futures: list[Future[Item]] = []
        whole = [Sent(one.long, one.dead) for one in order[: lane._hands._count - 1]]
        for number, one in enumerate(whole):
            futures.append(lane.submit(lane.run, Item.picture(one.tensor(number), check_of(one))))
            until(lambda: len(lane._waiting) == len(futures))
        gate.set()
        first.result(PATIENCE)
        for future in futures:
            future.exception(PATIENCE)
    assert recorder.marks == [[-1], *expected_batches(whole, max_batch)]


def expected_batches(order: list[Sent], max_batch: int) -> list[list[int]]:
    """What the law says: the oldest living one leads, others of its shape join in order."""
    line = [(number, one.long) for number, one in enumerate(order) if not one.dead]
    batches: list[list[int]] = []
    while line:
        batch = [number for number, long in line if long == line[0][1]][:max_batch]
        line = [one for one in line if one[0] not in batch]
        batches.append(batch)
    return batches


@pytest.fixture(scope="module")
def moody_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.fails_on_black(tmp_path_factory.mktemp("moody") / "model.onnx")


@quick
@given(
    max_batch=st.integers(2, 6),
    colours=st.lists(st.sampled_from(["red", "green", "blue", "black"]), min_size=1, max_size=12),
)
def test_a_real_engine_in_batches_answers_as_alone(
    moody_file: Path, max_batch: int, colours: list[str]
) -> None:
    reference = open_runner(moody_file, Plan("onnx"))
    runner = open_runner(moody_file, Plan("onnx"))
    pixels = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "black": (0, 0, 0)}
    tensors = [
        np.tile(np.array(pixels[one], np.float32)[:, None, None], (1, 8, 8)) for one in colours
    ]
    with lane_of(runner, Plan("onnx", max_batch=max_batch, max_wait_ms=2.0)) as lane:
        futures = [lane.submit(lane.run, Item.picture(one, check_of(Sent()))) for one in tensors]
        for colour, tensor, future in zip(colours, tensors, futures, strict=True):
            if colour == "black":
                failed = future.exception(PATIENCE)
                assert isinstance(failed, HeliographError)
                assert failed.code is Code.MODEL_CRASHED
                continue
            alone = reference.run({"images": tensor[None]})["scores"][0]
            arrays = future.result(PATIENCE).arrays
            assert arrays is not None
            np.testing.assert_array_equal(arrays["scores"][0], alone, strict=True)


def until(true: Callable[[], bool]) -> None:
    ends = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < ends, "this never came true"
        time.sleep(0.0002)


# --- conservation: one Usage a ticket, every seat given back ----------------------------------

BODIES = {
    "ok": pictures.plain(),
    "image_corrupt": pictures.noise()[:400],
    "unsupported_media": b"GIF is not what this is",
    "model_crashed": pictures.plain((0, 0, 0)),
    "inference_timeout": pictures.plain(),
    "request_timeout": pictures.plain(),
}
SPOIL: dict[str, Callable[[Entry], Entry]] = {"inference_timeout": late, "request_timeout": gone}


@pytest.fixture(
    scope="module",
    params=[Plan("onnx", instances=2), Plan("onnx", max_batch=4, max_wait_ms=2.0)],
    ids=["one by one", "in batches"],
)
def moody(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    home = tmp_path_factory.mktemp("home")
    models.moody_package(home)
    with house(home, "moody", plan=request.param, seats=8) as wired:
        yield wired


@dataclass
class Outcomes:
    wanted: list[str] = field(default_factory=list[str])
    futures: list[Future[Any]] = field(default_factory=list[Future[Any]])
    refusals: list[Code] = field(default_factory=list[Code])


@settings(max_examples=40, deadline=None)
@given(calls=st.lists(st.sampled_from(sorted(BODIES)), min_size=1, max_size=20))
def test_every_ticket_makes_one_usage_and_gives_its_seat_back(
    moody: House, calls: list[str]
) -> None:
    moody.kept.rows.clear()
    met = Outcomes()
    for wanted in calls:
        entry = SPOIL.get(wanted, lambda one: one)(moody.enter_unseated("moody"))
        try:
            met.futures.append(moody.app.path.submit(entry, BODIES[wanted]))
        except HeliographError as error:
            met.refusals.append(error.code)
        else:
            met.wanted.append(wanted)
    outcomes: list[str] = []
    for future in met.futures:
        error = future.exception(PATIENCE)
        assert error is None or isinstance(error, HeliographError)
        outcomes.append("ok" if error is None else str(error.code))
    assert outcomes == met.wanted
    assert sorted(row.outcome for row in moody.kept.rows) == sorted(met.wanted)
    assert (
        len({row.id for row in moody.kept.rows})
        == len(met.wanted)
        == len(calls) - len(met.refusals)
    )
    assert set(met.refusals) <= {Code.OVERLOADED}
    assert moody.seats.taken == 0


def test_calls_that_a_stop_leaves_in_the_line_pass_the_meter_too(tmp_path: Path) -> None:
    models.slow_package(tmp_path, rounds=400)
    with house(tmp_path, "slow", plan=Plan("onnx")) as wired:
        entry = wired.enter("slow")
        futures = [wired.app.path.submit(entry, pictures.plain()) for _ in range(6)]
        until(lambda: futures[0].running() or futures[0].done())
        wired.app.close()
        cancelled = sum(future.cancelled() for future in futures)
        assert cancelled
        outcomes = [row.outcome for row in wired.kept.rows]
        assert len(outcomes) == len(futures)
        assert outcomes.count("draining") == cancelled
        assert wired.seats.taken == 0
        with pytest.raises(HeliographError) as failed:
            wired.app.path.submit(entry, pictures.plain())
        assert failed.value.code is Code.DRAINING
        assert len(wired.kept.rows) == len(futures) + 1
        assert wired.seats.taken == 0


def test_a_call_that_runs_out_of_time_in_the_line_is_not_run() -> None:
    gate = threading.Event()
    recorder = Recorder(gate=gate)
    with lane_of(recorder, Plan("recorder", max_batch=2)) as lane:
        first = lane.submit(lane.run, Item.picture(np.zeros(2, np.float32), check_of(Sent())))
        until(lambda: len(recorder.batches) == 1)
        ends = time.monotonic() + 0.02

        def check() -> None:
            if time.monotonic() > ends:
                raise HeliographError(Code.INFERENCE_TIMEOUT, "The call ran past its deadline.")

        second = lane.submit(lane.run, Item.picture(np.zeros(2, np.float32), check))
        until(lambda: time.monotonic() > ends)
        gate.set()
        first.result(PATIENCE)
        failed = second.exception(PATIENCE)
    assert isinstance(failed, HeliographError)
    assert failed.code is Code.INFERENCE_TIMEOUT
    assert len(recorder.batches) == 1
