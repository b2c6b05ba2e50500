"""One HTTP/1.1 question and its answer, on one connection of its own.

TLS       the name in the certificate and in SNI is the target's
question  rebuilt from the target's parts
answer    head, chunks, bytes, seconds and pace bounded; nothing is unpacked
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

import httptools

from heliograph.core.errors import Code, HeliographError
from heliograph.outbound.routes import failed
from heliograph.outbound.targets import Target

_SLICE = 64 << 10
_HEAD_BYTES = 32 << 10
_MOST_HEADERS = 100
_MOST_CHUNKS = 65_536
_FRAMING = 32
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")


@dataclass(frozen=True, slots=True)
class Bounds:
    """What an answer may cost.

    Attributes:
        bytes: of its body.
        seconds: for everything, all redirects included.
        rate: least bytes per second of a body, over `window` seconds.
        window: seconds.
        connect: seconds for a connection; a host that cannot be reached is told of after them.
    """

    bytes: int
    seconds: float
    rate: float = 1024.0
    window: float = 5.0
    connect: float = 4.0


class Kept(Enum):
    """Which answers' bodies are read."""

    NONE = 0
    GOOD = 1
    ALL = 2

    def wants(self, status: int) -> bool:
        """Whether the body of an answer with this status is read."""
        return self is Kept.ALL or (self is Kept.GOOD and 200 <= status < 300)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked.

    Attributes:
        method: `GET` or `POST`.
        headers: further ones; never those that frame the message.
        body: empty for none.
        kept: which bodies are read; any other answer is its head alone.
    """

    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    kept: Kept = Kept.GOOD


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back.

    Attributes:
        status: of HTTP.
        headers: by lower-case name; the last of several.
        body: all of it, as sent.
        url: where it came from, after redirects.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str

    @property
    def media(self) -> str:
        """Its content type as the sender says it, without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


async def exchange(
    target: Target,
    sock: socket.socket,
    question: Question,
    bounds: Bounds,
    tls: ssl.SSLContext | None,
) -> Reply:
    """Ask one question and read its answer.

    Args:
        target: what is asked for; its name goes into the Host header, SNI and the certificate.
        sock: connected to it; closed at the end.
        question: what is asked.
        bounds: what the answer may cost; `seconds` are the caller's to hold.
        tls: whom to trust; None for plain HTTP.

    Raises:
        HeliographError: `upstream_fetch_failed`, `fetch_timeout` (too slow a body) or `too_large`.
    """
    reader, writer = await _opened(target, sock, tls)
    answer = _Answer(bounds.bytes, question.kept)
    try:
        writer.write(_written(target, question))
        await _read(reader, answer, bounds)
    except OSError as error:
        raise failed("its connection broke") from error
    finally:
        # Nobody waits for the other side's farewell.
        writer.transport.abort()
    return Reply(answer.status, answer.headers, bytes(answer.body), target.url)


async def _opened(
    target: Target, sock: socket.socket, tls: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    name = target.host if tls else None
    try:
        return await asyncio.open_connection(sock=sock, ssl=tls, server_hostname=name)
    except OSError as error:
        sock.close()
        raise failed("its host has no valid certificate, or does not speak TLS") from error
    except BaseException:
        sock.close()
        raise


def _written(target: Target, question: Question) -> bytes:
    headers = {
        "Host": target.authority,
        "User-Agent": "heliograph",
        "Accept-Encoding": "identity",
        "Connection": "close",
    }
    if question.body or question.method != "GET":
        headers["Content-Length"] = str(len(question.body))
    taken = {name.lower() for name in headers}
    for name, value in question.headers.items():
        if not (_HEADER_NAME.fullmatch(name) and _HEADER_VALUE.fullmatch(value)):
            raise ValueError(f"{name!r} is no header that can be sent; this is a bug")
        if name.lower() not in taken:
            headers[name] = value
    lines = [
        f"{question.method} {target.path} HTTP/1.1",
        *(f"{n}: {v}" for n, v in headers.items()),
    ]
    return "\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + question.body


async def _read(reader: asyncio.StreamReader, answer: _Answer, bounds: Bounds) -> None:
    """Feed the parser until the answer is whole; hold the pace of its body."""
    while not (answer.begun or answer.whole):
        answer.feed(await reader.read(_SLICE))
    while not answer.whole:
        goal = len(answer.body) + bounds.rate * bounds.window
        try:
            async with asyncio.timeout(bounds.window):
                while not answer.whole and len(answer.body) < goal:
                    answer.feed(await reader.read(_SLICE))
        except TimeoutError as error:
            raise HeliographError(
                Code.FETCH_TIMEOUT,
                f"The address answers at less than {bounds.rate:g} bytes a second.",
            ) from error


class _Answer:
    """An answer as it arrives: the parser's callbacks, and the bounds."""

    def __init__(self, most: int, kept: Kept) -> None:
        self.status = 0
        self.headers = dict[str, str]()
        self.body = bytearray()
        self.begun = self.whole = False
        self._most, self._kept = most, kept
        self._count = self._fed = self._chunks = 0
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Take what came; nothing is the end of the connection."""
        if not data:
            self._end()
            return
        self._fed += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            inner = error.__context__
            raise inner if isinstance(inner, HeliographError) else _garbled() from error
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self.whole:
                raise _garbled() from error
        framing = self._fed - len(self.body)
        if not self.whole and framing > _HEAD_BYTES + _SLICE + _FRAMING * self._chunks:
            raise _garbled()

    def _end(self) -> None:
        """Without a length and without chunks an answer ends with its connection."""
        framed = "content-length" in self.headers or "transfer-encoding" in self.headers
        if not self.begun or framed:
            raise failed("its answer was cut short")
        self.whole = True

    def on_message_begin(self) -> None:
        """A head begins; an interim one (1xx) may have been there before."""
        if not self.whole:
            self.headers.clear()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header line, or a trailer, which nobody reads."""
        self._count += 1
        if self._count > _MOST_HEADERS:
            raise _garbled()
        if not self.begun:
            self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """The head is whole: decide whether its body is wanted."""
        self.status = self._parser.get_status_code()
        if self.status < 200 or self.whole:
            return
        self.begun = True
        if not self._kept.wants(self.status):
            self.whole = True
            return
        if self.headers.get("content-encoding", "identity").lower() != "identity":
            raise failed("it answers compressed, although asked not to")
        length = self.headers.get("content-length", "")
        if length.isdigit() and int(length) > self._most:
            raise self._too_large()

    def on_chunk_header(self) -> None:
        """The size line of a chunk."""
        self._chunks += 1
        if self._chunks > _MOST_CHUNKS:
            raise _garbled()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if self.whole:
            return
        self.body += body
        if len(self.body) > self._most:
            raise self._too_large()

    def on_message_complete(self) -> None:
        """The answer is whole, if it was no interim one."""
        self.whole = self.whole or self.begun

    def _too_large(self) -> HeliographError:
        return HeliographError(
            Code.TOO_LARGE, f"The address answers with more than {self._most} bytes."
        )


def _garbled() -> HeliographError:
    return failed("it answers with no valid HTTP/1.1")
