"""Inputs whose size follows the picture, and lines laid into them by height."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from heliograph.vision.geometry import Fit, Sides
from heliograph.vision.picture import Picture, Size
from heliograph.vision.prepare import InputSpec, prepare
from support.pictures import scene


def picture(width: int, height: int) -> Picture:
    return Picture(scene((width, height)), Size(width, height), "png")


@pytest.mark.parametrize(
    ("sides", "size", "expected"),
    [
        (Sides(), (641, 333), (641, 333)),
        (Sides(64, 48), (641, 333), (64, 48)),
        (Sides(step=32), (641, 333), (640, 320)),
        (Sides(step=32), (10, 10), (32, 32)),
        (Sides(step=16, longest=512), (2048, 1536), (512, 384)),
        (Sides(step=16, longest=512), (100, 60), (96, 64)),
        (Sides(step=32, shortest=736, longest=1280), (600, 450), (992, 736)),
        (Sides(step=32, shortest=736, longest=1280), (1280, 720), (1280, 704)),
        (Sides(step=32, shortest=736, longest=1280), (12_000, 1), (1280, 32)),
        (Sides(height=48, step=32, shortest=160, longest=2048), (200, 40), (256, 48)),
        (Sides(height=48, step=32, shortest=160, longest=2048), (10, 40), (160, 48)),
        (Sides(height=48, step=32, shortest=160, longest=2048), (12_000, 1), (2048, 48)),
        (Sides(width=48, longest=100), (10, 20), (48, 96)),
    ],
)
def test_free_sides_follow_the_picture(
    sides: Sides, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert sides.of(Size(*size), "stretch") == expected


@pytest.mark.parametrize("fit", ["contain", "height"])
def test_a_padded_input_has_room_for_the_whole_picture(fit: Fit) -> None:
    sides = Sides(height=48, step=32, longest=2048)
    assert sides.of(Size(257, 48), fit) == (288, 48)
    assert sides.of(Size(256, 48), fit) == (256, 48)
    assert sides.of(Size(257, 48), "stretch") == (256, 48)


def test_a_line_is_scaled_by_height_and_padded_on_the_right() -> None:
    spec = InputSpec(height=48, step=32, longest=512, fit="height", pad=7, dtype="uint8")
    tensor, placement = prepare(picture(100, 24), spec)
    assert tensor.shape == (3, 48, 224)
    assert placement.target.width == 200
    assert (tensor[:, :, 200:] == 7).all()
    assert (tensor[:, :, :200] != 7).any(axis=(0, 1)).all()
    back = placement.points(np.array([200], np.float32), np.array([48], np.float32))
    assert back.tolist() == [[100, 24]]


def test_a_line_that_is_too_long_is_squeezed() -> None:
    spec = InputSpec(width=192, height=48, fit="height", dtype="uint8")
    tensor, placement = prepare(picture(1000, 48), spec)
    assert tensor.shape == (3, 48, 192)
    assert (placement.source.width, placement.target.width) == (1000, 192)


@pytest.mark.parametrize(
    "wrong",
    [
        {"height": 48},
        {"shortest": 700},
        {"longest": 100, "shortest": 200},
        {"longest": 8, "step": 9},
    ],
)
def test_an_input_that_nothing_bounds_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(msgspec.ValidationError, match="longest"):
        msgspec.convert(wrong, InputSpec)


def test_the_decoder_may_scale_down_to_the_longest_side() -> None:
    spec = InputSpec(step=16, longest=512)
    assert spec.need(Size(4096, 3072)) == (512, 384)
    assert InputSpec(step=16, longest=512, scaled_decode=False).need(Size(4096, 3072)) is None
    assert InputSpec().need(Size(4096, 3072)) is None
