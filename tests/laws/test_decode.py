"""Laws of decoding: any bytes are a picture within the limits, or one of a few errors.

Never another exception, never more than the limits allow, whatever was done to a real file.
"""

from __future__ import annotations

import time

import numpy as np
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from heliograph.core.errors import Code, HeliographError
from heliograph.vision.decode import Limits, decode
from heliograph.vision.picture import Picture, Size
from support import bombs, pictures

LIMITS = Limits(bytes=200_000, pixels=40_000, side=300, frames=8, metadata=4000)
EXTRA = Limits(200_000, 40_000, 300, 8, 4000, extra_formats=True)
ALLOWED = {
    Code.EMPTY_FILE,
    Code.IMAGE_CORRUPT,
    Code.IMAGE_TOO_LARGE,
    Code.METADATA_TOO_LARGE,
    Code.TOO_LARGE,
    Code.TOO_MANY_FRAMES,
    Code.UNSUPPORTED_MEDIA,
}
SCENE = pictures.scene((60, 44))
REAL = [
    *(pictures.file(SCENE, form) for form in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")),
    pictures.file(SCENE, "JPEG", progressive=True),
    pictures.file(SCENE, "JPEG", "CMYK"),
    pictures.file(SCENE, "PNG", "P"),
    pictures.file(SCENE, "PNG", "RGBA"),
    pictures.file(SCENE, "PNG", "1"),
    pictures.file(SCENE, "GIF", "L"),
    pictures.file(SCENE, "WEBP", "RGBA", lossless=True, exif=pictures.exif(5)),
    pictures.jpeg_with(pictures.file(SCENE, "JPEG"), 0xE1, b"Exif\0\0" + pictures.exif(6)),
    bombs.gif(3),
    bombs.jpeg_scans(32, 32, 20),
]
MAGICS = [b"", b"\xff\xd8\xff", bombs.PNG_MAGIC, b"GIF89a", b"BM", b"II*\0"]
LAW = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def bent(draw: st.DrawFn) -> bytes:
    """A real file with bytes changed, cut out, doubled or cut off."""
    data = bytearray(draw(st.sampled_from(REAL)))
    for _ in range(draw(st.integers(1, 6))):
        if not data:
            break
        at = draw(st.integers(0, len(data) - 1))
        # Headers are where the interesting bytes are.
        at = draw(st.sampled_from([at, at % 64]))
        how = draw(st.sampled_from(["byte", "ones", "drop", "double", "cut"]))
        many = draw(st.integers(1, 8))
        if how == "byte":
            data[at] = draw(st.integers(0, 255))
        elif how == "ones":
            data[at : at + many] = b"\xff" * many
        elif how == "drop":
            del data[at : at + many]
        elif how == "double":
            data[at:at] = data[at : at + many * 8]
        else:
            del data[len(data) - many * len(data) // 40 :]
    return bytes(data)


def law(data: bytes, limits: Limits, need: Size | None) -> Picture | None:
    """Decode; what comes out keeps the limits. None for a refusal."""
    began = time.process_time()
    picture = code = None
    try:
        picture = decode(data, limits, None if need is None else lambda _: need)
    except HeliographError as error:
        code = error.code
    assert code is None or code in ALLOWED
    if picture is not None:
        width, height = picture.size
        assert 0 < width * height <= limits.pixels
        assert max(width, height) <= limits.side
        scaled = (-(-height // picture.scale), -(-width // picture.scale), 3)
        assert picture.pixels.shape == scaled
        assert picture.pixels.dtype == np.uint8
        assert picture.pixels.flags.c_contiguous
    assert time.process_time() - began < 5
    return picture


@LAW
@given(st.sampled_from(MAGICS), st.binary(max_size=400), st.booleans())
@example(b"", b"", False)
@example(bombs.png_two_sizes(), b"", False)
def test_any_bytes(magic: bytes, rest: bytes, extra: bool) -> None:
    law(magic + rest, EXTRA if extra else LIMITS, None)


@LAW
@given(bent(), st.booleans(), st.sampled_from([None, Size(1, 1), Size(16, 11), Size(30, 22)]))
def test_bent_files(data: bytes, extra: bool, need: Size | None) -> None:
    law(data, EXTRA if extra else LIMITS, need)


@LAW
@given(bent())
def test_what_is_decoded_is_decoded_the_same_again(data: bytes) -> None:
    """Nothing of what was decoded in between shows: buffers are fresh."""
    first = law(data, LIMITS, None)
    law(REAL[1], LIMITS, None)
    again = law(data, LIMITS, None)
    assert (first is None) == (again is None)
    assert first is None or again is None or np.array_equal(first.pixels, again.pixels)
