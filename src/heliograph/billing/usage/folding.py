"""Folding the ledger into hourly sums, behind the calls and never in their way.

    settled?  up to which number no row can appear any more
    fresh     the sums over what came since the mark            read-only, in this thread
    fold      add them and move the mark                        one short transaction

Killed at any step nothing is lost or counted twice: sums and mark move in one transaction, and of
two processes that fold the same rows the second finds the mark moved and leaves it.
"""

from __future__ import annotations

import time

from sqlalchemy import Connection

from heliograph.billing.ledger.store import LEDGER
from heliograph.billing.usage import store
from heliograph.core.faults import reach
from heliograph.storage.database import Database

_TOGETHER = 50_000
_PATIENCE_SECONDS = 1.0


class Folder:
    """Folds.

    Args:
        database: where the ledger is.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def fold(self) -> int:
        """Fold what has come since the last time.

        Returns:
            How many numbers of the ledger the mark has moved.

        Raises:
            HeliographError: `db_unavailable`, `storage_full`.
        """
        moved = 0
        while step := self._step():
            moved += step
        return moved

    def _step(self) -> int:
        with self._database.read() as connection:
            before = store.mark(connection)
            high = store.highest(connection, LEDGER)
            if high <= before or not _settled(connection):
                return 0
            upto = min(high, before + _TOGETHER)
            folded = sorted(store.fresh(connection, before, upto))
        reach("usage.before_fold")

        def work(connection: Connection) -> bool:
            if not before:
                store.begin(connection)
            return store.fold(connection, before, upto, folded)

        done = self._database.write(work)
        reach("usage.folded")
        return upto - before if done else 0


def _settled(connection: Connection) -> bool:
    """Wait until whoever was writing has ended; whether all of them have."""
    waiting, until = store.writers(connection), time.monotonic() + _PATIENCE_SECONDS
    while waiting:
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
        waiting &= store.writers(connection)
    return True
