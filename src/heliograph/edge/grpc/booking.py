"""Booking over gRPC: act, book what it used, then answer; once only for an `idempotency-key`."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any

from heliograph.core.faults import reach
from heliograph.core.money import written
from heliograph.core.permissions import Permission
from heliograph.core.replay import Claim, Kept
from heliograph.edge.books import Books, book, claim, receipts
from heliograph.edge.grpc.calls import Context, Unary, credentials, metadata, to_bytes
from heliograph.edge.services import Services

Act = Callable[[], Awaitable[Any]]


def booking(services: Services, method: str, behave: Unary) -> Unary:
    """A method whose answers are booked before they leave."""

    async def booked_behave(asked: Any, context: Context) -> bytes:
        def act() -> Awaitable[Any]:
            return behave(asked, context)

        return await booked(services, context, method, lambda: _plain(asked), act)

    return booked_behave


async def booked(
    services: Services,
    context: Context,
    method: str,
    question: Callable[[], bytes],
    act: Act,
    *,
    tell: bool = True,
) -> bytes:
    """The answer of `act` as bytes, once what it used is on disk.

    Args:
        services: the use cases.
        context: of the call.
        method: its name, for the fingerprint of an idempotency key.
        question: the request's bytes, asked for only if such a key came.
        act: answers.
        tell: say in the trailing metadata what it costs; not in a stream of several answers.
    """
    books = services.books
    key = metadata(context, "idempotency-key")
    if not key or books.replies is None:
        with receipts() as used:
            reply = to_bytes(await act())
        if tell:
            _tell(context, books, used)
        await book(books, used, [reply], None, None)
        return reply
    caller = services.gate.check(credentials(context), Permission.MODELS_CALL)
    fingerprint = hashlib.sha256(method.encode() + b"\0" + question()).digest()
    found = await claim(books.replies, caller.workspace, key, fingerprint)
    if isinstance(found, Kept):
        context.set_trailing_metadata((*found.headers, ("idempotent-replayed", "true")))
        return found.body
    reach("booked.claimed")
    return await _once(books, context, act, found)


async def _once(books: Books, context: Context, act: Act, mine: Claim) -> bytes:
    """Do what this claim is for; a failure frees it."""
    assert books.replies is not None
    try:
        with receipts() as used:
            reply = to_bytes(await act())
        reach("booked.acted")
        told = _tell(context, books, used)
        await book(books, used, [reply], mine, Kept(200, told, reply))
    except BaseException:
        books.replies.release(mine)
        raise
    return reply


def _tell(context: Context, books: Books, used: list[Any]) -> tuple[tuple[str, str], ...]:
    """Say in the trailing metadata what it costs; a replay says it again."""
    costs = [cost for one in used if (cost := books.cost(one)) is not None]
    if not costs:
        return ()
    amount = sum(one.amount_millionths for one in costs)
    told = (("x-cost", f"{written(amount, 6)} {costs[0].currency}"),)
    context.set_trailing_metadata(told)
    return told


def _plain(asked: Any) -> bytes:
    return asked if isinstance(asked, bytes) else asked.SerializeToString(deterministic=True)
