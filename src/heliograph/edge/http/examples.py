"""One example for each answer, by the name of its schema: real answers of the built-in models."""

from __future__ import annotations

from typing import Any

import msgspec

from heliograph.vision.prepare import InputSpec

_PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mP4DwABAQEAHLCMmQAAAABJRU5ErkJggg=="
)
_DOG = {
    "label": "dog",
    "score": 0.998617,
    "class_id": 18,
    "box": {"x": 103.79, "y": 31.01, "width": 154.88, "height": 263.6},
}
_OTHER_DOG = {
    "label": "dog",
    "score": 0.994818,
    "class_id": 18,
    "box": {"x": 337.47, "y": 162.95, "width": 160.64, "height": 204.56},
}
_WHIPPET = {"label": "whippet", "score": 0.055424, "class_id": 172}
_GREYHOUND = {"label": "Italian greyhound", "score": 0.071007, "class_id": 171}
_PERSON = {
    "label": "person",
    "score": 0.742,
    "box": {"x": 118.2, "y": 44.5, "width": 96.4, "height": 281.1},
    "keypoints": [
        {"name": "nose", "x": 160.4, "y": 44.5, "score": 0.61},
        {"name": "left_shoulder", "x": 189.0, "y": 92.7, "score": 0.83},
    ],
}
_TEXT_LINE = {
    "text": "Sodium 20mg",
    "score": 0.995,
    "box": {"x": 545.7, "y": 499.2, "width": 370.1, "height": 146.4},
    "quad": [
        {"x": 557.8, "y": 499.2},
        {"x": 915.8, "y": 591.8},
        {"x": 902.9, "y": 645.6},
        {"x": 545.7, "y": 552.0},
    ],
}
_MASK = {"size": [4, 6], "counts": "9220003"}
_CAR = {
    "label": "car",
    "class_id": 8,
    "score": 0.913407,
    "area": 6,
    "share": 0.25,
    "mask": _MASK,
}
_MASKED_DOG = _DOG | {"area": 6, "mask": _MASK}
_POINT = {"embedding": [0.6, 0.0, 0.8], "dimensions": 3}
_PNG = {"image": _PIXEL, "format": "png", "width": 1, "height": 1}


def _answer(model: str, task: str, run: float, *predictions: dict[str, Any]) -> dict[str, Any]:
    timings = {"queue": 0.09, "decode": 1.94, "batch": 0.02, "run": run, "finish": 0.31}
    return {
        "id": "pred_01a1ff21627d479a0ab30d93397adbc3",
        "model": model,
        "version": "1",
        "task": task,
        "image": {"width": 512, "height": 430},
        "predictions": list(predictions),
        "timings_ms": timings | {"total": round(sum(timings.values()), 3)},
    }


_DETECTIONS = _answer("ssd-mobilenet-v2-coco", "detection", 21.4, _DOG, _OTHER_DOG)
_PROBLEM = {
    "type": "/docs/errors#image_corrupt",
    "title": "The picture is damaged or cut short",
    "status": 400,
    "code": "image_corrupt",
    "detail": "The JPEG ends before its picture does. Send the whole file.",
    "request_id": "req_01a1ff2110a6269b6f3ed0aadb50a6f2",
}
_LINE = {
    "name": "ssd-mobilenet-v2-coco",
    "version": "1",
    "title": "SSD MobileNet v2 (COCO)",
    "task": "detection",
    "default": True,
    "state": "ready",
    "licence": "Apache-2.0",
    "versions": [
        {
            "version": "1",
            "state": "ready",
            "reason": "",
            "digest": "sha256:e588c61e1b3a4f4e4038933a9806a566ef1709950f92da621e7235b7a46af90e",
            "memory": 71_303_168,
            "share": 0.9,
            "aliases": ["stable"],
            "shadow": False,
        },
        {
            "version": "2",
            "state": "ready",
            "reason": "",
            "digest": "sha256:41d4cf3b0ae5b5e7b0a5b9a3e0b8d0b9a04c9f3e0b6b34f3a1f9f0de4d4a9b11",
            "memory": 71_303_168,
            "share": 0.1,
            "aliases": ["canary"],
            "shadow": False,
        },
    ],
}
_RELEASE = {
    "name": "ssd-mobilenet-v2-coco",
    "version": "1",
    "aliases": {"stable": "1", "canary": "2"},
    "split": {"stable": 90.0, "canary": 10.0},
    "shadow": None,
    "gates": {"errors": 0.05, "slower": 2.0, "disagree": None, "calls": 50},
    "loaded": [],
    "unloaded": [],
    "history": [],
    "reason": "a trial of the new training run",
    "versions": _LINE["versions"],
}
_FIGURE = {
    "name": "mAP",
    "value": 0.22,
    "data": "COCO minival",
    "source": "published: TensorFlow 1 detection model zoo",
}
_SSD_INPUT = InputSpec(
    name="images",
    width=300,
    height=300,
    layout="NHWC",
    dtype="uint8",
    resample="bilinear-corner",
    scaled_decode=False,
)
_INPUT = msgspec.json.decode(msgspec.json.encode(_SSD_INPUT))
_PLAN = {
    "engine": "openvino",
    "threads": 1,
    "instances": 2,
    "max_batch": 1,
    "max_wait_ms": 0.0,
    "reason": "the default: one thread a run, one run a core, no batching until measured",
}

EXAMPLES: dict[str, Any] = {
    "Detections": _DETECTIONS,
    "Classes": _answer("efficientnet-lite3", "classification", 17.2, _GREYHOUND, _WHIPPET),
    "Poses": _answer("movenet-lightning", "keypoints", 9.8, _PERSON),
    "Edges": _answer("edges", "edges", 0.03, _PNG | {"edge_fraction": 0.062}),
    "Segments": _answer("street-scenes", "segmentation", 61.7, _CAR),
    "Instances": _answer("yolo11n-seg", "instances", 38.2, _MASKED_DOG),
    "Embedding": _answer("efficientnet-lite0-embedding", "embedding", 8.1, _POINT),
    "Enhanced": _answer("espcn-x2", "enhancement", 44.0, _PNG | {"scale": 2.0}),
    "Findings": _answer("dogs", "pipeline", 31.4, _DOG | {"breed": [_WHIPPET]}),
    "Processed": _answer("process", "process", 0.03, _PNG),
    "TextLines": _answer("pp-ocr-v4", "text", 214.0, _TEXT_LINE),
    "Prediction": _DETECTIONS,
    "PredictionList": {
        "results": [
            {"file": "pets.jpg"} | _DETECTIONS,
            {"file": "holiday.jpg", "error": _PROBLEM},
        ]
    },
    "Problem": _PROBLEM,
    "ModelList": {"models": [_LINE]},
    "ModelCard": _LINE
    | {
        "reason": "",
        "description": "80 everyday kinds of things with boxes; the default detector.",
        "provenance": "TensorFlow Object Detection API, ssd_mobilenet_v2_coco_2018_03_29.",
        "digest": "sha256:e588c61e1b3a4f4e4038933a9806a566ef1709950f92da621e7235b7a46af90e",
        "metrics": [_FIGURE],
        "input": _INPUT,
        "output": {"decoder": "ssd", "boxes": "encodings", "scores": "scores"},
        "labels": ["background", "person", "bicycle"],
        "plan": _PLAN,
    },
    "ReleaseCard": _RELEASE,
    "Change": {
        "aliases": {"canary": "2"},
        "split": {"stable": 90, "canary": 10},
        "gates": {"errors": 0.05, "slower": 2.0},
        "reason": "a trial of the new training run",
    },
    "Promotion": {"version": "canary", "reason": "as accurate, and faster"},
    "Rollback": {"reason": "too slow on large pictures"},
    "Place": {"version": "2"},
    "Health": {"status": "ready"},
}
"""Each is valid against its schema; a test holds that."""
