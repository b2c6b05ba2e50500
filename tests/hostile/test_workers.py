"""What must hold on every worker at once: keys, suspensions, and requests that are sent twice.

Two workers answer one address; which of them answers, nobody chooses. B131, B139, T-AUTH-1.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import grpc
import httpx
import pytest

from heliograph.accounts.keys.service import Wishes
from heliograph.accounts.keys.values import make
from heliograph.core.call import Credentials
from heliograph.core.errors import HeliographError
from heliograph.core.permissions import EVERY, Permission
from heliograph.edge.grpc.messages import Messages, load
from heliograph.house import open_house
from heliograph.settings import read_settings
from support.doors import EDGE
from support.tenants import GOOD, Site, site
from support.tensor_models import vector_package

EDGES = "/api/v1/edges?format=json"
WITHIN = 5.0
INFER = "/inference.GRPCInferenceService/ModelInfer"
STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
PREDICT = "/tensorflow.serving.PredictionService/Predict"
_OIP: Messages = load(EDGE / "oip" / "oip.binpb")
_TF: Messages = load(EDGE / "tfserving" / "tfserving.binpb")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server with two workers and a model of plain tensors."""
    home = tmp_path_factory.mktemp("pair")
    vector_package(home)
    with site(home, "--models", "edges,identity", "--workers", "2") as made:
        yield made


def everywhere(pair: Site, ask: Callable[[httpx.Client], httpx.Response]) -> list[httpx.Response]:
    """Twelve connections: both workers are among those who answer."""
    replies: list[httpx.Response] = []
    for _ in range(12):
        with httpx.Client(base_url=pair.server.address, trust_env=False, timeout=20.0) as one:
            replies.append(ask(one))
    return replies


def code(reply: httpx.Response) -> str:
    return "" if reply.is_success else reply.json()["code"]


def post(key: str, **headers: str) -> Callable[[httpx.Client], httpx.Response]:
    said = {"authorization": f"Bearer {key}"} | {n.replace("_", "-"): v for n, v in headers.items()}
    return lambda one: one.post(EDGES, content=GOOD, headers=said)


def eventually(pair: Site, key: str, wanted: str) -> float:
    """Seconds until every worker answers a key so."""
    began = time.monotonic()
    while {code(one) for one in everywhere(pair, post(key))} != {wanted}:
        assert time.monotonic() < began + WITHIN, wanted
    return time.monotonic() - began


# --- keys -----------------------------------------------------------------------------------


def test_the_life_of_a_key(pair: Site) -> None:
    owner = pair.by_session(pair.ours.session)
    made = owner.post("/api/v1/keys", json={"name": "short"}).raise_for_status().json()
    key, card = made["key"], made["card"]
    assert {code(one) for one in everywhere(pair, post(key))} == {""}, "at once on every worker"
    said = {"overlap_seconds": 3600}
    new = owner.post(f"/api/v1/keys/{card['id']}/rotate", json=said).raise_for_status().json()
    assert new["key"] != key
    for one in (key, new["key"]):
        assert {code(each) for each in everywhere(pair, post(one))} == {""}, "both, for an hour"
    for one, text in ((card["id"], key), (new["card"]["id"], new["key"])):
        assert owner.delete(f"/api/v1/keys/{one}").status_code == 204
        assert eventually(pair, text, "unauthenticated") < WITHIN


def test_what_a_key_is_bound_to(pair: Site) -> None:
    owner = pair.by_session(pair.ours.session)

    def bound(**rules: Any) -> str:
        said = {"name": "bound", **rules}
        return owner.post("/api/v1/keys", json=said).raise_for_status().json()["key"]

    def tell(key: str, **headers: str) -> set[str]:
        return {code(one) for one in everywhere(pair, post(key, **headers))}

    assert tell(bound(addresses=["127.0.0.0/8"])) == {""}
    assert tell(bound(addresses=["192.0.2.0/24"])) == {"unauthenticated"}
    page = bound(origins=["https://app.example"])
    assert tell(page, origin="https://app.example") == {""}
    assert tell(page, origin="https://evil.example") == tell(page) == {"unauthenticated"}
    assert tell(bound(models=["edg*"])) == {""}
    assert tell(bound(models=["identity"])) == {"forbidden"}
    soon = bound(expires_ms=int(time.time() * 1000) + 1500)
    assert tell(soon) == {""}
    time.sleep(1.6)
    assert tell(soon) == {"unauthenticated"}
    late = owner.post("/api/v1/keys", json={"name": "late", "expires_ms": 1})
    assert (late.status_code, code(late)) == (422, "validation")


def test_b131_a_key_in_an_address_is_refused(pair: Site) -> None:
    key = pair.ours.weak
    for name in ("key", "api_key", "token", "access_token", "Authorization"):
        for path in ("/api/v1/edges", "/api/v1/keys", "/v2/models/identity/infer", "/v1/models/x"):
            replies = [
                one.request(method, path, params={name: key})
                for one in [pair.by_key("")]
                for method in (("GET",) if path.endswith(("keys", "x")) else ("POST",))
            ]
            for reply in replies:
                assert reply.status_code in {400, 401}, (path, reply.text)
                assert key not in reply.text
    reply = pair.by_key("").post("/api/v1/edges", params={"key": key}, content=GOOD)
    assert (reply.status_code, code(reply)) == (400, "key_in_url")
    assert key not in pair.server.log()


def test_b131_the_key_is_marked_and_its_owner_told(pair: Site) -> None:
    owner = pair.by_session(pair.ours.session)
    made = owner.post("/api/v1/keys", json={"name": "shown"}).raise_for_status().json()
    pair.by_key("").post("/api/v1/edges", params={"key": made["key"]}, content=GOOD)
    time.sleep(1.0)
    card = owner.get(f"/api/v1/keys/{made['card']['id']}").json()
    assert card["exposed_ms"] > 0
    acts = owner.get("/api/v1/audit", params={"act": "key:exposed"}).json()["events"]
    assert [one["subject"] for one in acts].count(made["card"]["id"]) == 1


@pytest.mark.parametrize(("rounds", "pause"), [(2000, 0.0), (20, 0.06)], ids=["fast", "slow"])
def test_t_auth_1_no_time_tells_what_is_wrong_with_a_key(
    tmp_path: Path, rounds: int, pause: float
) -> None:
    """Asked fast, nobody may look at the database for a key; asked slowly, all may."""
    house = open_house(read_settings(tmp_path))
    try:
        place = house.workspaces.create("timed", "admin").id
        found = [house.keys.create(place, Wishes("k"), "admin", EVERY) for _ in range(2)]
        house.keys.revoke(place, found[1][0].id, "admin")
        house.directory.refresh()
        right, other = found[0][1], make()[1]
        wrong = _signed(right)
        classes = {"no such id": other, "wrong secret": wrong, "revoked": found[1][1]}
        for _ in range(0 if pause else 200):
            for key in classes.values():
                _timed(house.gate.check, key)
        took: dict[str, list[int]] = {name: [] for name in classes}
        for _ in range(rounds):
            for name, key in classes.items():
                time.sleep(pause)
                took[name].append(_timed(house.gate.check, key))
    finally:
        house.close()
    medians = {name: statistics.median(times) / 1000 for name, times in took.items()}
    print(f"T-AUTH-1, medians in µs: {medians}")
    # Twenty looks at a database on a busy machine lie further apart than the rule's 50 µs.
    allowed = max(medians.values()) / 2 if pause else 50.0
    assert max(medians.values()) - min(medians.values()) < allowed, medians


def _signed(key: str) -> str:
    """A key with the same id and another secret, whose checksum is right."""
    from heliograph.accounts.keys.values import _checksum

    head = key.rpartition("_")[0]
    changed = head[:-1] + ("a" if head[-1] != "a" else "b")
    return f"{changed}_{_checksum(changed)}"


def _timed(check: Callable[..., object], key: str) -> int:
    said = Credentials(key)
    began = time.perf_counter_ns()
    try:
        check(said, Permission.MODELS_CALL)
    except HeliographError:
        return time.perf_counter_ns() - began
    raise AssertionError("it was let in")


# --- idempotency ----------------------------------------------------------------------------


def calls(pair: Site, key: str) -> int:
    """Rows of a workspace's ledger."""
    reply = pair.by_key(key).get("/api/v1/usage")
    return reply.raise_for_status().json()["totals"]["calls"]


def test_b139_the_same_request_twice_is_done_once(pair: Site) -> None:
    key, before = pair.ours.key, calls(pair, pair.ours.key)
    replies = everywhere(pair, post(key, idempotency_key="once"))
    assert {one.status_code for one in replies} == {200}
    assert len({one.content for one in replies}) == len({one.json()["id"] for one in replies}) == 1
    assert Counter(one.headers.get("idempotent-replayed", "") for one in replies) == {
        "": 1,
        "true": 11,
    }
    assert calls(pair, key) == before + 1
    client = pair.by_key(key, idempotency_key="once")
    other = client.post(EDGES, content=GOOD + b"x")
    assert (other.status_code, code(other)) == (422, "idempotency_mismatch")
    elsewhere = client.post("/api/v1/models/edges/predict?format=json", content=GOOD)
    assert code(elsewhere) == "idempotency_mismatch"
    for bad in ("x" * 256, "a\tb"):
        reply = client.post(EDGES, content=GOOD, headers={"idempotency-key": bad})
        assert (reply.status_code, code(reply)) == (400, "bad_request")
    longest = client.post(EDGES, content=GOOD, headers={"idempotency-key": "x" * 255})
    assert longest.status_code == 200
    theirs = pair.by_key(pair.theirs.key, idempotency_key="once").post(EDGES, content=GOOD)
    assert theirs.status_code == 200
    assert theirs.json()["id"] != replies[0].json()["id"]


def test_b139_fifty_at_once_are_one_run(pair: Site) -> None:
    before = calls(pair, pair.ours.key)
    ask = post(pair.ours.key, idempotency_key="fifty")
    gate = threading.Barrier(50)

    def one(_: int) -> httpx.Response:
        with httpx.Client(base_url=pair.server.address, trust_env=False, timeout=30.0) as client:
            gate.wait(20)
            return ask(client)

    with ThreadPoolExecutor(50) as pool:
        replies = list(pool.map(one, range(50)))
    said = Counter(code(reply) for reply in replies)
    assert set(said) <= {"", "idempotency_in_progress"}, said
    assert said[""] >= 1
    assert len({reply.content for reply in replies if reply.is_success}) == 1
    assert all(r.headers["retry-after"] == "1" for r in replies if not r.is_success)
    assert calls(pair, pair.ours.key) == before + 1


def test_b139_over_grpc(pair: Site) -> None:
    key, before = pair.ours.key, calls(pair, pair.ours.key)
    first = infer(pair, key, ("idempotency-key", "g"))
    assert [infer(pair, key, ("idempotency-key", "g")) for _ in range(4)] == [first] * 4
    assert calls(pair, key) == before + 1
    assert status(lambda: infer(pair, key, ("idempotency-key", "g"), rows=2)) == (
        "INVALID_ARGUMENT",
        "idempotency_mismatch",
    )
    assert status(lambda: infer(pair, key, ("idempotency-key", "x" * 256)))[1] == "bad_request"
    assert status(lambda: tf_predict(pair, key, ("idempotency-key", "g")))[1] == (
        "idempotency_mismatch"
    )
    infer(pair, pair.theirs.key, ("idempotency-key", "g"))
    assert calls(pair, key) == before + 1


def test_b139_nobody_gets_the_answer_of_somebody_else(pair: Site) -> None:
    """Two people of one workspace have keys of their own; a key that may not call gets nothing."""
    said = {"name": "once", "scopes": ["models:read"]}
    owner = pair.by_session(pair.ours.session, idempotency_key="mine")
    first = owner.post("/api/v1/keys", json=said).raise_for_status()
    again = owner.post("/api/v1/keys", json=said).raise_for_status()
    assert again.content == first.content
    theirs = pair.by_session(pair.theirs.session, idempotency_key="mine")
    assert theirs.post("/api/v1/keys", json=said).json()["key"] != first.json()["key"]
    program = pair.by_key(pair.ours.key, idempotency_key="mine")
    assert program.post("/api/v1/keys", json=said).json()["key"] != first.json()["key"]
    weak = pair.by_key(pair.ours.weak, idempotency_key="mine").post("/api/v1/keys", json=said)
    assert (weak.status_code, code(weak)) == (403, "forbidden")
    nobody = pair.by_key("", idempotency_key="mine").post("/api/v1/keys", json=said)
    assert nobody.status_code == 401


# --- suspension -----------------------------------------------------------------------------


def target(pair: Site) -> str:
    found = re.search(r"^gRPC on (\S+)", pair.server.log(), re.MULTILINE)
    assert found
    return found[1]


def question(rows: int = 1) -> Any:
    made = _OIP["inference.ModelInferRequest"](model_name="identity")
    made.inputs.add(name="INPUT0", datatype="FP32", shape=[rows, 2])
    made.inputs[0].contents.fp32_contents.extend([1.0] * rows * 2)
    return made


def infer(pair: Site, key: str, *metadata: tuple[str, str], rows: int = 1) -> bytes:
    with grpc.insecure_channel(target(pair)) as channel:
        ask: Any = channel.unary_unary(INFER)
        said = (("authorization", f"Bearer {key}"), *metadata)
        return ask(question(rows).SerializeToString(), timeout=20.0, metadata=said)


def tf_predict(pair: Site, key: str, *metadata: tuple[str, str]) -> bytes:
    asked = _TF["tensorflow.serving.PredictRequest"]()
    asked.model_spec.name = "identity"
    asked.inputs["INPUT0"].dtype = 1
    for size in (1, 2):
        asked.inputs["INPUT0"].tensor_shape.dim.add(size=size)
    asked.inputs["INPUT0"].float_val.extend([1.0, 2.0])
    with grpc.insecure_channel(target(pair)) as channel:
        ask: Any = channel.unary_unary(PREDICT)
        said = (("authorization", f"Bearer {key}"), *metadata)
        return ask(asked.SerializeToString(), timeout=20.0, metadata=said)


def status(ask: Callable[[], object]) -> tuple[str, str]:
    """gRPC's status and our code; empty for an answer."""
    try:
        ask()
    except grpc.RpcError as error:
        told: Any = error
        return told.code().name, dict(told.trailing_metadata() or ()).get("code", "")
    return "", ""


def run(pair: Site, *command: str) -> str:
    home = ("--home", str(pair.server.home))
    done = subprocess.run(
        [sys.executable, "-m", "heliograph", *command, *home],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout


def test_a_suspension_acts_everywhere_within_five_seconds(pair: Site) -> None:
    """Decided by a command in another process; the people still see their bill and their data."""
    whose = pair.theirs
    client, key = pair.by_key(whose.key), whose.key
    tensor = {"name": "INPUT0", "shape": [1, 2], "datatype": "FP32", "data": [1.0, 2.0]}
    ways: dict[str, Callable[[], tuple[str, str]]] = {
        "predict": lambda: http(client.post(EDGES, content=GOOD)),
        "oip": lambda: http(client.post("/v2/models/identity/infer", json={"inputs": [tensor]})),
        "tf": lambda: http(
            client.post("/v1/models/identity:predict", json={"instances": [[1.0, 2.0]]})
        ),
        "oip grpc": lambda: status(lambda: infer(pair, key)),
        "tf grpc": lambda: status(lambda: tf_predict(pair, key)),
    }
    with grpc.insecure_channel(target(pair)) as channel, Asking(channel, key) as stream:
        for name, ask in ways.items():
            assert ask() == ("", ""), name
        assert stream.ask() == ""
        report = {
            "subject": whose.workspace,
            "ground": "spam",
            "text": "It sends spam.",
            "good_faith": True,
        }
        case = pair.by_key("").post("/api/v1/abuse/reports", json=report).json()["case"]
        run(pair, "abuse", "decide", case, "suspend", "--ground", "spam", "--rule", "1",
            "--facts", "Spam.", "--days", "3")  # fmt: skip
        began = time.monotonic()
        waiting = {**ways, "oip grpc stream": lambda: ("", stream.ask())}
        took: dict[str, float] = {}
        while len(took) < len(waiting):
            assert time.monotonic() < began + WITHIN, set(waiting) - set(took)
            for name, ask in waiting.items():
                if name not in took and ask() != ("", ""):
                    took[name] = time.monotonic() - began
        print(f"a suspension acted after seconds: {took}")
        for _ in range(8):  # both workers, each way
            for name in ("predict", "oip", "tf"):
                assert ways[name]()[0] == "403", name
            for name in ("oip grpc", "tf grpc"):
                assert ways[name]() == ("PERMISSION_DENIED", "suspended"), name
        assert "suspended" in stream.ask()
    assert code(client.post(EDGES, content=GOOD)) == "suspended"
    person = pair.by_session(whose.session)
    for path in ("/api/v1/usage", "/api/v1/usage/calls", "/api/v1/invoices", "/api/v1/me",
                 "/api/v1/abuse/statements"):  # fmt: skip
        assert person.get(path).status_code == 200, path
    assert code(person.post("/api/v1/keys", json={"name": "no"})) == "suspended"
    assert pair.by_key(pair.ours.key).post(EDGES, content=GOOD).status_code == 200


def http(reply: httpx.Response) -> tuple[str, str]:
    return ("", "") if reply.is_success else (str(reply.status_code), "")


class Asking:
    """A stream of the Open Inference Protocol that stays open between questions."""

    def __init__(self, channel: grpc.Channel, key: str) -> None:
        self._more = threading.Semaphore(0)
        self._open = True
        call: Any = channel.stream_stream(STREAM)
        said = (("authorization", f"Bearer {key}"),)
        self._answers: Any = call(self._questions(), timeout=60.0, metadata=said)

    def _questions(self) -> Iterator[bytes]:
        while True:
            self._more.acquire()
            if not self._open:
                return
            yield question().SerializeToString()

    def ask(self) -> str:
        """The error of the next answer; empty if there is none."""
        self._more.release()
        answer = _OIP["inference.ModelStreamInferResponse"]()
        answer.ParseFromString(next(self._answers))
        return answer.error_message

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open = False
        self._more.release()
        self._answers.cancel()
