"""The one list of tasks, and the union of every decoder a `model.toml` may name."""

from __future__ import annotations

from heliograph.vision.tasks import classification, detection, edges, keypoints, process
from heliograph.vision.tasks.base import Task
from heliograph.vision.tasks.detectors.detr import Detr
from heliograph.vision.tasks.detectors.tf import Ssd, TfDetection
from heliograph.vision.tasks.detectors.torchvision import Torchvision
from heliograph.vision.tasks.detectors.yolo import YoloEnd2End, YoloV3, YoloV5, YoloV8

TASKS: dict[str, Task] = {
    module.TASK.name: module.TASK
    for module in (classification, detection, keypoints, edges, process)
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
    | keypoints.MoveNet
    | keypoints.Heatmaps
    | edges.Gradient
    | process.Pipeline
)
"""msgspec picks the class by the `decoder` field of the `[output]` table."""
