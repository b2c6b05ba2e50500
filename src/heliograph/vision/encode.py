"""Pixels -> bytes: the three formats an answer that is a picture can be sent in.

Nothing but pixels is written: no EXIF, no colour profile, no time, no software name.

Which library writes what was measured (one thread, OpenCV 5.0, Pillow 13.0, simplejpeg 1.9; a photo
of 1280 x 720): JPEG at 85 by simplejpeg 2.4 ms, OpenCV 2.7 ms, Pillow 3.1 ms, all 135 kB. PNG by
OpenCV's default (run lengths) 31 ms and 1261 kB, at level 6 170 ms and 1058 kB, by Pillow 204 ms
and 1055 kB. WebP at 80 by OpenCV 77 ms and 80 kB, by Pillow with `method=2` 36 ms and 84 kB.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from heliograph.core.errors import Code, HeliographError

Format: TypeAlias = Literal["png", "jpeg", "webp"]
MEDIA_TYPES: dict[Format, str] = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
SIDES: dict[Format, int] = {"png": 1_000_000, "jpeg": 65_500, "webp": 16_383}
"""The longest side each format holds, in pixels (libpng's and libjpeg's defaults; RFC 9649)."""

_FULL_CHROMA = 90


class Encoded(NamedTuple):
    """A file in memory and what it is."""

    data: bytes
    media_type: str


@dataclass(frozen=True, slots=True)
class Encoding:
    """How an answer's picture is written.

    Attributes:
        format: `png`, `jpeg` or `webp`.
        quality: 1-100 for `jpeg` and `webp`; `png` is lossless and ignores it.
    """

    format: Format = "png"
    quality: int = 85

    @property
    def media_type(self) -> str:
        """E.g. `image/png`."""
        return MEDIA_TYPES[self.format]

    def encode(self, pixels: NDArray[np.uint8]) -> Encoded:
        """Write pixels, uint8 RGB [h, w, 3] or grey [h, w]."""
        return Encoded(encode(pixels, self.format, self.quality), self.media_type)


def encode(
    pixels: NDArray[np.uint8],
    format: Format,  # noqa: A002 - the word every caller knows it by
    quality: int = 85,
) -> bytes:
    """Write a picture file.

    Args:
        pixels: uint8 RGB [h, w, 3] or grey [h, w], 0-255.
        format: `png`, `jpeg` or `webp`.
        quality: 1-100 for `jpeg` and `webp`. From 90 a JPEG keeps its colours at full resolution
            (4:4:4), below it halves them (4:2:0), which the eye hardly sees.

    Raises:
        HeliographError: `validation` if a side is longer than the format can hold.
    """
    height, width = pixels.shape[:2]
    if max(height, width) > SIDES[format]:
        raise HeliographError(
            Code.VALIDATION,
            f"A {format} holds at most {SIDES[format]} pixels on a side and the answer is "
            f"{width} x {height}. Ask for png or a smaller picture.",
        )
    if format == "jpeg":
        return _jpeg(np.ascontiguousarray(pixels), quality)
    if format == "png":
        stored = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
        return cv2.imencode(".png", stored)[1].tobytes()
    file = io.BytesIO()
    Image.fromarray(pixels).convert("RGB").save(file, "WEBP", quality=quality, method=2)
    return file.getvalue()


def _jpeg(pixels: NDArray[np.uint8], quality: int) -> bytes:
    if pixels.ndim == 2:
        return simplejpeg.encode_jpeg(pixels[:, :, None], quality, "GRAY", "Gray")
    chroma = "444" if quality >= _FULL_CHROMA else "420"
    return simplejpeg.encode_jpeg(pixels, quality, "RGB", chroma)


def indexed(ids: NDArray[np.uint8] | NDArray[np.uint16], colours: NDArray[np.uint8]) -> Encoded:
    """Write a map of numbers as a PNG that gives the very numbers back.

    Args:
        ids: uint8 [h, w], shown in their `colours`; uint16 [h, w], which a PNG can hold as
            greys of 16 bits only.
        colours: uint8 [256, 3], red, green and blue of each number; for uint16 not used.
    """
    image = Image.fromarray(ids)
    if ids.dtype == np.uint8:
        # putpalette makes the greys of mode L the indexes of mode P.
        image.putpalette(colours.tobytes())
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=6)
    return Encoded(file.getvalue(), MEDIA_TYPES["png"])
