"""What browsers are told: on every kind of answer, to other sites' pages, behind a proxy."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from support.pictures import noise
from support.server import Server, running

APP, EVIL = "https://app.example", "https://evil.example"
_PAGE = {"accept": "text/html"}
_MODELS = ("--models", "process", "--grpc-port", "-1")


@pytest.fixture(scope="module")
def crossed(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a key that lets the pages of two origins in."""
    environ = {"HELIOGRAPH_SERVER_CORS": f"{APP}, http://localhost:5173"}
    log = tmp_path_factory.mktemp("crossed") / "log"
    with running(home, *_MODELS, stderr=log, environ=environ) as server:
        yield server


def answers(server: Server) -> list[httpx.Response]:
    """One of every kind: a page, a script, JSON, a picture, refusals of every layer, nothing."""
    with httpx.Client(base_url=server.address) as http:
        key = server.headers
        picture = http.post("/api/v1/process?ops=resize:8&format=png", content=noise(), headers=key)
        assert picture.headers["content-type"] == "image/png"
        page = http.get("/", headers=_PAGE)
        return [
            page,
            picture,
            http.get("/", headers=_PAGE | {"if-none-match": page.headers["etag"]}),
            http.get("/"),
            http.get("/assets/home.js"),
            http.get("/openapi.json"),
            http.get("/healthz"),
            http.get("/metrics", headers=key),
            http.get("/api/v1/models", headers=key),
            http.get("/v2"),
            http.get("/v1/models/process", headers=key),
            http.get("/nothing"),
            http.get("/healthz", headers={"host": "evil.example"}),
            http.put("/healthz"),
            http.post("/api/v1/process", content=b"nothing"),
            http.post("/api/v1/process?ops=resize:8", content=b"nothing", headers=key),
            http.get("/healthz", headers={"x": "y" * 20_000}),
            http.get("/healthz", headers={"content-type": "a", "Content-Type": "b"}),
        ]


def test_every_answer_carries_the_headers_once(crossed: Server) -> None:
    statuses: set[int] = set()
    for reply in answers(crossed):
        statuses.add(reply.status_code)
        said = reply.headers
        assert said["x-content-type-options"] == "nosniff", reply
        assert said["referrer-policy"] == "no-referrer", reply
        assert said["cross-origin-resource-policy"] == "same-origin", reply
        assert "origin" in said["vary"], reply
        assert "strict-transport-security" not in said, reply
        assert "access-control-allow-origin" not in said, reply
        assert "server" not in said, reply
    assert statuses >= {200, 304, 400, 401, 404, 405, 415, 431}


def test_pages_say_what_they_may_load(crossed: Server) -> None:
    for path in ("/", "/docs", "/docs/errors"):
        policy = httpx.get(crossed.address + path, headers=_PAGE).headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy


def preflight(server: Server, origin: str, path: str = "/api/v1/process") -> httpx.Response:
    asks = {
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization",
    }
    return httpx.options(server.address + path, headers={"origin": origin} | asks)


def test_a_page_that_is_let_in_may_ask_first(crossed: Server) -> None:
    reply = preflight(crossed, APP)
    assert (reply.status_code, reply.content) == (204, b"")
    assert reply.headers["access-control-allow-origin"] == APP
    assert "POST" in reply.headers["access-control-allow-methods"]
    assert "authorization" in reply.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in reply.headers
    assert int(reply.headers["access-control-max-age"]) > 0


@pytest.mark.parametrize(
    "origin", [EVIL, "null", f"{APP}.evil.example", "http://app.example", f"{APP}:444", f"{APP}/"]
)
def test_others_are_not(crossed: Server, origin: str) -> None:
    assert preflight(crossed, origin).status_code == 405
    for reply in (
        preflight(crossed, origin),
        httpx.get(crossed.address + "/healthz", headers={"origin": origin}),
    ):
        assert not [name for name in reply.headers if name.startswith("access-control-")]


def test_a_page_reads_answers_and_refusals_of_every_layer(crossed: Server) -> None:
    with httpx.Client(base_url=crossed.address, headers={"origin": APP}) as http:
        replies = [
            http.post("/api/v1/process?ops=resize:8", content=noise(), headers=crossed.headers),
            http.post("/api/v1/process", content=noise()),
            http.get("/nothing"),
            http.put("/healthz"),
            http.post("/api/v1/process", content=b"x" * 30_000_000, headers=crossed.headers),
        ]
    for reply in replies:
        assert reply.headers["access-control-allow-origin"] == APP, reply
        assert "x-request-id" in reply.headers["access-control-expose-headers"], reply
    assert {one.status_code for one in replies} >= {200, 401, 404, 405}


def test_an_ordinary_options_is_no_preflight(crossed: Server) -> None:
    assert httpx.options(crossed.address + "/healthz", headers={"origin": APP}).status_code == 405


def test_nobody_by_default(keyed_server: Server) -> None:
    assert preflight(keyed_server, APP).status_code == 405
    reply = httpx.get(keyed_server.address + "/healthz", headers={"origin": APP})
    assert "access-control-allow-origin" not in reply.headers
    assert "vary" not in reply.headers


def test_a_pipeline_mixes_no_origins(crossed: Server) -> None:
    """Two pages behind one proxy's connection: each answer is for the one who asked."""
    asked = b"".join(
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n%s\r\n" % origin
        for origin in (
            b"Origin: https://app.example\r\n",
            b"",
            b"Origin: http://localhost:5173\r\n",
        )
    )
    with socket.create_connection(("127.0.0.1", crossed.port), 5) as sock:
        sock.sendall(asked)
        said = b""
        while said.count(b'{"status":"live"}') < 3:
            said += sock.recv(4096)
    first, second, third = said.split(b'{"status":"live"}')[:3]
    assert b"allow-origin: https://app.example\r\n" in first
    assert b"allow-origin" not in second
    assert b"allow-origin: http://localhost:5173\r\n" in third


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": EVIL, "content-type": "application/json"},
        {"origin": EVIL, "content-type": "text/plain"},
        {"origin": "null", "content-type": "text/plain"},
        {"content-type": "application/json"},
        {
            "origin": APP,
            "content-type": "application/json",
        },  # may call with a key, not with a session
    ],
)
def test_a_session_changes_nothing_from_elsewhere(crossed: Server, headers: dict[str, str]) -> None:
    """B141."""
    address = crossed.address + "/api/v1/models/process/promote"
    # The other name is a session's only over TLS, where browsers bind it to the host.
    for name, code in (
        ("heliograph", (403, "csrf")),
        ("__Host-heliograph", (401, "unauthenticated")),
    ):
        sent = headers | {"cookie": f"{name}=0123456789abcdef"}
        reply = httpx.post(address, content=b"{}", headers=sent)
        assert (reply.status_code, reply.json()["code"]) == code
