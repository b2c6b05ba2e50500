"""Booking: an answer leaves the house when what it used is on disk, in every protocol.

receipts    what the calls behind one request used, gathered as they end (`waiting.wait`)
cost        told in the answer
post        one transaction: the ledger's rows, the quotas, the answer kept for a retry
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import Connection

from heliograph.billing.ledger.store import append
from heliograph.billing.ledger.values import Row, row
from heliograph.core.call import Usage
from heliograph.core.clock import Clock
from heliograph.core.faults import reach
from heliograph.core.money import NOTHING, Cost
from heliograph.storage.database import Database
from heliograph.storage.replies import Claim, Kept, Replies

Body = Sequence[bytes | memoryview]
_RECEIPTS: ContextVar[list[Usage]] = ContextVar("receipts")


@contextmanager
def receipts() -> Generator[list[Usage]]:
    """Gather what the calls inside use."""
    held: list[Usage] = []
    before = _RECEIPTS.set(held)
    try:
        yield held
    finally:
        _RECEIPTS.reset(before)


def keep(usage: Usage) -> None:
    """Note what a call has used; whoever answers without gathering receipts has a bug."""
    _RECEIPTS.get().append(usage)


@dataclass(frozen=True, slots=True)
class Posting:
    """What one answer books.

    Attributes:
        used: one usage a call.
        costs: what each costs, as the answer tells.
        body: of the answer, in pieces.
        claim: of its idempotency key, if one came; `kept` is the answer to keep under it.
    """

    used: Sequence[Usage]
    costs: Sequence[Cost]
    body: Body
    claim: Claim | None = None
    kept: Kept | None = None


class Books(Protocol):
    """Where answers are booked."""

    replies: Replies | None
    """Keeps answers for retries; None where nobody keeps accounts."""

    def cost(self, usage: Usage) -> Cost | None:
        """What a call costs; None where nobody keeps accounts."""
        ...

    async def post(self, posting: Posting) -> None:
        """Book an answer; returns when it is on disk.

        Raises:
            HeliographError: `db_unavailable`, `storage_full`.
        """
        ...


class NullBooks:
    """Keeps no accounts: for `--open`."""

    replies: Replies | None = None

    def cost(self, usage: Usage) -> Cost | None:
        """See `Books.cost`."""
        del usage
        return None

    async def post(self, posting: Posting) -> None:
        """See `Books.post`."""


Settle = Callable[[Connection, Sequence[tuple[Usage, Row]]], None]
"""Told of new rows within their transaction: quotas, budgets; refuses them by raising."""


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
        self._settle = settle
        self.replies: Replies | None = replies
        self._kept = replies
        self._line = database.bulk(self._write)

    def cost(self, usage: Usage) -> Cost | None:
        """See `Books.cost`; None as well while no prices are set."""
        cost = self._quote(usage)
        return cost if cost.price_version else None

    async def post(self, posting: Posting) -> None:
        """See `Books.post`."""
        reach("books.before_post")
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


async def book(
    books: Books, used: Sequence[Usage], body: Body, claim: Claim | None, kept: Kept | None
) -> None:
    """Book an answer that is about to leave, if there is anything to book."""
    if used or kept:
        costs = [books.cost(one) or NOTHING for one in used]
        await books.post(Posting(used, costs, body, claim, kept))
