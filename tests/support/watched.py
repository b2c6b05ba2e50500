"""What teams put into a watched place: versions of a model that say which one answered."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from onnx import helper

from support.foreign import graph_model
from support.models import floats
from support.server import Server

PATIENCE = 60.0
OPERATIONS = {1: "Add", 2: "Sub", 3: "Mul"}
ANSWERS = {1: 7.0, 2: 3.0, 3: 10.0}
"""What each version makes of 5 and 2."""


def model(version: int) -> bytes:
    """`c` [N, 4] of `a` and `b`; each version has an operation of its own."""
    node = helper.make_node(OPERATIONS[version], ["a", "b"], ["c"])
    graph = helper.make_graph(
        [node], "two", [floats("a", "N", 4), floats("b", "N", 4)], [floats("c", "N", 4)]
    )
    return graph_model(graph).SerializeToString(deterministic=True)


def put(place: Path, files: Mapping[str, bytes]) -> None:
    """Write files below a folder, by their paths."""
    for path, data in files.items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_bytes(data)


@dataclass(frozen=True, slots=True)
class Call:
    """One call: when it began, and what came of it; the version is empty if it failed."""

    began: float
    version: str
    text: str = ""


@dataclass(slots=True)
class Callers:
    """What callers see who never stop."""

    seen: list[Call] = field(default_factory=list[Call])

    def last(self) -> str:
        return self.seen[-1].version if self.seen else ""

    def failed(self) -> list[Call]:
        return [one for one in self.seen if not one.version]


def call(http: httpx.Client, server: Server, name: str) -> Call:
    began = time.monotonic()
    inputs = [
        {"name": one, "shape": [1, 4], "datatype": "FP32", "data": [value] * 4}
        for one, value in (("a", 5.0), ("b", 2.0))
    ]
    try:
        reply = http.post(f"{server.address}/v2/models/{name}/infer", json={"inputs": inputs})
    except httpx.HTTPError as error:
        return Call(began, "", repr(error))
    if reply.status_code != 200:
        return Call(began, "", f"{reply.status_code} {reply.text}")
    said = reply.json()
    version = said["model_version"]
    if said["outputs"][0]["data"] != [ANSWERS[int(version)]] * 4:
        return Call(began, "", f"version {version} answers wrongly: {reply.text}")
    return Call(began, version)


def client() -> httpx.Client:
    return httpx.Client(trust_env=False, timeout=PATIENCE)


def answers(server: Server, name: str) -> str:
    """The version that answers now; empty for none."""
    with client() as http:
        return call(http, server, name).version


def until(true: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    ends = time.monotonic() + patience
    while not true():
        assert time.monotonic() < ends, f"never: {what}"
        time.sleep(0.02)


@contextmanager
def calling(server: Server, name: str, threads: int = 4) -> Generator[Callers]:
    """Callers who call all the time, until the block ends."""
    callers, stop = Callers(), threading.Event()

    def work() -> None:
        with client() as http:
            while not stop.is_set():
                callers.seen.append(call(http, server, name))

    pool = [threading.Thread(target=work) for _ in range(threads)]
    for one in pool:
        one.start()
    try:
        until(lambda: len(callers.seen) > threads, "calls")
        yield callers
    finally:
        stop.set()
        for one in pool:
            one.join(PATIENCE)
