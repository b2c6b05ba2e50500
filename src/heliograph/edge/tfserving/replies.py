"""Arrays -> the JSON of a predict answer: rows (`predictions`) or columns (`outputs`); pure.

Numbers are written with the fewest digits that read back as the same number of their own type, NaN
and infinities bare, as TensorFlow Serving writes them. Strings are text; as `{"b64": …}` where the
output's name ends in `_bytes`, or where they are no UTF-8 and could not be text.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from heliograph.core.errors import Code, HeliographError
from heliograph.edge.tfserving.dtypes import of_numpy


def write_predict(arrays: Mapping[str, NDArray[Any]], *, rows: bool) -> bytes:
    """The body of a predict answer.

    Args:
        arrays: outputs by name, with the batch axis.
        rows: as a list of rows, else as columns.

    Raises:
        HeliographError: `model_invalid`; the outputs cannot be told apart into rows.
    """
    if rows:
        return _write("predictions", _rows(arrays), arrays)
    columns = {name: _values(name, array) for name, array in arrays.items()}
    return _write("outputs", columns if len(columns) > 1 else next(iter(columns.values())), arrays)


def _rows(arrays: Mapping[str, NDArray[Any]]) -> Any:
    size = -1
    for name, array in arrays.items():
        if not array.ndim:
            raise HeliographError(Code.BAD_SHAPE, f"Tensor name: {name} has no shape information ")
        if size not in (-1, len(array)):
            raise HeliographError(
                Code.BAD_SHAPE,
                f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {size}",
            )
        size = len(array)
    columns = {name: _values(name, array) for name, array in arrays.items()}
    if len(columns) == 1:
        return next(iter(columns.values()))
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _write(key: str, value: Any, arrays: Mapping[str, NDArray[Any]]) -> bytes:
    if all(array.dtype.kind != "f" or np.isfinite(array).all() for array in arrays.values()):
        return orjson.dumps({key: value}, option=orjson.OPT_SERIALIZE_NUMPY)
    made = {key: value}
    return json.dumps(made, separators=(",", ":"), ensure_ascii=False, default=_plain).encode()


def _plain(array: Any) -> Any:
    """An array, or one number of it, for a writer that knows neither."""
    return (shortest(array) if array.dtype.name in _DIGITS else array).tolist()


def _values(name: str, array: NDArray[Any]) -> Any:
    """The values: strings as lists of lists, numbers as an array for a writer that knows them."""
    if array.dtype == object:
        flat = np.empty(array.size, object)
        flat[:] = [_string(one, as_bytes=name.endswith("_bytes")) for one in array.reshape(-1)]
        return flat.reshape(array.shape).tolist()
    if array.dtype.kind not in "fiub":
        raise HeliographError(
            Code.UNSUPPORTED,
            f"Failed to write JSON value for tensor type: {of_numpy(array.dtype).word}",
        )
    if not array.ndim:
        return _plain(array)
    return shortest(array) if array.dtype.name == "float16" else np.ascontiguousarray(array)


def _string(one: Any, *, as_bytes: bool) -> Any:
    if isinstance(one, str):
        one = one.encode("utf-8", "surrogatepass")
    if not as_bytes:
        try:
            return one.decode()
        except UnicodeDecodeError:
            pass
    return {"b64": base64.b64encode(one).decode("ascii")}


def shortest(array: NDArray[Any]) -> NDArray[np.float64]:
    """Small floating-point numbers as doubles that are written with few digits.

    0.1 as float32 is the double 0.10000000149011612; here it is the double 0.1, which is the same
    float32.

    Args:
        array: float16 or float32, any shape.

    Returns:
        float64, each number the same as its own when made small again.
    """
    with np.errstate(invalid="ignore"):  # a signalling NaN is only a NaN
        wide = array.astype(np.float64)
    finite = np.where(np.isfinite(wide) & (wide != 0.0), wide, 1.0)
    exponent = np.floor(np.log10(np.abs(finite))).astype(np.int64)
    best = wide
    # From many digits to few: the last that is still the same number stays.
    for digits in _DIGITS[array.dtype.name]:
        places = digits - 1 - exponent
        up, down = _UP[places], _UP[-places]
        # Each step with an exact power of ten: the last rounds to the double that is nearest to the
        # decimal number. Beyond 1e22 they are not exact, and what comes out is looked at.
        fewer = np.rint(finite * up / down) / up * down
        with np.errstate(over="ignore", invalid="ignore"):
            best = np.where(fewer.astype(array.dtype) == array, fewer, best)
    return best


_DIGITS = {"float16": (5, 4, 3), "float32": (9, 8, 7)}
"""The first is enough for every number of a type."""
_UP = 10.0 ** np.concatenate([np.clip(np.arange(60), 0, 22), np.zeros(60)])
"""Powers of ten by index; negative ones (from the end) are 1."""
