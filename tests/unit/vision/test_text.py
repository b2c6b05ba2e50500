"""The text task: finding lines in a map, reading a sequence, the answer and its scores."""

from __future__ import annotations

from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from heliograph.core.errors import Code, HeliographError
from heliograph.vision import quads
from heliograph.vision.geometry import place
from heliograph.vision.picture import Size
from heliograph.vision.tasks.text import (
    Ctc,
    TextBoxes,
    TextLines,
    TextOptions,
    character_error_rate,
    edits,
    found,
    restore,
    word_accuracy,
)

SIZE = Size(400, 200)
HALF = place(SIZE, Size(200, 100), "stretch")
"""The model sees half the resolution."""


def rectangle(left: float, top: float, right: float, bottom: float) -> quads.Quads:
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)


def chances(*bars: tuple[tuple[int, int, int, int], float]) -> dict[str, NDArray[Any]]:
    """A map, 100 x 200, with bars (left, top, right, bottom, all inside) of a probability."""
    values = np.zeros((1, 100, 200), np.float32)
    for (left, top, right, bottom), chance in bars:
        values[0, top : bottom + 1, left : right + 1] = chance
    return {"map": values}


def find(raw: dict[str, NDArray[Any]], **options: Any) -> TextLines:
    decoder = TextBoxes(dilate=False, unclip=0)
    return decoder.decode(raw, HALF, (), TextOptions(**options))


def test_bars_become_quads_in_pixels_of_the_picture() -> None:
    answer = find(chances(((20, 10, 120, 20), 0.9), ((30, 50, 90, 60), 0.8)))
    assert answer.texts == ("", "")
    assert answer.scores.tolist() == pytest.approx([0.9, 0.8])
    assert answer.quads[0].tolist() == rectangle(40, 20, 240, 40).tolist()
    assert answer.quads[1].tolist() == rectangle(60, 100, 180, 120).tolist()


def test_a_found_region_grows_and_stays_in_the_picture() -> None:
    raw = chances(((0, 0, 100, 20), 0.9))
    grown = TextBoxes(dilate=False, unclip=1.5).decode(raw, HALF, (), TextOptions())
    reach = 2 * 100 * 20 * 1.5 / 240
    assert np.allclose(grown.quads[0], rectangle(0, 0, 200 + reach, 40 + reach))


def test_what_is_weak_tiny_or_a_hole_is_no_line() -> None:
    assert not find(chances(((20, 10, 120, 20), 0.45))).texts
    assert find(chances(((20, 10, 120, 20), 0.45)), min_score=0.1).texts == ()
    assert not find(chances(((20, 10, 21, 11), 0.9))).texts
    ring = chances(((10, 10, 190, 90), 0.9))
    ring["map"][0, 14:86, 14:186] = 0
    assert not find(ring).texts  # the mean inside its rectangle is low
    ring["map"][0, 40:51, 60:121] = 0.9
    assert np.allclose(find(ring).quads, [rectangle(120, 80, 240, 100)])


def test_a_tilted_bar_keeps_its_tilt() -> None:
    corners = np.array([[40, 30], [120, 50], [117, 62], [37, 42]], np.float32)
    values = np.zeros((100, 200), np.uint8)
    cv2.fillPoly(values, [corners.astype(np.int32)], (1,))
    answer = find({"map": values[None].astype(np.float32)})
    assert found(answer.quads, corners[None] * 2, least=0.85).hmean == 1
    assert np.abs(answer.quads[0] - corners * 2).max() < 4


def test_dilation_closes_a_gap_of_one_pixel() -> None:
    raw = chances(((20, 10, 60, 20), 0.9), ((62, 10, 100, 20), 0.9))
    options = TextOptions()
    many = [
        len(TextBoxes(dilate=dilate).decode(raw, HALF, (), options).texts)
        for dilate in (False, True)
    ]
    assert many == [2, 1]


def test_only_so_many_regions_are_looked_at_and_told() -> None:
    raw = chances(*(((10, 10 * row, 60 + 10 * row, 10 * row + 5), 0.9) for row in range(1, 8)))
    assert len(find(raw).texts) == 7
    largest = TextBoxes(dilate=False, unclip=0, most=2).decode(raw, HALF, (), TextOptions())
    assert [quads.size(one)[0] for one in largest.quads] == pytest.approx([220, 240], abs=0.01)
    raw["map"][0, 30:36] *= np.float32(1.1)
    (best,) = find(raw, top_k=1).quads
    assert best[0] == pytest.approx([20, 60], abs=0.01)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_a_map_of_nonsense_is_answered_with_finite_numbers(value: float) -> None:
    answer = find({"map": np.full((1, 100, 200), value, np.float32)})
    assert np.isfinite(answer.quads).all()
    assert (answer.scores <= 1).all()


@pytest.mark.parametrize("shape", [(100, 200), (2, 100, 200), (1, 0, 200)])
def test_a_map_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(HeliographError) as caught:
        find({"map": np.zeros(shape, np.float32)})
    assert caught.value.code is Code.BAD_SHAPE


CHARACTERS = ("", "a", "b", " ")


def steps(spelt: str, sure: float = 1.0) -> dict[str, NDArray[Any]]:
    """A row for each sign of `spelt`; `-` is the blank."""
    rows = np.full((len(spelt), 4), (1 - sure) / 3, np.float32)
    for at, sign in enumerate(spelt):
        rows[at, "-ab ".index(sign)] = sure
    return {"text": rows}


def test_a_line_is_read_and_is_the_whole_picture() -> None:
    answer = Ctc().decode(steps("-aa-a b--"), HALF, CHARACTERS, TextOptions())
    assert answer.text == "aa b"
    assert answer.scores.tolist() == [1]
    assert answer.quads[0].tolist() == rectangle(0, 0, 400, 200).tolist()


def test_a_line_that_is_empty_or_unsure_is_left_out() -> None:
    options = TextOptions(min_score=0.6)
    for raw in (steps("---"), steps(" - "), steps("ab", 0.5)):
        assert Ctc().decode(raw, HALF, CHARACTERS, options).texts == ()
    assert Ctc().decode(steps("ab", 0.7), HALF, CHARACTERS, options).texts == ("ab",)
    logits = {"text": np.log(steps("ab", 0.7)["text"]) + 5}
    soft = Ctc(activation="softmax").decode(logits, HALF, CHARACTERS, options)
    assert soft.scores.tolist() == pytest.approx([0.7])


def test_a_blank_may_stand_last() -> None:
    rows = steps("ab")["text"][:, [1, 2, 3, 0]]
    assert Ctc(blank=3).read({"y": rows}, ("a", "b", " ", "")).text == "ab"


def test_characters_and_classes_must_be_as_many() -> None:
    with pytest.raises(HeliographError, match="4 characters apart; 3 have") as caught:
        Ctc().decode(steps("a"), HALF, CHARACTERS[:3], TextOptions())
    assert caught.value.code is Code.BAD_SHAPE


def lines() -> TextLines:
    corners = np.stack([rectangle(10, 10.125, 110, 40), quads.half_turn(rectangle(5, 60, 90, 80))])
    return TextLines(("one 一", "two"), np.array([0.9, 0.8], np.float32), corners)


def test_the_answer_is_read_back_by_a_client() -> None:
    answer = lines()
    told = msgspec.json.decode(msgspec.json.encode(answer.predictions()))
    assert told[0]["box"] == {"x": 10, "y": 10.12, "width": 100, "height": 29.88}
    assert told[1]["quad"][0] == {"x": 90, "y": 80}
    back = restore(told)
    assert back.text == "one 一\ntwo"
    assert np.allclose(back.quads, answer.quads, atol=0.006)
    assert restore([]).quads.shape == (0, 4, 2)


def test_parts_that_do_not_fit_together_are_refused() -> None:
    one = lines()
    for texts, scores, corners in (
        (one.texts[:1], one.scores, one.quads),
        (one.texts, one.scores.astype(np.float64), one.quads),
        (one.texts, one.scores, one.quads[:, :3]),
    ):
        with pytest.raises(HeliographError) as caught:
            TextLines(texts, scores, corners)  # pyright: ignore[reportArgumentType]
        assert caught.value.code is Code.BAD_SHAPE


def test_lines_are_outlined_and_written_out() -> None:
    pixels = np.full((200, 400, 3), 200, np.uint8)
    drawn = lines().draw(pixels)
    assert (pixels == 200).all()
    assert (drawn[60, 20:80] != 200).any(axis=1).all()  # the second line's lower, upper side
    silent = TextLines(("", ""), lines().scores, lines().quads).draw(pixels)
    assert (silent != pixels).any()
    assert (drawn != silent).any(axis=2).sum() > 200
    nowhere = np.full((1, 4, 2), np.nan, np.float32)
    unseen = TextLines(("x",), np.ones(1, np.float32), nowhere).draw(pixels)
    assert np.array_equal(unseen, pixels)


def test_errors_are_counted_per_true_character() -> None:
    assert edits("kitten", "sitting") == 3
    assert character_error_rate(["cat", "dig"], ["cat", "dog"]) == pytest.approx(1 / 6)
    assert character_error_rate(["", ""], ["", ""]) == 0
    assert character_error_rate(["x"], [""]) == 1
    assert word_accuracy(["cat", "Dog"], ["cat", "dog"]) == 0.5
    assert word_accuracy([], []) == 0


def test_each_true_line_is_found_once() -> None:
    truth = np.stack([rectangle(0, 0, 100, 20), rectangle(0, 40, 100, 60)])
    twice = np.stack([rectangle(0, 0, 90, 20), rectangle(0, 0, 100, 20)])
    assert found(twice, truth) == pytest.approx((0.5, 0.5, 0.5))
    assert found(truth, truth).hmean == 1
    assert found(truth + 1000, truth) == (0, 0, 0)
    assert found(truth[:0], truth) == (0, 0, 0)
    assert found(truth[:0], truth[:0]).hmean == 1


@pytest.mark.parametrize("wrong", [{"top_k": 0}, {"min_score": 1.1}, {"language": "de"}])
def test_options_are_bounded(wrong: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, TextOptions)
