"""Every code of the closed list: produced here on a real socket, held elsewhere, or not yet.

One row a code; a new code in `core/errors.py` fails this module until it has a row.
"""

from __future__ import annotations

import json
import signal
import socket
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from heliograph.core.errors import Code
from support import bombs, models, pictures
from support.server import Server, running
from support.tenants import Site, site
from support.wire import SEEN, Wire, ask, head, post

GOOD = pictures.file(pictures.scene())
EDGES = "/api/v1/edges"
FORM = "Content-Type: multipart/form-data; boundary=B"
JSON = "Content-Type: application/json"
CHUNKED = "Transfer-Encoding: chunked"

PLAIN: dict[Code, bytes] = {
    Code.BAD_HEADER: b"?\r\n\r\n",
    Code.BAD_HOST: head("GET", "/healthz", host="evil.example"),
    Code.BAD_REQUEST: post(GOOD, f"{EDGES}?low=1&low=2"),
    Code.EMPTY_FILE: post(b"", EDGES),
    Code.HEADERS_TOO_LARGE: head("GET", "/healthz", "X: " + "x" * 17_408),
    Code.IMAGE_CORRUPT: post(GOOD[:60], EDGES),
    Code.IMAGE_TOO_LARGE: post(bombs.png_header(65_535, 65_535), EDGES),
    Code.JSON_BAD_NUMBER: post(b"[NaN]", EDGES, JSON),
    Code.JSON_DUPLICATE_KEY: post(b'{"a":1,"a":1}', EDGES, JSON),
    Code.JSON_TOO_DEEP: post(b"[" * 101, EDGES, JSON),
    Code.KEY_IN_URL: post(GOOD, f"{EDGES}?token=x"),
    Code.MALFORMED_JSON: post(b"{", EDGES, JSON),
    Code.METADATA_TOO_LARGE: post(pictures.png_with(GOOD, b"tEXt", bytes(5 << 20)), EDGES),
    Code.METHOD_NOT_ALLOWED: head("DELETE", EDGES),
    Code.MULTIPART_MALFORMED: post(b"--B\r\n", EDGES, FORM),
    Code.NOT_FOUND: post(GOOD, "/api/v1/models/nosuch/predict"),
    Code.RANGE: post(GOOD, EDGES, "Range: bytes=0-0,1-1"),
    Code.TOO_LARGE: head("POST", EDGES, "Content-Length: 5368709120"),
    Code.TOO_MANY_CHUNKS: head("POST", EDGES, CHUNKED) + b"1\r\nx\r\n" * 65_537,
    Code.TOO_MANY_FRAMES: post(bombs.gif(100), EDGES),
    Code.TOO_MANY_PARTS: post(b"--B\r\n\r\n\r\n" * 20 + b"--B--\r\n", EDGES, FORM),
    Code.UNKNOWN_FIELD: post(GOOD, f"{EDGES}?nosuch=1"),
    Code.UNSUPPORTED: post(b'{"url":"http://x/"}', EDGES, JSON),
    Code.UNSUPPORTED_ENCODING: post(GOOD, EDGES, "Content-Encoding: gzip"),
    Code.UNSUPPORTED_MEDIA: post(b"no picture", EDGES),
    Code.VALIDATION: post(GOOD, f"{EDGES}?low=-1"),
}
"""What any server answers to one request."""

ODD = {
    Code.BAD_SHAPE,
    Code.DRAINING,
    Code.INFERENCE_TIMEOUT,
    Code.MODEL_CRASHED,
    Code.MODEL_UNAVAILABLE,
    Code.OVERLOADED,
    Code.REQUEST_TIMEOUT,
    Code.TOO_MANY_CONNECTIONS,
    Code.UNAUTHENTICATED,
}
"""What needs a server of its own kind; each has a test below."""

ELSEWHERE = {
    Code.INTERNAL: "a bug of ours; tests/unit/edge/test_errors.py plants one",
    Code.CONFLICT: "two operators at once; tests/stories/test_releases.py",
    Code.MODEL_CRASHED_ON_LOAD: "tests/hostile/test_walls.py",
    Code.MODEL_EXTERNAL_DATA: "told to who imports; tests/hostile/test_models_onnx.py",
    Code.MODEL_FORMAT: "likewise; tests/hostile/test_models.py",
    Code.MODEL_INVALID: "told to operators at the start; tests/unit/registry and unit/runtimes",
    Code.MODEL_OP_FORBIDDEN: "told to who imports; tests/hostile/test_models_onnx.py",
    Code.MODEL_RESOURCE_LIMIT: "likewise; also tests/unit/serving/test_budget.py",
    Code.MODEL_SIGNATURE: "told to operators; tests/unit/registry/test_signing.py",
    Code.STORAGE_FULL: "told to operators; tests/unit/registry/test_repository.py",
    Code.UNSAFE_FORMAT: "told to who imports; tests/hostile/test_models.py",
    Code.CONSENT_REQUIRED: "asked before a call of such a model; tests/unit/accounts/privacy",
}
KEPT = {
    Code.CSRF,
    Code.DB_UNAVAILABLE,
    Code.FETCH_TIMEOUT,
    Code.FORBIDDEN,
    Code.IDEMPOTENCY_IN_PROGRESS,
    Code.IDEMPOTENCY_MISMATCH,
    Code.IDENTITY_REQUIRED,
    Code.NAME_TAKEN,
    Code.QUOTA_EXCEEDED,
    Code.RATE_LIMITED,
    Code.SUSPENDED,
    Code.UNKNOWN_FILTER,
    Code.UPSTREAM_FETCH_FAILED,
    Code.URL_NOT_ALLOWED,
}
"""What needs a server that keeps accounts; each has a test below."""
SILENT = {one for one in ELSEWHERE if one is not Code.CONFLICT}
"""What no raw client of these tests may ever be answered with."""


def test_every_code_has_a_row() -> None:
    rows = [*PLAIN, *ODD, *KEPT, *ELSEWHERE]
    assert sorted(rows) == sorted(Code), "each code exactly once"


def test_no_test_saw_a_code_that_cannot_be() -> None:
    assert not SEEN & {str(code) for code in SILENT}


@pytest.mark.parametrize("code", PLAIN)
def test_codes_of_any_server(lean: Server, code: Code) -> None:
    assert ask(lean, PLAIN[code]).code == code


def test_unauthenticated(keyed_server: Server) -> None:
    for request in (
        post(GOOD, EDGES),
        post(GOOD, EDGES, key="wrong"),
        post(GOOD, EDGES, key=keyed_server.key + "x"),
        post(GOOD, EDGES, b"Authorization: Bearer \xff\xfe"),
        post(GOOD, EDGES, "Authorization: Basic " + keyed_server.key),
        head("GET", "/api/v1/models"),
        head("GET", "/api/v1/models/edges"),
        head("GET", "/metrics"),
        # Before a byte of the body, and whatever else is wrong with it.
        head("POST", EDGES, "Content-Length: 20000000", "Expect: 100-continue"),
    ):
        reply = ask(keyed_server, request)
        assert reply.code == Code.UNAUTHENTICATED
        assert reply.headers["www-authenticate"].startswith("Bearer")
    assert ask(keyed_server, post(GOOD, EDGES, key=keyed_server.key)).status == 200


def test_request_timeout_and_too_many_connections(hurried: Server) -> None:
    with Wire(hurried) as wire:
        wire.send(b"GET / HT")
        assert wire.read().code == Code.REQUEST_TIMEOUT
    crowd = [Wire(hurried) for _ in range(21)]
    assert crowd[-1].read().code == Code.TOO_MANY_CONNECTIONS
    for one in crowd:
        one.socket.close()
    time.sleep(0.2)


@pytest.fixture(scope="module")
def odd_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One seat, a short deadline, and models that crash, dawdle, lie and are not there."""
    home = tmp_path_factory.mktemp("odd-home")
    models.moody_package(home)
    models.slow_package(home, rounds=4000)
    models.colour_package(home, "liar", output={"decoder": "scores", "output": "nosuch"})
    models.colour_package(home, "gone")
    (home / "models" / "gone" / "model.onnx").unlink()
    environ = {"HELIOGRAPH_SERVING_SEATS": "1", "HELIOGRAPH_SERVING_DEADLINE": "0.5"}
    options = ("--open", "--models", "edges,moody,slow,liar,gone")
    with running(home, *options, stderr=home / "stderr", environ=environ, ready=False) as started:
        ends = time.monotonic() + 30
        while "loading" in ask(started, head("GET", "/readyz"), method="GET").body.decode():
            assert time.monotonic() < ends
            time.sleep(0.1)
        yield started


def predict(server: Server, model: str, picture: bytes = GOOD) -> str:
    return ask(server, post(picture, f"/api/v1/models/{model}/predict")).code


def test_models_that_misbehave(odd_server: Server) -> None:
    assert predict(odd_server, "gone") == Code.MODEL_UNAVAILABLE
    assert predict(odd_server, "liar") == Code.BAD_SHAPE
    assert predict(odd_server, "moody") == ""
    assert predict(odd_server, "moody", pictures.plain((0, 0, 0))) == Code.MODEL_CRASHED
    assert predict(odd_server, "moody") == ""


def test_no_time_and_no_room(odd_server: Server) -> None:
    with ThreadPoolExecutor(1) as other:
        slow = other.submit(predict, odd_server, "slow")
        time.sleep(0.2)
        reply = ask(odd_server, post(GOOD, EDGES))
        assert reply.code == Code.OVERLOADED
        assert reply.seconds < 0.1
        assert "retry-after" in reply.headers
        assert slow.result() == Code.INFERENCE_TIMEOUT
    ends = time.monotonic() + 20
    while ask(odd_server, post(GOOD, f"{EDGES}?format=json")).code == Code.OVERLOADED:
        assert time.monotonic() < ends, "the seat was lost"
        time.sleep(0.1)


def test_draining(home: Path, tmp_path: Path) -> None:
    environ = {"HELIOGRAPH_SERVER_GRACE": "1"}
    options = ("--open", "--models", "edges")
    with running(home, *options, stderr=tmp_path / "stderr", environ=environ) as server:
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert ask(server, head("GET", "/readyz"), method="GET").code == Code.DRAINING
        assert server.process.wait(20) == 0


# --- a server that keeps accounts ------------------------------------------------------------


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Pictures by address through a proxy that never answers, and identities for keys."""
    home = tmp_path_factory.mktemp("kept")
    models.slow_package(home, rounds=400)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        environ = {
            "HELIOGRAPH_FETCH_ALLOW": "pictures.example,127.0.0.1",
            "HELIOGRAPH_FETCH_SECONDS": "1",
            "HELIOGRAPH_FETCH_PROXY": f"http://127.0.0.1:{mute.getsockname()[1]}",
            "HELIOGRAPH_ACCOUNTS_IDENTITY": "create_keys=real_name",
        }
        with site(home, "--models", "edges,slow", environ=environ) as made:
            yield made


def say(target: str, said: object, key: str, *lines: str, method: str = "POST") -> bytes:
    """A request with a JSON body."""
    body = json.dumps(said).encode()
    length = f"Content-Length: {len(body)}"
    return head(method, target, JSON, length, *lines, key=key) + body


def key_of(kept: Site, **rules: object) -> str:
    """A new key of our workspace, made by the operator."""
    line = f"Heliograph-Workspace: {kept.ours.workspace}"
    wishes = {"name": "k", **rules}
    return ask(kept.server, say("/api/v1/keys", wishes, kept.server.key, line)).json["key"]


def test_forbidden_unknown_filter_and_name_taken(kept: Site) -> None:
    server, key = kept.server, kept.server.key
    assert ask(server, post(GOOD, EDGES, key=kept.ours.weak)).code == Code.FORBIDDEN
    assert ask(server, head("GET", "/api/v1/keys?x=1", key=key)).code == Code.UNKNOWN_FILTER
    taken = say("/api/v1/users", {"mail": "acme@example.org"}, key)
    assert ask(server, taken).code == Code.NAME_TAKEN


def test_csrf_and_identity_required(kept: Site) -> None:
    cookie, ours = f"Cookie: heliograph={kept.ours.session}", f"Origin: {kept.server.address}"
    named = {"name": "k"}
    for origin in ("Origin: https://evil.example", "Origin: null", "X: y"):
        assert ask(kept.server, say("/api/v1/keys", named, "", cookie, origin)).code == Code.CSRF
    reply = ask(
        kept.server,
        head(
            "POST",
            "/api/v1/keys",
            JSON,
            "Content-Length: 12",
            cookie,
            ours,
            f"Host: 127.0.0.1:{kept.server.port}",
            host=None,
        )
        + b'{"name":"k"}',
    )
    assert reply.code == Code.IDENTITY_REQUIRED


def test_quota_exceeded_and_rate_limited(kept: Site) -> None:
    for period, code in (("day", Code.QUOTA_EXCEEDED), ("second", Code.RATE_LIMITED)):
        limit = {"meter": "calls", "period": period, "most": 0}
        reply = ask(kept.server, post(GOOD, EDGES, key=key_of(kept, limits=[limit])))
        assert reply.code == code


def test_suspended(kept: Site) -> None:
    server, key = kept.server, kept.server.key
    place = ask(server, say("/api/v1/workspaces", {"name": "bad"}, key)).json["id"]
    line = f"Heliograph-Workspace: {place}"
    theirs = ask(server, say("/api/v1/keys", {"name": "k"}, key, line)).json["key"]
    assert ask(server, post(GOOD, EDGES, key=theirs)).status == 200
    report = {"subject": place, "ground": "spam", "text": "Spam.", "good_faith": True}
    case = ask(server, say("/api/v1/abuse/reports", report, "")).json["case"]
    until = int(time.time() * 1000) + 86_400_000
    ruling = {"action": "suspend", "ground": "spam", "rule": "1", "facts": "Spam.",
              "until_ms": until}  # fmt: skip
    assert ask(server, say(f"/api/v1/abuse/cases/{case}/decide", ruling, key)).status == 200
    ends = time.monotonic() + 5
    while (code := ask(server, post(GOOD, EDGES, key=theirs)).code) != Code.SUSPENDED:
        assert time.monotonic() < ends, code


def test_idempotency(kept: Site) -> None:
    key, once, slow = kept.ours.key, "Idempotency-Key: once", "/api/v1/models/slow/predict"
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(ask, kept.server, post(GOOD, slow, once, key=key)) for _ in range(4)]
        codes = {one.result().code for one in asked}
    assert codes == {"", Code.IDEMPOTENCY_IN_PROGRESS}
    other = post(GOOD + b"x", slow, once, key=key)
    assert ask(kept.server, other).code == Code.IDEMPOTENCY_MISMATCH


def test_pictures_by_address(kept: Site) -> None:
    def fetch(url: str) -> str:
        return ask(kept.server, say(EDGES, {"url": url}, kept.ours.key)).code

    assert fetch("http://169.254.169.254/latest") == Code.URL_NOT_ALLOWED
    assert fetch("http://pictures.example/a.png") == Code.FETCH_TIMEOUT


def test_upstream_fetch_failed(home: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    environ = {
        "HELIOGRAPH_FETCH_ALLOW": "pictures.example",
        "HELIOGRAPH_FETCH_PROXY": f"http://127.0.0.1:{port}",
    }
    options = ("--open", "--models", "edges")
    with running(home, *options, stderr=tmp_path / "stderr", environ=environ) as server:
        asked = say(EDGES, {"url": "http://pictures.example/a.png"}, "")
        assert ask(server, asked).code == Code.UPSTREAM_FETCH_FAILED


def test_db_unavailable(kept: Site) -> None:
    """Somebody else holds the database for longer than anybody waits; then it goes on."""
    (file,) = kept.server.home.glob("*.db")
    holder = sqlite3.connect(file, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        reply = ask(kept.server, say("/api/v1/workspaces", {"name": "late"}, kept.server.key))
    finally:
        holder.rollback()
        holder.close()
    assert reply.code == Code.DB_UNAVAILABLE
    assert "retry-after" in reply.headers
    assert ask(kept.server, post(GOOD, EDGES, key=kept.ours.key)).status == 200
