"""Identifiers: sortable by time, unguessable, safe in a path, a header and a log line."""

from __future__ import annotations

import re
import secrets
import time

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


def new_id(prefix: str) -> str:
    """Make an id such as `pred_0199c2f4a1b27f3c9e81d04a5b6c7d8e`.

    The first 12 hex digits are milliseconds since 1970 (ids sort by time, as in RFC 9562 UUID
    version 7); the other 20 are 80 random bits.
    """
    return f"{prefix}_{int(time.time() * 1000):012x}{secrets.token_hex(10)}"


def is_name(text: str) -> bool:
    """Whether `text` may name a model: `[a-z0-9][a-z0-9._-]{0,62}` and no `..` in it."""
    return _NAME.fullmatch(text) is not None and ".." not in text
