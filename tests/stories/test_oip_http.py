"""The Open Inference Protocol over HTTP, as its real clients speak it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest

from support.clients import run_client
from support.oip import Oip, serving

SUM = [[3 * at for at in range(16)]]


@pytest.fixture(scope="module")
def oip(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Oip]:
    environ = {"HELIOGRAPH_OIP_SHARED_MEMORY": "true", "HELIOGRAPH_OIP_SERVER_NAME": "triton"}
    with serving(tmp_path_factory.mktemp("oip"), "--open", environ=environ) as started:
        yield started


@pytest.fixture(scope="module")
def seen(oip: Oip) -> dict[str, Any]:
    """What `tritonclient.http` saw."""
    return run_client("triton_http", oip.http, oip.red, oip.simple)


@pytest.fixture
def http(oip: Oip) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=oip.server.address, trust_env=False, timeout=30) as client:
        yield client


def binary(array: Any, **more: Any) -> tuple[bytes, dict[str, str]]:
    """A binary request to `identity`, and its headers."""
    tensor = {
        "name": "INPUT0",
        "shape": list(array.shape),
        "datatype": "FP32",
        "parameters": {"binary_data_size": array.nbytes},
    }
    head = json.dumps({"inputs": [tensor], **more}).encode()
    return head + array.tobytes(), {"inference-header-content-length": str(len(head))}


# --- tritonclient ----------------------------------------------------------------------------


def test_health_and_metadata(seen: dict[str, Any]) -> None:
    assert [seen[name] for name in ("live", "ready", "model_ready", "model_ready_1")] == [True] * 4
    assert seen["no_model_ready"] is False
    assert seen["server"]["name"] == "triton"
    extensions = set(seen["server"]["extensions"])
    assert {"classification", "binary_tensor_data", "statistics", "sequence"} <= extensions
    assert seen["metadata"] == {
        "name": "simple",
        "versions": ["1"],
        "platform": "onnxruntime_onnx",
        "inputs": [
            {"name": name, "datatype": "INT32", "shape": [-1, 16]} for name in ("INPUT0", "INPUT1")
        ],
        "outputs": [
            {"name": name, "datatype": "INT32", "shape": [-1, 16]}
            for name in ("OUTPUT0", "OUTPUT1")
        ],
    }
    assert "Request for unknown model: 'wrong name' is not found" in seen["metadata_unknown"]


def test_configuration(seen: dict[str, Any]) -> None:
    config, image = seen["config"], seen["image_config"]
    assert config["max_batch_size"] > 0
    assert config["input"][0]["dims"] == [16]
    assert config["input"][0]["data_type"] == "TYPE_INT32"
    assert image["input"][0]["format"] == "FORMAT_NCHW"
    assert image["input"][0]["dims"] == [3, 8, 8]
    assert image["output"][0]["label_filename"] == "labels.txt"


def test_inference_in_every_encoding(seen: dict[str, Any]) -> None:
    assert seen["sum"] == seen["json_sum"] == seen["gzip"] == seen["deflate"] == SUM
    assert seen["own_body"] == SUM
    assert seen["difference"] == [[-at for at in range(16)]]
    assert seen["async"] == [9] * 4
    assert seen["response"]["id"] == "7"
    assert seen["response"]["model_version"] == "1"
    assert [one["parameters"] for one in seen["response"]["outputs"][:1]] == [
        {"binary_data_size": 64}
    ]
    assert "data" in seen["response"]["outputs"][1]
    assert seen["bytes"] == ["größer", "\x00", ""]
    assert seen["words"] == ["a:b", "[c]", 'd"e']
    assert seen["empty"] == [1, 0]
    assert seen["raw"] == [[0, 1, 2, 3, 4]]
    assert seen["parameters"] == 3


def test_pictures_are_tensors_and_classes_their_answer(seen: dict[str, Any]) -> None:
    assert [one.split(":")[1:] for one in seen["classes"]] == [["0", "red"], ["1", "green"]]
    assert float(seen["classes"][0].split(":")[0]) > 0.99
    assert seen["classes_shape"] == [2, 3]
    assert [one.split(":")[2] for one in seen["classes_json"]][::3] == ["red", "blue"]


def test_refusals_have_the_texts_that_clients_look_for(seen: dict[str, Any]) -> None:
    said = seen["refused"]
    assert "[404] Request for unknown model: 'none' is not found" in said["model"]
    assert "Request for unknown model: 'simple' version 9 is not found" in said["version"]
    assert "expected 2 inputs but got 1 inputs for model 'simple'" in said["missing"]
    assert "data-type is 'FP32', but model 'simple' expects 'INT32'" in said["dtype"]
    assert "unexpected shape for input 'INPUT0' for model 'simple'" in said["shape"]
    assert "Expected [-1,16], got [1,8]" in said["shape"]
    assert "unexpected inference output 'NONE' for model 'simple'" in said["output"]
    assert "output 'OUTPUT0' already exists in request" in said["twice"]
    assert "[504]" in said["timeout"]
    assert not said["sequence"], "a model without state takes any call of a sequence"


def test_repository(seen: dict[str, Any]) -> None:
    assert {one["state"] for one in seen["index"]} == {"READY"}
    assert {one["name"] for one in seen["index"]} >= {"simple", "identity", "colour"}
    assert seen["unloaded_ready"] is False
    assert "Request for unknown model: 'simple' has no available versions" in seen["unloaded"]
    assert seen["unloaded_index"][0]["state"] == "UNAVAILABLE"
    assert seen["unloaded_index"][0]["reason"] == "unloaded"
    assert seen["limited"] == 16
    assert seen["loaded"][0] is True
    assert seen["loaded"][1] > 16
    assert all("failed to" in one and "load '" in one for one in seen["load_refused"])
    assert "is fixed by the model package" in seen["load_refused"][2]


def test_a_load_may_bring_a_model(seen: dict[str, Any]) -> None:
    assert seen["brought"] == SUM
    assert seen["spare"]["versions"] == ["1", "2"]
    changed, ahead, outside, pickle = seen["files_refused"]
    assert "versions never change" in changed
    assert "the next version of it is 3" in ahead
    assert "is no path such as '1/model.onnx'" in outside
    assert "is not opened" in pickle
    assert "override files need the model's configuration" in seen["load_refused"][4]


def test_statistics(seen: dict[str, Any]) -> None:
    stats = seen["stats"]
    inference = stats["inference_stats"]
    assert (
        stats["inference_count"] == stats["execution_count"] == inference["success"]["count"] >= 2
    )
    assert inference["compute_infer"]["ns"] > 0
    assert inference["success"]["ns"] >= inference["compute_infer"]["ns"]
    assert stats["last_inference"] > 1_700_000_000_000
    assert stats["batch_stats"][0]["batch_size"] == 1
    assert set(stats["response_stats"]["0"]) >= {"success", "fail", "cancel", "empty_response"}
    assert "simple" in seen["all_stats"]
    assert "Request for unknown model: 'none'" in seen["stats_refused"]


def test_trace_and_log_settings(seen: dict[str, Any], oip: Oip) -> None:
    assert seen["trace"]["trace_level"] == ["OFF"]
    assert seen["trace_set"]["trace_level"] == ["TIMESTAMPS"]
    assert seen["trace_model"]["trace_rate"] == "5"
    assert seen["trace_model_cleared"]["trace_rate"] == "1"
    assert seen["trace_off"] == seen["trace"]
    assert "trace level 'LOUD' is not one of" in seen["trace_refused"]
    traces = [
        json.loads(line)
        for file in (oip.server.home / "traces").iterdir()
        for line in file.read_text().splitlines()
    ]
    assert {one["model_name"] for one in traces} >= {"simple"}
    moments = [one["ns"] for one in traces[0]["timestamps"]]
    assert moments == sorted(moments)
    assert seen["log_set"]["log_verbose_level"] == 1
    assert seen["log_back"] == seen["log"]
    assert "can not be updated through network protocol" in seen["log_refused"][0]
    assert "'log_no' is not recognized" in seen["log_refused"][1]


def test_shared_memory(seen: dict[str, Any]) -> None:
    said = seen["shm"]
    assert said["sum"] == [[at + 1 for at in range(16)]]
    assert "already in manager" in said["twice"]
    for name in ("none", "path"):
        assert "Unable to open shared memory region" in said[name]
    assert "invalid args" in said["large"]
    assert "should be at least 64 bytes" in said["small"]
    assert "Invalid offset + byte size" in said["outside"]
    assert "Unable to find shared memory region: 'in'" in said["gone"]
    assert [one["name"] for one in said["status"]] == ["in", "out"]
    assert said["left"] == said["cuda_status"] == []
    assert "[501]" in said["cuda"]


def test_the_asyncio_clients(oip: Oip) -> None:
    seen = run_client("triton_aio", oip.http, oip.grpc)
    for one in (seen["http"], seen["grpc"]):
        assert one["live"]
        assert one["ready"]
        assert one["sums"] == [9] * 8
        assert one["gzip"] == -3
        assert "Request for unknown model: 'none' is not found" in one["refused"]
    assert seen["http"]["stats"] == "simple"
    stream = seen["grpc"]["stream"]
    assert stream[:2] + stream[3:] == ["0", "1", "3", "4"]
    assert "unknown model" in stream[2]
    assert "CancelledError" in seen["grpc"]["cancelled"]
    assert seen["grpc"]["after"] == 9


def test_kserve_clients(oip: Oip) -> None:
    seen = run_client("kserve_clients", oip.http, oip.grpc)
    for one in (seen["v2"], seen["grpc"]):
        assert one["live"]
        assert one["ready"]
        assert one["model_ready"]
        assert one["sum_True"] == one["sum_False"] == SUM
        assert "Request for unknown model: 'none' is not found" in one["refused"]
    assert seen["v2"]["no_model_ready"] is False
    assert "data-type is 'FP16', but model 'identity' expects 'FP32'" in seen["v2"]["fp16"]
    assert seen["v1"]["model_ready"] is True
    assert seen["v1"]["predictions"]["predictions"][0]["OUTPUT0"][3] == 4
    assert seen["v1"]["live"] == "True"


# --- the wire itself -------------------------------------------------------------------------


def test_errors_have_the_protocols_form(http: httpx.Client) -> None:
    reply = http.get("/v2/nowhere")
    assert reply.status_code == 404
    assert reply.headers["content-type"] == "application/json"
    assert reply.json() == {"error": "Not Found"}
    assert http.post("/v2/health/live").status_code == 405
    assert http.get("/v2/models/simple/infer").json() == {"error": "Method Not Allowed"}
    assert http.post("/v2/repository/other/index").status_code == 501
    assert http.get("/v2/models/simple/versions/1/trace/setting").status_code == 404
    assert http.post("/v2/models/simple/infer", content=b"{").status_code == 400
    body = http.post("/v2/repository/index", json={"ready": 1})
    assert body.status_code == 400
    assert http.get("/v2").status_code == http.get("/v2/").status_code == 200
    assert http.get("/v2/models").json()["models"][0] == "colour"


def test_encodings_that_are_not_offered(http: httpx.Client) -> None:
    reply = http.post("/v2/models/simple/infer", content=b"x", headers={"content-encoding": "br"})
    assert (reply.status_code, reply.json()["error"]) == (501, "Unsupported compression type")
    assert reply.headers["accept-encoding"] == "gzip, deflate"
    for coding in ("gzip", "deflate"):
        reply = http.post(
            "/v2/models/simple/infer", content=b"junk", headers={"content-encoding": coding}
        )
        assert reply.status_code == 400
    kind = {"content-type": "application/x-pickle"}
    assert http.post("/v2/models/simple/infer", content=b"{}", headers=kind).status_code == 415


def test_a_bomb_is_not_unpacked(http: httpx.Client) -> None:
    bomb = gzip.compress(bytes(600 << 20), 9)
    reply = http.post(
        "/v2/models/identity/infer", content=bomb, headers={"content-encoding": "gzip"}
    )
    assert reply.status_code == 413
    assert "unpacks to more than" in reply.json()["error"]


def test_only_who_asks_for_one_coding_gets_it(http: httpx.Client) -> None:
    body, headers = binary(np.zeros((1, 1000), np.float32))
    plain = http.post("/v2/models/identity/infer", content=body, headers=headers)
    assert "content-encoding" not in plain.headers
    small = http.post(
        "/v2/models/identity/infer", content=body, headers=headers | {"accept-encoding": "gzip"}
    )
    assert small.headers["content-encoding"] == "gzip"
    assert small.json() == plain.json()


def test_an_answer_without_bytes_is_all_json(http: httpx.Client) -> None:
    body, headers = binary(np.zeros((1, 0), np.float32), parameters={"binary_data_output": True})
    reply = http.post("/v2/models/identity/infer", content=body, headers=headers)
    assert "inference-header-content-length" not in reply.headers
    assert reply.json()["outputs"][0]["parameters"] == {"binary_data_size": 0}


def test_no_picture_holds_nan(http: httpx.Client) -> None:
    array = np.full((1, 3, 8, 8), np.nan, np.float32)
    body, headers = binary(array)
    body = body.replace(b'"INPUT0"', b'"images"')
    reply = http.post("/v2/models/colour/infer", content=body, headers=headers)
    assert reply.status_code == 400
    assert "holds NaN or infinity" in reply.json()["error"]


def test_rows_beyond_the_configured_number(http: httpx.Client) -> None:
    body, headers = binary(np.zeros((1025, 1), np.float32))
    reply = http.post("/v2/models/identity/infer", content=body, headers=headers)
    assert "batch-size must be <= 1024 for 'identity'" in reply.json()["error"]


def test_generate(http: httpx.Client) -> None:
    asked = {"INPUT0": list(range(16)), "INPUT1": [1] * 16, "id": "g", "mine": 1}
    reply = http.post("/v2/models/simple/generate", json=asked)
    assert reply.json()["OUTPUT0"] == list(range(1, 17))
    assert reply.json()["id"] == "g"
    stream = http.post("/v2/models/simple/generate_stream", json=asked)
    assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert json.loads(stream.text.removeprefix("data: "))["OUTPUT1"][0] == -1
    assert http.post("/v2/models/simple/generate", json={"INPUT0": "x"}).status_code == 400


def test_metrics_have_tritons_names_and_the_statistics_numbers(http: httpx.Client) -> None:
    stats = http.get("/v2/models/simple/stats").json()["model_stats"][0]
    lines = http.get("/metrics").text.splitlines()
    value = next(
        float(line.rpartition(" ")[2])
        for line in lines
        if line.startswith('nv_inference_count{model="simple",version="1"}')
    )
    assert value == stats["inference_count"] > 0
    names = {line.partition("{")[0] for line in lines if line.startswith("nv_")}
    assert names >= {
        "nv_inference_request_success",
        "nv_inference_request_failure",
        "nv_inference_exec_count",
        "nv_inference_request_duration_us",
        "nv_inference_queue_duration_us",
        "nv_inference_compute_input_duration_us",
        "nv_inference_compute_infer_duration_us",
        "nv_inference_compute_output_duration_us",
    }


def test_a_full_house_says_so_in_the_protocols_form(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    environ = {"HELIOGRAPH_SERVING_SEATS": "1"}
    body, headers = binary(np.zeros((1, 3, 8, 8), np.float32))
    body = body.replace(b'"INPUT0"', b'"images"')
    with serving(tmp_path_factory.mktemp("full"), "--open", environ=environ) as oip:
        address = f"{oip.server.address}/v2/models/slow/infer"

        def ask(_: int) -> httpx.Response:
            return httpx.post(address, content=body, headers=headers, trust_env=False, timeout=60)

        with ThreadPoolExecutor(8) as pool:
            replies = list(pool.map(ask, range(16)))
    refused = [one for one in replies if one.status_code != 200]
    assert 0 < len(refused) < 16
    for one in refused:
        assert (one.status_code, one.headers["retry-after"]) == (503, "1")
        assert one.headers["content-type"] == "application/json"
        assert "seats" in one.json()["error"]


def test_keys_are_asked_for(tmp_path_factory: pytest.TempPathFactory) -> None:
    with serving(tmp_path_factory.mktemp("keyed")) as oip, httpx.Client(trust_env=False) as http:
        at = oip.server.address
        assert http.get(f"{at}/v2/health/ready").status_code == 200
        for path in ("/v2", "/v2/models/simple", "/v2/models/simple/ready", "/v2/models/stats"):
            reply = http.get(at + path)
            assert reply.status_code == 401, path
            assert reply.headers["www-authenticate"].startswith("Bearer")
            assert http.get(at + path, headers=oip.server.headers).status_code == 200
        posts = ("models/simple/infer", "repository/index", "repository/models/simple/unload")
        for path in (*posts, "systemsharedmemory/unregister", "logging", "trace/setting"):
            assert http.post(f"{at}/v2/{path}", json={}).status_code == 401, path
        off = http.get(f"{at}/v2/systemsharedmemory/status", headers=oip.server.headers)
        assert off.status_code == 501
        assert "oip.shared_memory" in off.json()["error"]
        assert http.get(f"{at}/v2", headers=oip.server.headers).json()["name"] == "heliograph"
