"""Drawing: nothing of the caller's changes, labels stay inside, any text goes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from heliograph.vision import draw

TEXTS = [
    "dog 98%",
    "Hündin 犬 собака كلب",
    "",
    "a\nb\tc\x00d",
    "\ud800 lone surrogate",
    "\u202eright to left\u202c",
    "👩‍👩‍👧 family",
    "x" * 10_000,
]


def grey(height: int = 120, width: int = 200) -> draw.Pixels:
    return np.full((height, width, 3), 90, np.uint8)


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
@pytest.mark.parametrize("size", [(1, 1), (3, 400), (120, 200)])
def test_any_text_on_any_picture(text: str, size: tuple[int, int]) -> None:
    pixels = grey(*size)
    corners = np.array([[-5, -5, size[1] + 5, size[0] + 5], [0, 0, 1, 1]], np.float32)
    for drawn in (
        draw.caption(pixels, [text, text]),
        draw.boxes(pixels, corners, [text, text], [0, 10**6]),
    ):
        assert drawn.shape == pixels.shape
        assert drawn.dtype == np.uint8
        assert not np.shares_memory(drawn, pixels)
    assert (pixels == 90).all()


def test_a_caption_lies_in_the_upper_left() -> None:
    changed = (draw.caption(grey(), ["dog 98%", "cat 1%"]) != 90).any(axis=-1)
    rows, columns = np.nonzero(changed)
    assert rows.size > 0
    assert rows.max() < 60
    assert columns.max() < 110
    assert (draw.caption(grey(), []) == 90).all()


def test_boxes_are_drawn_where_they_are_in_their_colour() -> None:
    drawn = draw.boxes(grey(), np.array([[50, 40, 150, 100]], np.float32), [""], [3])
    assert tuple(drawn[40, 100]) == draw.colour(3)
    assert tuple(drawn[70, 150]) == draw.colour(3)
    assert tuple(drawn[70, 100]) == (90, 90, 90)


def test_boxes_that_are_no_numbers_are_left_out() -> None:
    corners = np.array([[np.nan, 0, 9, 9], [0, 0, np.inf, 9]], np.float32)
    assert (draw.boxes(grey(), corners, ["a", "b"], [1, 2]) == 90).all()
    none = np.zeros((0, 4), np.float32)
    assert (draw.boxes(grey(), none, [], []) == 90).all()


def test_labels_do_not_cover_each_other() -> None:
    one = np.array([[40, 60, 180, 110]], np.float32)
    single = (draw.boxes(grey(), one, ["same"], [1]) != 90).any(axis=-1).sum()
    both = draw.boxes(grey(), np.repeat(one, 2, axis=0), ["same", "same"], [1, 1])
    assert (both != 90).any(axis=-1).sum() > single + 100


def test_poses_draw_seen_joints_and_their_limbs() -> None:
    points = np.array([[[20, 20], [100, 20], [100, 100], [np.nan, 5]]], np.float32)
    scores = np.array([[0.9, 0.9, 0.1, 0.9]], np.float32)
    drawn = draw.poses(grey(), points, scores, [(0, 1), (1, 2), (0, 3)], 0.3)
    # Limbs are smoothed: nearly the person's colour.
    assert np.abs(drawn[20, 60].astype(int) - draw.colour(0)).max() < 40
    assert tuple(drawn[60, 100]) == (90, 90, 90)
    far = draw.poses(grey(), points * 1e9, scores, [(0, 1)], 0.3)
    assert far.shape == (120, 200, 3)


def test_colours_are_stable_and_apart() -> None:
    assert draw.colour(0) == draw.colour(0)
    first = [np.array(draw.colour(one), int) for one in range(16)]
    assert min(np.abs(a - b).sum() for a, b in itertools.combinations(first, 2)) > 30
    assert len({draw.colour(one) for one in range(100)}) == 100


def test_classes_are_laid_over_and_the_rest_stays() -> None:
    ids = np.full((120, 200), draw.NO_CLASS)
    ids[40:80, 50:150] = 3
    drawn = draw.overlay(grey(), ids)
    assert (drawn[:30] == 90).all()
    assert np.abs(drawn[60, 100] - (0.45 * 90 + 0.55 * np.array(draw.colour(3)))).max() <= 1
    assert tuple(drawn[40, 100]) == draw.colour(3)
    assert (draw.overlay(grey(), np.full((120, 200), draw.NO_CLASS)) == 90).all()
    shown = draw.palette_picture(ids)
    assert tuple(shown[60, 100]) == draw.colour(3) == tuple(draw.palette()[3])
    assert tuple(shown[0, 0]) == (0, 0, 0) == tuple(draw.palette()[255])


@pytest.mark.parametrize("size", [(1, 1), (5, 200), (120, 200), (900, 40)])
def test_a_legend_stays_inside_whatever_it_says(size: tuple[int, int]) -> None:
    pixels = np.full((*size, 3), 90, np.uint8)
    drawn = draw.legend(pixels, range(50), ["Straße " * 30] * 50)
    assert drawn.shape == pixels.shape
    assert (pixels == 90).all()
    assert (draw.legend(pixels, [], []) == 90).all()


def test_a_legend_shows_each_colour() -> None:
    drawn = draw.legend(np.full((400, 400, 3), 90, np.uint8), [5, 9], ["road", "sky"])
    for one in (5, 9):
        assert (drawn == draw.colour(one)).all(axis=-1).sum() > 50


def test_masks_are_filled_and_outlined_and_empty_ones_left_out() -> None:
    mask, nothing = np.zeros((2, 120, 200), np.bool_)
    mask[40:80, 50:150] = True
    drawn = draw.masks(grey(), [(mask, 4), (nothing, 5)])
    assert np.abs(drawn[60, 100] - (45 + np.array(draw.colour(4)) / 2)).max() <= 1
    assert tuple(drawn[40, 100]) == draw.colour(4)
    assert (drawn[:30] == 90).all()
    assert not (drawn == draw.colour(5)).all(axis=-1).any()
