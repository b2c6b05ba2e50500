"""The tree over the log's events (RFC 9162, section 2.1): its root at any size, and its proofs.

The hashes of complete subtrees never change, so the large ones are kept: after the first time, a
root or a proof costs a few hundred events to read, however long the log is. How proofs are checked
is in `verifier.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from heliograph.audit.verifier import node_hash

Leaves = Callable[[int, int], list[bytes]]
"""Reads the leaves from one number (inclusive, from 0) to another."""
_BLOCK = 1024
"""Leaves that are read at once: smaller subtrees are not kept."""


class Tree:
    """A Merkle tree whose leaves lie elsewhere.

    Args:
        leaves: reads them; those that were there once stay the same.
    """

    def __init__(self, leaves: Leaves) -> None:
        self._leaves = leaves
        self._kept: dict[tuple[int, int], bytes] = {}

    def root(self, size: int) -> bytes:
        """The hash over the first `size` leaves."""
        return self._hash(0, size) if size else hashlib.sha256().digest()

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """The proof that leaf `index` is among the first `size`.

        Raises:
            ValueError: it is not.
        """
        if not 0 <= index < size:
            raise ValueError(f"There is no leaf {index} among {size}.")
        path: list[bytes] = []
        start, end = 0, size
        while end - start > 1:
            middle = start + _split(end - start)
            if index < middle:
                path.append(self._hash(middle, end))
                end = middle
            else:
                path.append(self._hash(start, middle))
                start = middle
        return path[::-1]

    def consistency(self, old: int, size: int) -> list[bytes]:
        """The proof that the tree of `size` begins with the leaves of the tree of `old`.

        Raises:
            ValueError: `old` is larger.
        """
        if not 0 <= old <= size:
            raise ValueError(f"A tree of {size} leaves cannot begin with {old}.")
        path: list[bytes] = []
        start, end, whole = 0, size, True
        while 0 < old < end:
            middle = start + _split(end - start)
            if old <= middle:
                path.append(self._hash(middle, end))
                end = middle
            else:
                path.append(self._hash(start, middle))
                start, whole = middle, False
        if not whole:
            path.append(self._hash(start, end))
        return path[::-1]

    def _hash(self, start: int, end: int) -> bytes:
        kept = self._kept.get((start, end))
        if kept is not None:
            return kept
        size = end - start
        if size <= _BLOCK:
            found = _over(self._leaves(start, end))
        else:
            middle = start + _split(size)
            found = node_hash(self._hash(start, middle), self._hash(middle, end))
        if size >= _BLOCK and size & (size - 1) == 0:
            self._kept[start, end] = found
        return found


def _over(leaves: list[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    middle = _split(len(leaves))
    return node_hash(_over(leaves[:middle]), _over(leaves[middle:]))


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1
