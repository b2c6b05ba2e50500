"""How much of this process lies in memory: what a model costs is what loading it added."""

from __future__ import annotations

import os
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def resident() -> int:
    """Bytes of this process in memory now; 0 where the system does not say.

    Other threads' allocations count too: a model that loads beside others is told too large.
    """
    try:
        return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0
