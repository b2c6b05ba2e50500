"""One JSON value -> one tensor, value by value: the walk that can say what is wrong, and where."""

from __future__ import annotations

import binascii
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heliograph.core.errors import Code, HeliographError
from heliograph.edge.tfserving import strict
from heliograph.edge.tfserving.dtypes import of_numpy

_SHOWN = 200
_MOST_DIMS = 32


@dataclass(slots=True)
class Filled:
    """A tensor's shape and values.

    Attributes:
        dtype: numpy's; `object` where files or strings came.
        shape: sizes.
        values: in row-major order.
    """

    dtype: str
    shape: tuple[int, ...]
    values: list[Any] = field(default_factory=list[Any])

    def array(self) -> NDArray[Any]:
        """The values as an array."""
        if self.dtype == "object":
            flat = np.empty(len(self.values), object)
            flat[:] = self.values
        else:
            with np.errstate(over="ignore"):
                flat = np.array(self.values, self.dtype)
        return flat.reshape(self.shape)


def fill(value: Any, dtype: str, *, files: bool = False) -> Filled:
    """Fill a tensor from a JSON value.

    Args:
        value: a scalar, a list, or lists of lists.
        dtype: of the tensor.
        files: whether files in base64 are taken, too.

    Raises:
        HeliographError: with TensorFlow Serving's words for what is wrong.
    """
    of_numpy(dtype)
    if files and isinstance(_first(value), str | dict):
        dtype = "object"
    found = Filled(dtype, _shape(value))
    _walk(value, 0, found, _converter(dtype))
    return found


def _shape(value: Any) -> tuple[int, ...]:
    sizes: list[int] = []
    while isinstance(value, list):
        if len(sizes) == _MOST_DIMS:
            raise strict.too_deep()
        sizes.append(len(value))
        value = value[0] if value else None
    return tuple(sizes)


def _first(value: Any) -> Any:
    while isinstance(value, list) and value:
        value = value[0]
    return value


def _walk(value: Any, level: int, found: Filled, convert: Callable[[Any], Any]) -> None:
    rank = len(found.shape)
    if not isinstance(value, list):
        if level != rank:
            raise _wrong(
                f"{shown(value)} found at incorrect level: {level + 1} in the JSON DOM. Expected "
                f"at level: {rank}"
            )
        found.values.append(convert(value))
        return
    if level >= rank:
        raise _wrong(f"Encountered list at unexpected level: {level} expected < {rank}")
    if len(value) != found.shape[level]:
        raise _wrong(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: "
            f"{found.shape[level]}"
        )
    if level == rank - 1 and _all_good(value, found.dtype):
        found.values.extend(value)
        return
    for one in value:
        _walk(one, level + 1, found, convert)


def _all_good(values: list[Any], dtype: str) -> bool:
    """Whether a list of scalars can be taken as it is; False where each must be looked at."""
    kinds = set(map(type, values))
    kind = np.dtype(dtype).kind
    if kind == "f" and kinds == {float}:
        small = abs(np.array(values)) <= np.finfo(dtype).max
        return bool((small | ~np.isfinite(values)).all())
    if kind in "iu" and kinds == {int}:
        bounds = np.iinfo(dtype)
        return bool(bounds.min <= min(values) and max(values) <= bounds.max)
    return kind == "b" and kinds == {bool}


def _converter(dtype: str) -> Callable[[Any], Any]:
    """What makes one value of a type of its JSON, or refuses it."""
    kind = np.dtype(dtype).kind
    if kind == "O":
        return string
    if kind == "f":
        bounds = np.finfo(dtype)
        # Whole numbers that are exact: as many bits as the mantissa has.
        return lambda value: _float(value, dtype, float(bounds.max), 1 << (bounds.nmant + 1))
    if kind in "iu":
        whole = np.iinfo(dtype)
        return lambda value: _whole(value, dtype, int(whole.min), int(whole.max))
    if kind == "b":
        return lambda value: value if isinstance(value, bool) else _refuse(value, dtype)
    raise HeliographError(
        Code.UNSUPPORTED, f"Conversion of JSON Value to type: {of_numpy(dtype).word}"
    )


def _float(value: Any, dtype: str, most: float, exact: int) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _refuse(value, dtype)
    lossy = abs(value) >= exact if isinstance(value, int) else most < abs(value) < float("inf")
    if lossy:
        raise _wrong(
            f"Cannot convert JSON value: {shown(value)[12:]} to {of_numpy(dtype).word} without "
            "loss of precision."
        )
    return float(value)


def _whole(value: Any, dtype: str, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        return _refuse(value, dtype)
    return value


def string(value: Any) -> bytes:
    """The bytes of a text, or of an object `{"b64": …}`."""
    if isinstance(value, str):
        return value.encode()
    if not isinstance(value, dict):
        return _refuse(value, "object")
    if not is_base64(value):
        raise _wrong(f"{shown(value)} not formatted correctly for base64 data")
    try:
        return binascii.a2b_base64(value["b64"], strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise _wrong("Unable to base64 decode") from error


def is_base64(value: Any) -> bool:
    """Whether a value is an object with the one key `b64`, which is text."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def shown(value: Any) -> str:
    """A value for an error, not more than its first 200 characters."""
    text = ""
    try:
        # Piece by piece: of a long document only the beginning is written.
        for piece in json.JSONEncoder(ensure_ascii=False).iterencode(value):
            text += piece[: _SHOWN + 1]
            if len(text) > _SHOWN:
                break
    except RecursionError:
        raise strict.too_deep() from None
    return "JSON Value: " + (text if len(text) <= _SHOWN else text[:_SHOWN] + "…")


def _refuse(value: Any, dtype: str) -> Any:
    raise _wrong(
        f"{shown(value)} Type: {_kind(value)} is not of expected type: {of_numpy(dtype).word}"
    )


def _kind(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "Null", True: "True", False: "False"}[value]
    for kind, word in ((str, "String"), (list, "Array"), (dict, "Object")):
        if isinstance(value, kind):
            return word
    return "Number"


def _wrong(detail: str) -> HeliographError:
    return HeliographError(Code.VALIDATION, detail)
