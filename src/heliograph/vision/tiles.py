"""Pictures of any size through a model of one: cut in tiles, run each, joined without a seam.

Tiles overlap. In an overlap each tile counts less towards its edge, where its model saw nothing
of what lies beyond: not at all in the outermost quarter of the overlap, then rising evenly. The
weights of all tiles at a pixel add up to 1, so that a model that hands pixels through gives the
very picture back, and one that looks no further than a quarter of the overlap gives what it would
give for the whole picture at once. A picture smaller than a tile is mirrored at its edges.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from heliograph.core.errors import Code, HeliographError
from heliograph.vision.picture import Pixels, Size
from heliograph.vision.prepare import InputSpec
from heliograph.vision.tasks.base import Raw

Run: TypeAlias = Callable[[NDArray[Any]], Raw]
"""Runs one tensor without its batch axis; gives its output arrays by name, likewise without."""

Worked: TypeAlias = NDArray[np.float32]
"""float32 [h, w, 3], 0-255 where it is a colour; what a tile became."""


@runtime_checkable
class Tiled(Protocol):
    """A decoder that runs its model itself, once a tile; others are given one run's arrays."""

    def piecewise(self, pixels: Pixels, spec: InputSpec, run: Run) -> Raw:
        """Run the model over a whole picture.

        Args:
            pixels: uint8 [h, w, 3], the upright picture at full size.
            spec: the model's input; its `fit` does not count.
            run: the model.

        Returns:
            One array `picture`, uint8 [h', w', 3], for the decoder's own `decode`.
        """
        ...


def through(
    pixels: Pixels,
    tile: Size,
    overlap: int,
    work: Callable[[Pixels], Worked],
    *,
    max_pixels: int,
) -> Pixels:
    """Put a picture through `work`, tile by tile.

    Args:
        pixels: uint8 [h, w, 3].
        tile: what `work` takes, in pixels.
        overlap: of neighbouring tiles, at least, in pixels; less than a tile's side.
        work: uint8 [tile.height, tile.width, 3] to float32 [s * tile.height, s * tile.width, 3]
            with the same whole number s each time.
        max_pixels: of the result.

    Returns:
        uint8 [s * h, s * w, 3].

    Raises:
        HeliographError: `image_too_large` if the result would have more than `max_pixels`;
            `bad_shape` if what `work` gives is no enlargement of its tile.
    """
    height, width = pixels.shape[:2]
    padded = mirrored(pixels, Size(max(width, tile.width), max(height, tile.height)))
    tops = starts(padded.shape[0], tile.height, overlap)
    lefts = starts(padded.shape[1], tile.width, overlap)
    scale, across, down = 0, [np.zeros(0, np.float32)], [np.zeros(0, np.float32)]
    out, band = np.zeros((0, 0, 3), np.uint8), np.zeros((0, 0, 3), np.float32)
    for row, top in enumerate(tops):
        for column, left in enumerate(lefts):
            cut = padded[top : top + tile.height, left : left + tile.width]
            worked = work(np.ascontiguousarray(cut))
            if not scale:
                scale = _scale(worked, tile)
                _room(Size(width * scale, height * scale), max_pixels)
                across = weights(lefts, tile.width, overlap, scale)
                down = weights(tops, tile.height, overlap, scale)
                out = np.empty((padded.shape[0] * scale, padded.shape[1] * scale, 3), np.uint8)
                band = np.zeros((tile.height * scale, out.shape[1], 3), np.float32)
            if _scale(worked, tile) != scale:
                raise _uneven(worked, tile)
            part = band[:, left * scale : (left + tile.width) * scale]
            part += worked * (down[row][:, None] * across[column])[:, :, None]
        # Rows above the next tiles are finished; the others wait for those tiles' share.
        ready = (tops[row + 1] - top if row + 1 < len(tops) else tile.height) * scale
        out[top * scale : top * scale + ready] = np.rint(band[:ready]).clip(0, 255)
        band = np.concatenate([band[ready:], np.zeros_like(band[:ready])])
    return np.ascontiguousarray(out[: height * scale, : width * scale])


def starts(length: int, tile: int, overlap: int) -> list[int]:
    """Where tiles begin along a side: as few as overlap by `overlap`, spread evenly.

    Args:
        length: of the side, at least `tile`.
        tile: a tile's own length, more than `overlap`.
        overlap: at least this much is shared with the next.
    """
    steps = math.ceil((length - tile) / (tile - overlap))
    return [round(step * (length - tile) / max(1, steps)) for step in range(steps + 1)]


def weights(begin: list[int], tile: int, overlap: int, scale: int) -> list[NDArray[np.float32]]:
    """How much each tile counts along a side, for each pixel of its (enlarged) length.

    Returns:
        float32 [tile * scale] a tile; over all tiles they add up to 1 at every pixel.
    """
    inner = (np.arange(tile * scale) + 0.5) / scale
    ramp = max(overlap / 2, 1e-3)
    shapes: list[NDArray[np.float64]] = []
    total = np.zeros((begin[-1] + tile) * scale)
    for number, start in enumerate(begin):
        shape = np.ones(tile * scale)
        if number:
            shape = np.minimum(shape, (inner - overlap / 4) / ramp)
        if number + 1 < len(begin):
            shape = np.minimum(shape, (tile - inner - overlap / 4) / ramp)
        shapes.append(shape.clip(0, 1))
        total[start * scale : (start + tile) * scale] += shapes[-1]
    return [
        (shape / total[start * scale : (start + tile) * scale]).astype(np.float32)
        for start, shape in zip(begin, shapes, strict=True)
    ]


def mirrored(pixels: Pixels, size: Size) -> Pixels:
    """Extend a picture to the right and below, mirrored at its edges, to `size`."""
    height, width = pixels.shape[:2]
    if (width, height) == size:
        return pixels
    extra = ((0, size.height - height), (0, size.width - width), (0, 0))
    return np.pad(pixels, extra, mode="symmetric")


def _scale(worked: Worked, tile: Size) -> int:
    scale = worked.shape[0] // tile.height
    if worked.shape != (tile.height * scale, tile.width * scale, 3) or not scale:
        raise _uneven(worked, tile)
    return scale


def _uneven(worked: Worked, tile: Size) -> HeliographError:
    return HeliographError(
        Code.BAD_SHAPE,
        f"The model made {worked.shape[1]} x {worked.shape[0]} pixels of {tile.width} x "
        f"{tile.height}; expected a whole multiple of both sides, the same each time.",
    )


def _room(size: Size, most: int) -> None:
    if size.width * size.height > most:
        raise HeliographError(
            Code.IMAGE_TOO_LARGE,
            f"The answer would be {size.width} x {size.height} pixels; at most {most} are made. "
            "Send a smaller picture.",
        )
