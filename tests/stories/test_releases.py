"""Releases against real servers: versions come and go under load, and no call is lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result
from jsonschema import Draft202012Validator

from heliograph.cli.main import cli
from support import models, pictures
from support.server import Server, running

PATIENCE = 30.0
API = "/api/v1/models"
FOLLOWED = 3.0
"""Seconds in which every worker has followed, with room for a machine that is busy."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call: when it began, and what came of it."""

    began: float
    status: int
    version: str
    label: str
    text: str = ""


@dataclass(slots=True)
class Callers:
    """What callers see who never stop."""

    seen: list[Call] = field(default_factory=list[Call])
    cut: list[Exception] = field(default_factory=list[Exception])

    def versions(self, since: float = 0.0, until: float = float("inf")) -> set[str]:
        return {one.version for one in self.seen if since <= one.began < until}


def call(http: httpx.Client, server: Server, model: str = "colour", **headers: str) -> Call:
    name, _, query = model.partition("?")
    began = time.monotonic()
    reply = http.post(
        f"{server.address}{API}/{name}/predict?format=json&{query}",
        content=pictures.plain(),
        headers={**server.headers, **headers},
    )
    said = reply.json()
    if reply.status_code != 200:
        return Call(began, reply.status_code, "", "", reply.text)
    return Call(began, 200, said["version"], said["predictions"][0]["label"])


def client(*, fresh: bool = False) -> httpx.Client:
    """A client; with `fresh` one that opens a connection for every call."""
    limits = httpx.Limits(max_keepalive_connections=0 if fresh else 10)
    return httpx.Client(limits=limits, trust_env=False, timeout=PATIENCE)


@contextmanager
def calling(
    server: Server, model: str = "colour", *, threads: int = 16, fresh: bool = False
) -> Generator[Callers]:
    """Callers who call all the time."""
    callers, stop = Callers(), threading.Event()

    def work() -> None:
        with client(fresh=fresh) as http:
            while not stop.is_set():
                try:
                    callers.seen.append(call(http, server, model))
                except Exception as error:  # noqa: BLE001 - counted, whatever it is
                    callers.cut.append(error)

    pool = [threading.Thread(target=work) for _ in range(threads)]
    for one in pool:
        one.start()
    try:
        until(lambda: len(callers.seen) >= threads)
        yield callers
    finally:
        stop.set()
        for one in pool:
            one.join(PATIENCE)
    assert callers.cut == []
    assert [one for one in callers.seen if one.status != 200] == []
    assert all(one.label == f"red {one.version}" for one in callers.seen)


def until(true: Callable[[], object], what: str = "this", patience: float = PATIENCE) -> None:
    ends = time.monotonic() + patience
    while not true():
        assert time.monotonic() < ends, f"{what} never came true"
        time.sleep(0.01)


def ask(server: Server, verb: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
    with client() as http:
        sent = {**server.headers, **headers}
        return http.request(verb, f"{server.address}{API}/{path}", json=body, headers=sent)


def order(server: Server, verb: str, path: str, body: Any = None, **headers: str) -> dict[str, Any]:
    reply = ask(server, verb, path, body, **headers)
    assert reply.status_code == 200, reply.text
    return reply.json()


def versions(server: Server, name: str) -> dict[str, dict[str, Any]]:
    return {one["version"]: one for one in order(server, "GET", f"{name}/release")["versions"]}


def answers(server: Server, model: str = "colour", **headers: str) -> str:
    with client(fresh=True) as http:
        found = call(http, server, model, **headers)
    assert found.status == 200, found.text
    return found.version


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A keyed server with two versions of `colour`, of which the first is promoted, and others."""
    home = tmp_path_factory.mktemp("releases")
    for version in (1, 2):
        models.version_package(home, version, rounds=5)
    for name in ("fresh", "flaky", "spare"):
        models.version_package(home, 1, name)
    environ = {"HELIOGRAPH_SERVING_DEADLINE": "2", "HELIOGRAPH_REGISTRY_POLL": "0.2"}
    names = "colour,fresh,flaky,spare"
    with running(home, "--models", names, stderr=home / "stderr", environ=environ) as started:
        order(started, "POST", "colour/promote", {"version": "1"})
        yield started
        assert "Traceback" not in started.log()


# --- under load ----------------------------------------------------------------------------------


def test_a_promotion_and_a_rollback_under_load_lose_no_call(server: Server) -> None:
    with calling(server) as callers:
        began = time.monotonic()
        order(server, "POST", "colour/promote", {"version": "2", "reason": "better"})
        promoted = time.monotonic()
        until(lambda: sum(one.began > promoted for one in callers.seen) > 100)
        back = time.monotonic()
        said = order(server, "POST", "colour/rollback", {})
        rolled = time.monotonic()
        until(lambda: sum(one.began > rolled for one in callers.seen) > 100)
    assert callers.versions(until=began) == {"1"}
    assert callers.versions() == {"1", "2"}
    assert callers.versions(promoted, back) == {"2"}
    assert callers.versions(rolled) == {"1"}
    assert (said["version"], said["aliases"], said["reason"]) == (
        "1",
        {"stable": "1"},
        "rolled back",
    )


def test_a_version_leaves_memory_only_after_the_longest_call(server: Server) -> None:
    with calling(server, threads=4) as callers:
        order(server, "POST", "colour/promote", {"version": "2"})
        promoted = time.monotonic()
        until(lambda: versions(server, "colour")["1"]["state"] == "unloaded")
        assert time.monotonic() - promoted > 1.9, "a call may take the two seconds of its deadline"
        order(server, "POST", "colour/rollback")
        until(lambda: callers.seen[-1].version == "1")
    assert answers(server) == "1"


def test_a_split_keeps_its_shares_and_its_sticky_callers(server: Server) -> None:
    order(
        server,
        "PATCH",
        "colour/release",
        {"aliases": {"canary": "2"}, "split": {"stable": 80, "canary": 20}},
    )
    with client() as http:
        first = [call(http, server, **{"X-Sticky-Key": f"caller {n}"}).version for n in range(300)]
        again = [call(http, server, **{"X-Sticky-Key": f"caller {n}"}).version for n in range(300)]
        drawn = Counter(call(http, server).version for _ in range(300))
        named = {call(http, server, "colour?version=canary").version for _ in range(20)}
    assert first == again
    for counts in (Counter(first), drawn):
        assert set(counts) == {"1", "2"}
        assert 25 < counts["2"] < 100
    assert named == {"2"}
    assert versions(server, "colour")["2"]["share"] == 0.2
    said = order(server, "POST", "colour/rollback")
    assert (said["split"], said["aliases"]) == ({}, {"stable": "1"})
    with client() as http:
        assert {call(http, server).version for _ in range(40)} == {"1"}
        assert call(http, server, "colour?version=canary").status == 404


# --- what comes ----------------------------------------------------------------------------------


def test_a_version_that_is_put_into_the_folder_answers_after_a_moment(server: Server) -> None:
    with calling(server, "fresh", threads=4) as callers:
        models.version_package(server.home, 2, "fresh")
        until(lambda: "2" in callers.versions(), "following")
        switch = time.monotonic()
        until(lambda: sum(one.began > switch for one in callers.seen) > 20)
    assert callers.versions(switch) == {"2"}


def test_a_copy_that_takes_its_time_is_taken_when_it_is_whole(server: Server) -> None:
    made = models.version_package(server.home / "elsewhere", 3, "fresh")
    target = server.home / "models" / "fresh" / "3"
    target.mkdir()
    with calling(server, "fresh", threads=2) as callers:
        for name in ("model.toml", "labels.txt", "model.onnx"):
            shutil.copy(Path(made.folder, name), target)
            time.sleep(0.5)
        until(lambda: callers.seen[-1].version == "3", "following")


def test_broken_versions_leave_the_good_one_answering_and_are_told(server: Server) -> None:
    with calling(server, "flaky", threads=4) as callers:
        for version, name, damage in ((2, "model.onnx", b"no model"), (3, "model.toml", b"name =")):
            made = models.version_package(server.home / f"bad{version}", version, "flaky")
            (Path(made.folder) / name).write_bytes(damage)
            shutil.move(made.folder, server.home / "models" / "flaky" / str(version))
        until(lambda: set(versions(server, "flaky")) == {"1", "2", "3"}, "following")
        until(lambda: versions(server, "flaky")["2"]["state"] == "failed", "failing")
        refused = ask(server, "POST", "flaky/promote", {"version": "2"})
    assert callers.versions() == {"1"}
    assert (refused.status_code, refused.json()["code"]) == (422, "model_invalid")
    told = versions(server, "flaky")
    assert "is not the pinned one" in told["2"]["reason"]
    assert "model.toml" in told["3"]["reason"]
    assert told["1"]["share"] == 1.0
    with client() as http:
        assert http.get(f"{server.address}/readyz").status_code == 200


# --- in and out of memory ------------------------------------------------------------------------


def test_a_model_goes_out_of_service_and_comes_back(server: Server) -> None:
    said = order(server, "POST", "spare/unload")
    assert said["unloaded"] == ["*"]
    assert said["versions"][0]["state"] == "unloaded"
    with client() as http:
        gone = call(http, server, "spare")
        assert http.get(f"{server.address}/readyz").status_code == 200
    assert gone.status == 503
    assert "model_unavailable" in gone.text
    assert order(server, "POST", "spare/load", {})["unloaded"] == []
    assert answers(server, "spare") == "1"


def test_an_old_version_is_kept_in_memory_for_those_who_name_it(server: Server) -> None:
    until(lambda: versions(server, "colour")["2"]["state"] == "unloaded", "leaving")
    with client() as http:
        assert call(http, server, "colour?version=2").status == 503
    assert order(server, "POST", "colour/load", {"version": "2"})["loaded"] == ["2"]
    time.sleep(2.5)
    assert (answers(server, "colour?version=2"), answers(server)) == ("2", "1")
    said = order(server, "POST", "colour/unload", {"version": "2"})
    assert (said["loaded"], said["unloaded"]) == ([], ["2"])
    order(server, "POST", "colour/load")


# --- who may, and how it is said -----------------------------------------------------------------


def test_two_operators_notice_each_other(server: Server) -> None:
    seen = ask(server, "GET", "colour/release").headers["etag"]
    done = ask(server, "PATCH", "colour/release", {"aliases": {"one": "1"}}, **{"If-Match": seen})
    assert done.status_code == 200
    assert done.headers["etag"] != seen
    for verb, path, body in (
        ("PATCH", "colour/release", {"aliases": {"two": "1"}}),
        ("POST", "colour/promote", {"version": "2"}),
        ("POST", "colour/unload", {}),
    ):
        late = ask(server, verb, path, body, **{"If-Match": seen})
        assert (late.status_code, late.json()["code"]) == (409, "conflict")
    assert order(server, "GET", "colour/release")["aliases"] == {"stable": "1", "one": "1"}
    now = done.headers["etag"]
    back = ask(server, "PATCH", "colour/release", {"aliases": {"one": None}}, **{"If-Match": now})
    assert back.status_code == 200


@pytest.mark.parametrize(
    ("verb", "path", "body", "code"),
    [
        ("GET", "nope/release", None, "not_found"),
        ("POST", "nope/promote", {"version": "1"}, "not_found"),
        ("POST", "colour/promote", {"version": "9"}, "not_found"),
        ("POST", "colour/promote", {}, "validation"),
        ("POST", "colour/promote", {"version": 2}, "validation"),
        ("POST", "colour/promote", {"version": "2", "force": True}, "unknown_field"),
        ("POST", "colour/load", {"version": ""}, "validation"),
        ("POST", "colour/rollback", [], "validation"),
        ("PATCH", "colour/release", {"split": {"1": -1}}, "validation"),
        ("PATCH", "colour/release", {"split": {"1": 0}}, "validation"),
        ("PATCH", "colour/release", {"split": {"7": 1}}, "validation"),
        ("PATCH", "colour/release", {"aliases": {"7": "1"}}, "validation"),
        ("PATCH", "colour/release", {"shadow": {"version": "1"}}, "validation"),
        ("PATCH", "colour/release", {"shadow": {"version": "2", "share": 0}}, "validation"),
        ("PATCH", "colour/release", {"gates": {"error": 0.1}}, "unknown_field"),
        ("PATCH", "colour/release", {"history": ["2"]}, "unknown_field"),
        ("POST", "colour/promote?force=1", {"version": "2"}, "unknown_field"),
        ("DELETE", "colour/release", None, "method_not_allowed"),
        ("GET", "colour?version=9", None, "not_found"),
        ("GET", "colour?verison=1", None, "unknown_field"),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    server: Server, verb: str, path: str, body: Any, code: str
) -> None:
    before = ask(server, "GET", "colour/release").headers["etag"]
    refused = ask(server, verb, path, body)
    assert refused.json()["code"] == code, refused.text
    assert ask(server, "GET", "colour/release").headers["etag"] == before


def test_without_a_key_or_from_another_page_nothing_is_decided(server: Server) -> None:
    orders = [("GET", "release"), ("PATCH", "release")]
    orders += [("POST", verb) for verb in ("promote", "rollback", "load", "unload")]
    with client() as http:
        for verb, path in orders:
            reply = http.request(verb, f"{server.address}{API}/colour/{path}", json={})
            assert reply.status_code == 401, path
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site", "Origin": server.address},
    ):
        refused = ask(server, "POST", "colour/unload", {}, **headers)
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    own = ask(server, "POST", "colour/load", {}, Origin=server.address)
    assert own.status_code == 200


def test_answers_are_as_the_document_says(server: Server) -> None:
    with client() as http:
        document = http.get(f"{server.address}/openapi.json").json()
    place = "/api/v1/models/{name}"
    for verb, path, body, headers in (
        ("GET", "/release", None, {}),
        ("PATCH", "/release", {}, {}),
        ("PATCH", "/release", {}, {"If-Match": '"other"'}),
        ("POST", "/promote", {"version": "1"}, {}),
        ("POST", "/promote", {"version": "9"}, {}),
        ("POST", "/rollback", [], {}),
        ("POST", "/load", {}, {}),
        ("GET", "", None, {}),
    ):
        reply = ask(server, verb, f"colour{path}", body, **headers)
        said = document["paths"][place + path][verb.lower()]["responses"][str(reply.status_code)]
        content = said["content"][reply.headers["content-type"]]
        schema = {**content["schema"], "components": document["components"]}
        Draft202012Validator(schema).validate(reply.json())
        assert all(name in reply.headers for name in said.get("headers", {}))


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"version":"1","version":"2"}', "json_duplicate_key"),
        (b"{", "malformed_json"),
        (b"[" * 200, "json_too_deep"),
        (b'{"reason":"' + b"x" * (65 << 10) + b'"}', "too_large"),
        (b'{"version":"1","reason":"' + b"x" * 501 + b'"}', "validation"),
    ],
)
def test_bodies_that_are_refused(server: Server, body: bytes, code: str) -> None:
    with client() as http:
        reply = http.post(
            f"{server.address}{API}/colour/promote", content=body, headers=server.headers
        )
    assert reply.json()["code"] == code


def test_the_list_has_a_row_a_model_and_the_card_is_of_the_version_asked_for(
    server: Server,
) -> None:
    with client() as http:
        rows = http.get(f"{server.address}{API}", headers=server.headers).json()["models"]
    assert [one["name"] for one in rows] == ["colour", "flaky", "fresh", "spare"]
    row = rows[0]
    assert (row["version"], row["state"]) == ("1", "ready")
    assert [one["version"] for one in row["versions"]] == ["1", "2"]
    first, second = (order(server, "GET", f"colour?version={one}") for one in ("stable", "2"))
    assert (first["version"], second["version"]) == ("1", "2")
    assert first["labels"] == ["red 1", "green 1", "blue 1"]
    assert first["digest"] != second["digest"]
    assert order(server, "GET", "colour")["version"] == "1"


# --- several workers, other processes, and sudden ends -------------------------------------------


def command(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("HELIOGRAPH_")}
    return subprocess.run(
        [sys.executable, "-m", "heliograph", *words, "--home", str(home)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=env,
    )


def decided(home: Path, *words: str) -> dict[str, Any]:
    done = command(home, *words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_two_workers_follow_one_another_and_the_command_line_and_survive_a_kill(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    for version in (1, 2, 3):
        models.version_package(home, version, rounds=5)
    decided(home, "promote", "colour", "1")
    options = ("--models", "colour", "--workers", "2", "--open")
    with running(home, *options, stderr=tmp_path / "one") as server:
        with calling(server, threads=6, fresh=True) as callers:
            order(server, "POST", "colour/promote", {"version": "2"})
            promoted = time.monotonic()
            time.sleep(FOLLOWED + 0.5)
            decided(home, "promote", "colour", "3", "--reason", "from the command line")
            typed = time.monotonic()
            time.sleep(FOLLOWED + 0.5)
        assert callers.versions(until=promoted) <= {"1", "2"}
        assert callers.versions(promoted + FOLLOWED, promoted + FOLLOWED + 0.5) == {"2"}
        assert callers.versions(typed + FOLLOWED) == {"3"}
        order(server, "POST", "colour/rollback")
        for pid in [*children(server.process.pid), server.process.pid]:
            os.kill(pid, signal.SIGKILL)
        server.process.wait()
    assert decided(home, "versions", "colour")["aliases"] == {"stable": "2"}
    with running(home, *options, stderr=tmp_path / "two") as server:
        assert {answers(server) for _ in range(20)} == {"2"}
        assert "Traceback" not in server.log()


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


# --- the command line ----------------------------------------------------------------------------


def inside(home: Path, *words: str) -> Result:
    """The command in this process: what starting one costs is told by the others."""
    return CliRunner().invoke(cli, [*words, "--home", str(home)])


def at_once(home: Path, *words: str) -> dict[str, Any]:
    done = inside(home, *words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_the_command_line_decides_shows_and_refuses(tmp_path: Path) -> None:
    for version in (1, 2):
        models.version_package(tmp_path, version)
    decided(tmp_path, "promote", "colour", "1", "--reason", "why [not]")
    table = inside(tmp_path, "split", "colour", "1=90", "2=10")
    assert table.exit_code == 0, table.output
    assert "90 %" in table.stdout
    assert "10 %" in table.stdout
    said = at_once(tmp_path, "gates", "colour", "--errors", "0.1", "--calls", "20")
    assert said["gates"] == {"errors": 0.1, "slower": None, "disagree": None, "calls": 20}
    assert said["split"] == {"1": 90.0, "2": 10.0}
    assert at_once(tmp_path, "alias", "colour", "mine", "2")["aliases"]["mine"] == "2"
    assert at_once(tmp_path, "rollback", "colour")["split"] == {}
    said = at_once(tmp_path, "shadow", "colour", "2", "--share", "0.5")
    assert said["shadow"] == {"version": "2", "share": 0.5}
    assert at_once(tmp_path, "shadow", "colour", "--off")["shadow"] is None
    assert "mine" not in at_once(tmp_path, "alias", "colour", "mine", "--off")["aliases"]
    assert at_once(tmp_path, "unload", "colour", "2")["unloaded"] == ["2"]
    assert at_once(tmp_path, "load", "colour")["unloaded"] == []
    listed = inside(tmp_path, "models").stdout
    assert "1 (100 %), 2" in listed
    assert "efficientnet-lite0 " in listed
    for words, says in (
        (("promote", "colour", "9"), "not_found"),
        (("rollback", "nope"), "not_found"),
        (("split", "colour", "1=-1"), "validation"),
        (("split", "colour", "1=nan", "2=1"), "validation"),
        (("split", "colour"), "Give shares"),
        (("split", "colour", "1=1", "1=2"), "twice"),
        (("shadow", "colour", "1"), "only another one"),
        (("alias", "colour", "7", "1"), "An alias is a name"),
    ):
        done = inside(tmp_path, *words)
        assert done.exit_code != 0, words
        assert says in f"{done.output} {done.exception}", words


def test_a_version_that_does_not_load_is_not_promoted_by_command(tmp_path: Path) -> None:
    models.version_package(tmp_path, 1)
    made = models.version_package(tmp_path, 2)
    Path(made.folder, "model.onnx").write_bytes(b"no model")
    done = command(tmp_path, "promote", "colour", "2")
    assert done.returncode == 2
    assert "not the pinned one" in done.stderr
    assert decided(tmp_path, "versions", "colour")["aliases"] == {}


def test_a_package_goes_out_and_is_served_elsewhere(tmp_path: Path) -> None:
    home, other = tmp_path / "home", tmp_path / "other"
    made = models.version_package(home, 7)
    models.colour_package(home, "alone")
    (home / "models" / "alone" / "release.json").write_text("{}")
    kept = tmp_path / "out" / "colour.zip"
    for again in (False, True):
        done = command(home, "export", "colour", "-o", str(kept))
        assert (done.returncode == 2) == again, done.stderr
    assert "there already" in done.stderr
    with zipfile.ZipFile(kept) as archive:
        assert archive.namelist() == ["labels.txt", "model.onnx", "model.toml"]
        archive.extractall(other / "models" / "colour" / "7")
    assert command(home, "export", "colour", "-o", str(tmp_path / "b.zip")).returncode == 0
    assert (tmp_path / "b.zip").read_bytes() == kept.read_bytes(), "the same package, the same zip"
    assert command(home, "export", "alone", "-o", str(tmp_path / "alone")).returncode == 0
    names = sorted(one.name for one in (tmp_path / "alone").iterdir())
    assert names == ["labels.txt", "model.onnx", "model.toml"]
    (tmp_path / "red.png").write_bytes(pictures.plain())
    told = command(other, "predict", "-m", "colour", "-o", "json", str(tmp_path / "red.png"))
    assert json.loads(told.stdout)[0]["predictions"][0]["label"] == "red 7"
    Path(made.folder, "model.onnx").write_bytes(b"changed")
    done = command(home, "export", "colour", "-o", str(tmp_path / "c.zip"))
    assert (done.returncode, "not the pinned one" in done.stderr) == (2, True)
    assert sorted(one.name for one in tmp_path.iterdir()) == [
        "alone", "b.zip", "home", "other", "out", "red.png",
    ]  # fmt: skip
