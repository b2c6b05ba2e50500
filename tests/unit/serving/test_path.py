"""The path: every step timed, deadlines and hang-ups between steps, answers as files."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from PIL import Image

from heliograph.core.call import STEPS
from heliograph.core.errors import Code, HeliographError
from heliograph.runtimes.base import Plan
from heliograph.serving.values import Entry, Head
from support import models, pictures
from support.serving import House, gone, house, late


@pytest.fixture(scope="module")
def colour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    home = tmp_path_factory.mktemp("home")
    models.moody_package(home, "colour")
    models.slow_package(home, rounds=150)
    with house(home, "colour", "slow", plan=Plan("onnx", max_batch=2)) as wired:
        yield wired


@pytest.fixture(autouse=True)
def clean(colour: House) -> Iterator[None]:
    colour.kept.rows.clear()
    yield
    assert colour.seats.taken == 0


def refused(colour: House, entry: Entry, body: bytes | None = None) -> Code:
    with pytest.raises(HeliographError) as failed:
        colour.app.path.answer(entry, pictures.plain() if body is None else body)
    assert colour.kept.rows[-1].outcome == str(failed.value.code)
    return failed.value.code


def test_every_step_is_timed_and_the_steps_are_the_whole(colour: House) -> None:
    began = time.perf_counter()
    answer = colour.app.path.submit(colour.enter("slow"), pictures.plain()).result(20)
    spent = (time.perf_counter() - began) * 1000
    said = answer.timings.rounded()
    assert list(said) == [*STEPS, "total"]
    assert all(ms >= 0 for ms in said.values())
    assert sum(said[step] for step in STEPS) == pytest.approx(said["total"], abs=0.01)
    assert 0.5 * spent < said["total"] <= spent
    assert said["run"] > 0.5 * said["total"], "the slow model's time is booked on running it"
    (row,) = colour.kept.rows
    assert row.timings == said
    assert (row.id, row.outcome, row.pixels, row.batch) == (answer.id, "ok", 24 * 16, 1)


def test_waiting_for_an_instance_is_booked_as_batch_or_queue_not_as_run(colour: House) -> None:
    entry = colour.enter("slow")
    futures = [colour.app.path.submit(entry, pictures.plain()) for _ in range(5)]
    answers = [one.result(20).timings.rounded() for one in futures]
    alone = min(one["run"] for one in answers)
    last = max(answers, key=lambda one: one["total"])
    assert last["total"] > 2 * alone
    assert last["batch"] + last["queue"] > 0.4 * last["total"]
    assert {row.batch for row in colour.kept.rows} <= {1, 2}


def test_a_call_past_its_deadline_is_not_decoded(colour: House) -> None:
    assert refused(colour, late(colour.enter("colour"))) is Code.INFERENCE_TIMEOUT
    (row,) = colour.kept.rows
    assert (row.pixels, row.batch) == (0, 0)
    assert set(row.timings) == {"queue", "total"}


def test_a_call_whose_caller_has_gone_is_not_decoded(colour: House) -> None:
    assert refused(colour, gone(colour.enter("colour"))) is Code.REQUEST_TIMEOUT
    (row,) = colour.kept.rows
    assert (row.pixels, row.batch) == (0, 0)
    assert set(row.timings) == {"queue", "total"}


@pytest.mark.parametrize(
    ("answers", "steps"),
    [(1, {"queue", "decode"}), (2, {"queue", "decode"}), (3, {"queue", "decode", "batch", "run"})],
    ids=["after decoding", "in the lane", "after running"],
)
def test_a_caller_who_goes_on_the_way_stops_it_at_the_next_step(
    colour: House, answers: int, steps: set[str]
) -> None:
    patience = iter([True] * answers)
    entry = replace(colour.enter("colour"), alive=lambda: next(patience, False))
    assert refused(colour, entry) is Code.REQUEST_TIMEOUT
    (row,) = colour.kept.rows
    assert set(row.timings) == steps | {"total"}
    assert row.batch == (1 if "run" in steps else 0)


def test_a_deadline_that_passes_on_the_way_stops_it_there(colour: House) -> None:
    entry = replace(colour.enter("slow"), deadline=time.perf_counter() + 0.01)
    assert refused(colour, entry) is Code.INFERENCE_TIMEOUT
    (row,) = colour.kept.rows
    assert row.pixels == 24 * 16
    assert "run" in row.timings
    assert "finish" not in row.timings


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"no picture", Code.UNSUPPORTED_MEDIA),
        (pictures.noise()[:300], Code.IMAGE_CORRUPT),
        (pictures.plain((0, 0, 0)), Code.MODEL_CRASHED),
    ],
)
def test_a_failure_is_the_callers_own(colour: House, body: bytes, code: Code) -> None:
    good = colour.app.path.submit(colour.enter("colour"), pictures.plain(pictures.BLUE))
    bad = colour.app.path.submit(colour.enter("colour"), body)
    failed = bad.exception(20)
    assert isinstance(failed, HeliographError)
    assert failed.code is code
    assert good.result(20).result.predictions()[0]["label"] == "blue"


def test_a_crash_shows_the_caller_none_of_the_engines_words(colour: House) -> None:
    with pytest.raises(HeliographError) as failed:
        colour.app.path.answer(colour.enter("colour"), pictures.plain((0, 0, 0)))
    assert "Gather" not in failed.value.detail
    assert "Gather" in str(failed.value.__cause__), "the log has the reason"


@pytest.mark.parametrize(("form", "kind"), [("png", "PNG"), ("jpeg", "JPEG"), ("webp", "WEBP")])
def test_the_answer_may_be_the_picture_with_it_drawn_on(
    colour: House, form: str, kind: str
) -> None:
    entry = replace(colour.enter("colour"), form=form)
    answer = colour.app.path.answer(entry, pictures.plain(size=(320, 200), form="JPEG"))
    assert answer.drawn is not None
    with Image.open(io.BytesIO(answer.drawn.data)) as drawn:
        assert (drawn.format, drawn.size) == (kind, (320, 200))


def test_the_default_model_of_a_task_answers_for_it(colour: House) -> None:
    entry = colour.app.path.enter(Head(task="classification"))
    assert entry.model.name == "colour"
