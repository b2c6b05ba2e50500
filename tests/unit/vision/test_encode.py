"""Pixels to files: formats, colours, quality, sides, no metadata."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from heliograph.core.errors import Code, HeliographError
from heliograph.vision.decode import decode
from heliograph.vision.encode import Encoding, Format, encode
from heliograph.vision.picture import Pixels


def scene() -> Pixels:
    y, x = np.mgrid[0:48, 0:64]
    return np.stack([x * 4, y * 5, (x + y) * 2], axis=-1).astype(np.uint8)


def test_png_is_lossless() -> None:
    assert np.array_equal(decode(encode(scene(), "png")).pixels, scene())


@pytest.mark.parametrize("format_", ["jpeg", "webp"])
def test_lossy_formats_keep_the_colours(format_: Format) -> None:
    back = decode(encode(scene(), format_, 90)).pixels
    assert np.abs(back.astype(int) - scene()).mean() < 4


@pytest.mark.parametrize("format_", ["jpeg", "webp"])
def test_quality_costs_bytes(format_: Format) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    sizes = [len(encode(noise, format_, quality)) for quality in (10, 50, 95)]
    assert sizes == sorted(sizes)


@pytest.mark.parametrize("format_", ["png", "jpeg", "webp"])
def test_grey_comes_back_grey(format_: Format) -> None:
    grey = scene()[:, :, 0].copy()
    back = decode(encode(grey, format_, 95)).pixels
    assert back.shape == (48, 64, 3)
    assert np.abs(back.astype(int) - grey[:, :, None]).mean() < 4


@pytest.mark.parametrize("format_", ["png", "jpeg", "webp"])
def test_a_view_and_one_pixel_are_written(format_: Format) -> None:
    view = scene()[::-2, ::3]
    back = decode(encode(view, format_, 95)).pixels
    assert back.shape == view.shape
    assert decode(encode(scene()[:1, :1], format_)).pixels.shape == (1, 1, 3)


@pytest.mark.parametrize("format_", ["png", "jpeg", "webp"])
def test_files_carry_no_metadata(format_: Format) -> None:
    with Image.open(io.BytesIO(encode(scene(), format_))) as image:
        assert image.format == format_.upper()
        assert not image.getexif()
        assert not {"exif", "icc_profile", "xmp", "comment", "Software"} & set(image.info)


def test_a_side_beyond_the_format_is_refused() -> None:
    wide = np.zeros((1, 16_384, 3), np.uint8)
    with pytest.raises(HeliographError) as caught:
        encode(wide, "webp")
    assert caught.value.code is Code.VALIDATION
    assert "16383" in caught.value.detail
    assert encode(wide, "png")
    assert encode(wide, "jpeg")


def test_an_encoding_names_its_media_type() -> None:
    data, media_type = Encoding("jpeg", 70).encode(scene())
    assert media_type == "image/jpeg"
    assert data == encode(scene(), "jpeg", 70)
    assert Encoding().media_type == "image/png"
