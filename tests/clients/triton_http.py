"""Every call of tritonclient.http against a server: ADDRESS JPEG ONNX-FILE."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.http as http
from seen import refused, tell
from tritonclient.utils import shared_memory as shm

ADDRESS, PICTURE, MODEL = sys.argv[1:4]


def pair(*, binary: bool = True) -> list[http.InferInput]:
    inputs = []
    for at, name in enumerate(("INPUT0", "INPUT1")):
        one = http.InferInput(name, [1, 16], "INT32")
        one.set_data_from_numpy(
            np.full((1, 16), at + 1, np.int32) * np.arange(16, dtype=np.int32), binary_data=binary
        )
        inputs.append(one)
    return inputs


def of(name: str, array: np.ndarray, kind: str, *, binary: bool = True) -> list[http.InferInput]:
    one = http.InferInput(name, list(array.shape), kind)
    one.set_data_from_numpy(array, binary_data=binary)
    return [one]


def main() -> None:
    seen: dict[str, Any] = {}
    client = http.InferenceServerClient(ADDRESS, concurrency=4)
    seen["live"] = client.is_server_live(query_params={"test_1": 1, "test_2": [1, 2]})
    seen["ready"] = client.is_server_ready(headers={"x-mine": "1"})
    seen["model_ready"] = client.is_model_ready("simple")
    seen["model_ready_1"] = client.is_model_ready("simple", "1")
    seen["no_model_ready"] = client.is_model_ready("none")
    seen["server"] = client.get_server_metadata()
    seen["metadata"] = client.get_model_metadata("simple", "1")
    seen["metadata_unknown"] = refused(client.get_model_metadata, "wrong name")
    seen["config"] = client.get_model_config("simple")
    seen["image_config"] = client.get_model_config("colour")

    both = [
        http.InferRequestedOutput("OUTPUT0", binary_data=True),
        http.InferRequestedOutput("OUTPUT1", binary_data=False),
    ]
    result = client.infer("simple", pair(), outputs=both, request_id="7", query_params={"a": 1})
    seen["sum"], seen["difference"] = result.as_numpy("OUTPUT0"), result.as_numpy("OUTPUT1")
    seen["response"] = result.get_response()
    result = client.infer("simple", pair(binary=False), model_version="1")
    seen["json_sum"] = result.as_numpy("OUTPUT0")
    for coding in ("gzip", "deflate"):
        result = client.infer(
            "simple",
            pair(),
            request_compression_algorithm=coding,
            response_compression_algorithm=coding,
        )
        seen[coding] = result.as_numpy("OUTPUT0")
    waiting = [client.async_infer("simple", pair(), request_id=str(i)) for i in range(4)]
    seen["async"] = [one.get_result().as_numpy("OUTPUT0")[0, 3] for one in waiting]

    body, size = http.InferenceServerClient.generate_request_body(pair(), outputs=both)
    reply = client._post(
        "v2/models/simple/infer", body, {"Inference-Header-Content-Length": size}, None
    )
    again = http.InferenceServerClient.parse_response_body(
        reply.read(), header_length=int(reply.get("Inference-Header-Content-Length"))
    )
    seen["own_body"] = again.as_numpy("OUTPUT0")

    texts = np.array([["größer".encode(), b"\x00", b""]], object)
    seen["bytes"] = [
        one.decode()
        for one in client.infer("text_identity", of("INPUT0", texts, "BYTES"))
        .as_numpy("OUTPUT0")
        .ravel()
    ]
    words = np.array([["a:b", "[c]", 'd"e']], object)
    asked = [http.InferRequestedOutput("OUTPUT0", binary_data=False)]
    seen["words"] = (
        client.infer("text_identity", of("INPUT0", words, "BYTES", binary=False), outputs=asked)
        .as_numpy("OUTPUT0")
        .ravel()
        .tolist()
    )
    seen["empty"] = list(
        client.infer("identity", of("INPUT0", np.zeros((1, 0), np.float32), "FP32"))
        .as_numpy("OUTPUT0")
        .shape
    )

    raw = client._post(
        "v2/models/identity/infer",
        np.arange(5, dtype="<f4").tobytes(),
        {"Inference-Header-Content-Length": 0},
        None,
    )
    whole = http.InferenceServerClient.parse_response_body(
        raw.read(), header_length=int(raw.get("Inference-Header-Content-Length"))
    )
    seen["raw"] = whole.as_numpy("OUTPUT0")

    picture = np.array([Path(PICTURE).read_bytes()], object)
    classes = [http.InferRequestedOutput("scores", binary_data=True, class_count=2)]
    seen["classes"] = [
        one.decode()
        for one in client.infer("colour", of("images", picture, "BYTES"), outputs=classes)
        .as_numpy("scores")
        .ravel()
    ]
    classes = [http.InferRequestedOutput("scores", binary_data=False, class_count=5)]
    red = np.zeros((2, 3, 8, 8), np.float32)
    red[0, 0], red[1, 2] = 1, 1
    told = client.infer("colour", of("images", red, "FP32"), outputs=classes)
    seen["classes_json"], seen["classes_shape"] = (
        told.get_output("scores")["data"],
        told.get_output("scores")["shape"],
    )

    seen["refused"] = {
        "model": refused(client.infer, "none", pair()),
        "missing": refused(client.infer, "simple", pair()[:1]),
        "dtype": refused(
            client.infer, "simple", of("INPUT0", np.zeros((1, 16), np.float32), "FP32") + pair()[1:]
        ),
        "shape": refused(
            client.infer, "simple", of("INPUT0", np.zeros((1, 8), np.int32), "INT32") + pair()[1:]
        ),
        "output": refused(
            client.infer, "simple", pair(), outputs=[http.InferRequestedOutput("NONE")]
        ),
        "twice": refused(client.infer, "simple", pair(), outputs=[both[0], both[0]]),
        "version": refused(client.infer, "simple", pair(), model_version="9"),
        "timeout": refused(client.infer, "simple", pair(), timeout=1),
        "sequence": refused(client.infer, "simple", pair(), sequence_id=3, sequence_start=True),
    }
    seen["parameters"] = client.infer(
        "simple", pair(), priority=1, timeout=5_000_000, parameters={"mine": 1, "yours": "x"}
    ).as_numpy("OUTPUT0")[0, 1]

    seen["index"] = client.get_model_repository_index()
    client.unload_model("simple")
    seen["unloaded_ready"] = client.is_model_ready("simple")
    seen["unloaded"] = refused(client.infer, "simple", pair())
    seen["unloaded_index"] = [
        one for one in client.get_model_repository_index() if one["name"] == "simple"
    ]
    client.load_model("simple", config='{"max_batch_size":"16"}')
    seen["limited"] = client.get_model_config("simple")["max_batch_size"]
    client.load_model("simple")
    seen["loaded"] = (
        client.is_model_ready("simple"),
        client.get_model_config("simple")["max_batch_size"],
    )
    seen["load_refused"] = [
        refused(client.load_model, "wrong_model"),
        refused(client.load_model, "simple", config="{nonsense"),
        refused(client.load_model, "simple", config='{"name":"other"}'),
        refused(client.load_model, "simple", config="{}", files={"file:2/model.onnx": b"\x08\x01"}),
        refused(client.load_model, "simple", files={"file:2/model.onnx": b"\x08\x01"}),
        refused(client.unload_model, "wrong_model"),
    ]

    file = Path(MODEL).read_bytes()
    client.load_model("spare", config="{}", files={"file:2/model.onnx": file})
    seen["brought"] = client.infer("spare", pair(), model_version="2").as_numpy("OUTPUT0")
    seen["spare"] = client.get_model_metadata("spare")
    client.load_model("spare", config="{}", files={"file:2/model.onnx": file})
    seen["files_refused"] = [
        refused(client.load_model, "spare", config="{}", files={name: data})
        for name, data in (
            ("file:2/model.onnx", b"\x08\x01"),
            ("file:4/model.onnx", file),
            ("file:../model.onnx", file),
            ("file:3/model.pkl", b"\x80\x04K\x01."),
        )
    ]

    seen["stats"] = client.get_inference_statistics("identity", "1")["model_stats"][0]
    seen["all_stats"] = [one["name"] for one in client.get_inference_statistics()["model_stats"]]
    seen["stats_refused"] = refused(client.get_inference_statistics, "none")
    seen["trace"] = client.get_trace_settings()
    seen["trace_set"] = client.update_trace_settings(
        settings={"trace_level": ["TIMESTAMPS"], "trace_rate": "1"}
    )
    seen["trace_model"] = client.update_trace_settings("simple", {"trace_rate": "5"})
    seen["trace_model_cleared"] = client.update_trace_settings("simple", {"trace_rate": None})
    client.infer("simple", pair())
    seen["trace_off"] = client.update_trace_settings(
        settings={"trace_level": None, "trace_rate": None}
    )
    seen["trace_refused"] = refused(
        client.update_trace_settings, settings={"trace_level": ["LOUD"]}
    )
    seen["log"] = client.get_log_settings()
    seen["log_set"] = client.update_log_settings({"log_verbose_level": 1, "log_info": True})
    seen["log_back"] = client.update_log_settings({"log_verbose_level": 0})
    seen["log_refused"] = [
        refused(client.update_log_settings, {"log_file": "/tmp/x"}),
        refused(client.update_log_settings, {"log_no": 1}),
    ]

    seen["shm"] = shared(client)
    client.close()
    tell(seen)


def shared(client: http.InferenceServerClient) -> dict[str, Any]:
    """System shared memory; CUDA's is refused."""
    first = refused(client.unregister_system_shared_memory)
    seen: dict[str, Any] = {
        "unregister": first,
        "cuda": refused(client.register_cuda_shared_memory, "g", b"x", 0, 4),
    }
    if first:
        return seen
    client.unregister_cuda_shared_memory()
    given = shm.create_shared_memory_region("in", "/heliograph_test_in", 128)
    taken = shm.create_shared_memory_region("out", "/heliograph_test_out", 64)
    try:
        shm.set_shared_memory_region(given, [np.arange(16, dtype=np.int32), np.ones(16, np.int32)])
        client.register_system_shared_memory("in", "/heliograph_test_in", 128)
        client.register_system_shared_memory("out", "/heliograph_test_out", 64)
        seen["twice"] = refused(
            client.register_system_shared_memory, "in", "/heliograph_test_in", 128
        )
        seen["none"] = refused(
            client.register_system_shared_memory, "no", "/heliograph_no_such", 128
        )
        seen["path"] = refused(client.register_system_shared_memory, "no", "/../../etc/passwd", 8)
        seen["large"] = refused(
            client.register_system_shared_memory, "no", "/heliograph_test_in", 1 << 20
        )
        seen["status"] = client.get_system_shared_memory_status()
        seen["cuda_status"] = client.get_cuda_shared_memory_status()
        inputs = []
        for at, name in enumerate(("INPUT0", "INPUT1")):
            one = http.InferInput(name, [1, 16], "INT32")
            one.set_shared_memory("in", 64, offset=64 * at)
            inputs.append(one)
        output = http.InferRequestedOutput("OUTPUT0", binary_data=True)
        output.set_shared_memory("out", 64)
        client.infer("simple", inputs, outputs=[output])
        seen["sum"] = shm.get_contents_as_numpy(taken, np.int32, [1, 16]).copy()
        output.set_shared_memory("out", 32)
        seen["small"] = refused(client.infer, "simple", inputs, outputs=[output])
        inputs[0].set_shared_memory("in", 64, offset=128)
        seen["outside"] = refused(client.infer, "simple", inputs)
        client.unregister_system_shared_memory("in")
        seen["gone"] = refused(client.infer, "simple", inputs)
        client.unregister_system_shared_memory()
        seen["left"] = client.get_system_shared_memory_status()
    finally:
        shm.destroy_shared_memory_region(given)
        shm.destroy_shared_memory_region(taken)
    return seen


main()
