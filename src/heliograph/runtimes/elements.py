"""Element types that numpy and the engines do not share: bfloat16 and strings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heliograph.core.errors import Code, HeliographError


def halves_of(array: NDArray[Any]) -> NDArray[np.uint16]:
    """float32 as the bits of bfloat16, rounded to the nearest, ties to even; NaN stays NaN.

    Args:
        array: float32 of any shape.

    Returns:
        uint16 of the same shape, contiguous.
    """
    # ascontiguousarray makes a scalar a vector of one: the shape is put back.
    bits = np.ascontiguousarray(array, np.float32).reshape(array.shape).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    quiet = (bits >> np.uint32(16)) | np.uint32(0x40)
    nan = (bits & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000)
    return np.where(nan, quiet, rounded).astype(np.uint16)


def float32_of(halves: NDArray[np.uint16]) -> NDArray[np.float32]:
    """The bits of bfloat16 as float32, exactly; shape kept."""
    wide = halves.astype(np.uint32) << np.uint32(16)
    return np.asarray(wide, np.uint32).view(np.float32)


def text_of(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """Byte strings as an array of str, for engines whose strings are text.

    Raises:
        HeliographError: `validation` if one is not UTF-8.
    """
    try:
        texts = [one.decode() if isinstance(one, bytes) else str(one) for one in array.flat]
    except UnicodeDecodeError as error:
        raise HeliographError(
            Code.VALIDATION, f"Strings of {name!r} must be UTF-8: its engine takes text only."
        ) from error
    return objects(texts, array.shape)


def bytes_of(array: NDArray[Any]) -> NDArray[Any]:
    """Text, as engines give it, as byte strings."""
    texts = (one if isinstance(one, bytes) else str(one).encode() for one in array.flat)
    return objects(list(texts), array.shape)


def objects(values: Sequence[bytes | str], shape: tuple[int, ...]) -> NDArray[Any]:
    """An array of dtype object; numpy would guess a fixed width of its own."""
    made: NDArray[Any] = np.empty(len(values), object)
    made[:] = values
    return made.reshape(shape)
