"""The hands of a lane: threads that each carry one call, taken from a line that is fair.

The line is start-time fair queueing (Goyal, Vin, Cheng 1996): a call is stamped with the moment at
which its workspace, had it the lane to itself at its share, would have its turn; the earliest stamp
goes first. Whoever sends twenty times its share waits behind its own calls, not before others'.
Calls of one workspace keep their order of arrival.
"""

from __future__ import annotations

import atexit
import heapq
import itertools
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")
_Work = tuple[float, int, "Future[Any]", Callable[[], Any]]
_FORGET = 1024
_WORK, _END = "work", "end"


class FairLine:
    """Work that waits, in the order in which it is fair to do it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._heap: list[_Work] = []
        self._stamps: dict[str, float] = {}
        self._now = 0.0
        self._count = itertools.count()

    def put(self, whose: str, share: float, future: Future[Any], work: Callable[[], Any]) -> None:
        """Join the line."""
        with self._lock:
            stamp = max(self._now, self._stamps.get(whose, 0.0))
            self._stamps[whose] = stamp + 1.0 / share
            heapq.heappush(self._heap, (stamp, next(self._count), future, work))
            if len(self._stamps) > _FORGET:
                # Who has no stamp ahead of the present is as one who never came.
                self._stamps = {
                    name: ahead for name, ahead in self._stamps.items() if ahead > self._now
                }

    def get(self) -> tuple[Future[Any], Callable[[], Any]]:
        """The next; there must be one."""
        with self._lock:
            stamp, _, future, work = heapq.heappop(self._heap)
            self._now = max(self._now, stamp)
            return future, work

    def clear(self) -> list[Future[Any]]:
        """Everybody out; who they were."""
        with self._lock:
            left = [one[2] for one in self._heap]
            self._heap.clear()
            return left


class Hands:
    """So many threads over one fair line; each begins when it is first needed.

    Args:
        count: how many.
        name: of the threads.
    """

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self._name = name
        self._line = FairLine()
        # Whoever waits for work waits here: this queue is C and needs no lock of ours.
        self._calls: SimpleQueue[str] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._lock = threading.Lock()
        self._closed = False
        _ALL.add(self)

    def submit(self, whose: str, share: float, work: Callable[..., T], *args: Any) -> Future[T]:
        """Have `work(*args)` done by the next free hand when it is its turn.

        Raises:
            RuntimeError: the hands have been stopped.
        """
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("the hands have been stopped")
            self._line.put(whose, share, future, lambda: work(*args))
            if self._idle:
                self._idle -= 1
            elif len(self._threads) < self._count:
                self._begin()
        self._calls.put(_WORK)
        return future

    def shutdown(self) -> None:
        """Finish what has begun, cancel what waits, end the threads."""
        with self._lock:
            self._closed = True
            threads, self._threads = self._threads, []
        for future in self._line.clear():
            future.cancel()
            future.set_running_or_notify_cancel()
        for _ in threads:
            self._calls.put(_END)
        for one in threads:
            one.join()

    def _begin(self) -> None:
        name = f"{self._name}_{len(self._threads)}"
        thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _work(self) -> None:
        while self._calls.get() == _WORK:
            try:
                future, work = self._line.get()
            except IndexError:
                continue  # cleared by a stop
            _do(future, work)
            del future, work
            with self._lock:
                self._idle += 1


def _do(future: Future[Any], work: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        value = work()
    except BaseException as error:  # noqa: BLE001 - whoever waits must be told, whatever it was
        future.set_exception(error)
    else:
        future.set_result(value)


_ALL: weakref.WeakSet[Hands] = weakref.WeakSet()


@atexit.register
def _stop_all() -> None:
    """An engine must not be at work when the process ends: it would abort it."""
    for one in list(_ALL):
        one.shutdown()
