"""Goldens of every filter: a synthetic picture through each, kept as size and coarse colours.

`filters.json` holds, for each pipeline, the result's size and its mean colours in a 4 x 3 grid of
cells, which survive another version of OpenCV and still tell a wrong channel, a shifted crop or a
different formula. `--update-goldens` writes it anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypedDict

import cv2
import numpy as np
import pytest

from heliograph.vision import pipeline
from heliograph.vision.picture import Pixels

FILE = Path(__file__).with_name("filters.json")
TOLERANCE = 3
"""Of a cell's mean, in pixel values."""

PIPELINES = """
    grayscale; brightness:1.4; contrast:1.6; gamma:2.2; saturation:2; saturation:0.3; invert
    posterize:3; equalize; clahe:3:4; blur:3; blur:9; median:3; sharpen:2:2; denoise:20
    threshold:100; threshold:otsu; threshold:adaptive; edges; edges:30:90; edges:sobel; edges:scharr
    resize:48; resize:x96; resize:50x50; resize:50x50:cover; resize:50x50:stretch
    resize:50x50:pad:background=ff8000; resize:240:resample=lanczos; crop:10:5:60x40; crop:40x40
    rotate:90; rotate:270; rotate:30:background=0000ff; flip; flip:vertical
    crop:64x64,grayscale,resize:32x32,rotate:-15,sharpen,jpeg:80
"""


class Golden(TypedDict):
    """What is kept of a result."""

    size: list[int]
    cells: list[list[int]]


def scene() -> Pixels:
    """A picture with ramps, flat colours, fine texture and diagonal edges."""
    y, x = np.mgrid[0:80, 0:120]
    pixels = np.stack([x * 2, y * 3, 255 - x - y], axis=-1).clip(0, 255).astype(np.uint8)
    cv2.circle(pixels, (35, 30), 18, (230, 40, 30), -1)
    cv2.rectangle(pixels, (70, 10), (105, 40), (20, 60, 200), -1)
    cv2.line(pixels, (5, 75), (115, 50), (250, 250, 240), 3)
    pixels[55:75, 10:40] = np.where((x + y)[55:75, 10:40, None] % 4 < 2, 255, 0)
    return pixels


def golden(text: str) -> Golden:
    pixels, _ = pipeline.run(scene(), pipeline.parse(text))
    cells = cv2.resize(pixels, (4, 3), interpolation=cv2.INTER_AREA).reshape(-1, 3)
    return {
        "size": [pixels.shape[1], pixels.shape[0]],
        "cells": [[round(float(one)) for one in cell] for cell in cells],
    }


TEXTS = [text.strip() for text in PIPELINES.replace("\n", ";").split(";") if text.strip()]


@pytest.mark.parametrize("text", TEXTS)
def test_a_filter_gives_what_it_gave(text: str) -> None:
    kept: dict[str, Golden] = json.loads(FILE.read_text("utf-8"))
    now, then = golden(text), kept[text]
    assert now["size"] == then["size"]
    assert np.abs(np.array(now["cells"]) - then["cells"]).max() <= TOLERANCE


def test_every_golden_is_asked_for(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--update-goldens", default=False):
        lines = ",\n".join(f"{json.dumps(text)}: {json.dumps(golden(text))}" for text in TEXTS)
        FILE.write_text(f"{{\n{lines}\n}}\n", "utf-8")
    assert sorted(json.loads(FILE.read_text("utf-8"))) == sorted(TEXTS)
