"""Masks as run lengths: the compressed form that COCO's tools read and write.

A mask is read column by column, from the top left down; `runs` are the lengths of its alternating
stretches of 0 and 1, a (perhaps empty) stretch of 0 first. The compressed text writes each length,
from the fourth on as the difference to the one two before, in pieces of five bits, lowest first, a
sixth bit for "more follow", each piece as the character 48 + piece.

Source of the format: `common/maskApi.c` (`rleToString`, `rleFrString`) of cocodataset/cocoapi.
Empty runs never stand inside, so that equal masks have equal texts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from heliograph.core.errors import Code, HeliographError
from heliograph.vision.picture import Size

Runs: TypeAlias = NDArray[np.int64]
"""int64 [n]: lengths of stretches of 0 and 1 in turn, column by column; 0 first."""

_PIECES = 7
_MOST_PIXELS = 1 << 31


@dataclass(frozen=True, slots=True)
class Rle:
    """A mask, held compressed: a few kilobytes for a photo's.

    Attributes:
        size: width and height of the whole mask, in pixels.
        counts: the compressed runs.
    """

    size: Size
    counts: str

    @classmethod
    def of(cls, mask: NDArray[np.bool_]) -> Self:
        """Compress a mask, bool [h, w]."""
        height, width = mask.shape
        return cls.placed(mask, 0, 0, Size(width, height))

    @classmethod
    def placed(cls, part: NDArray[np.bool_], left: int, top: int, size: Size) -> Self:
        """Compress a mask that is 0 but for a rectangle.

        Args:
            part: bool [h, w], the rectangle's own mask.
            left: column of its left edge; `top` likewise. It must lie within the mask.
            top: row of its upper edge.
            size: of the whole mask.
        """
        height, width = part.shape
        if not part.any():
            return cls.from_runs(np.array([size.width * size.height]), size)
        # One empty row above and below ends every stretch within its column.
        turned = np.zeros((width, height + 2), np.uint8)
        turned[:, 1:-1] = cv2.transpose(part.view(np.uint8))
        change = np.flatnonzero(turned.ravel()[1:] != turned.ravel()[:-1])
        column, row = np.divmod(change, height + 2)
        edges = (column + left) * size.height + row + top
        # A stretch that ends with its column and one that begins with the next are one.
        kept = np.ones(edges.size, np.bool_)
        touching = np.flatnonzero(edges[1:-1:2] == edges[2::2])
        kept[2 * touching + 1] = kept[2 * touching + 2] = False
        return cls.from_edges(edges[kept], size)

    @classmethod
    def from_edges(cls, edges: NDArray[np.int64], size: Size) -> Self:
        """Compress a mask given by where it changes.

        Args:
            edges: int64 [2 k], rising: where stretches of 1 begin and end, as positions in the
                column-by-column order.
            size: of the mask.
        """
        total = size.width * size.height
        runs = np.diff(edges, prepend=0, append=total)
        return cls.from_runs(runs if runs[-1] or runs.size == 1 else runs[:-1], size)

    @classmethod
    def from_runs(cls, runs: Runs, size: Size) -> Self:
        """Compress runs; they must add up to the mask's pixels."""
        return cls(size, compress(runs))

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Read COCO's form, `{"size": [height, width], "counts": text or list}`.

        Raises:
            HeliographError: `validation` if it is none, or its runs do not fill the mask.
        """
        try:
            height, width = (int(side) for side in value["size"])
            counts = value["counts"]
            if isinstance(counts, bytes):
                counts = counts.decode("ascii")
            runs = expand(counts) if isinstance(counts, str) else np.array(counts, np.int64)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise _wrong("a size [height, width] and counts") from error
        if height < 0 or width < 0 or height * width > _MOST_PIXELS:
            raise _wrong("a size of at most 2^31 pixels")
        if runs.ndim != 1 or (runs < 0).any() or int(runs.sum()) != height * width:
            raise _wrong(f"counts that add up to {height} x {width} pixels")
        # Written anew, so that equal masks are equal whoever wrote them.
        edges = np.cumsum(runs)
        edges = edges[: edges.size - edges.size % 2]
        return cls.from_edges(_without_empty(edges), Size(width, height))

    def to_json(self) -> dict[str, Any]:
        """COCO's compressed form: `{"size": [height, width], "counts": text}`."""
        return {"size": [self.size.height, self.size.width], "counts": self.counts}

    @property
    def runs(self) -> Runs:
        """The lengths of its stretches of 0 and 1, 0 first."""
        return expand(self.counts)

    @property
    def area(self) -> int:
        """How many pixels are 1."""
        return int(self.runs[1::2].sum())

    @property
    def edges(self) -> NDArray[np.int64]:
        """Int64 [2 k]: where stretches of 1 begin and end, column by column."""
        edges = np.cumsum(self.runs)
        # An odd number of runs ends in a stretch of 0, whose end is no edge.
        return edges[: edges.size - edges.size % 2]

    def mask(self) -> NDArray[np.bool_]:
        """The mask itself, bool [h, w]."""
        runs = self.runs
        turned = np.repeat(np.arange(runs.size) % 2 == 1, runs)
        columns = turned.view(np.uint8).reshape(self.size.width, self.size.height)
        if not columns.size:
            return np.zeros((self.size.height, self.size.width), np.bool_)
        return np.asarray(cv2.transpose(columns), np.uint8).view(np.bool_)


def split(class_map: NDArray[np.uint16]) -> dict[int, Rle]:
    """Compress the mask of every value of a map at once.

    Args:
        class_map: uint16 [h, w].

    Returns:
        value -> its mask, by rising value.
    """
    height, width = class_map.shape
    size = Size(width, height)
    if not class_map.size:
        return {}
    flat = np.asarray(cv2.transpose(class_map), np.uint16).ravel()
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    ends = np.append(starts[1:], flat.size)
    values = flat[starts]
    order = np.argsort(values, kind="stable")
    present, first = np.unique(values[order], return_index=True)
    pairs = np.stack([starts, ends], axis=1)[order]
    parts = np.split(pairs, first[1:])
    return {
        value: Rle.from_edges(part.ravel(), size)
        for value, part in zip(present.tolist(), parts, strict=True)
    }


def overlap(one: Rle, other: Rle) -> int:
    """How many pixels two masks of one size share, without unpacking them."""
    edges = other.edges
    filled = np.repeat(np.cumsum(edges[1::2] - edges[::2]), 2)
    filled[::2] -= edges[1::2] - edges[::2]
    if not edges.size:
        return 0
    # Between two edges the number of pixels so far grows by one a pixel or not at all.
    before = np.interp(one.edges, edges, filled)
    return int((before[1::2] - before[::2]).sum())


def iou(ours: list[Rle], theirs: list[Rle]) -> NDArray[np.float32]:
    """Intersection over union of every mask with every other.

    Args:
        ours: n masks.
        theirs: m masks of the same size.

    Returns:
        float32 [n, m], 0-1; 0 for two empty masks.
    """
    out = np.zeros((len(ours), len(theirs)), np.float32)
    areas = [other.area for other in theirs]
    for row, one in enumerate(ours):
        area = one.area
        for column, other in enumerate(theirs):
            shared = overlap(one, other)
            out[row, column] = shared / max(1, area + areas[column] - shared)
    return out


def compress(runs: Runs) -> str:
    """Runs to COCO's compressed text."""
    left = np.array(runs, np.int64)
    left[3:] -= runs[1:-2]
    pieces = np.zeros((left.size, _PIECES), np.uint8)
    used = np.zeros((left.size, _PIECES), np.bool_)
    going = np.ones(left.size, np.bool_)
    for at in range(_PIECES):
        piece = left & 31
        left >>= 5
        # The last piece's fifth bit is the sign: only the sign may be left above it.
        more = np.where(piece & 16, left != -1, left != 0)
        pieces[:, at] = piece + 32 * more + 48
        used[:, at] = going
        going = going & more
    return pieces[used].tobytes().decode("ascii")


def expand(text: str) -> Runs:
    """COCO's compressed text to runs.

    Raises:
        ValueError: it is no such text.
    """
    codes = np.frombuffer(text.encode("ascii"), np.uint8).astype(np.int64) - 48
    if not codes.size:
        return np.zeros(0, np.int64)
    if codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        raise ValueError("not a compressed run-length text")
    last = np.flatnonzero(codes & 32 == 0)
    first = np.concatenate([[0], last[:-1] + 1])
    if int((last - first).max()) >= _PIECES:
        raise ValueError("a run is longer than any mask")
    place = np.arange(codes.size) - np.repeat(first, last - first + 1)
    values = np.add.reduceat((codes & 31) << (5 * place), first)
    values -= np.where(codes[last] & 16, np.int64(1) << (5 * (place[last] + 1)), 0)
    # Undo the differences: each chain of every second run, from the second and the third on.
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def _without_empty(edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """Drop pairs of equal edges: stretches of length 0, of either value."""
    if not edges.size:
        return edges
    # Equal neighbours cancel in pairs: an edge stays if it stands an odd number of times.
    values, counts = np.unique(edges, return_counts=True)
    return values[counts % 2 == 1]


def _wrong(expected: str) -> HeliographError:
    return HeliographError(
        Code.VALIDATION, f"A run-length mask: expected {expected}; something else came."
    )
