"""The instances task: every family's masks, the answer, its picture, its score."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from heliograph.core.errors import Code, HeliographError
from heliograph.vision.geometry import Placement, place
from heliograph.vision.picture import Size
from heliograph.vision.rle import Rle
from heliograph.vision.tasks.base import Decoder
from heliograph.vision.tasks.detectors.masks import (
    TfMasks,
    TorchvisionMasks,
    YoloEnd2EndMasks,
    YoloV5Masks,
    YoloV8Masks,
)
from heliograph.vision.tasks.instances import (
    Instances,
    InstancesOptions,
    Truth,
    average_precision,
    restore,
)

LABELS = ("cat", "dog")
SIZE, INPUT, GRID = Size(160, 120), Size(64, 64), 16
GOLDEN: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "goldens" / "coco.json").read_text("utf-8")
)

# Two discs in the 64 x 64 input, in its letterboxed part (rows 8 to 56): centre x, y and radius.
DISCS = ((20.0, 32.0, 12.0), (48.0, 28.0, 8.0))


def placement() -> Placement:
    return place(SIZE, INPUT, "contain")


def boxes() -> NDArray[np.float32]:
    """Left, top, right, bottom in input pixels."""
    return np.array([(x - r, y - r, x + r, y + r) for x, y, r in DISCS], np.float32)


def heights(side: int) -> NDArray[np.float32]:
    """How far within each disc a cell of the input lies, in input pixels: [2, side, side]."""
    at = (np.arange(side) + 0.5) * 64 / side
    y, x = np.meshgrid(at, at, indexing="ij")
    return np.array([r - np.hypot(x - cx, y - cy) for cx, cy, r in DISCS], np.float32)


def centred() -> NDArray[np.float32]:
    corners = boxes()
    return np.concatenate(
        [(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], axis=1
    )


def yolo_v8() -> dict[str, NDArray[Any]]:
    values = np.zeros((4 + 2 + 2, 40), np.float32)
    for column, one in ((7, 0), (30, 1)):
        values[:4, column] = centred()[one]
        values[4 + one, column] = 0.9 - 0.1 * one
        values[6 + one, column] = 1
    return {"output0": values, "output1": heights(GRID)}


def yolo_v5() -> dict[str, NDArray[Any]]:
    values = yolo_v8()["output0"].T
    sure = (values[:, 4:6].max(axis=1, keepdims=True) > 0).astype(np.float32)
    return {
        "output0": np.concatenate([values[:, :4], sure, values[:, 4:]], axis=1),
        "output1": heights(GRID),
    }


def yolo_end2end() -> dict[str, NDArray[Any]]:
    rows = [[*boxes()[one], 0.9 - 0.1 * one, one, 1 - one, one] for one in (1, 0)]
    rows.append([0.0] * 8)
    return {
        "output0": np.array(rows, np.float32),
        "output1": heights(GRID).transpose(1, 2, 0).copy(),
    }


def small_masks(side: int = 28) -> NDArray[np.float32]:
    """A disc that fills its box, as probabilities: [2, side, side]."""
    at = (np.arange(side) + 0.5) / side * 2 - 1
    disc = 1 - np.hypot(*np.meshgrid(at, at, indexing="ij"))
    return np.repeat((0.5 + disc)[None].clip(0, 1), 2, axis=0).astype(np.float32)


def tf() -> dict[str, NDArray[Any]]:
    return {
        "detection_boxes": boxes()[:, [1, 0, 3, 2]] / 64,
        "detection_scores": np.array([0.9, 0.8], np.float32),
        "detection_classes": np.array([1, 2], np.float32),
        "num_detections": np.array(2, np.float32),
        "detection_masks": small_masks(),
    }


def torchvision() -> dict[str, NDArray[Any]]:
    return {
        "boxes": boxes(),
        "labels": np.array([1, 2]),
        "scores": np.array([0.9, 0.8], np.float32),
        "masks": (heights(64)[:, None] > 0).astype(np.float32),
    }


def detectron2() -> dict[str, NDArray[Any]]:
    return {
        "pred_boxes": boxes(),
        "pred_classes": np.array([0, 1]),
        "scores": np.array([0.9, 0.8], np.float32),
        "pred_masks": small_masks()[:, None],
    }


BEHIND = ("", *LABELS)
FAMILIES: dict[str, tuple[Decoder, dict[str, NDArray[Any]], tuple[str, ...]]] = {
    "yolo-v8": (YoloV8Masks(), yolo_v8(), LABELS),
    "yolo-v5": (YoloV5Masks(), yolo_v5(), LABELS),
    "yolo-end2end": (YoloEnd2EndMasks(layout="NHWC"), yolo_end2end(), LABELS),
    "tf": (TfMasks(), tf(), BEHIND),
    "tf-reframed": (
        TfMasks(frame="input"),
        tf() | {"detection_masks": (heights(64) > 0).astype(np.uint8)},
        BEHIND,
    ),
    "torchvision": (TorchvisionMasks(), torchvision(), BEHIND),
    "detectron2": (
        TorchvisionMasks(
            boxes="pred_boxes",
            labels="pred_classes",
            masks="pred_masks",
            frame="box",
            first_class=0,
        ),
        detectron2(),
        LABELS,
    ),
}


def ask(family: str, **options: Any) -> Instances:
    decoder, raw, labels = FAMILIES[family]
    found = decoder.decode(raw, placement(), labels, InstancesOptions(**options))
    assert isinstance(found, Instances)
    return found


def true_discs() -> list[Rle]:
    """The discs in the picture: 2.5 picture pixels an input pixel, 8 input rows of padding."""
    y, x = np.mgrid[0 : SIZE.height, 0 : SIZE.width] + 0.5
    return [Rle.of(np.hypot(x - cx * 2.5, y - (cy - 8) * 2.5) < r * 2.5) for cx, cy, r in DISCS]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_finds_the_discs(family: str) -> None:
    found = ask(family)
    assert found.labels == LABELS
    assert found.scores.tolist() == pytest.approx([0.9, 0.8])
    assert found.boxes[0].tolist() == pytest.approx([20, 30, 80, 90], abs=0.01)
    truth = Truth(tuple(true_discs()), found.class_ids)
    for mask, true in zip(found.masks, truth.masks, strict=True):
        shared = (mask.mask() & true.mask()).sum() / (mask.mask() | true.mask()).sum()
        assert shared > 0.93
        assert mask.size == SIZE
    assert average_precision([found], [truth]).ap > 0.85


@pytest.mark.parametrize("family", FAMILIES)
def test_masks_follow_their_boxes_through_choice_and_suppression(family: str) -> None:
    one = ask(family, top_k=1)
    assert (one.labels, one.masks) == (LABELS[:1], ask(family).masks[:1])
    assert ask(family, min_score=0.95).masks == ()


@pytest.mark.parametrize("family", FAMILIES)
def test_masks_stay_in_their_boxes_and_the_answer_survives_json(family: str) -> None:
    found = ask(family)
    for mask, (left, top, right, bottom) in zip(found.masks, found.boxes.tolist(), strict=True):
        ys, xs = np.nonzero(mask.mask())
        assert left - 1 <= xs.min() <= xs.max() <= right
        assert top - 1 <= ys.min() <= ys.max() <= bottom
    told = msgspec.json.decode(msgspec.json.encode(found.predictions()))
    assert restore(told).predictions() == found.predictions()
    assert restore(told).masks == found.masks
    assert restore([]).masks == ()
    assert told[0]["area"] == found.masks[0].area


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_numbers_that_are_none_do_no_harm(family: str, value: float) -> None:
    decoder, raw, labels = FAMILIES[family]
    for name, array in raw.items():
        if array.dtype.kind != "f":
            continue
        spoilt = array.copy()
        spoilt.reshape(-1)[::3] = value
        found = decoder.decode(raw | {name: spoilt}, placement(), labels, InstancesOptions())
        assert b"null" not in msgspec.json.encode(found.predictions())


@pytest.mark.parametrize(
    ("family", "name", "shape"),
    [
        ("yolo-v8", "output1", (2, 16)),
        ("yolo-v8", "output1", (4, 16, 16)),
        ("yolo-v8", "output1", (2, 0, 16)),
        ("yolo-v5", "output0", (40, 7)),
        ("yolo-end2end", "output0", (3, 7)),
        ("tf", "detection_masks", (2, 28)),
        ("tf", "detection_masks", (1, 28, 28)),
        ("torchvision", "masks", (2, 3, 64, 64)),
        ("torchvision", "masks", (2, 1, 0, 64)),
    ],
)
def test_outputs_of_another_shape_are_refused(
    family: str, name: str, shape: tuple[int, ...]
) -> None:
    decoder, raw, labels = FAMILIES[family]
    wrong = raw | {name: np.zeros(shape, np.float32)}
    with pytest.raises(HeliographError) as caught:
        decoder.decode(wrong, placement(), labels, InstancesOptions())
    assert caught.value.code is Code.BAD_SHAPE
    del wrong[name]
    with pytest.raises(HeliographError) as caught:
        decoder.decode(wrong, placement(), labels, InstancesOptions())
    assert caught.value.code is Code.BAD_SHAPE


def test_parts_that_do_not_fit_are_refused() -> None:
    found = ask("tf")
    with pytest.raises(HeliographError) as caught:
        Instances(found.boxes, found.scores, found.class_ids, found.labels, found.masks[:1])
    assert caught.value.code is Code.BAD_SHAPE


def test_a_box_that_leaves_the_picture_keeps_the_part_that_is_inside() -> None:
    raw = tf()
    raw["detection_boxes"] = np.array([[0.25, 0.5, 0.75, 1.5], [0.25, 0.2, 0.5, 0.4]], np.float32)
    raw["detection_masks"] = np.zeros((2, 4, 4), np.float32)
    raw["detection_masks"][:, :, 2:] = 1  # Only what lies to the right.
    found = TfMasks().decode(raw, placement(), BEHIND, InstancesOptions())
    outside, inside = found.masks
    assert outside.area == 0
    assert np.nonzero(inside.mask())[1].min() == pytest.approx(48, abs=1)


def test_average_precision_is_that_of_coco() -> None:
    kept = GOLDEN["ap"]
    answers: list[Instances] = []
    truth: list[Truth] = []
    for picture in range(kept["pictures"]):
        mine = [one for one in kept["answers"] if one["picture"] == picture]
        mine.sort(key=lambda one: -one["score"])
        theirs = [one for one in kept["truth"] if one["picture"] == picture]
        masks, true = (
            tuple(Rle.from_json({"size": kept["size"], "counts": one["counts"]}) for one in side)
            for side in (mine, theirs)
        )
        answers.append(
            Instances(
                np.zeros((len(mine), 4), np.float32),
                np.array([one["score"] for one in mine], np.float32),
                np.array([one["class_id"] for one in mine], np.int64),
                tuple(str(one["class_id"]) for one in mine),
                masks,
            )
        )
        truth.append(Truth(true, np.array([one["class_id"] for one in theirs], np.int64)))
    told = average_precision(answers, truth)
    assert told.ap == pytest.approx(kept["ap"], abs=1e-6)
    assert told.ap50 == pytest.approx(kept["ap50"], abs=1e-6)
    assert average_precision([], []).ap == 0


def test_instances_of_one_class_are_drawn_in_different_colours() -> None:
    raw = tf()
    raw["detection_classes"] = np.array([1, 1], np.float32)
    found = TfMasks().decode(raw, placement(), BEHIND, InstancesOptions())
    pixels = np.full((SIZE.height, SIZE.width, 3), 90, np.uint8)
    drawn = found.draw(pixels)
    assert (pixels == 90).all()
    first, second = drawn[70, 50], drawn[50, 120]
    assert (first != 90).any()
    assert (second != 90).any()
    assert np.abs(first.astype(int) - second).sum() > 60
    assert (drawn[110, 150] == 90).all()
