from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heliograph.core.errors import Code, HeliographError
from heliograph.vision.decode import Limits, decode
from heliograph.vision.picture import Size
from support import bombs, pictures

SCENE = pictures.scene((640, 400))
FORMS = ["JPEG", "PNG", "WEBP", "GIF", "BMP"]


def code_of(data: bytes, limits: Limits | None = None) -> Code:
    with pytest.raises(HeliographError) as refused:
        decode(data, limits)
    assert refused.value.detail
    return refused.value.code


@pytest.mark.parametrize("form", FORMS)
def test_each_format(form: str) -> None:
    picture = decode(pictures.file(SCENE, form))
    assert picture.pixels.shape == (400, 640, 3)
    assert picture.pixels.dtype == np.uint8
    assert (picture.size, picture.format, picture.scale) == (Size(640, 400), form.lower(), 1)
    assert np.abs(picture.pixels.astype(int) - SCENE).mean() < 12


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_a_file_cut_short_is_never_half_shown(form: str, part: float) -> None:
    noise = pictures.noise(1, (160, 120), form)
    assert code_of(noise[: int(len(noise) * part)]) is Code.IMAGE_CORRUPT


@pytest.mark.parametrize("scale", [1, 2, 4, 8])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_cut_short_at_every_scale(scale: int, progressive: bool) -> None:
    whole = pictures.file(SCENE, "JPEG", progressive=progressive, quality=95)
    need = Size(640 // scale, 400 // scale)
    assert decode(whole, None, lambda _: need).scale == scale
    for cut in (len(whole) // 2, len(whole) * 9 // 10, len(whole) - 2):
        for tail in (b"", b"\xff\xd9"):
            if cut == len(whole) - 2 and tail:
                continue  # that is the whole file
            with pytest.raises(HeliographError) as refused:
                decode(whole[:cut] + tail, None, lambda _: need)
            assert refused.value.code is Code.IMAGE_CORRUPT


@pytest.mark.parametrize(
    ("need", "scale"),
    [
        ((640, 400), 1),
        ((321, 1), 1),
        ((320, 200), 2),
        ((224, 140), 2),
        ((160, 100), 4),
        ((80, 50), 8),
        ((1, 1), 8),
    ],
)
def test_a_jpeg_is_scaled_to_the_least_that_covers(need: tuple[int, int], scale: int) -> None:
    data = pictures.file(SCENE, "JPEG", quality=95)
    picture = decode(data, None, lambda _: Size(*need))
    assert picture.scale == scale
    assert picture.size == Size(640, 400)
    assert picture.pixels.shape == (400 // scale, 640 // scale, 3)
    assert decode(data, None, lambda _: Size(*need), exact=True).scale == 1


def test_what_is_needed_is_asked_of_the_upright_size() -> None:
    turned = pictures.jpeg_with(pictures.file(SCENE, "JPEG"), 0xE1, b"Exif\0\0" + pictures.exif(6))
    asked = list[Size]()

    def need(size: Size) -> Size:
        asked.append(size)
        return Size(100, 160)

    picture = decode(turned, None, need)
    assert asked == [Size(400, 640)]
    assert picture.size == Size(400, 640)
    assert picture.pixels.shape == (160, 100, 3)


def test_odd_sizes_are_rounded_up() -> None:
    odd = pictures.file(pictures.scene((101, 67)), "JPEG")
    assert decode(odd, None, lambda _: Size(10, 8)).pixels.shape == (9, 13, 3)


@pytest.mark.parametrize(
    ("limit", "code"),
    [
        ({"bytes": 100}, Code.TOO_LARGE),
        ({"pixels": 640 * 400 - 1}, Code.IMAGE_TOO_LARGE),
        ({"side": 639}, Code.IMAGE_TOO_LARGE),
    ],
)
@pytest.mark.parametrize("form", FORMS)
def test_limits(form: str, limit: dict[str, int], code: Code) -> None:
    data = pictures.file(SCENE, form)
    assert code_of(data, replace(Limits(), **limit)) is code
    exactly = Limits(bytes=len(data), pixels=640 * 400, side=640)
    assert decode(data, exactly).size == Size(640, 400)


def test_limits_of_frames_and_metadata() -> None:
    assert code_of(bombs.gif(65)) is Code.TOO_MANY_FRAMES
    assert decode(bombs.gif(64)).size == Size(1, 1)
    with_text = pictures.png_with(pictures.file(SCENE), b"tEXt", bytes(101))
    assert code_of(with_text, Limits(metadata=100)) is Code.METADATA_TOO_LARGE
    assert decode(with_text, Limits(metadata=101)).size == Size(640, 400)


def test_two_sizes_in_one_file() -> None:
    assert code_of(bombs.png_two_sizes()) is Code.IMAGE_CORRUPT


def test_pixels_are_the_callers_own() -> None:
    data = pictures.file(SCENE)
    first = decode(data)
    first.pixels[:] = 0
    assert np.array_equal(decode(data).pixels, SCENE)


def test_no_librarys_words_reach_the_caller() -> None:
    for form in FORMS:
        data = pictures.file(SCENE, form)
        with pytest.raises(HeliographError) as refused:
            decode(data[: len(data) // 2])
        assert "0x" not in refused.value.detail
        assert "PIL" not in refused.value.detail
        assert "object" not in refused.value.detail


def test_extra_formats_are_behind_their_switch() -> None:
    on = Limits(extra_formats=True)
    for form in ("TIFF", "AVIF"):
        data = pictures.file(SCENE, form)
        assert code_of(data) is Code.UNSUPPORTED_MEDIA
        picture = decode(data, on)
        assert (picture.size, picture.format) == (Size(640, 400), form.lower())
        assert np.abs(picture.pixels.astype(int) - SCENE).mean() < 12
        assert code_of(data, replace(on, pixels=1000)) is Code.IMAGE_TOO_LARGE
        assert code_of(data[: len(data) // 2], on) is Code.IMAGE_CORRUPT


@pytest.mark.parametrize("turned", [3, 6])
def test_extra_formats_are_turned_upright(turned: int) -> None:
    high: dict[str, Any] = {"quality": 100}
    for form, options in (("TIFF", dict[str, Any]()), ("AVIF", high)):
        stored = {3: SCENE[::-1, ::-1], 6: SCENE.transpose(1, 0, 2)[::-1]}[turned]
        data = pictures.file(
            np.ascontiguousarray(stored), form, exif=pictures.exif(turned), **options
        )
        picture = decode(data, Limits(extra_formats=True))
        assert picture.size == Size(640, 400)
        assert np.abs(picture.pixels.astype(int) - SCENE).mean() < 12


PLUGINS = """
import sys
from heliograph.core.errors import HeliographError
from heliograph.vision.decode import decode
for name in sys.argv[1:]:
    try:
        decode(open(name, "rb").read())
    except HeliographError:
        pass
print(*sorted(one for one in sys.modules if one.startswith("PIL.") and one.endswith("Plugin")))
"""


def test_other_plugins_are_never_imported(tmp_path: Path) -> None:
    """Row B51: whatever comes, only the five are there (and PPM, which Pillow loads itself)."""
    files = [pictures.file(SCENE, form) for form in FORMS] + list(bombs.FOREIGN.values())
    names = list[str]()
    for number, data in enumerate([*files, *(data[: len(data) // 2] for data in files)]):
        path = tmp_path / str(number)
        path.write_bytes(data)
        names.append(str(path))
    said = subprocess.run(
        [sys.executable, "-c", PLUGINS, *names], capture_output=True, check=True, text=True
    ).stdout.split()
    five = {"Bmp", "Gif", "Jpeg", "Png", "WebP"}
    assert {one.removeprefix("PIL.").removesuffix("ImagePlugin") for one in said} <= five | {"Ppm"}
