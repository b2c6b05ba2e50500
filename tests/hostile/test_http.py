"""Rows B01-B07, B10-B18 and B35 of the hostile inputs, byte by byte on a real socket.

Each row has its expected code, and is followed by a good request that the same process answers
(`conftest.py`). B08 and B09 (slow senders) are in `test_slow.py`.

Where this surface differs from the row's letter: B14 with 10,000 ranges is 50 KB of header and so
431; with as many as fit it is 416 on a prediction, and everywhere else a Range is ignored, as
RFC 9110 allows.
"""

from __future__ import annotations

import pytest

from heliograph.core.errors import Code
from support import pictures
from support.server import Server
from support.wire import Reply, Wire, ask, cpu_seconds, head, post

GOOD = pictures.file(pictures.scene())
EDGES = "/api/v1/edges?format=json"
CHUNKED = "Transfer-Encoding: chunked"
SMUGGLED = head("GET", "/smuggled")


def refused(server: Server, request: bytes, code: Code, *, method: str = "POST") -> Reply:
    """Send it; there must be one answer with this code, and the connection must be closed."""
    with Wire(server) as wire:
        wire.send(request)
        reply = wire.read(method)
        assert reply.code == code, reply
        assert reply.headers["connection"] == "close"
        assert wire.closed(), "the server went on after a refusal"
    assert reply.seconds < 2
    return reply


@pytest.mark.parametrize(
    "lines",
    [
        (CHUNKED, "Content-Length: 4"),
        ("Content-Length: 4", CHUNKED),
        ("Content-Length: 0", CHUNKED),
    ],
)
def test_b01_two_ways_to_tell_the_length(lean: Server, lines: tuple[str, ...]) -> None:
    refused(lean, head("POST", EDGES, *lines) + b"0\r\n\r\n" + SMUGGLED, Code.BAD_HEADER)


@pytest.mark.parametrize(
    "lengths",
    [("5", "6"), ("5", "5"), ("+5",), ("0x5",), ("5, 5"), ("-5",), ("9" * 30,), ("",), ("5 5",)],
)
def test_b02_content_lengths_that_can_be_misread(lean: Server, lengths: tuple[str, ...]) -> None:
    lines = [f"Content-Length: {length}" for length in lengths]
    refused(lean, head("POST", EDGES, *lines) + b"abcde" + SMUGGLED, Code.BAD_HEADER)


@pytest.mark.parametrize(
    "body",
    [
        b"0x4\r\nabcd\r\n0\r\n\r\n",
        b"+4\r\nabcd\r\n0\r\n\r\n",
        b"-4\r\nabcd\r\n0\r\n\r\n",
        b"4 \r\nabcd\r\n0\r\n\r\n",
        b"4;" + b"x" * 10_000 + b"\r\nabcd\r\n0\r\n\r\n",
        b"4\r\nabcdXX0\r\n\r\n",
        b"4\nabcd\n0\n\n",
        b"f" * 17 + b"\r\nabcd\r\n0\r\n\r\n",
        b"4\r\nabcd\r\n0\r\n" + b"X-Trailer: x\r\n" * 2000 + b"\r\n",
    ],
)
def test_b03_chunks_that_can_be_misread(lean: Server, body: bytes) -> None:
    refused(lean, head("POST", EDGES, CHUNKED) + body + SMUGGLED, Code.BAD_HEADER)


@pytest.mark.parametrize(
    "coding", ["xchunked", "chunked, identity", "gzip, chunked", "identity", "chunked, chunked"]
)
def test_other_transfer_codings(lean: Server, coding: str) -> None:
    request = head("POST", EDGES, f"Transfer-Encoding: {coding}")
    refused(lean, request + b"4\r\nabcd\r\n0\r\n\r\n" + SMUGGLED, Code.BAD_HEADER)


def test_a_chunked_picture_is_a_picture_and_its_trailers_are_dropped(lean: Server) -> None:
    body = b"%x;ext=1\r\n%b\r\n0\r\nContent-Type: application/json\r\n\r\n" % (len(GOOD), GOOD)
    with Wire(lean) as wire:
        for _ in range(2):  # and the connection goes on
            wire.send(head("POST", EDGES, CHUNKED) + body)
            assert wire.read().status == 200


def test_b04_a_flood_of_chunks(lean: Server) -> None:
    before = cpu_seconds(lean.process.pid)
    flood = b"1\r\nx\r\n" * 65_537 + b"0\r\n\r\n"
    refused(lean, head("POST", EDGES, CHUNKED) + flood, Code.TOO_MANY_CHUNKS)
    assert cpu_seconds(lean.process.pid) - before < 0.5


@pytest.mark.parametrize(
    "request_",
    [
        head("GET", "/healthz", "X: " + "a" * 17_408),
        head("GET", "/healthz", "X: " + "a" * 17_408)[:-4],
        head("GET", "/" + "a" * 17_408),
        head("GET", "/healthz", *["X-Filler: " + "a" * 400] * 42),
        head("GET", "/healthz", "X:" + " " * 17_408 + "a"),
        b"\r\n" * 20_000,
        b"A" * 17_408,
    ],
    ids=["header", "endless header", "request line", "many", "blanks", "empty lines", "method"],
)
def test_b05_a_head_beyond_16_kib(lean: Server, request_: bytes) -> None:
    code = Code.BAD_HEADER if request_.startswith(b"AA") else Code.HEADERS_TOO_LARGE
    refused(lean, request_, code, method="GET")


def test_b06_too_many_headers(lean: Server) -> None:
    many = head("GET", "/healthz", *["X: a"] * 100)  # and Host makes 101
    refused(lean, many, Code.HEADERS_TOO_LARGE, method="GET")
    assert ask(lean, head("GET", "/healthz", *["X: a"] * 99), method="GET").status == 200


@pytest.mark.parametrize(
    "line",
    [
        b"X: a\x00b",
        b"X: a\rb",
        b"X: a\nY: b",
        b"X: a\r\n b",
        b" X: a",
        b"X : a",
        b"X\x00: a",
        b": a",
        b"no colon",
        b"X: \x7f",
        b"\xff: a",
        b"X\t: a",
        b"X: a\r\n\tfolded",
    ],
)
def test_b07_control_characters_and_folds(lean: Server, line: bytes) -> None:
    refused(lean, head("GET", "/healthz", line), Code.BAD_HEADER, method="GET")


@pytest.mark.parametrize(
    "host", ["x/docs?", "a@b", "evil.example", "", "a b", "127.0.0.1:999999", "[::1", "localhost:x"]
)
def test_b10_hosts_that_are_not_ours(lean: Server, host: str) -> None:
    reply = ask(lean, head("GET", "/api/v1/models", host=host), method="GET")
    assert reply.code == Code.BAD_HOST


@pytest.mark.parametrize(
    "request_",
    [
        head("GET", "/healthz", host=None),
        head("GET", "/healthz", "Host: 127.0.0.1"),
        b"GET /healthz HTTP/1.0\r\n\r\n",
        b"GET /healthz\r\n\r\n",
    ],
    ids=["none", "two", "http/1.0", "http/0.9"],
)
def test_b10_no_host_or_two(lean: Server, request_: bytes) -> None:
    refused(lean, request_, Code.BAD_HOST, method="GET")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8000", "[::1]:80", "LOCALHOST"])
def test_our_own_hosts_are_taken(lean: Server, host: str) -> None:
    assert ask(lean, head("GET", "/healthz", host=host), method="GET").status == 200


@pytest.mark.parametrize(
    "target",
    [
        "@evil.example",
        "http://evil.example/",
        "http://127.0.0.1/healthz",
        "*",
        "healthz",
        "/a b",
        "/\x01",
        "/ÿ",
        "\\x",
    ],
)
def test_b11_targets_that_are_no_path(lean: Server, target: str) -> None:
    reply = ask(lean, head("GET", target), method="GET")
    assert reply.code in {Code.BAD_REQUEST, Code.BAD_HEADER}


@pytest.mark.parametrize("target", ["//evil.example/healthz", "/%00", "/%ff", "/../../etc/passwd"])
def test_paths_that_lead_nowhere(lean: Server, target: str) -> None:
    assert ask(lean, head("GET", target), method="GET").code == Code.NOT_FOUND


@pytest.mark.parametrize(
    "lines",
    [
        ("Upgrade: websocket", "Sec-WebSocket-Key: x", b"Sec-WebSocket-Protocol: \xff\xfe"),
        ("Upgrade: websocket", "Content-Length: 40"),
        ("Upgrade: h2c", "HTTP2-Settings: x"),
    ],
    ids=["b12", "b13", "h2c"],
)
def test_b12_b13_upgrades(lean: Server, lines: tuple[str | bytes, ...]) -> None:
    request = head("GET", "/healthz", "Connection: Upgrade", *lines)
    refused(lean, request + SMUGGLED, Code.BAD_REQUEST, method="GET")


@pytest.mark.parametrize(
    "first",
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"\x00" * 64,
        b"SSH-2.0-x\r\n",
    ],
    ids=["http/2", "tls", "http/9", "zeros", "ssh"],
)
def test_other_protocols(lean: Server, first: bytes) -> None:
    refused(lean, first, Code.BAD_HEADER)


def test_b14_ranges(lean: Server) -> None:
    ranges = "Range: bytes=" + ",".join(["0-0"] * 1000)
    reply = ask(lean, head("POST", EDGES, ranges, "Content-Length: 0"))
    assert reply.code == Code.RANGE
    assert reply.seconds < 0.5
    ten_thousand = "Range: bytes=" + ",".join(["0-0"] * 10_000)
    refused(lean, head("POST", EDGES, ten_thousand), Code.HEADERS_TOO_LARGE)
    assert ask(lean, head("GET", "/", ranges), method="GET").status == 200


@pytest.mark.parametrize(
    "coding", ["gzip", "br, gzip, gzip", "deflate", "", "GZIP", "identity, br"]
)
def test_b15_b16_content_codings(lean: Server, coding: str) -> None:
    reply = ask(lean, post(GOOD, EDGES, f"Content-Encoding: {coding}"))
    assert reply.code == Code.UNSUPPORTED_ENCODING


def test_b17_a_huge_body_is_refused_before_it_is_sent(lean: Server) -> None:
    huge = head("POST", EDGES, "Expect: 100-continue", "Content-Length: 5368709120")
    reply = refused(lean, huge, Code.TOO_LARGE)
    assert reply.seconds < 1


def test_who_waits_for_100_gets_it(lean: Server) -> None:
    with Wire(lean) as wire:
        for _ in range(2):  # and the connection goes on
            wire.send(head("POST", EDGES, "Expect: 100-continue", f"Content-Length: {len(GOOD)}"))
            assert wire.read().status == 100
            wire.send(GOOD)
            assert wire.read().status == 200


def test_who_is_refused_before_100_is_not_listened_to_any_more(lean: Server) -> None:
    # The client may send the body or leave it: what follows could not be told.
    waits = head("POST", "/nowhere", "Expect: 100-continue", f"Content-Length: {len(SMUGGLED)}")
    with Wire(lean) as wire:
        wire.send(waits)
        reply = wire.read()
        assert reply.code == Code.NOT_FOUND
        assert reply.headers["connection"] == "close"
        wire.send(SMUGGLED)
        assert wire.closed()


def test_an_early_refusal_does_not_lose_the_thread(lean: Server) -> None:
    body = SMUGGLED * 1000
    with Wire(lean) as wire:
        wire.send(head("POST", "/nowhere", f"Content-Length: {len(body)}"))
        assert wire.read().code == Code.NOT_FOUND
        wire.send(body + head("GET", "/healthz"))
        assert wire.read("GET").json == {"status": "live"}


@pytest.mark.parametrize("lines", [(CHUNKED,), ("Content-Length: 30000000",)])
def test_b18_a_body_past_the_cap(lean: Server, lines: tuple[str]) -> None:
    piece = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
    refused(lean, head("POST", EDGES, *lines) + piece * 30, Code.TOO_LARGE)


@pytest.mark.parametrize(
    "method", ["TRACE", "DELETE", "PUT", "PATCH", "OPTIONS", "GET", "M-SEARCH"]
)
def test_b35_methods(lean: Server, method: str) -> None:
    reply = ask(lean, head(method, "/api/v1/edges"))
    assert reply.code == Code.METHOD_NOT_ALLOWED
    assert reply.headers["allow"] == "POST"


def test_b35_no_proxy_and_no_override(lean: Server) -> None:
    refused(lean, head("CONNECT", "evil.example:443"), Code.METHOD_NOT_ALLOWED)
    override = head("GET", "/healthz", "X-HTTP-Method-Override: DELETE")
    assert ask(lean, override, method="GET").status == 200


@pytest.mark.parametrize("name", ["Content-Type", "Authorization", "Content-Encoding"])
def test_a_header_that_stands_twice(lean: Server, name: str) -> None:
    refused(lean, post(GOOD, EDGES, f"{name}: image/png", f"{name}: text/plain"), Code.BAD_HEADER)


def test_a_pipeline_is_answered_in_order(lean: Server) -> None:
    with Wire(lean) as wire:
        wire.send((post(GOOD) + head("GET", "/healthz")) * 50)
        for _ in range(50):
            assert "predictions" in wire.read().json
            assert wire.read("GET").json == {"status": "live"}


@pytest.mark.parametrize(
    "bad", [b"BAD\r\n\r\n", head("GET", "http://x/"), head("POST", EDGES, CHUNKED) + b"zz\r\n"]
)
def test_a_bad_request_in_a_pipeline_waits_its_turn(lean: Server, bad: bytes) -> None:
    with Wire(lean) as wire:
        wire.send(post(GOOD) * 3 + bad + post(GOOD))
        assert [wire.read().status for _ in range(4)] == [200, 200, 200, 400]
        assert wire.closed()


def test_errors_on_a_kept_connection_are_told(lean: Server) -> None:
    for bad, code in ((head("GET", "http://x/"), Code.BAD_REQUEST), (b"?\r\n", Code.BAD_HEADER)):
        with Wire(lean) as wire:
            wire.send(post(GOOD))
            assert wire.read().status == 200
            wire.send(bad)
            assert wire.read().code == code
            assert wire.closed()
