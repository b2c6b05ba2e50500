"""A client that calls over every protocol and writes down what it sees, for the checker.

    ask ──► log, on disk ──► the call ──► log, on disk: answer, refusal or nothing

What was asked under a key and not answered is asked again, as it was, by `again`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import struct
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import cv2
import grpc
import httpx
import numpy as np

from heliograph.edge.grpc.messages import load
from heliograph.edge.oip.protos import MESSAGES
from heliograph.edge.tfserving.grpc import SET
from support.models import colour_package
from support.server import Server, running
from support.tensor_models import simple_package

HTTP, OIP_REST, TFS_REST = "http", "oip-rest", "tfs-rest"
OIP_GRPC, TFS_GRPC = "oip-grpc", "tfs-grpc"
PROTOCOLS = (HTTP, OIP_REST, OIP_GRPC, TFS_REST, TFS_GRPC)
SEEN = "HELIOGRAPH_FAULTS_SEEN"
PRICES = {
    "currency": "EUR",
    "rates": [{"meter": "calls", "price": "0.0012"}, {"meter": "megapixels", "price": "0.5"}],
}
_WIDTH = 16
_GRPC = re.compile(r"^gRPC on (\S+)", re.MULTILINE)
_TFS = load(SET)
_PICTURE = cv2.imencode(".jpg", np.full((40, 40, 3), (0, 0, 255), np.uint8))[1].tobytes()
_METHODS = {
    OIP_GRPC: "/inference.GRPCInferenceService/ModelInfer",
    TFS_GRPC: "/tensorflow.serving.PredictionService/Predict",
}
_PATHS = {
    HTTP: "/api/v1/models/colour/predict",
    OIP_REST: "/v2/models/simple/infer",
    TFS_REST: "/v1/models/simple:predict",
}


class Question(NamedTuple):
    """One question: the protocol, a number that makes its answer its own, and its key or none."""

    protocol: str
    number: int
    key: str

    @property
    def model(self) -> str:
        return "colour" if self.protocol == HTTP else "simple"

    def body(self) -> bytes:
        """The request, the same bytes each time."""
        if self.protocol == HTTP:
            return _PICTURE
        first, second = [self.number] * _WIDTH, list(range(_WIDTH))
        if self.protocol == OIP_REST:
            inputs = [
                {"name": name, "shape": [1, _WIDTH], "datatype": "INT32", "data": data}
                for name, data in (("INPUT0", first), ("INPUT1", second))
            ]
            return json.dumps({"inputs": inputs}).encode()
        if self.protocol == TFS_REST:
            return json.dumps({"instances": [{"INPUT0": first, "INPUT1": second}]}).encode()
        if self.protocol == OIP_GRPC:
            return _oip(first, second)
        return _tfs(first, second)

    def measures(self) -> dict[str, int]:
        """What the ledger must say of it."""
        if self.protocol == HTTP:
            return {"images": 1, "rows": 1, "pixels": 1600, "bytes_in": len(_PICTURE)}
        return {"images": 0, "rows": 1, "pixels": 0}


def _oip(first: list[int], second: list[int]) -> bytes:
    made = MESSAGES["inference.ModelInferRequest"](model_name="simple")
    for name, data in (("INPUT0", first), ("INPUT1", second)):
        made.inputs.add(name=name, datatype="INT32", shape=[1, _WIDTH])
        made.raw_input_contents.append(struct.pack(f"<{_WIDTH}i", *data))
    return made.SerializeToString(deterministic=True)


def _tfs(first: list[int], second: list[int]) -> bytes:
    made = _TFS["tensorflow.serving.PredictRequest"]()
    made.model_spec.name = "simple"
    for name, data in (("INPUT0", first), ("INPUT1", second)):
        tensor = made.inputs[name]
        tensor.dtype = 3
        tensor.tensor_shape.dim.add(size=1)
        tensor.tensor_shape.dim.add(size=_WIDTH)
        tensor.tensor_content = struct.pack(f"<{_WIDTH}i", *data)
    return made.SerializeToString(deterministic=True)


class Outcome(NamedTuple):
    """What came of a call.

    Attributes:
        status: of HTTP, or gRPC's code; 0 if nothing came.
        ok: it was answered.
        code: of the error.
        again: it was a replay.
    """

    status: int
    ok: bool
    code: str = ""
    again: bool = False
    pred: str = ""
    body: bytes = b""
    cost: str = ""

    @property
    def unknown(self) -> bool:
        """Nobody can say whether it was done: nothing came, or a commit has failed half-way."""
        return not self.status or self.code == "db_unavailable"

    @property
    def waiting(self) -> bool:
        """The first request with its key is still being answered."""
        return self.code == "idempotency_in_progress"


LOST = Outcome(0, ok=False)


@dataclass
class Load:
    """One client over all of a run's servers.

    Args:
        log: what it saw; appended to.
        workspace: whose its key is.
        seed: of everything that is left to chance.
        deaf: it hears nothing any more, whatever comes.
    """

    log: Path
    workspace: str
    seed: int = 0
    secret: str = ""
    deaf: bool = False
    lost: list[Question] = field(default_factory=list[Question])
    outcomes: list[tuple[Question, Outcome]] = field(default_factory=list[tuple[Question, Outcome]])

    def __post_init__(self) -> None:
        self.chance = Random(self.seed)
        self._lock = threading.Lock()
        self._calls = 0
        self._file = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(self, what: str, **more: Any) -> None:
        """Write a line, on disk when this returns."""
        line = json.dumps({"what": what, "at_ms": time.time_ns() // 1_000_000, **more}) + "\n"
        os.write(self._file, line.encode())
        os.fsync(self._file)

    def close(self) -> None:
        os.close(self._file)

    def question(self, protocol: str, *, keyed: bool) -> Question:
        """A new one."""
        with self._lock:
            self._calls += 1
            number = self._calls
        key = f"k{self.seed}-{number}" if keyed else ""
        return Question(protocol, self.seed % 1000 * 100_000 + number, key)

    def ask(self, door: Door, question: Question) -> Outcome:
        """Ask, and write down what comes of it."""
        with self._lock:
            self._calls += 1
            call = f"{self.seed}-{self._calls}"
        self.note(
            "ask",
            call=call,
            protocol=question.protocol,
            workspace=self.workspace,
            model=question.model,
            key=question.key,
            **question.measures(),
        )
        found = door.ask(question, self.secret)
        if self.deaf:
            found = LOST._replace(code="deaf")
        if found.unknown:
            self.note("lost", call=call, why=found.code)
            if question.key:
                self.lost.append(question)
        else:
            self.note(
                "answer",
                call=call,
                status=found.status,
                ok=found.ok,
                code=found.code,
                pred=found.pred,
                digest=hashlib.sha256(found.body).hexdigest(),
                bytes=len(found.body),
                cost=found.cost,
                again=found.again,
            )
        self.outcomes.append((question, found))
        return found

    def again(self, door: Door, patience: float = 20.0) -> None:
        """Ask once more what was asked under a key and not answered; it must be answered now.

        What the server is still at is asked again a little later.
        """
        ends = time.monotonic() + patience
        while self.lost:
            waiting, self.lost = self.lost, []
            for one in waiting:
                found = self.ask(door, one)
                if found.waiting and time.monotonic() < ends:
                    self.lost.append(one)
                elif found.unknown:
                    return
                else:
                    assert found.ok, (one, found)
            time.sleep(0.02)


class Door:
    """The way to one server.

    Args:
        server: it.
        seconds: how long to wait for an answer.
    """

    def __init__(self, server: Server, seconds: float = 20.0) -> None:
        self._address = server.address
        self._seconds = seconds
        self._http = httpx.Client(trust_env=False, timeout=seconds)
        found = _GRPC.search(server.log())
        assert found, server.log()
        # A channel of its own for each: by default all channels to one address share a connection.
        self._channel = grpc.insecure_channel(
            found[1], options=[("grpc.use_local_subchannel_pool", 1)]
        )
        self._methods: dict[str, Callable[..., Any]] = {
            name: self._channel.unary_unary(path) for name, path in _METHODS.items()
        }

    def close(self) -> None:
        self._http.close()
        self._channel.close()

    def ask(self, question: Question, secret: str) -> Outcome:
        headers = {"authorization": f"Bearer {secret}"}
        if question.key:
            headers["idempotency-key"] = question.key
        if question.protocol in _METHODS:
            return self._call(question, headers)
        return self._post(question, headers)

    def _post(self, question: Question, headers: Mapping[str, str]) -> Outcome:
        media = "image/jpeg" if question.protocol == HTTP else "application/json"
        try:
            reply = self._http.post(
                self._address + _PATHS[question.protocol],
                content=question.body(),
                headers={"content-type": media, **headers},
            )
        except httpx.HTTPError as error:
            return LOST._replace(code=type(error).__name__)
        # The protocols of others have no place for it in the body.
        code = reply.headers.get("x-error-code") or str(_json(reply).get("code", ""))
        return Outcome(
            reply.status_code,
            reply.is_success,
            "" if reply.is_success else code,
            "idempotent-replayed" in reply.headers,
            reply.headers.get("x-request-id", "") if question.protocol != OIP_REST else "",
            reply.content,
            reply.headers.get("x-cost", ""),
        )

    def _call(self, question: Question, headers: Mapping[str, str]) -> Outcome:
        try:
            body, call = self._methods[question.protocol].with_call(  # pyright: ignore[reportFunctionMemberAccess]
                question.body(), timeout=self._seconds, metadata=tuple(headers.items())
            )
        except grpc.RpcError as error:
            told: Any = error
            said = dict(told.trailing_metadata() or ())
            if "code" not in said:  # nobody of ours has said anything
                return LOST._replace(code=str(told.code()))
            return Outcome(told.code().value[0], ok=False, code=str(said["code"]))
        said = dict(call.trailing_metadata() or ())
        cost, again = str(said.get("x-cost", "")), "idempotent-replayed" in said
        return Outcome(200, ok=True, again=again, body=body, cost=cost)


def _json(reply: httpx.Response) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        return reply.json()
    return {}


def prepare(home: Path) -> None:
    """Put the two tiny models into a data folder, on disk, if they are not there."""
    if not (home / "models").exists():
        simple_package(home)
        colour_package(home)
        os.sync()


@contextmanager
def serving(
    home: Path, name: str, *options: str, faults: str = "", **environ: str
) -> Generator[Server]:
    """Serve the two tiny models until the block ends, or the server does.

    Args:
        home: the data folder; the models are put there if they are not.
        name: of the files beside it: `NAME.stderr`, `NAME.seen`.
        options: further ones of `heliograph serve`.
        faults: places where the process ends, as in `core.faults`.
        environ: further variables.
    """
    prepare(home)
    more = {"HELIOGRAPH_FAULTS": faults, SEEN: str(home.parent / f"{name}.seen")} if faults else {}
    given = ("--models", "simple,colour", "--grpc-port", "0", *options)
    stderr = home.parent / f"{name}.stderr"
    with running(home, *given, stderr=stderr, environ={**environ, **more}) as server:
        yield server


@contextmanager
def opened(server: Server, seconds: float = 20.0) -> Generator[Door]:
    """A way to a server until the block ends."""
    door = Door(server, seconds)
    try:
        yield door
    finally:
        door.close()


def introduce(
    load: Load,
    server: Server,
    limits: list[Mapping[str, Any]] | None = None,
    *,
    prices: bool = True,
) -> None:
    """Get the client a key of its own; limits count from now on, and calls will cost something."""
    with httpx.Client(trust_env=False, headers=server.headers, timeout=20.0) as http:
        if prices:
            http.put(f"{server.address}/api/v1/prices", json=PRICES).raise_for_status()
        for meter in ("calls", "images", "megapixels", "cost"):
            most = {"meter": meter, "period": "month", "most": 10**12}
            http.put(f"{server.address}/api/v1/quotas", json=most).raise_for_status()
        wanted = {"name": f"load {load.seed}", "limits": limits or []}
        made = http.post(f"{server.address}/api/v1/keys", json=wanted).raise_for_status().json()
    load.secret = made["key"]


def fired(home: Path, name: str) -> list[str]:
    """The places where a server's process has ended."""
    seen = home.parent / f"{name}.seen"
    return seen.read_text("ascii").split() if seen.exists() else []
