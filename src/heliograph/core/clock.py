"""The time of day, given to whoever needs it: so that a test can turn the clock.

Durations are measured with `time.perf_counter`, never with this clock: it may jump.
"""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Says how many milliseconds have passed since 1970-01-01 00:00 UTC."""


def system_clock() -> int:
    """The machine's own clock."""
    return time.time_ns() // 1_000_000
