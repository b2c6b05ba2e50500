"""Detection: what a picture shows, and where.

Here are the result, the options and the score; how raw outputs of each family of models become the
result is in `tasks/detectors/`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from heliograph.core.errors import Code, HeliographError
from heliograph.vision import draw
from heliograph.vision.nms import iou
from heliograph.vision.picture import Pixels
from heliograph.vision.tasks.base import Options, Task


class DetectionOptions(Options, frozen=True):
    """What a caller may ask.

    Attributes:
        top_k: at most this many objects, best first.
        min_score: only objects with at least this score, 0-1.
        iou: of two boxes of one class that overlap by more than this intersection over union, 0-1,
            only the better stays; None: as the model was published (its decoder's own `iou`).
    """

    top_k: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100
    min_score: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.5
    iou: Annotated[float, msgspec.Meta(gt=0, le=1)] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """Objects of one picture, best first.

    Attributes:
        boxes: float32 [n, 4]: left, top, right, bottom in pixels of the upright picture, within it.
        scores: float32 [n], 0-1.
        class_ids: int64 [n].
        labels: n names.

    Raises:
        HeliographError: `bad_shape` if the parts do not fit together.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        """Hold each part against the number of labels."""
        many = len(self.labels)
        _expect("boxes", self.boxes, "float32", (many, 4))
        _expect("scores", self.scores, "float32", (many,))
        _expect("class_ids", self.class_ids, "int64", (many,))

    def predictions(self) -> list[dict[str, Any]]:
        """`[{"label", "score", "class_id", "box": {"x", "y", "width", "height"}}]`, best first.

        Boxes in pixels, to two decimals.
        """
        return [
            {"label": label, "score": round(score, 6), "class_id": class_id, "box": box_of(corners)}
            for label, score, class_id, corners in zip(
                self.labels,
                self.scores.tolist(),
                self.class_ids.tolist(),
                self.boxes.tolist(),
                strict=True,
            )
        ]

    def draw(self, pixels: Pixels) -> Pixels:
        """Draw each box with its label and score."""
        texts = [
            f"{label} {score:.0%}"
            for label, score in zip(self.labels, self.scores.tolist(), strict=True)
        ]
        return draw.boxes(pixels, self.boxes, texts, self.class_ids.tolist())


def box_of(corners: Sequence[float]) -> dict[str, float]:
    """Left, top, right, bottom to `{"x", "y", "width", "height"}`, to two decimals."""
    # The corners are rounded, not the sides: a box that ends at the picture's edge still does.
    left, top, right, bottom = (round(side, 2) for side in corners)
    return {"x": left, "y": top, "width": round(right - left, 2), "height": round(bottom - top, 2)}


def corners_of(box: dict[str, Any]) -> tuple[float, float, float, float]:
    """`{"x", "y", "width", "height"}` to left, top, right, bottom."""
    left, top = float(box["x"]), float(box["y"])
    return left, top, left + float(box["width"]), top + float(box["height"])


def restore(predictions: list[dict[str, Any]]) -> Detections:
    """Read `Detections` back from its JSON form."""
    corners = [corners_of(one["box"]) for one in predictions]
    return Detections(
        np.array(corners, np.float32).reshape(-1, 4),
        np.array([one["score"] for one in predictions], np.float32),
        np.array([one["class_id"] for one in predictions], np.int64),
        tuple(str(one["label"]) for one in predictions),
    )


def _expect(name: str, array: NDArray[Any], dtype: str, shape: tuple[int, ...]) -> None:
    if array.shape != shape or array.dtype != np.dtype(dtype):
        raise HeliographError(
            Code.BAD_SHAPE,
            f"Detections.{name}: expected {dtype} {list(shape)}, "
            f"got {array.dtype} {list(array.shape)}.",
        )


class Truth(NamedTuple):
    """What one picture really shows.

    Attributes:
        boxes: float32 [n, 4]: left, top, right, bottom in pixels of the upright picture.
        class_ids: int64 [n].
    """

    boxes: NDArray[np.float32]
    class_ids: NDArray[np.int64]


class Precision(NamedTuple):
    """Mean average precision over classes, 0-1.

    Attributes:
        ap: averaged over the IoU thresholds 0.50, 0.55 ... 0.95.
        ap50: at the IoU threshold 0.50.
    """

    ap: float
    ap50: float


_THRESHOLDS = np.linspace(0.5, 0.95, 10)
_RECALLS = np.linspace(0.0, 1.0, 101)
_MOST_PER_PICTURE = 100


def average_precision(answers: Sequence[Detections], truth: Sequence[Truth]) -> Precision:
    """Score answers as the COCO evaluation does.

    Source: `pycocotools/cocoeval.py` (`evaluateImg`, `accumulate`), boxes of all sizes, at most 100
    per picture and class, precision interpolated at 101 recalls. Not covered: crowd regions and
    the small, medium and large splits.

    Args:
        answers: one per picture, asked with a low `min_score`: what is left out counts as missed.
        truth: one per picture, in the same order.

    Returns:
        The mean over the classes that occur in `truth`; 0 if there is none.
    """
    pictures = list(zip(answers, truth, strict=True))
    classes = sorted({int(one) for _, true in pictures for one in true.class_ids})
    if not classes:
        return Precision(0.0, 0.0)
    table = np.array([_of_class(pictures, one) for one in classes])
    return Precision(float(table.mean()), float(table[:, 0].mean()))


def _of_class(pictures: list[tuple[Detections, Truth]], class_id: int) -> NDArray[np.float64]:
    """Average precision of one class at each of the ten thresholds."""
    scores: list[NDArray[np.float32]] = []
    overlaps: list[NDArray[np.float32]] = []
    for answer, true in pictures:
        mine = np.flatnonzero(answer.class_ids == class_id)[:_MOST_PER_PICTURE]
        wanted = true.boxes[true.class_ids == class_id]
        scores.append(answer.scores[mine])
        overlaps.append(iou(answer.boxes[mine], wanted))
    return precision_of(scores, overlaps)


def precision_of(
    scores: Sequence[NDArray[np.float32]], overlaps: Sequence[NDArray[np.float32]]
) -> NDArray[np.float64]:
    """Average precision of one class at each of the ten thresholds, whatever it is that overlaps.

    Args:
        scores: float32 [n] of each picture's answers, best first.
        overlaps: float32 [n, truths] of each picture, IoU. At least one truth in all.

    Returns:
        float64 [10].
    """
    total = sum(table.shape[1] for table in overlaps)
    hits = [_matches(table) for table in overlaps]
    order = np.argsort(-np.concatenate(scores), kind="stable")
    found = np.concatenate(hits, axis=1)[:, order].cumsum(axis=1)
    precision = found / np.arange(1, order.size + 1)
    # Interpolated: the best precision at this recall or any higher one.
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    padded = np.pad(precision, ((0, 0), (0, 1)))
    at = [np.searchsorted(line / total, _RECALLS, side="left") for line in found]
    return np.array([line[where].mean() for line, where in zip(padded, at, strict=True)])


def _matches(overlaps: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which answers (rows, best first) find a true box of their own, at each threshold.

    Args:
        overlaps: float32 [answers, truths], IoU.

    Returns:
        bool [10, answers].
    """
    many, wanted = overlaps.shape
    hits = np.zeros((_THRESHOLDS.size, many), np.bool_)
    if not wanted:
        return hits
    for line, threshold in zip(hits, _THRESHOLDS, strict=True):
        free = overlaps.astype(np.float64)
        for row in range(many):
            best = int(free[row].argmax())
            if free[row, best] >= threshold:
                line[row] = True
                free[:, best] = -1
    return hits


TASK = Task("detection", "detect", DetectionOptions, restore)
