"""Decoders for the YOLO family.

A box has one label here: its best class, as in the references' prediction (their validation counts
several). Scores of versions 3 to 7 are objectness times class probability.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from heliograph.vision.geometry import Placement
from heliograph.vision.picture import Size
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
    rows,
    scaled,
    strongest,
    whole,
    wrong,
)

_Anchors = tuple[tuple[float, float], ...]
_COCO_ANCHORS: tuple[_Anchors, ...] = (
    ((116, 90), (156, 198), (373, 326)),
    ((30, 61), (62, 45), (59, 119)),
    ((10, 13), (16, 30), (33, 23)),
)


class YoloV3(Decoder, frozen=True, tag="yolo-v3"):
    """Raw grids, one per scale (version 3 and its tiny form).

    Source: Redmon and Farhadi, "YOLOv3: An Incremental Improvement" (2018), and `yolo_layer.c` of
    darknet: x = (sigmoid(tx) + column) * stride, width = anchor width * exp(tw). A model that has
    done this itself and gives [n, 5 + classes] is a `yolo-v5`.

    Attributes:
        outputs: the grids' names in the order of `anchors`; empty means all of the model's outputs,
            the coarsest first. Shape [anchors * (5 + classes), height, width] for `NCHW`; the five
            are tx, ty, tw, th and the objectness.
        anchors: for each grid, width and height of each anchor in input pixels.
        layout: `NCHW` or `NHWC`.
        iou: of two boxes of a class that overlap by more than this, the better stays.
    """

    outputs: tuple[str, ...] = ()
    anchors: tuple[_Anchors, ...] = _COCO_ANCHORS
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    iou: Iou = 0.45

    @quiet
    def decode(
        self, raw: Raw, placement: Placement, labels: Sequence[str], options: Any
    ) -> Detections:
        """See `Decoder.decode`."""
        names = self.outputs or sorted(raw, key=lambda name: raw[name].size)
        if len(names) != len(self.anchors):
            raise wrong(", ".join(names), f"{len(self.anchors)} grids", (len(names),))
        parts = [
            self._of_grid(raw, name, sizes, placement.input, options.min_score)
            for name, sizes in zip(names, self.anchors, strict=True)
        ]
        corners, scores, class_ids = (np.concatenate(part) for part in zip(*parts, strict=True))
        best = strongest(scores, options.min_score)
        found = Candidates(corners[best], scores[best], class_ids[best])
        return answer(found, placement, labels, options, suppress=self.iou)

    def _of_grid(
        self, raw: Raw, name: str, sizes: _Anchors, size: Size, min_score: float
    ) -> Candidates:
        """The candidates of one grid."""
        grid = output(raw, name, 3)
        if self.layout == "NCHW":
            grid = grid.transpose(1, 2, 0)
        down, across, depth = grid.shape
        values, rest = divmod(depth, len(sizes))
        if rest or values <= 5:
            raise wrong(name, f"{len(sizes)} anchors times 5 + classes channels", raw[name].shape)
        cells = grid.reshape(down, across, len(sizes), values)
        sure = activate(cells[..., 4], "sigmoid")
        # The score is at most the objectness: what falls here would fall below.
        row, column, which = np.nonzero(sure >= min_score)
        picked = cells[row, column, which]
        offsets = activate(picked[:, :2], "sigmoid") + np.stack([column, row], axis=1)
        stride = np.array([size.width / across, size.height / down], np.float32)
        extent = np.array(sizes, np.float32)[which] * np.exp(picked[:, 2:4])
        boxes = np.concatenate([offsets * stride, extent], axis=1, dtype=np.float32)
        classes = activate(picked[:, 5:], "sigmoid")
        scores = sure[row, column, which] * classes.max(axis=1)
        return Candidates(from_centres(boxes), scores, classes.argmax(axis=1).astype(np.int64))


class YoloV5(Decoder, frozen=True, tag="yolo-v5"):
    """Boxes with objectness (versions 5 and 7, and version 3 where the model decodes its grids).

    Source: `utils/general.py` (`non_max_suppression`) of ultralytics/yolov5.

    Attributes:
        output: the output's name; empty means the only one. Shape [n, 5 + classes]: centre x and
            y, width, height in input pixels, objectness, class probabilities.
        normalised: the sides are fractions of the input instead of pixels.
        iou: of two boxes of a class that overlap by more than this, the better stays.
    """

    output: str = ""
    normalised: bool = False
    iou: Iou = 0.45

    @quiet
    def decode(
        self, raw: Raw, placement: Placement, labels: Sequence[str], options: Any
    ) -> Detections:
        """See `Decoder.decode`."""
        values = output(raw, self.output, 2)
        if values.shape[1] <= 5:
            raise wrong(self.output, "[n, 5 + classes]", values.shape)
        found, _ = self.find(values, placement.input, options.min_score)
        return answer(found, placement, labels, options, suppress=self.iou)

    def find(
        self, values: Floats, size: Size, min_score: float
    ) -> tuple[Candidates, NDArray[np.intp]]:
        """The candidates in an output, and the row of each."""
        sure = np.flatnonzero(values[:, 4] >= min_score)
        scores = values[sure, 4] * values[sure, 5:].max(axis=1)
        best = strongest(scores, min_score)
        picked = values[sure[best]]
        corners = _corners(picked[:, :4], size, normalised=self.normalised)
        class_ids = picked[:, 5:].argmax(axis=1).astype(np.int64)
        return Candidates(corners, scores[best], class_ids), sure[best]


class YoloV8(Decoder, frozen=True, tag="yolo-v8"):
    """Boxes without objectness, one column each (versions 8, 9, 11 and 12).

    Source: `ultralytics/utils/nms.py` and `engine/exporter.py` of ultralytics/ultralytics.

    Attributes:
        output: the output's name; empty means the only one. Shape [4 + classes, n]: centre x and
            y, width, height in input pixels, class probabilities.
        normalised: the sides are fractions of the input instead of pixels.
        iou: of two boxes of a class that overlap by more than this, the better stays.
    """

    output: str = ""
    normalised: bool = False
    iou: Iou = 0.7

    @quiet
    def decode(
        self, raw: Raw, placement: Placement, labels: Sequence[str], options: Any
    ) -> Detections:
        """See `Decoder.decode`."""
        values = output(raw, self.output, 2)
        if len(values) <= 4:
            raise wrong(self.output, "[4 + classes, n]", values.shape)
        found, _ = self.find(values, placement.input, options.min_score)
        return answer(found, placement, labels, options, suppress=self.iou)

    def find(
        self, values: Floats, size: Size, min_score: float
    ) -> tuple[Candidates, NDArray[np.intp]]:
        """The candidates in an output, and the column of each."""
        scores = values[4:].max(axis=0)
        best = strongest(scores, min_score)
        corners = _corners(values[:4, best].T, size, normalised=self.normalised)
        class_ids = values[4:, best].argmax(axis=0).astype(np.int64)
        return Candidates(corners, scores[best], class_ids), best


class YoloEnd2End(Decoder, frozen=True, tag="yolo-end2end"):
    """Boxes that the model has already chosen (versions 10 and 26, and exports with `nms=True`).

    Source: `nn/modules/head.py` (`Detect.postprocess`) of ultralytics/ultralytics.

    Attributes:
        output: the output's name; empty means the only one. Shape [n, 6]: left, top, right, bottom
            in input pixels, score, class id.
        normalised: the sides are fractions of the input instead of pixels.
    """

    output: str = ""
    normalised: bool = False

    @quiet
    def decode(
        self, raw: Raw, placement: Placement, labels: Sequence[str], options: Any
    ) -> Detections:
        """See `Decoder.decode`."""
        values = rows(raw, self.output, 6)
        found, _ = self.find(values, placement.input, options.min_score)
        return answer(found, placement, labels, options)

    def find(
        self, values: Floats, size: Size, min_score: float
    ) -> tuple[Candidates, NDArray[np.intp]]:
        """The candidates in an output, and the row of each."""
        best = strongest(values[:, 4], min_score)
        picked = values[best]
        corners = scaled(picked[:, :4], size) if self.normalised else picked[:, :4]
        return Candidates(corners, picked[:, 4], whole(picked[:, 5])), best


def _corners(boxes: Floats, size: Size, *, normalised: bool) -> Floats:
    """Centres and sides to corners in input pixels."""
    corners = from_centres(boxes)
    return scaled(corners, size) if normalised else corners
