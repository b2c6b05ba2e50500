"""The one list of tasks, and the union of every decoder a `model.toml` may name."""

from __future__ import annotations

from heliograph.vision.tasks import (
    classification,
    detection,
    edges,
    embedding,
    enhancement,
    instances,
    keypoints,
    pipelines,
    process,
    reading,
    segmentation,
    text,
)
from heliograph.vision.tasks.base import Task
from heliograph.vision.tasks.detectors.customvision import CustomVision, CustomVisionGrid
from heliograph.vision.tasks.detectors.detr import Detr
from heliograph.vision.tasks.detectors.masks import (
    TfMasks,
    TorchvisionMasks,
    YoloEnd2EndMasks,
    YoloV5Masks,
    YoloV8Masks,
)
from heliograph.vision.tasks.detectors.tf import Ssd, TfDetection
from heliograph.vision.tasks.detectors.torchvision import Torchvision
from heliograph.vision.tasks.detectors.yolo import YoloEnd2End, YoloV3, YoloV5, YoloV8

TASKS: dict[str, Task] = {
    module.TASK.name: module.TASK
    for module in (
        *(classification, detection, segmentation, instances, keypoints, text, embedding),
        *(edges, enhancement, process, pipelines),
    )
}
"""Every task by name; its verb is its address under `/api/v1`."""

AnyDecoder = (
    classification.Scores
    | TfDetection
    | Ssd
    | YoloV3
    | YoloV5
    | YoloV8
    | YoloEnd2End
    | Detr
    | Torchvision
    | CustomVision
    | CustomVisionGrid
    | segmentation.ClassScores
    | segmentation.ClassIds
    | YoloV5Masks
    | YoloV8Masks
    | YoloEnd2EndMasks
    | TfMasks
    | TorchvisionMasks
    | keypoints.MoveNet
    | keypoints.Heatmaps
    | edges.Gradient
    | edges.EdgeMap
    | text.TextBoxes
    | text.Ctc
    | reading.Reading
    | embedding.Vector
    | embedding.Nearest
    | enhancement.PictureOutput
    | process.Pipeline
    | pipelines.Steps
)
"""msgspec picks the class by the `decoder` field of the `[output]` table."""
