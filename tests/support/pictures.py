"""Small picture files, made on the spot."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

RED, GREEN, BLUE = (230, 20, 20), (20, 230, 20), (20, 20, 230)


def plain(
    colour: tuple[int, int, int] = RED, size: tuple[int, int] = (24, 16), form: str = "PNG"
) -> bytes:
    """A picture of one colour."""
    return _file(Image.new("RGB", size, colour), form)


def noise(seed: int = 0, size: tuple[int, int] = (24, 16), form: str = "PNG") -> bytes:
    """A picture of random pixels."""
    rng = np.random.default_rng(seed)
    return _file(Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), np.uint8)), form)


def scene(size: tuple[int, int] = (48, 32)) -> NDArray[np.uint8]:
    """uint8 [h, w, 3]: ramps and four different corners, so that no turn of it equals another."""
    width, height = size
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack(
        [x * 255 // max(1, width - 1), y * 255 // max(1, height - 1), (x + y) % 256], axis=-1
    ).astype(np.uint8)
    high, wide = height // 4, width // 4
    for rows, columns, colour in (
        (slice(0, high), slice(0, wide), RED),
        (slice(0, high), slice(width - wide, width), GREEN),
        (slice(height - high, height), slice(0, wide), BLUE),
    ):
        pixels[rows, columns] = colour
    return pixels


def file(pixels: NDArray[Any], form: str = "PNG", mode: str | None = None, **options: Any) -> bytes:
    """Pixels as a file, perhaps in another mode of Pillow's; `options` are its writer's."""
    image = Image.fromarray(pixels)
    return _file(image.convert(mode) if mode else image, form, **options)


def exif(orientation: int, *, order: str = "<", kind: int = 3) -> bytes:
    """A TIFF block with nothing but the tag 0x0112, of type `kind` (3 is what it should be)."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    value = struct.pack(order + "HH", orientation, 0) if kind == 3 else bytes(4)
    entry = struct.pack(order + "HHI", 0x0112, kind, 1) + value
    return mark + struct.pack(order + "IH", 8, 1) + entry + bytes(4)


def jpeg_with(jpeg: bytes, marker: int, body: bytes) -> bytes:
    """A JPEG with one more segment, the first."""
    return jpeg[:2] + bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def png_with(png: bytes, kind: bytes, body: bytes) -> bytes:
    """A PNG with one more chunk, behind IHDR."""
    return png[:33] + chunk(kind, body) + png[33:]


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _file(image: Image.Image, form: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()
