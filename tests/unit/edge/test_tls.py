"""The rules of certificates, of proxies and of origins, each by itself."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import math
import socket
import threading
import time
from pathlib import Path

import httpx
import pytest
import trustme
import uvicorn
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send

from heliograph.core.errors import Code, HeliographError
from heliograph.core.exposure import check_exposure, loopback, networks
from heliograph.edge.http.headers import Cors, always, read_origins, strict_seconds
from heliograph.edge.http.limits import WireLimits
from heliograph.edge.http.origin import from_our_page, session_in
from heliograph.edge.http.policy import Policy
from heliograph.edge.http.proxies import Proxies
from heliograph.edge.http.wire import protocol
from heliograph.edge.tls.certificates import Certificates
from heliograph.edge.tls.challenges import Challenges
from heliograph.edge.tls.files import Files, write_secret
from heliograph.edge.tls.peers import Peers, names_by, names_in, read_services
from heliograph.edge.tls.renewal import prepare
from heliograph.edge.tls.values import (
    DAY_MS,
    Pair,
    back_off_ms,
    check_times,
    due_warning,
    parse_pair,
    renewal_ms,
)
from support.certificates import lay, pair

NOW = round(dt.datetime.now(dt.UTC).timestamp() * 1000)


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


def aged(days: float, lifetime: float = 90, names: frozenset[str] = frozenset({"a"})) -> Pair:
    """A pair with so many days left at time 0."""
    until = round(days * DAY_MS)
    return Pair(b"", b"", names, until - round(lifetime * DAY_MS), until, "p")


@pytest.mark.parametrize(
    ("left", "said"),
    [(31, None), (30, 30), (14.5, 30), (14, 14), (7, 7), (6.9, 7), (1, 1), (0.1, 1), (-3, 1)],
)
def test_warnings_at_thirty_fourteen_seven_and_one_days(left: float, said: int | None) -> None:
    assert due_warning(aged(left), 0, renewed=False) == said


def test_what_is_renewed_in_time_is_not_warned_of() -> None:
    assert due_warning(aged(29.9, 90), 0, renewed=True) is None  # due, but just so
    assert due_warning(aged(13, 90), 0, renewed=True) == 14
    assert due_warning(aged(5, 6), 0, renewed=True) is None  # one of six days
    assert due_warning(aged(0.5, 6), 0, renewed=True) == 1
    assert due_warning(aged(5, 6), 0, renewed=False) is None


@given(st.floats(0.5, 4000), st.floats(-10, 4000))
def test_a_renewal_is_never_a_fixed_day(lifetime: float, left: float) -> None:
    held = aged(left, lifetime)
    due = renewal_ms(held, ["a"])
    assert abs((due - held.since_ms) * 3 - held.lifetime_ms * 2) <= 3
    assert renewal_ms(held, ["a"], held.until_ms + 5) == held.until_ms
    assert renewal_ms(held, ["a"], held.since_ms) == held.since_ms
    assert renewal_ms(held, ["a", "b"]) == 0


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_back_off_grows_and_is_bounded(failures: int, draw: float) -> None:
    wait = back_off_ms(failures, draw)
    assert 30_000 <= wait <= 6 * 3_600_000
    assert back_off_ms(failures + 1, draw) >= wait


def test_a_pair_is_read(ca: trustme.CA) -> None:
    chain, key = pair(ca, "One.example", "::1")
    held = parse_pair(key + chain, chain + key)
    assert held.names == {"one.example", "::1"}
    assert key not in held.chain
    assert key.decode() not in repr(held)
    check_times(held, NOW)
    for now, words in ((NOW + 100 * DAY_MS, "ended 11"), (NOW - 10 * DAY_MS, "clock")):
        with pytest.raises(HeliographError, match=words):
            check_times(held, now)


def test_what_is_no_pair_is_refused(ca: trustme.CA) -> None:
    chain, key = pair(ca)
    locked = load_pem_private_key(key, None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    for laid, words in (
        ((chain, pair(ca)[1]), "does not belong"),
        ((b"", key), "no certificate"),
        ((chain[: len(chain) // 2], key), "no certificate"),
        ((chain, b""), "no private key"),
        ((chain, locked), "behind a password"),
    ):
        with pytest.raises(HeliographError, match=words) as caught:
            parse_pair(*laid)
        assert caught.value.code is Code.VALIDATION


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o602])
def test_a_key_that_others_reach_is_refused(tmp_path: Path, ca: trustme.CA, mode: int) -> None:
    files = Files(*lay(tmp_path, *pair(ca)))
    files.read()
    files.key.chmod(0o640)  # a group of its own is common
    files.read()
    files.key.chmod(mode)
    with pytest.raises(HeliographError, match="Everybody"):
        files.read()


def test_a_secret_is_whole_and_nobody_elses(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    write_secret(path, b"first")
    write_secret(path, b"second", replace=False)
    assert path.read_bytes() == b"first"
    write_secret(path, b"third")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"third", 0o600)
    assert list(tmp_path.iterdir()) == [path]


def test_half_written_pairs_are_waited_for(
    tmp_path: Path, ca: trustme.CA, caplog: pytest.LogCaptureFixture
) -> None:
    files = Files(*lay(tmp_path, *pair(ca)))
    held = Certificates(files, lambda: NOW)
    told: list[Pair] = []
    held.tell(told.append)
    assert not held.look()
    chain, key = pair(ca)
    files.certificate.write_bytes(chain)
    assert not held.look()  # the key is still the old one: no word of it yet
    files.key.write_bytes(key)
    assert held.look()
    assert caplog.text.count("not served") == 0
    assert [one.chain for one in told] == [chain]
    files.key.unlink()
    for _ in range(5):
        assert not held.look()
    assert caplog.text.count("not served") == 1
    assert held.current.chain == chain


def test_a_pair_that_holds_from_tomorrow_is_taken_tomorrow(tmp_path: Path, ca: trustme.CA) -> None:
    now = [NOW]
    files = Files(*lay(tmp_path, *pair(ca)))
    held = Certificates(files, lambda: now[0])
    lay(tmp_path, *pair(ca, begins=1))
    assert not held.look()
    now[0] += 2 * DAY_MS
    assert held.look()


def test_each_warning_is_said_once(
    tmp_path: Path, ca: trustme.CA, caplog: pytest.LogCaptureFixture
) -> None:
    now, days = [NOW], list[float]()
    held = Certificates(Files(*lay(tmp_path, *pair(ca))), lambda: now[0], told=days.append)
    for _ in range(95 * 2):
        now[0] += DAY_MS // 2
        held.look()
    said = [one for one in caplog.messages if "ends in" in one]
    assert [math.ceil(float(one.split()[4])) for one in said] == [30, 14, 7, 1]
    assert days == sorted(days, reverse=True)
    assert days[-1] < 0
    assert caplog.text.count("has ended") == 1


def test_a_placeholder_is_made_once(tmp_path: Path) -> None:
    made = [prepare(tmp_path / "tls", ["a.example", "::1"], NOW).read() for _ in range(2)]
    assert made[0].print == made[1].print
    assert made[0].placeholder
    assert made[0].names == {"a.example", "::1"}
    assert renewal_ms(made[0], ["a.example"]) == 0
    (tmp_path / "tls" / "acme.pem").write_bytes(b"torn")
    assert prepare(tmp_path / "tls", ["a.example"], NOW).read().placeholder


def test_of_many_at_once_one_makes_the_placeholder(tmp_path: Path) -> None:
    seen: list[str] = []
    at_once = [
        threading.Thread(target=lambda: seen.append(prepare(tmp_path, ["a"], NOW).read().print))
        for _ in range(8)
    ]
    for one in at_once:
        one.start()
    for one in at_once:
        one.join()
    assert len(seen) == 8
    assert len(set(seen)) == 1


@pytest.mark.parametrize("token", ["", "../../acme.pem", "a/b", "short", "x" * 300, "ü" * 20])
def test_a_token_is_never_a_path(tmp_path: Path, token: str) -> None:
    challenges = Challenges(tmp_path / "challenges")
    with pytest.raises(ValueError, match="token"):
        challenges.lay(token, "said")
    assert challenges.read(token) is None
    assert list(tmp_path.iterdir()) == []


# --- services' certificates ------------------------------------------------------------------


def test_services_by_their_names() -> None:
    peers = Peers(read_services("robot.internal=robot, spiffe://house/eye"))
    assert peers.service(["x", "robot.internal"]) == "robot"
    assert peers.service(["spiffe://house/eye"]) == "spiffe://house/eye"
    for names in ([], ["robot"], ["Xrobot.internal"], ["robot.internal.evil.example"]):
        with pytest.raises(HeliographError, match="forbidden"):
            peers.service(names)
    everybody = Peers({})
    assert everybody.service(["a", "b"]) == "a"
    with pytest.raises(HeliographError, match="forbidden"):
        everybody.service([])
    for said in ("a=", "=a", "a,a=b"):
        with pytest.raises(HeliographError, match="client_names"):
            read_services(said)


def test_the_common_name_counts_only_where_there_is_no_other() -> None:
    subject = ((("organizationName", "o"),), (("commonName", "cn"),))
    held = (("IP Address", "1.2.3.4"), ("DNS", "a"), ("URI", "spiffe://b"))
    assert names_in({"subject": subject, "subjectAltName": held}) == ["a", "spiffe://b"]
    assert names_in({"subject": subject}) == ["cn"]
    assert names_in(None) == []
    assert names_by({"x509_common_name": [b"cn"], "peer_dns": [b"a"]}) == ["a"]
    assert names_by({"x509_common_name": [b"cn"]}) == ["cn"]


# --- who may reach us, and whom we believe ----------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "[::1]"])
def test_loopback_needs_no_tls(host: str) -> None:
    check_exposure(host, tls=False, proxied=False)
    assert strict_seconds(10, host, tls=True) == 0


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.1", "example.org", "127.0.0.1.x"])
def test_others_do(host: str) -> None:
    assert not loopback(host)
    with pytest.raises(HeliographError, match="in the clear"):
        check_exposure(host, tls=False, proxied=False)
    check_exposure(host, tls=True, proxied=False)
    check_exposure(host, tls=False, proxied=True)
    assert strict_seconds(10, host, tls=True) == 10
    assert strict_seconds(10, host, tls=False) == 0


def test_networks_are_read() -> None:
    assert networks("10.0.0.7, 10.1.0.0/16,::1") == (
        ipaddress.ip_network("10.0.0.7/32"),
        ipaddress.ip_network("10.1.0.0/16"),
        ipaddress.ip_network("::1/128"),
    )
    for said in ("proxy", "10.0.0.1/8", "*"):
        with pytest.raises(HeliographError, match="neither an address nor a network"):
            networks(said)


@pytest.mark.parametrize(
    ("said", "sender"),
    [
        (["203.0.113.9"], "203.0.113.9"),
        (["6.6.6.6, 203.0.113.9"], "203.0.113.9"),
        (["6.6.6.6", "203.0.113.9, 10.0.0.2"], "203.0.113.9"),
        (["203.0.113.9:4711"], "203.0.113.9"),
        (["[2001:db8::1]:4711"], "2001:db8::1"),
        (["::ffff:203.0.113.9"], "203.0.113.9"),
        (["10.0.0.2"], "10.0.0.2"),
        (["6.6.6.6, unknown"], ""),
        (["6.6.6.6, unknown, 10.0.0.2"], "10.0.0.2"),
        ([""], ""),
        ([], ""),
    ],
)
def test_forwarded_addresses_are_read_from_their_end(said: list[str], sender: str) -> None:
    proxies = Proxies(networks("10.0.0.0/8"))
    assert proxies.sender([(b"x-forwarded-for", one.encode()) for one in said]) == sender


@given(st.lists(st.ip_addresses().map(str), max_size=40), st.ip_addresses(v=4))
def test_nobody_writes_himself_another_address(
    lies: list[str], real: ipaddress.IPv4Address
) -> None:
    proxies = Proxies(networks("10.0.0.0/8"))
    said = ", ".join([*lies, str(real)]).encode()
    if real not in ipaddress.ip_network("10.0.0.0/8"):
        assert proxies.sender([(b"x-forwarded-for", said)]) == str(real)


def test_the_scheme_is_the_last_proxys() -> None:
    for said, scheme in ((b"https", "https"), (b"https, HTTP", "http"), (b"gopher", ""), (b"", "")):
        assert Proxies.scheme([(b"x-forwarded-proto", said)]) == scheme
    assert Proxies.scheme([]) == ""


# --- browsers ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said", ["app.example", "https://app.example/", "ftp://a", "https://", "https://a/b", "null"]
)
def test_what_is_no_origin_is_refused(said: str) -> None:
    with pytest.raises(HeliographError, match="is no origin"):
        read_origins(f"https://app.example, {said}")


def test_origins() -> None:
    assert read_origins(" , ") is None
    cors = read_origins("https://App.example")
    assert cors is not None
    assert dict(cors.allow(b"https://app.example"))[b"access-control-allow-origin"] == (
        b"https://app.example"
    )
    assert cors.allow(b"https://other.example") == ()
    assert (b"vary", b"origin") in always(cors)
    everybody = Cors(["*"])
    assert dict(everybody.allow(b"https://x"))[b"access-control-allow-origin"] == b"*"
    assert b"vary" not in dict(always(everybody))
    for one in (cors, everybody):
        for origin in (b"https://app.example", b"null"):
            assert b"access-control-allow-credentials" not in dict(one.allow(origin))


@pytest.mark.parametrize(
    ("scheme", "host", "origin", "fetched", "ours"),
    [
        ("https", "a.example", "https://a.example", "same-origin", True),
        ("https", "a.example", "https://a.example", "", True),
        ("http", "localhost:8000", "http://localhost:8000", "same-origin", True),
        ("https", "a.example", "http://a.example", "", False),
        ("https", "a.example", "https://b.a.example", "same-site", False),
        ("https", "a.example", "https://a.example", "cross-site", False),
        ("https", "a.example", "https://a.example", "none", False),
        ("https", "a.example", "https://a.example:444", "", False),
        ("https", "a.example", "null", "", False),
        ("https", "a.example", "", "same-origin", False),
        ("https", "", "https://", "", False),
        ("https", "a.example", "https://user@a.example", "", False),
    ],
)
def test_only_our_own_page(scheme: str, host: str, origin: str, fetched: str, ours: bool) -> None:
    assert from_our_page(scheme, host, origin, fetched) is ours


def test_over_tls_only_the_cookie_that_is_bound_to_this_host() -> None:
    both = "heliograph=planted; __Host-heliograph=ours"
    assert session_in(both, "https") == "ours"
    assert session_in("heliograph=planted", "https") == ""
    assert session_in("heliograph=ours", "http") == "ours"
    assert session_in("heliograph=ours; heliograph=planted", "http") == ""
    assert session_in("", "https") == ""


# --- on the wire ----------------------------------------------------------------------------------


async def who(scope: Scope, receive: Receive, send: Send) -> None:
    """Says whom the application takes a request to be from."""
    del receive
    said = f"{scope['client'][0]} {scope['scheme']}".encode()
    head = [(b"content-length", b"%d" % len(said))]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": said})


@pytest.mark.parametrize(
    ("trusted", "said"), [("127.0.0.1", "203.0.113.9 https"), ("10.0.0.1", "127.0.0.1 http")]
)
def test_a_proxy_is_believed_only_if_it_is_named(trusted: str, said: str) -> None:
    policy = Policy(proxies=Proxies(networks(trusted)))
    config = uvicorn.Config(
        who,
        http=protocol(WireLimits(), policy=policy),
        ws="none",
        lifespan="off",
        log_config=None,
        proxy_headers=False,
    )
    with socket.create_server(("127.0.0.1", 0)) as sock:
        server = uvicorn.Server(config)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([sock])))
        thread.start()
        headers = {"x-forwarded-for": "6.6.6.6, 203.0.113.9", "x-forwarded-proto": "https"}
        try:
            while thread.is_alive() and not server.started:
                time.sleep(0.01)
            address = f"http://127.0.0.1:{sock.getsockname()[1]}/"
            assert httpx.get(address, headers=headers).text == said
            assert httpx.get(address).text == "127.0.0.1 http"
        finally:
            server.should_exit = True
            thread.join()
