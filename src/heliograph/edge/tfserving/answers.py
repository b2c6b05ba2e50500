"""A model's outputs -> classes with scores, or one number a row: for classify and regress."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heliograph.core.errors import Code, HeliographError
from heliograph.edge.tfserving.replies import shortest
from heliograph.edge.tfserving.signatures import CLASSIFY, PREDICT, REGRESS
from heliograph.serving.values import Model
from heliograph.vision.geometry import place
from heliograph.vision.picture import Size
from heliograph.vision.tasks.classification import Classes, ClassificationOptions

Classified = list[list[tuple[str, float]]]
"""For each row all classes, by class id: label and score."""

_EVERY = ClassificationOptions(top_k=1 << 30, min_score=-np.inf)
_NOWHERE = place(Size(1, 1), Size(1, 1), "stretch")
_NAMES = {"classes", "scores"}


def check_classifies(model: Model) -> None:
    """Refuse a model that has no classes.

    Raises:
        HeliographError: `validation`.
    """
    outputs = {one.name for one in model.signature.outputs}
    if not (_is_classifier(model) or (outputs and outputs <= _NAMES)):
        raise _other_method("classification", CLASSIFY)


def check_regresses(model: Model) -> None:
    """Refuse a model that does not answer with one floating-point number a row.

    Raises:
        HeliographError: `validation`.
    """
    outputs = model.signature.outputs
    if len(outputs) != 1 or not outputs[0].dtype.startswith("float"):
        raise _other_method("regression", REGRESS)
    if len(outputs[0].shape) > 2 or outputs[0].shape[1:] not in {(), (1,), (-1,)}:
        raise _other_method("regression", REGRESS)


def _other_method(kind: str, method: str) -> HeliographError:
    return HeliographError(
        Code.VALIDATION,
        f"Expected {kind} signature method_name to be {method}. Was: {PREDICT}",
    )


def _is_classifier(model: Model) -> bool:
    return model.task is not None and model.task.name == "classification"


def classify(model: Model, arrays: Mapping[str, NDArray[Any]]) -> Classified:
    """The classes of each row.

    Args:
        model: one that `check_classifies` lets pass.
        arrays: its outputs, with the batch axis.

    Raises:
        HeliographError: `bad_shape`; the outputs are not what they should be.
    """
    if _is_classifier(model):
        rows = len(next(iter(arrays.values())))
        return [
            _decoded(model, {name: one[row] for name, one in arrays.items()}) for row in range(rows)
        ]
    shapes = {one.shape for one in arrays.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 2:
        raise HeliographError(
            Code.BAD_SHAPE,
            "Expected Tensor shape: [batch_size num_classes] of classes and scores; got "
            f"{', '.join(str(list(one)) for one in sorted(shapes))}.",
        )
    rows, count = next(iter(shapes))
    labels = arrays.get("classes", np.full((rows, count), b"", object))
    scores = arrays.get("scores", np.zeros((rows, count), np.float32))
    return [
        [(_text(label), score) for label, score in zip(*pair, strict=True)]
        for pair in zip(labels.tolist(), _short(scores).tolist(), strict=True)
    ]


def _decoded(model: Model, raw: dict[str, NDArray[Any]]) -> list[tuple[str, float]]:
    if model.decoder is None:
        raise AssertionError("a classifier without a decoder; this is a bug")
    found = model.decoder.decode(raw, _NOWHERE, model.labels, _EVERY)
    if not isinstance(found, Classes):
        raise HeliographError(Code.MODEL_INVALID, "This model's answers are no classes.")
    order = np.argsort(found.class_ids)
    scores = _short(np.array(found.scores, np.float32))[order].tolist()
    return [(found.labels[at], score) for at, score in zip(order.tolist(), scores, strict=True)]


def regress(arrays: Mapping[str, NDArray[Any]]) -> list[float]:
    """The number of each row.

    Args:
        arrays: the outputs of a model that `check_regresses` lets pass.

    Raises:
        HeliographError: `bad_shape`; a row has several.
    """
    array = next(iter(arrays.values()))
    if array.ndim == 0 or array.size != len(array):
        raise HeliographError(
            Code.BAD_SHAPE,
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
            f"{list(array.shape)}.",
        )
    return _short(array.reshape(-1)).tolist()


def results(found: Classified | list[float]) -> bytes:
    """The body of a `:classify` or `:regress` answer; numbers that are none are written bare."""
    return json.dumps({"results": found}, separators=(",", ":"), ensure_ascii=False).encode()


def _short(array: NDArray[Any]) -> NDArray[Any]:
    return shortest(array) if array.dtype.name in {"float16", "float32"} else array


def _text(label: Any) -> str:
    return label.decode("utf-8", "replace") if isinstance(label, bytes) else str(label)
