"""The fast way in for JSON tensors: parsed straight into lists of the signature's type and rank.

It takes plain numbers and nothing else, and says nothing about what it does not take: that goes the
careful way (`codec.py`), which finds the words.
"""

from __future__ import annotations

import functools
import json
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from heliograph.edge.tfserving import strict
from heliograph.runtimes.base import Arrays, Tensor

_EXACT = {"float32": 1 << 24, "float16": 1 << 11}
"""Whole numbers from here on are not all exact: only the careful way sees whether one was sent."""


class Plain(NamedTuple):
    """A request of plain numbers; see `codec.Question`."""

    signature: str
    feeds: Arrays
    rows: bool


def read_fast(body: bytes, inputs: tuple[Tensor, ...]) -> Plain | None:
    """Read a predict request; None if it must go the careful way.

    Args:
        body: within the bounds of `strict.check_bounds`.
        inputs: the model's.

    Raises:
        HeliographError: `json_too_deep`.
    """
    reader = _reader(inputs)
    # With an escape a key may be written in several ways.
    if reader is None or b"\\" in body:
        return None
    try:
        return reader.read(body)
    except (msgspec.MsgspecError, ValueError, TypeError, AttributeError, OverflowError):
        return None
    except RecursionError as error:
        raise strict.too_deep() from error


class _Reader:
    """Parses bodies of one signature."""

    def __init__(self, inputs: tuple[Tensor, ...]) -> None:
        self.names = {f"f{at}": one.name for at, one in enumerate(inputs)}
        self.dtypes = {f"f{at}": one.dtype for at, one in enumerate(inputs)}
        # What the decoder takes the last of, where a key stands twice.
        self.keys = [json.dumps(one.name).encode() for one in inputs]
        row = self._columns("Row", inputs, less=1)
        column = self._columns("Column", inputs, less=0)
        if len(inputs) == 1:
            row |= _nested(inputs[0], 1)
            column |= _nested(inputs[0], 0)
        unset = msgspec.UnsetType
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(
            msgspec.defstruct(
                "Body",
                [
                    ("instances", list[row] | unset, msgspec.UNSET),
                    ("inputs", column | unset, msgspec.UNSET),
                    ("signature_name", str, ""),
                ],
            )
        )

    def _columns(self, name: str, inputs: tuple[Tensor, ...], *, less: int) -> Any:
        fields = [(f"f{at}", _nested(one, less)) for at, one in enumerate(inputs)]
        return msgspec.defstruct(name, fields, rename=self.names, forbid_unknown_fields=True)

    def read(self, body: bytes) -> Plain | None:
        """The question, or None if this way cannot tell."""
        found = self._decoder.decode(body)
        if (found.instances is msgspec.UNSET) == (found.inputs is msgspec.UNSET):
            return None
        rows = found.inputs is msgspec.UNSET
        if rows:
            if not found.instances or self._repeats(body, len(found.instances)):
                return None
            columns = self._stack(found.instances)
        elif self._repeats(body, 1):
            return None
        else:
            columns = self._split(found.inputs)
        feeds = {
            self.names[key]: _array(values, self.dtypes[key]) for key, values in columns.items()
        }
        if any(one is None for one in feeds.values()):
            return None
        return Plain(found.signature_name, feeds, rows)  # type: ignore[arg-type]

    def _stack(self, instances: list[Any]) -> dict[str, Any]:
        if isinstance(instances[0], msgspec.Struct):
            return {key: [getattr(row, key) for row in instances] for key in self.names}
        return {"f0": instances}

    def _split(self, inputs: Any) -> dict[str, Any]:
        if isinstance(inputs, msgspec.Struct):
            return {key: getattr(inputs, key) for key in self.names}
        return {"f0": inputs}

    def _repeats(self, body: bytes, rows: int) -> bool:
        heads = (b'"instances"', b'"inputs"', b'"signature_name"')
        return any(body.count(key) > 1 for key in heads) or any(
            body.count(key) > rows for key in self.keys
        )


def _nested(tensor: Tensor, less: int) -> Any:
    kind: Any = _KINDS[tensor.dtype]
    for _ in range(max(0, len(tensor.shape) - less)):
        kind = list[kind]
    return kind


_KINDS: dict[str, type] = {
    "bool": bool,
    **dict.fromkeys(["float16", "float32", "float64"], float),
    **dict.fromkeys(["int8", "int16", "int32", "int64"], int),
    **dict.fromkeys(["uint8", "uint16", "uint32", "uint64"], int),
}


@functools.lru_cache(maxsize=256)
def _reader(inputs: tuple[Tensor, ...]) -> _Reader | None:
    if not inputs or any(one.dtype not in _KINDS for one in inputs):
        return None
    return _Reader(inputs)


def _array(values: Any, dtype: str) -> NDArray[Any] | None:
    with np.errstate(over="ignore"):
        array = np.array(values, dtype)
    # Nothing that was parsed is infinite: what is now did not fit.
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return None
    exact = _EXACT.get(dtype)
    if exact and array.size and max(array.max(), -array.min()) >= exact:
        return None
    return array
