"""What a server does from time to time: one thread, each chore at its own interval."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

log = logging.getLogger("heliograph.upkeep")


class Chore(NamedTuple):
    """Something to be done again and again.

    Attributes:
        name: for the log.
        seconds: between the end of one time and the beginning of the next.
        do: does it; several processes may do it at once.
    """

    name: str
    seconds: float
    do: Callable[[], object]


class Upkeep:
    """Does its chores until it is closed; the first time soon, but not all servers at once."""

    def __init__(self, chores: Sequence[Chore]) -> None:
        self._chores = chores
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._work, name="upkeep", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Finish the chore in hand and end."""
        self._closed.set()
        self._thread.join()

    def _work(self) -> None:
        now = time.monotonic()
        due = [now + random.uniform(0.5, 1.0) * min(30.0, one.seconds) for one in self._chores]  # noqa: S311
        while not self._closed.wait(max(0.0, min(due, default=now + 60.0) - time.monotonic())):
            at = due.index(min(due))
            chore = self._chores[at]
            try:
                chore.do()
            except Exception:
                log.exception("the chore %s failed; it is tried again", chore.name)
            due[at] = time.monotonic() + chore.seconds
