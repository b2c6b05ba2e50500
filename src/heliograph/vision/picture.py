"""The Picture: upright RGB pixels and what they were made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""uint8 [height, width, 3], RGB, sRGB-like, C-contiguous, 0-255."""


class Size(NamedTuple):
    """Width and height in pixels."""

    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture.

    Attributes:
        pixels: uint8 [h, w, 3] RGB, upright; may be smaller than the file's own size when the
            decoder scaled it down (`scale` > 1).
        size: width and height of the upright file at full size; every answer is in its pixels.
        format: the file's format, e.g. `jpeg`.
        scale: 1, 2, 4 or 8: by how much the JPEG decoder scaled down.
    """

    pixels: Pixels
    size: Size
    format: str
    scale: int = 1
