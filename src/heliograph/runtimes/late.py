"""A runner that is opened when it is first wanted, while another one does its work.

For the wide copy of a model: only a call that is alone wants it, and a machine with one call has
the time to open it. A server under load never does, nor while versions change hands.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import NDArray

from heliograph.runtimes.base import Arrays, Runner

log = logging.getLogger("heliograph.runtimes")


class LateRunner:
    """Runs on `meanwhile` until its own runner is open.

    Args:
        open_own: opens it, warm; called once, on a thread of its own.
        meanwhile: has the same inputs and outputs; stays somebody else's to close.
    """

    def __init__(self, open_own: Callable[[], Runner], meanwhile: Runner) -> None:
        self._open = open_own
        self._meanwhile = meanwhile
        self._own: Runner | None = None
        self._turn = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        self.inputs, self.outputs = meanwhile.inputs, meanwhile.outputs
        self.platform = meanwhile.platform

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Arrays:
        """See `Runner.run`."""
        own = self._own
        if own is not None:
            return own.run(feeds)
        if self._thread is None:
            self._begin()
        return self._meanwhile.run(feeds)

    def memory(self) -> int:
        """See `Runner.memory`."""
        return self._own.memory() if self._own is not None else 0

    def close(self) -> None:
        """See `Runner.close`."""
        with self._turn:
            self._closed = True
            own, self._own = self._own, None
        if own is not None:
            own.close()
        # An engine that is opening when the process ends takes it down with it.
        if self._thread is not None:
            self._thread.join()

    def _begin(self) -> None:
        with self._turn:
            if self._thread is not None or self._closed:
                return
            self._thread = threading.Thread(target=self._arrive, name="open-late")
            self._thread.start()

    def _arrive(self) -> None:
        try:
            own = self._open()
        except Exception:
            # Calls go on as they did; one that is alone is merely slower.
            log.exception("the wide copy of a model did not open")
            return
        with self._turn:
            if not self._closed:
                self._own = own
                return
        own.close()
