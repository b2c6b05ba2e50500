"""Limits of a connection that a whole server would need too long or too much to meet."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn
from starlette.types import Receive, Scope, Send

from heliograph.core.errors import Code
from heliograph.edge.http.limits import WireLimits
from heliograph.edge.http.wire import protocol
from support.wire import Wire, head, post

LARGE = bytes(16 << 20)


@dataclass(frozen=True, slots=True)
class Tiny:
    """A server of a few lines; it has what a `support.wire.Wire` asks of one."""

    port: int
    server: uvicorn.Server

    @property
    def connections(self) -> int:
        return len(self.server.server_state.connections)

    def wait_for(self, connections: int, seconds: float = 5.0) -> None:
        ends = time.monotonic() + seconds
        while self.connections > connections:
            assert time.monotonic() < ends, f"{self.connections} connections are still open"
            time.sleep(0.01)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """The length of the body, once it is whole; `/large` gives megabytes, `/wait` takes a while."""
    assert scope["type"] == "http"
    body = (await receive()).get("body", b"")
    if scope["path"] == "/wait":
        await asyncio.sleep(0.5)
    said = LARGE if scope["path"] == "/large" else b"%d" % len(body)
    length = (b"content-length", b"%d" % len(said))
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": said})


@contextmanager
def serving(limits: WireLimits) -> Generator[Tiny]:
    sock = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app,
        http=protocol(limits),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        headers=[("x-content-type-options", "nosniff")],
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield Tiny(sock.getsockname()[1], server)
    finally:
        server.should_exit = True
        thread.join()
        sock.close()


def test_unfinished_bodies_are_bounded_together() -> None:
    with serving(WireLimits(bodies_bytes=110_000)) as tiny:
        half = head("POST", "/", "Content-Length: 60000") + bytes(40_000)
        with Wire(tiny) as one, Wire(tiny) as other, Wire(tiny) as third:
            one.send(half)
            other.send(half)
            time.sleep(0.1)
            third.send(half)
            reply = third.read()
            assert reply.code == Code.OVERLOADED
            assert reply.headers["retry-after"] == "1"
            for wire in (one, other):
                wire.send(bytes(20_000))
                assert wire.read().body == b"60000", "those that were there finish"
        # What the three held is free again, and so is what hung up on the way.
        for _ in range(20):
            with Wire(tiny) as wire:
                wire.send(half)
        # A connection may still wait to be accepted: it counts when it is, and then no more.
        said = b""
        for _ in range(50):
            tiny.wait_for(0)
            with Wire(tiny) as wire:
                wire.send(post(bytes(90_000)))
                said = wire.read().body
            if said == b"90000":
                break
            time.sleep(0.1)
        assert said == b"90000"


def test_who_never_reads_is_hung_up_on() -> None:
    with serving(WireLimits(read_seconds=0.3)) as tiny, Wire(tiny) as wire:
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        wire.send(head("GET", "/large") * 3)
        time.sleep(0.1)
        assert tiny.connections == 1
        tiny.wait_for(0, seconds=3)


def test_who_reads_slowly_is_waited_for() -> None:
    with serving(WireLimits(read_seconds=0.3)) as tiny, Wire(tiny) as wire:
        wire.send(head("GET", "/large"))
        time.sleep(0.2)
        received = len(wire.socket.recv(1 << 20))
        while received < len(LARGE):
            time.sleep(0.02)
            received += len(wire.socket.recv(1 << 20))
        assert received > len(LARGE)


def test_a_refused_client_is_let_go_after_a_while() -> None:
    with serving(WireLimits(linger_seconds=0.2)) as tiny, Wire(tiny) as wire:
        wire.send(b"?\r\n\r\n")
        assert wire.read().code == Code.BAD_HEADER
        assert tiny.connections == 1, "it may still be sending"
        tiny.wait_for(0, seconds=2)


def test_a_pipelined_request_that_waits_is_not_late() -> None:
    """While one answer is made, what follows is not read; that is not its sender's fault."""
    limits = WireLimits(body_window=0.1, head_seconds=0.1, body_rate=1e6)
    with serving(limits) as tiny, Wire(tiny) as wire:
        second = post(bytes(1000))
        for piece in (head("GET", "/wait"), second[:-500], second[-500:] + head("GET", "/")):
            wire.send(piece)
            time.sleep(0.05)
        assert [wire.read().body for _ in range(3)] == [b"0", b"1000", b"0"]
