"""Whether two answers say the same: what a shadow version is judged by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heliograph.vision.nms import iou

_SURE = 0.5
_OVERLAP = 0.5


def same_arrays(ours: Mapping[str, NDArray[Any]], theirs: Mapping[str, NDArray[Any]]) -> bool:
    """Whether two answers of tensors agree: names, shapes, and values to a hundredth."""
    return ours.keys() == theirs.keys() and all(
        _close(array, theirs[name]) for name, array in ours.items()
    )


def _close(one: NDArray[Any], other: NDArray[Any]) -> bool:
    if one.shape != other.shape or one.dtype.kind != other.dtype.kind:
        return False
    if one.dtype.kind in "fc":
        return bool(np.allclose(one, other, rtol=1e-2, atol=1e-3, equal_nan=True))
    return bool(np.array_equal(one, other))


def same_predictions(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> bool:
    """Whether two answers about a picture agree, as far as anybody would act on them.

    With boxes: every sure thing (score from 0.5) of either has one of the same label in the other
    at IoU from 0.5. Otherwise: the best prediction has the same label.
    """
    if any("box" in one for one in (*ours, *theirs)):
        return _covers(ours, theirs) and _covers(theirs, ours)
    return [one.get("label") for one in ours[:1]] == [one.get("label") for one in theirs[:1]]


def _covers(some: list[dict[str, Any]], others: list[dict[str, Any]]) -> bool:
    """Whether every sure thing of `some` is among `others`."""
    for one in some:
        if one.get("score", 1.0) < _SURE:
            continue
        same = [two for two in others if two.get("label") == one.get("label")]
        if not same or iou(_corners([one]), _corners(same)).max() < _OVERLAP:
            return False
    return True


def _corners(things: list[dict[str, Any]]) -> NDArray[np.float32]:
    boxes = [one.get("box", {"x": 0, "y": 0, "width": 0, "height": 0}) for one in things]
    return np.array(
        [[b["x"], b["y"], b["x"] + b["width"], b["y"] + b["height"]] for b in boxes], np.float32
    )
