"""Laws of text: growing, order, best paths, edits and matching."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from heliograph.vision import ctc, quads
from heliograph.vision.tasks.text import edits, found

numbers = st.floats(-500, 500, allow_nan=False, width=32)
sides = st.floats(2, 400, allow_nan=False, width=32)
angles = st.floats(-180, 180, allow_nan=False)


@st.composite
def rectangles(draw: st.DrawFn) -> quads.Quads:
    """A rectangle anywhere, at any angle."""
    wide, high, angle = draw(sides), draw(sides), np.radians(draw(angles))
    corners = np.array([[0, 0], [wide, 0], [wide, high], [0, high]])
    matrix = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return (corners @ matrix + (draw(numbers), draw(numbers))).astype(np.float32)


@given(rectangles(), st.floats(0.01, 3), st.floats(0.01, 3))
def test_unclipping_grows_the_area_around_the_same_centre(
    one: quads.Quads, ratio: float, more: float
) -> None:
    grown, larger = quads.unclip(one, ratio), quads.unclip(one, ratio + more)
    areas = [quads.signed_area(corners) for corners in (one, grown, larger)]
    assert areas[0] < areas[1] < areas[2]
    assert grown.mean(axis=0) == pytest.approx(one.mean(axis=0), abs=0.05)
    wide, high = quads.size(one)
    reach = wide * high * ratio / (2 * (wide + high))
    assert quads.size(grown) == pytest.approx((wide + 2 * reach, high + 2 * reach), rel=1e-3)


@given(rectangles(), st.integers(0, 3), st.booleans())
def test_a_quad_does_not_depend_on_where_it_was_begun(
    one: quads.Quads, shift: int, backwards: bool
) -> None:
    begun = np.roll(one[::-1] if backwards else one, shift, axis=0)
    first, second = quads.upright(one), quads.upright(begun)
    assert quads.signed_area(first) > 0
    # Sides at 45 degrees point as much to the right as down: any of two corners may be the first.
    steep = abs(abs(np.degrees(np.arctan2(*(first[1] - first[0])[::-1]))) - 45) < 0.1
    assert steep or np.array_equal(first, second)


@given(st.lists(rectangles(), max_size=12), st.randoms(use_true_random=False))
def test_reading_order_does_not_depend_on_the_order_of_finding(
    page: list[quads.Quads], random: Random
) -> None:
    shuffled = list(page)
    random.shuffle(shuffled)
    orders = [
        [one.tobytes() for one in np.array(some, np.float32)[quads.reading_order(np.array(some))]]
        for some in (page, shuffled)
        if some
    ]
    assert not orders or orders[0] == orders[1]


classes = st.lists(st.integers(0, 4), max_size=30)


def one_hot(path: list[int]) -> NDArray[np.float32]:
    return np.eye(5, dtype=np.float32)[path].reshape(-1, 5)


@given(st.lists(st.integers(1, 4), max_size=12), st.data())
def test_a_text_spelt_with_repeats_and_blanks_reads_back(
    text: list[int], data: st.DataObject
) -> None:
    path: list[int] = []
    for at, sign in enumerate(text):
        least = 1 if at and text[at - 1] == sign else 0
        path += [0] * data.draw(st.integers(least, 2)) + [sign] * data.draw(st.integers(1, 3))
    path += [0] * data.draw(st.integers(0, 2))
    read = ctc.greedy(one_hot(path))
    assert read.classes.tolist() == text
    assert (read.scores == 1).all()


@given(classes)
def test_a_best_path_never_holds_blanks_and_stands_where_it_says(path: list[int]) -> None:
    read = ctc.greedy(one_hot(path))
    assert 0 not in read.classes
    assert [path[step] for step in read.steps] == read.classes.tolist()
    assert (np.diff(read.steps) > 0).all()
    # Doubling every step changes nothing but the places.
    twice = ctc.greedy(one_hot([one for one in path for _ in range(2)]))
    assert twice.classes.tolist() == read.classes.tolist()


words = st.text("abc", max_size=8)


@given(words, words, words)
def test_edits_are_a_distance(one: str, other: str, third: str) -> None:
    assert edits(one, one) == 0
    assert edits(one, other) == edits(other, one)
    assert abs(len(one) - len(other)) <= edits(one, other) <= max(len(one), len(other))
    assert edits(one, third) <= edits(one, other) + edits(other, third)


@given(st.lists(rectangles(), max_size=6), st.lists(rectangles(), max_size=6))
def test_swapping_answer_and_truth_swaps_precision_and_recall(
    ours: list[quads.Quads], theirs: list[quads.Quads]
) -> None:
    one, other = (np.array(some, np.float32).reshape(-1, 4, 2) for some in (ours, theirs))
    overlaps = [quads.overlap(a, b) for a in one for b in other]
    assume(not any(abs(overlap - 0.5) < 1e-4 for overlap in overlaps))
    there, back = found(one, other), found(other, one)
    assert (there.precision, there.recall) == pytest.approx((back.recall, back.precision))
    assert found(one, one).hmean == pytest.approx(1)
