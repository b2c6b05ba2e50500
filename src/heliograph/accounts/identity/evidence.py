"""Pictures of documents: cleaned when they come, stamped when they are looked at.

Covered: only pixels are kept (EXIF with its place and time, hidden second pictures and whatever
hangs behind the file are gone); the vault encrypts; a reviewer sees the picture only with who looks
and when written all over it. Not covered: somebody who photographs the screen is named in the
photograph, not kept from taking it.
"""

from __future__ import annotations

from typing import Protocol

import cv2
import numpy as np

from heliograph.vision.decode import Limits, decode
from heliograph.vision.encode import encode

PURPOSE = "identity"
MOST_BYTES = 10 << 20
_LIMITS = Limits(bytes=MOST_BYTES, pixels=30_000_000, side=8000, frames=1)
_SIDE = 3000
_QUALITY = 92


class Vault(Protocol):
    """Keeps bytes encrypted, each piece under a key of its own."""

    def put(self, purpose: str, data: bytes) -> str:
        """Keep bytes under the key of a purpose; gives what to ask for them with."""
        ...

    def get(self, ref: str) -> bytes:
        """The bytes; raises `not_found` once they were shredded."""
        ...

    def shred(self, ref: str) -> None:
        """Make them unreadable for ever, in backups too; nothing happens if they are already."""
        ...


def cleaned(data: bytes) -> bytes:
    """A picture as it may be kept: upright pixels in a new JPEG, at most 3000 on a side.

    Raises:
        HeliographError: those of `vision.decode`: not a picture, damaged, too large.
    """
    pixels = decode(data, _LIMITS).pixels
    height, width = pixels.shape[:2]
    scale = _SIDE / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    return encode(pixels, "jpeg", _QUALITY)
