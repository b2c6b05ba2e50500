"""Rows B49, B50, B54 and B59: the pixels that come out are those of the file, and of no other.

Answers are asked for as PNG, so that pixels can be compared one by one. Golden colours of every
conversion are in `tests/goldens/test_decode.py`.
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from heliograph.core.errors import Code
from support import pictures
from support.server import Server
from support.wire import ask, post

WHOLE = "/api/v1/process?ops=png"
SCENE = pictures.scene()
STORED: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    # What must be done to the upright picture to get what such a file stores.
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.transpose(1, 0, 2),
    6: lambda p: p.transpose(1, 0, 2)[::-1],
    7: lambda p: p.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda p: p.transpose(1, 0, 2)[:, ::-1],
}


def seen(server: Server, file: bytes) -> NDArray[np.uint8]:
    """The pixels the server sees in a file."""
    reply = ask(server, post(file, WHOLE))
    assert reply.status == 200, reply
    with Image.open(io.BytesIO(reply.body)) as image:
        return np.array(image)


def with_orientation(pixels: NDArray[np.uint8], form: str, tiff: bytes) -> bytes:
    options: dict[str, Any] = {"lossless": True} if form == "WEBP" else {}
    plain = pictures.file(np.ascontiguousarray(pixels), form, **options)
    if form == "PNG":
        return pictures.png_with(plain, b"eXIf", tiff)
    if form == "JPEG":
        return pictures.jpeg_with(plain, 0xE1, b"Exif\0\0" + tiff)
    return pictures.file(np.ascontiguousarray(pixels), form, exif=tiff, **options)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("turned", STORED)
@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_b54_orientations_pixel_exact(lean: Server, form: str, turned: int, order: str) -> None:
    file = with_orientation(STORED[turned](SCENE), form, pictures.exif(turned, order=order))
    assert np.array_equal(seen(lean, file), SCENE)


@pytest.mark.parametrize("turned", STORED)
def test_b54_orientations_of_jpeg(lean: Server, turned: int) -> None:
    # The same file without its tag tells what is stored, to the last bit.
    stored = np.ascontiguousarray(STORED[turned](SCENE))
    lying = seen(lean, pictures.file(stored, "JPEG"))
    upright = seen(lean, with_orientation(stored, "JPEG", pictures.exif(turned)))
    assert upright.shape == SCENE.shape
    assert np.array_equal(STORED[turned](upright), lying)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_b54_orientations_that_are_none(lean: Server, form: str) -> None:
    options: dict[str, Any] = {"lossless": True} if form == "WEBP" else {}
    plain = seen(lean, pictures.file(SCENE, form, **options))
    for tiff in (
        *(pictures.exif(turned) for turned in (0, 9, 99, 65_535)),
        pictures.exif(6, kind=4),
        pictures.exif(6)[:-8],
        b"II*\0",
        b"junk" * 9,
        b"II*\0\xff\xff\xff\xff\x01\x00",
    ):
        assert np.array_equal(seen(lean, with_orientation(SCENE, form, tiff)), plain)


def test_b54_the_last_word_is_not_double(lean: Server) -> None:
    # A tag in two places turns once: JPEG's first block counts.
    twice = with_orientation(STORED[6](SCENE), "JPEG", pictures.exif(6))
    twice = pictures.jpeg_with(twice, 0xE1, b"Exif\0\0" + pictures.exif(6))
    assert seen(lean, twice).shape == SCENE.shape


@pytest.mark.parametrize("progressive", [False, True])
def test_b50_nothing_of_another_picture_shows(lean: Server, progressive: bool) -> None:
    """The victim's colour is sought in every answer to a cut file, 1000 times in turn."""
    victim = pictures.plain((0, 255, 0), (256, 256), "JPEG")
    rng = np.random.default_rng(50)
    noise = rng.integers(0, 100, (256, 256, 3), np.uint8)
    whole = pictures.file(noise, "JPEG", progressive=progressive, quality=90)
    for turn in range(250):
        assert (seen(lean, victim)[..., 1] > 250).all()
        cut = whole[: len(whole) * (30 + turn % 60) // 100] + b"\xff\xd9" * (turn % 2)
        for target in (WHOLE, "/api/v1/edges?format=json"):
            reply = ask(lean, post(cut, target))
            assert reply.code == Code.IMAGE_CORRUPT
            assert "image" not in reply.json


COLD = """
import hashlib, sys
from heliograph.core.errors import HeliographError
from heliograph.vision.decode import decode
for name in sys.argv[1:]:
    try:
        print(hashlib.sha256(decode(open(name, "rb").read()).pixels.tobytes()).hexdigest())
    except HeliographError as error:
        print(error.code)
"""


def test_b50_a_warm_process_sees_what_a_cold_one_sees(lean: Server, tmp_path: Path) -> None:
    """Damaged files that some decoders let pass: the answer must not depend on what came before."""
    rng = np.random.default_rng(51)
    victim = pictures.noise(1, (128, 128), "JPEG")
    files = list[bytes]()
    for form in ("JPEG", "PNG", "GIF", "BMP", "WEBP"):
        whole = pictures.noise(2, (64, 64), form)
        for _ in range(12):
            bent = bytearray(whole)
            bent[int(rng.integers(len(bent) // 4, len(bent)))] ^= int(rng.integers(1, 256))
            files.append(bytes(bent[: int(rng.integers(len(bent) // 2, len(bent) + 1))]))
    names = [tmp_path / str(number) for number in range(len(files))]
    for name, data in zip(names, files, strict=True):
        name.write_bytes(data)
    command = [sys.executable, "-c", COLD, *map(str, names)]
    cold = subprocess.run(command, capture_output=True, check=True, text=True).stdout.split()
    for data, expected in zip(files, cold, strict=True):
        assert ask(lean, post(victim, WHOLE)).status == 200
        reply = ask(lean, post(data, WHOLE))
        if reply.code:
            assert reply.code == expected
        else:
            with Image.open(io.BytesIO(reply.body)) as image:
                assert hashlib.sha256(np.array(image).tobytes()).hexdigest() == expected


def test_b49_frames_of_several_modes(lean: Server) -> None:
    frames = [Image.fromarray(SCENE).convert(mode) for mode in ("RGB", "P", "RGBA", "L")]
    for form, options in (("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {})):
        out = io.BytesIO()
        frames[0].save(out, form, save_all=True, append_images=frames[1:], **options)
        pixels = seen(lean, out.getvalue())
        tolerance = 60 if form == "GIF" else 0
        assert np.abs(pixels.astype(int) - SCENE).max() <= tolerance
