"""Reading protobuf messages without a schema compiler, bounded in every direction.

ONNX, SavedModel and frozen graphs are protobufs, and a hostile one is built to exhaust whoever
parses it. Here nothing is copied and nothing is built beforehand: a message is a view of the mapped
file, its fields come one by one, and every field is paid for out of a budget.

Covered: lengths that reach past their message, varints without an end, groups, more fields than the
budget. Not covered: what the fields mean; that is `onnx_file` and `checks_tensorflow`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from heliograph.core.errors import Code, HeliographError

MOST_FIELDS = 3_000_000
_LONGEST_TEXT = 1 << 16
_FIXED = {1: 8, 5: 4}


class Budget:
    """How many fields may still be read; one for a whole file."""

    def __init__(self, fields: int = MOST_FIELDS) -> None:
        self._left = fields

    def spend(self) -> None:
        """Pay for one field.

        Raises:
            HeliographError: `model_resource_limit` once all are spent.
        """
        self._left -= 1
        if self._left < 0:
            raise HeliographError(
                Code.MODEL_RESOURCE_LIMIT,
                f"The model's description has more than {MOST_FIELDS:,} parts.",
            )


class Field(NamedTuple):
    """One field of a message.

    Attributes:
        number: which field.
        wire: 0 a varint, 1 and 5 a number of fixed width, 2 bytes.
        value: the number of wire types 0, 1 and 5, without its sign.
        data: the bytes of wire types 1, 2 and 5.
    """

    number: int
    wire: int
    value: int
    data: memoryview


_NOTHING = memoryview(b"")


def fields(message: memoryview, budget: Budget) -> Iterator[Field]:
    """The fields of a message, in the file's order.

    Raises:
        HeliographError: `model_invalid` where the bytes are no protobuf, `model_resource_limit`
            when the budget is spent.
    """
    at, end = 0, len(message)
    while at < end:
        budget.spend()
        tag, at = varint(message, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = varint(message, at)
            yield Field(number, wire, value, _NOTHING)
        elif wire == 2:
            length, at = varint(message, at)
            if length > end - at:
                raise broken()
            yield Field(number, wire, 0, message[at : at + length])
            at += length
        elif wire in _FIXED:
            width = _FIXED[wire]
            if width > end - at:
                raise broken()
            data = message[at : at + width]
            yield Field(number, wire, int.from_bytes(data, "little"), data)
            at += width
        else:
            raise broken()


def varint(message: memoryview, at: int) -> tuple[int, int]:
    """A varint and where it ends."""
    value = shift = 0
    end = len(message)
    while at < end and shift < 70:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise broken()


def signed(value: int) -> int:
    """A varint's value as the 64-bit signed number it stands for."""
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >= 1 << 63 else value


def integers(field: Field) -> list[int]:
    """The numbers of a repeated integer field, packed or not, as signed 64-bit."""
    if field.wire != 2:
        return [signed(field.value)]
    numbers: list[int] = []
    at = 0
    while at < len(field.data):
        value, at = varint(field.data, at)
        numbers.append(signed(value))
    return numbers


def float_of(field: Field) -> float:
    """A 32-bit floating-point field."""
    return float(struct.unpack("<f", field.data)[0]) if len(field.data) == 4 else 0.0


def text(data: memoryview) -> str:
    """A string field.

    Raises:
        HeliographError: `model_invalid` unless it is UTF-8 of reasonable length.
    """
    if len(data) > _LONGEST_TEXT:
        raise HeliographError(
            Code.MODEL_INVALID,
            f"A name in the model has {len(data):,} bytes; {_LONGEST_TEXT:,} go.",
        )
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError as error:
        raise HeliographError(
            Code.MODEL_INVALID, "A name in the model is not valid UTF-8."
        ) from error


def broken() -> HeliographError:
    """What is raised where bytes are no protobuf."""
    return HeliographError(
        Code.MODEL_INVALID, "The model file is cut short or damaged: its parts do not fit together."
    )
