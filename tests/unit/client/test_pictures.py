"""Whatever is a picture becomes a file's bytes; what is none is refused in words."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from heliograph.client.many import Feed, kept
from heliograph.client.pictures import load
from heliograph.vision.decode import decode

PIXELS = np.random.default_rng(1).integers(0, 256, (12, 20, 3), np.uint8)


def jpeg(orientation: int = 1) -> bytes:
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(PIXELS).save(file, "JPEG", exif=exif)
    return file.getvalue()


def test_files_go_out_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, path = jpeg(), tmp_path / "photo.jpg"
    path.write_bytes(data)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load(path) == load(str(path)) == load("~/photo.jpg") == data
    assert load(data) == load(bytearray(data)) == load(memoryview(data)) == data
    with path.open("rb") as file:
        assert load(file) == data
    assert load(io.BytesIO(data)) == data


@pytest.mark.parametrize("view", [PIXELS, PIXELS[::-1, ::2], np.asfortranarray(PIXELS)])
def test_pixels_arrive_unchanged(view: Any) -> None:
    assert np.array_equal(decode(load(view)).pixels, view)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "F"])
def test_a_pil_image_of_any_mode_is_taken(mode: str) -> None:
    picture = decode(load(Image.fromarray(PIXELS).convert(mode)))
    assert picture.size == (20, 12)


def test_rgb_of_a_pil_image_arrives_unchanged() -> None:
    assert np.array_equal(decode(load(Image.fromarray(PIXELS))).pixels, PIXELS)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_pil_image_is_the_same_picture_as_its_file(orientation: int) -> None:
    data = jpeg(orientation)
    with Image.open(io.BytesIO(data)) as image:
        image.draft("RGB", None)
        ours = decode(load(image)).pixels.astype(int)
    theirs = decode(data).pixels.astype(int)
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= 8


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (None, "NoneType is no picture"),
        (7, "int is no picture"),
        (io.StringIO("x"), "mode 'rb'"),
        ("https://pictures.example/a.jpg", "download it"),
        (PIXELS.astype(np.float32), r"got float32 \[12, 20, 3\]"),
        (PIXELS[:, :, 0], r"got uint8 \[12, 20\]"),
        (PIXELS[:0], r"got uint8 \[0, 20, 3\]"),
        (PIXELS.transpose(2, 0, 1), r"got uint8 \[3, 12, 20\]"),
    ],
)
def test_what_is_no_picture_is_said_to_be_none(wrong: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        load(wrong)


def test_a_missing_file_is_missing() -> None:
    with pytest.raises(FileNotFoundError):
        load("nowhere/photo.jpg")


def test_a_feed_gives_each_picture_once_and_orders_the_answers() -> None:
    feed = Feed(iter([b"a", b"b", b"c"]), 2)
    taken = [feed.take() for _ in range(4)]
    assert taken == [(0, b"a"), (1, b"b"), (2, b"c"), None]
    first, second = ValueError("first"), ValueError("second")
    feed.put(1, second)
    feed.put(0, first)
    assert feed.answers() == [first, second]


def test_a_stopped_feed_gives_nothing_more() -> None:
    feed = Feed([b"a", b"b"], 1)
    feed.take()
    feed.stop()
    assert feed.take() is None


def test_a_generator_s_own_error_is_raised_at_the_end() -> None:
    def broken() -> Any:
        yield b"a"
        raise RuntimeError("the camera is gone")

    feed = Feed(broken(), 1)
    assert feed.take() == (0, b"a")
    assert feed.take() is None
    with pytest.raises(RuntimeError, match="camera"):
        feed.answers()


def test_somebody_has_to_work() -> None:
    with pytest.raises(ValueError, match="at_once is at least 1; got 0"):
        Feed([b"a"], 0)


def test_among_many_a_file_is_remembered_by_its_path(tmp_path: Path) -> None:
    assert kept(str(tmp_path / "a.jpg"), b"data") == tmp_path / "a.jpg"
    assert kept(b"data", b"data") == b"data"
