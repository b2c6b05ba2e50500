"""The HTTP/1.1 connection: uvicorn's protocol with the limits that it leaves to others.

uvicorn parses (llhttp) and keeps connections; this subclass adds what ASGI middleware cannot, since
that runs only after parsing:

Covered: time to send a head (of the first request and of every later one), least rate of the body,
size and number of headers, length of the request line, number of chunks and their overhead,
trailers (dropped), size of the body (before `100 Continue` is sent), bytes of unfinished bodies of
all connections, readers that never read, open connections, upgrades, absolute-form targets, the
`Host` tricks and other headers that may stand once, one problem shape for every parse error, no
request cut in two by a graceful stop, answers in the order of the requests even if a later one of a
pipeline is refused; the headers of every answer, other sites' pages, proxies in front, clients'
certificates (`policy.py`).
Not covered: HTTP/2 (not spoken), TLS handshakes (`server.py`). A client that closes its sending
half counts as gone: that cannot be told from a hang-up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from heliograph.core.errors import Code, HeliographError
from heliograph.edge.http.errors import problem, respond
from heliograph.edge.http.headers import Header, header, preflight
from heliograph.edge.http.limits import (
    OTHERS,
    RequestHead,
    WireLimits,
    body_too_large,
    check_head,
    head_too_large,
    malformed,
    no_upgrade,
)
from heliograph.edge.http.policy import PLAIN, Policy
from heliograph.edge.tls.peers import names_in

EXTENSION = "heliograph"
# A head and a chunked body are fed in slices, so that framing is told from data in time.
_HEAD_SLICE, _CHUNK_SLICE = 1024, 4096
_FRAMING = 2 * _CHUNK_SLICE
_PIECE = 64


class Connection:
    """What a request's handler may ask of its connection (`scope["extensions"]["heliograph"]`)."""

    __slots__ = ("_cycle",)

    def __init__(self, cycle: Any) -> None:
        self._cycle = cycle

    def alive(self) -> bool:
        """False once the client has hung up."""
        return not self._cycle.disconnected


Full = Callable[[], HeliographError | None]


def protocol(
    limits: WireLimits, full: Full = lambda: None, policy: Policy = PLAIN
) -> type[HttpToolsProtocol]:
    """The protocol class for uvicorn's `http` setting.

    Args:
        limits: of each connection.
        full: why no prediction can be taken now, if so. A full house says so before the
            application is asked, since under overload refusals are most of the work.
        policy: of every connection and answer.
    """
    return type(
        "LimitedProtocol",
        (Wire,),
        {"limits": limits, "full": staticmethod(full), "policy": policy},
    )


class Wire(HttpToolsProtocol):
    """One connection; see the module's docstring."""

    parser: Any
    cycle: Any
    limits = WireLimits()
    full: Full = staticmethod(lambda: None)
    policy = PLAIN
    draining = False
    bodies = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._timer: asyncio.TimerHandle | None = None
        self._reader: asyncio.TimerHandle | None = None
        # The message that arrives: has it begun, is it still its head, bytes so far of what kind.
        self._begun = False
        self._in_head = True
        self._sized = False
        self._keep = True
        self._fed = 0
        self._head = 0
        self._chunks = 0
        self._body = 0
        self._held = 0
        self._pieces: list[bytes] = []
        # The request whose body arrives, and the one being answered; other than with a pipeline
        # they are one.
        self._arriving: Any = None
        self._answering: Any = None
        self._refusal: HeliographError | None = None
        self._proxied = False
        self._service = ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there; perhaps one too many."""
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
        self._timer = self.loop.call_later(self.limits.head_seconds, self._head_is_late)
        self._meet(transport)

    def _meet(self, transport: asyncio.Transport) -> None:
        """Who is at the other end: a proxy that is believed, a service with a certificate?"""
        proxies, peers = self.policy.proxies, self.policy.peers
        if proxies is not None and self.client is not None:
            self._proxied = proxies.include(self.client[0])
        if peers is not None:
            try:
                self._service = peers.service(names_in(transport.get_extra_info("peercert")))
            except HeliographError as error:
                self._refuse(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone: whoever works for it is told."""
        self._unwatch()
        self._release()
        if self._reader is not None:
            self._reader.cancel()
        if self._answering is not None and not self._answering.response_complete:
            _hang_up(self._answering)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        self._unset_keepalive_if_required()
        view, at = memoryview(data), 0
        while at < len(data) and self._refusal is None:
            step = _HEAD_SLICE if self._in_head else len(data) if self._sized else _CHUNK_SLICE
            self._feed(view[at : at + step])
            at += step
        if self._refusal is None and self._timer is None and (self._begun or self._fed):
            self._watch()

    def _feed(self, data: memoryview) -> None:
        self._fed += len(data)
        try:
            self.parser.feed_data(data)
            self._check_sizes()
        except HeliographError as error:
            self._refuse(error)
        except httptools.HttpParserCallbackError as error:
            inner = error.__context__
            self._refuse(inner if isinstance(inner, HeliographError) else malformed())
        except httptools.HttpParserUpgrade:
            self._refuse(no_upgrade())
        except httptools.HttpParserError:
            self._refuse(malformed())

    # --- parser callbacks -------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._begun = True
        self._arriving = None
        self._pieces = []
        self._chunks = self._body = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header line is there, or one trailer."""
        if not self._in_head:
            return  # a trailer; nothing here reads them, and it must not pass for a header
        super().on_header(name, value)
        if len(self.headers) > self.limits.headers:
            raise HeliographError(
                Code.HEADERS_TOO_LARGE, f"At most {self.limits.headers} headers are taken."
            )

    def on_headers_complete(self) -> None:
        """A head is whole: checked before anybody sees it."""
        # Blanks around values are in no header, so that only here can they be seen.
        if self._fed > self.limits.head_bytes + _HEAD_SLICE:
            raise head_too_large(self.limits)
        parser = self.parser
        self._head = len(self.url) + sum(len(n) + len(v) + 4 for n, v in self.headers)
        head = RequestHead(
            parser.get_method(),
            self.url,
            parser.get_http_version(),
            self.headers,
            parser.should_upgrade(),
            self._head,
        )
        self._sized = check_head(head, self.limits)
        self._most = self.limits.most(head.target)
        # Other protocols tell errors in a form of their own: there the application refuses.
        ours = head.method == b"POST" and not head.target.startswith(OTHERS)
        full = self.full() if ours else None
        self.app = self.config.loaded_app if full is None else respond(full)
        allowed = self._allowed()
        if allowed and (asks := preflight(head.method, self.headers)) is not None:
            self.app = asks
        if self._proxied:
            self._look_behind()
        super().on_headers_complete()
        if allowed:
            self.cycle.default_headers = [*self.cycle.default_headers, *allowed]
        self._unwatch()
        self._in_head = False
        self._arriving = self.cycle
        extensions: dict[str, Any] = {EXTENSION: Connection(self.cycle)}
        if self._service:
            extensions["tls"] = {"service": self._service}
        self.scope["extensions"] = extensions  # type: ignore[typeddict-item]
        self._keep = self.cycle.keep_alive and not self.draining
        # Whoever is refused before its body was asked for may send that body or leave it: what
        # comes next on this connection could not be told.
        self.cycle.keep_alive = self._keep and not self.expect_100_continue

    def _allowed(self) -> tuple[Header, ...]:
        """What an answer to another site's page carries, if it is let in."""
        cors = self.policy.cors
        origin = header(self.headers or (), b"origin") if cors is not None else b""
        return cors.allow(origin) if cors is not None and origin else ()

    def _look_behind(self) -> None:
        """The request is the one's for whom the proxy asks."""
        proxies = self.policy.proxies
        if proxies is None:
            return
        sender = proxies.sender(self.headers)
        if sender:
            self.scope["client"] = (sender, 0)
        scheme = proxies.scheme(self.headers)
        if scheme:
            self.scope["scheme"] = scheme  # type: ignore[typeddict-item]

    def on_chunk_header(self) -> None:
        """The size line of one chunk is there."""
        self._chunks += 1
        if self._chunks > self.limits.chunks:
            raise HeliographError(
                Code.TOO_MANY_CHUNKS,
                f"At most {self.limits.chunks} chunks are taken. Send a Content-Length.",
            )

    def on_body(self, body: bytes) -> None:
        """A piece of a body is there."""
        self._body += len(body)
        if self._body > self._most:
            raise body_too_large(self._most)
        if self.cycle.response_complete:
            self._release()  # nobody will ask for it
            return
        # What a piece weighs besides its bytes counts, too: they may come one by one.
        self._held += len(body) + _PIECE
        type(self).bodies += len(body) + _PIECE
        # The handler is woken once, when the body is whole: bodies are bounded by the limit
        # above, and a wake-up for every 64 KiB would cost more than the bytes. Joined at the end,
        # they are copied once; a body of one piece not at all.
        self._pieces.append(body)
        if self.bodies > self.limits.bodies_bytes:
            raise HeliographError(
                Code.OVERLOADED, "Too many pictures arrive at once. Try again.", retry_after=1.0
            )

    def on_message_complete(self) -> None:
        """A request is whole."""
        self._check_sizes()
        self._unwatch()
        if self._pieces:
            self.cycle.body = b"".join(self._pieces)
        self._release()
        if not self.cycle.response_started:
            self.cycle.keep_alive = self._keep and not self.draining
        self._begun, self._in_head, self._sized = False, True, False
        self._fed = 0
        self._arriving = None
        super().on_message_complete()

    # --- answers, in the order of the requests -----------------------------------------------

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """An answer is written: the next of a pipeline, or the refusal that waited, follows."""
        super().on_response_complete()
        waiting = self.transport.get_write_buffer_size()
        if waiting and self._reader is None:
            self._watch_reader(waiting)
        if self._refusal is not None and self._answering.response_complete:
            self._say(self._refusal)

    def _refuse(self, error: HeliographError) -> None:
        """Answer with a problem and close, after what has been asked before is answered."""
        self._unwatch()
        self._release()
        self._refusal = error
        at_fault, answering = self._arriving, self._answering
        if self.pipeline and self.pipeline[0][0] is at_fault:
            self.pipeline.popleft()
        if answering is None or answering.response_complete or answering is at_fault:
            self._say(error)

    def _say(self, error: HeliographError) -> None:
        if self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        cycle = self._arriving
        if cycle is None or not cycle.response_started:
            status, headers, body = self._render(error)
            if cycle is None:
                headers = [*self.server_state.default_headers, *self._allowed(), *headers]
            else:
                headers = [*cycle.default_headers, *headers]
            lines = [STATUS_LINE[status]]
            lines += [name + b": " + value + b"\r\n" for name, value in headers]
            self.transport.write(b"".join(lines) + b"connection: close\r\n\r\n" + body)
        if cycle is not None and not cycle.response_complete:
            _hang_up(cycle)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        # Closed at once, bytes on their way here would answer the client with a reset, and the
        # refusal would be lost.
        self._timer = self.loop.call_later(self.limits.linger_seconds, self.transport.close)

    def _render(self, error: HeliographError) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """An error in the form of the protocol that was spoken."""
        status, headers, body = problem(error)
        # There is no target yet where the head itself was refused.
        if not getattr(self, "url", b"").startswith(OTHERS):
            return status, headers, body
        body = msgspec.json.encode({"error": error.detail})
        plain = {b"content-type": b"application/json", b"content-length": b"%d" % len(body)}
        return status, [(name, plain.get(name, value)) for name, value in headers], body

    # --- deadlines ---------------------------------------------------------------------------

    def _watch(self) -> None:
        if self._in_head:
            self._timer = self.loop.call_later(self.limits.head_seconds, self._head_is_late)
        else:
            self._timer = self.loop.call_later(
                self.limits.body_window, self._body_is_late, self._body
            )

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _head_is_late(self) -> None:
        if self.flow.read_paused:  # it is we who do not listen
            self._watch()
        elif self._begun or self._fed:
            self._refuse(
                HeliographError(
                    Code.REQUEST_TIMEOUT,
                    f"The headers did not arrive within {self.limits.head_seconds:g} seconds.",
                )
            )
        else:
            self.transport.close()

    def _body_is_late(self, seen: int) -> None:
        if (
            self.flow.read_paused
            or self._body - seen >= self.limits.body_rate * self.limits.body_window
        ):
            self._watch()
            return
        self._refuse(
            HeliographError(
                Code.REQUEST_TIMEOUT,
                f"The body arrives at less than {self.limits.body_rate:g} bytes a second.",
            )
        )

    def _watch_reader(self, waiting: int) -> None:
        self._reader = self.loop.call_later(self.limits.read_seconds, self._reader_is_late, waiting)

    def _reader_is_late(self, waiting: int) -> None:
        self._reader = None
        left = self.transport.get_write_buffer_size()
        if left >= waiting:
            self.transport.abort()
        elif left:
            self._watch_reader(left)

    # --- checks ------------------------------------------------------------------------------

    def _check_sizes(self) -> None:
        if self._in_head:
            if self._fed > self.limits.head_bytes:
                raise head_too_large(self.limits)
        elif not self._sized and self._fed - self._head - self._body > _FRAMING + 16 * self._chunks:
            raise HeliographError(Code.BAD_HEADER, "The chunks carry more framing than data.")

    def _release(self) -> None:
        """The body that arrived here is whole, or will never be."""
        type(self).bodies -= self._held
        self._held, self._pieces = 0, []

    def shutdown(self) -> None:
        """A graceful stop: a request that has begun to arrive is still taken and answered."""
        if self._refusal is None and (self._begun or self._fed):
            type(self).draining = True
            if self._answering is not None:
                self._answering.keep_alive = False
            return
        super().shutdown()


def _hang_up(cycle: Any) -> None:
    cycle.disconnected = True
    cycle.message_event.set()
