"""Versions on their way into memory and out of it.

A version that nobody asks for any more stays as long as a call can take that was let in with it.
One that comes back in that time stays for good.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic

from heliograph.core.errors import HeliographError
from heliograph.registry.shelves import M, Product, Shelf

log = logging.getLogger("heliograph.registry")
_TRIES = 4


class Movers(Generic[M]):
    """Loads what should be in memory, and lets go what should not.

    Args:
        turn: held by whoever changes what is in service; for moments only.
        wanted: whether a version may not be let go now; asked with `turn` held.
        eager: load what should answer at once, not on the first call.
        linger: seconds that a version stays after it went out of service.
    """

    def __init__(
        self,
        turn: threading.Condition,
        wanted: Callable[[Shelf[M]], bool],
        *,
        eager: bool,
        linger: float,
    ) -> None:
        self._turn = turn
        self._wanted = wanted
        self._eager = eager
        self._linger = linger
        self._closed = False
        self._leaving: dict[int, threading.Timer] = {}
        self._going: set[int] = set()

    def bring(self, products: Iterable[Product[M]]) -> None:
        """Load what should be in memory, several at once; where that fails, the next best."""
        tried: set[int] = set()
        products = list(products)
        while self._eager:
            coming = [
                shelf
                for shelf in _needed(products)
                if shelf.state not in {"ready", "failed"} and id(shelf) not in tried
            ]
            if not coming:
                return
            tried |= {id(shelf) for shelf in coming}
            with ThreadPoolExecutor(4, thread_name_prefix="load") as pool:
                list(pool.map(_load, coming))

    @contextlib.contextmanager
    def brought(self, products: Callable[[], Iterable[Product[M]]]) -> Generator[None]:
        """Load what should be in memory, and hold `turn` while it certainly still is.

        What loads may be on its way out at the same time: then it is loaded once more.
        """
        for left in reversed(range(_TRIES)):
            self.bring(products())
            with self._turn:
                self._turn.wait_for(
                    lambda: not any(id(one) in self._going for one in _needed(products()))
                )
                lost = any(one.state == "unloaded" for one in _needed(products()))
                # What is still not there after some tries has no room.
                if not (lost and self._eager and left):
                    yield
                    return

    def settle(self, products: Sequence[Product[M]]) -> None:
        """Let those leave that nobody asks for; those that somebody asks for again stay."""
        idle = [shelf for product in products for shelf in product.idle()]
        leaving = {id(shelf) for shelf in idle}
        with self._turn:
            for product in products:
                for shelf in product.shelves.values():
                    if id(shelf) not in leaving and id(shelf) in self._leaving:
                        self._leaving.pop(id(shelf)).cancel()
        self.leave(shelf for shelf in idle if shelf.state == "ready")

    def leave(self, shelves: Iterable[Shelf[M]]) -> None:
        """Unload later: calls that were let in with these versions still come."""
        with self._turn:
            for shelf in shelves:
                if self._closed or id(shelf) in self._leaving:
                    continue
                timer = threading.Timer(self._linger, self._left, (shelf,))
                timer.daemon = True
                self._leaving[id(shelf)] = timer
                timer.start()

    def _left(self, shelf: Shelf[M]) -> None:
        with self._turn:
            # A version that came back has no timer any more, or a later one.
            if self._leaving.get(id(shelf)) is not threading.current_thread():
                return
            del self._leaving[id(shelf)]
        self.let_go(shelf)

    def let_go(self, shelf: Shelf[M]) -> None:
        """Unload a version now, unless somebody has asked for it in this very moment."""
        with self._turn:
            if self._wanted(shelf):
                return
            self._going.add(id(shelf))
        try:
            shelf.model.unload()
        finally:
            with self._turn:
                self._going.discard(id(shelf))
                self._turn.notify_all()

    def close(self) -> None:
        """Nobody leaves any more; those who were about to stay."""
        with self._turn:
            self._closed = True
            for timer in self._leaving.values():
                timer.cancel()
            self._leaving.clear()


def _needed(products: Iterable[Product[M]]) -> list[Shelf[M]]:
    """The versions that should be loaded before anybody asks for them."""
    shelves = (product.shelves[version] for product in products for version in product.wanted())
    return [shelf for shelf in shelves if not shelf.package.lazy]


def _load(shelf: Shelf[M]) -> None:
    began = time.monotonic()
    try:
        shelf.model.load()
        took = time.monotonic() - began
        log.info("%s@%s is loaded, in %.2f s", shelf.package.name, shelf.version, took)
    except HeliographError as error:
        # No trace: a fault of the package is the operator's, and one of ours was logged with it.
        name = f"{shelf.package.name}@{shelf.version}"
        log.error("model %s did not load: %s", name, error.detail)  # noqa: TRY400
