"""A reader of the plain part of HDF5: groups of named float32 arrays, as Keras saves weights.

HDF5's own library is a large program that follows what a file says; this reader follows only what
such files need, and every address and length in the file is held against the file's size.

Covered: superblock 0, groups with symbol tables, object headers 1, contiguous and compact arrays of
IEEE float32, little-endian. Not covered, and refused by name: every other type, chunks,
compression, links to other files, newer layouts. Attributes are passed over.

Source: "HDF5 File Format Specification Version 3.0", The HDF Group; the names below are its own.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_DATASPACE, _DATATYPE, _LAYOUT, _CONTINUATION, _SYMBOL_TABLE = 0x01, 0x03, 0x08, 0x10, 0x11
_LINK = 0x06
_FILTERS = 0x0B
# Class 1 (floating point) version 1, little-endian, implied leading bit; sign at 31; 4 bytes; bits
# 0-31; exponent of 8 bits at 23, mantissa of 23 at 0, bias 127.
_FLOAT32 = bytes.fromhex("11 20 1f 00 04 00 00 00 00 00 20 00 17 08 00 17 7f 00 00 00")
_DEEPEST, _MOST = 16, 100_000


def read_hdf5(path: Path) -> dict[str, NDArray[np.float32]]:
    """Read every array of a file.

    Args:
        path: an HDF5 file; read whole into memory.

    Returns:
        Arrays by path within the file, e.g. `block1/layers/conv2d/vars/0`.

    Raises:
        ValueError: the file is not HDF5, is damaged, or holds what is not covered.
    """
    try:
        return _File(path.read_bytes()).arrays()
    except (ValueError, struct.error) as error:
        raise ValueError(f"{path.name}: {error}") from error


@dataclass(slots=True)
class _File:
    data: bytes
    visited: int = 0

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        if self.data[:8] != _SIGNATURE:
            raise ValueError("not an HDF5 file")
        version, sizes = self.data[8], self.data[13:15]
        if version != 0 or sizes != b"\x08\x08":
            raise ValueError(f"superblock {version} is not read here; expected 0, 64 bits")
        (root,) = self.unpack("<Q", 64)
        return dict(self.walk(root, "", 0))

    def unpack(self, form: str, at: int) -> tuple[int, ...]:
        return struct.unpack(form, self.cut(at, struct.calcsize(form)))

    def cut(self, at: int, length: int) -> bytes:
        if at < 0 or at + length > len(self.data):
            raise ValueError("damaged: an address lies outside the file")
        return self.data[at : at + length]

    def walk(self, at: int, path: str, depth: int) -> Iterator[tuple[str, NDArray[np.float32]]]:
        """The arrays in the object whose header is at an address, and below it."""
        self.visited += 1
        if depth > _DEEPEST or self.visited > _MOST:
            raise ValueError("damaged: groups are nested without end")
        messages = dict(self.messages(at))
        if _SYMBOL_TABLE in messages:
            tree, heap = struct.unpack_from("<QQ", messages[_SYMBOL_TABLE])
            for name, child in self.group(tree, heap):
                yield from self.walk(child, f"{path}/{name}" if path else name, depth + 1)
        elif _LAYOUT in messages:
            yield path, self.array(path, messages)
        elif _LINK in messages:
            raise ValueError(f"{path!r}: groups of this kind are not read here")

    def messages(self, at: int) -> Iterator[tuple[int, bytes]]:
        """Type and body of each message of an object header."""
        version, count, length = self.unpack("<BxHxxxxI", at)
        if version != 1:
            raise ValueError(f"object header {version} is not read here; expected 1")
        blocks, read = [(at + 16, length)], 0
        for start, size in blocks:
            next_at, end = start, start + size
            while next_at + 8 <= end and read < count:
                kind, long = self.unpack("<HH", next_at)
                body = self.cut(next_at + 8, long)
                next_at, read = next_at + 8 + long, read + 1
                if kind == _CONTINUATION:
                    offset, more = struct.unpack_from("<QQ", body)
                    blocks.append((offset, more))
                yield kind, body

    def group(self, tree: int, heap: int) -> Iterator[tuple[str, int]]:
        """Name and header address of each member of a group."""
        self.visited += 1
        if self.visited > _MOST:
            raise ValueError("damaged: a tree without end")
        if self.cut(heap, 4) != b"HEAP":
            raise ValueError("damaged: a local heap is expected")
        _, _, names = self.unpack("<QQQ", heap + 8)
        kind, level, count = self.unpack("<BBH", tree + 4)
        if self.cut(tree, 4) != b"TREE" or kind != 0:
            raise ValueError("damaged: the tree of a group is expected")
        for entry in range(count):
            (child,) = self.unpack("<Q", tree + 32 + 16 * entry)
            if level:
                if self.unpack("<B", child + 5)[0] >= level:
                    raise ValueError("damaged: a tree that does not descend")
                yield from self.group(child, heap)
            else:
                yield from self.symbols(child, names)

    def symbols(self, node: int, names: int) -> Iterator[tuple[str, int]]:
        if self.cut(node, 4) != b"SNOD":
            raise ValueError("damaged: a node of symbols is expected")
        (count,) = self.unpack("<H", node + 6)
        for entry in range(count):
            name, header, cache = self.unpack("<QQI", node + 8 + 40 * entry)
            if cache not in {0, 1}:
                raise ValueError("links are not read here")
            end = self.data.find(b"\0", names + name)
            yield self.cut(names + name, max(0, end - names - name)).decode("utf-8"), header

    def array(self, path: str, messages: dict[int, bytes]) -> NDArray[np.float32]:
        if _FILTERS in messages:
            raise ValueError(f"{path!r}: compressed arrays are not read here")
        if messages.get(_DATATYPE, b"")[: len(_FLOAT32)] != _FLOAT32:
            raise ValueError(f"{path!r}: expected float32, little-endian")
        shape, space = _shape(path, messages.get(_DATASPACE, b"")), messages[_LAYOUT]
        version, kind = space[0], space[1]
        if version != 3 or kind not in {0, 1}:
            raise ValueError(f"{path!r}: arrays laid out in pieces are not read here")
        if kind == 1:
            at, length = struct.unpack_from("<QQ", space, 2)
            values = self.cut(at, length)
        else:
            (length,) = struct.unpack_from("<H", space, 2)
            values = space[4 : 4 + length]
        if len(values) != 4 * math.prod(shape):
            raise ValueError(f"{path!r}: {len(values)} bytes do not fill {list(shape)}")
        return np.frombuffer(values, "<f4").reshape(shape).copy()


def _shape(path: str, space: bytes) -> tuple[int, ...]:
    if len(space) < 4 or space[0] not in {1, 2}:
        raise ValueError(f"{path!r}: a shape of this kind is not read here")
    return struct.unpack_from(f"<{space[1]}Q", space, 8 if space[0] == 1 else 4)
