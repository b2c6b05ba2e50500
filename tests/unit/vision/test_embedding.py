"""The embedding task and the index: vectors, neighbours, a classifier of examples, recall."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from heliograph.core.errors import Code, HeliographError
from heliograph.vision.geometry import place
from heliograph.vision.index import Index
from heliograph.vision.picture import Size
from heliograph.vision.tasks.classification import Classes, ClassificationOptions
from heliograph.vision.tasks.embedding import (
    Embedding,
    EmbeddingOptions,
    Nearest,
    Vector,
    recall_at,
    restore,
)

PLACEMENT = place(Size(8, 8), Size(8, 8), "stretch")


def embed(decoder: Vector, values: NDArray[Any], **options: Any) -> Embedding:
    found = decoder.decode({"out": values}, PLACEMENT, (), EmbeddingOptions(**options))
    assert isinstance(found, Embedding)
    return found


def unit(*numbers: float) -> NDArray[np.float32]:
    vector = np.array(numbers, np.float64)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


@pytest.mark.parametrize(
    ("decoder", "values"),
    [
        (Vector(), np.array([3.0, 0.0, 4.0])),
        (Vector(), np.array([3, 0, 4], np.int32)),
        (Vector(), np.array([3.0, 0.0, 4.0], np.float16)[:, None, None]),
        (Vector(), np.array([[[3.0, 0.0, 4.0]]])),
        (Vector(output="out", pool="first"), np.array([[3.0, 0.0, 4.0], [9.0, 9.0, 9.0]])),
        (Vector(pool="mean"), np.array([[6.0, 0.0, 0.0], [0.0, 0.0, 8.0]])),
        (Vector(pool="area"), np.array([3.0, 0.0, 4.0])[:, None, None].repeat(5, 2)),
        (Vector(pool="area", layout="NHWC"), np.full((2, 3, 3), [3.0, 0.0, 4.0])),
    ],
)
def test_every_form_of_output_gives_the_same_unit_vector(
    decoder: Vector, values: NDArray[Any]
) -> None:
    vector = embed(decoder, values).vector
    assert vector.dtype == np.float32
    assert vector.tolist() == pytest.approx([0.6, 0.0, 0.8])


@pytest.mark.parametrize(
    ("decoder", "values"),
    [
        (Vector(), np.zeros(4)),
        (Vector(), np.array([1.0, np.nan])),
        (Vector(), np.array([1.0, np.inf])),
        (Vector(), np.ones((2, 3))),
        (Vector(), np.ones(0)),
        (Vector(pool="mean"), np.ones(4)),
        (Vector(pool="mean"), np.ones((0, 4))),
        (Vector(pool="area"), np.ones((4, 4))),
        (Vector(output="other"), np.ones(4)),
    ],
)
def test_what_is_no_direction_is_refused(decoder: Vector, values: NDArray[Any]) -> None:
    with pytest.raises(HeliographError) as caught:
        embed(decoder, values)
    assert caught.value.code is Code.BAD_SHAPE


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_the_very_numbers_survive_json(encoding: str) -> None:
    values = np.random.default_rng(0).normal(size=1280)
    found = embed(Vector(), values, encoding=encoding)
    told = msgspec.json.encode(found.predictions())
    assert len(told) < (18_000 if encoding == "float" else 7_000)
    back = restore(msgspec.json.decode(told))
    assert np.array_equal(back.vector, found.vector)
    assert back.predictions() == found.predictions()
    assert np.linalg.norm(found.vector) == pytest.approx(1, abs=1e-6)


def test_a_vector_is_told_on_the_picture() -> None:
    pixels = np.full((100, 300, 3), 90, np.uint8)
    assert (embed(Vector(), np.ones(3)).draw(pixels) != pixels).any()
    with pytest.raises(HeliographError):
        Embedding(np.ones((2, 2), np.float32))


def examples() -> Index:
    vectors = np.stack([unit(1, 0, 0), unit(0, 1, 0), unit(1, 1, 0), unit(-1, 0, 0), unit(1, 0, 0)])
    names = ("a/1.jpg", "b/1.jpg", "b/2.jpg", "c/1.jpg", "a/2.jpg")
    return Index(vectors, names, ("a", "b", "b", "c", "a"), "m", "sha256:0")


def test_neighbours_come_best_first_and_of_equals_the_earlier() -> None:
    found = examples().nearest(unit(1, 0, 0), 3)
    assert [(one.name, one.label) for one in found] == [
        ("a/1.jpg", "a"),
        ("a/2.jpg", "a"),
        ("b/2.jpg", "b"),
    ]
    assert [one.score for one in found] == pytest.approx([1, 1, 0.5**0.5])
    assert [one.row for one in examples().nearest(unit(1, 0, 0), 99)] == [0, 4, 2, 1, 3]
    with pytest.raises(HeliographError) as caught:
        examples().nearest(unit(1, 0), 3)
    assert caught.value.code is Code.BAD_SHAPE


def test_search_is_exact() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(500, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    names = tuple(map(str, range(500)))
    index = Index(vectors, names, names)
    for many in (1, 7, 499, 500):
        scores = vectors @ vectors[3]
        rows = [one.row for one in index.nearest(vectors[3], many)]
        assert rows == np.argsort(-scores, kind="stable")[:many].tolist()


def test_an_index_survives_its_file_which_holds_no_pickle(tmp_path: Path) -> None:
    path = tmp_path / "i.npz"
    examples().save(path)
    back = Index.load(path)
    assert np.array_equal(back.vectors, examples().vectors)
    assert (back.names, back.labels) == (examples().names, examples().labels)
    assert (back.model, back.digest) == ("m", "sha256:0")
    first = path.read_bytes()
    back.save(path)
    assert path.read_bytes() == first
    with zipfile.ZipFile(path) as archive:
        assert sorted(archive.namelist()) == ["about.npy", "vectors.npy"]


def test_a_file_that_is_no_index_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "i.npz"
    with pytest.raises(HeliographError) as caught:
        Index.load(path)
    assert caught.value.code is Code.NOT_FOUND
    path.write_bytes(b"not an archive")
    wrong = [path.read_bytes()]
    for arrays in (
        {"vectors": np.ones((1, 2), np.float32)},
        {"about": np.frombuffer(b"{}", np.uint8), "vectors": np.ones((1, 2), np.float32)},
        {"about": np.array([{}], object), "vectors": np.ones((1, 2), np.float32)},
    ):
        np.savez(path, **arrays)  # pyright: ignore[reportArgumentType]
        wrong.append(path.read_bytes())
    for data in wrong:
        path.write_bytes(data)
        with pytest.raises(HeliographError) as caught:
            Index.load(path)
        assert caught.value.code is Code.VALIDATION


def test_parts_that_do_not_fit_are_refused() -> None:
    vectors = np.ones((2, 3), np.float32)
    for wrong in (
        (vectors, ("a",), ("a",)),
        (vectors, ("a", "b"), ("a",)),
        (vectors.astype(np.float64), ("a", "b"), ("a", "b")),
        (vectors[0], ("a", "b", "c"), ("a", "b", "c")),
    ):
        with pytest.raises(HeliographError) as caught:
            Index(*wrong)  # pyright: ignore[reportArgumentType]
        assert caught.value.code is Code.BAD_SHAPE


def test_examples_make_a_classifier(tmp_path: Path) -> None:
    examples().save(tmp_path / "examples.npz")
    decoder = Nearest(index="examples.npz").opened(tmp_path)

    def ask(values: NDArray[np.float32], **options: Any) -> Classes:
        found = decoder.decode({"out": values}, PLACEMENT, (), ClassificationOptions(**options))
        assert isinstance(found, Classes)
        return found

    found = ask(np.array([2, 1, 0], np.float32))
    assert found.labels == ("b", "a", "c")
    assert found.class_ids == (1, 0, 2)
    assert found.scores == pytest.approx((3 / 10**0.5, 2 / 5**0.5, 0))
    assert ask(unit(1, 0, 0), top_k=1).labels == ("a",)
    assert ask(unit(1, 0, 0), min_score=0.5).labels == ("a", "b")
    with pytest.raises(HeliographError) as caught:
        Nearest(index="examples.npz").decode(
            {"out": unit(1, 0, 0)}, PLACEMENT, (), ClassificationOptions()
        )
    assert caught.value.code is Code.INTERNAL
    for path in ("../x.npz", "/x.npz", "a/x.npz", "", ".x"):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"decoder": "nearest", "index": path}, Nearest)


def test_recall_counts_pictures_with_a_neighbour_of_their_own_kind() -> None:
    index = examples()
    assert recall_at(index.vectors, index.labels, 1) == pytest.approx(3 / 5)
    assert recall_at(index.vectors, index.labels, 2) == pytest.approx(4 / 5)
    assert recall_at(index.vectors, index.labels, 99) == pytest.approx(4 / 5)
    assert recall_at(index.vectors[:1], index.labels[:1], 1) == 0
