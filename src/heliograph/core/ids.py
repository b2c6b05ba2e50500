"""Identifiers: sortable by time, unguessable, safe in a path, a header and a log line."""

from __future__ import annotations

import os
import re
import threading
import time

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


class _Randomness:
    """Random bytes from the kernel, asked for a page at a time: a call needs ten of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._page = b""
        self._at = 0

    def take(self, count: int) -> bytes:
        with self._lock:
            if self._at + count > len(self._page):
                self._page, self._at = os.urandom(4096), 0
            self._at += count
            return self._page[self._at - count : self._at]


_randomness = _Randomness()
# A forked process must not repeat its parent's page.
os.register_at_fork(after_in_child=_randomness.__init__)


def new_id(prefix: str) -> str:
    """Make an id such as `pred_0199c2f4a1b27f3c9e81d04a5b6c7d8e`.

    The first 12 hex digits are milliseconds since 1970 (ids sort by time, as in RFC 9562 UUID
    version 7); the other 20 are 80 random bits.
    """
    return f"{prefix}_{int(time.time() * 1000):012x}{_randomness.take(10).hex()}"


def is_name(text: str) -> bool:
    """Whether `text` may name a model: `[a-z0-9][a-z0-9._-]{0,62}` and no `..` in it."""
    return _NAME.fullmatch(text) is not None and ".." not in text
