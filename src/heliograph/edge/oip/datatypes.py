"""Datatypes of the protocol, and tensors as its two encodings carry them: raw bytes and lists.

Raw: little-endian, row-major, no padding; BOOL one byte; BYTES a length of four bytes before each
element; BF16 the upper half of a float32. In memory BF16 is float32: numpy has no such type, and
widening is exact.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heliograph.core.errors import Code, HeliographError

Array = NDArray[Any]

NUMPY: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "BF16": np.dtype("<f4"),
    "BYTES": np.dtype(object),
}
"""The datatypes, and what holds each in memory."""

_NAMES = {str(dtype): name for name, dtype in NUMPY.items() if name != "BF16"} | {
    "bfloat16": "BF16",
    "str": "BYTES",
    "string": "BYTES",
}
_SIZES = {name: dtype.itemsize for name, dtype in NUMPY.items() if name != "BYTES"} | {"BF16": 2}
_MOST_ELEMENTS = 1 << 40
_LONGEST_RANK = 32


def datatype(dtype: str) -> str:
    """The protocol's name of a numpy dtype name, such as `float32` or `object`."""
    return _NAMES[dtype]


def check(name: str, kind: str, shape: Sequence[int]) -> int:
    """Hold a tensor's description against what any tensor may be.

    Returns:
        How many elements it has.

    Raises:
        HeliographError: `validation` or `bad_shape`.
    """
    if kind not in NUMPY:
        raise HeliographError(
            Code.VALIDATION, f"invalid datatype for input '{name[:80]}': '{kind[:20]}'"
        )
    if len(shape) > _LONGEST_RANK or any(size < 0 for size in shape):
        raise HeliographError(
            Code.BAD_SHAPE,
            f"input '{name[:80]}' contains one or more invalid dimensions: {_show(shape)}",
        )
    count = math.prod(shape)
    if count > _MOST_ELEMENTS:
        raise HeliographError(
            Code.BAD_SHAPE,
            f"shape {_show(shape)} of input '{name[:80]}' causes total element count to exceed "
            f"{_MOST_ELEMENTS}",
        )
    return count


def byte_size(kind: str, count: int) -> int | None:
    """Raw bytes of so many elements; None for BYTES, whose elements say it themselves."""
    size = _SIZES.get(kind)
    return None if size is None else size * count


def read_raw(name: str, kind: str, shape: Sequence[int], data: memoryview | bytes) -> Array:
    """A tensor of raw bytes, without copying where the bytes can stay where they are.

    Raises:
        HeliographError: `validation` or `bad_shape`.
    """
    count = check(name, kind, shape)
    if kind == "BYTES":
        return _split(name, count, data).reshape(shape)
    expected = _SIZES[kind] * count
    if len(data) != expected:
        raise HeliographError(
            Code.BAD_SHAPE,
            f"input byte size mismatch for input '{name}'. Expected {expected}, got {len(data)}",
        )
    if kind == "BF16":
        halves = np.frombuffer(data, "<u2").astype("<u4") << 16
        return halves.view("<f4").reshape(shape)
    if kind == "BOOL":
        return (np.frombuffer(data, np.uint8) != 0).reshape(shape)
    array = np.frombuffer(data, NUMPY[kind]).reshape(shape)
    # Engines read the bytes in place, with instructions that may want them aligned.
    return array if array.flags.aligned else array.copy()


def write_raw(array: Array, kind: str) -> memoryview | bytes:
    """The raw bytes of a tensor; not copied where it lies row-major already."""
    if kind == "BYTES":
        parts: list[bytes] = []
        for one in array.ravel():
            data = one if isinstance(one, bytes) else str(one).encode()
            parts += (struct.pack("<I", len(data)), data)
        return b"".join(parts)
    if kind == "BF16":
        return _rounded(np.ascontiguousarray(array, "<f4").view("<u4")).tobytes()
    wanted = np.ascontiguousarray(array, NUMPY[kind])
    return wanted.reshape(-1).view(np.uint8).data


def read_list(name: str, kind: str, shape: Sequence[int], values: list[Any]) -> Array:
    """A tensor of a flat, row-major list.

    Args:
        name: the tensor's, for errors.
        kind: its datatype.
        shape: its shape.
        values: of the Python type that fits: bool, int, float, str or bytes.

    Raises:
        HeliographError: `validation`, `bad_shape` or `unsupported` (FP16 and BF16).
    """
    if kind in {"FP16", "BF16"}:
        raise HeliographError(
            Code.VALIDATION,
            f"receiving {kind} data via JSON is not supported. Please use the binary data format "
            f"for input {name}",
        )
    count = check(name, kind, shape)
    if len(values) != count:
        raise HeliographError(
            Code.BAD_SHAPE,
            f"unexpected number of elements {len(values)} for input '{name}', expecting {count}",
        )
    if kind == "BYTES":
        array = np.empty(count, object)
        array[:] = [one if isinstance(one, bytes) else one.encode() for one in values]
        return array.reshape(shape)
    try:
        with np.errstate(over="ignore"):
            array = np.array(values, NUMPY[kind])
    except (OverflowError, ValueError, TypeError) as error:
        raise _does_not_fit(name, kind) from error
    if kind == "FP32" and not np.isfinite(array).all():
        raise _does_not_fit(name, kind)
    return array.reshape(shape)


def write_list(array: Array, kind: str, name: str) -> Array | list[Any]:
    """The elements of a tensor, flat and row-major, as JSON can say them.

    Numbers stay an array, for a writer that knows arrays: it gives each the fewest digits that
    read back as the same number of its type, and null for one that is not finite.

    Raises:
        HeliographError: `validation`; FP16, BF16 and bytes that are no text have no form in JSON.
    """
    if kind in {"FP16", "BF16"}:
        raise HeliographError(
            Code.VALIDATION,
            f"sending {kind} data via JSON is not supported. Please use the binary data format for "
            f"output {name}",
        )
    if kind != "BYTES":
        return np.ascontiguousarray(array).ravel()
    try:
        return [one.decode() if isinstance(one, bytes) else str(one) for one in array.ravel()]
    except UnicodeDecodeError as error:
        raise HeliographError(
            Code.VALIDATION,
            f"output {name} holds bytes that are no UTF-8 text; please use the binary data format",
        ) from error


def _split(name: str, count: int, data: memoryview | bytes) -> Array:
    view = memoryview(data)
    if 4 * count > len(view):
        raise HeliographError(
            Code.BAD_SHAPE,
            f"unexpected number of string elements {len(view) // 4} at most for inference input "
            f"'{name}', expecting {count}",
        )
    array = np.empty(count, object)
    at = 0
    for index in range(count):
        if at + 4 > len(view):
            raise HeliographError(
                Code.BAD_SHAPE,
                f"unexpected number of string elements {index} for inference input '{name}', "
                f"expecting {count}",
            )
        (length,) = struct.unpack_from("<I", view, at)
        at += 4
        if length > len(view) - at:
            raise HeliographError(
                Code.BAD_SHAPE,
                f"incomplete string data for inference input '{name}', expecting string of length "
                f"{length} but only {len(view) - at} bytes available",
            )
        array[index] = bytes(view[at : at + length])
        at += length
    if at != len(view):
        raise HeliographError(
            Code.BAD_SHAPE,
            f"unexpected number of string elements for inference input '{name}': "
            f"{len(view) - at} bytes follow the {count} expected",
        )
    return array


def _rounded(bits: Array) -> Array:
    """The upper halves of float32 bits, to the nearest, ties to even; NaN stays NaN."""
    nan = (bits & 0x7FFFFFFF) > 0x7F800000
    upper = ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype("<u2")
    return np.where(nan, (bits >> 16).astype("<u2") | 0x40, upper)


def _does_not_fit(name: str, kind: str) -> HeliographError:
    return HeliographError(
        Code.VALIDATION, f"a value of input '{name}' does not fit its datatype {kind}"
    )


def _show(shape: Sequence[int]) -> str:
    return f"[{','.join(str(size)[:20] for size in shape[:8])}]"
