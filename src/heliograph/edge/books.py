"""Booking: an answer leaves the house when what it used is on disk, in every protocol.

receipts    what the calls behind one request used, gathered as they end (`waiting.wait`)
cost        told in the answer
post        one transaction: the ledger's rows, the quotas, the answer kept for a retry
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

from heliograph.core.call import Usage
from heliograph.core.money import NOTHING, Cost
from heliograph.core.replay import Claim, Kept

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


class Replays(Protocol):
    """Answers for retries; see `storage/replies.py`."""

    def claim(self, scope: str, key: str, fingerprint: bytes) -> Claim | Kept:
        """Take a key, or get the answer that was given under it."""
        ...

    def release(self, claim: Claim) -> None:
        """Free a key whose request failed."""
        ...


class Books(Protocol):
    """Where answers are booked."""

    replies: Replays | None
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

    replies: Replays | None = None

    def cost(self, usage: Usage) -> Cost | None:
        """See `Books.cost`."""
        del usage
        return None

    async def post(self, posting: Posting) -> None:
        """See `Books.post`."""


async def claim(replies: Replays, scope: str, key: str, fingerprint: bytes) -> Claim | Kept:
    """As `Replays.claim`; whoever gives up while a key is being taken does not keep it."""

    def free(done: asyncio.Task[Claim | Kept]) -> None:
        if done.cancelled() or done.exception():
            return
        if isinstance(taken := done.result(), Claim):
            replies.release(taken)

    taking = asyncio.create_task(asyncio.to_thread(replies.claim, scope, key, fingerprint))
    try:
        return await asyncio.shield(taking)
    except asyncio.CancelledError:
        taking.add_done_callback(free)
        raise


async def book(
    books: Books, used: Sequence[Usage], body: Body, claim: Claim | None, kept: Kept | None
) -> None:
    """Book an answer that is about to leave, if there is anything to book."""
    if used or kept:
        costs = [books.cost(one) or NOTHING for one in used]
        await books.post(Posting(used, costs, body, claim, kept))
