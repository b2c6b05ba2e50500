"""What the client scripts share: saying what they saw, and errors as text."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np


def tell(seen: dict[str, Any]) -> None:
    """Print it as the last line."""
    sys.stdout.write("\n" + json.dumps(seen, default=_plain) + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return str(value)


def refused(call: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    """The text of the error that a call raises; empty if it raises none."""
    try:
        call(*args, **kwargs)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""
