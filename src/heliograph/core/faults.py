"""Places where a test may end the process: so that recovery is tried at every step.

A place costs one comparison. Nothing is armed unless `HELIOGRAPH_FAULTS` names a place before the
process starts: `ledger.written=3` ends the process, as `kill -9` does, the third time that place is
reached. With `HELIOGRAPH_FAULTS_SEEN` set to a file, every place that fired is written there first:
a test of faults that met none has tested nothing.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

_LEFT: dict[str, int] = {
    site: int(count or "1")
    for site, _, count in (
        one.partition("=") for one in os.environ.get("HELIOGRAPH_FAULTS", "").split(",") if one
    )
}


def reach(site: str) -> None:
    """Say that the process is at `site`; it ends here if a test wanted that."""
    if _LEFT and site in _LEFT:
        _LEFT[site] -= 1
        if not _LEFT[site]:
            _end(site)


def _end(site: str) -> None:
    seen = os.environ.get("HELIOGRAPH_FAULTS_SEEN")
    if seen:
        with Path(seen).open("a", encoding="ascii") as file:
            file.write(site + "\n")
            file.flush()
            os.fsync(file.fileno())
    os.kill(os.getpid(), signal.SIGKILL)
