"""Makes the small files in `tests/support/trees`: trees of XGBoost and LightGBM, and answers.

    python tests/support/make_trees.py

Needs the real libraries (`make test-engines` installs them); the files are committed, so that the
tests need none of them. `answers.json` holds for each file a few rows, with missing values, and
what the library itself predicts for them.
"""

# The libraries are extras: the types may be checked where they are not installed.
# pyright: reportMissingImports=false

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import xgboost

HERE = Path(__file__).parent / "trees"
FEATURES, ROUNDS = 4, 4


def data(rows: int = 400) -> tuple[Any, Any]:
    rng = np.random.default_rng(7)
    table = rng.standard_normal((rows, FEATURES)).astype(np.float32)
    table[rng.random(table.shape) < 0.1] = np.nan
    return table, np.nan_to_num(table)


def main() -> None:
    HERE.mkdir(exist_ok=True)
    table, full = data()
    binary = (full[:, 0] + full[:, 1] > 0).astype(int)
    several = (full[:, 0] > 0).astype(int) + (full[:, 1] > 0.3)
    amount = np.abs(full[:, 0] * 2 + full[:, 2]) + 0.1
    rows = table[:24]
    answers: dict[str, Any] = {"rows": [[_plain(one) for one in row] for row in rows.tolist()]}
    small = {"max_depth": 3, "eta": 0.5}
    boosters = {
        "xgb-binary.json": ({"objective": "binary:logistic"}, binary),
        "xgb-binary.ubj": ({"objective": "binary:logistic"}, binary),
        "xgb-classes.ubj": ({"objective": "multi:softprob", "num_class": 3}, several),
        "xgb-poisson.json": ({"objective": "count:poisson"}, amount),
        "xgb-dart.ubj": ({"booster": "dart", "rate_drop": 0.5, "seed": 1}, amount),
    }
    for name, (options, truth) in boosters.items():
        booster = xgboost.train({**small, **options}, xgboost.DMatrix(table, truth), ROUNDS)
        booster.save_model(HERE / name)
        answers[name] = booster.predict(xgboost.DMatrix(rows)).tolist()
    watched = [(xgboost.DMatrix(table[200:], amount[200:]), "rest")]
    early = xgboost.train(
        {"eta": 1.0}, xgboost.DMatrix(table[:200], amount[:200]), 40, watched,
        early_stopping_rounds=2, verbose_eval=False,
    )  # fmt: skip
    early.save_model(HERE / "xgb-early.ubj")
    best = (0, early.best_iteration + 1)
    answers["xgb-early.ubj"] = early.predict(xgboost.DMatrix(rows), iteration_range=best).tolist()
    answers["xgb-early.ubj rounds"] = [best[1], early.num_boosted_rounds()]
    _lightgbm(table, full, {"b": binary, "s": several, "a": amount}, rows, answers)
    (HERE / "answers.json").write_text(json.dumps(answers, indent=1) + "\n", "utf-8")


def _lightgbm(table: Any, full: Any, truths: dict[str, Any], rows: Any, answers: Any) -> None:
    small = {"num_leaves": 5, "verbose": -1, "seed": 1}
    forest = {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.7}
    kinds = {
        "lgb-binary.txt": ({"objective": "binary", "sigmoid": 2.0}, truths["b"], table),
        "lgb-classes.txt": ({"objective": "multiclass", "num_class": 3}, truths["s"], table),
        "lgb-gamma.txt": ({"objective": "gamma"}, truths["a"], table),
        "lgb-forest.txt": ({"objective": "regression", **forest}, truths["a"], table),
        # Trained without missing values: they count as 0 then.
        "lgb-full.txt": ({"objective": "regression"}, truths["a"], full),
    }
    for name, (options, truth, given) in kinds.items():
        set_ = lightgbm.Dataset(given.astype(np.float64), truth)
        booster = lightgbm.train({**small, **options}, set_, ROUNDS)
        booster.save_model(HERE / name)
        answers[name] = booster.predict(rows.astype(np.float64)).tolist()


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else value


if __name__ == "__main__":
    main()
