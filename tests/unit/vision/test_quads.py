"""Quads: corners in order, growing, cutting out, overlap and reading order."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from heliograph.vision import quads
from support.pictures import scene


def box(left: float, top: float, right: float, bottom: float) -> quads.Quads:
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)


def turned(corners: NDArray[np.float32], degrees: float) -> quads.Quads:
    """Turned clockwise around the origin, as one looks at the picture."""
    angle = np.radians(degrees)
    matrix = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return (corners @ matrix).astype(np.float32)


@pytest.mark.parametrize("shift", range(4))
@pytest.mark.parametrize("step", [1, -1])
@pytest.mark.parametrize("degrees", [0, 20, -40])
def test_a_quad_starts_at_its_upper_left_whatever_corner_came_first(
    degrees: float, step: int, shift: int
) -> None:
    corners = turned(box(10, 20, 110, 50), degrees)
    assert np.allclose(quads.upright(np.roll(corners[::step], shift, axis=0)), corners)


def test_points_are_enclosed_by_the_least_rectangle() -> None:
    corners = turned(box(0, 0, 80, 20), 30)
    inside = corners.mean(axis=0, keepdims=True)
    assert np.allclose(quads.rectangle(np.concatenate([inside, corners])), corners, atol=1e-3)


def test_a_tall_quad_lies_down_and_a_wide_one_stays() -> None:
    tall, wide = box(10, 10, 30, 90), box(10, 10, 90, 30)
    assert np.array_equal(quads.along(wide), wide)
    lying = quads.along(tall)
    assert quads.size(lying) == (80, 20)
    assert lying[0].tolist() == [30, 10]  # text runs downwards, heads to the right
    assert np.array_equal(quads.half_turn(quads.half_turn(lying)), lying)


def test_a_rectangle_grows_by_area_over_perimeter() -> None:
    grown = quads.unclip(box(100, 100, 200, 120), 1.5)
    reach = 100 * 20 * 1.5 / 240
    assert np.allclose(grown, box(100 - reach, 100 - reach, 200 + reach, 120 + reach))
    point = box(5, 5, 5, 9)
    assert np.array_equal(quads.unclip(point, 1.5), point)


def test_a_cut_is_upright_whichever_way_its_quad_lies() -> None:
    pixels = scene((48, 32))
    straight = quads.crop(pixels, box(8, 4, 40, 28))
    assert np.array_equal(straight, pixels[4:28, 8:40])
    over = quads.crop(pixels, quads.half_turn(box(8, 4, 40, 28)))
    assert over.shape == straight.shape
    # Half a turn of pixel edges, not centres: one row and column are interpolated.
    inner = straight[::-1, ::-1][:-1, :-1].astype(int)
    assert np.abs(over[1:, 1:].astype(int) - inner).max() <= 1
    down = quads.crop(pixels, np.roll(box(8, 4, 40, 28), -1, axis=0))
    assert down.shape == (32, 24, 3)
    assert quads.crop(pixels, box(3, 3, 3, 3)).shape == (1, 1, 3)


def test_overlap_is_intersection_over_union() -> None:
    one = box(0, 0, 10, 10)
    assert quads.overlap(one, one) == pytest.approx(1)
    assert quads.overlap(one, one[::-1]) == pytest.approx(1)
    assert quads.overlap(one, box(5, 0, 15, 10)) == pytest.approx(1 / 3)
    assert quads.overlap(one, box(20, 0, 30, 10)) == 0
    assert quads.overlap(one, box(5, 5, 5, 5)) == 0
    diamond = turned(box(-5, -5, 5, 5), 45) + 5
    assert quads.overlap(one, diamond) == pytest.approx(0.707, abs=1e-3)


PAGE = [
    *(box(10, 10, 100, 30), box(120, 14, 200, 34)),  # the first row, its second half a bit lower
    box(10, 50, 180, 70),
    *(box(12, 90, 60, 110), box(70, 88, 130, 108), box(140, 92, 200, 112)),
]


@pytest.mark.parametrize("degrees", [0, 10, -30, 90, 180, 200])
def test_reading_goes_row_by_row_along_the_text(degrees: float) -> None:
    page = np.array([turned(one, degrees) for one in PAGE], np.float32)
    assert quads.reading_order(page) == list(range(len(PAGE)))


def test_lines_that_lie_the_other_way_do_not_decide() -> None:
    page = np.array([*PAGE, quads.half_turn(box(10, 130, 100, 150))], np.float32)
    assert quads.reading_order(page) == list(range(len(page)))
    opposite = np.concatenate([page, quads.half_turn(page)])
    assert sorted(quads.reading_order(opposite)) == list(range(len(opposite)))
    assert quads.reading_order(page[:0]) == []
