"""Non-maximum suppression: hand-made cases, and the one-by-one loop as its reference."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from heliograph.vision.nms import iou, nms


def boxes(*corners: tuple[float, float, float, float]) -> NDArray[np.float32]:
    return np.array(corners, np.float32).reshape(-1, 4)


def scores(*values: float) -> NDArray[np.float32]:
    return np.array(values, np.float32)


def test_iou_of_known_pairs() -> None:
    a = boxes((0, 0, 10, 10), (5, 5, 5, 9))
    b = boxes((0, 0, 10, 10), (5, 0, 15, 10), (10, 10, 20, 20), (2, 2, 4, 4), (9, 9, 1, 1))
    np.testing.assert_allclose(iou(a, b), [[1, 1 / 3, 0, 0.04, 0], [0, 0, 0, 0, 0]], rtol=1e-6)


def test_iou_of_nothing() -> None:
    assert iou(boxes(), boxes((0, 0, 1, 1))).shape == (0, 1)
    assert iou(boxes((0, 0, 1, 1)), boxes()).shape == (1, 0)


def test_the_better_of_two_stays() -> None:
    two = boxes((0, 0, 10, 10), (1, 0, 11, 10))
    kept = nms(two, scores(0.6, 0.9), None, iou_threshold=0.5, limit=10)
    assert kept.tolist() == [1]


def test_an_overlap_of_exactly_the_threshold_is_allowed() -> None:
    two = boxes((0, 0, 2, 1), (1, 0, 2, 1))
    assert nms(two, scores(0.9, 0.8), None, iou_threshold=0.5, limit=10).tolist() == [0, 1]


def test_classes_do_not_compete_unless_asked() -> None:
    two = boxes((0, 0, 10, 10), (0, 0, 10, 10))
    ids = np.array([1, 2])
    assert nms(two, scores(0.6, 0.9), ids, iou_threshold=0.5, limit=10).tolist() == [1, 0]
    assert nms(two, scores(0.6, 0.9), None, iou_threshold=0.5, limit=10).tolist() == [1]


def test_a_suppressed_box_suppresses_nobody() -> None:
    chain = boxes((0, 0, 10, 10), (4, 0, 14, 10), (8, 0, 18, 10))
    kept = nms(chain, scores(0.9, 0.8, 0.7), None, iou_threshold=0.4, limit=10)
    assert kept.tolist() == [0, 2]


def test_equal_scores_keep_their_order() -> None:
    apart = boxes((0, 0, 1, 1), (2, 0, 3, 1), (4, 0, 5, 1))
    kept = nms(apart, scores(0.5, 0.5, 0.5), None, iou_threshold=0.5, limit=2)
    assert kept.tolist() == [0, 1]


def test_of_nothing_comes_nothing() -> None:
    assert nms(boxes(), scores(), None, iou_threshold=0.5, limit=5).tolist() == []


@pytest.mark.parametrize(("many", "limit"), [(40, 100), (256, 100), (900, 30), (900, 1000)])
@pytest.mark.parametrize("classes", [None, 3])
def test_blocks_answer_as_the_loop_does(many: int, limit: int, classes: int | None) -> None:
    random = np.random.default_rng(many)
    middles, half = random.uniform(0, 200, (many, 2)), random.uniform(5, 40, (many, 2))
    some = np.concatenate([middles - half, middles + half], axis=1).astype(np.float32)
    # Few distinct scores: many ties.
    values = (random.integers(1, 50, many) / 50).astype(np.float32)
    ids = random.integers(0, classes, many) if classes else np.zeros(many, np.int64)
    wanted = one_by_one(some, values, ids, 0.45)[:limit]
    given = nms(some, values, ids if classes else None, iou_threshold=0.45, limit=limit)
    assert given.tolist() == wanted


def one_by_one(
    some: NDArray[np.float32], values: NDArray[np.float32], ids: NDArray[np.int64], most: float
) -> list[int]:
    """The textbook loop."""
    overlaps = iou(some, some)
    kept: list[int] = []
    for index in np.argsort(-values, kind="stable").tolist():
        rivals = [one for one in kept if ids[one] == ids[index]]
        if all(overlaps[index, one] <= most for one in rivals):
            kept.append(index)
    return kept
