"""Work that others should feel little of: on a thread of its own, after everybody else.

Loading a model takes all it can get of a core, for as long as a dozen calls take. A thread may step
back but not forward again, so that the work gets one which ends with it.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")
_NICE = 10
"""A tenth of the share of the processor that others have, where there are others."""


def quietly(work: Callable[[], T]) -> T:
    """Do it, with a lower priority; returns or raises what it does.

    Threads that `work` starts inherit the priority: not for engines that go on working on threads
    which they start when a model is loaded.
    """
    future: Future[T] = Future()

    def do() -> None:
        with contextlib.suppress(OSError, AttributeError):  # not every system has it
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - told to who waits
            future.set_exception(error)

    # No daemon: an engine that is opening when the process ends would take it down with it.
    threading.Thread(target=do, name="load-quietly").start()
    return future.result()
