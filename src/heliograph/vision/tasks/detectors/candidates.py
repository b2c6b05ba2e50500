"""Candidates -> Detections: what every detector's decoder does last, and the small steps before.

A decoder finds the `strongest` scores first and computes boxes only for those, then `answer` drops
what is not a box, takes the rest back to the picture, suppresses overlaps and names the classes.

Covered: NaN and infinite numbers, boxes outside the picture or turned inside out, and any number of
candidates cost bounded work and never reach an answer. The steps run with NumPy's floating-point
warnings off (`quiet`), because such numbers are expected here and dropped by value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, NamedTuple, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from heliograph.core.errors import Code, HeliographError
from heliograph.vision.geometry import Placement
from heliograph.vision.nms import nms
from heliograph.vision.picture import Size
from heliograph.vision.tasks.base import Raw, label_of, output
from heliograph.vision.tasks.detection import DetectionOptions, Detections

Floats: TypeAlias = NDArray[np.float32]
Ids: TypeAlias = NDArray[np.int64]
Iou: TypeAlias = Annotated[float, msgspec.Meta(gt=0, le=1)]
FirstClass: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=1000)]

quiet = np.errstate(all="ignore")
"""Decorates each `decode`: see the module's text."""

_MOST = 4096
_THINNEST = 0.01


class Candidates(NamedTuple):
    """Boxes that may be objects.

    Attributes:
        corners: float32 [n, 4]: left, top, right, bottom in pixels of the model's input.
        scores: float32 [n], 0-1.
        class_ids: int64 [n]; negative ones are no class and dropped.
    """

    corners: Floats
    scores: Floats
    class_ids: Ids


def strongest(scores: Floats, min_score: float) -> NDArray[np.intp]:
    """Choose the scores worth a box.

    Args:
        scores: float32 [n]; NaN and infinity are never chosen.
        min_score: the least.

    Returns:
        intp [k], rising: the indices of at most 4096 scores.
    """
    found = np.flatnonzero(scores >= min_score)
    found = found[np.isfinite(scores[found])]
    if found.size > _MOST:
        # Bounds the work that a low `min_score` can ask for; 1000 is the most anybody gets.
        found = np.sort(found[np.argpartition(-scores[found], _MOST)[:_MOST]])
    return found


def answer(
    found: Candidates,
    placement: Placement,
    labels: Sequence[str],
    options: DetectionOptions,
    *,
    suppress: float | None = None,
) -> Detections:
    """Turn candidates into the answer.

    Args:
        found: in pixels of the model's input.
        placement: from there to the picture.
        labels: name of each class id.
        options: what the caller asked.
        suppress: the model's own IoU threshold for overlaps; None if it suppresses them itself.
            `options.iou` goes before it.
    """
    return chosen(found, placement, labels, options, suppress=suppress)[0]


def chosen(
    found: Candidates,
    placement: Placement,
    labels: Sequence[str],
    options: DetectionOptions,
    *,
    suppress: float | None = None,
) -> tuple[Detections, NDArray[np.intp]]:
    """The answer, as by `answer`, and which candidate each object was: intp [n]."""
    # Boxes are clipped before they compete, as the TensorFlow and torchvision references do.
    boxes = placement.boxes(found.corners)
    sides = boxes[:, 2:] - boxes[:, :2]
    real = np.isfinite(found.corners).all(axis=1) & (sides >= _THINNEST).all(axis=1)
    real &= np.isfinite(found.scores) & (found.scores >= options.min_score)
    real &= found.class_ids >= 0
    which = np.flatnonzero(real)
    boxes, class_ids = boxes[which], found.class_ids[which]
    scores = np.minimum(found.scores[which], 1)
    threshold = suppress if options.iou is None else options.iou
    if threshold is None:
        best = np.argsort(-scores, kind="stable")[: options.top_k]
    else:
        best = nms(boxes, scores, class_ids, iou_threshold=threshold, limit=options.top_k)
    names = tuple(label_of(labels, one) for one in class_ids[best].tolist())
    return Detections(boxes[best], scores[best], class_ids[best], names), which[best]


def rows(raw: Raw, name: str, columns: int) -> Floats:
    """Pick an output of [n, columns].

    Raises:
        HeliographError: `bad_shape`.
    """
    array = output(raw, name, 2)
    if array.shape[1] != columns:
        raise wrong(name, f"[n, {columns}]", array.shape)
    return array


def aligned(raw: Raw, name: str, many: int) -> Floats:
    """Pick an output of [n] with one value for each of `many` boxes.

    Raises:
        HeliographError: `bad_shape`.
    """
    array = output(raw, name, 1)
    if len(array) != many:
        raise wrong(name, f"[{many}]", array.shape)
    return array


def wrong(name: str, expected: str, shape: tuple[int, ...]) -> HeliographError:
    """Say that an output does not have the shape its decoder expects."""
    return HeliographError(
        Code.BAD_SHAPE, f"Output {name!r}: expected {expected} per picture, got {list(shape)}."
    )


def whole(values: Floats, first_class: int = 0) -> Ids:
    """Class ids that a model gives as floats to integers; -1 for background and non-numbers."""
    return np.where((values >= first_class) & (values < 1 << 24), values, -1).astype(np.int64)


def from_centres(boxes: Floats) -> Floats:
    """Centre x, centre y, width, height -> left, top, right, bottom; float32 [n, 4]."""
    corners = np.concatenate([boxes[:, :2], boxes[:, :2]], axis=1)
    half = boxes[:, 2:] / 2
    corners[:, :2] -= half
    corners[:, 2:] += half
    return corners


def scaled(corners: Floats, size: Size) -> Floats:
    """Left, top, right, bottom as fractions of the input -> its pixels; float32 [n, 4]."""
    return corners * np.array([size.width, size.height] * 2, np.float32)
