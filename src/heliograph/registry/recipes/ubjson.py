"""Universal Binary JSON (draft 12), as XGBoost writes it.

Covered: objects, arrays (also of one type and counted), strings, integers, floats, booleans and
null. Counts are checked against what is left of the file before anything is made of them, and
nesting is limited. Not covered: high-precision numbers, which XGBoost does not write.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

_NUMBERS = {
    b"i": ">i1",
    b"U": ">u1",
    b"I": ">i2",
    b"l": ">i4",
    b"L": ">i8",
    b"d": ">f4",
    b"D": ">f8",
}
_WORDS = {b"T": True, b"F": False, b"Z": None}
_DEEPEST = 64


def loads(data: bytes) -> Any:
    """Read one value; arrays of numbers become lists.

    Raises:
        ValueError: the bytes are not UBJSON, or end too early.
    """
    reader = _Reader(data)
    try:
        return reader.value(reader.marker(), 0)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise ValueError("the UBJSON ends too early or is damaged") from error


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, count: int) -> bytes:
        if not 0 <= count <= len(self._data) - self._at:
            raise ValueError("the UBJSON ends too early")
        self._at += count
        return self._data[self._at - count : self._at]

    def marker(self) -> bytes:
        mark = self.take(1)
        while mark == b"N":  # a word that means nothing
            mark = self.take(1)
        return mark

    def number(self, mark: bytes) -> Any:
        kind = np.dtype(_NUMBERS[mark])
        return np.frombuffer(self.take(kind.itemsize), kind)[0].item()

    def count(self) -> int:
        mark = self.marker()
        if mark not in _NUMBERS or mark in b"dD":
            raise ValueError("a length in the UBJSON is not an integer")
        return int(self.number(mark))

    def text(self) -> str:
        return self.take(self.count()).decode()

    def value(self, mark: bytes, depth: int) -> Any:
        if depth > _DEEPEST:
            raise ValueError("the UBJSON is nested too deeply")
        if mark in _NUMBERS:
            return self.number(mark)
        if mark in _WORDS:
            return _WORDS[mark]
        if mark == b"S":
            return self.text()
        if mark == b"C":
            return self.take(1).decode()
        if mark == b"[":
            return self._array(depth)
        if mark == b"{":
            return self._object(depth)
        raise ValueError(f"the UBJSON has an unknown mark {mark!r}")

    def _counted(self) -> tuple[bytes, int]:
        """The type that all members share (or none) and their number (or -1)."""
        kind = b""
        if self._data[self._at : self._at + 1] == b"$":
            self.take(1)
            kind = self.take(1)
        if self._data[self._at : self._at + 1] == b"#":
            self.take(1)
            count = self.count()
            if not 0 <= count <= len(self._data) - self._at:
                raise ValueError("the UBJSON counts more members than it has bytes")
            return kind, count
        if kind:
            raise ValueError("the UBJSON names a type without a count")
        return b"", -1

    def _array(self, depth: int) -> list[Any]:
        kind, count = self._counted()
        if kind in _NUMBERS:
            wide = np.dtype(_NUMBERS[kind])
            return np.frombuffer(self.take(count * wide.itemsize), wide).tolist()
        if count >= 0:
            return [self.value(kind or self.marker(), depth + 1) for _ in range(count)]
        made: list[Any] = []
        while (mark := self.marker()) != b"]":
            made.append(self.value(mark, depth + 1))
        return made

    def _object(self, depth: int) -> dict[str, Any]:
        kind, count = self._counted()
        made: dict[str, Any] = {}
        while count < 0 or len(made) < count:
            if count < 0 and self._data[self._at : self._at + 1] == b"}":
                self.take(1)
                break
            name = self.text()
            if name in made:
                raise ValueError("a key stands twice in the UBJSON")
            made[name] = self.value(kind or self.marker(), depth + 1)
        return made
