"""Ways to an address: who must answer, and through the operator's proxy."""

from __future__ import annotations

import base64
import logging
import socket
from collections.abc import Callable
from ipaddress import IPv4Address

import pytest

from heliograph.core.errors import Code, HeliographError
from heliograph.outbound.exchange import Bounds
from heliograph.outbound.fetch import Courier
from heliograph.outbound.guard import Guard
from heliograph.outbound.routes import Direct, Proxied, check_peer
from heliograph.outbound.targets import PUBLIC
from support.outside import Names, Site, listening, reply

BOUNDS = Bounds(1000, 5, connect=0.5)


def test_somebody_else_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as sock:
        sock.connect(server.getsockname())
        check_peer(sock, IPv4Address("127.0.0.1"))
        with pytest.raises(ConnectionError):
            check_peer(sock, IPv4Address("127.0.0.2"))


def tunnel(site: Site, answer: bytes) -> Callable[[socket.socket], None]:
    """A proxy's answer, and behind it a host of plain HTTP."""

    def say(sock: socket.socket) -> None:
        sock.sendall(answer)
        if b"200" in answer:
            site.heard.append(sock.recv(1 << 16))
            sock.sendall(reply(200, b"hello"))

    return say


def test_a_proxy_is_asked_by_name() -> None:
    names = Names({})
    with listening("127.0.0.1") as site:
        site.says["site.example:80"] = tunnel(site, b"HTTP/1.1 200 Connected\r\nX: y\r\n\r\n")
        courier = Courier(Guard(resolver=names), proxy=f"http://us%40:pw@127.0.0.1:{site.port}")
        assert courier.get("http://site.example/x", PUBLIC, BOUNDS).body == b"hello"
    wish, asked = site.heard
    assert wish.startswith(b"CONNECT site.example:80 HTTP/1.1\r\nHost: site.example:80\r\n")
    assert base64.b64encode(b"us@:pw") in wish
    assert asked.startswith(b"GET /x HTTP/1.1\r\nHost: site.example\r\n")
    assert b"Basic" not in asked
    assert not names.asked


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 403 No\r\n\r\n", b"junk", b"x" * 20_000])
def test_a_proxy_that_refuses(answer: bytes) -> None:
    with listening("127.0.0.1") as site:
        site.says["site.example:80"] = answer
        courier = Courier(proxy=f"http://127.0.0.1:{site.port}")
        with pytest.raises(HeliographError) as caught:
            courier.get("http://site.example/", PUBLIC, BOUNDS)
    assert caught.value.code is Code.UPSTREAM_FETCH_FAILED
    assert len(site.heard) == 1


def test_a_proxy_is_not_asked_for_what_the_guard_refuses() -> None:
    with listening("127.0.0.1") as site:
        courier = Courier(Guard(frozenset({"we.example"})), proxy=f"http://127.0.0.1:{site.port}")
        for url in ("http://127.0.0.1/", "http://[::1]/", "ftp://a.example/", "http://we.example/"):
            with pytest.raises(HeliographError) as caught:
                courier.get(url, PUBLIC, BOUNDS)
            assert caught.value.code is Code.URL_NOT_ALLOWED
        assert not site.visits


@pytest.mark.parametrize("proxy", ["proxy:3128", "https://proxy:1", "http://proxy", "http://:80"])
def test_what_is_no_proxy(proxy: str) -> None:
    with pytest.raises(HeliographError) as caught:
        Proxied(Guard(), proxy)
    assert caught.value.code is Code.VALIDATION


def test_proxies_are_told_of_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://user:secret@proxy:1")
    with caplog.at_level(logging.WARNING):
        Direct(Guard())
        Proxied(Guard(), "http://user:secret@proxy.example:3128")
    said = [one.getMessage() for one in caplog.records]
    assert len(said) == 2
    assert "HTTP_PROXY is set, but not followed" in said[0]
    assert "proxy.example:3128" in said[1]
    assert "secret" not in caplog.text
