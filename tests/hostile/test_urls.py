"""Rows B110-B121: addresses that callers name, over HTTP, against hosts on real sockets.

One loopback address stands for the public internet; every other one is held against the real
table. Names that lie are in the last test, where the system's own resolver asks a name server in
an internet of network namespaces.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
import uvicorn
import uvloop

from heliograph.core.errors import Code, HeliographError
from heliograph.edge.books import NullBooks
from heliograph.edge.http.application import build as build_http
from heliograph.edge.http.limits import WireLimits
from heliograph.edge.http.server import listen
from heliograph.edge.http.wire import protocol
from heliograph.edge.services import Services
from heliograph.outbound.exchange import Bounds, Kept, Question
from heliograph.outbound.fetch import Courier
from heliograph.outbound.pictures import Pictures
from heliograph.outbound.targets import PUBLIC, Policy
from heliograph.telemetry.meter import TelemetryMeter
from heliograph.telemetry.metrics import Metrics
from support import pictures
from support.outside import (
    OUTSIDE,
    Names,
    Site,
    guard,
    listening,
    moved,
    opening,
    reply,
)
from support.serving import house
from support.wire import Reply, ask, post

GOOD = pictures.file(pictures.scene())
EDGES = "/api/v1/edges?format=json"
JSON = "Content-Type: application/json"
MOST = 1 << 20
INTERNET = Path(__file__).parents[1] / "support" / "internet.py"
KNOWN = {
    "site.example": OUTSIDE,
    "other.example": OUTSIDE,
    "ours.example": OUTSIDE,
    "inner.example": "127.0.0.1",
    "mixed.example": f"{OUTSIDE} 127.0.0.1",
}


@dataclass(frozen=True, slots=True)
class World:
    """A house, a host outside, and one inside that nobody may reach."""

    port: int
    site: Site
    inner: Site
    names: Names

    def url(self, path: str, host: str = "site.example") -> str:
        return f"http://{host}:{self.site.port}{path}"

    def fetch(self, url: str) -> Reply:
        """Call a model with a picture at an address."""
        return ask(self, post(json.dumps({"url": url}).encode(), EDGES, JSON))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    names = Names(KNOWN)
    home = tmp_path_factory.mktemp("urls-home")
    (home / "models").mkdir()
    with listening() as site, listening("127.0.0.1", site.port) as inner:
        policy = Policy(any_host=True, ports=frozenset({80, 443, site.port}))
        fetcher = Pictures(
            Courier(guard(names, "ours.example")), policy, most=MOST, seconds=1.5, at_once=6
        )
        with _serving(home, fetcher) as port:
            yield World(port, site, inner, names)


@contextmanager
def _serving(home: Path, fetcher: Pictures) -> Generator[int]:
    meter = TelemetryMeter(Metrics())
    with house(home, "edges", "process") as made:
        app = made.app
        services = Services(
            path=app.path,
            catalog=app.catalog,
            gate=app.gate,
            books=NullBooks(),
            meter=meter,
            most_files=16,
            hosts=frozenset(),
            fetcher=fetcher,
        )
        sock = listen("127.0.0.1", 0)
        config = uvicorn.Config(
            build_http(services),
            http=protocol(WireLimits(), lambda: None),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            headers=[("x-content-type-options", "nosniff")],
        )
        running = uvicorn.Server(config)
        thread = threading.Thread(target=lambda: uvloop.run(running.serve(sockets=[sock])))
        thread.start()
        try:
            yield int(sock.getsockname()[1])
        finally:
            running.should_exit = True
            thread.join(30)
            assert not thread.is_alive()
    meter.close()


@pytest.fixture
def world(server: World) -> Iterator[World]:
    """Whatever happens, the next good address is fetched and nobody came to the inner host."""
    server.site.says = {"/good.png": reply(200, GOOD, "Content-Type: image/png")}
    server.site.heard.clear()
    server.names.asked.clear()
    yield server
    server.site.says["/good.png"] = reply(200, GOOD)
    said = server.fetch(server.url("/good.png"))
    assert said.status == 200, said
    assert said.json["image"] == {"width": 48, "height": 32}
    assert server.inner.visits == 0


def refused(world: World, url: str) -> None:
    before = world.site.visits
    said = world.fetch(url)
    assert said.code == Code.URL_NOT_ALLOWED, (url, said)
    assert world.site.visits == before, url


def test_a_picture_is_fetched(world: World) -> None:
    said = world.fetch(world.url("/good.png?a=b#c"))
    assert said.status == 200
    assert said.json["image"] == {"width": 48, "height": 32}
    (heard,) = world.site.heard
    lines = heard.decode().split("\r\n")
    assert lines[0] == "GET /good.png?a=b HTTP/1.1"
    assert f"Host: site.example:{world.site.port}" in lines
    assert not any(one.lower().startswith(("authorization", "cookie", "referer")) for one in lines)
    assert world.names.asked == ["site.example"]


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "localhost.", "169.254.169.254", "2130706433", "0x7f.1"),
        *("0177.0.0.1", "127.1", "0x7f000001", "017700000001", "127.0.0.1.", "0", "[::]", "[::1]"),
        *("[::ffff:a9fe:a9fe]", "[::ffff:127.0.0.1]", "\u2460\u2461\u2466.0.0.1", "0.0.0.0"),
        *(
            "\uff11\uff12\uff17.0.0.1",
            "127\u30020\u30020\u30021",
            "127.0.0.01",
            "10.1",
            "[fe80::1]",
        ),
    ],
)
def test_b110_inner_hosts_in_every_spelling(world: World, host: str) -> None:
    refused(world, f"http://{host}/")
    refused(world, f"http://{host}:{world.site.port}/")


@pytest.mark.parametrize(
    "host",
    [
        *("[64:ff9b::7f00:1]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]", "[::127.0.0.1]"),
        *("[fec0::1]", "224.0.0.1", "192.0.0.8", "168.63.129.16", "[3fff::1]", "[ff02::1]"),
        *("[fd00:ec2::254]", "[2001:0:7f00:1::]", "100.100.100.200", "255.255.255.255"),
    ],
)
def test_b111_what_python_takes_for_global(world: World, host: str) -> None:
    refused(world, f"http://{host}/")


def test_b111_our_own_interfaces(world: World) -> None:
    for *_, where in socket.getaddrinfo(socket.gethostname(), None, type=socket.SOCK_STREAM):
        address = str(where[0])
        refused(world, f"http://[{address}]/" if ":" in address else f"http://{address}/")


def test_b113_mixed_answers(world: World) -> None:
    refused(world, world.url("/good.png", "mixed.example"))
    refused(world, world.url("/good.png", "inner.example"))
    assert world.names.asked == ["mixed.example", "inner.example"]


def test_b114_redirects_that_are_not_followed(world: World) -> None:
    inner = f"127.0.0.1:{world.site.port}"
    for place in (
        *(f"http://{inner}/", f"//{inner}/", f"//inner.example:{world.site.port}/x"),
        *("file:///etc/passwd", "gopher://site.example/", "ftp://site.example/", "data:,x"),
        *("javascript:x", f"http://x@{inner}/", f"http://site.example\\@{inner}/", "//", "http://"),
        *(f"http://site.example#@{inner}/", f"\\\\{inner}\\", f"/\\{inner}/", "http://[::1]/"),
        *(f"http://{inner}\t/", "http://169.254.169.254/latest", world.url("/", "ours.example")),
    ):
        world.site.says["/away"] = moved(place)
        said = world.fetch(world.url("/away"))
        assert said.code == Code.URL_NOT_ALLOWED, (place, said)


def test_b114_how_many_redirects(world: World) -> None:
    hops = {f"/{n}": moved(f"/{n - 1}", 300 + (n % 2) * 7 + 1 - n % 2) for n in range(1, 6)}
    world.site.says |= {**hops, "/0": reply(200, GOOD), "/loop": moved("/loop")}
    assert world.fetch(world.url("/3")).status == 200
    assert world.fetch(world.url("/4")).code == Code.URL_NOT_ALLOWED
    world.site.heard.clear()
    assert world.fetch(world.url("/loop")).code == Code.URL_NOT_ALLOWED
    assert world.site.paths() == ["/loop"] * 4
    world.site.says["/nowhere"] = reply(302)
    assert world.fetch(world.url("/nowhere")).code == Code.UPSTREAM_FETCH_FAILED


def test_b114_each_hop_is_looked_up_and_asked_by_name(world: World) -> None:
    world.site.says["/a"] = moved(world.url("/good.png", "other.example"), 308)
    world.names.asked.clear()
    assert world.fetch(world.url("/a")).status == 200
    assert world.names.asked == ["site.example", "other.example"]
    assert f"Host: other.example:{world.site.port}".encode() in world.site.heard[1]


def courier(world: World, tls: ssl.SSLContext | None = None) -> Courier:
    return Courier(guard(world.names, "ours.example"), tls=tls)


def anywhere(*sites: Site) -> Policy:
    return Policy(any_host=True, ports=frozenset(one.port for one in sites))


def test_b114_credentials_stay_where_they_belong(world: World) -> None:
    policy, secret = anywhere(world.site), {"Authorization": "Bearer secret", "Host": "evil"}
    world.site.says["/stay"] = moved("/good.png")
    world.site.says["/go"] = moved(world.url("/stay", "other.example"))
    bounds = Bounds(MOST, 5)
    courier(world).get(world.url("/stay"), policy, bounds, secret)
    assert [b"Bearer secret" in one for one in world.site.heard] == [True, True]
    assert not any(b"evil" in one for one in world.site.heard)
    world.site.heard.clear()
    courier(world).get(world.url("/go"), policy, bounds, secret)
    assert [b"Bearer secret" in one for one in world.site.heard] == [True, False, False]


@pytest.mark.parametrize(
    "url",
    [
        "http://site.example\\@127.0.0.1/",
        "http://site.example#@127.0.0.1",
        "http://site.example?@127.0.0.1",
        "http://site.example\t/",
        "http://site.exam\nple/",
        "http://site.example%00.evil.example/",
        "http://site.example/%00",
        "http://127.0.0.1#.site.example/",
        "http://127.0.0.1\\.site.example/",
        " http://site.example/",
        "http:site.example/",
        "http:///site.example/",
    ],
)
def test_b115_what_parsers_read_in_two_ways(world: World, url: str) -> None:
    refused(world, url)
    refused(world, url.replace("127.0.0.1", f"127.0.0.1:{world.site.port}"))
    assert not world.names.asked


@pytest.mark.parametrize(
    "url",
    [
        *("http://u:p@site.example/", "http://@site.example/", "http://site.example:22/"),
        *("http://site.example:6379/", "http://site.example:8000/", "gopher://site.example/"),
        *("ftp://site.example/", "data:image/png;base64,AAAA", "file:///etc/passwd"),
        *(
            "unix:///run/x.sock",
            "http+unix://%2Frun%2Fx/",
            "rtsp://site.example/",
            "//site.example/",
        ),
    ],
)
def test_b116_users_ports_and_schemes(world: World, url: str) -> None:
    refused(world, url)
    assert not world.names.asked


def drip(piece: bytes, pause: float, before: bytes = b"") -> Callable[[socket.socket], None]:
    def say(sock: socket.socket) -> None:
        sock.sendall(before)
        ends = time.monotonic() + 4
        while time.monotonic() < ends:
            sock.sendall(piece)
            time.sleep(pause)

    return say


CHUNKED = opening(200, "Transfer-Encoding: chunked")
BOMB = gzip.compress(bytes(50_000_000))
SLOW = opening(200, "Content-Length: 100000")


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (drip(b"x", 0.05, SLOW), Code.FETCH_TIMEOUT),
        (drip(b"X-A: b\r\n", 0.05, b"HTTP/1.1 200 OK\r\n"), Code.FETCH_TIMEOUT),
        (drip(b"", 0.05), Code.FETCH_TIMEOUT),
        (drip(b"ffff\r\n" + b"x" * 65535 + b"\r\n", 0, CHUNKED), Code.TOO_LARGE),
        (drip(b"x" * 65536, 0, opening(200)), Code.TOO_LARGE),
        (drip(b"1\r\nx\r\n" * 9000, 0, CHUNKED), Code.UPSTREAM_FETCH_FAILED),
        (drip(b"1;" + b"x" * 65536, 0, CHUNKED), Code.UPSTREAM_FETCH_FAILED),
        (drip(b"HTTP/1.1 100 Continue\r\n\r\n", 0), Code.UPSTREAM_FETCH_FAILED),
        (drip(b"X-A: b\r\n", 0, b"HTTP/1.1 200 OK\r\n"), Code.UPSTREAM_FETCH_FAILED),
        (drip(b"x" * 65536, 0, b"HTTP/1.1 200 OK\r\nX: "), Code.UPSTREAM_FETCH_FAILED),
        (drip(b"X-A: b\r\n", 0, CHUNKED + b"0\r\n"), Code.UPSTREAM_FETCH_FAILED),
        (opening(200, "Content-Length: 1000") + GOOD[:50], Code.UPSTREAM_FETCH_FAILED),
        (opening(200, "Content-Length: 999999999999"), Code.TOO_LARGE),
        (opening(200, "Content-Length: -1") + GOOD, Code.UPSTREAM_FETCH_FAILED),
        (opening(200, "Content-Length: 1", "Content-Length: 2"), Code.UPSTREAM_FETCH_FAILED),
        (opening(200, "Content-Length: 60") + GOOD, Code.IMAGE_CORRUPT),
        (CHUNKED + b"5\r\nhello\r\n", Code.UPSTREAM_FETCH_FAILED),
        (CHUNKED + b"zz\r\n", Code.UPSTREAM_FETCH_FAILED),
        (reply(200, BOMB, "Content-Encoding: gzip"), Code.UPSTREAM_FETCH_FAILED),
        (reply(200, gzip.compress(GOOD)), Code.UNSUPPORTED_MEDIA),
        (b"", Code.UPSTREAM_FETCH_FAILED),
        (b"SSH-2.0-OpenSSH_9\r\n", Code.UPSTREAM_FETCH_FAILED),
        (opening(101, "Upgrade: h2c", "Connection: upgrade"), Code.UPSTREAM_FETCH_FAILED),
        (reply(200, b"<html>secret</html>", "Content-Type: image/png"), Code.UNSUPPORTED_MEDIA),
        (reply(404, b"secret"), Code.UPSTREAM_FETCH_FAILED),
        (reply(401, b"secret", "WWW-Authenticate: Basic"), Code.UPSTREAM_FETCH_FAILED),
        (reply(206, GOOD), Code.UPSTREAM_FETCH_FAILED),
        (reply(204), Code.UPSTREAM_FETCH_FAILED),
        (reply(500, bytes(2 << 20)), Code.UPSTREAM_FETCH_FAILED),
        (reply(200, bytes(50_000_000)), Code.TOO_LARGE),
        (reply(200), Code.EMPTY_FILE),
    ],
)
def test_b117_b118_hosts_that_misbehave(
    world: World, said: bytes | Callable[[socket.socket], None], code: Code
) -> None:
    world.site.says["/x"] = said
    began = time.monotonic()
    got = world.fetch(world.url("/x"))
    assert got.code == code, got
    assert time.monotonic() - began < 2.2
    assert b"secret" not in got.body


def test_honest_answers_in_every_framing(world: World) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\nContent-Length: 7\r\n\r\n"
    chunks = b"".join(b"%x\r\n%b\r\n" % (1, GOOD[at : at + 1]) for at in range(len(GOOD)))
    for said in (
        early + reply(200, GOOD),
        opening(200) + GOOD,
        b"HTTP/1.0 200 OK\r\n\r\n" + GOOD,
        CHUNKED + chunks + b"0\r\nX-Trailer: y\r\n\r\n",
        reply(200, GOOD, "Content-Encoding: identity") + b"more that nobody asked for",
    ):
        world.site.says["/x"] = said
        assert world.fetch(world.url("/x")).status == 200, said[:80]


def test_b117_the_pace_of_a_body(world: World) -> None:
    world.site.says["/x"] = drip(b"x", 0.02, SLOW)
    bounds = Bounds(MOST, 20, rate=500, window=0.4)
    began = time.monotonic()
    with pytest.raises(HeliographError) as caught:
        courier(world).get(world.url("/x"), anywhere(world.site), bounds)
    assert caught.value.code is Code.FETCH_TIMEOUT
    assert time.monotonic() - began < 1.0


def test_slow_hosts_stop_nobody_and_take_only_so_much_room(world: World) -> None:
    world.site.says["/x"] = drip(b"x", 0.05, SLOW)
    with ThreadPoolExecutor(3) as crowd:
        slow = [crowd.submit(world.fetch, world.url("/x")) for _ in range(3)]
        time.sleep(0.3)
        said = ask(world, post(GOOD))
        assert said.status == 200
        assert said.seconds < 0.5
        said = world.fetch(world.url("/good.png"))
        assert said.code == Code.OVERLOADED
        assert said.headers["retry-after"] == "1"
        assert {one.result().code for one in slow} == {Code.FETCH_TIMEOUT}


def test_b117_certificates(world: World) -> None:
    ours, theirs = trustme.CA(), trustme.CA()
    trusting = ssl.create_default_context()
    ours.configure_trust(trusting)

    def code(ca: trustme.CA, name: str, host: str = "site.example") -> Code | None:
        """What a client that trusts `ours` says of a host with this certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert(name).configure_cert(context)
        with listening(tls=context) as site:
            site.says = {"/": reply(200, GOOD), "/down": moved(world.url("/good.png"))}
            address = f"https://{host}:{site.port}/"
            policy = anywhere(site, world.site)
            try:
                found = courier(world, trusting).get(address, policy, Bounds(MOST, 5))
            except HeliographError as error:
                assert not site.heard
                return error.code
            assert found.body == GOOD
            with pytest.raises(HeliographError) as caught:
                courier(world, trusting).get(address + "down", policy, Bounds(MOST, 5))
            assert caught.value.code is Code.URL_NOT_ALLOWED, "https led to http"
            return None

    assert code(ours, "site.example") is None
    assert code(ours, OUTSIDE, OUTSIDE) is None
    for ca, name in ((theirs, "site.example"), (ours, "other.example"), (ours, OUTSIDE)):
        assert code(ca, name) is Code.UPSTREAM_FETCH_FAILED
    plain = f"https://site.example:{world.site.port}/"
    with pytest.raises(HeliographError) as caught:
        courier(world, trusting).get(plain, anywhere(world.site), Bounds(MOST, 5))
    assert caught.value.code is Code.UPSTREAM_FETCH_FAILED


@contextmanager
def full() -> Generator[int]:
    """A port that answers no further packet: its queue is full."""
    with contextlib.ExitStack() as undo:
        sock = undo.enter_context(socket.socket())
        sock.bind((OUTSIDE, 0))
        sock.listen(0)
        for _ in range(3):
            one = undo.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(sock.getsockname())
        time.sleep(0.1)
        yield int(sock.getsockname()[1])


def test_b119_closed_and_filtered_ports_look_alike(world: World) -> None:
    with socket.socket() as sock, full() as filtered:
        sock.bind((OUTSIDE, 0))
        closed = int(sock.getsockname()[1])
        policy = Policy(any_host=True, ports=frozenset({closed, filtered}))
        seen: list[tuple[str, str, float]] = []
        for port in (closed, filtered):
            began = time.monotonic()
            url = f"http://site.example:{port}/"
            with pytest.raises(HeliographError) as caught:
                courier(world).get(url, policy, Bounds(MOST, 5, connect=0.5))
            error = caught.value
            seen.append((error.code, error.detail, time.monotonic() - began))
        assert seen[0][:2] == seen[1][:2]
        assert seen[0][0] == Code.UPSTREAM_FETCH_FAILED
        assert abs(seen[0][2] - seen[1][2]) < 0.1
        assert seen[0][2] == pytest.approx(0.5, abs=0.1)


def test_b119_inner_ports_look_alike(world: World) -> None:
    """Open, closed or asking for a password: nobody has looked, so nobody can tell."""
    said = [world.fetch(f"http://127.0.0.1:{port}/") for port in (80, 443, world.site.port)]
    assert len({(one.code, one.json["detail"]) for one in said}) == 1
    assert max(one.seconds for one in said) < 0.1


def test_b120_our_own_names(world: World) -> None:
    refused(world, world.url("/good.png", "ours.example"))
    refused(world, world.url("/good.png", "OURS.example."))
    assert not world.names.asked


def test_b121_messages_pass_the_same_guard(world: World) -> None:
    policy, headers = anywhere(world.site), {"Content-Type": "application/json", "X-Sign": "s=1"}
    world.site.says |= {"/hook": reply(202, b"x" * 99), "/away": moved(world.url("/hook"), 307)}
    world.site.says["/stuck"] = drip(b"", 0.05)
    post_ = courier(world).post
    assert post_(world.url("/hook"), b'{"a":1}', headers, policy, 5) == 202
    head, _, body = world.site.heard[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /hook HTTP/1.1\r\n")
    assert b"X-Sign: s=1" in head
    assert body == b'{"a":1}'
    # A message is for its receiver alone: it is not carried on.
    assert post_(world.url("/away"), b"x", headers, policy, 5) == 307
    assert world.site.paths() == ["/hook", "/away"]
    for url, code in (
        (world.url("/hook", "inner.example"), Code.URL_NOT_ALLOWED),
        (f"http://127.0.0.1:{world.site.port}/", Code.URL_NOT_ALLOWED),
        (world.url("/hook", "ours.example"), Code.URL_NOT_ALLOWED),
        (world.url("/stuck"), Code.FETCH_TIMEOUT),
    ):
        with pytest.raises(HeliographError) as caught:
            post_(url, b"x", headers, policy, 0.5)
        assert caught.value.code is code


def test_b121_addresses_that_operators_set() -> None:
    for url in (
        *("http://169.254.169.254/", "https://127.0.0.1:9000/bucket", "https://10.0.0.5/"),
        *("https://[::1]/.well-known/openid-configuration", "https://localhost/directory"),
    ):
        with pytest.raises(HeliographError) as caught:
            Courier().check(url, Policy(any_host=True, ports=frozenset({80, 443, 9000})))
        assert caught.value.code is Code.URL_NOT_ALLOWED


def test_answers_of_other_programs_are_whole_if_asked_for(world: World) -> None:
    # What follows the last chunk is no header.
    chunks = b"d\r\n" + b'{"error":"x"}' + b"\r\n0\r\nContent-Type: text/html\r\n\r\n"
    head = opening(400, "Transfer-Encoding: chunked", "Content-Type: application/json; a=b")
    world.site.says["/token"] = head + chunks
    question = Question("POST", {}, b"a=b", Kept.ALL)
    said = courier(world).send(world.url("/token"), question, anywhere(world.site), Bounds(MOST, 5))
    assert (said.status, said.media, said.body) == (400, "application/json", b'{"error":"x"}')


@pytest.mark.parametrize("value", ["a\r\nHost: evil", "\u00e9", "a\0"])
def test_headers_cannot_carry_more_than_themselves(world: World, value: str) -> None:
    with pytest.raises(ValueError, match="this is a bug"):
        courier(world).post(world.url("/"), b"", {"X": value}, anywhere(world.site), 5)
    assert not world.site.heard


def test_bodies_that_name_no_address(world: World) -> None:
    for body, code in (
        ({"url": 7}, Code.VALIDATION),
        ({"url": ""}, Code.VALIDATION),
        ({"url": None}, Code.VALIDATION),
        ({"url": "http://a.example/" + "x" * 2048}, Code.VALIDATION),
        ({"url": "http://a.example/", "image": "QQ=="}, Code.VALIDATION),
        ({"url": "http://a.example/", "headers": {}}, Code.UNKNOWN_FIELD),
    ):
        said = ask(world, post(json.dumps(body).encode(), EDGES, JSON))
        assert said.code == code, body


def test_fetching_ends_with_its_loop(world: World) -> None:
    """A cancelled fetch leaves no connection behind."""
    world.site.says["/x"] = drip(b"x", 0.02, SLOW)

    async def leave() -> None:
        asked = courier(world).ask(
            world.url("/x"), Question(), anywhere(world.site), Bounds(MOST, 20)
        )
        task = asyncio.ensure_future(asked)
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(leave())
    assert len(world.site.heard) == 1


def _namespaces() -> bool:
    made = subprocess.run(["unshare", "-rmn", "ip", "link"], capture_output=True, check=False)
    return made.returncode == 0


@pytest.mark.skipif(not _namespaces(), reason="no network namespaces for unprivileged users here")
def test_b112_b113_names_that_lie(tmp_path: Path) -> None:
    """Rebinding and its sisters against the system's own resolver, and every default."""
    yes, no = "{} at 93.184.215.14", str(Code.URL_NOT_ALLOWED)
    rows = [
        ("http://ok.example/", yes.format("ok.example")),
        ("http://rebind.example/", yes.format("rebind.example")),
        ("http://rebind.example/again", no),
        ("http://mixed.example/", no),
        ("http://mixed6.example/", no),
        ("http://nat64.example/", no),
        ("http://alias.example/", yes.format("alias.example")),
        ("http://inner-alias.example/", no),
        ("http://many.example/", no),
        ("http://own.example/", no),
        ("http://5.9.0.1/", no),
        # The search list of this machine makes it a public name; that is not what was asked for.
        ("http://lonely.example/", no),
        ("http://nosuch.example/", no),
        ("http://localhost./", no),
        ("http://ok.example/to/own.example", no),
        ("http://ok.example/to/alias.example", yes.format("alias.example")),
    ]
    done = subprocess.run(
        ["unshare", "-rmn", sys.executable, INTERNET, tmp_path, *(url for url, _ in rows)],
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr.decode()[-4000:]
    told = json.loads(done.stdout)
    assert list(zip([url for url, _ in rows], told["outcomes"], strict=True)) == rows
    assert told["visitors"] == []
    # One question for each time it was asked for; what has been answered is what is used.
    assert told["asked"]["rebind.example A"] == 2
    assert told["asked"]["alias.example A"] == 2
    assert told["asked"]["mixed.example A"] == 1
    assert "lonely.example.corp.example A" not in told["asked"]
    assert PUBLIC.any_host
