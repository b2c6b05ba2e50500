"""Libraries that only some installations have: tests that need them say so.

`make test-engines` installs them and sets `HELIOGRAPH_TEST_ENGINES`: then a missing library is a
failure; elsewhere those tests are skipped and say what would run them.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

import pytest


def need(name: str) -> Any:
    """The library, or a skip (a failure where the tests are run for its sake)."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        if os.environ.get("HELIOGRAPH_TEST_ENGINES"):
            raise
        pytest.skip(f"{name} is not installed: run `make test-engines`")
