"""Shadow calls: a copy of a call goes to another version, and only we see what that answers.

The caller's own answer is out before its shadow begins. A shadow never waits in anybody's way: when
too many are under way the next ones are left out, and counted.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from heliograph.core.call import Comparison
from heliograph.core.errors import Code, HeliographError
from heliograph.serving.values import Model

log = logging.getLogger("heliograph.serving")


class Judge(Protocol):
    """Takes what came of shadow calls."""

    def compare(self, comparison: Comparison) -> None:
        """Keep a comparison; must not fail."""
        ...


class NullJudge:
    """Keeps nothing: for the command line."""

    def compare(self, comparison: Comparison) -> None:
        """See `Judge.compare`."""


class Shadows:
    """Runs shadow calls.

    Args:
        judge: takes what comes of them.
        most: shadows under way at the same time.
    """

    def __init__(self, judge: Judge, most: int = 8) -> None:
        self._judge = judge
        self._room = threading.BoundedSemaphore(most)

    def follow(self, shadow: Model, answered: Model, ms: float, agrees: Callable[[], bool]) -> None:
        """Have a call answered once more, later.

        Args:
            shadow: the version that answers it again.
            answered: the version that answered the caller.
            ms: how long that took.
            agrees: asks the shadow; returns whether it says the same.
        """

        def tell(outcome: str, same: bool, took: float = 0.0) -> None:  # noqa: FBT001
            versions = answered.name, answered.version, shadow.version
            self._judge.compare(Comparison(*versions, same, outcome, ms, took))

        def work() -> None:
            began = time.perf_counter()
            try:
                same, outcome = agrees(), "ok"
            except HeliographError as error:
                same, outcome = False, str(error.code)
            except Exception:
                log.exception("the shadow of %s failed", answered.name)
                same, outcome = False, str(Code.INTERNAL)
            finally:
                self._room.release()
            tell(outcome, same, (time.perf_counter() - began) * 1000.0)

        if not self._room.acquire(blocking=False):
            tell("skipped", same=True)
            return
        try:
            shadow.lane.submit(work)
        except RuntimeError:  # its lane is closed: the version is leaving
            self._room.release()
