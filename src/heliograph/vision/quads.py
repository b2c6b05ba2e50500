"""Quads: four-cornered pieces of a picture that need not be upright, such as lines of text.

A quad is float32 [4, 2]: x, y of its corners in pixels, clockwise as one looks at the picture,
beginning at the upper left *as its content reads*. So the first side runs along the text, and a
quad tells which way its text is turned: cutting out a quad always gives upright content.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from heliograph.vision.picture import Pixels

Quads: TypeAlias = NDArray[np.float32]
"""float32 [n, 4, 2]; see the module."""

_TALL = 1.5
_SAME_ROW = 0.5


def rectangle(points: NDArray[np.float32]) -> Quads:
    """The rectangle of least area around points.

    Args:
        points: float32 [n, 2]: x, y.

    Returns:
        float32 [4, 2]: clockwise from the corner nearest to the upper left.
    """
    corners = np.asarray(cv2.boxPoints(cv2.minAreaRect(points)), np.float32)
    return upright(corners)


def upright(corners: Quads) -> Quads:
    """Turn a clockwise or anticlockwise quad so that it reads as if nothing were turned.

    The first side becomes the one that points most to the right, of those that run clockwise; of
    equals the upper one.

    Args:
        corners: float32 [4, 2], in order around the quad.
    """
    if signed_area(corners) < 0:
        corners = corners[::-1]
    sides = np.roll(corners, -1, axis=0) - corners
    lengths = np.maximum(np.hypot(sides[:, 0], sides[:, 1]), 1e-6)
    # Rounded, so that a square's corners do not depend on the last digit of a float.
    start = int(np.argmax(np.round(sides[:, 0] / lengths, 4)))
    return np.roll(corners, -start, axis=0)


def along(corners: Quads) -> Quads:
    """Turn an upright quad that is much taller than wide by a quarter, so that its text lies.

    Text in a tall quad is taken to run from top to bottom, heads to the right, as on the spine of
    an English book; a direction classifier tells the other way.
    """
    wide, high = size(corners)
    return np.roll(corners, -1, axis=0) if high >= _TALL * wide else corners


def half_turn(corners: Quads) -> Quads:
    """The same quad with its content the other way round."""
    return np.roll(corners, 2, axis=-2)


def signed_area(corners: NDArray[Any]) -> float:
    """Area in square pixels; positive where the corners run clockwise on the picture."""
    x, y = corners[:, 0].astype(np.float64), corners[:, 1].astype(np.float64)
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def size(corners: Quads) -> tuple[float, float]:
    """Width and height in pixels: of each pair of opposite sides the longer one."""
    sides = np.hypot(*(np.roll(corners, -1, axis=0) - corners).T)
    return float(max(sides[0], sides[2])), float(max(sides[1], sides[3]))


def unclip(corners: Quads, ratio: float) -> Quads:
    """Grow a rectangle by `area * ratio / perimeter` on every side.

    Source: Liao, Wan, Yao, Chen and Bai, "Real-time Scene Text Detection with Differentiable
    Binarization", 2020, which learns shrunken regions. There a polygon is offset with rounded
    corners and a rectangle of least area laid around the outcome. Of a rectangle, that is the
    rectangle with each side moved outwards; the reference rounds its corners to whole pixels
    before, we do not.

    Args:
        corners: float32 [4, 2], a rectangle.
        ratio: at least 0.
    """
    across, down = corners[1] - corners[0], corners[3] - corners[0]
    wide, high = float(np.hypot(*across)), float(np.hypot(*down))
    if not wide or not high:
        return corners
    reach = wide * high * ratio / (2 * (wide + high))
    right, below = across * (reach / wide), down * (reach / high)
    outwards = np.array([-right - below, right - below, right + below, below - right])
    return (corners + outwards).astype(np.float32)


def crop(pixels: Pixels, corners: Quads) -> Pixels:
    """Cut a quad's content out, upright, at the quad's own size.

    Args:
        pixels: uint8 [h, w, 3].
        corners: float32 [4, 2] in its pixels.

    Returns:
        uint8 [height, width, 3] with the sides of `size`, each at least 1; what lies outside the
        picture repeats its edge.
    """
    wide, high = (max(1, int(side)) for side in size(corners))
    target = np.array([[0, 0], [wide, 0], [wide, high], [0, high]], np.float32)
    matrix = cv2.getPerspectiveTransform(np.ascontiguousarray(corners, np.float32), target)
    cut = cv2.warpPerspective(
        pixels, matrix, (wide, high), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(cut, np.uint8)


def boxes(corners: Quads) -> NDArray[np.float32]:
    """float32 [n, 4]: left, top, right, bottom around each quad of float32 [n, 4, 2]."""
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)


def overlap(one: Quads, other: Quads) -> float:
    """Intersection over union of two convex quads, 0-1."""
    # OpenCV's intersectConvexConvex errs where corners or sides of the two coincide.
    areas = abs(signed_area(one)), abs(signed_area(other))
    shared = abs(signed_area(_clipped(_clockwise(one), _clockwise(other))))
    union = sum(areas) - shared
    return min(1.0, shared / union) if union > 0 else 0.0


def _clockwise(corners: Quads) -> NDArray[np.float64]:
    return np.array(corners if signed_area(corners) >= 0 else corners[::-1], np.float64)


def _clipped(polygon: NDArray[np.float64], by: NDArray[np.float64]) -> NDArray[np.float64]:
    """What of a convex polygon is inside another, both clockwise (Sutherland and Hodgman, 1974)."""
    for start, end in zip(by, np.roll(by, -1, axis=0), strict=True):
        side = end - start
        inside = side[0] * (polygon[:, 1] - start[1]) - side[1] * (polygon[:, 0] - start[0])
        kept: list[NDArray[np.float64]] = []
        for at in range(len(polygon)):
            before, here = inside[at - 1], inside[at]
            if (before < 0) != (here < 0):
                share = before / (before - here)
                kept.append(polygon[at - 1] + share * (polygon[at] - polygon[at - 1]))
            if here >= 0:
                kept.append(polygon[at])
        polygon = np.array(kept).reshape(-1, 2)
    return polygon


def reading_order(corners: Quads) -> list[int]:
    """Indices of quads as one reads them: row by row, along the direction that most text runs.

    Two quads share a row if they overlap by half of the lower one's height. Columns are not told
    apart: a page of two is read across.

    Args:
        corners: float32 [n, 4, 2].

    Returns:
        All of 0 to n - 1.
    """
    if not len(corners):
        return []
    # From one order to begin with: of equals, which comes first must not depend on who found them.
    same = np.lexsort(corners.reshape(len(corners), -1).T)
    return same[_rows(corners[same])].tolist()


def _rows(corners: Quads) -> list[int]:
    x, y = _course(corners)
    turned = corners.astype(np.float64) @ np.array([[x, -y], [y, x]])
    left = turned[:, :, 0].min(axis=1)
    # The mean of the two upper and of the two lower corners: a tilted line is no higher for it.
    ends = np.sort(turned[:, :, 1], axis=1)
    top, bottom = ends[:, :2].mean(axis=1), ends[:, 2:].mean(axis=1)
    rows: list[list[int]] = []
    for one in np.lexsort((left, (top + bottom) / 2)).tolist():
        row = next((row for row in rows if _beside(row[-1], one, top, bottom)), None)
        if row is None:
            rows.append([one])
        else:
            row.append(one)
    return [one for row in rows for one in sorted(row, key=lambda one: (left[one], top[one]))]


def _course(corners: Quads) -> tuple[float, float]:
    """The unit vector along which most text runs."""
    runs = (corners[:, 1] - corners[:, 0] + corners[:, 2] - corners[:, 3]).astype(np.float64)
    # Squares of lengths, so that long lines outvote many crumbs. Right, down, left and up vote
    # apart: opposite lines would cancel out, and what is left of them points anywhere.
    votes = runs * np.hypot(runs[:, 0], runs[:, 1])[:, None]
    quarter = np.rint(np.arctan2(runs[:, 1], runs[:, 0]) / (np.pi / 2)).astype(int) % 4
    sums = np.stack([votes[quarter == one].sum(axis=0) for one in range(4)])
    lengths = np.hypot(sums[:, 0], sums[:, 1])
    best = int(np.argmax(lengths))
    if not lengths[best]:
        return 1.0, 0.0
    x, y = sums[best] / lengths[best]
    return float(x), float(y)


def _beside(one: int, other: int, top: NDArray[np.float64], bottom: NDArray[np.float64]) -> bool:
    shared = min(bottom[one], bottom[other]) - max(top[one], top[other])
    lower = min(bottom[one] - top[one], bottom[other] - top[other])
    return bool(shared > _SAME_ROW * lower)
