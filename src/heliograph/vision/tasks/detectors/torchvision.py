"""Decoder for torchvision's detectors: Faster R-CNN, RetinaNet, FCOS, SSD."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from heliograph.vision.geometry import Placement
from heliograph.vision.tasks.base import Decoder, Raw
from heliograph.vision.tasks.detection import Detections
from heliograph.vision.tasks.detectors.candidates import (
    Candidates,
    FirstClass,
    aligned,
    answer,
    quiet,
    rows,
    strongest,
    whole,
)


class Torchvision(Decoder, frozen=True, tag="torchvision"):
    """Boxes that the model has already chosen, as many as it found.

    Source: torchvision, `models/detection/roi_heads.py` (`postprocess_detections`) and
    `models/detection/transform.py` (`postprocess`).

    Attributes:
        boxes: the output's name. Shape [n, 4]: left, top, right, bottom in input pixels.
        labels: likewise. Shape [n], integers: lines of the labels file, from 0.
        scores: likewise. Shape [n], 0-1.
        first_class: lower classes are background and dropped (torchvision's own begin at 1).
    """

    batched: ClassVar[bool] = False
    boxes: str = "boxes"
    labels: str = "labels"
    scores: str = "scores"
    first_class: FirstClass = 1

    @quiet
    def decode(
        self, raw: Raw, placement: Placement, labels: Sequence[str], options: Any
    ) -> Detections:
        """See `Decoder.decode`."""
        found, _ = self.find(raw, options.min_score)
        return answer(found, placement, labels, options)

    def find(self, raw: Raw, min_score: float) -> tuple[Candidates, NDArray[np.intp]]:
        """The candidates in the outputs, and the row of each."""
        boxes = rows(raw, self.boxes, 4)
        scores = aligned(raw, self.scores, len(boxes))
        classes = aligned(raw, self.labels, len(boxes))
        best = strongest(scores, min_score)
        return Candidates(boxes[best], scores[best], whole(classes[best], self.first_class)), best
