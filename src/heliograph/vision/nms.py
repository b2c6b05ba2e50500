"""Non-maximum suppression: of boxes that overlap too much, only the best stays.

The greedy rule of every detector's reference code (a box falls if a better one of its class
overlaps it by *more* than the threshold), computed block by block: the best 256 boxes first, each
block held against the survivors before it and then against itself. The answer is that of the
one-by-one loop; the work is a few matrix operations, and it ends as soon as `limit` boxes stand.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BLOCK = 256


def iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union of every box of `a` with every box of `b`.

    Args:
        a: float32 [n, 4]: left, top, right, bottom; any unit, finite.
        b: float32 [m, 4], the same unit.

    Returns:
        float32 [n, m], 0-1; 0 where a box has no area.
    """
    left = np.maximum(a[:, None, 0], b[None, :, 0])
    top = np.maximum(a[:, None, 1], b[None, :, 1])
    wide = np.minimum(a[:, None, 2], b[None, :, 2])
    high = np.minimum(a[:, None, 3], b[None, :, 3])
    # In place from here on: the temporaries of a large matrix cost more than the arithmetic.
    np.maximum(np.subtract(wide, left, out=wide), 0, out=wide)
    np.maximum(np.subtract(high, top, out=high), 0, out=high)
    shared = np.multiply(wide, high, out=wide)
    union = np.add(_areas(a)[:, None], _areas(b)[None, :], out=left)
    np.subtract(union, shared, out=union)
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def nms(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    class_ids: NDArray[np.int64] | None,
    *,
    iou_threshold: float,
    limit: int,
) -> NDArray[np.intp]:
    """Choose the boxes that no better box of their class overlaps by more than a threshold.

    Args:
        boxes: float32 [n, 4]: left, top, right, bottom; any unit, finite.
        scores: float32 [n], finite.
        class_ids: int64 [n]: only boxes of one class compete; None: all compete.
        iou_threshold: 0-1; an overlap of exactly this much is allowed.
        limit: at most this many boxes are chosen, at least 1.

    Returns:
        intp [k]: indices of the chosen boxes, best first; of equal scores the lower index first.
    """

    def rivals(some: NDArray[np.intp], others: NDArray[np.intp]) -> NDArray[np.bool_]:
        clash = iou(boxes[some], boxes[others]) > iou_threshold
        if class_ids is not None:
            clash &= class_ids[some, None] == class_ids[None, others]
        return clash

    order = np.argsort(-scores, kind="stable")
    kept = order[:0]
    for start in range(0, order.size, _BLOCK):
        block = order[start : start + _BLOCK]
        if kept.size:
            block = block[~rivals(block, kept).any(axis=1)]
        kept = np.concatenate([kept, block[_survivors(rivals(block, block))]])
        if kept.size >= limit:
            break
    return kept[:limit]


def _survivors(clash: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which of n boxes, best first, stay, given which pairs of them cannot stay together."""
    later = np.triu(clash, 1)
    alive = np.ones(len(clash), np.bool_)
    for better in np.flatnonzero(later.any(axis=1)):
        if alive[better]:
            alive &= ~later[better]
    return alive


def _areas(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    return sides[:, 0] * sides[:, 1]
