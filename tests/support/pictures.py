"""Small picture files, made on the spot."""

from __future__ import annotations

import io

import numpy as np
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


def _file(image: Image.Image, form: str) -> bytes:
    out = io.BytesIO()
    image.save(out, form)
    return out.getvalue()
