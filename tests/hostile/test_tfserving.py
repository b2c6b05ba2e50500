"""Hostile rows against TensorFlow Serving's APIs: B26-B38 by REST, B127 by gRPC.

After each the same server answers a good call, and no error was one of ours.
"""

from __future__ import annotations

import gzip
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

import heliograph.edge.tfserving
from heliograph.edge.grpc.messages import load
from support.tfserving import Edge, half_plus, serving, tensor_package, words

MESSAGES = load(Path(heliograph.edge.tfserving.__file__).with_name("tfserving.binpb"))
PREDICT = "/v1/models/half:predict"
GOOD = {"instances": [[1.0]]}
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    home = tmp_path_factory.mktemp("home")
    tensor_package(home, "half", half_plus)
    tensor_package(home, "words", words)
    with serving(home) as edge:
        yield edge


@pytest.fixture
def edge(started: Edge, caplog: pytest.LogCaptureFixture) -> Iterator[Edge]:
    with caplog.at_level(logging.ERROR):
        yield started
    assert not caplog.records, caplog.text
    reply = httpx.post(started.address + PREDICT, json=GOOD, trust_env=False)
    assert reply.json() == {"predictions": [[2.5]]}
    assert started.app.path._desk.seats.taken == 0


@pytest.fixture
def http(edge: Edge) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=edge.address, trust_env=False, timeout=60.0) as client:
        yield client


def deep(levels: int) -> bytes:
    return b'{"instances": ' + b"[" * levels + b"]" * levels + b"}"


BODIES: dict[str, tuple[bytes, int, str]] = {
    "B26 depth 101": (deep(101), 400, "json_too_deep"),
    "B26 depth 5,000": (deep(5_000), 400, "json_too_deep"),
    "B26 depth 200,000": (deep(200_000), 400, "json_too_deep"),
    "B26 objects": (b'{"a":' * 200_000 + b"1" + b"}" * 200_000, 400, "json_too_deep"),
    "B27 1e999": (b'{"instances": [[1e999]]}', 400, "json_bad_number"),
    "B27 5,000 digits": (b'{"instances": [[' + b"9" * 5_000 + b"]]}", 400, "json_bad_number"),
    "B28 a key twice": (b'{"inputs": [[1]], "inputs": [[2]]}', 400, "json_duplicate_key"),
    "B29 no UTF-8": (b'{"instances": "\xff"}', 400, "malformed_json"),
    "B29 lone surrogate": (b'{"instances": ["\\udc00"]}', 400, "malformed_json"),
    "B29 byte-order mark": (b"\xef\xbb\xbf" + json.dumps(GOOD).encode(), 400, "malformed_json"),
    "B29 nought in a name": (b'{"instances": [{"x\\u0000": 1}]}', 400, "bad_request"),
    "B30 other members of a row": (b'{"instances": [{"x": [1], "admin": 1}]}', 400, "bad_request"),
    "B31 base64 with junk": (b'{"instances": [{"b64": "A?=="}]}', 400, "validation"),
    "B32 no rows": (b'{"instances": [[], []]}', 200, ""),
    "B33 a dimension less": (b'{"instances": [1, 2]}', 400, "bad_shape"),
    "B38 short rows": (b'{"instances": [[1, 2], [3]]}', 400, "bad_shape"),
    "a million lists": (b'{"instances": [' + b"[],[]," * 500_000 + b"[]]}", 413, "too_large"),
    "nothing": (b"", 400, "malformed_json"),
}


@pytest.mark.parametrize("row", BODIES)
def test_a_body_is_refused_by_its_code(http: httpx.Client, row: str) -> None:
    body, status, code = BODIES[row]
    reply = http.post(PREDICT, content=body, headers=JSON)
    assert reply.status_code == status, reply.text
    if code:
        assert reply.headers["x-error-code"] == code
        assert set(reply.json()) == {"error"}


def test_b28_the_keys_of_a_row(http: httpx.Client) -> None:
    for body in (
        b'{"instances": [{"x": [1], "x": [2]}]}',
        b'{"instances": [{"x": [1], "\\u0078": [2]}]}',
        b'{"inputs": {"x": [[1]], "x": [[2]]}}',
    ):
        reply = http.post(PREDICT, content=body)
        assert (reply.status_code, reply.headers["x-error-code"]) == (400, "json_duplicate_key")


def test_b31_base64_is_read_strictly(http: httpx.Client) -> None:
    for text in ("A", "AA", "AAA", "A===", "AA==AA==", "A\\nAA=", " AAA="):
        body = b'{"instances": [{"b64": "%s"}]}' % text.encode()
        reply = http.post("/v1/models/words:predict", content=body)
        assert reply.status_code == 400
        assert "base64" in reply.json()["error"]


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
def test_b35_other_methods(http: httpx.Client, method: str) -> None:
    assert http.request(method, PREDICT).status_code == 400
    override = {"x-http-method-override": "DELETE"}
    assert http.post(PREDICT, json=GOOD, headers=override).status_code == 200


def test_b36_a_parameter_twice(http: httpx.Client) -> None:
    assert http.post(f"{PREDICT}?a=1&a=2", json=GOOD).status_code == 400
    reply = http.post(f"{PREDICT}?api_key=x", json=GOOD)
    assert (reply.status_code, reply.headers["x-error-code"]) == (400, "key_in_url")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-pickle", "text/xml"])
def test_b37_other_content_types(http: httpx.Client, kind: str) -> None:
    reply = http.post(PREDICT, content=json.dumps(GOOD), headers={"content-type": kind})
    assert reply.status_code == 415


def test_a_packed_body_is_bounded(http: httpx.Client) -> None:
    packed = {"content-encoding": "gzip"}
    bomb = gzip.compress(b" " * (65 << 20), 9)
    assert http.post(PREDICT, content=bomb, headers=packed).status_code == 413
    whole = gzip.compress(json.dumps(GOOD).encode())
    for body in (whole[:-4], whole + b"x", b"no gzip"):
        assert http.post(PREDICT, content=body, headers=packed).status_code == 400
    odd = {"content-encoding": "br"}
    assert http.post(PREDICT, content=whole, headers=odd).status_code in {400, 415}


@pytest.mark.parametrize(
    "name",
    ["..%2f..%2fetc", "%00", "%ff", "a" * 5_000, "half%3A", "%E2%80%AE", "half/versions/0", "%"],
)
def test_odd_names_are_not_there(http: httpx.Client, name: str) -> None:
    assert http.post(f"/v1/models/{name}:predict", json=GOOD).status_code in {400, 404}
    assert http.get(f"/v1/models/{name}").status_code in {400, 404}


# --- gRPC --------------------------------------------------------------------------------------


def ask(edge: Edge, data: bytes, method: str = "Predict") -> grpc.RpcError | bytes:
    with grpc.insecure_channel(edge.target) as channel:
        call = channel.unary_unary(f"/tensorflow.serving.PredictionService/{method}")
        try:
            return call(data, timeout=30)
        except grpc.RpcError as error:
            return error


def predict(change: Any, name: str = "half", key: str = "x") -> bytes:
    asked: Any = MESSAGES["tensorflow.serving.PredictRequest"]()
    asked.model_spec.name = name
    change(asked.inputs[key])
    return asked.SerializeToString()


def dims(proto: Any, *sizes: int) -> None:
    for size in sizes:
        proto.tensor_shape.dim.add(size=size)


def floats(*sizes: int, **fields: Any) -> Any:
    def change(proto: Any) -> None:
        proto.dtype = fields.pop("dtype", 1)
        dims(proto, *sizes)
        for name, value in fields.items():
            held = getattr(proto, name)
            held.extend(value) if isinstance(value, list) else setattr(proto, name, value)

    return change


def rankless(proto: Any) -> None:
    proto.dtype = 1
    proto.tensor_shape.unknown_rank = True


TENSORS: dict[str, Any] = {
    "B32 2^31 x 2^31 x 3": floats(2**31, 2**31, 3, float_val=[1.0]),
    "B32 one value for 2^62": floats(2**62, float_val=[1.0]),
    "B32 nought times 2^62": floats(0, 2**62, 2**62),
    "B32 more than a message": floats(1, 1 << 25, float_val=[1.0]),
    "B33 negative": floats(-1, 1, float_val=[1.0]),
    "B33 33 dimensions": floats(*[1] * 33, float_val=[1.0]),
    "B33 unknown rank": rankless,
    "B38 short content": floats(1, 4, tensor_content=b"\0" * 15),
    "B38 long content": floats(1, 4, tensor_content=b"\0" * 17),
    "B38 too many values": floats(1, 2, float_val=[1.0, 2.0, 3.0]),
    "no type": floats(1, 1, dtype=0, float_val=[1.0]),
    "a resource": floats(1, 1, dtype=20),
    "a type of tomorrow": floats(1, 1, dtype=99),
    "a small integer that is none": floats(1, 1, dtype=4, int_val=[300]),
    "content of strings": floats(1, 1, dtype=7, tensor_content=b"abc"),
    "half a complex number": floats(1, 1, dtype=8, scomplex_val=[1.0]),
}


@pytest.mark.parametrize("row", TENSORS)
def test_a_tensor_is_refused(edge: Edge, row: str) -> None:
    found = ask(edge, predict(TENSORS[row]))
    assert isinstance(found, grpc.RpcError)
    assert found.code() in {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED}


@pytest.mark.parametrize("method", ["Predict", "Classify", "Regress", "MultiInference"])
@pytest.mark.parametrize("data", [b"\xff" * 100, b"\x0a" * 5_000, b"\x0a\x7f"])
def test_b127_bytes_that_are_no_message(edge: Edge, method: str, data: bytes) -> None:
    found = ask(edge, data, method)
    assert isinstance(found, grpc.RpcError)
    assert found.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_b127_a_nested_any(edge: Edge) -> None:
    inner: Any = MESSAGES["google.protobuf.Any"]()
    for _ in range(500):
        outer: Any = MESSAGES["google.protobuf.Any"]()
        outer.Pack(inner)
        inner = outer
    asked: Any = MESSAGES["tensorflow.serving.ReloadConfigRequest"]()
    asked.config.custom_model_config.CopyFrom(inner)
    with grpc.insecure_channel(edge.target) as channel:
        call = channel.unary_unary("/tensorflow.serving.ModelService/HandleReloadConfigRequest")
        with pytest.raises(grpc.RpcError) as refused:
            call(asked.SerializeToString(), timeout=30)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_b127_a_message_beyond_the_limit(edge: Edge) -> None:
    found = ask(edge, b"\0" * ((64 << 20) + 1))
    assert isinstance(found, grpc.RpcError)
    assert found.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
