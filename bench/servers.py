"""The servers: how each is started, asked and understood. One entry per peer, one list.

How each peer is configured, and why, is said in its `peers/NAME/server.py` and in README.md.
"""

import base64
import json
import struct
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.load import Request

_PEERS = Path(__file__).with_name("peers")
VARIANTS = ("documented", "our-decoder")
Reader = Callable[[Any], str]


@dataclass(frozen=True, slots=True)
class Server:
    """One service in one variant.

    Attributes:
        name: the project.
        variant: `documented`, `our-decoder`, or `own` for Heliograph.
        request: a JPEG to the request that its API takes.
        top: the best class in its parsed JSON answer: an ImageNet index, or a label.
        command: the start command; `{python}`, `{port}`, `{home}` and `{libraries}`
            are filled in.
        folder: where it is started.
        environment: beyond the harness's `BENCH_*`; filled in likewise.
    """

    name: str
    variant: str
    request: Callable[[bytes], Request]
    top: Reader
    command: tuple[str, ...] = ("{python}", "server.py")
    folder: Path = _PEERS
    environment: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def title(self) -> str:
        """As rows and files name it."""
        return self.name if self.variant == "own" else f"{self.name} ({self.variant})"

    @property
    def requirements(self) -> Path | None:
        """Its pinned packages; None for Heliograph, which runs from this checkout."""
        return None if self.variant == "own" else _PEERS / self.name / "requirements.txt"


_LOOPBACK = ("--host", "127.0.0.1", "--port", "{port}")
_SERVE = ("{python}", "-m", "heliograph", "serve", "--open", "--home", "{home}", *_LOOPBACK)


def heliograph() -> Server:
    """Heliograph itself, from this checkout, in the interpreter that runs the harness."""
    return Server(
        name="heliograph",
        variant="own",
        request=_raw("/api/v1/models/efficientnet-lite0/predict"),
        top=lambda answer: str(answer["predictions"][0]["label"]),
        command=(*_SERVE, "--models", "efficientnet-lite0"),
        folder=_PEERS.parents[1],
    )


def everyone() -> list[Server]:
    """Heliograph, then each peer in both variants."""
    peers = [_peer(*entry, variant) for variant in VARIANTS for entry in _TABLE]
    return [heliograph(), *peers]


def _peer(
    name: str,
    request: Callable[[bytes], Request],
    top: Reader,
    environment: Mapping[str, str],
    command: tuple[str, ...],
    variant: str,
) -> Server:
    return Server(name, variant, request, top, command, _PEERS / name, environment)


def _raw(path: str) -> Callable[[bytes], Request]:
    return lambda jpeg: Request(path, {"Content-Type": "image/jpeg"}, jpeg)


def _index(answer: Any) -> str:
    return str(answer["index"])


def _v2_index(answer: Any) -> str:
    outputs = {output["name"]: output["data"] for output in answer["outputs"]}
    return str(outputs["index"][0])


def _json_base64(jpeg: bytes) -> Request:
    """LitServe: the JSON of its image tutorial."""
    body = json.dumps({"image_data": base64.b64encode(jpeg).decode()}).encode()
    return Request("/predict", {"Content-Type": "application/json"}, body)


def _v2_base64(jpeg: bytes) -> Request:
    """MLServer: V2 JSON with its `base64` content type, the cheapest that its REST takes."""
    tensor = {
        "name": "image",
        "shape": [1, 1],
        "datatype": "BYTES",
        "parameters": {"content_type": "base64"},
        "data": [base64.b64encode(jpeg).decode()],
    }
    body = json.dumps({"inputs": [tensor]}).encode()
    return Request("/v2/models/classify/infer", {"Content-Type": "application/json"}, body)


def _v2_binary(jpeg: bytes) -> Request:
    """Triton: the binary tensor extension, so that the JPEG travels as it is."""
    tensor = {
        "name": "image",
        "shape": [1, 1],
        "datatype": "BYTES",
        "parameters": {"binary_data_size": 4 + len(jpeg)},
    }
    head = json.dumps({"inputs": [tensor]}).encode()
    headers = {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(len(head)),
    }
    body = head + struct.pack("<I", len(jpeg)) + jpeg
    return Request("/v2/models/classify/infer", headers, body)


_SCRIPT = ("{python}", "server.py")
_MOSEC = (*_SCRIPT, "--address", "127.0.0.1", "--port", "{port}", "--timeout", "60000")
_BENTOML = ("{python}", "-m", "bentoml", "serve", "server:Classify", *_LOOPBACK)
_QUIET = {"BENTOML_DO_NOT_TRACK": "1"}
_FAST = {"RAY_SERVE_THROUGHPUT_OPTIMIZED": "1", "RAY_USAGE_STATS_ENABLED": "0"}
# Triton's Python stub must load the libpython of the interpreter, not the system's.
_STUB = {"LD_LIBRARY_PATH": "{libraries}"}
_TABLE: tuple[
    tuple[str, Callable[[bytes], Request], Reader, Mapping[str, str], tuple[str, ...]], ...
] = (
    ("mosec", _raw("/inference"), _index, {}, _MOSEC),
    ("pytriton", _v2_binary, _v2_index, _STUB, _SCRIPT),
    ("litserve", _json_base64, _index, {}, _SCRIPT),
    ("mlserver", _v2_base64, _v2_index, {}, _SCRIPT),
    ("bentoml", _raw("/classify"), _index, _QUIET, _BENTOML),
    ("rayserve", _raw("/"), _index, _FAST, _SCRIPT),
    ("fastapi", _raw("/predict"), _index, {}, _SCRIPT),
)


def filled(server: Server, python: Path, port: int, home: Path) -> tuple[list[str], dict[str, str]]:
    """The start command and the environment with everything filled in."""
    libraries = str(sysconfig.get_config_var("LIBDIR") or "")
    values = {"python": str(python), "port": str(port), "home": str(home), "libraries": libraries}
    command = [part.format(**values) for part in server.command]
    return command, {name: text.format(**values) for name, text in server.environment.items()}
