"""Rows B08 and B09, and other clients that take their time, hang up or come in crowds.

Most rows run against a server with shortened deadlines; one test holds the defaults (marked slow).
"""

from __future__ import annotations

import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from heliograph.core.errors import Code
from support import bombs, pictures
from support.server import Server
from support.wire import Reply, Wire, ask, head, open_files, post

GOOD = pictures.file(pictures.scene())
HEAD = head("GET", "/healthz")
UPLOAD = head("POST", "/api/v1/edges?format=json", "Content-Length: 5000")


def drip(server: Server, sent: bytes, pieces: list[bytes], pause: float) -> tuple[Reply, float]:
    """Send `sent` at once and the rest slowly; the answer, and after how many seconds it came."""
    with Wire(server, seconds=30) as wire:
        wire.send(sent)
        began = time.monotonic()
        wire.drip(pieces, pause)
        reply = wire.read()
        seconds = time.monotonic() - began
        assert wire.closed()
    return reply, seconds


def test_b08_slow_heads(hurried: Server) -> None:
    bytewise = [bytes([one]) for one in HEAD]
    slow_lines = [b"X-%d: a\r\n" % n for n in range(40)]
    with ThreadPoolExecutor(4) as crowd:
        asked = [
            crowd.submit(drip, hurried, b"", bytewise, 0.2),
            crowd.submit(drip, hurried, HEAD[:-2], slow_lines, 0.2),
            crowd.submit(drip, hurried, b"", [b"\r\n"] * 40, 0.2),
            crowd.submit(drip, hurried, HEAD[:10], [], 0.0),
        ]
    for one in asked:
        reply, seconds = one.result()
        assert reply.code == Code.REQUEST_TIMEOUT
        assert seconds < 2.5


def test_b08_slow_heads_on_a_kept_connection(hurried: Server) -> None:
    for rest in ([bytes([one]) for one in HEAD], [b"\r\n"] * 40):
        with Wire(hurried) as wire:
            wire.send(post(GOOD))
            assert wire.read().status == 200
            began = time.monotonic()
            assert wire.drip(rest, 0.1)
            assert wire.read().code == Code.REQUEST_TIMEOUT
            assert time.monotonic() - began < 2.5


def test_b09_slow_bodies(hurried: Server) -> None:
    chunked = head("POST", "/api/v1/edges", "Transfer-Encoding: chunked")
    with ThreadPoolExecutor(4) as crowd:
        asked = [
            crowd.submit(drip, hurried, UPLOAD, [b"x"] * 200, 0.1),
            crowd.submit(drip, hurried, UPLOAD, [], 0.0),
            crowd.submit(drip, hurried, chunked, [b"1\r\nx\r\n"] * 200, 0.1),
            crowd.submit(drip, hurried, chunked, [b"1;"] + [b"x"] * 200, 0.1),
        ]
    for one in asked:
        reply, seconds = one.result()
        assert reply.code == Code.REQUEST_TIMEOUT
        assert seconds < 8


def test_a_body_that_keeps_the_pace_but_not_the_deadline(hurried: Server) -> None:
    # 2 KiB a second is more than the least rate, and the call's deadline is 2 seconds.
    with Wire(hurried) as wire:
        wire.send(head("POST", "/api/v1/edges", "Content-Length: 50000"))
        began = time.monotonic()
        assert wire.drip([bytes(512)] * 40, 0.25)
        assert wire.read().code == Code.REQUEST_TIMEOUT
        assert time.monotonic() - began < 4


def test_who_says_nothing_is_hung_up_on(hurried: Server) -> None:
    with Wire(hurried) as wire:
        began = time.monotonic()
        assert wire.closed()
        assert time.monotonic() - began < 2.5


@pytest.mark.slow
def test_b08_b09_with_the_defaults(lean: Server) -> None:
    with ThreadPoolExecutor(2) as crowd:
        slow_head = crowd.submit(drip, lean, b"", [bytes([one]) for one in HEAD], 2.0)
        slow_body = crowd.submit(drip, lean, UPLOAD, [b"x"] * 200, 0.1)
    reply, seconds = slow_head.result()
    assert (reply.code, seconds < 12) == (Code.REQUEST_TIMEOUT, True)
    reply, seconds = slow_body.result()
    assert (reply.code, seconds < 15) == (Code.REQUEST_TIMEOUT, True)


def test_too_many_connections(hurried: Server) -> None:
    crowd = [Wire(hurried) for _ in range(20)]
    try:
        with Wire(hurried) as one_more:
            reply = one_more.read()
        assert reply.code == Code.TOO_MANY_CONNECTIONS
        assert reply.headers["retry-after"] == "1"
        crowd[0].send(post(GOOD))
        assert crowd[0].read().status == 200, "those who were there first are served"
    finally:
        for one in crowd:
            one.socket.close()
    time.sleep(0.2)


def test_a_refused_sender_can_read_why(lean: Server) -> None:
    # The whole of a body beyond the cap is on its way when the refusal is written.
    with Wire(lean) as wire:
        wire.send(head("POST", "/api/v1/edges", "Content-Length: 60000000"))
        wire.send(bytes(8 << 20))
        assert wire.read().code == Code.TOO_LARGE


def test_hangups_of_every_kind(lean: Server) -> None:
    before = open_files(lean.process.pid)
    whole = post(GOOD)
    for kind in range(5):
        for cut in (0, 1, 30, len(whole) // 2, len(whole) - 1, len(whole)):
            wire = Wire(lean)
            wire.send(whole[:cut])
            if kind == 0:
                wire.socket.shutdown(socket.SHUT_WR)
                assert wire.read().status in {0, 200}
            elif kind == 1:
                wire.socket.shutdown(socket.SHUT_RD)
            elif kind == 2:
                wire.socket.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )  # a reset
            elif kind == 3:
                time.sleep(0.01)
            wire.socket.close()
    time.sleep(0.3)
    assert open_files(lean.process.pid) <= before + 2


def test_a_client_that_never_reads_holds_nobody_up(lean: Server) -> None:
    large = post(bombs.png_black(3000, 2000), "/api/v1/process?ops=jpeg:100")
    with Wire(lean) as wire:
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for _ in range(5):
            wire.send(large)
        assert ask(lean, post(GOOD)).seconds < 5
