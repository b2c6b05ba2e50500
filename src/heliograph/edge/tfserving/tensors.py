"""TensorProto <-> numpy arrays: every typed field, `tensor_content`, and one value for all.

Written by hand where protobuf would take values one by one: floating-point fields are packed
little-endian numbers, which is what an array has in memory.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heliograph.core.errors import Code, HeliographError
from heliograph.edge.tfserving.dtypes import Dtype, numbered, of_numpy

MOST_BYTES = 64 << 20
"""Of a tensor whose message is smaller than itself: one value may stand for all."""
_MOST_DIMS = 32
_LENGTH = 2
_VARINT = 0
_NATIVE = sys.byteorder == "little"


def read_tensor(proto: Any, name: str) -> NDArray[Any]:
    """The array of a TensorProto.

    Args:
        proto: the message.
        name: the tensor's, for refusals.

    Returns:
        The array; read-only where the message's own memory serves as it is. Strings are an array of
        `object` that holds bytes.

    Raises:
        HeliographError: `bad_shape`, or `unsupported` for a type that is not served.
    """
    dtype = numbered(proto.dtype, name)
    shape = _shape(proto, name, dtype)
    if proto.tensor_content:
        return _content(proto.tensor_content, dtype, shape, name)
    return _spread(_values(proto, dtype, name), shape, name)


def _shape(proto: Any, name: str, dtype: Dtype) -> tuple[int, ...]:
    if proto.tensor_shape.unknown_rank:
        raise _bad(name, "its rank is unknown")
    shape = tuple(one.size for one in proto.tensor_shape.dim)
    if len(shape) > _MOST_DIMS:
        raise _bad(name, f"it has {len(shape)} dimensions; at most {_MOST_DIMS} are taken")
    if any(size < 0 for size in shape):
        raise _bad(name, f"its shape {list(shape)} has a negative size")
    # Sizes of nought count as one: numpy looks at the others, too.
    if math.prod(max(1, size) for size in shape) * np.dtype(dtype.numpy).itemsize > MOST_BYTES:
        raise _bad(name, f"its shape {list(shape)} is larger than {MOST_BYTES} bytes")
    return shape


def _content(content: bytes, dtype: Dtype, shape: tuple[int, ...], name: str) -> NDArray[Any]:
    if dtype.numpy == "object":
        raise _bad(name, "strings go in string_val, not in tensor_content")
    kind = np.dtype(dtype.numpy).newbyteorder("<")
    takes = math.prod(shape) * kind.itemsize
    if len(content) != takes:
        raise _bad(
            name,
            f"tensor_content has {len(content)} bytes; {dtype.label} {list(shape)} takes {takes}",
        )
    array = np.frombuffer(content, kind)
    if dtype.numpy == "bool" and content.translate(None, b"\x00\x01"):
        raise _bad(name, "tensor_content of DT_BOOL has bytes other than 0 and 1")
    return array.astype(dtype.numpy, copy=False).reshape(shape)


def _values(proto: Any, dtype: Dtype, name: str) -> NDArray[Any]:
    field = getattr(proto, dtype.field)
    if dtype.numpy == "object":
        strings = np.empty(len(field), object)
        strings[:] = field
        return strings
    stored = np.fromiter(field, dtype.stored, len(field))
    if dtype.numpy == "float16":
        return stored.astype(np.uint16).view(np.float16)
    if dtype.numpy.startswith("complex"):
        if stored.size % 2:
            raise _bad(name, f"{dtype.field} has half a number at its end")
        return stored.view(dtype.numpy)
    if dtype.stored != dtype.numpy:
        bounds = np.iinfo(dtype.numpy)
        if stored.size and not bounds.min <= stored.min() <= stored.max() <= bounds.max:
            raise _bad(name, f"{dtype.field} has a value that is no {dtype.word}")
    return stored.astype(dtype.numpy, copy=False)


def _spread(values: NDArray[Any], shape: tuple[int, ...], name: str) -> NDArray[Any]:
    """TensorFlow's rule: the last value stands for all that are not there; none at all is zero."""
    count = math.prod(shape)
    if values.size == count:
        return values.reshape(shape)
    if values.size > count:
        raise _bad(name, f"it has {values.size} values; its shape {list(shape)} takes {count}")
    if not values.size:
        values = np.array([b"" if values.dtype == object else 0], values.dtype)
    if values.size == 1:
        return np.broadcast_to(values.reshape(()), shape)
    whole = np.full(count, values[-1], values.dtype)
    whole[: values.size] = values
    return whole.reshape(shape)


def _bad(name: str, why: str) -> HeliographError:
    return HeliographError(Code.BAD_SHAPE, f"Tensor '{name[:80]}': {why}.")


def write_tensor(array: NDArray[Any]) -> bytes:
    """A TensorProto, serialised, with its values in the typed field.

    Args:
        array: of any shape; `object` for byte strings (text goes out as UTF-8).

    Raises:
        HeliographError: `unsupported`; TensorFlow has no such type.
    """
    dtype = of_numpy(array.dtype)
    dims = b"".join(field(2, _number(1, size)) for size in array.shape)
    return _number(1, dtype.number) + field(2, dims) + _typed(array, dtype)


def _typed(array: NDArray[Any], dtype: Dtype) -> bytes:
    if not array.size:
        return b""
    if dtype.numpy == "object":
        return b"".join(field(8, _bytes(one)) for one in array.reshape(-1).tolist())
    number, packed = _PACKED[dtype.field]
    if dtype.numpy == "float16":
        array = np.ascontiguousarray(array).view(np.uint16)
    if packed:
        flat = np.ascontiguousarray(array)
        return field(number, (flat if _NATIVE else flat.byteswap()).tobytes())
    if dtype.numpy == "bool":
        return field(number, array.tobytes())
    return field(number, varints(array.reshape(-1)))


_PACKED = {
    "float_val": (5, True),
    "double_val": (6, True),
    "int_val": (7, False),
    "scomplex_val": (9, True),
    "int64_val": (10, False),
    "bool_val": (11, False),
    "dcomplex_val": (12, True),
    "half_val": (13, False),
    "uint32_val": (16, False),
    "uint64_val": (17, False),
}
"""Number of a field, and whether its values lie in it as they lie in memory."""


def write_outputs(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The field `outputs` of a PredictResponse, serialised: append it to the others."""
    return b"".join(
        field(1, field(1, name.encode()) + field(2, write_tensor(array)))
        for name, array in arrays.items()
    )


def varints(values: NDArray[Any]) -> bytes:
    """Integers as protobuf packs them: seven bits a byte, a negative one as its 64-bit complement.

    Args:
        values: [n], any integer type.
    """
    left = values.astype(np.int64).view(np.uint64) if values.dtype != np.uint64 else values
    rows = [(left & np.uint64(0x7F)).astype(np.uint8)]
    alive: list[NDArray[np.bool_]] = [np.ones(left.shape, np.bool_)]
    left = left >> np.uint64(7)
    while left.any():
        more = left != 0
        rows[-1] |= (more << 7).astype(np.uint8)
        rows.append((left & np.uint64(0x7F)).astype(np.uint8))
        alive.append(more)
        left = left >> np.uint64(7)
    return np.stack(rows, axis=1)[np.stack(alive, axis=1)].tobytes()


def field(number: int, payload: bytes) -> bytes:
    """A field of bytes, text or a message, serialised."""
    return _varint(number << 3 | _LENGTH) + _varint(len(payload)) + payload


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3 | _VARINT) + _varint(value)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _bytes(one: Any) -> bytes:
    return one if isinstance(one, bytes) else str(one).encode("utf-8", "surrogatepass")
