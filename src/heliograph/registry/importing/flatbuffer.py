"""Reading a FlatBuffer, every offset held against its length: TFLite files and their metadata."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from heliograph.core.errors import Code, HeliographError

_MOST = 10_000_000
_TEXT = 1 << 16


@dataclass(frozen=True, slots=True)
class Table:
    """A table: its fields are read by their number in the schema.

    Attributes:
        data: the whole buffer.
        at: where the table begins.
    """

    data: memoryview
    at: int

    @classmethod
    def root(cls, data: memoryview) -> Table:
        """The outermost table."""
        return cls(data, _number(data, 0, "<I"))

    def _field(self, field: int) -> int:
        """Where a field's value lies; 0 for one that is not there."""
        table = self.at - _number(self.data, self.at, "<i")
        size = _number(self.data, table, "<H")
        place = 4 + 2 * field
        offset = _number(self.data, table + place, "<H") if place + 2 <= size else 0
        return self.at + offset if offset else 0

    def number(self, field: int, kind: str = "<i", default: int = 0) -> int:
        """A whole number, by its `struct` format."""
        at = self._field(field)
        return _number(self.data, at, kind) if at else default

    def table(self, field: int) -> Table | None:
        """A table inside."""
        at = self._field(field)
        return Table(self.data, at + _number(self.data, at, "<I")) if at else None

    def text(self, field: int) -> str:
        """A string; empty where there is none."""
        return str(self.bytes(field, _TEXT), "utf-8", "replace")

    def bytes(self, field: int, most: int = 1 << 40) -> memoryview:
        """A vector of bytes or a string."""
        start, length = self._vector(field, 1)
        return self.data[start : start + min(length, most)]

    def numbers(self, field: int, kind: str) -> list[float]:
        """A vector of numbers, by the `struct` format of one."""
        width = struct.calcsize(kind)
        start, length = self._vector(field, width)
        many = self.data[start : start + length * width]
        return [float(one[0]) for one in struct.iter_unpack(kind, many)]

    def tables(self, field: int) -> list[Table]:
        """A vector of tables."""
        start, length = self._vector(field, 4)
        return [
            Table(self.data, at + _number(self.data, at, "<I"))
            for at in range(start, start + 4 * length, 4)
        ]

    def _vector(self, field: int, width: int) -> tuple[int, int]:
        at = self._field(field)
        if not at:
            return 0, 0
        start = at + _number(self.data, at, "<I")
        length = _number(self.data, start, "<I")
        if (width > 1 and length > _MOST) or start + 4 + length * width > len(self.data):
            raise _broken()
        return start + 4, length


def _number(data: memoryview, at: int, kind: str) -> int:
    if at < 0 or at + struct.calcsize(kind) > len(data):
        raise _broken()
    return int(struct.unpack_from(kind, data, at)[0])


def _broken() -> HeliographError:
    return HeliographError(
        Code.MODEL_INVALID, "The model file is cut short or damaged: an offset leads outside it."
    )
