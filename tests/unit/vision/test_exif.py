from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph.vision.exif import orientation, upright
from support import bombs, pictures


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("turned", range(1, 9))
def test_each_orientation_in_each_byte_order(turned: int, order: str) -> None:
    assert orientation(pictures.exif(turned, order=order)) == turned


@pytest.mark.parametrize("turned", [0, 9, 99, 255, 65_535])
def test_numbers_that_mean_nothing(turned: int) -> None:
    assert orientation(pictures.exif(turned)) == 1


@pytest.mark.parametrize(
    "tiff",
    [
        b"",
        b"II",
        b"XX*\0" + bytes(20),
        pictures.exif(6, kind=4),
        pictures.exif(6)[:-10],
        b"II*\0\xff\xff\xff\xff\x00\x00",
        b"II*\0" + struct.pack("<I", 8) + b"\xff\xff" + bytes(12 * 600),
        bombs.exif_loop(),
    ],
)
def test_blocks_that_are_none(tiff: bytes) -> None:
    assert orientation(tiff) == 1


@given(st.binary(max_size=200))
def test_any_bytes_are_an_orientation(tiff: bytes) -> None:
    for start in (b"", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"):
        assert 1 <= orientation(start + tiff) <= 8


@pytest.mark.parametrize(
    ("turned", "expected"),
    [
        (1, [[1, 2, 3], [4, 5, 6]]),
        (2, [[3, 2, 1], [6, 5, 4]]),
        (3, [[6, 5, 4], [3, 2, 1]]),
        (4, [[4, 5, 6], [1, 2, 3]]),
        (5, [[1, 4], [2, 5], [3, 6]]),
        (6, [[4, 1], [5, 2], [6, 3]]),
        (7, [[6, 3], [5, 2], [4, 1]]),
        (8, [[3, 6], [2, 5], [1, 4]]),
    ],
)
def test_turning_upright(turned: int, expected: list[list[int]]) -> None:
    stored = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)[:, :, None]
    turned_pixels = upright(stored, turned)
    assert turned_pixels[:, :, 0].tolist() == expected
    assert turned_pixels.flags.c_contiguous
