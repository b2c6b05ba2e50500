"""Geometry on pixels: resize, crop, rotate, flip. Pure functions, one a verb.

Each verb that changes the size has a twin that says the size of its result, so that a pipeline can
be refused before a pixel of it is made. All take and give uint8 RGB [h, w, 3].
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import cv2
import numpy as np

from heliograph.vision import prepare
from heliograph.vision.picture import Pixels, Size

Fit: TypeAlias = Literal["inside", "cover", "stretch", "pad"]
"""`inside`: the whole picture, aspect kept, no larger than asked. `cover`: exactly the size asked,
filled, what hangs over is cut off evenly. `stretch`: exactly the size asked, aspect given up.
`pad`: `inside`, centred on a background of exactly the size asked."""
Resample: TypeAlias = Literal["auto", "nearest", "bilinear", "bicubic", "area", "lanczos"]
"""`auto`: `area` to make a picture smaller (no moire), `bicubic` to make it larger."""
Direction: TypeAlias = Literal["horizontal", "vertical", "both"]
Colour: TypeAlias = tuple[int, int, int]

BLACK: Colour = (0, 0, 0)


def _inside(size: Size, width: int, height: int) -> Size:
    """The largest size with the aspect of `size` within width x height; 0 leaves a side free."""
    scale = min(
        width / size.width if width else math.inf, height / size.height if height else math.inf
    )
    return Size(max(1, round(size.width * scale)), max(1, round(size.height * scale)))


def resized(size: Size, width: int, height: int, fit: Fit) -> Size:
    """The size that `resize` will give a picture of `size`."""
    if fit == "inside" or not (width and height):
        return _inside(size, width, height)
    return Size(width, height)


def resize(
    pixels: Pixels,
    width: int,
    height: int,
    fit: Fit = "inside",
    *,
    resample: Resample = "auto",
    background: Colour = BLACK,
) -> Pixels:
    """Make a picture larger or smaller.

    Args:
        pixels: uint8 [h, w, 3].
        width: pixels; 0 leaves it to the height and the aspect.
        height: pixels; 0 leaves it to the width and the aspect. Not both 0.
        fit: see `Fit`; matters only when both sides are given.
        resample: see `Resample`.
        background: for `pad`.
    """
    target = resized(size_of(pixels), width, height, fit)
    if fit == "cover" and width and height:
        return _scale(_aspect(pixels, target), target, resample)
    if fit == "pad" and width and height:
        scaled = _scale(pixels, _inside(size_of(pixels), width, height), resample)
        canvas = np.full((height, width, 3), background, np.uint8)
        top, left = (height - scaled.shape[0]) // 2, (width - scaled.shape[1]) // 2
        canvas[top : top + scaled.shape[0], left : left + scaled.shape[1]] = scaled
        return canvas
    return _scale(pixels, target, resample)


def _aspect(pixels: Pixels, target: Size) -> Pixels:
    """The largest central part of a picture that has the aspect of `target`."""
    size = size_of(pixels)
    scale = min(size.width / target.width, size.height / target.height)
    width = min(size.width, max(1, round(target.width * scale)))
    height = min(size.height, max(1, round(target.height * scale)))
    return crop(pixels, (size.width - width) // 2, (size.height - height) // 2, width, height)


def _scale(pixels: Pixels, target: Size, resample: Resample) -> Pixels:
    if resample == "auto":
        size = size_of(pixels)
        smaller = target.width <= size.width and target.height <= size.height
        resample = "area" if smaller else "bicubic"
    return prepare.resize(pixels, target, resample)


def crop(pixels: Pixels, x: int, y: int, width: int, height: int) -> Pixels:
    """Cut out a rectangle that lies within the picture; `x, y` is its upper left corner."""
    return np.ascontiguousarray(pixels[y : y + height, x : x + width])


def rotated(size: Size, angle: float) -> Size:
    """The size that `rotate` will give a picture of `size`."""
    turn = angle % 360
    if turn % 90 == 0:
        return Size(size.height, size.width) if turn % 180 else size
    sine, cosine = abs(math.sin(math.radians(turn))), abs(math.cos(math.radians(turn)))
    return Size(
        max(1, round(size.width * cosine + size.height * sine)),
        max(1, round(size.width * sine + size.height * cosine)),
    )


def rotate(pixels: Pixels, angle: float, background: Colour = BLACK) -> Pixels:
    """Turn a picture clockwise about its middle.

    Args:
        pixels: uint8 [h, w, 3].
        angle: degrees clockwise. Multiples of 90 move pixels and lose nothing; other angles
            interpolate (bicubic) onto a canvas that holds every corner.
        background: what the corners are filled with.
    """
    turn = angle % 360
    if turn % 90 == 0:
        return np.ascontiguousarray(np.rot90(pixels, k=-round(turn / 90)))
    size, target = size_of(pixels), rotated(size_of(pixels), angle)
    # cv2 counts angles anticlockwise and pixel centres from 0.
    matrix = cv2.getRotationMatrix2D(((size.width - 1) / 2, (size.height - 1) / 2), -turn, 1.0)
    matrix[:, 2] += (target.width - size.width) / 2, (target.height - size.height) / 2
    turned = cv2.warpAffine(
        pixels, matrix, target, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT,
        borderValue=background,
    )  # fmt: skip
    return np.asarray(turned, np.uint8)


def flip(pixels: Pixels, direction: Direction = "horizontal") -> Pixels:
    """Mirror a picture: `horizontal` swaps left and right, `vertical` top and bottom."""
    down = -1 if direction in {"vertical", "both"} else 1
    across = -1 if direction in {"horizontal", "both"} else 1
    return np.ascontiguousarray(pixels[::down, ::across])


def size_of(pixels: Pixels) -> Size:
    """Width and height of an array of pixels."""
    return Size(pixels.shape[1], pixels.shape[0])
