"""Goldens of every conversion a decoder does (row B59): what a file's values become in RGB.

The pictures are synthetic, and what must come out is written here as a formula, from the rules in
`vision/decode.py`; lossless formats must meet it exactly, JPEG within its loss.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from heliograph.core.errors import Code, HeliographError
from heliograph.vision.decode import decode
from heliograph.vision.picture import Size
from support import bombs, pictures

SCENE = pictures.scene()
RAMP = np.tile(np.arange(256, dtype=np.uint8), (16, 1))
ALPHA = np.ascontiguousarray(RAMP[:, ::-1])
ON_WHITE_TOLERANCE = 1
"""Of blending in 8 bits."""


def save(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def grey(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(values[:, :, None], 3, axis=2)


def on_white(values: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.float64]:
    share = alpha.astype(np.float64)[..., None] / 255
    return values * share + 255 * (1 - share)


@pytest.mark.parametrize("form", ["PNG", "BMP", "WEBP"])
def test_rgb_is_itself(form: str) -> None:
    options: dict[str, Any] = {"lossless": True} if form == "WEBP" else {}
    picture = decode(pictures.file(SCENE, form, **options))
    assert np.array_equal(picture.pixels, SCENE)
    assert picture.size == Size(48, 32)
    assert picture.pixels.flags.c_contiguous
    assert picture.pixels.flags.writeable


@pytest.mark.parametrize("form", ["PNG", "BMP", "GIF"])
def test_grey_is_three_equal_channels(form: str) -> None:
    assert np.array_equal(decode(save(Image.fromarray(RAMP), form)).pixels, grey(RAMP))


def test_sixteen_bits_keep_their_high_byte() -> None:
    deep = np.arange(16 * 256, dtype=np.uint16).reshape(16, 256) * 16 + 7
    pixels = decode(save(Image.fromarray(deep))).pixels
    assert np.array_equal(pixels, grey((deep >> 8).astype(np.uint8)))


@pytest.mark.parametrize(("colour", "channels"), [(2, 3), (6, 4), (4, 2)])
def test_sixteen_bits_of_several_channels(colour: int, channels: int) -> None:
    # Pillow writes none of these; a black one by hand tells that they are read at all.
    pixels = decode(bombs.png_black(20, 300, depth=16, colour=colour)).pixels
    assert pixels.shape == (300, 20, 3)
    assert (pixels == (0 if channels == 3 else 255)).all()  # no alpha: all white


def test_one_bit_is_black_and_white() -> None:
    checks = (np.indices((16, 24)).sum(axis=0) % 2).astype(bool)
    pixels = decode(save(Image.fromarray(checks))).pixels
    assert np.array_equal(pixels, grey(checks.astype(np.uint8) * 255))


@pytest.mark.parametrize("form", ["PNG", "GIF", "BMP"])
def test_a_palette_is_its_colours(form: str) -> None:
    indexed = Image.new("P", (256, 16))
    indexed.putdata([one % 8 for one in RAMP.ravel().tolist()])
    colours = np.array(
        [
            (0, 0, 0),
            (255, 0, 0),
            (0, 255, 0),
            (0, 0, 255),
            (255, 255, 0),
            (9, 99, 199),
            (1, 2, 3),
            (255, 255, 255),
        ],
        np.uint8,
    )
    indexed.putpalette(colours.ravel().tolist())
    assert np.array_equal(decode(save(indexed, form)).pixels, colours[RAMP % 8])


def test_a_palette_with_alpha_goes_over_white() -> None:
    indexed = Image.new("P", (4, 300))
    indexed.putdata([0, 1, 2, 3] * 300)
    indexed.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0])
    pixels = decode(save(indexed, transparency=bytes([255, 0, 128, 255]))).pixels
    expected = [(255, 0, 0), (255, 255, 255), (127, 127, 255), (0, 0, 0)]
    assert np.abs(pixels.astype(int) - expected).max() <= ON_WHITE_TOLERANCE


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_alpha_goes_over_white(form: str) -> None:
    rgba = np.dstack([grey(RAMP), ALPHA])
    options = {"lossless": True, "exact": True} if form == "WEBP" else {}
    pixels = decode(save(Image.fromarray(rgba), form, **options)).pixels
    assert np.abs(pixels - on_white(grey(RAMP), ALPHA)).max() <= ON_WHITE_TOLERANCE


def test_grey_with_alpha_goes_over_white() -> None:
    pixels = decode(save(Image.fromarray(np.dstack([RAMP, ALPHA]), "LA"))).pixels
    assert np.abs(pixels - on_white(grey(RAMP), ALPHA)).max() <= ON_WHITE_TOLERANCE


def test_one_transparent_colour_goes_over_white() -> None:
    pixels = decode(save(Image.fromarray(SCENE), transparency=pictures.RED)).pixels
    assert (pixels[2, 2] == 255).all()
    assert np.array_equal(pixels[20, 20], SCENE[20, 20])


@pytest.mark.parametrize(
    "options",
    [{}, {"progressive": True}, {"subsampling": 0}, {"optimize": True}, {"restart_marker_rows": 1}],
    ids=["baseline", "progressive", "444", "optimised", "restarts"],
)
def test_jpegs_are_near_their_picture(options: dict[str, Any]) -> None:
    smooth = SCENE[8:24, 12:36]
    pixels = decode(
        pictures.file(np.ascontiguousarray(smooth), "JPEG", quality=95, **options)
    ).pixels
    assert np.abs(pixels.astype(int) - smooth).mean() < 4


def test_grey_jpeg() -> None:
    pixels = decode(save(Image.fromarray(RAMP), "JPEG", quality=95)).pixels
    assert np.abs(pixels.astype(int) - grey(RAMP)).max() <= 3
    assert np.array_equal(pixels[..., 0], pixels[..., 2])


@pytest.mark.parametrize(
    "ink", [(0, 0, 0, 0), (255, 0, 0, 0), (0, 255, 0, 0), (0, 0, 255, 0), (0, 0, 0, 255)]
)
def test_cmyk_jpeg_as_adobe_writes_it(ink: tuple[int, int, int, int]) -> None:
    """Stored inverted with an Adobe marker; RGB = (255 - ink) * (255 - black) / 255."""
    image = Image.new("CMYK", (16, 16), ink)
    data = save(image, "JPEG", quality=95)
    assert b"Adobe" in data
    pixels = decode(data).pixels
    expected = [(255 - one) * (255 - ink[3]) / 255 for one in ink[:3]]
    assert np.abs(pixels - np.array(expected)).max() <= 3


@pytest.mark.parametrize("profile", [b"", b"junk", b"\0" * 3000, b"acsp" * 900])
@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_profiles_change_nothing(form: str, profile: bytes) -> None:
    plain, with_profile = (pictures.file(SCENE, form, icc_profile=one) for one in (None, profile))
    assert np.array_equal(decode(with_profile).pixels, decode(plain).pixels)


@pytest.mark.parametrize(
    "file",
    [bombs.jpeg_frame(0xC9), bombs.jpeg_frame(0xC3), bombs.jpeg_frame(0xC1, precision=12)],
    ids=["arithmetic", "lossless", "12 bits"],
)
def test_jpegs_that_are_not_taken(file: bytes) -> None:
    with pytest.raises(HeliographError) as refused:
        decode(file)
    assert refused.value.code is Code.UNSUPPORTED_MEDIA


def test_strips_meet_without_a_seam() -> None:
    """Conversion goes by strips of rows; a picture of several strips equals one at once."""
    y, x = np.mgrid[0:700, 0:9]
    tall = np.stack([y % 256, x * 20, (y + x) % 256], axis=-1).astype(np.uint8)
    assert np.array_equal(decode(pictures.file(tall)).pixels, tall)
    over = decode(save(Image.fromarray(np.dstack([tall, np.full((700, 9), 128, np.uint8)])))).pixels
    expected = on_white(tall, np.full((700, 9), 128, np.uint8))
    assert np.abs(over - expected).max() <= ON_WHITE_TOLERANCE
