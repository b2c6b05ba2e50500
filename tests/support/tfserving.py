"""TensorFlow Serving's APIs for tests: tiny models of plain tensors, both APIs on real sockets."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import uvicorn
import uvloop
from onnx import TensorProto, helper
from starlette.routing import Router

from heliograph.accounts.key import KeyGate, OpenGate
from heliograph.app import App, build
from heliograph.edge.books import NullBooks
from heliograph.edge.grpc.server import GrpcServer
from heliograph.edge.http.limits import WireLimits
from heliograph.edge.http.server import listen
from heliograph.edge.http.wire import protocol
from heliograph.edge.services import Services
from heliograph.edge.tfserving.grpc import handlers
from heliograph.edge.tfserving.routes import routes
from heliograph.registry.values import ModelPackage, read_package
from heliograph.settings import RegistrySettings, Settings
from heliograph.telemetry.meter import TelemetryMeter
from heliograph.telemetry.metrics import Metrics
from support.models import colour_package, save, slow_package, write_card
from support.tensor_models import build as build_model
from support.tensor_models import tensor

FLOAT, INT32, STRING = TensorProto.FLOAT, TensorProto.INT32, TensorProto.STRING


def tensor_package(
    home: Path, name: str, make: Callable[[Path], Path], *, version: int = 0
) -> ModelPackage:
    """A package of plain tensors in `home/models/NAME`, or in a numbered folder of it."""
    folder = home / "models" / name / (str(version) if version else "")
    folder.mkdir(parents=True)
    digest = hashlib.sha256(make(folder / "model.onnx").read_bytes()).hexdigest()
    card: dict[str, Any] = {
        "name": name,
        "version": version or 1,
        "engine": "onnx",
        "weights": {"file": "model.onnx", "sha256": digest},
    }
    return read_package(write_card(folder, card))


def half_plus(path: Path, more: float = 2.0, *shape: int | str) -> Path:
    """`y` = `x` / 2 + `more`, float32 [N, K] or another shape."""
    shape = shape or ("N", "K")
    nodes = [
        helper.make_node("Constant", [], ["half"], value_float=0.5),
        helper.make_node("Constant", [], ["more"], value_float=more),
        helper.make_node("Mul", ["x", "half"], ["h"]),
        helper.make_node("Add", ["h", "more"], ["y"]),
    ]
    return save(
        build_model(nodes, [tensor("x", FLOAT, *shape)], [tensor("y", FLOAT, *shape)]), path
    )


def add_and_subtract(path: Path) -> Path:
    """`sum` and `difference` of `a` and `b`, int32 [N, 2]."""
    nodes = [
        helper.make_node("Add", ["a", "b"], ["sum"]),
        helper.make_node("Sub", ["a", "b"], ["difference"]),
    ]
    given = [tensor(name, INT32, "N", 2) for name in ("a", "b")]
    answer = [tensor(name, INT32, "N", 2) for name in ("sum", "difference")]
    return save(build_model(nodes, given, answer), path)


def uneven(path: Path) -> Path:
    """`x` [N, 2] comes back as `y`; `z` [1, 2] is always one row."""
    nodes = [
        helper.make_node("Identity", ["x"], ["y"]),
        helper.make_node("ReduceMean", ["x"], ["z"], axes=[0], keepdims=1),
    ]
    answer = [tensor("y", FLOAT, "N", 2), tensor("z", FLOAT, 1, 2)]
    return save(build_model(nodes, [tensor("x", FLOAT, "N", 2)], answer), path)


def words(path: Path) -> Path:
    """Strings [N] come back as `text` and `text_bytes`."""
    ends = ("text", "text_bytes")
    nodes = [helper.make_node("Identity", ["word"], [name]) for name in ends]
    answer = [tensor(name, STRING, "N") for name in ends]
    return save(build_model(nodes, [tensor("word", STRING, "N")], answer), path)


def classes(path: Path) -> Path:
    """`scores` [N, 2] as they come, and their `classes`: what TensorFlow's classifiers export."""
    nodes = [
        helper.make_node("Identity", ["x"], ["scores"]),
        helper.make_node("Constant", [], ["names"], value_strings=["cat", "dog"]),
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Expand", ["names", "shape"], ["classes"]),
    ]
    answer = [tensor("scores", FLOAT, "N", 2), tensor("classes", STRING, "N", 2)]
    return save(build_model(nodes, [tensor("x", FLOAT, "N", 2)], answer), path)


def broken(path: Path) -> Path:
    """No model at all."""
    path.write_bytes(b"no model")
    return path


def zoo(home: Path) -> Path:
    """Packages of all of the above, `half` in two versions, and two models of pictures."""
    tensor_package(home, "half", half_plus, version=1)
    tensor_package(home, "half", lambda path: half_plus(path, 3.0), version=2)
    tensor_package(home, "line", lambda path: half_plus(path, 2.0, "N", 1))
    tensor_package(home, "pair", add_and_subtract)
    tensor_package(home, "uneven", uneven)
    tensor_package(home, "words", words)
    colour_package(home)
    slow_package(home, rounds=4000)
    return home


@dataclass(frozen=True, slots=True)
class Edge:
    """Both APIs over one application.

    Attributes:
        app: the application.
        address: `http://127.0.0.1:PORT`.
        target: `127.0.0.1:PORT` of gRPC.
    """

    app: App
    services: Services
    address: str
    target: str


@contextmanager
def serving(
    home: Path, *, key: str = "", load: Literal["start", "demand"] = "start"
) -> Generator[Edge]:
    """Serve the packages in `home/models` by HTTP and gRPC until the block ends.

    Args:
        home: the data folder.
        key: the key that callers need; empty for none.
        load: when models are loaded.
    """
    settings = Settings(home=home, registry=RegistrySettings(load=load))
    names = [one.name for one in (home / "models").iterdir()]
    meter = TelemetryMeter(Metrics())
    gate = KeyGate(key) if key else OpenGate()
    app = build(settings, gate=gate, meter=meter, only=names)
    app.catalog.load_all()
    services = Services(app.path, app.catalog, app.gate, NullBooks(), meter, 16, frozenset())
    with _listening(services) as (http, grpc):
        yield Edge(app, services, f"http://127.0.0.1:{http}", f"127.0.0.1:{grpc}")
    app.close()
    meter.close()


@contextmanager
def _listening(services: Services) -> Generator[tuple[int, int]]:
    sock = listen("127.0.0.1", 0)
    config = uvicorn.Config(
        Router(routes(services), redirect_slashes=False),
        http=protocol(WireLimits(body_bytes=64 << 20)),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
    )
    server = uvicorn.Server(config)
    ports: list[int] = []
    ready = threading.Event()

    async def work() -> None:
        grpc = GrpcServer(handlers(services))
        ports.append(await grpc.start("127.0.0.1", 0))
        ready.set()
        await server.serve(sockets=[sock])
        await grpc.stop(5.0)

    thread = threading.Thread(target=lambda: uvloop.run(work()), name="edge")
    thread.start()
    assert ready.wait(30)
    try:
        yield int(sock.getsockname()[1]), ports[0]
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()
