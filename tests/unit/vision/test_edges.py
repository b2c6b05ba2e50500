"""The edges task: methods, options, the answer and its score."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from heliograph.core.errors import Code, HeliographError
from heliograph.vision.geometry import Placement, place
from heliograph.vision.gradients import Method
from heliograph.vision.picture import Pixels, Size
from heliograph.vision.tasks.base import Pictured
from heliograph.vision.tasks.edges import (
    TASK,
    EdgeMap,
    Edges,
    EdgesOptions,
    Gradient,
    agreement,
    restore,
)


def square() -> Pixels:
    pixels = np.full((60, 80, 3), 40, np.uint8)
    pixels[20:40, 20:60] = 200
    return pixels


def outline() -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    lines = np.zeros((60, 80), np.bool_)
    lines[20:40, 20:60] = True
    lines[21:39, 21:59] = False
    return lines


def find(options: EdgesOptions) -> Edges:
    size = Size(80, 60)
    return Gradient().decode({"picture": square()}, place(size, size, "stretch"), [], options)


@pytest.mark.parametrize("method", ["canny", "sobel", "scharr"])
def test_the_outline_is_found(method: Method) -> None:
    answer = find(EdgesOptions(method=method))
    assert answer.strength.shape == (60, 80)
    assert answer.strength.dtype == np.uint8
    assert agreement(answer, outline(), tolerance=0.02).f1 > 0.95
    assert answer.strength[30, 40] == 0
    assert 0.02 < answer.edge_fraction < 0.15


def test_canny_is_thin_and_binary_and_obeys_its_thresholds() -> None:
    assert set(np.unique(find(EdgesOptions()).strength)) == {0, 255}
    faint = np.full((40, 40, 3), 100, np.uint8)
    faint[:, 20:] = 120
    size = Size(40, 40)
    placement = place(size, size, "stretch")
    for high, found in ((40.0, True), (200.0, False)):
        answer = Gradient().decode({"picture": faint}, placement, [], EdgesOptions(high=high))
        assert bool(answer.strength.any()) is found


def test_blur_hides_grain() -> None:
    grain = np.random.default_rng(0).integers(80, 140, (60, 80, 3), np.uint8)
    size = Size(80, 60)
    placement = place(size, size, "stretch")
    sharp, soft = (
        Gradient().decode({"picture": grain}, placement, [], EdgesOptions(blur=blur)).edge_fraction
        for blur in (0.0, 3.0)
    )
    assert soft < sharp / 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"low": 256},
        {"low": float("nan")},
        {"high": -1},
        {"blur": 11},
        {"method": "laplace"},
        {"sigma": 1},
    ],
)
def test_options_are_bounded(wrong: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, EdgesOptions)


def test_thresholds_are_in_order() -> None:
    with pytest.raises(HeliographError) as caught:
        msgspec.convert({"low": 5, "high": 4}, EdgesOptions)
    assert caught.value.code is Code.VALIDATION


def test_the_answer_is_a_picture_that_a_client_reads_back() -> None:
    answer = find(EdgesOptions(method="sobel"))
    assert isinstance(answer, Pictured)
    assert TASK.pictured
    (one,) = answer.predictions()
    assert (one["format"], one["width"], one["height"]) == ("png", 80, 60)
    assert one["edge_fraction"] == pytest.approx(answer.edge_fraction, abs=1e-6)
    back = restore(msgspec.json.decode(msgspec.json.encode(answer.predictions())))
    assert np.array_equal(back.strength, answer.strength)
    assert np.array_equal(answer.picture()[:, :, 2], answer.strength)
    assert answer.encode().media_type == "image/png"


def test_drawing_overlays_where_edges_are() -> None:
    strength = np.zeros((60, 80), np.uint8)
    strength[5] = 255
    drawn = Edges(strength).draw(square())
    assert (drawn[5] == (0, 255, 140)).all()
    assert np.array_equal(drawn[6:], square()[6:])


def test_agreement_counts_within_the_tolerance() -> None:
    line, other = np.zeros((100, 100), np.uint8), np.zeros((100, 100), np.bool_)
    line[50], other[52] = 255, True
    assert agreement(Edges(line), other, tolerance=0.015).f1 == 1
    assert agreement(Edges(line), other, tolerance=0.01).f1 == 0
    other[50, :50] = True
    other[52] = False
    half = agreement(Edges(line), other, tolerance=0)
    assert half == pytest.approx((0.5, 1, 2 / 3))
    nothing = Edges(np.zeros_like(line))
    assert agreement(nothing, other).recall == 0
    assert agreement(nothing, np.zeros_like(other)).f1 == 1


WHOLE = place(Size(80, 60), Size(40, 30), "stretch")
"""The network sees half the resolution."""


def ridge() -> np.ndarray[tuple[int, int, int], np.dtype[np.float32]]:
    """A map [1, 30, 40] with an upright ridge around column 20."""
    across = np.exp(-((np.arange(40) - 20.0) ** 2) / 8)
    return np.tile(across, (1, 30, 1)).astype(np.float32)


def learned(placement: Placement = WHOLE, **options: object) -> Edges:
    given = msgspec.convert(options, EdgesOptions)
    return EdgeMap().decode({"edges": ridge()}, placement, (), given)


def test_a_learned_map_covers_the_picture() -> None:
    answer = learned()
    assert answer.strength.shape == (60, 80)
    assert answer.strength[:, 40].min() > 240
    assert answer.strength[:, 5].max() == 0
    assert (answer.strength[0] == answer.strength[59]).all()


def test_thinning_leaves_the_crest_and_a_threshold_two_values() -> None:
    thin = learned(thin=True).strength
    assert ((thin > 0).sum(axis=1) == 1).all()
    assert (thin.argmax(axis=1) // 2 == 20).all()
    firm = learned(threshold=128).strength
    assert set(np.unique(firm)) == {0, 255}
    assert np.array_equal(firm > 0, learned().strength >= 128)
    both = learned(thin=True, threshold=0).strength
    assert np.array_equal(both > 0, thin > 0)


def test_a_map_of_a_padded_input_lies_where_the_picture_is() -> None:
    boxed = place(Size(80, 30), Size(40, 30), "contain")
    assert learned(boxed).strength.shape == (30, 80)
    assert learned(boxed).strength[:, 40].min() > 240
    cropped = place(Size(160, 60), Size(40, 30), "crop")
    answer = learned(cropped).strength
    assert answer.shape == (60, 160)
    assert answer[:, 80].min() > 240
    assert answer[:, :40].max() == answer[:, 120:].max() == 0


def test_logits_and_nonsense_are_strengths_too() -> None:
    logits = np.full((1, 30, 40), -20, np.float32)
    logits[0, 0, :4] = np.nan, np.inf, -np.inf, 20
    answer = EdgeMap(activation="sigmoid").decode(
        {"edges": logits}, place(Size(40, 30), Size(40, 30), "stretch"), (), EdgesOptions()
    )
    assert answer.strength[0, :4].tolist() == [0, 255, 0, 255]
    assert answer.strength[1:].max() == 0
    with pytest.raises(HeliographError) as caught:
        EdgeMap().decode({"edges": logits[0]}, WHOLE, (), EdgesOptions())
    assert caught.value.code is Code.BAD_SHAPE


@pytest.mark.parametrize("option", ["method", "low", "high", "blur"])
def test_a_learned_model_refuses_options_of_classical_ones(option: str) -> None:
    with pytest.raises(HeliographError, match=f"'{option}'; it has threshold and thin") as caught:
        learned(WHOLE, **{option: "canny" if option == "method" else 3})
    assert caught.value.code is Code.UNKNOWN_FIELD


@pytest.mark.parametrize("options", [EdgesOptions(thin=True), EdgesOptions(threshold=9)])
def test_a_classical_model_refuses_options_of_learned_ones(options: EdgesOptions) -> None:
    with pytest.raises(HeliographError, match="method, low, high and blur") as caught:
        find(options)
    assert caught.value.code is Code.UNKNOWN_FIELD
