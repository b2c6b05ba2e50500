"""The books of a server that keeps accounts: the ledger of its database."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence

from sqlalchemy import Connection

from heliograph.billing.ledger.store import append
from heliograph.billing.ledger.values import Row, row
from heliograph.core.call import Usage
from heliograph.core.clock import Clock
from heliograph.core.faults import reach
from heliograph.core.money import Cost
from heliograph.edge.books import Posting, Replays
from heliograph.storage.database import Database
from heliograph.storage.replies import Replies

Settle = Callable[[Connection, Sequence[tuple[Usage, Row]]], None]
"""Told of new rows within their transaction: quotas, budgets; refuses them by raising."""


_TOLD = 10_000


class LedgerBooks:
    """Books in the database's ledger.

    Args:
        database: where it is.
        clock: tells the time.
        quote: what a call costs.
        replies: keeps answers for retries.
        settle: told of new rows within their transaction.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        quote: Callable[[Usage], Cost],
        replies: Replies,
        settle: Sequence[Settle] = (),
    ) -> None:
        self._clock = clock
        self._quote = quote
        self._told: dict[str, Cost] = {}
        self._settle = settle
        self.replies: Replays | None = replies
        self._kept = replies
        self._line = database.bulk(self._write)

    def cost(self, usage: Usage) -> Cost | None:
        """See `Books.cost`; None as well while no prices are set.

        Quoted once: prices that come into force meanwhile change neither header nor row.
        """
        cost = self._told.get(usage.id)
        if cost is None:
            if len(self._told) >= _TOLD:
                # Answers that nobody waited for; the others are asked for again at once.
                self._told.clear()
            cost = self._told[usage.id] = self._quote(usage)
        return cost if cost.price_version else None

    async def post(self, posting: Posting) -> None:
        """See `Books.post`."""
        reach("books.before_post")
        for one in posting.used:
            self._told.pop(one.id, None)
        loop = asyncio.get_running_loop()
        written = self._line.put(posting)
        done = asyncio.Event()
        # As in `waiting.wait`: what asyncio.wrap_future does besides costs more than this.
        written.add_done_callback(lambda _: loop.call_soon_threadsafe(done.set))
        await done.wait()
        written.result()
        reach("books.after_post")

    def _write(self, connection: Connection, postings: Sequence[Posting]) -> None:
        """In the writer's thread: everything that waits, in one transaction."""
        now = self._clock()
        rows = [one for posting in postings for one in _rows(posting, now)]
        if rows:
            append(connection, [one for _, one in rows])
        reach("books.appended")
        for settle in self._settle:
            settle(connection, rows)
        reach("books.settled")
        for posting in postings:
            if posting.claim and posting.kept:
                self._kept.finish(connection, posting.claim, posting.kept)


def _rows(posting: Posting, now: int) -> list[tuple[Usage, Row]]:
    digest = hashlib.sha256()
    size = 0
    for piece in posting.body:
        digest.update(piece)
        size += len(piece)
    key = posting.claim.key if posting.claim else ""
    share, rest = divmod(size, max(1, len(posting.used)))
    return [
        (used, row(used, cost, now, share + (rest if at == 0 else 0), digest.hexdigest(), key))
        for at, (used, cost) in enumerate(zip(posting.used, posting.costs, strict=True))
    ]
