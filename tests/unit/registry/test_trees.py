"""Trees: models that XGBoost and LightGBM saved answer as ONNX what those libraries answer."""

# What JSON holds is of no type.
# pyright: reportUnknownLambdaType=false, reportUnknownParameterType=false

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from heliograph.registry.recipes import lightgbm, ubjson, xgboost
from heliograph.registry.recipes.trees import Forest, Tree, save_onnx
from heliograph.runtimes.base import Plan, Tensor
from heliograph.runtimes.engines import open_runner

FILES = Path(__file__).parents[2] / "support" / "trees"
ANSWERS: dict[str, Any] = json.loads((FILES / "answers.json").read_text("utf-8"))
ROWS = np.array(ANSWERS["rows"], np.float64)
XGB = sorted(one.name for one in FILES.glob("xgb-*"))
LGB = sorted(one.name for one in FILES.glob("lgb-*"))


def answer(path: Path, rows: NDArray[Any]) -> dict[str, NDArray[Any]]:
    runner = open_runner(path, Plan("onnx"))
    try:
        return runner.run({"features": rows})
    finally:
        runner.close()


def as_the_library(found: dict[str, NDArray[Any]], expected: NDArray[Any]) -> NDArray[Any]:
    """Our answer in the library's own shape: one column for two classes and for one target."""
    given = found["probabilities"] if "probabilities" in found else found["prediction"]
    return given[:, -1] if expected.ndim == 1 else given


@pytest.mark.parametrize("name", XGB)
def test_xgboost_answers_the_same(name: str, tmp_path: Path) -> None:
    xgboost.build(FILES / name, tmp_path / "model.onnx")
    found = answer(tmp_path / "model.onnx", ROWS.astype(np.float32))
    expected = np.array(ANSWERS[name])
    np.testing.assert_allclose(as_the_library(found, expected), expected, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("name", LGB)
def test_lightgbm_answers_the_same(name: str, tmp_path: Path) -> None:
    lightgbm.build(FILES / name, tmp_path / "model.onnx")
    found = answer(tmp_path / "model.onnx", ROWS)
    expected = np.array(ANSWERS[name])
    np.testing.assert_allclose(as_the_library(found, expected), expected, rtol=1e-12, atol=1e-14)


def test_the_files_cover_missing_values_and_several_classes() -> None:
    assert np.isnan(ROWS).any()
    assert len(XGB) >= 6
    assert len(LGB) >= 5
    assert any(np.array(ANSWERS[name]).ndim == 2 for name in XGB)


def test_a_classifier_gives_probabilities_and_the_label(tmp_path: Path) -> None:
    lightgbm.build(FILES / "lgb-binary.txt", tmp_path / "model.onnx")
    runner = open_runner(tmp_path / "model.onnx", Plan("onnx"))
    assert runner.inputs == (Tensor("features", "float64", (-1, 4)),)
    assert runner.outputs == (
        Tensor("probabilities", "float64", (-1, 2)),
        Tensor("label", "int64", (-1,)),
    )
    found = runner.run({"features": ROWS})
    np.testing.assert_allclose(found["probabilities"].sum(1), 1.0)
    np.testing.assert_array_equal(found["label"], found["probabilities"].argmax(1))


def test_rounds_after_the_best_one_do_not_count() -> None:
    forest = xgboost.read_forest((FILES / "xgb-early.ubj").read_bytes(), "xgb-early.ubj")
    kept, trained = ANSWERS["xgb-early.ubj rounds"]
    assert kept < trained, "the fixture stopped early"
    assert len(forest.trees) == kept


def test_json_and_ubjson_of_one_model_are_one_forest() -> None:
    json_, ubj = (
        xgboost.read_forest((FILES / name).read_bytes(), name)
        for name in ("xgb-binary.json", "xgb-binary.ubj")
    )
    assert np.array_equal(np.array(json_.base, np.float32), np.array(ubj.base, np.float32))
    for one, other in zip(json_.trees, ubj.trees, strict=True):
        assert (one.features, one.left, one.right) == (other.features, other.left, other.right)
        np.testing.assert_array_equal(np.array(one.splits, "f"), np.array(other.splits, "f"))
        np.testing.assert_array_equal(np.array(one.leaves, "f"), np.array(other.leaves, "f"))


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.onnx", "b.onnx"):
        xgboost.build(FILES / "xgb-dart.ubj", tmp_path / name)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def spoil(change: Callable[[Any], None]) -> bytes:
    said = json.loads((FILES / "xgb-binary.json").read_bytes())
    change(said["learner"])
    return json.dumps(said).encode()


def tree_of(learner: Any) -> Any:
    return learner["gradient_booster"]["model"]["trees"][0]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda one: tree_of(one)["split_type"].__setitem__(0, 1), "categories"),
        (lambda one: tree_of(one)["tree_param"].update(size_leaf_vector="3"), "vectors"),
        (lambda one: one["gradient_booster"].update(name="gblinear"), "'gblinear'"),
        (lambda one: one["objective"].update(name="mine"), "'mine'"),
        (lambda one: tree_of(one)["left_children"].__setitem__(1, 0), "not a tree"),
        (lambda one: one.pop("gradient_booster"), "not a model"),
    ],
)
def test_what_xgboost_may_say_and_we_do_not_serve_is_refused_by_name(
    change: Callable[[Any], None], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        xgboost.read_forest(spoil(change), "model.json")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("num_cat=0", "num_cat=1", "categories"),
        ("is_linear=0", "is_linear=1", "linear"),
        ("objective=binary", "objective=mine", "'mine'"),
        ("version=", "wersion=", "not a model"),
        ("decision_type=", "decision_type=9 ", "categories|longer|shorter"),
    ],
)
def test_what_lightgbm_may_say_and_we_do_not_serve_is_refused_by_name(
    old: str, new: str, says: str
) -> None:
    text = (FILES / "lgb-binary.txt").read_text("utf-8")
    assert old in text
    with pytest.raises(ValueError, match=says):
        lightgbm.read_forest(text.replace(old, new), "model.txt")


def test_zeros_that_go_another_way_than_their_size_are_refused() -> None:
    text = (FILES / "lgb-full.txt").read_text("utf-8")
    # Bits 2-3 = 1: zero is missing; bit 1 = 0: missing goes right, though 0 <= 0.5 goes left.
    section = text.index("Tree=0")
    start = text.index("threshold=", section)
    end = text.index("left_child=", start)
    count = len(text[start : text.index("\n", start)].split())
    broken = f"threshold={' '.join(['0.5'] * count)}\ndecision_type={' '.join(['4'] * count)}\n"
    with pytest.raises(ValueError, match="zeros"):
        lightgbm.read_forest(text[:start] + broken + text[end:], "model.txt")


LEAF = Tree([], [], [], [], [], [0.25])
STUMP = Tree([1], [0.5], [~0], [~1], [True], [1.0, 2.0])
FOREST = Forest([LEAF, STUMP], 2, [0.5], "<", "float32", "regression", "identity")


def test_a_tree_of_one_leaf_and_a_stump_add_up(tmp_path: Path) -> None:
    save_onnx(FOREST, tmp_path / "model.onnx")
    rows = np.array([[9, 0.4], [9, 0.5], [9, np.nan]], np.float32)
    found = answer(tmp_path / "model.onnx", rows)["prediction"]
    assert found.tolist() == [[1.75], [2.75], [1.75]]


@pytest.mark.parametrize(
    "broken",
    [
        replace(STUMP, left=[0]),
        replace(STUMP, left=[~1]),
        replace(STUMP, leaves=[1.0]),
        replace(STUMP, features=[2]),
        replace(STUMP, features=[-1]),
        replace(STUMP, target=1),
        replace(STUMP, splits=[]),
        Tree([0, 0], [0, 0], [~0, 1], [~1, ~2], [True, True], [1, 2, 3]),
    ],
)
def test_what_is_no_tree_is_not_written(broken: Tree, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="tree 0"):
        save_onnx(replace(FOREST, trees=[broken]), tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12
)


def dumps(value: Any) -> bytes:
    """UBJSON of a value, written plainly; XGBoost's typed and counted arrays for lists of ints."""
    match value:
        case None:
            return b"Z"
        case bool():
            return b"T" if value else b"F"
        case int():
            return b"L" + value.to_bytes(8, "big", signed=True)
        case float():
            return b"D" + np.array(value, ">f8").tobytes()
        case str():
            return b"S" + text(value)
        case list() if value and all(type(one) is int for one in value):
            return b"[$L#" + length(len(value)) + np.array(value, ">i8").tobytes()
        case list():
            return b"[" + b"".join(map(dumps, value)) + b"]"
        case _:
            pairs = (text(name) + dumps(one) for name, one in value.items())
            return b"{" + b"".join(pairs) + b"}"


def length(count: int) -> bytes:
    return b"L" + count.to_bytes(8, "big")


def text(value: str) -> bytes:
    return length(len(value.encode())) + value.encode()


@given(VALUES)
def test_ubjson_reads_what_was_written(value: Any) -> None:
    np.testing.assert_equal(ubjson.loads(dumps(value)), value)


@given(VALUES, st.data())
def test_ubjson_that_ends_early_is_an_error_never_a_crash(value: Any, data: st.DataObject) -> None:
    whole = dumps(value)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    with pytest.raises(ValueError, match="UBJSON"):
        ubjson.loads(cut)


@given(st.binary(max_size=200))
def test_any_bytes_are_ubjson_or_a_value_error(data: bytes) -> None:
    try:
        ubjson.loads(data)
    except ValueError:
        return


@pytest.mark.parametrize(
    "bomb",
    [
        b"[$L#L\x00\x00\x7f\xff\xff\xff\xff\xff",
        b"[$Z#L\x00\x00\x00\x00\x7f\xff\xff\xff",
        b"[#L\x00\x00\x00\x00\x7f\xff\xff\xff",
        b"[" * 100_000,
        b"SL\x7f\xff\xff\xff\xff\xff\xff\xff",
        b"Sl\xff\xff\xff\xff",
    ],
)
def test_ubjson_that_counts_to_the_sky_is_refused(bomb: bytes) -> None:
    with pytest.raises(ValueError, match="UBJSON"):
        ubjson.loads(bomb)
