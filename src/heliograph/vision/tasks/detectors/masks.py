"""Decoders for instance masks: each finds boxes as its sister without masks, and fills them.

Three ways of giving a mask. *Prototypes* (YOLO): a few maps of the whole input, mixed anew for each
object. *Of the box* (TensorFlow Object Detection API, Detectron2): a small map stretched over the
object's box, fading to nothing at its edge. *Of the input* (torchvision): a whole map an object.
Each is interpolated to the picture's own pixels and cut off at its box before it is cut at its
threshold, so that outlines are as fine as the picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from heliograph.vision import maps
from heliograph.vision.geometry import Placement
from heliograph.vision.maps import Axes
from heliograph.vision.rle import Rle
from heliograph.vision.tasks.base import Raw, output
from heliograph.vision.tasks.detection import DetectionOptions, Detections
from heliograph.vision.tasks.detectors.candidates import (
    Candidates,
    Floats,
    chosen,
    quiet,
    rows,
    wrong,
)
from heliograph.vision.tasks.detectors.tf import TfDetection
from heliograph.vision.tasks.detectors.torchvision import Torchvision
from heliograph.vision.tasks.detectors.yolo import YoloEnd2End, YoloV5, YoloV8
from heliograph.vision.tasks.instances import Instances

_Layout = Literal["NCHW", "NHWC"]
_Threshold: TypeAlias = Annotated[float, msgspec.Meta(ge=-100, le=100)]
_Frame = Literal["box", "input"]


class YoloV8Masks(YoloV8, frozen=True, tag="yolo-v8-masks"):
    """Boxes without objectness and mixtures of prototypes (YOLOv8-seg, 9, 11, 12).

    Source: `ultralytics/utils/ops.py` (`process_mask_native`) of ultralytics/ultralytics.

    Attributes:
        output: the boxes' output. Shape [4 + classes + prototypes, n]: as for `yolo-v8`, then the
            weight of each prototype.
        protos: the prototypes' output. Shape [prototypes, h, w], or [h, w, prototypes] for `NHWC`.
        layout: `NCHW` or `NHWC`, of the prototypes.
        normalised: the sides are fractions of the input instead of pixels.
        iou: of two boxes of a class that overlap by more than this, the better stays.
    """

    output: str = "output0"
    protos: str = "output1"
    layout: _Layout = "NCHW"

    @quiet
    def decode(
        self, raw: Raw, placement: Placement, labels: Sequence[str], options: Any
    ) -> Instances:
        """See `Decoder.decode`."""
        protos = _protos(raw, self.protos, self.layout)
        values, many = output(raw, self.output, 2), len(protos)
        if len(values) <= 4 + many:
            raise wrong(self.output, f"[4 + classes + {many}, n]", values.shape)
        found, columns = self.find(values[:-many], placement.input, options.min_score)
        weights = values[-many:, columns].T
        return _mixed(found, weights, protos, placement, labels, options, suppress=self.iou)


class YoloV5Masks(YoloV5, frozen=True, tag="yolo-v5-masks"):
    """Boxes with objectness and mixtures of prototypes (YOLOv5-seg, YOLOv7-seg).

    Source: `utils/segment/general.py` (`process_mask_native`) of ultralytics/yolov5.

    Attributes:
        output: the boxes' output. Shape [n, 5 + classes + prototypes]: as for `yolo-v5`, then the
            weight of each prototype.
        protos: the prototypes' output, see `yolo-v8-masks`.
        layout: `NCHW` or `NHWC`, of the prototypes.
        normalised: the sides are fractions of the input instead of pixels.
        iou: of two boxes of a class that overlap by more than this, the better stays.
    """

    output: str = "output0"
    protos: str = "output1"
    layout: _Layout = "NCHW"

    @quiet
    def decode(
        self, raw: Raw, placement: Placement, labels: Sequence[str], options: Any
    ) -> Instances:
        """See `Decoder.decode`."""
        protos = _protos(raw, self.protos, self.layout)
        values, many = output(raw, self.output, 2), len(protos)
        if values.shape[1] <= 5 + many:
            raise wrong(self.output, f"[n, 5 + classes + {many}]", values.shape)
        found, which = self.find(values[:, :-many], placement.input, options.min_score)
        weights = values[which, -many:]
        return _mixed(found, weights, protos, placement, labels, options, suppress=self.iou)


class YoloEnd2EndMasks(YoloEnd2End, frozen=True, tag="yolo-end2end-masks"):
    """Boxes that the model has already chosen and mixtures of prototypes (YOLO26-seg, `nms=True`).

    Source: `nn/modules/head.py` (`Segment`) of ultralytics/ultralytics.

    Attributes:
        output: the boxes' output. Shape [n, 6 + prototypes]: as for `yolo-end2end`, then the weight
            of each prototype.
        protos: the prototypes' output, see `yolo-v8-masks`.
        layout: `NCHW` or `NHWC`, of the prototypes.
        normalised: the sides are fractions of the input instead of pixels.
    """

    output: str = "output0"
    protos: str = "output1"
    layout: _Layout = "NCHW"

    @quiet
    def decode(
        self, raw: Raw, placement: Placement, labels: Sequence[str], options: Any
    ) -> Instances:
        """See `Decoder.decode`."""
        protos = _protos(raw, self.protos, self.layout)
        values = rows(raw, self.output, 6 + len(protos))
        found, which = self.find(values[:, :6], placement.input, options.min_score)
        return _mixed(found, values[which, 6:], protos, placement, labels, options, suppress=None)


class TfMasks(TfDetection, frozen=True, tag="tf-masks"):
    """Boxes and masks that the model has already chosen (TensorFlow Object Detection API).

    Source: `exporter.py` (`add_output_tensor_nodes`) and `utils/ops.py`
    (`reframe_box_masks_to_image_masks`) of the API. That one pads by nothing; here a map fades over
    half a cell beyond its outermost centres, as in torchvision and Detectron2.

    Attributes:
        boxes: see `tf-detection`, as `scores`, `classes`, `count` and `first_class`.
        masks: the output's name. Shape [n, h, w], 0-1.
        frame: what a mask covers: its `box`, or the whole `input` (`detection_masks_reframed`).
        threshold: a pixel belongs to the object above this; 0 where the masks are logits.
    """

    masks: str = "detection_masks"
    frame: _Frame = "box"
    threshold: _Threshold = 0.5

    @quiet
    def decode(
        self, raw: Raw, placement: Placement, labels: Sequence[str], options: Any
    ) -> Instances:
        """See `Decoder.decode`."""
        found, which = self.find(raw, placement.input, options.min_score)
        drawn = _masks(raw, self.masks, which)
        frame, threshold = self.frame, self.threshold
        return _given(found, drawn, placement, labels, options, frame=frame, threshold=threshold)


class TorchvisionMasks(Torchvision, frozen=True, tag="torchvision-masks"):
    """Boxes and masks that the model has already chosen, as many as it found (Mask R-CNN).

    Sources: torchvision, `models/detection/roi_heads.py` (`paste_masks_in_image`): its exports give
    masks of the input. Detectron2's (`export/`) give masks of the box, and name their outputs
    `pred_boxes`, `pred_classes`, `scores` and `pred_masks`; their classes begin at 0: there
    `frame = "box"` and `first_class = 0`.

    Attributes:
        boxes: see `torchvision`, as `labels`, `scores` and `first_class`.
        masks: the output's name. Shape [n, h, w] or [n, 1, h, w], 0-1.
        frame: what a mask covers: its `box`, or the whole `input`.
        threshold: a pixel belongs to the object above this; 0 where the masks are logits.
    """

    batched: ClassVar[bool] = False
    masks: str = "masks"
    frame: _Frame = "input"
    threshold: _Threshold = 0.5

    @quiet
    def decode(
        self, raw: Raw, placement: Placement, labels: Sequence[str], options: Any
    ) -> Instances:
        """See `Decoder.decode`."""
        found, which = self.find(raw, options.min_score)
        drawn = _masks(raw, self.masks, which)
        frame, threshold = self.frame, self.threshold
        return _given(found, drawn, placement, labels, options, frame=frame, threshold=threshold)


def _protos(raw: Raw, name: str, layout: _Layout) -> Floats:
    """The prototypes, float32 [prototypes, h, w], finite."""
    values = output(raw, name, 3)
    values = values if layout == "NCHW" else values.transpose(2, 0, 1)
    if not values.size:
        raise wrong(name, "[prototypes, h, w]", values.shape)
    return np.nan_to_num(np.ascontiguousarray(values))


def _masks(raw: Raw, name: str, which: NDArray[np.intp]) -> Floats:
    """The masks of some rows, float32 [k, h, w], finite."""
    values = output(raw, name, raw[name].ndim if name in raw else 0)
    if values.ndim == 4 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 3 or not values.shape[1] * values.shape[2]:
        raise wrong(name, "[n, h, w]", values.shape)
    if which.size and which[-1] >= len(values):
        raise wrong(name, f"at least {int(which[-1]) + 1} masks", values.shape)
    return np.nan_to_num(np.ascontiguousarray(values[which]))


def _mixed(
    found: Candidates,
    weights: Floats,
    protos: Floats,
    placement: Placement,
    labels: Sequence[str],
    options: DetectionOptions,
    *,
    suppress: float | None,
) -> Instances:
    """The answer of a model with prototypes: a pixel belongs where their mixture is above 0."""
    objects, kept = chosen(found, placement, labels, options, suppress=suppress)
    _, down, across = protos.shape
    where = maps.axes(placement, down, across)
    mixtures = np.nan_to_num(weights[kept]) @ protos.reshape(len(protos), -1)
    grids = np.nan_to_num(mixtures).reshape(-1, down, across)
    return _filled(objects, placement, 0.0, lambda one, box: (grids[one], where.cut(*box)))


def _given(
    found: Candidates,
    drawn: Floats,
    placement: Placement,
    labels: Sequence[str],
    options: DetectionOptions,
    *,
    frame: _Frame,
    threshold: float,
) -> Instances:
    """The answer of a model that gives a mask an object."""
    objects, kept = chosen(found, placement, labels, options)
    _, down, across = drawn.shape
    if frame == "input":
        where = maps.axes(placement, down, across)
        return _filled(
            objects, placement, threshold, lambda one, box: (drawn[kept[one]], where.cut(*box))
        )
    corners = placement.points(found.corners[kept][:, [0, 2]], found.corners[kept][:, [1, 3]])
    frames = corners.reshape(-1, 4).tolist()
    return _filled(
        objects,
        placement,
        threshold,
        lambda one, box: (
            maps.fading(drawn[kept[one]]),
            maps.framed(frames[one], placement, down + 2, across + 2).cut(*box),
        ),
    )


def _filled(
    objects: Detections,
    placement: Placement,
    threshold: float,
    grid_of: Callable[[int, Sequence[float]], tuple[Floats, Axes]],
) -> Instances:
    """Give each object its mask: `grid_of` says its map and where its box's pixels lie in it."""
    masks: list[Rle] = []
    for one, box in enumerate(objects.boxes.tolist()):
        grid, where = grid_of(one, box)
        part = maps.bilinear(grid, where) > threshold
        masks.append(Rle.placed(part, where.columns.first, where.rows.first, placement.size))
    return Instances(objects.boxes, objects.scores, objects.class_ids, objects.labels, tuple(masks))
