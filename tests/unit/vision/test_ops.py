"""Geometry and filters on small pictures with known answers."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from heliograph.core.errors import HeliographError
from heliograph.vision import filters, gradients, ops
from heliograph.vision.picture import Pixels, Size


def ramp(height: int = 40, width: int = 60) -> Pixels:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 4 % 256, y * 6 % 256, (x + y) * 2 % 256], axis=-1).astype(np.uint8)


@pytest.mark.parametrize(
    ("width", "height", "fit", "expected"),
    [
        (30, 0, "inside", (30, 20)),
        (0, 80, "cover", (120, 80)),
        (30, 30, "inside", (30, 20)),
        (30, 30, "cover", (30, 30)),
        (30, 30, "stretch", (30, 30)),
        (30, 30, "pad", (30, 30)),
        (1, 16_000, "inside", (1, 1)),
    ],
)
def test_resize_gives_the_size_it_says(
    width: int, height: int, fit: ops.Fit, expected: tuple[int, int]
) -> None:
    assert ops.resized(Size(60, 40), width, height, fit) == expected
    assert ops.size_of(ops.resize(ramp(), width, height, fit)) == expected


def test_cover_cuts_and_pad_fills_evenly() -> None:
    bars = np.zeros((20, 60, 3), np.uint8)
    bars[:, 20:40] = 255
    assert (ops.resize(bars, 20, 20, "cover") == 255).all()
    padded = ops.resize(bars, 60, 40, "pad", background=(1, 2, 3))
    assert (padded[:10] == (1, 2, 3)).all()
    assert (padded[30:] == (1, 2, 3)).all()
    assert np.array_equal(padded[10:30], bars)


def test_crop_is_the_rectangle() -> None:
    assert np.array_equal(ops.crop(ramp(), 5, 7, 11, 13), ramp()[7:20, 5:16])


def test_rotate_turns_clockwise() -> None:
    pixels = np.zeros((2, 3, 3), np.uint8)
    pixels[0, 0] = 200
    assert ops.rotate(pixels, 90)[0, 1, 0] == 200
    assert ops.rotate(pixels, -90)[2, 0, 0] == 200
    assert ops.rotate(pixels, 180)[1, 2, 0] == 200
    assert np.array_equal(ops.rotate(pixels, 360), pixels)


def test_other_angles_keep_every_corner_and_turn_the_same_way() -> None:
    white = np.full((40, 60, 3), 255, np.uint8)
    turned = ops.rotate(white, 30, (0, 0, 255))
    assert ops.size_of(turned) == ops.rotated(Size(60, 40), 30) == (72, 65)
    assert tuple(turned[0, 0]) == (0, 0, 255)
    assert tuple(turned[32, 36]) == (255, 255, 255)
    assert turned.astype(int)[:, :, 0].sum() == pytest.approx(40 * 60 * 255, rel=0.02)
    nearly = ops.rotate(ramp(), 89.99)[:40, :40].astype(int)
    assert np.abs(nearly - ops.rotate(ramp(), 90)[:40, :40]).mean() < 12


def test_flips_mirror() -> None:
    assert np.array_equal(ops.flip(ramp()), ramp()[:, ::-1])
    assert np.array_equal(ops.flip(ramp(), "vertical"), ramp()[::-1])
    assert np.array_equal(ops.flip(ramp(), "both"), ramp()[::-1, ::-1])


def test_factors_of_one_change_nothing() -> None:
    for same in (
        filters.brightness(ramp(), 1),
        filters.contrast(ramp(), 1),
        filters.gamma(ramp(), 1),
        filters.saturation(ramp(), 1),
        filters.sharpen(ramp(), 0),
        filters.posterize(ramp(), 256),
        filters.invert(filters.invert(ramp())),
    ):
        assert np.array_equal(same, ramp())


def test_points_of_the_tone_curves() -> None:
    pixels = np.array([[[0, 64, 255]]], np.uint8)
    assert filters.brightness(pixels, 2).tolist() == [[[0, 128, 255]]]
    assert filters.contrast(pixels, 0).tolist() == [[[128, 128, 128]]]
    assert filters.gamma(pixels, 2).tolist() == [[[0, 128, 255]]]
    assert filters.posterize(pixels, 2).tolist() == [[[0, 0, 255]]]
    grey = round(0.587 * 64 + 0.114 * 255)
    assert filters.grayscale(pixels).tolist() == [[[grey] * 3]]
    assert filters.saturation(pixels, 0).tolist() == [[[grey] * 3]]


def test_a_large_blur_is_like_the_gaussian_it_stands_for() -> None:
    dot = np.zeros((101, 101, 3), np.uint8)
    dot[48:53, 48:53] = 255
    reference = cv2.GaussianBlur(dot.astype(np.float64), (0, 0), 6)
    assert np.abs(filters.blur(dot, 6) - reference).max() < 0.1 * reference.max() + 1


def test_median_and_denoise_take_noise_away() -> None:
    flat = np.full((50, 50, 3), 100, np.uint8)
    specks = flat.copy()
    specks[::7, ::7] = 255
    assert np.array_equal(filters.median(specks, 1), flat)
    noisy = np.random.default_rng(0).normal(100, 10, flat.shape).astype(np.uint8)
    assert filters.denoise(noisy, 10).std() < noisy.std() / 3


def test_equalising_spreads_brightness() -> None:
    dull = ramp() // 8 + 100
    assert np.ptp(filters.luma(filters.equalize(dull))) > 200
    assert np.ptp(filters.luma(filters.clahe(dull, 4))) > np.ptp(filters.luma(dull))


def test_threshold_is_black_and_white() -> None:
    halves = np.full((20, 20, 3), 60, np.uint8)
    halves[:, 10:] = 90
    for white in (filters.threshold(halves, value=90), filters.threshold(halves, "otsu")):
        assert (white[:, :10] == 0).all()
        assert (white[:, 10:] == 255).all()
    assert set(np.unique(filters.threshold(ramp(), "adaptive"))) <= {0, 255}
    assert (filters.threshold(halves, value=0) == 255).all()


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 50, 3), (50, 1, 3), (2, 2, 3)])
def test_the_smallest_pictures_pass_every_filter(shape: tuple[int, int, int]) -> None:
    pixels = np.full(shape, 77, np.uint8)
    for result in (
        filters.blur(pixels, 0.1),
        filters.blur(pixels, 5),
        filters.blur(pixels, 250),
        filters.median(pixels, 15),
        filters.sharpen(pixels, 10, 250),
        filters.denoise(pixels, 60),
        filters.equalize(pixels),
        filters.clahe(pixels, 40, 32),
        filters.threshold(pixels, "otsu"),
        filters.threshold(pixels, "adaptive", radius=127),
        filters.spread(gradients.strength(pixels, "canny", blur=10)),
        filters.spread(gradients.strength(pixels, "scharr")),
    ):
        assert result.shape == shape
        assert result.dtype == np.uint8


def test_canny_thresholds_follow_the_median_but_not_into_the_dark() -> None:
    assert gradients.thresholds(np.full((4, 4), 100, np.uint8), None, None) == (67, 133)
    assert gradients.thresholds(np.zeros((4, 4), np.uint8), None, None) == (10, 30)
    assert gradients.thresholds(np.full((4, 4), 255, np.uint8), None, None)[1] == 255
    assert gradients.thresholds(np.zeros((4, 4), np.uint8), 40, None) == (40, 80)
    assert gradients.thresholds(np.zeros((4, 4), np.uint8), None, 90) == (45, 90)
    with pytest.raises(HeliographError, match="at most high; low 3, high 2 came"):
        gradients.check(3, 2)
