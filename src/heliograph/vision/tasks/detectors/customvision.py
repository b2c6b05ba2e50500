"""Decoders for the detectors that Azure Custom Vision exports.

Source: Azure-Samples/customvision-export-samples, `object_detection_s1` and `object_detection`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np

from heliograph.core.errors import Code, HeliographError
from heliograph.vision.geometry import Placement
from heliograph.vision.tasks.base import Decoder, Raw, output
from heliograph.vision.tasks.classification import activate
from heliograph.vision.tasks.detection import Detections
from heliograph.vision.tasks.detectors.candidates import (
    Candidates,
    Floats,
    Iou,
    answer,
    from_centres,
    quiet,
    scaled,
    strongest,
    whole,
    wrong,
)

_ANCHORS = ((0.573, 0.677), (1.87, 2.06), (3.34, 5.47), (7.88, 3.53), (9.77, 9.17))


class CustomVision(Decoder, frozen=True, tag="custom-vision"):
    """Boxes that the model has already chosen (the domain General (compact) [S1]).

    ONNX exports have a batch axis of one, the others have none; both are taken.

    Attributes:
        boxes: the output's name. Shape [n, 4] or [1, n, 4]: left, top, right, bottom as fractions
            of the input.
        classes: likewise. Shape [n] or [1, n]: lines of the labels file, from 0.
        scores: likewise. Shape [n] or [1, n], 0-1.
    """

    batched: ClassVar[bool] = False
    boxes: str = "detected_boxes"
    classes: str = "detected_classes"
    scores: str = "detected_scores"

    @quiet
    def decode(
        self, raw: Raw, placement: Placement, labels: Sequence[str], options: Any
    ) -> Detections:
        """See `Decoder.decode`."""
        boxes = self._row(raw, self.boxes).reshape(-1, 4)
        classes, scores = self._row(raw, self.classes), self._row(raw, self.scores)
        if not len(boxes) == len(classes) == len(scores):
            raise wrong(self.scores, f"[{len(boxes)}]", raw[self.scores].shape)
        best = strongest(scores, options.min_score)
        found = Candidates(scaled(boxes[best], placement.input), scores[best], whole(classes[best]))
        return answer(found, placement, labels, options)

    def _row(self, raw: Raw, name: str) -> Floats:
        """An output as one row of numbers."""
        if name not in raw:
            raise HeliographError(
                Code.BAD_SHAPE, f"The model has no output {name!r}; it has {sorted(raw)}."
            )
        values = raw[name]
        if name == self.boxes and values.shape[-1:] != (4,):
            raise wrong(name, "[n, 4]", values.shape)
        return values.astype(np.float32, copy=False).ravel()


class CustomVisionGrid(Decoder, frozen=True, tag="custom-vision-grid"):
    """A raw grid (the domain General (compact)), as YOLOv2's but for its centres.

    Attributes:
        output: the output's name; empty means the only one. Shape [anchors * (5 + classes), h, w],
            or [h, w, anchors * (5 + classes)] for `NHWC`; the five are x and y within the cell,
            the logarithms of the sides over the anchor's, and the objectness.
        anchors: width and height of each anchor, in cells.
        layout: `NCHW` or `NHWC`.
        iou: of two boxes of a class that overlap by more than this, the better stays.
    """

    output: str = ""
    anchors: tuple[tuple[float, float], ...] = _ANCHORS
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    iou: Iou = 0.45

    @quiet
    def decode(
        self, raw: Raw, placement: Placement, labels: Sequence[str], options: Any
    ) -> Detections:
        """See `Decoder.decode`."""
        grid = output(raw, self.output, 3)
        if self.layout == "NCHW":
            grid = grid.transpose(1, 2, 0)
        down, across, depth = grid.shape
        values, rest = divmod(depth, len(self.anchors))
        if rest or values <= 5:
            raise wrong(self.output, f"{len(self.anchors)} times 5 + classes channels", grid.shape)
        cells = grid.reshape(down, across, len(self.anchors), values)
        sure = activate(cells[..., 4], "sigmoid")
        row, column, which = np.nonzero(sure >= options.min_score)
        picked = cells[row, column, which]
        classes = activate(picked[:, 5:], "softmax") if len(picked) else picked[:, 5:]
        scores = sure[row, column, which] * classes.max(axis=1, initial=0.0)
        best = strongest(scores, options.min_score)
        centres = picked[best, :2] + np.stack([column, row], axis=1)[best]
        extent = np.array(self.anchors, np.float32)[which[best]] * np.exp(picked[best, 2:4])
        size = np.array([across, down], np.float32)
        boxes = np.concatenate([centres / size, extent / size], axis=1, dtype=np.float32)
        found = Candidates(
            scaled(from_centres(boxes), placement.input),
            scores[best],
            classes[best].argmax(axis=1).astype(np.int64),
        )
        return answer(found, placement, labels, options, suppress=self.iou)
