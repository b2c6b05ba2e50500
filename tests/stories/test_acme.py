"""A certificate without a person: asked for, proved, served, renewed; if nobody answers."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn
from starlette.responses import JSONResponse

from heliograph.core.clock import system_clock
from heliograph.core.errors import Code, HeliographError
from heliograph.edge.tls import renewal as renewing
from heliograph.edge.tls.acme import AcmeError, Authority, Directory
from heliograph.edge.tls.certificates import Certificates
from heliograph.edge.tls.challenges import PREFIX, Challenges, application
from heliograph.edge.tls.files import write_secret
from heliograph.edge.tls.renewal import Renewal, prepare
from heliograph.edge.tls.values import DAY_MS
from support.pebble import MISSING, Pebble, free_port, pebble
from support.server import running

pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)
NAME = "models.example"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    """One that refuses every second nonce."""
    with pebble(tmp_path_factory.mktemp("pebble"), {"PEBBLE_WFE_NONCEREJECT": "50"}) as one:
        yield one


@contextmanager
def answering(folder: Path, port: int) -> Generator[Challenges]:
    """The port in the clear, as the server has it."""
    answers = Challenges(folder / "challenges")
    config = uvicorn.Config(
        application(answers, [NAME], 8443), port=port, log_config=None, lifespan="off", ws="none"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    while thread.is_alive() and not server.started:
        time.sleep(0.02)
    yield answers
    server.should_exit = True
    thread.join()


class Clock:
    def __init__(self) -> None:
        self.ahead_ms = 0

    def __call__(self) -> int:
        return system_clock() + self.ahead_ms


class House:
    """The parts of a server that see to its certificate, with a clock that can be turned."""

    def __init__(self, folder: Path, pebble: Pebble, answers: Challenges, *, url: str = "") -> None:
        self.clock = Clock()
        self.asked: list[str] = []
        self.path = folder / "acme.pem"
        directory = Directory(url or pebble.directory, "owner@models.example", pebble.ca)
        self.authority = Authority(directory, folder, answers, self.asked.append)
        files = prepare(folder, [NAME], self.clock())
        self.certificates = Certificates(files, self.clock, renewed=True)
        self.renewal = Renewal(
            lambda: self.authority, [NAME], self.path, self.certificates, self.clock, lambda: 0.5
        )


@pytest.fixture
def house(tmp_path: Path, authority: Pebble) -> Iterator[House]:
    with answering(tmp_path, authority.port) as answers:
        yield House(tmp_path, authority, answers)


def test_a_server_gets_its_certificate_and_serves_it(tmp_path: Path, authority: Pebble) -> None:
    environ = {
        "HELIOGRAPH_TLS_ACME": "true",
        "HELIOGRAPH_TLS_ACME_NAMES": NAME,
        "HELIOGRAPH_TLS_ACME_DIRECTORY": authority.directory,
        "HELIOGRAPH_TLS_ACME_CA": str(authority.ca),
        "HELIOGRAPH_TLS_ACME_HTTP_PORT": str(authority.port),
        "HELIOGRAPH_SERVER_HOSTS": NAME,
    }
    nobody = ssl.create_default_context()
    nobody.check_hostname, nobody.verify_mode = False, ssl.CERT_NONE
    options = ("--models", "process", "--grpc-port", "-1", "--open", "--workers", "2")
    log = tmp_path / "log"
    with running(tmp_path, *options, stderr=log, environ=environ, verify=nobody) as server:
        trusting = ssl.create_default_context(cadata=authority.root())
        until, version = time.monotonic() + 40, None
        while version is None and time.monotonic() < until:
            try:
                with (
                    socket.create_connection(("127.0.0.1", server.port), 5) as plain,
                    trusting.wrap_socket(plain, server_hostname=NAME) as tls,
                ):
                    version = tls.version()
            except ssl.SSLCertVerificationError:  # the placeholder, which nobody trusts
                time.sleep(0.2)
        assert version == "TLSv1.3", server.log()
        kept = {one.name: one.stat().st_mode & 0o777 for one in (tmp_path / "tls").iterdir()}
        assert kept.pop("challenges") == 0o700
        assert set(kept) == {"acme.pem", "account.json", "lock"}
        assert kept["acme.pem"] == kept["account.json"] == 0o600
        assert list((tmp_path / "tls" / "challenges").iterdir()) == []
        plain_port = f"http://127.0.0.1:{authority.port}"
        sent = httpx.get(f"{plain_port}/docs?a=b", headers={"host": NAME})
        assert (sent.status_code, sent.headers["location"]) == (
            308,
            f"https://{NAME}:{server.port}/docs?a=b",
        )
        assert httpx.get(f"{plain_port}/docs", headers={"host": "evil.example"}).status_code == 400
        assert httpx.get(plain_port + PREFIX + "..%2f..%2facme.pem").status_code == 404
        assert httpx.post(plain_port, headers={"host": NAME}).status_code == 405


def soon(house: House) -> bool:
    """Whether a step does it, or one of the next: half of all nonces are refused here."""
    for _ in range(8):
        if house.renewal.step():
            return True
        house.clock.ahead_ms = max(
            house.clock.ahead_ms, house.renewal._next_ms - system_clock() + 1
        )
    return False


def test_it_is_renewed_after_two_thirds_of_its_life(house: House) -> None:
    assert house.certificates.current.placeholder
    assert soon(house)
    first = house.certificates.current
    assert first.names == {NAME}
    assert not first.placeholder
    account = (house.path.parent / "account.json").read_bytes()
    house.clock.ahead_ms = first.lifetime_ms * 2 // 3 - DAY_MS
    assert not house.renewal.step()
    house.clock.ahead_ms += 2 * DAY_MS
    assert soon(house)
    assert house.certificates.current.print != first.print
    assert (house.path.parent / "account.json").read_bytes() == account
    assert all(one.startswith("https://127.0.0.1") for one in house.asked)


def test_nobody_answers_the_old_one_is_served(
    house: House, authority: Pebble, caplog: pytest.LogCaptureFixture
) -> None:
    assert soon(house)
    first = house.certificates.current
    authority.stop()
    house.clock.ahead_ms = first.lifetime_ms * 2 // 3 + DAY_MS
    waits: list[int] = []
    for _ in range(4):
        assert not house.renewal.step()
        waits.append(house.renewal._next_ms - house.clock())
        house.clock.ahead_ms = house.renewal._next_ms - system_clock() + 1
    assert [round(one / 45_000) for one in waits] == [1, 2, 4, 8]
    assert house.certificates.current is first
    assert "no new certificate, asked 4 times" in caplog.text
    # Started anew it knows no account of before: a new one is made.
    authority.start()
    assert house.renewal.step()
    assert house.certificates.current.print != first.print


def test_a_name_that_is_not_ours_is_not_confirmed(tmp_path: Path, authority: Pebble) -> None:
    answers = Challenges(tmp_path / "challenges")  # nobody listens there
    issuer = Authority(Directory(authority.directory, "", authority.ca), tmp_path, answers, print)
    with pytest.raises(AcmeError, match=r"the names were not confirmed: models\.example"):
        issuer.issue([NAME])
    assert list((tmp_path / "challenges").iterdir()) == []


def test_what_could_not_be_written_is_not_asked_for_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = [True]

    def write(path: Path, data: bytes) -> None:
        if full[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_secret(path, data)

    monkeypatch.setattr(renewing, "write_secret", write)
    assert not house.renewal.step()
    assert house.certificates.current.placeholder
    asked = len(house.asked)
    full[0] = False
    house.clock.ahead_ms += 3_600_000
    assert house.renewal.step()
    assert len(house.asked) == asked
    assert not house.certificates.current.placeholder


def test_an_address_that_the_guard_refuses_is_not_asked(tmp_path: Path, authority: Pebble) -> None:
    def refuse(url: str) -> None:
        raise HeliographError(Code.URL_NOT_ALLOWED, url)

    answers = Challenges(tmp_path / "challenges")
    issuer = Authority(Directory(authority.directory, "", authority.ca), tmp_path, answers, refuse)
    with pytest.raises(HeliographError, match="url_not_allowed"):
        issuer.issue([NAME])
    clear = Directory(authority.directory.replace("https", "http"), "", authority.ca)
    with pytest.raises(AcmeError, match="not https"):
        Authority(clear, tmp_path, answers, print).issue([NAME])


def test_the_authority_says_when_to_renew(tmp_path: Path, authority: Pebble) -> None:
    """ARI, which this pebble does not speak: a directory in front of it does."""
    window = {"start": "2031-01-01T00:00:00Z", "end": "2031-01-02T00:00:00Z"}
    seen: list[str] = []
    with (
        answering(tmp_path, authority.port) as answers,
        in_front(authority, window, seen) as url,
    ):
        house = House(tmp_path, authority, answers, url=url)
        assert house.renewal.step()
        first = house.certificates.current
        assert seen == []  # nothing to ask of a placeholder
        house.clock.ahead_ms = 120_000
        assert not house.renewal.step()
        assert len(seen) == 1
        assert seen[0].startswith("/ari/")
        window |= {"start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z"}
        house.clock.ahead_ms += 60_000
        assert not house.renewal.step()  # asked as often as the authority wants, not more
        house.clock.ahead_ms += 3_600_000
        assert house.renewal.step()  # renewed early: it was said so
        assert house.certificates.current.print != first.print


@contextmanager
def in_front(authority: Pebble, window: dict[str, str], seen: list[str]) -> Generator[str]:
    """The same directory, which says when to renew as well."""
    port = free_port()
    own = httpx.get(authority.directory, verify=ssl.create_default_context(cafile=authority.ca))
    told = own.json() | {"renewalInfo": f"https://127.0.0.1:{port}/ari"}

    async def app(scope: dict[str, str], receive: object, send: Callable[..., object]) -> None:
        if scope["path"].startswith("/ari/"):
            seen.append(scope["path"])
            reply = JSONResponse({"suggestedWindow": window}, headers={"retry-after": "3600"})
        else:
            reply = JSONResponse(told)
        await reply(scope, receive, send)  # type: ignore[arg-type]

    folder = authority.ca.parent
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]
        port=port,
        ssl_certfile=folder / "cert.pem",
        ssl_keyfile=folder / "key.pem",
        log_config=None,
        lifespan="off",
        ws="none",
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    while thread.is_alive() and not server.started:
        time.sleep(0.02)
    yield f"https://127.0.0.1:{port}/dir"
    server.should_exit = True
    thread.join()
