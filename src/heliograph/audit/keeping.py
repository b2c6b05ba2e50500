"""What the log needs from time to time: a checkpoint each hour and at the end, addresses forgotten.

One thread, woken by nobody but its own waiting and the stop.
"""

from __future__ import annotations

import logging
import threading

from heliograph.audit.service import Audit
from heliograph.core.clock import Clock
from heliograph.core.errors import HeliographError
from heliograph.storage.database import Database

log = logging.getLogger("heliograph.audit")
HOUR_SECONDS = 3600.0
_DAY_MS = 24 * 3600 * 1000


class Keeper:
    """Keeps an audit log in the background until it is closed.

    Args:
        audit: the log.
        database: the one it lies in.
        clock: the time of day.
        every: seconds between checkpoints.
        address_days: after so many days senders' addresses are forgotten; 0 keeps them.
    """

    def __init__(
        self,
        audit: Audit,
        database: Database,
        clock: Clock,
        every: float = HOUR_SECONDS,
        address_days: int = 30,
    ) -> None:
        self._audit = audit
        self._database = database
        self._clock = clock
        self._every = every
        self._address_days = address_days
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._work, name="audit", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Make the last checkpoint and end; before the database is closed."""
        self._closed.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._closed.wait(self._every):
            self._round()
        self._round()

    def _round(self) -> None:
        try:
            if self._address_days:
                before = self._clock() - self._address_days * _DAY_MS
                self._database.write(lambda one: self._audit.forget_addresses(one, before))
            number, _ = self._audit.seals.checkpoint()
            log.debug("audit checkpoint %d", number)
        except (HeliographError, OSError):
            # Tried again in an hour; a log that no longer agrees with itself is shouted about
            # each time.
            log.exception("no audit checkpoint could be made")
