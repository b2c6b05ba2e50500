"""Decoder for detection transformers: a fixed set of queries, each an object or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from heliograph.vision.geometry import Placement
from heliograph.vision.tasks.base import Decoder, Raw, output
from heliograph.vision.tasks.classification import activate
from heliograph.vision.tasks.detection import Detections
from heliograph.vision.tasks.detectors.candidates import (
    Candidates,
    FirstClass,
    answer,
    from_centres,
    quiet,
    rows,
    scaled,
    strongest,
    wrong,
)


class Detr(Decoder, frozen=True, tag="detr"):
    """Queries with logits and boxes; no suppression is needed.

    Sources: `models/detr.py` (`PostProcess`) of facebookresearch/detr: softmax, the last class
    means "no object" and is dropped, one class per query. `rtdetr_postprocessor.py` of
    lyuwenyu/RT-DETR, and Deformable DETR: sigmoid, no such class, every class of a query counts.

    Attributes:
        logits: the output's name. Shape [queries, classes + 1], or [queries, classes] for
            `sigmoid`.
        boxes: likewise. Shape [queries, 4]: centre x and y, width, height as fractions of the
            input.
        activation: `softmax` or `sigmoid`.
        first_class: columns before this one are background and dropped; column i is line i of the
            labels file, from 0.
    """

    logits: str = "pred_logits"
    boxes: str = "pred_boxes"
    activation: Literal["softmax", "sigmoid"] = "softmax"
    first_class: FirstClass = 0

    @quiet
    def decode(
        self, raw: Raw, placement: Placement, labels: Sequence[str], options: Any
    ) -> Detections:
        """See `Decoder.decode`."""
        boxes, logits = rows(raw, self.boxes, 4), output(raw, self.logits, 2)
        last = logits.shape[1] - (self.activation == "softmax")
        if len(logits) != len(boxes) or last <= self.first_class:
            raise wrong(self.logits, f"[{len(boxes)}, > {self.first_class + 1}]", logits.shape)
        scores = activate(logits, self.activation)[:, self.first_class : last]
        if self.activation == "softmax":
            which = strongest(scores.max(axis=1), options.min_score)
            class_ids = scores[which].argmax(axis=1)
        else:
            best = strongest(scores.ravel(), options.min_score)
            which, class_ids = np.divmod(best, scores.shape[1])
        found = Candidates(
            scaled(from_centres(boxes[which]), placement.input),
            scores[which, class_ids],
            (class_ids + self.first_class).astype(np.int64),
        )
        return answer(found, placement, labels, options)
