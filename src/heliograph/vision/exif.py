"""EXIF orientation: reading the one tag that changes pixels, and applying it.

Source: EXIF 2.32, tag 0x0112. Values 1-8 are applied; 0, 9 and above, wrong types and loops are
ignored, as cameras and editors write them by mistake.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

_TAG, _SHORT, _LAST = 0x0112, 3, 8


def orientation(tiff: bytes) -> int:
    r"""Find the orientation in a TIFF-structured EXIF block (after `Exif\\0\\0`).

    Only the first directory is read and at most 512 entries of it, so a looping or huge block costs
    nothing. Anything unexpected reads as 1 (upright).
    """
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 10:
        return 1
    try:
        (first,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, first)
        for entry in range(min(count, 512)):
            tag, kind, many, value = struct.unpack_from(
                order + "HHIH", tiff, first + 2 + 12 * entry
            )
            if tag == _TAG:
                return value if kind == _SHORT and many == 1 and 1 <= value <= _LAST else 1
    except struct.error:
        return 1
    return 1


def upright(pixels: NDArray[np.uint8], turned: int) -> NDArray[np.uint8]:
    """Turn stored pixels upright.

    Args:
        pixels: uint8 [height, width, channels] as stored.
        turned: EXIF orientation 1-8.

    Returns:
        uint8 [height', width', channels], contiguous.
    """
    if turned == 1:
        return pixels
    if turned >= 5:
        pixels = pixels.transpose(1, 0, 2)
    flip_rows = turned in {3, 4, 7, 8}
    flip_columns = turned in {2, 3, 6, 7}
    return np.ascontiguousarray(pixels[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1])
