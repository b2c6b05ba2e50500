"""Predict requests in JSON <-> arrays: rows (`instances`) and columns (`inputs`); pure.

Two ways in. A plain body of numbers goes the fast one (`fast.py`). Whatever that does not take
(files as base64, NaN, an odd shape, anything wrong) goes the careful one, which walks over every
value and can say what is wrong in TensorFlow Serving's words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heliograph.core.errors import Code, HeliographError
from heliograph.edge.tfserving import strict
from heliograph.edge.tfserving.fast import read_fast
from heliograph.edge.tfserving.fill import Filled, fill, is_base64, shown
from heliograph.runtimes.base import Arrays, Tensor


@dataclass(frozen=True, slots=True)
class Question:
    """A predict request.

    Attributes:
        signature: the signature's name as sent; empty for none.
        feeds: tensors by input name, with the batch axis.
        rows: whether it came as rows, so that the answer goes out as rows.
    """

    signature: str
    feeds: Arrays
    rows: bool


def read_predict(body: bytes, inputs: Sequence[Tensor], files: str | None = None) -> Question:
    """Read the body of a `:predict`.

    Args:
        body: as it came, unpacked.
        inputs: the model's.
        files: name of the input that also takes files (JPEG, PNG …) in base64; None for none.

    Raises:
        HeliographError: with TensorFlow Serving's words for what is wrong.
    """
    strict.check_bounds(body)
    plain = read_fast(body, tuple(inputs))
    return Question(*plain) if plain else _careful(strict.parse(body), inputs, files)


# --- the careful way -----------------------------------------------------------------------------

_Takes = Mapping[str, tuple[str, bool]]
"""Data type of each input, and whether it also takes files."""


def _careful(found: Any, inputs: Sequence[Tensor], files: str | None) -> Question:
    signature = signature_name(found)
    takes = {one.name: (one.dtype, one.name == files) for one in inputs}
    if "instances" in found:
        if "inputs" in found:
            raise _wrong(
                f"{shown(found)} Not formatted correctly expecting only one of 'inputs' or "
                "'instances' keys to exist "
            )
        return Question(signature, _rows(found, takes), rows=True)
    if "inputs" in found:
        return Question(signature, _columns(found["inputs"], takes), rows=False)
    raise HeliographError(Code.BAD_REQUEST, "Missing 'inputs' or 'instances' key")


def signature_name(found: Any) -> str:
    """The key `signature_name` of a request's object; empty for none.

    Raises:
        HeliographError: `bad_request`; the document is no object, or the name no text.
    """
    if not isinstance(found, dict):
        raise _wrong(f"{shown(found)} Is not object")
    name = found.get("signature_name", "")
    if not isinstance(name, str):
        raise _wrong(
            f"{shown(found)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return name


def _rows(found: Any, takes: _Takes) -> Arrays:
    instances = found["instances"]
    if not isinstance(instances, list):
        raise _wrong(f"{shown(found)} Excepting 'instances' to be an list/array")
    if not instances:
        raise _wrong(f"{shown(found)} No values in 'instances' array")
    if not isinstance(instances[0], dict) and len(takes) > 1:
        raise HeliographError(
            Code.BAD_REQUEST,
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map",
        )
    named = _is_object(instances[0])
    filled: dict[str, list[Filled]] = {}
    for at, instance in enumerate(instances):
        if _is_object(instance) != named:
            mixed = "object but got list" if named else "value/list but got object"
            raise HeliographError(Code.BAD_REQUEST, f"Expecting {mixed} at item {at} of input list")
        row = instance if named else {next(iter(takes)): instance}
        _add_row(filled, at, row, takes, named=named)
    return {name: _stack(name, parts) for name, parts in filled.items()}


def _add_row(
    filled: dict[str, list[Filled]],
    at: int,
    row: Mapping[str, Any],
    takes: _Takes,
    *,
    named: bool,
) -> None:
    for name, value in row.items():
        key = f" key: {name[:80]}" if named else ""
        where = f"Failed to process element: {at}{key} of 'instances' list. Error: "
        if name not in takes:
            raise HeliographError(
                Code.BAD_REQUEST, f"{where}JSON object: does not have named input: {name[:80]}"
            )
        try:
            dtype, files = takes[name]
            part = fill(value, dtype, files=files)
        except HeliographError as error:
            raise HeliographError(error.code, where + error.detail) from error
        parts = filled.setdefault(name, [])
        if parts and parts[0].shape != part.shape:
            raise HeliographError(
                Code.BAD_SHAPE,
                f"{where}Expecting shape {_dims(parts[0].shape)} but got: {_dims(part.shape)}",
            )
        parts.append(part)
    if set(row) != set(takes):
        raise HeliographError(
            Code.BAD_REQUEST,
            f"Failed to process element: {at} of 'instances' list. JSON object: {shown(row)[12:]} "
            f"keys must be equal to: {','.join(sorted(takes))}",
        )


def _stack(name: str, parts: list[Filled]) -> NDArray[Any]:
    if len({one.dtype for one in parts}) > 1:
        raise HeliographError(
            Code.BAD_REQUEST, f"Input '{name}' holds files in some rows and numbers in others."
        )
    return np.stack([one.array() for one in parts])


def _columns(inputs: Any, takes: _Takes) -> Arrays:
    if not _is_object(inputs):
        if len(takes) > 1:
            raise HeliographError(
                Code.BAD_REQUEST,
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map",
            )
        inputs = {next(iter(takes)): inputs}
    missing = [name for name in takes if name not in inputs]
    if missing:
        raise HeliographError(
            Code.BAD_REQUEST, f"Missing named input: {missing[0]} in 'inputs' object."
        )
    strange = [name for name in inputs if name not in takes]
    if strange:
        raise HeliographError(
            Code.UNKNOWN_FIELD, f"JSON object: does not have named input: {strange[0][:80]}"
        )
    return {
        name: fill(inputs[name], dtype, files=files).array()
        for name, (dtype, files) in takes.items()
    }


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not is_base64(value)


def _dims(shape: tuple[int, ...]) -> str:
    return "[" + ",".join(map(str, shape)) + "]"


def _wrong(detail: str) -> HeliographError:
    return HeliographError(Code.BAD_REQUEST, detail)
