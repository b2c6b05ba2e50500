"""Booking over HTTP: act, book what it used, then answer; once only for an `Idempotency-Key`."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from heliograph.core.call import Caller, Usage
from heliograph.core.faults import reach
from heliograph.core.money import written
from heliograph.core.permissions import Permission
from heliograph.core.replay import Claim, Kept
from heliograph.edge.books import Books, book, claim, receipts
from heliograph.edge.http.payloads import receive_all
from heliograph.edge.http.query import credentials
from heliograph.serving.values import Gate

Act = Callable[[Request], Awaitable[Response]]
_HEADER = "idempotency-key"
PERSONAL = {Permission.SELF_READ, Permission.SELF_WRITE}
"""What is a person's own is never kept: sessions, factors, their secrets."""
_KEPT = {
    *(b"content-type", b"x-request-id", b"x-model", b"x-cost", b"etag", b"location"),
    # What the body cannot be read without.
    *(b"content-encoding", b"inference-header-content-length", b"content-disposition"),
}
"""Headers that a kept answer has again; the others belong to one connection."""


async def booked(
    books: Books,
    gate: Gate,
    request: Request,
    act: Act,
    needs: Permission | None = Permission.MODELS_CALL,
) -> Response:
    """The answer of `act`, once what it used is on disk.

    Args:
        books: where it is booked.
        gate: asked whose an idempotency key is.
        request: the request.
        act: answers it.
        needs: the permission that `act` will ask for; None for a public address.
    """
    key = request.headers.get(_HEADER) if request.method == "POST" else None
    if key is None or books.replies is None or needs is None or needs in PERSONAL:
        with receipts() as used:
            reply = await act(request)
        if used:
            _tell(reply, books, used)
            await book(books, used, _pieces(reply), None, None)
        return reply
    caller = gate.check(credentials(request), needs)
    body = await receive_all(request)
    found = await claim(books.replies, _scope(caller), key, _fingerprint(request, body))
    if isinstance(found, Kept):
        return _again(found)
    reach("booked.claimed")
    return await _once(books, _with_body(request, body), act, found)


def _scope(caller: Caller) -> str:
    """Whose key it is: a workspace's programs share theirs, each person has their own."""
    return f"{caller.workspace}/{caller.person}" if caller.person else caller.workspace


async def _once(books: Books, request: Request, act: Act, mine: Claim) -> Response:
    """Do what this claim is for; a failure frees it."""
    assert books.replies is not None
    try:
        with receipts() as used:
            reply = await act(request)
        reach("booked.acted")
        if reply.status_code >= 400:
            books.replies.release(mine)
            return reply
        _tell(reply, books, used)
        body = b"".join(_pieces(reply))
        kept = Kept(reply.status_code, _headers(reply), body)
        await book(books, used, [body], mine, kept)
    except BaseException:
        books.replies.release(mine)
        raise
    return reply


def _tell(reply: Response, books: Books, used: list[Usage]) -> None:
    """Say in a header what it costs."""
    costs = [cost for one in used if (cost := books.cost(one)) is not None]
    if costs:
        amount = sum(one.amount_millionths for one in costs)
        reply.raw_headers.append(
            (b"x-cost", f"{written(amount, 6)} {costs[0].currency}".encode("ascii"))
        )


def _again(kept: Kept) -> Response:
    reply = Response(kept.body, kept.status)
    reply.raw_headers = [
        *((name.encode("latin-1"), value.encode("latin-1")) for name, value in kept.headers),
        (b"content-length", str(len(kept.body)).encode()),
        (b"idempotent-replayed", b"true"),
    ]
    return reply


def _headers(reply: Response) -> tuple[tuple[str, str], ...]:
    return tuple(
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in reply.raw_headers
        if name.lower() in _KEPT
    )


def _pieces(reply: Response) -> list[bytes | memoryview]:
    """The body, in the pieces that it will be sent in."""
    parts: Any = getattr(reply, "parts", None)
    return list(parts) if parts is not None else [bytes(reply.body)]


def _fingerprint(request: Request, body: bytes) -> bytes:
    """What makes two requests the same: method, address with its query, body."""
    digest = hashlib.sha256()
    for part in (request.method.encode(), request.scope["raw_path"], request.scope["query_string"]):
        digest.update(part + b"\0")
    digest.update(request.headers.get("content-type", "").encode() + b"\0")
    digest.update(body)
    return digest.digest()


def _with_body(request: Request, body: bytes) -> Request:
    """The request, with its body to be read once more."""
    left = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        return left.pop() if left else await request.receive()

    return Request(request.scope, receive)
