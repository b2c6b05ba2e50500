"""Examples (`tensorflow.Example`, or an object in JSON) -> tensors: for classify and regress.

A feature feeds the input of its name. A model of one input takes an example of one feature
whatever its name: `image/encoded` with a JPEG is what people send. A model whose only input is
strings gets whole examples, serialised, as TensorFlow's own exports want them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heliograph.core.errors import Code, HeliographError
from heliograph.edge.tfserving import strict
from heliograph.edge.tfserving.codec import signature_name
from heliograph.edge.tfserving.dtypes import of_numpy
from heliograph.edge.tfserving.fill import is_base64, shown, string
from heliograph.edge.tfserving.tensors import field, varints
from heliograph.runtimes.base import Arrays, Tensor

Features = Mapping[str, Sequence[Any]]
"""One example: by name a list of `bytes`, of `float` or of `int`."""

_WORDS = {bytes: "string", float: "float", int: "int64"}


def read_examples(body: bytes) -> tuple[str, list[Features]]:
    """Read the body of a `:classify` or `:regress`.

    Returns:
        The signature's name as sent, empty for none; the examples, each with what they share.

    Raises:
        HeliographError: with TensorFlow Serving's words for what is wrong.
    """
    strict.check_bounds(body)
    found = strict.parse(body)
    signature = signature_name(found)
    shared = _features(found["context"]) if "context" in found else {}
    if "examples" not in found:
        raise _wrong(
            f"{shown(found)} When method is classify, key 'examples' is expected and was not found"
        )
    examples = found["examples"]
    if not isinstance(examples, list):
        raise _wrong(f"{shown(found)} Expecting 'examples' value to be an list/array")
    if not examples:
        raise _wrong(f"{shown(found)} 'examples' value is an empty array")
    return signature, [{**shared, **_features(one)} for one in examples]


def _features(found: Any) -> dict[str, list[Any]]:
    if not isinstance(found, dict):
        raise _wrong(f"Example must be JSON object but got {shown(found)}")
    return {
        name: _feature(name, value if isinstance(value, list) else [value])
        for name, value in found.items()
    }


def _feature(name: str, values: list[Any]) -> list[Any]:
    made = [_value(name, one) for one in values]
    if len({type(one) for one in made}) > 1:
        raise _wrong(
            f"Unexpected element type in feature: {name[:80]} expecting type: "
            f"{_WORDS[type(made[0])]}"
        )
    return made


def _value(name: str, value: Any) -> bytes | float | int:
    if isinstance(value, bool | int):
        if not -(2**63) <= value < 2**63:
            raise _wrong(f"Feature: {name[:80]} has uint64 element. Only int64 is supported.")
        return int(value)
    if isinstance(value, float):
        return value
    if isinstance(value, str) or is_base64(value):
        return string(value)
    raise _wrong(f"Feature: {name[:80]} has element with unexpected JSON type: {shown(value)}")


def of_input(given: Any) -> list[Features]:
    """The examples of the message `tensorflow.serving.Input`, each with what they share.

    Raises:
        HeliographError: `bad_request`; there is none.
    """
    kind = given.WhichOneof("kind")
    held = getattr(given, kind) if kind else None
    if held is None or not held.examples:
        raise _wrong("Input is empty.")
    shared = _of_message(held.context) if kind == "example_list_with_context" else {}
    return [{**shared, **_of_message(one)} for one in held.examples]


def _of_message(example: Any) -> dict[str, list[Any]]:
    made: dict[str, list[Any]] = {}
    for name, feature in example.features.feature.items():
        kind = feature.WhichOneof("kind")
        made[name] = list(getattr(feature, kind).value) if kind else []
    return made


def feeds_of(
    examples: Sequence[Features], inputs: Sequence[Tensor], files: str | None = None
) -> Arrays:
    """The tensors of examples.

    Args:
        examples: one row each.
        inputs: the model's.
        files: name of the input that also takes files (JPEG, PNG …); None for none.

    Raises:
        HeliographError: `bad_request` or `bad_shape`, naming the feature.
    """
    if len(inputs) == 1 and inputs[0].dtype == "object":
        return {inputs[0].name: _strings([serialise(one) for one in examples])}
    if len(inputs) == 1 and all(len(one) == 1 for one in examples):
        name = inputs[0].name
        examples = [{name: next(iter(one.values()))} for one in examples]
    return {one.name: _column(examples, one, files=one.name == files) for one in inputs}


def _column(examples: Sequence[Features], wanted: Tensor, *, files: bool) -> NDArray[Any]:
    column = [one.get(wanted.name) for one in examples]
    if any(not one for one in column):
        raise _wrong(
            f"Feature: {wanted.name} (data type: {of_numpy(wanted.dtype).word}) is required but "
            "could not be found."
        )
    rows = [list(one or ()) for one in column]
    if (files or wanted.dtype == "object") and all(isinstance(row[0], bytes) for row in rows):
        if files:
            return _strings([_only(wanted, row) for row in rows])
        return np.stack([_strings(row).reshape(_row_shape(wanted, len(row))) for row in rows])
    return np.stack([_numbers(row, wanted) for row in rows])


def _only(wanted: Tensor, row: list[Any]) -> bytes:
    if len(row) != 1:
        raise _count(wanted, len(row), (1,))
    return row[0]


def _numbers(row: list[Any], wanted: Tensor) -> NDArray[Any]:
    kind, came = np.dtype(wanted.dtype).kind, type(row[0])
    fits = (kind == "f" and came in {int, float}) or (kind in "iub" and came is int)
    if not fits:
        raise _wrong(
            f"Key: {wanted.name}. Data types don't match. Data type: {_WORDS[came]} but expected "
            f"type: {of_numpy(wanted.dtype).word}"
        )
    try:
        with np.errstate(over="ignore"):
            made = np.array(row, wanted.dtype)
    except OverflowError as error:
        raise _wrong(f"Key: {wanted.name}. A value is no {of_numpy(wanted.dtype).word}.") from error
    return made.reshape(_row_shape(wanted, len(row)))


def _row_shape(wanted: Tensor, count: int) -> tuple[int, ...]:
    """The shape of one row; one size of it may follow from how many values came."""
    shape = list(wanted.shape[1:])
    known = math.prod(size for size in shape if size >= 0)
    open_sizes = [at for at, size in enumerate(shape) if size < 0]
    if len(open_sizes) == 1 and known and not count % known:
        shape[open_sizes[0]] = count // known
    elif open_sizes or known != count:
        raise _count(wanted, count, tuple(wanted.shape[1:]))
    return tuple(shape)


def _count(wanted: Tensor, count: int, shape: tuple[int, ...]) -> HeliographError:
    return HeliographError(
        Code.BAD_SHAPE,
        f"Key: {wanted.name}. Number of {of_numpy(wanted.dtype).word} values != expected. values "
        f"size: {count} but output shape: {list(shape)}",
    )


def _strings(values: Iterable[bytes]) -> NDArray[Any]:
    held = list(values)
    made = np.empty(len(held), object)
    made[:] = held
    return made


def serialise(example: Features) -> bytes:
    """An example as the message `tensorflow.Example`."""
    entries = b"".join(
        field(1, field(1, name.encode()) + field(2, _serialised(values)))
        for name, values in sorted(example.items())
    )
    return field(1, entries)


def _serialised(values: Sequence[Any]) -> bytes:
    if not values:
        return b""
    if isinstance(values[0], bytes):
        return field(1, b"".join(field(1, one) for one in values))
    if isinstance(values[0], float):
        with np.errstate(over="ignore"):
            return field(2, field(1, np.array(values, "<f4").tobytes()))
    return field(3, field(1, varints(np.array(values, np.int64))))


def _wrong(detail: str) -> HeliographError:
    return HeliographError(Code.BAD_REQUEST, detail)
