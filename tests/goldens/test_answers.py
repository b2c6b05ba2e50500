"""Goldens of drawn answers: classes, a class map, instances, an enlarged picture.

`answers.json` holds each picture's size and its mean colours in a 6 x 4 grid of cells.
`--update-goldens` writes it anew; `--keep-pictures DIR` writes the pictures to be looked at.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from heliograph.vision import draw
from heliograph.vision.geometry import place
from heliograph.vision.picture import Pixels, Size
from heliograph.vision.prepare import InputSpec
from heliograph.vision.tasks.base import Raw
from heliograph.vision.tasks.detectors.masks import TorchvisionMasks
from heliograph.vision.tasks.enhancement import PictureOutput
from heliograph.vision.tasks.instances import InstancesOptions
from heliograph.vision.tasks.segmentation import ClassScores, SegmentationOptions

FILE = Path(__file__).with_name("answers.json")
TOLERANCE = 4
"""Of a cell's mean, in pixel values."""
WIDTH, HEIGHT = 360, 240
LABELS = ("sky", "hill", "house", "sun")


def view() -> Pixels:
    """A hill, a house on it and a sun, in dull colours."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    pixels = np.stack([150 + y // 8, 165 + y // 8, 190 + x // 12], axis=-1).astype(np.uint8)
    hill = y > 170 - 40 * np.sin(x / 115)
    pixels[hill] = (96, 120, 84)
    pixels[hill & (x // 6 % 2 == 0)] = (88, 112, 80)
    cv2.rectangle(pixels, (150, 80), (230, 150), (150, 110, 100), -1)
    cv2.circle(pixels, (300, 50), 26, (235, 225, 170), -1)
    return pixels


def classes() -> NDArray[np.float32]:
    """What a model of stride 8 says of the view: logits [4, 30, 45]."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    ids = (y > 170 - 40 * np.sin(x / 115)).astype(np.uint8)
    cv2.rectangle(ids, (150, 80), (230, 150), 2, -1)
    cv2.circle(ids, (300, 50), 26, 3, -1)
    share = np.eye(4, dtype=np.float32)[ids].reshape(30, 8, 45, 8, 4).mean((1, 3))
    return (8 * share - 4).transpose(2, 0, 1).copy()


def segmented(**options: Any) -> Any:
    placement = place(Size(WIDTH, HEIGHT), Size(WIDTH, HEIGHT), "stretch")
    decoder = ClassScores(activation="softmax")
    return decoder.decode({"logits": classes()}, placement, LABELS, SegmentationOptions(**options))


def instances() -> Pixels:
    maps = np.zeros((3, 1, HEIGHT, WIDTH), np.float32)
    boxes = np.array([[150, 80, 231, 151], [274, 24, 327, 77], [286, 30, 340, 90]], np.float32)
    cv2.rectangle(maps[0, 0], (150, 80), (230, 150), 1.0, -1)
    cv2.circle(maps[1, 0], (300, 50), 26, 1.0, -1)
    cv2.ellipse(maps[2, 0], (313, 60), (26, 28), 0, 0, 360, 1.0, -1)
    raw = {
        "boxes": boxes,
        "labels": np.array([2, 3, 3]),
        "scores": np.array([0.97, 0.91, 0.62], np.float32),
        "masks": maps,
    }
    placement = place(Size(WIDTH, HEIGHT), Size(WIDTH, HEIGHT), "stretch")
    return TorchvisionMasks().decode(raw, placement, LABELS, InstancesOptions()).draw(view())


def enlarged() -> Pixels:
    """Twice as large by a "model" that sharpens as it enlarges, in tiles."""

    def run(tensor: NDArray[np.float32]) -> Raw:
        large = cv2.resize(tensor[0], None, fx=2, fy=2, interpolation=cv2.INTER_LANCZOS4)
        return {"y": (1.5 * large - 0.5 * cv2.GaussianBlur(large, (0, 0), 2))[None]}

    spec = InputSpec(width=64, height=64, channels="GRAY", std=(255.0,))
    return PictureOutput(overlap=32).piecewise(view(), spec, run)["picture"]


PICTURES = {
    "overlay": lambda: segmented().draw(view()),
    "two classes": lambda: segmented(classes="house,sun").draw(view()),
    "map": lambda: segmented(draw="map").picture(),
    "instances": instances,
    "enlarged": enlarged,
    "palette": lambda: draw.palette().reshape(8, 32, 3).repeat(8, 0).repeat(8, 1),
}


def golden(pixels: Pixels) -> dict[str, Any]:
    cells = cv2.resize(pixels, (6, 4), interpolation=cv2.INTER_AREA).reshape(-1, 3)
    return {
        "size": [pixels.shape[1], pixels.shape[0]],
        "cells": [[round(float(one)) for one in cell] for cell in cells],
    }


@pytest.mark.parametrize("name", PICTURES)
def test_an_answer_looks_as_it_looked(name: str, request: pytest.FixtureRequest) -> None:
    pixels = PICTURES[name]()
    folder = request.config.getoption("--keep-pictures", default=None)
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(Path(folder) / f"{name.replace(' ', '-')}.png")
    kept = json.loads(FILE.read_text("utf-8"))[name]
    now = golden(pixels)
    assert now["size"] == kept["size"]
    assert np.abs(np.array(now["cells"]) - kept["cells"]).max() <= TOLERANCE


def test_every_golden_is_asked_for(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--update-goldens", default=False):
        lines = [f"{json.dumps(name)}: {json.dumps(golden(PICTURES[name]()))}" for name in PICTURES]
        FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")
    assert sorted(json.loads(FILE.read_text("utf-8"))) == sorted(PICTURES)
