"""Run-length masks: the format of COCO's tools, and what is refused.

`tests/goldens/coco.json` holds masks as pycocotools 2.0.11 wrote them, and its IoU and AP of random
masks, so that agreement is tested without it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heliograph.core.errors import Code, HeliographError
from heliograph.vision import rle
from heliograph.vision.picture import Size
from heliograph.vision.rle import Rle

GOLDEN: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "goldens" / "coco.json").read_text("utf-8")
)


@pytest.mark.parametrize("one", GOLDEN["masks"])
def test_masks_are_written_and_read_as_by_coco(one: dict[str, Any]) -> None:
    mask = np.array([[sign == "1" for sign in row] for row in one["rows"]], np.bool_)
    made = Rle.of(mask)
    assert made.counts == one["counts"]
    assert made.area == one["area"]
    height, width = mask.shape
    back = Rle.from_json({"size": [height, width], "counts": one["counts"]})
    assert back == made
    assert np.array_equal(back.mask(), mask)


def test_overlaps_are_those_of_coco() -> None:
    kept = GOLDEN["iou"]
    ours, theirs = (
        [Rle.from_json({"size": kept["size"], "counts": one}) for one in kept[side]]
        for side in ("ours", "theirs")
    )
    assert rle.iou(ours, theirs) == pytest.approx(np.array(kept["table"]), abs=1e-6)
    assert rle.iou([], theirs).shape == (0, 4)


def test_a_list_of_runs_is_read_and_written_compressed() -> None:
    made = Rle.from_json({"size": [2, 3], "counts": [1, 3, 0, 1, 1]})
    assert made == Rle.from_json({"size": [2, 3], "counts": [1, 4, 1]})
    assert made.mask().astype(int).tolist() == [[0, 1, 1], [1, 1, 0]]
    assert made.to_json() == {"size": [2, 3], "counts": "141"}
    assert Rle.from_json({"size": [2, 3], "counts": b"141"}) == made


def test_a_part_is_placed_and_touching_columns_join() -> None:
    part = np.ones((4, 2), np.bool_)
    made = Rle.placed(part, 1, 0, Size(5, 4))
    assert made.runs.tolist() == [4, 8, 8]
    assert Rle.placed(~part, 1, 0, Size(5, 4)).runs.tolist() == [20]
    lower = Rle.placed(part[:2], 3, 2, Size(5, 4))
    assert lower.runs.tolist() == [14, 2, 2, 2]
    assert lower.mask()[2:, 3:].all()


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"size": [2, 3]},
        {"size": [2], "counts": "6"},
        {"size": [2, 3], "counts": "5"},
        {"size": [2, 3], "counts": "7"},
        {"size": [2, 3], "counts": [7, -1]},
        {"size": [2, 3], "counts": [[6]]},
        {"size": [-2, -3], "counts": "6"},
        {"size": [1 << 20, 1 << 20], "counts": "6"},
        {"size": [2, 3], "counts": "\u20ac"},
        {"size": [2, 3], "counts": " "},
        {"size": [2, 3], "counts": "Q"},
        {"size": [2, 3], "counts": "oooooooooooooooo1"},
        {"size": [2, 3], "counts": None},
        {"size": ["a", "b"], "counts": "6"},
    ],
)
def test_what_is_no_mask_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(HeliographError) as caught:
        Rle.from_json(wrong)
    assert caught.value.code is Code.VALIDATION


def test_empty_masks_are_masks() -> None:
    for shape in ((0, 0), (0, 3), (3, 0)):
        empty = Rle.of(np.zeros(shape, np.bool_))
        assert empty.area == 0
        assert empty.mask().shape == shape
        assert Rle.from_json(empty.to_json()) == empty
    assert rle.split(np.zeros((0, 4), np.uint16)) == {}
