"""The HTTP/1.1 connection: uvicorn's protocol with the limits that it leaves to others.

uvicorn parses (llhttp) and keeps connections; this subclass adds what ASGI middleware cannot, since
that runs only after parsing:

Covered: time to send the head, least rate of the body, size and number of headers, length of the
request line, number of chunks and their overhead, size of the body (before `100 Continue` is sent),
open connections, upgrades and absolute-form targets, the body-less `Host` tricks, one problem shape
for every parse error, no request cut in two by a graceful stop.
Not covered: TLS (uvicorn's own), HTTP/2 (not spoken).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from heliograph.core.errors import Code, HeliographError
from heliograph.edge.http.errors import problem

EXTENSION = "heliograph"


@dataclass(frozen=True, slots=True)
class WireLimits:
    """What one connection may ask of the server.

    Attributes:
        head_bytes: request line and headers together.
        headers: number of headers.
        head_seconds: from the first byte of a request to the end of its headers.
        body_bytes: largest body.
        body_rate: least bytes per second of a body, measured over `body_window` seconds.
        body_window: seconds.
        chunks: most chunks of a chunked body.
        connections: most connections open at once.
    """

    head_bytes: int = 16 << 10
    headers: int = 100
    head_seconds: float = 10.0
    body_bytes: int = 21 << 20
    body_rate: float = 1024.0
    body_window: float = 5.0
    chunks: int = 65_536
    connections: int = 2048


class Connection:
    """What a request's handler may ask of its connection (`scope["extensions"]["heliograph"]`)."""

    __slots__ = ("_cycle",)

    def __init__(self, cycle: Any) -> None:
        self._cycle = cycle

    def alive(self) -> bool:
        """False once the client has hung up."""
        return not self._cycle.disconnected


def protocol(limits: WireLimits) -> type[HttpToolsProtocol]:
    """The protocol class for uvicorn's `http` setting, with these limits."""
    return type("LimitedProtocol", (Wire,), {"limits": limits})


class Wire(HttpToolsProtocol):
    """One connection; see the module's docstring."""

    limits = WireLimits()
    draining = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._timer: asyncio.TimerHandle | None = None
        self._open = False
        self._in_head = True
        self._head_bytes = 0
        self._overhead = 0
        self._chunks = 0
        self._body_seen = 0
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            self._refuse(
                HeliographError(
                    Code.TOO_MANY_CONNECTIONS,
                    f"This server keeps at most {self.limits.connections} connections open.",
                    retry_after=1.0,
                )
            )
            return
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self._in_head:
            if not self._open and not self._head_bytes:
                self._watch_head()
            self._head_bytes += len(data)
        self._overhead += len(data)
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except HeliographError as error:
            self._refuse(error)
        except httptools.HttpParserCallbackError as error:
            inner = error.__context__
            self._refuse(inner if isinstance(inner, HeliographError) else _malformed())
        except httptools.HttpParserUpgrade:
            self._refuse(_no_upgrade())
        except httptools.HttpParserError:
            self._refuse(_malformed())
        else:
            if self._in_head and self._head_bytes > self.limits.head_bytes:
                self._refuse(self._head_too_large())

    # --- parser callbacks -------------------------------------------------------------------

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._open, self._in_head = True, True
        self._chunks = self._body_seen = self._overhead = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        if len(self.headers) > self.limits.headers:
            raise HeliographError(
                Code.HEADERS_TOO_LARGE, f"At most {self.limits.headers} headers are taken."
            )

    def on_headers_complete(self) -> None:
        self._in_head, self._head_bytes = False, 0
        if (
            len(self.url) + sum(len(n) + len(v) + 4 for n, v in self.headers)
            > self.limits.head_bytes
        ):
            raise self._head_too_large()
        if not self.url.startswith(b"/"):
            if self.parser.get_method() == b"CONNECT":
                raise HeliographError(Code.METHOD_NOT_ALLOWED, "This server is no proxy.")
            raise HeliographError(
                Code.BAD_REQUEST, "The request target must be a path that begins with '/'."
            )
        self._check_headers()
        super().on_headers_complete()
        self.scope["extensions"] = {EXTENSION: Connection(self.cycle)}
        if self.draining:
            self.cycle.keep_alive = False
        self._watch_body()

    def on_chunk_header(self) -> None:
        """llhttp has read the size line of one chunk."""
        self._chunks += 1
        if self._chunks > self.limits.chunks:
            raise HeliographError(
                Code.TOO_MANY_CHUNKS,
                f"At most {self.limits.chunks} chunks are taken. Send a Content-Length.",
            )

    def on_body(self, body: bytes) -> None:
        self._body_seen += len(body)
        if self._body_seen > self.limits.body_bytes:
            raise self._body_too_large()
        if self._chunks and self._overhead - self._body_seen > 65_536 + 16 * self._chunks:
            raise HeliographError(Code.BAD_HEADER, "The chunks carry more framing than data.")
        if not self.cycle.response_complete:
            # The handler is woken once, when the body is whole: bodies are bounded by the limit
            # above, and a wake-up for every 64 KiB would cost more than the bytes.
            self.cycle.body += body

    def on_message_complete(self) -> None:
        self._open = False
        self._unwatch()
        super().on_message_complete()

    # --- deadlines ---------------------------------------------------------------------------

    def _watch_head(self) -> None:
        self._unwatch()
        self._timer = self.loop.call_later(self.limits.head_seconds, self._head_is_late)

    def _head_is_late(self) -> None:
        if self._open or self._head_bytes:
            self._refuse(
                HeliographError(
                    Code.REQUEST_TIMEOUT,
                    f"The headers did not arrive within {self.limits.head_seconds:g} seconds.",
                )
            )
        elif self.cycle is None:
            self.transport.close()

    def _watch_body(self) -> None:
        self._unwatch()
        self._timer = self.loop.call_later(
            self.limits.body_window, self._body_is_late, self._body_seen
        )

    def _body_is_late(self, seen: int) -> None:
        if not self._open:
            return
        if self._body_seen - seen < self.limits.body_rate * self.limits.body_window:
            self._refuse(
                HeliographError(
                    Code.REQUEST_TIMEOUT,
                    f"The body arrives at less than {self.limits.body_rate:g} bytes a second.",
                )
            )
        else:
            self._watch_body()

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # --- refusals ----------------------------------------------------------------------------

    def _check_headers(self) -> None:
        hosts = 0
        for name, value in self.headers:
            if name == b"host":
                hosts += 1
            elif name == b"content-length" and int(value) > self.limits.body_bytes:
                raise self._body_too_large()
            elif name == b"upgrade" and self.parser.should_upgrade():
                raise _no_upgrade()
        if hosts != 1:
            raise HeliographError(Code.BAD_HOST, f"Exactly one Host header is needed, got {hosts}.")

    def _head_too_large(self) -> HeliographError:
        return HeliographError(
            Code.HEADERS_TOO_LARGE,
            f"The request line and headers may be {self.limits.head_bytes} bytes together.",
        )

    def _body_too_large(self) -> HeliographError:
        return HeliographError(
            Code.TOO_LARGE,
            f"The body may be at most {self.limits.body_bytes} bytes. Scale the picture down.",
        )

    def _refuse(self, error: HeliographError) -> None:
        """Answer with a problem and close; if an answer has begun already, only close."""
        self._refused = True
        self._unwatch()
        if self.transport is None or self.transport.is_closing():
            return
        cycle = self.cycle
        begun = self._open and cycle is not None and not self._in_head and cycle.response_started
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        if not begun:
            status, headers, body = problem(error)
            lines = [STATUS_LINE[status]]
            lines += [name + b": " + value + b"\r\n" for name, value in headers]
            self.transport.write(b"".join(lines) + b"connection: close\r\n\r\n" + body)
        self.transport.close()

    def shutdown(self) -> None:
        """A graceful stop: a request that has begun to arrive is still taken and answered."""
        if self._open or self._head_bytes:
            type(self).draining = True
            if self.cycle is not None and not self.cycle.response_complete:
                self.cycle.keep_alive = False
            return
        super().shutdown()


def _malformed() -> HeliographError:
    return HeliographError(Code.BAD_HEADER, "This is not a valid HTTP/1.1 request.")


def _no_upgrade() -> HeliographError:
    return HeliographError(Code.BAD_REQUEST, "This address speaks HTTP/1.1 only; no upgrade.")
