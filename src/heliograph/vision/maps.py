"""Maps of a model's input -> maps of the picture: masks, classes and strengths, cell by cell.

A map's cells cover the whole input evenly, whatever their stride; the centre of cell i of n lies at
(i + 0.5) / n of the input's side ("half-pixel centres", what PyTorch calls `align_corners=False`).
Only cells whose centre lies in the part that the picture fills are read, so that what a model says
about padding never bleeds into the picture; beyond the outermost of them the nearest counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from heliograph.vision.geometry import Placement

T = TypeVar("T", bound=np.generic)

_VALUES = 1 << 18


@dataclass(frozen=True, slots=True)
class Axis:
    """Where the pixels of one side of a picture lie among the cells of a map.

    Attributes:
        first: the first pixel of the picture that is meant; pixels before it are not seen.
        pixels: how many are meant.
        start: where the first one's centre lies, in cells; whole numbers are centres of cells.
        step: how far on each next one lies.
        low: the first cell that may be read; `high` the last.
        high: the last cell that may be read.
    """

    first: int
    pixels: int
    start: float
    step: float
    low: int
    high: int

    def cut(self, first: float, last: float) -> Self:
        """The part from picture pixel `first` to before `last`, as far as there is one."""
        end = self.first + self.pixels
        begin = min(max(self.first, math.floor(first)), end)
        many = max(0, min(end, math.ceil(last)) - begin)
        return replace(
            self, first=begin, pixels=many, start=self.start + self.step * (begin - self.first)
        )

    @property
    def centres(self) -> NDArray[np.float64]:
        """Float64 [pixels]: where each centre lies, in cells that may be read."""
        at = np.arange(self.pixels, dtype=np.float64) * self.step + self.start
        return at.clip(self.low, self.high)

    @property
    def nearest(self) -> NDArray[np.intp]:
        """Intp [pixels]: the cell that each lies in."""
        return np.floor(self.centres + 0.5).clip(self.low, self.high).astype(np.intp)

    @property
    def between(self) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
        """The cells before and behind each pixel, and how far it is from one to the other, 0-1."""
        at = self.centres
        before = np.floor(at).astype(np.intp)
        return before, np.minimum(before + 1, self.high), (at - before).astype(np.float32)


class Axes(NamedTuple):
    """Both sides: `rows` downwards, `columns` to the right."""

    rows: Axis
    columns: Axis

    def cut(self, left: float, top: float, right: float, bottom: float) -> Axes:
        """The part within a rectangle of the picture, in its pixels."""
        return Axes(self.rows.cut(top, bottom), self.columns.cut(left, right))


def axes(placement: Placement, down: int, across: int) -> Axes:
    """Where the picture's pixels lie in a map of the model's input.

    Args:
        placement: from the input to the picture. A `crop` leaves pixels at the picture's edge out.
        down: rows of the map.
        across: columns of the map.
    """
    source, target, input_ = placement.source, placement.target, placement.input
    return Axes(
        _axis(source.y, source.height, target.y, target.height, down / input_.height),
        _axis(source.x, source.width, target.x, target.width, across / input_.width),
    )


def _axis(start: float, length: float, begin: float, extent: float, cells: float) -> Axis:
    """One side: `start, length` in the picture, `begin, extent` in the input."""
    first = math.floor(start)
    step = extent / length * cells
    at = (first + 0.5 - start) * step + begin * cells - 0.5
    low, high = math.ceil(begin * cells - 0.5), math.floor((begin + extent) * cells - 0.5)
    if low > high:  # Not one centre within: a picture much longer than wide.
        low = high = math.floor((begin + extent / 2) * cells)
    return Axis(first, math.ceil(start + length) - first, at, step, low, high)


def framed(box: Sequence[float], placement: Placement, down: int, across: int) -> Axes:
    """Where the picture's pixels lie in a map of one box.

    Args:
        box: left, top, right, bottom in pixels of the picture, not clipped to it.
        placement: says the picture's size; only pixels within box and picture are meant.
        down: rows of the map; its outermost cells lie *around* the box: see `fading`.
        across: columns of the map, likewise.
    """
    left, top, right, bottom = box
    return Axes(
        _framed(top, bottom, placement.size.height, down),
        _framed(left, right, placement.size.width, across),
    )


def _framed(low: float, high: float, side: int, cells: int) -> Axis:
    first = min(max(0, math.floor(low)), side)
    last = max(first, min(side, math.ceil(high)))
    step = (cells - 2) / max(high - low, 1e-6)
    return Axis(first, last - first, (first + 0.5 - low) * step + 0.5, step, 0, cells - 1)


def fading(grid: NDArray[np.float32]) -> NDArray[np.float32]:
    """A map of a box with a cell of 0 all around, towards which it fades as references paste it."""
    return np.pad(grid, 1)


def nearest(grid: NDArray[T], where: Axes) -> NDArray[T]:
    """The value of the cell that each pixel lies in.

    Args:
        grid: [down, across], any type.
        where: see `axes`.

    Returns:
        One value for each pixel meant: [rows, columns].
    """
    return grid[where.rows.nearest][:, where.columns.nearest]


def bilinear(grid: NDArray[np.float32], where: Axes) -> NDArray[np.float32]:
    """Values between the centres of cells, linear in both directions.

    Args:
        grid: float32 [down, across], finite.
        where: see `axes` and `framed`.

    Returns:
        float32 [rows, columns].
    """
    rows, columns = where
    if not (rows.pixels and columns.pixels):
        return np.zeros((rows.pixels, columns.pixels), np.float32)
    readable = np.ascontiguousarray(grid[rows.low : rows.high + 1, columns.low : columns.high + 1])
    matrix = np.array(
        [
            [columns.step, 0, columns.start - columns.low],
            [0, rows.step, rows.start - rows.low],
        ],
        np.float64,
    )
    return np.asarray(
        cv2.warpAffine(
            readable,
            matrix,
            (columns.pixels, rows.pixels),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        ),
        np.float32,
    )


def choose(grid: NDArray[np.float32], where: Axes) -> NDArray[np.uint16]:
    """The strongest of several maps at each pixel, each map interpolated as by `bilinear`.

    Where the four cells around a pixel agree on the strongest map, every mixture of them does, too:
    only the pixels of borders are computed, which are few.

    Args:
        grid: float32 [down, across, maps], finite, C-contiguous, at most 65535 maps.
        where: see `axes`.

    Returns:
        uint16 [rows, columns]: which map is the strongest; of equal ones the first.
    """
    best = grid.argmax(axis=-1).astype(np.uint16)
    above, below, down = where.rows.between
    left, right, across = where.columns.between
    chosen = best[above][:, left]
    mixed = np.zeros(chosen.shape, np.bool_)
    for rows, columns in ((above, right), (below, left), (below, right)):
        mixed |= chosen != best[rows][:, columns]
    ys, xs = np.nonzero(mixed)
    many = max(1, _VALUES // grid.shape[-1])
    for begin in range(0, ys.size, many):
        y, x = ys[begin : begin + many], xs[begin : begin + many]
        upper, lower = (
            _mix(grid[line, left[x]], grid[line, right[x]], across[x])
            for line in (above[y], below[y])
        )
        chosen[y, x] = _mix(upper, lower, down[y]).argmax(axis=-1)
    return chosen


def _mix(
    one: NDArray[np.float32], other: NDArray[np.float32], part: NDArray[np.float32]
) -> NDArray[np.float32]:
    mixed: NDArray[np.float32] = (other - one) * part[:, None]
    return np.add(mixed, one, out=mixed)
