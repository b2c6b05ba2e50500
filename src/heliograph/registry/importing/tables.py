"""The decoders there are, as a `model.toml` may name them."""

from __future__ import annotations

from functools import cache
from typing import Any, get_args

import msgspec

from heliograph.vision.tasks import AnyDecoder


@cache
def decoders() -> dict[str, frozenset[str]]:
    """Every decoder's name and its fields."""
    found: dict[str, frozenset[str]] = {}
    for one in get_args(AnyDecoder):
        about: Any = msgspec.inspect.type_info(one)
        found[about.tag] = frozenset(field.encode_name for field in about.fields)
    return found
