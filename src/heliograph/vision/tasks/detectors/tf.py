"""Decoders for the TensorFlow Object Detection API: its finished answers, and its raw SSD heads."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from heliograph.vision import anchors
from heliograph.vision.geometry import Placement
from heliograph.vision.picture import Size
from heliograph.vision.tasks.base import Decoder, Raw, output
from heliograph.vision.tasks.classification import activate
from heliograph.vision.tasks.detection import Detections
from heliograph.vision.tasks.detectors.candidates import (
    Candidates,
    FirstClass,
    Floats,
    Iou,
    aligned,
    answer,
    quiet,
    rows,
    scaled,
    strongest,
    whole,
    wrong,
)

# (ymin, xmin, ymax, xmax) -> (left, top, right, bottom).
_TURNED = [1, 0, 3, 2]


class TfDetection(Decoder, frozen=True, tag="tf-detection"):
    """Boxes that the model has already chosen.

    Source: TensorFlow Object Detection API, `exporter.py` (`add_output_tensor_nodes`).

    Attributes:
        boxes: the output's name. Shape [n, 4]: ymin, xmin, ymax, xmax as fractions of the input.
        scores: likewise. Shape [n], 0-1.
        classes: likewise. Shape [n]: lines of the labels file, from 0.
        count: likewise. A scalar: how many of the n count; empty means all.
        first_class: lower classes are background and dropped (the API's own begin at 1).
    """

    boxes: str = "detection_boxes"
    scores: str = "detection_scores"
    classes: str = "detection_classes"
    count: str = "num_detections"
    first_class: FirstClass = 1

    @quiet
    def decode(
        self, raw: Raw, placement: Placement, labels: Sequence[str], options: Any
    ) -> Detections:
        """See `Decoder.decode`."""
        found, _ = self.find(raw, placement.input, options.min_score)
        return answer(found, placement, labels, options)

    def find(self, raw: Raw, size: Size, min_score: float) -> tuple[Candidates, NDArray[np.intp]]:
        """The candidates in the outputs, and the row of each."""
        boxes = rows(raw, self.boxes, 4)
        scores = aligned(raw, self.scores, len(boxes))
        classes = aligned(raw, self.classes, len(boxes))
        if self.count:
            many = int(np.nan_to_num(np.clip(output(raw, self.count, 0), 0, len(boxes))))
            scores = scores[:many]
        best = strongest(scores, min_score)
        found = Candidates(
            scaled(boxes[best][:, _TURNED], size),
            scores[best],
            whole(classes[best], self.first_class),
        )
        return found, best


class Ssd(Decoder, frozen=True, tag="ssd"):
    """Offsets to anchors and a score for each class, before any suppression.

    Source: TensorFlow Object Detection API, `ssd_meta_arch.py` (`postprocess`); the defaults are
    those of `ssd_mobilenet_v2_coco_2018_03_29`. Its "100 per class, 100 in all" is the caller's
    `top_k`. Every class of an anchor that reaches `min_score` is a candidate.

    Attributes:
        boxes: the output's name. Shape [A, 4]: ty, tx, th, tw, see `anchors.apply_offsets`.
        scores: likewise. Shape [A, classes]; column i is line i of the labels file, from 0.
        activation: `sigmoid` or `softmax` for logits; `none` where the model ends in one.
        first_class: columns before this one are background and dropped.
        iou: of two boxes of a class that overlap by more than this, the better stays.
        scales: what training multiplied ty, tx, th and tw by.
        grids: see `anchors.ssd_anchors`, as all that follow.
        min_scale: of the finest map.
        max_scale: of the coarsest map.
        aspect_ratios: width over height.
        interpolated_scale_aspect_ratio: of the anchor between two scales; 0 leaves it out.
        reduce_boxes_in_lowest_layer: three anchors in each cell of the finest map.
    """

    boxes: str = "encodings"
    scores: str = "scores"
    activation: Literal["none", "sigmoid", "softmax"] = "none"
    first_class: FirstClass = 1
    iou: Iou = 0.6
    scales: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0)
    grids: tuple[int, ...] = (19, 10, 5, 3, 2, 1)
    min_scale: float = 0.2
    max_scale: float = 0.95
    aspect_ratios: tuple[float, ...] = (1.0, 2.0, 0.5, 3.0, 0.3333)
    interpolated_scale_aspect_ratio: float = 1.0
    reduce_boxes_in_lowest_layer: bool = True

    @quiet
    def decode(
        self, raw: Raw, placement: Placement, labels: Sequence[str], options: Any
    ) -> Detections:
        """See `Decoder.decode`."""
        boxes, table = rows(raw, self.boxes, 4), output(raw, self.scores, 2)
        priors = self.anchors()
        if len(boxes) != len(priors):
            raise wrong(self.boxes, f"[{len(priors)}, 4], one row per anchor,", boxes.shape)
        if len(table) != len(priors) or table.shape[1] <= self.first_class:
            raise wrong(self.scores, f"[{len(priors)}, > {self.first_class}]", table.shape)
        scores = activate(table, self.activation)[:, self.first_class :]
        best = strongest(scores.ravel(), options.min_score)
        which, class_ids = np.divmod(best, scores.shape[1])
        corners = anchors.apply_offsets(boxes[which], priors[which], scales=self.scales)
        found = Candidates(
            scaled(corners[:, _TURNED], placement.input),
            scores[which, class_ids],
            (class_ids + self.first_class).astype(np.int64),
        )
        return answer(found, placement, labels, options, suppress=self.iou)

    def anchors(self) -> Floats:
        """The anchors that the parameters name: float32 [A, 4], computed once."""
        return _anchors(self)


@cache
def _anchors(of: Ssd) -> Floats:
    made = anchors.ssd_anchors(
        of.grids,
        min_scale=of.min_scale,
        max_scale=of.max_scale,
        aspect_ratios=of.aspect_ratios,
        interpolated_scale_aspect_ratio=of.interpolated_scale_aspect_ratio,
        reduce_boxes_in_lowest_layer=of.reduce_boxes_in_lowest_layer,
    )
    made.flags.writeable = False
    return made
