"""Thinning a map of edge strengths to lines of one pixel, by suppressing what is no maximum.

A learned edge is a ridge some pixels wide. A pixel stays if neither neighbour across the ridge is
stronger; "across" is the direction in which the smoothed map bends down most (the eigenvector of
its Hessian). As Canny's thinning, but for ridges instead of steps (Dollár and Zitnick, "Fast Edge
Detection Using Structured Forests", 2015, do the same).
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

_SIGMA = 2.0
_REACH = 1.0
_STRIP = 512
_MARGIN = 16


def thinned(strength: NDArray[np.float32]) -> NDArray[np.float32]:
    """Keep the ridges' crests, as strong as they are; everything else becomes 0.

    Args:
        strength: float32 [h, w], finite.

    Returns:
        float32 [h, w].
    """
    out = np.empty_like(strength)
    # Strip by strip: of a large picture, the maps of derivatives would take ten times its memory.
    for top in range(0, len(strength), _STRIP):
        low, high = max(0, top - _MARGIN), top + _STRIP + _MARGIN
        out[top : top + _STRIP] = _strip(strength[low:high])[top - low : top - low + _STRIP]
    return out


def _strip(strength: NDArray[np.float32]) -> NDArray[np.float32]:
    smooth = cv2.GaussianBlur(strength, (0, 0), _SIGMA)
    across, down = cv2.Sobel(smooth, cv2.CV_32F, 2, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 2)
    mixed = cv2.Sobel(smooth, cv2.CV_32F, 1, 1)
    # The axis of the larger eigenvalue lies at half this angle; a ridge bends down, so turn by 90°.
    angle = np.arctan2(2 * mixed, across - down) / 2 + np.pi / 2
    step_x, step_y = np.cos(angle) * _REACH, np.sin(angle) * _REACH
    rows, columns = np.indices(strength.shape, np.float32)
    # A tie between two equal neighbours would leave both: one side must be strictly lower.
    ahead = _at(strength, columns + step_x, rows + step_y)
    behind = _at(strength, columns - step_x, rows - step_y)
    crest = (strength >= ahead) & (strength > behind)
    return np.where(crest, strength, np.float32(0))


def _at(values: NDArray[np.float32], x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float32]:
    """Values between pixels. Beyond the edge it repeats: anything lower makes crests of slopes."""
    x, y = x.astype(np.float32), y.astype(np.float32)
    found = cv2.remap(values, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, np.float32)
