"""How a picture is laid into a model's input, and the way back to the picture's own pixels."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from heliograph.vision.picture import Size

Fit = Literal["stretch", "contain", "crop", "height"]
"""`stretch`: the whole picture, each side scaled on its own. `contain`: the whole picture, aspect
kept, padded (letterbox). `crop`: the central part that has the input's aspect. `height`: the whole
picture, scaled to the input's height and padded on the right; one that is too wide is squeezed."""


@dataclass(frozen=True, slots=True)
class Rect:
    """An axis-aligned rectangle in pixels, `x, y` its upper left corner."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a picture lies in a model's input.

    Attributes:
        source: the part of the upright full-size picture that is used, in its pixels.
        target: where that part lies in the model's input, in input pixels.
        input: width and height of the model's input.
        size: width and height of the upright full-size picture.
    """

    source: Rect
    target: Rect
    input: Size
    size: Size

    def points(self, x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take input pixels back to picture pixels.

        Args:
            x: float32 [...] columns in the model's input, in input pixels.
            y: float32 [...] rows, same shape.

        Returns:
            float32 [..., 2]: x, y in pixels of the upright picture (not clipped).
        """
        across = self.source.width / self.target.width
        down = self.source.height / self.target.height
        return np.stack(
            [
                (x - self.target.x) * across + self.source.x,
                (y - self.target.y) * down + self.source.y,
            ],
            axis=-1,
        ).astype(np.float32)

    def boxes(self, corners: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take corner boxes from input pixels to clipped picture pixels.

        Args:
            corners: float32 [n, 4]: left, top, right, bottom in input pixels.

        Returns:
            float32 [n, 4]: left, top, right, bottom in pixels of the upright picture, within it.
        """
        low = self.points(corners[:, 0], corners[:, 1])
        high = self.points(corners[:, 2], corners[:, 3])
        out = np.concatenate([low, high], axis=1)
        bound = np.array([self.size.width, self.size.height] * 2, dtype=np.float32)
        return np.clip(out, 0, bound)


@dataclass(frozen=True, slots=True)
class Sides:
    """How large a model's input is for pictures of different sizes.

    Attributes:
        width: pixels; 0 where it follows the picture.
        height: likewise.
        step: sides that follow the picture are multiples of this.
        shortest: with both sides free: the picture is enlarged until its shorter side is at least
            this; with one: that side is at least this. 0 for no bound.
        longest: the same for the longer side, which is made at most this; it wins.
    """

    width: int = 0
    height: int = 0
    step: int = 1
    shortest: int = 0
    longest: int = 0

    def of(self, size: Size, fit: Fit) -> Size:
        """The input's size for an upright picture of `size`."""
        if self.width and self.height:
            return Size(self.width, self.height)
        if self.width or self.height:
            return self._one_free(size, fit)
        scale = max(1.0, self.shortest / min(size))
        if self.longest:
            scale = min(scale, self.longest / max(size))
        return Size(*(self._rounded(side * scale, fit) for side in size))

    def _one_free(self, size: Size, fit: Fit) -> Size:
        wide = self.width == 0
        scale = self.height / size.height if wide else self.width / size.width
        free = max((size.width if wide else size.height) * scale, self.shortest)
        free = self._rounded(min(free, self.longest or math.inf), fit)
        return Size(free, self.height) if wide else Size(self.width, free)

    def _rounded(self, side: float, fit: Fit) -> int:
        """To the nearest step; up to the next where the picture keeps its aspect and is padded."""
        steps = side / self.step
        # 480 * (1 / 480 * 320) is 320.00000000000006 in floating point: it means 320.
        whole = round(steps) if fit in {"stretch", "crop"} else math.ceil(steps - 1e-6)
        most = self.longest // self.step if self.longest else whole
        return max(1, min(whole, max(1, most))) * self.step


@functools.lru_cache(maxsize=1024)
def place(
    size: Size, target: Size, fit: Fit, *, crop_fraction: float = 1.0, centred: bool = True
) -> Placement:
    """Decide which part of a picture goes where in a model's input.

    Args:
        size: the upright full-size picture.
        target: the model's input.
        fit: see `Fit`.
        crop_fraction: for `crop`: which part of the largest central rectangle is taken, 0-1
            (EfficientNet: size / (size + 32)).
        centred: for `contain`: pad on both sides; otherwise only right and below.
    """
    whole = Rect(0, 0, size.width, size.height)
    if fit == "stretch":
        return Placement(whole, Rect(0, 0, *target), target, size)
    if fit == "contain":
        scale = min(target.width / size.width, target.height / size.height)
        width = max(1, min(target.width, round(size.width * scale)))
        height = max(1, min(target.height, round(size.height * scale)))
        left, top = (
            ((target.width - width) // 2, (target.height - height) // 2) if centred else (0, 0)
        )
        return Placement(whole, Rect(left, top, width, height), target, size)
    if fit == "height":
        # Rounded up as PP-OCR does; less 1e-6 for what floating point adds to whole numbers.
        width = math.ceil(size.width * target.height / size.height - 1e-6)
        return Placement(
            whole, Rect(0, 0, max(1, min(target.width, width)), target.height), target, size
        )
    scale = min(size.width / target.width, size.height / target.height) * crop_fraction
    # 280 * (2304 / 280 * 0.875) is 2015.9999999999998 in floating point: it means 2016.
    width = max(1, int(target.width * scale + 1e-6))
    height = max(1, int(target.height * scale + 1e-6))
    # (n + 1) // 2: the rounding of the EfficientNet reference's central crop.
    left, top = (size.width - width + 1) // 2, (size.height - height + 1) // 2
    return Placement(Rect(left, top, width, height), Rect(0, 0, *target), target, size)


def least(placement: Placement) -> Size:
    """The smallest size of the whole picture at which `source` still covers `target`."""
    source, target = placement.source, placement.target
    return Size(
        math.ceil(placement.size.width * target.width / source.width),
        math.ceil(placement.size.height * target.height / source.height),
    )
