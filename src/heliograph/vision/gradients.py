"""Edges by gradient: Canny, Sobel and Scharr, on luma.

Used by the `edges` task and by the `edges` step of a pipeline.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from heliograph.core.errors import Code, HeliographError
from heliograph.vision.filters import Grey, luma
from heliograph.vision.picture import Pixels

Method: TypeAlias = Literal["canny", "sobel", "scharr"]

_SIGMA = 0.33
_LEAST_LOW, _LEAST_HIGH = 10.0, 30.0


def strength(
    pixels: Pixels,
    method: Method = "canny",
    low: float | None = None,
    high: float | None = None,
    blur: float = 0.0,
) -> NDArray[np.uint8]:
    """How much of an edge each pixel is.

    Args:
        pixels: uint8 RGB [h, w, 3].
        method: `canny` (Canny, 1986): thin lines, 0 or 255. `sobel`, `scharr`: the length of the
            gradient by that 3 x 3 kernel; a step of a quarter of the range gives 255 already.
        low: for `canny`: gradient from which a pixel continues an edge, 0-255.
        high: for `canny`: gradient from which a pixel starts an edge, 0-255. Left out, both follow
            from the picture (`thresholds`); with one of them given, `high = 2 * low`.
        blur: sigma of a Gaussian before, in pixels; 0 leaves it out.

    Returns:
        uint8 [h, w], 0-255.
    """
    grey = luma(pixels)
    if blur > 0:
        grey = np.asarray(cv2.GaussianBlur(grey, (0, 0), blur), np.uint8)
    if method == "canny":
        return np.asarray(cv2.Canny(grey, *thresholds(grey, low, high), L2gradient=True), np.uint8)
    return _length(grey, method)


def thresholds(grey: Grey, low: float | None, high: float | None) -> tuple[float, float]:
    """Canny's two thresholds, 0-255.

    Where neither is given: 0.67 and 1.33 times the median luma (A. Rosebrock, "Zero-parameter,
    automatic Canny edge detection", PyImageSearch, 2015), but at least 10 and 30: the median of a
    picture on a black ground is 0, and its every grain would be an edge.
    """
    if low is not None or high is not None:
        start = high if high is not None else min(255.0, 2 * (low or 0.0))
        return (low if low is not None else start / 2), start
    middle = float(np.median(grey))
    return (
        max(_LEAST_LOW, (1 - _SIGMA) * middle),
        min(255.0, max(_LEAST_HIGH, (1 + _SIGMA) * middle)),
    )


def check(low: float | None, high: float | None) -> None:
    """Hold that Canny's thresholds are in order.

    Raises:
        HeliographError: `validation` if `low` is above `high`.
    """
    if low is not None and high is not None and low > high:
        raise HeliographError(
            Code.VALIDATION, f"low is expected to be at most high; low {low:g}, high {high:g} came."
        )


def _length(grey: Grey, method: Method) -> NDArray[np.uint8]:
    # Sobel's positive weights sum to 4, Scharr's to 16: now a step of 64 gives 255 with both.
    if method == "sobel":
        across = cv2.Sobel(grey, cv2.CV_32F, 1, 0)
        down = cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    else:
        across = cv2.Scharr(grey, cv2.CV_32F, 1, 0, scale=1 / 4)
        down = cv2.Scharr(grey, cv2.CV_32F, 0, 1, scale=1 / 4)
    return np.asarray(cv2.convertScaleAbs(cv2.magnitude(across, down)), np.uint8)
