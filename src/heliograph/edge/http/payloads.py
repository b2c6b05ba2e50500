"""Bodies of the protocols that carry tensors over HTTP: read in time, unpacked, sent in parts."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from heliograph.core.errors import Code, HeliographError
from heliograph.edge.http import strictjson

_CODINGS = {"gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}
_TYPES = {
    "",
    "application/json",
    "application/octet-stream",
    # What curl and urllib say when nobody tells them anything.
    "application/x-www-form-urlencoded",
    "binary/octet-stream",
}
_LEVEL = 1
_AT_ONCE = 64 << 10
_PATIENCE = 30.0


async def read_body(request: Request, most: int, seconds: float = _PATIENCE) -> bytes:
    """The whole body, decompressed.

    Args:
        request: whose body.
        most: bytes it may be after decompression.
        seconds: in which it must be there.

    Raises:
        HeliographError: `unsupported_media`, `unsupported_encoding`, `request_timeout`,
            `too_large` or `bad_request`.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in _TYPES:
        raise HeliographError(
            Code.UNSUPPORTED_MEDIA,
            f"Content-Type {kind[:60]!r} is not accepted; leave it away, or send application/json "
            "or application/octet-stream.",
        )
    coding = request.headers.get("content-encoding", "identity").lower()
    if coding not in {"identity", *_CODINGS}:
        raise HeliographError(Code.UNSUPPORTED_ENCODING, "Unsupported compression type")
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            body = await receive_all(request)
    except TimeoutError as error:
        raise HeliographError(
            Code.REQUEST_TIMEOUT, "The body did not arrive before the call's deadline."
        ) from error
    if coding == "identity":
        return body
    if len(body) < _AT_ONCE:
        return _decompress(body, coding, most)
    return await asyncio.to_thread(_decompress, body, coding, most)


async def read_json(request: Request, most: int) -> dict[str, Any]:
    """The body as a JSON object; empty for no body.

    Raises:
        HeliographError: those of `read_body`, and the JSON codes.
    """
    body = await read_body(request, most)
    said = strictjson.parse(body) if body.strip() else {}
    if not isinstance(said, dict):
        raise HeliographError(Code.VALIDATION, "The body must be a JSON object.")
    return said


def answer(body: bytes, *extra: tuple[bytes, bytes], kind: bytes = b"application/json") -> Response:
    """An answer with status 200 and exactly these headers."""
    reply = Response(body)
    reply.raw_headers = [
        (b"content-type", kind),
        (b"content-length", str(len(body)).encode()),
        *extra,
    ]
    return reply


def answer_in_parts(
    parts: Sequence[bytes | memoryview], kind: bytes, extra: Sequence[tuple[bytes, bytes]]
) -> Response:
    """As `answer`, with a body that is sent piece by piece: joining large tensors costs time."""
    return _Parts(parts, kind, extra)


class _Parts(Response):
    def __init__(
        self,
        parts: Sequence[bytes | memoryview],
        kind: bytes,
        extra: Sequence[tuple[bytes, bytes]],
    ) -> None:
        super().__init__()
        self.parts = parts
        length = str(sum(map(len, parts))).encode()
        self.raw_headers = [(b"content-type", kind), (b"content-length", length), *extra]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        last = len(self.parts) - 1
        for at, part in enumerate(self.parts):
            await send({"type": "http.response.body", "body": part, "more_body": at < last})


def coding_of(accept: str) -> str:
    """The coding to compress an answer with; empty for none.

    Only a client that asks for one certain coding gets it. One that merely lists what it
    understands, as HTTP libraries do by themselves, is answered plain: compressing a tensor takes
    longer than sending it.
    """
    coding = accept.strip().lower()
    return coding if coding in _CODINGS else ""


async def compress(body: bytes, coding: str) -> bytes:
    """Compress a body."""
    if len(body) < _AT_ONCE:
        return zlib.compress(body, _LEVEL, _CODINGS[coding])
    return await asyncio.to_thread(zlib.compress, body, _LEVEL, _CODINGS[coding])


async def receive_all(request: Request) -> bytes:
    """Every piece of a body; raises `request_timeout` if the caller goes."""
    chunks: list[bytes] = []
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise HeliographError(Code.REQUEST_TIMEOUT, "The caller has gone.")
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _decompress(body: bytes, coding: str, most: int) -> bytes:
    unpack = zlib.decompressobj(_CODINGS[coding])
    try:
        data = unpack.decompress(body, most + 1)
    except zlib.error as error:
        raise HeliographError(Code.BAD_REQUEST, f"The body is not valid {coding}.") from error
    if len(data) > most:
        raise HeliographError(Code.TOO_LARGE, f"The body unpacks to more than {most} bytes.")
    if not unpack.eof or unpack.unused_data:
        raise HeliographError(Code.BAD_REQUEST, f"The body is cut short or no single {coding}.")
    return data
