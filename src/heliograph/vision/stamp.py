"""Writing over a picture who looks at it and when, so that a copy of it names its source.

For pictures that few may see: documents of people, preserved copies of what was reported. Not
covered: somebody who paints the letters over.
"""

from __future__ import annotations

from datetime import UTC, datetime

import cv2
import numpy as np

from heliograph.vision.decode import decode
from heliograph.vision.encode import encode
from heliograph.vision.picture import Pixels

_SHOWN = 0.35


def stamped(data: bytes, reviewer: str, now_ms: int) -> bytes:
    """A picture as `reviewer` sees it: a PNG with their id and the time across all of it.

    Args:
        data: the picture's file.
        reviewer: who looks, in ASCII.
        now_ms: when, milliseconds since 1970.

    Raises:
        HeliographError: those of `vision.decode`.
    """
    pixels = decode(data).pixels
    when = datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    return encode(_written_over(pixels, f"{reviewer} {when}"), "png")


def _written_over(pixels: Pixels, text: str) -> Pixels:
    """Text in rows, staggered, so that no part worth having can be cut out without it."""
    height, width = pixels.shape[:2]
    scale = max(0.35, min(height, width) / 1100)
    face, line = cv2.FONT_HERSHEY_SIMPLEX, max(1, round(scale * 1.5))
    (long, tall), _ = cv2.getTextSize(text, face, scale, line)
    ink = pixels.copy()
    for row, y in enumerate(range(tall, height + tall, tall * 4)):
        first = -(row % 2) * long // 2
        for x in range(first, width, long + tall * 2):
            # Dark and light together are read on any ground.
            cv2.putText(ink, text, (x + 1, y + 1), face, scale, (0, 0, 0), line)
            cv2.putText(ink, text, (x, y), face, scale, (255, 255, 255), line)
    return np.asarray(cv2.addWeighted(ink, _SHOWN, pixels, 1 - _SHOWN, 0), np.uint8)
