"""Tensor calls: what is taken, what is refused with which words, and files where tensors go."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from heliograph.core.errors import Code, HeliographError
from heliograph.runtimes.base import Arrays, Plan
from heliograph.serving.values import Head, Tensors
from support import models, pictures
from support.serving import House, house

Feeds = dict[str, NDArray[Any]]


def plain_package(home: Path, name: str, *shape: int | str) -> None:
    """A model of plain tensors: `y` = `x`, float32."""
    folder = home / "models" / name
    folder.mkdir(parents=True)
    digest = hashlib.sha256(models.identity(folder / "model.onnx", *shape).read_bytes()).hexdigest()
    table = models.card(
        name,
        task="tensors",
        input=None,
        output=None,
        labels=None,
        weights={"file": "model.onnx", "sha256": digest},
    )
    models.write_card(folder, table)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    home = tmp_path_factory.mktemp("home")
    models.colour_package(home)
    plain_package(home, "plain")
    plain_package(home, "fixed", 2, 3)
    with house(home, "colour", "plain", "fixed", plan=Plan("onnx", max_batch=4)) as wired:
        yield wired
    assert wired.seats.taken == 0


def infer(served: House, model: str, feeds: Feeds) -> Tensors:
    entry = served.app.path.enter(Head(model=model, tensors=True))
    return served.app.path.submit_tensors(entry, feeds, 100).result(20)


def refused(served: House, model: str, feeds: Feeds) -> HeliographError:
    with pytest.raises(HeliographError) as failed:
        infer(served, model, feeds)
    assert served.kept.rows[-1].outcome == str(failed.value.code)
    return failed.value


def outputs(found: Tensors) -> Arrays:
    return found.arrays


def files(*bodies: bytes, shape: tuple[int, ...] | None = None) -> NDArray[Any]:
    made = np.empty(len(bodies), object)
    made[:] = bodies
    return made.reshape(shape or (len(bodies),))


def test_tensors_come_back_with_every_row_and_who_answered(served: House) -> None:
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    found = infer(served, "plain", {"x": x})
    np.testing.assert_array_equal(outputs(found)["y"], x)
    assert (found.model, found.version, found.batch) == ("plain", "1", 3)
    assert served.kept.rows[-1].rows == 3
    assert set(found.timings.rounded()) >= {"queue", "decode", "run", "total"}


def test_no_rows_are_rows_too(served: House) -> None:
    found = infer(served, "plain", {"x": np.zeros((0, 4), np.float32)})
    assert outputs(found)["y"].shape == (0, 4)


def test_a_model_whose_first_axis_is_no_batch_runs_alone(served: House) -> None:
    x = np.ones((2, 3), np.float32)
    found = infer(served, "fixed", {"x": x})
    np.testing.assert_array_equal(outputs(found)["y"], x)
    assert refused(served, "fixed", {"x": x[:1]}).code is Code.BAD_SHAPE


@pytest.mark.parametrize(
    ("feeds", "code", "says"),
    [
        ({}, Code.BAD_SHAPE, "expected 1 inputs but got 0 inputs"),
        (
            {"x": np.ones((1, 4), np.float32), "z": np.ones(1, np.float32)},
            Code.UNKNOWN_FIELD,
            "unexpected inference input 'z'",
        ),
        ({"x": np.ones((1, 4))}, Code.BAD_SHAPE, "Expected float32, got float64"),
        ({"x": np.ones((1, 5), np.float32)}, Code.BAD_SHAPE, "Expected [-1,4], got [1,5]"),
        ({"x": np.ones(4, np.float32)}, Code.BAD_SHAPE, "Expected [-1,4], got [4]"),
        ({"x": np.array(1, np.float32)}, Code.BAD_SHAPE, "Expected [-1,4], got []"),
        ({"x": files(b"abcd")}, Code.BAD_SHAPE, "Expected float32, got object"),
    ],
)
def test_what_does_not_fit_is_told_with_what_would(
    served: House, feeds: Feeds, code: Code, says: str
) -> None:
    error = refused(served, "plain", feeds)
    assert error.code is code
    assert says in error.detail


@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_files_go_where_a_pictures_tensor_is_wanted(served: House, shape: tuple[int, ...]) -> None:
    sent = files(pictures.plain(pictures.RED), pictures.plain(pictures.BLUE), shape=shape)
    scores = outputs(infer(served, "colour", {"images": sent}))["scores"]
    assert scores.argmax(axis=1).tolist() == [0, 2]


def test_a_file_and_its_tensor_are_answered_alike(served: House) -> None:
    red = np.zeros((1, 3, models.SIDE, models.SIDE), np.float32)
    red[:, 0] = 1.0
    as_tensor = outputs(infer(served, "colour", {"images": red}))["scores"]
    as_file = outputs(infer(served, "colour", {"images": files(pictures.plain(pictures.RED))}))
    np.testing.assert_allclose(as_tensor, as_file["scores"], atol=1e-3)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (files(b"no picture"), Code.UNSUPPORTED_MEDIA),
        (files(pictures.plain(), pictures.noise()[:300]), Code.IMAGE_CORRUPT),
        (files(pictures.plain(), pictures.plain(), shape=(1, 2)), Code.BAD_SHAPE),
        (np.empty(0, object), Code.BAD_SHAPE),
    ],
)
def test_files_that_are_none_are_refused(served: House, sent: NDArray[Any], code: Code) -> None:
    assert refused(served, "colour", {"images": sent}).code is code


def test_a_model_of_tensors_takes_no_picture_and_says_where_tensors_go(served: House) -> None:
    with pytest.raises(HeliographError) as failed:
        served.app.path.enter(Head(model="plain"))
    assert failed.value.code is Code.UNSUPPORTED
    assert "/v2/models/plain/infer" in failed.value.detail
    with pytest.raises(HeliographError) as failed:
        served.app.path.enter(Head(model="plain", tensors=True, options={"top_k": "3"}))
    assert failed.value.code is Code.UNKNOWN_FIELD
