"""A server's life: its first start, who gets in, full houses, hang-ups, workers, and its end."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from support import models, pictures
from support.server import Server, running

PATIENCE = 30.0
SLOW = "/api/v1/models/slow/predict?format=json"
COLOUR = "/api/v1/models/colour/predict?format=json"


def tiny_home(folder: Path, *, rounds: int = 200) -> Path:
    """A data folder with two tiny models; `slow` takes about 0.2 ms a round."""
    models.colour_package(folder)
    models.slow_package(folder, rounds=rounds)
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A keyed server with JSON logs, just started for the first time."""
    home = tiny_home(tmp_path_factory.mktemp("tiny"))
    options = ("--models", "colour,slow", "--log-style", "json")
    with running(home, *options, stderr=home / "stderr") as started:
        yield started


def until(true: Callable[[], bool], what: str = "this") -> None:
    ends = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < ends, f"{what} never came true"
        time.sleep(0.01)


def fresh() -> httpx.Client:
    """A client that opens a connection for every call."""
    limits = httpx.Limits(max_keepalive_connections=0)
    return httpx.Client(limits=limits, trust_env=False, timeout=PATIENCE)


def metrics(server: Server) -> dict[str, float]:
    """`name{label="value",…}` -> value."""
    page = httpx.get(f"{server.address}/metrics", headers=server.headers, trust_env=False).text
    return {
        one.name + "".join(f",{key}={one.labels[key]}" for key in sorted(one.labels)): one.value
        for family in text_string_to_metric_families(page)
        for one in family.samples
    }


def calls(server: Server, model: str, outcome: str) -> float:
    said = metrics(server)
    return said.get(f"heliograph_calls_total,model={model},outcome={outcome},version=1", 0.0)


def raw_request(server: Server, path: str, body: bytes) -> bytes:
    head = [
        f"POST {path} HTTP/1.1",
        f"Host: 127.0.0.1:{server.port}",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in server.headers.items()),
    ]
    return "\r\n".join([*head, "", ""]).encode() + body


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), PATIENCE)


# --- the first start -----------------------------------------------------------------------------


def test_the_first_start_shows_the_key_once_and_keeps_it_for_the_owner(tmp_path: Path) -> None:
    home = tiny_home(tmp_path / "home")
    with running(home, "--models", "colour", stderr=tmp_path / "first") as first:
        key = first.key
        assert first.log().count(key) == 1
        assert "curl" in first.log()
        assert stat.S_IMODE((home / "admin.key").stat().st_mode) == 0o600
        reply = httpx.post(first.address + COLOUR, content=pictures.plain(), headers=first.headers)
        assert reply.json()["predictions"][0]["label"] == "red"
    with running(home, "--models", "colour", stderr=tmp_path / "second") as second:
        assert second.key == key
        assert key not in second.log()
        assert "admin.key" in second.log()


def test_open_is_refused_beyond_loopback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "heliograph", "serve", "--port", "0", "--home", str(tmp_path)]
    done = subprocess.run(
        [*command, "--open", "--host", "0.0.0.0"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 2
    assert "loopback only" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_an_empty_key_file_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "admin.key").touch()
    done = subprocess.run(
        [sys.executable, "-m", "heliograph", "serve", "--port", "0", "--home", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 2
    assert "admin.key holds no key" in done.stderr


def test_readiness_waits_for_the_models_and_life_does_not(tmp_path: Path) -> None:
    # Each copy of the model is run once before it serves: these take their time.
    home = tiny_home(tmp_path / "home", rounds=1500)
    seen: list[tuple[int, str, int, int]] = []

    def watch() -> None:
        address = ""
        with fresh() as http:
            while not seen or seen[-1][0] != 200:
                found = re.search(r"http://\S+", (tmp_path / "log").read_text("utf-8"))
                address = found[0] if found else address
                try:
                    ready, life = http.get(f"{address}/readyz"), http.get(f"{address}/healthz")
                    call = http.post(address + SLOW, content=pictures.plain())
                except (httpx.TransportError, httpx.UnsupportedProtocol):
                    time.sleep(0.02)
                    continue
                code = ready.json().get("code", "")
                seen.append((ready.status_code, code, life.status_code, call.status_code))

    (tmp_path / "log").touch()
    watcher = threading.Thread(target=watch)
    watcher.start()
    with running(home, "--open", "--models", "slow", stderr=tmp_path / "log"):
        watcher.join(PATIENCE)
    assert seen[0] == (503, "model_unavailable", 200, 503)
    assert seen[-1][0] == 200
    assert {life for _, _, life, _ in seen} == {200}


# --- who gets in ---------------------------------------------------------------------------------

OPEN = {"/healthz", "/readyz", "/docs", "/docs/errors", "/openapi.json", "/"}
WRONG = [
    {},
    {"authorization": "Bearer hg_admin_wrong"},
    {"authorization": "Bearer"},
    {"authorization": "Bearer \xff\xfe"},
    {"authorization": "Basic YWRtaW46YWRtaW4="},
    {"x-api-key": "hg_admin_wrong"},
    {"cookie": "key=hg_admin_wrong"},
]


@pytest.mark.parametrize("headers", WRONG, ids=str)
def test_without_the_key_every_route_but_health_and_pages_is_closed(
    tiny: Server, headers: dict[str, str]
) -> None:
    sent = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    with httpx.Client(base_url=tiny.address, trust_env=False) as http:
        paths: dict[str, Any] = http.get("/openapi.json").json()["paths"]
        assert "/api/v1/models/{name}/predict" in paths
        assert set(paths) > OPEN & set(paths)
        for path, verbs in paths.items():
            guarded = {
                verb for verb in {"get", "post"} & set(verbs) if verbs[verb].get("security") != []
            }
            # What says itself that it is public is tried in tests/hostile/test_doors.py.
            for verb in {"get"} & set(verbs) if path in OPEN else guarded:
                for name in ("colour", "nobody"):
                    reply = http.request(verb, path.replace("{name}", name), headers=sent)
                    if path in OPEN or path.startswith("/assets/"):
                        assert reply.status_code != 401, path
                        continue
                    assert (path, reply.status_code) == (path, 401)
                    assert reply.json()["code"] == "unauthenticated"
                    assert "bearer" in reply.headers["www-authenticate"].lower()
        for path in OPEN:
            assert http.get(path, headers=sent).status_code == 200


def test_a_refused_call_is_not_admitted(tiny: Server) -> None:
    before = metrics(tiny)
    for path in (COLOUR, "/api/v1/models/nobody/predict"):
        reply = httpx.post(tiny.address + path, content=pictures.plain())
        assert reply.status_code == 401
    after = metrics(tiny)
    counted = {name for name in after if name.startswith("heliograph_calls_total")}
    assert all(after[name] == before.get(name) for name in counted)


def test_with_the_key_the_same_routes_answer(tiny: Server) -> None:
    with httpx.Client(base_url=tiny.address, headers=tiny.headers, trust_env=False) as http:
        for path in ("/metrics", "/api/v1/models", "/api/v1/models/colour"):
            assert http.get(path).status_code == 200
        lower = {"authorization": f"bearer {tiny.key}"}
        assert http.post(COLOUR, content=pictures.plain(), headers=lower).status_code == 200


# --- the same numbers everywhere -----------------------------------------------------------------


def test_reply_header_log_and_metrics_tell_the_same_times(tiny: Server) -> None:
    before = metrics(tiny)
    reply = httpx.post(
        tiny.address + SLOW, content=pictures.plain(pictures.BLUE), headers=tiny.headers
    )
    said = reply.json()
    timings: dict[str, float] = said["timings_ms"]
    assert list(timings) == ["queue", "decode", "batch", "run", "finish", "total"]

    header = dict(re.findall(r"(\w+);dur=([0-9.]+)", reply.headers["server-timing"]))
    assert {step: float(ms) for step, ms in header.items()} == timings

    # Rows are counted and logged a few times a second; who asks for the metrics does not wait.
    after = metrics(tiny)
    lines = [json.loads(one) for one in tiny.log().splitlines() if one.startswith("{")]
    (usage,) = [one["call"] for one in lines if one.get("call", {}).get("id") == said["id"]]
    assert usage["timings"] == timings
    assert reply.headers["x-request-id"] == said["id"]
    assert (usage["outcome"], usage["model"], usage["caller"]) == ("ok", "slow", "admin")
    assert (usage["bytes_in"], usage["pixels"]) == (len(pictures.plain(pictures.BLUE)), 24 * 16)

    for step in set(timings) - {"total"}:
        name = f"heliograph_step_seconds_sum,model=slow,step={step}"
        spent = (after[name] - before.get(name, 0.0)) * 1000
        assert spent == pytest.approx(timings[step], abs=0.002)


# --- full houses and late callers ----------------------------------------------------------------


def test_a_full_house_answers_some_and_refuses_the_rest_at_once(tmp_path: Path) -> None:
    home = tiny_home(tmp_path / "home", rounds=700)
    seats = {"HELIOGRAPH_SERVING_SEATS": "2"}
    with running(home, "--open", "--models", "slow", stderr=tmp_path / "log", environ=seats) as one:
        start = threading.Barrier(10)

        def call(_: int) -> tuple[httpx.Response, float]:
            with fresh() as http:
                start.wait(PATIENCE)
                began = time.perf_counter()
                reply = http.post(one.address + SLOW, content=pictures.plain())
                return reply, time.perf_counter() - began

        with ThreadPoolExecutor(10) as pool:
            replies = list(pool.map(call, range(10)))
        assert Counter(reply.status_code for reply, _ in replies) == {200: 2, 503: 8}
        assert metrics(one)["heliograph_problems_total,code=overloaded"] == 8
        served = min(spent for reply, spent in replies if reply.status_code == 200)
        for reply, spent in replies:
            if reply.status_code == 503:
                assert reply.json()["code"] == "overloaded"
                assert int(reply.headers["retry-after"]) >= 1
                assert spent < served, "who is refused does not stand in line for it"
        assert calls(one, "slow", "ok") == 2
        # The house is as good as before.
        assert httpx.post(one.address + SLOW, content=pictures.plain()).status_code == 200


def test_a_caller_who_hangs_up_in_the_line_costs_nothing(tmp_path: Path) -> None:
    home = tiny_home(tmp_path / "home", rounds=1500)
    single = {"HELIOGRAPH_SERVING_INSTANCES": "1"}
    with running(home, "--open", "--models", "slow", stderr=tmp_path / "l", environ=single) as one:
        before = metrics(one)
        sockets = [connect(one) for _ in range(4)]
        sockets[0].sendall(raw_request(one, SLOW, pictures.plain()))
        time.sleep(0.1)
        for waiting in sockets[1:]:
            waiting.sendall(raw_request(one, SLOW, pictures.plain()))
        time.sleep(0.1)
        for waiting in sockets[1:]:
            waiting.close()
        assert sockets[0].recv(1 << 16).startswith(b"HTTP/1.1 200")
        sockets[0].close()
        until(lambda: calls(one, "slow", "request_timeout") == 3, "the meter's three rows")
        after = metrics(one)
    assert before.get("heliograph_pixels_total,model=slow", 0.0) == 0.0
    assert after["heliograph_pixels_total,model=slow"] == 24 * 16, "only one was decoded"
    for step, count in (("queue", 4), ("decode", 1), ("run", 1), ("finish", 1)):
        assert after[f"heliograph_step_seconds_count,model=slow,step={step}"] == count


def test_a_call_past_its_deadline_is_told_so_at_once(tmp_path: Path) -> None:
    home = tiny_home(tmp_path / "home", rounds=1500)
    tight = {"HELIOGRAPH_SERVING_DEADLINE": "0.05"}
    options = ("--open", "--models", "slow,colour")
    with running(home, *options, stderr=tmp_path / "log", environ=tight) as one:
        began = time.perf_counter()
        reply = httpx.post(one.address + SLOW, content=pictures.plain())
        spent = time.perf_counter() - began
        assert (reply.status_code, reply.json()["code"]) == (504, "inference_timeout")
        until(lambda: calls(one, "slow", "inference_timeout") == 1, "the meter's row")
        run = metrics(one)["heliograph_step_seconds_sum,model=slow,step=run"]
        assert spent < run, "the caller did not wait for the run to end"
        assert httpx.post(one.address + COLOUR, content=pictures.plain()).status_code == 200


# --- the end -------------------------------------------------------------------------------------


@dataclass
class Seen:
    """What the clients of a server saw while it stopped."""

    statuses: Counter[int] = field(default_factory=Counter[int])
    cut: list[str] = field(default_factory=list[str])
    ready: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])
    answered: list[float] = field(default_factory=list[float])


def keep_calling(server: Server, seen: Seen) -> None:
    """Call on one connection until the server says that it closes it."""
    with httpx.Client(trust_env=False, timeout=PATIENCE) as http:
        while True:
            try:
                reply = http.post(server.address + SLOW, content=pictures.plain())
            except httpx.TransportError as error:
                seen.cut.append(repr(error))
                return
            seen.statuses[reply.status_code] += 1
            seen.answered.append(time.monotonic())
            if reply.headers.get("connection") == "close":
                return


def watch_readiness(server: Server, seen: Seen) -> None:
    """Ask as a load balancer does, until nobody listens any more."""
    with fresh() as http:
        while True:
            try:
                reply = http.get(f"{server.address}/readyz")
            except httpx.TransportError:
                return
            seen.ready.append((time.monotonic(), reply.status_code))
            time.sleep(0.01)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_stop_under_load_cuts_nothing(workers: str, tmp_path: Path) -> None:
    home = tiny_home(tmp_path / "home", rounds=100)
    seen = Seen()
    options = ("--open", "--models", "slow", "--workers", workers)
    with ExitStack() as stack:
        one = stack.enter_context(running(home, *options, stderr=tmp_path / "log"))
        callers = [threading.Thread(target=keep_calling, args=(one, seen)) for _ in range(6)]
        callers.append(threading.Thread(target=watch_readiness, args=(one, seen)))
        slow_body = stack.enter_context(connect(one))
        request = raw_request(one, SLOW, pictures.noise(size=(64, 64)))
        slow_body.sendall(request[:-2000])
        for caller in callers:
            caller.start()
        until(lambda: seen.statuses[200] >= 20, "the load")
        told = time.monotonic()
        one.process.send_signal(signal.SIGTERM)
        time.sleep(1.0)  # past the grace: the port is closed by now
        assert one.process.poll() is None, "a call is still arriving"
        slow_body.sendall(request[-2000:])
        answer = slow_body.recv(1 << 16)
        assert one.process.wait(20) == 0
        stopped = time.monotonic()
        for caller in callers:
            caller.join(PATIENCE)
        log = one.log()
    assert seen.cut == []
    assert set(seen.statuses) == {200}
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in answer.lower()
    refusals = [when for when, status in seen.ready if status == 503]
    assert refusals, "readiness said no while the port was still open"
    assert {status for _, status in seen.ready} == {200, 503}
    if workers == "1":
        assert all(status == 503 for when, status in seen.ready if when > refusals[0])
        assert max(seen.answered) > refusals[0], "calls were answered after that"
    assert stopped - told < 10
    assert "Traceback" not in log


def test_an_idle_server_stops_quickly_with_connections_open(tmp_path: Path) -> None:
    home = tiny_home(tmp_path / "home")
    with ExitStack() as stack:
        one = stack.enter_context(
            running(home, "--open", "--models", "colour", stderr=tmp_path / "log")
        )
        http = stack.enter_context(httpx.Client(trust_env=False))
        assert http.get(f"{one.address}/healthz").status_code == 200
        silent = stack.enter_context(connect(one))
        began = time.monotonic()
        assert one.stop() == 0
        assert time.monotonic() - began < 5
        assert silent.recv(1) == b""


# --- several workers -----------------------------------------------------------------------------


def children(pid: int) -> list[int]:
    """Worker processes: the children that serve (multiprocessing keeps one more of its own)."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(one) for one in found if b"spawn_main" in Path(f"/proc/{one}/cmdline").read_bytes()]


def test_workers_share_a_port_their_counts_and_their_fate(tmp_path: Path) -> None:
    home = tiny_home(tmp_path / "home", rounds=1000)
    options = ("--open", "--models", "colour,slow", "--workers", "2")
    with running(home, *options, stderr=tmp_path / "log") as one, fresh() as http:

        def call() -> None:
            reply = http.post(one.address + COLOUR, content=pictures.plain())
            assert reply.status_code == 200, reply.text

        first, second = children(one.process.pid)
        for asleep, count in ((first, 3), (second, 4)):
            # With one worker held, the other must be the one that answers.
            os.kill(asleep, signal.SIGSTOP)
            for _ in range(count):
                call()
            os.kill(asleep, signal.SIGCONT)
        until(lambda: calls(one, "colour", "ok") == 7, "the sum over both, whichever is asked")
        assert calls(one, "colour", "ok") == 7

        # The first one dies in the middle of a call; what it was doing is not counted as going on.
        os.kill(second, signal.SIGSTOP)
        with connect(one) as cut_off:
            cut_off.sendall(raw_request(one, SLOW, pictures.plain()))
            until(lambda: metrics(one)["heliograph_seats_taken"] == 1, "a call in progress")
            os.kill(first, signal.SIGKILL)
        os.kill(second, signal.SIGCONT)
        answered = 0
        while first in children(one.process.pid) or len(children(one.process.pid)) < 2:
            call()
            answered += 1
        (replaced,) = set(children(one.process.pid)) - {second}
        # It answers too, in time: with the other held, only it is left to.
        os.kill(second, signal.SIGSTOP)
        call()
        os.kill(second, signal.SIGCONT)
        for _ in range(30):
            call()
        whole = 7 + answered + 1 + 30
        until(lambda: calls(one, "colour", "ok") == whole, "the sum with the dead one's counts")
        assert replaced in children(one.process.pid)
        assert metrics(one)["heliograph_seats_taken"] == 0
        assert one.stop() == 0
        assert not Path(f"/proc/{second}").exists()
        assert not Path(f"/proc/{replaced}").exists()
