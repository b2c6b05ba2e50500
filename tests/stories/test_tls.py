"""A server with a certificate: who may connect, what it shows, and what if that changes."""

from __future__ import annotations

import asyncio
import http.client
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import pytest
import trustme

from heliograph.edge.grpc import health, messages
from support.certificates import client, lay, pair, put
from support.server import Server, running

_MESSAGES = messages.load(health.SET)
_QUESTION, _ANSWER = _MESSAGES.methods(health.NAME)["Check"]
_MODELS = ("--models", "process", "--grpc-port", "0")
_ON = {"HELIOGRAPH_TLS_CERTIFICATE": "server.pem", "HELIOGRAPH_TLS_KEY": "server.key"}


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def folder(tmp_path: Path, ca: trustme.CA) -> Path:
    lay(tmp_path, *pair(ca))
    return tmp_path


@pytest.fixture
def secure(folder: Path, ca: trustme.CA) -> Iterator[Server]:
    with running(
        folder, *_MODELS, "--open", stderr=folder / "log", environ=_ON, verify=client(ca)
    ) as server:
        yield server


def shown(server: Server, ca: trustme.CA, port: int = 0) -> bytes:
    """The certificate that a new connection sees."""
    with (
        socket.create_connection(("127.0.0.1", port or server.port), 5) as plain,
        client(ca).wrap_socket(plain, server_hostname="localhost") as tls,
    ):
        return tls.getpeercert(binary_form=True) or b""


def der(chain: bytes) -> bytes:
    return ssl.PEM_cert_to_DER_cert(
        chain.decode().split("-----END")[0] + "-----END CERTIFICATE-----\n"
    )


def grpc_port(server: Server) -> int:
    return int(server.log().partition("gRPC on 127.0.0.1:")[2].split()[0])


def alive(port: int, ca: trustme.CA, shows: trustme.LeafCert | None = None) -> str:
    """What gRPC's health says over TLS."""
    key, chain = (
        (shows.private_key_pem.bytes(), shows.cert_chain_pems[0].bytes()) if shows else (None, None)
    )
    said = grpc.ssl_channel_credentials(ca.cert_pem.bytes(), key, chain)

    async def ask() -> str:
        async with grpc.aio.secure_channel(f"127.0.0.1:{port}", said) as channel:
            call = channel.unary_unary(f"/{health.NAME}/Check")
            try:
                await call(b"", timeout=10)
            except grpc.aio.AioRpcError as error:
                return error.code().name
            return "OK"

    return asyncio.run(ask())


def test_https_and_grpc_speak_tls(secure: Server, ca: trustme.CA) -> None:
    assert secure.address.startswith("https://")
    with httpx.Client(verify=client(ca)) as http:
        reply = http.get(secure.address + "/healthz")
    assert reply.json() == {"status": "live"}
    assert alive(grpc_port(secure), ca) == "OK"
    assert alive(grpc_port(secure), trustme.CA()) == "UNAVAILABLE"
    assert (
        "heliograph_certificate_days"
        in httpx.get(secure.address + "/metrics", verify=client(ca)).text
    )


def test_what_is_spoken(secure: Server, ca: trustme.CA) -> None:
    context = client(ca)
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection(("127.0.0.1", secure.port), 5) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as tls,
    ):
        assert tls.version() == "TLSv1.3"
        assert tls.selected_alpn_protocol() == "http/1.1"
        assert tls.compression() is None
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        socket.create_connection(("127.0.0.1", secure.port), 5) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as tls,
    ):
        assert tls.version() == "TLSv1.2"
        assert "GCM" in (tls.cipher() or ("",))[0]


@pytest.mark.parametrize(
    ("version", "suites"),
    [
        (ssl.TLSVersion.TLSv1, "ALL:@SECLEVEL=0"),
        (ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0"),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-SHA256:@SECLEVEL=0"),  # no AEAD
        (ssl.TLSVersion.TLSv1_2, "AES128-GCM-SHA256:@SECLEVEL=0"),  # no forward secrecy
    ],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_ways_are_refused(
    secure: Server, ca: trustme.CA, version: ssl.TLSVersion, suites: str
) -> None:
    context = client(ca)
    context.set_ciphers(suites)
    context.minimum_version = context.maximum_version = version
    with (
        socket.create_connection(("127.0.0.1", secure.port), 5) as plain,
        pytest.raises((ssl.SSLError, ConnectionResetError)),
    ):
        context.wrap_socket(plain, server_hostname="127.0.0.1")


def test_plain_http_and_silence_are_hung_up_on(folder: Path, ca: trustme.CA) -> None:
    environ = _ON | {"HELIOGRAPH_SERVER_HEAD_SECONDS": "0.5"}
    log = folder / "log"
    with running(
        folder, *_MODELS, "--open", stderr=log, environ=environ, verify=client(ca)
    ) as server:
        with socket.create_connection(("127.0.0.1", server.port), 5) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"HTTP/1.1 200" not in plain.recv(1000)
        with socket.create_connection(("127.0.0.1", server.port), 5) as silent:
            began = time.monotonic()
            assert silent.recv(1000) == b""
            assert 0.3 < time.monotonic() - began < 4


def test_a_new_certificate_is_served_and_no_connection_is_dropped(
    folder: Path, ca: trustme.CA
) -> None:
    log = folder / "log"
    with running(
        folder, *_MODELS, "--open", "--workers", "2", stderr=log, environ=_ON, verify=client(ca)
    ) as server:
        first = shown(server, ca)
        ends = threading.Event()
        answers: list[int] = []

        def keep_asking() -> None:
            connection = http.client.HTTPSConnection(
                "127.0.0.1", server.port, timeout=10, context=client(ca)
            )
            connection.connect()
            kept = connection.sock
            while not ends.is_set():
                connection.request("GET", "/healthz")
                reply = connection.getresponse()
                reply.read()
                answers.append(reply.status)
                assert connection.sock is kept  # the very same connection
            connection.close()

        askers = [threading.Thread(target=keep_asking) for _ in range(4)]
        for one in askers:
            one.start()
        grpc_before = alive(grpc_port(server), ca)
        chain, key = pair(ca)
        lay(folder, chain, key)
        until = time.monotonic() + 10
        seen: set[bytes] = set()
        # Every worker has it once a row of new connections sees nothing else.
        while seen != {der(chain)} and time.monotonic() < until:
            time.sleep(0.2)
            seen = {shown(server, ca) for _ in range(12)}
        asked = len(answers)
        time.sleep(0.2)
        ends.set()
        for one in askers:
            one.join()
        assert seen == {der(chain)} != {first}
        assert len(answers) > asked > 0
        assert set(answers) == {200}
        assert grpc_before == "OK"
        assert shown(server, ca, grpc_port(server)) == der(chain)


def test_what_cannot_be_served_leaves_the_old_one(secure: Server, ca: trustme.CA) -> None:
    first = shown(secure, ca)
    good, good_key = pair(ca)
    expired = pair(ca, begins=-20, days=10)
    cases = [
        ("does not belong", (good, pair(ca)[1])),
        ("ended 10.", expired),
        ("is for other.example", pair(ca, "other.example")),
        ("holds only from", pair(ca, begins=5)),
        ("no certificate", (b"nothing", good_key)),
        ("no private key", (good, b"nothing")),
    ]
    for words, laid in cases:
        lay(secure.home, *laid)
        until = time.monotonic() + 8
        while words not in secure.log() and time.monotonic() < until:
            time.sleep(0.1)
        assert words in secure.log()
        assert shown(secure, ca) == first
    put(secure.home / "server.pem", good)
    put(secure.home / "server.key", good_key, 0o644)
    until = time.monotonic() + 8
    while "can read the key" not in secure.log() and time.monotonic() < until:
        time.sleep(0.1)
    assert shown(secure, ca) == first
    lay(secure.home, good, good_key)
    until = time.monotonic() + 8
    while shown(secure, ca) == first and time.monotonic() < until:
        time.sleep(0.1)
    assert shown(secure, ca) == der(good)
    assert secure.log().count("a new certificate is not served") == len(cases) + 1


def start(folder: Path, environ: dict[str, str], *options: str) -> str:
    """What the server says that does not start."""
    done = subprocess.run(
        [sys.executable, "-m", "heliograph", "serve", "--home", folder, "--port", "0", *options],
        env=os.environ | environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode, done.stderr
    assert "Traceback" not in done.stderr
    return " ".join(done.stderr.split())


def test_a_key_that_everybody_reads_is_refused(folder: Path) -> None:
    (folder / "server.key").chmod(0o644)
    assert "Everybody on this machine can read the key server.key" in start(folder, _ON)


def test_an_expired_or_a_missing_pair_is_refused(folder: Path, ca: trustme.CA) -> None:
    lay(folder, *pair(ca, begins=-20, days=10))
    assert "The certificate ended 10.0 days ago" in start(folder, _ON)
    (folder / "server.pem").unlink()
    assert "server.pem cannot be read" in start(folder, _ON)


def test_others_are_not_served_in_the_clear(tmp_path: Path) -> None:
    said = start(tmp_path, {}, "--host", "0.0.0.0")
    assert "keys would be sent there in the clear" in said


def test_a_client_must_show_a_certificate_of_ours(folder: Path, ca: trustme.CA) -> None:
    put(folder / "clients.pem", ca.cert_pem.bytes())
    environ = _ON | {
        "HELIOGRAPH_TLS_CLIENT_CA": "clients.pem",
        "HELIOGRAPH_TLS_CLIENT_NAMES": "robot.internal=robot, spiffe://house/eye",
    }
    robot, eye = ca.issue_cert("robot.internal"), ca.issue_cert("stranger.internal")
    log = folder / "log"
    with running(
        folder, *_MODELS, "--open", stderr=log, environ=environ, verify=client(ca, robot)
    ) as server:
        with httpx.Client(verify=client(ca, robot)) as http:
            assert http.get(server.address + "/healthz").status_code == 200
        with httpx.Client(verify=client(ca, eye)) as http:
            refusal = http.get(server.address + "/healthz")
        assert (refusal.status_code, refusal.json()["code"]) == (403, "forbidden")
        other = trustme.CA()
        for shows in (None, other.issue_cert("robot.internal")):
            with (
                httpx.Client(verify=client(ca, shows)) as http,
                pytest.raises((httpx.ReadError, httpx.ConnectError, httpx.RemoteProtocolError)),
            ):
                http.get(server.address + "/healthz")
        port = grpc_port(server)
        assert alive(port, ca, robot) == "OK"
        assert alive(port, ca, eye) == "PERMISSION_DENIED"
        assert alive(port, ca) == "UNAVAILABLE"
        assert alive(port, ca, other.issue_cert("robot.internal")) == "UNAVAILABLE"


def test_browsers_are_told_to_stay_over_tls_where_others_come(folder: Path, ca: trustme.CA) -> None:
    log = folder / "log"
    options = (*_MODELS, "--host", "0.0.0.0")
    with (
        running(folder, *options, stderr=log, environ=_ON, verify=client(ca)) as server,
        httpx.Client(verify=client(ca)) as http,
    ):
        for path in ("/", "/healthz", "/nothing", "/api/v1/models"):
            reply = http.get(server.address + path)
            assert reply.headers["strict-transport-security"] == "max-age=31536000"
