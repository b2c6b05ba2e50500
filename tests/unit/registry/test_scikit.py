"""scikit-learn by skops, and the libraries of trees themselves: what we make answers alike."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heliograph.registry.recipes import lightgbm, scikit, xgboost
from heliograph.runtimes.base import Plan
from heliograph.runtimes.engines import open_runner
from support.extras import need

pytestmark = [pytest.mark.engines, pytest.mark.filterwarnings("ignore")]
RNG = np.random.default_rng(0)
TABLE = RNG.standard_normal((400, 5)).astype(np.float32)
CLASSES = (TABLE[:, 0] > 0).astype(int) + (TABLE[:, 1] > 0.5)
AMOUNT = np.abs(TABLE[:, 0] * 2 + TABLE[:, 2]) + 0.1
HOLES = np.where(RNG.random(TABLE.shape) < 0.1, np.nan, TABLE)


def answer(path: Path, rows: Any) -> dict[str, Any]:
    return open_runner(path, Plan("onnx")).run({"features": rows})


@pytest.mark.parametrize(
    "name",
    [
        "ensemble.RandomForestClassifier",
        "ensemble.ExtraTreesClassifier",
        "ensemble.GradientBoostingClassifier",
        "tree.DecisionTreeClassifier",
        "linear_model.LogisticRegression",
    ],
)
def test_a_classifier_answers_as_scikit_learn_does(name: str, tmp_path: Path) -> None:
    need("skl2onnx")
    module, kind = name.split(".")
    made = getattr(need(f"sklearn.{module}"), kind)().fit(TABLE, CLASSES)
    need("skops.io").dump(made, tmp_path / "m.skops")
    scikit.build(tmp_path / "m.skops", tmp_path / "m.onnx")
    found = answer(tmp_path / "m.onnx", TABLE)
    np.testing.assert_allclose(found["probabilities"], made.predict_proba(TABLE), atol=1e-5)
    assert (found["label"] == made.predict(TABLE)).mean() > 0.995


def test_a_regression_answers_as_scikit_learn_does(tmp_path: Path) -> None:
    need("skl2onnx")
    made = need("sklearn.ensemble").GradientBoostingRegressor().fit(TABLE, AMOUNT)
    need("skops.io").dump(made, tmp_path / "m.skops")
    scikit.build(tmp_path / "m.skops", tmp_path / "m.onnx")
    (found,) = answer(tmp_path / "m.onnx", TABLE).values()
    np.testing.assert_allclose(found[:, 0], made.predict(TABLE), rtol=1e-4, atol=1e-5)


def test_a_pickle_is_refused_and_not_opened(tmp_path: Path) -> None:
    need("skops")
    mark = tmp_path / "pwned"

    class Bomb:
        def __reduce__(self) -> Any:
            return (Path.touch, (mark,))

    (tmp_path / "m.pkl").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match="pickles are refused"):
        scikit.build(tmp_path / "m.pkl", tmp_path / "m.onnx")
    assert not mark.exists()


def test_a_type_that_is_not_scikit_learns_is_refused(tmp_path: Path) -> None:
    made = need("sklearn.linear_model").LogisticRegression().fit(TABLE, CLASSES)
    need("skops.io").dump(made, tmp_path / "m.skops")
    with zipfile.ZipFile(tmp_path / "m.skops") as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    entries["schema.json"] = entries["schema.json"].replace(
        b'"__module__": "sklearn.linear_model._logistic"', b'"__module__": "evil"'
    )
    with zipfile.ZipFile(tmp_path / "m.skops", "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    with pytest.raises(ValueError, match="not trusted"):
        scikit.build(tmp_path / "m.skops", tmp_path / "m.onnx")


XGBOOST: list[tuple[dict[str, Any], Any]] = [
    ({"objective": "binary:logistic", "base_score": 0.2}, CLASSES > 0),
    ({"objective": "multi:softprob", "num_class": 3}, CLASSES),
    ({"objective": "multi:softprob", "num_class": 3, "booster": "dart", "rate_drop": 0.3}, CLASSES),
    ({"objective": "reg:squarederror", "num_parallel_tree": 3}, AMOUNT),
    ({"objective": "reg:quantileerror", "quantile_alpha": [0.1, 0.9]}, AMOUNT),
    ({"objective": "reg:squarederror"}, np.stack([AMOUNT, AMOUNT * 2], 1)),
    ({"objective": "binary:logistic"}, np.stack([CLASSES > 0, CLASSES > 1], 1)),
    ({"objective": "binary:logitraw"}, CLASSES > 0),
    ({"objective": "binary:hinge"}, CLASSES > 0),
    *(({"objective": one}, AMOUNT) for one in ("count:poisson", "reg:gamma", "reg:tweedie")),
]


@pytest.mark.parametrize(("options", "truth"), XGBOOST)
def test_xgboost_itself_answers_the_same(options: Any, truth: Any, tmp_path: Path) -> None:
    library = need("xgboost")
    made = library.train({"max_depth": 4, **options}, library.DMatrix(HOLES, truth), 20)
    made.save_model(tmp_path / "m.ubj")
    xgboost.build(tmp_path / "m.ubj", tmp_path / "m.onnx")
    expected = made.predict(library.DMatrix(HOLES))
    found = answer(tmp_path / "m.onnx", HOLES.astype(np.float32))
    given = found["probabilities"] if "probabilities" in found else found["prediction"]
    given = given[:, -1] if expected.ndim == 1 else given
    np.testing.assert_allclose(given, expected, rtol=1e-4, atol=1e-5)


LIGHTGBM: list[tuple[dict[str, Any], Any]] = [
    ({"objective": "binary", "sigmoid": 2.0}, CLASSES > 0),
    ({"objective": "binary", "boosting": "dart"}, CLASSES > 0),
    ({"objective": "multiclass", "num_class": 3}, CLASSES),
    ({"objective": "multiclassova", "num_class": 3}, CLASSES),
    ({"objective": "regression", "reg_sqrt": True}, AMOUNT),
    ({"objective": "cross_entropy_lambda"}, CLASSES > 0),
    ({"objective": "binary", "min_data_in_leaf": 300}, CLASSES > 0),
    *(({"objective": one}, AMOUNT) for one in ("poisson", "gamma", "quantile", "huber")),
]


@pytest.mark.parametrize(("options", "truth"), LIGHTGBM)
def test_lightgbm_itself_answers_the_same(options: Any, truth: Any, tmp_path: Path) -> None:
    library = need("lightgbm")
    rows = HOLES.astype(np.float64)
    made = library.train({"verbose": -1, **options}, library.Dataset(rows, truth), 20)
    made.save_model(tmp_path / "m.txt")
    lightgbm.build(tmp_path / "m.txt", tmp_path / "m.onnx")
    expected = made.predict(rows)
    found = answer(tmp_path / "m.onnx", rows)
    given = found["probabilities"] if "probabilities" in found else found["prediction"]
    given = given[:, -1] if expected.ndim == 1 else given
    np.testing.assert_allclose(given, expected, rtol=1e-12, atol=1e-13)


def test_categories_are_refused_by_name(tmp_path: Path) -> None:
    library = need("lightgbm")
    rows = np.stack([RNG.integers(0, 5, 400), TABLE[:, 0]], 1).astype(np.float64)
    set_ = library.Dataset(rows, rows[:, 0] % 2, categorical_feature=[0])
    library.train({"objective": "binary", "verbose": -1}, set_, 3).save_model(tmp_path / "m.txt")
    with pytest.raises(ValueError, match="categories"):
        lightgbm.build(tmp_path / "m.txt", tmp_path / "m.onnx")
    other = need("xgboost")
    data = other.DMatrix(rows, rows[:, 0] % 2, feature_types=["c", "q"], enable_categorical=True)
    made = other.train({"objective": "binary:logistic", "max_cat_to_onehot": 1}, data, 3)
    made.save_model(tmp_path / "m.json")
    with pytest.raises(ValueError, match="categories"):
        xgboost.build(tmp_path / "m.json", tmp_path / "m.onnx")
