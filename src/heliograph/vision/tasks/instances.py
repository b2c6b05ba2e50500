"""Instances: what a picture shows, and which pixels each thing covers.

Detections with a mask each. How raw outputs of each family of models become the result is in
`tasks/detectors/masks.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from heliograph.core.errors import Code, HeliographError
from heliograph.vision import draw, rle
from heliograph.vision.picture import Pixels
from heliograph.vision.rle import Rle
from heliograph.vision.tasks import detection
from heliograph.vision.tasks.base import Task
from heliograph.vision.tasks.detection import (
    DetectionOptions,
    Detections,
    Precision,
    precision_of,
)

_MOST_PER_PICTURE = 100


class InstancesOptions(DetectionOptions, frozen=True):
    """What a caller may ask: the same as of a detection; overlaps are those of the boxes."""


@dataclass(frozen=True, slots=True, eq=False)
class Instances(Detections):
    """Objects of one picture and their masks, best first.

    Attributes:
        masks: n masks of the whole upright picture; a mask may be empty, and masks may overlap.

    Raises:
        HeliographError: `bad_shape` if the parts do not fit together.
    """

    masks: tuple[Rle, ...]

    def __post_init__(self) -> None:
        """Hold each part against the number of labels."""
        Detections.__post_init__(self)
        if len(self.masks) != len(self.labels):
            raise HeliographError(
                Code.BAD_SHAPE,
                f"Instances.masks: expected {len(self.labels)}, got {len(self.masks)}.",
            )

    def predictions(self) -> list[dict[str, Any]]:
        """`[{"label", "score", "class_id", "box", "area", "mask"}]`, best first.

        `area` in pixels, `mask` COCO's compressed run lengths, see `rle.Rle.to_json`.
        """
        return [
            one | {"area": mask.area, "mask": mask.to_json()}
            for one, mask in zip(Detections.predictions(self), self.masks, strict=True)
        ]

    def draw(self, pixels: Pixels) -> Pixels:
        """Lay each mask over the picture, in a colour of its own, and draw boxes and labels."""
        # The largest first, so that what stands before it is not hidden.
        order = sorted(range(len(self.masks)), key=lambda one: -self.masks[one].area)
        laid = draw.masks(pixels, ((self.masks[one].mask(), one) for one in order))
        texts = [
            f"{label} {score:.0%}"
            for label, score in zip(self.labels, self.scores.tolist(), strict=True)
        ]
        return draw.boxes(laid, self.boxes, texts, range(len(texts)))


def restore(predictions: list[dict[str, Any]]) -> Instances:
    """Read `Instances` back from their JSON form."""
    found = detection.restore(predictions)
    masks = tuple(Rle.from_json(one["mask"]) for one in predictions)
    return Instances(found.boxes, found.scores, found.class_ids, found.labels, masks)


class Truth(NamedTuple):
    """What one picture really shows.

    Attributes:
        masks: n masks of the whole upright picture.
        class_ids: int64 [n].
    """

    masks: tuple[Rle, ...]
    class_ids: NDArray[np.int64]


def average_precision(answers: Sequence[Instances], truth: Sequence[Truth]) -> Precision:
    """Score masks as the COCO evaluation does; see `detection.average_precision`.

    Source: `pycocotools/cocoeval.py` with `iouType="segm"`: the overlap is that of the masks.

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


def _of_class(pictures: list[tuple[Instances, Truth]], class_id: int) -> NDArray[np.float64]:
    scores: list[NDArray[np.float32]] = []
    overlaps: list[NDArray[np.float32]] = []
    for answer, true in pictures:
        mine = np.flatnonzero(answer.class_ids == class_id)[:_MOST_PER_PICTURE]
        wanted = [true.masks[one] for one in np.flatnonzero(true.class_ids == class_id)]
        scores.append(answer.scores[mine])
        overlaps.append(rle.iou([answer.masks[one] for one in mine], wanted))
    return precision_of(scores, overlaps)


TASK = Task("instances", "instances", InstancesOptions, restore)
