"""scikit-learn: an estimator saved with skops becomes ONNX, by `skl2onnx` (the extra `trees`).

A pickle can run anything as it is read, so pickles and joblib files are refused: save the estimator
with `skops.io.dump`. Reading a skops file makes objects of the types that it names, so it is read
only if every one of them is scikit-learn's, numpy's or scipy's own, by skops's list.
"""

# scikit-learn, skops and skl2onnx ship no types, and are an extra.
# pyright: reportMissingImports=false, reportMissingTypeStubs=false

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

_OPSET, _ML_OPSET = 17, 3
_FAILS = (ValueError, TypeError, NameError, RuntimeError, NotImplementedError)
"""What skl2onnx raises where it has no converter, or one that fails."""

_TRUSTED = {
    "sklearn.tree._tree.Tree",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
}
"""scikit-learn's own, not on skops's list since hostile arrays in them could crash a prediction;
converting only reads them."""


def build(source: Path, target: Path) -> None:
    """Write the estimator as ONNX.

    Args:
        source: a `.skops` file with a fitted estimator.
        target: the `.onnx` file. Input `features` float32 [N, features]; a classifier answers
            `label` [N] and `probabilities` [N, classes], a regression `variable` [N, outputs].

    Raises:
        ValueError: the file is not of skops, names a type that is not trusted, or holds an
            estimator that skl2onnx does not convert.
    """
    save_estimator(_load(source), target)


def save_estimator(estimator: Any, target: Path) -> None:
    """Write a fitted estimator; raises `ValueError` as `build` does."""
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType

    count = getattr(estimator, "n_features_in_", None)
    if count is None:
        raise ValueError("the estimator is not fitted: it does not know its features")
    # ZipMap would make each row a map, which no tensor protocol can carry.
    options = {id(estimator): {"zipmap": False}} if hasattr(estimator, "predict_proba") else None
    try:
        model: Any = to_onnx(
            estimator,
            initial_types=[("features", FloatTensorType([None, count]))],
            options=options,
            target_opset={"": _OPSET, "ai.onnx.ml": _ML_OPSET},
        )
    except _FAILS as error:
        kind = type(estimator).__name__
        raise ValueError(f"{kind} cannot be converted to ONNX") from error
    target.write_bytes(model.SerializeToString(deterministic=True))


def _load(source: Path) -> Any:
    from skops.io import get_untrusted_types, load

    if not zipfile.is_zipfile(source):
        raise ValueError(
            f"{source.name} is not a skops file; pickles are refused: save with skops.io.dump"
        )
    named = set(get_untrusted_types(file=source))
    if strange := sorted(named - _TRUSTED):
        raise ValueError(f"{source.name} names the type {strange[0]!r:.80}, which is not trusted")
    return load(source, trusted=sorted(named))
