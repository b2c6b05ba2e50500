"""Every call of tritonclient.grpc against a server: ADDRESS JPEG."""

from __future__ import annotations

import base64
import queue
import sys
import time
from pathlib import Path
from typing import Any

import grpc as plain_grpc
import numpy as np
import tritonclient.grpc as grpc
from google.protobuf.json_format import MessageToDict
from seen import refused, tell
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import shared_memory as shm

ADDRESS, PICTURE = sys.argv[1:3]


def of(name: str, array: np.ndarray, kind: str) -> grpc.InferInput:
    one = grpc.InferInput(name, list(array.shape), kind)
    one.set_data_from_numpy(array)
    return one


def pair() -> list[grpc.InferInput]:
    counted = np.arange(16, dtype=np.int32)[None]
    return [of("INPUT0", counted, "INT32"), of("INPUT1", 2 * counted, "INT32")]


def main() -> None:
    seen: dict[str, Any] = {}
    client = grpc.InferenceServerClient(ADDRESS)
    seen["live"], seen["ready"] = client.is_server_live(), client.is_server_ready()
    seen["model_ready"] = client.is_model_ready("simple"), client.is_model_ready("simple", "1")
    seen["no_model_ready"] = refused(client.is_model_ready, "none")
    seen["server"] = client.get_server_metadata(as_json=True)
    seen["metadata"] = client.get_model_metadata("simple", as_json=True)
    seen["metadata_unknown"] = refused(client.get_model_metadata, "none")
    seen["config"] = client.get_model_config("simple", as_json=True)

    outputs = [grpc.InferRequestedOutput("OUTPUT1"), grpc.InferRequestedOutput("OUTPUT0")]
    result = client.infer("simple", pair(), outputs=outputs, request_id="7", headers={"x": "y"})
    seen["sum"], seen["difference"] = result.as_numpy("OUTPUT0"), result.as_numpy("OUTPUT1")
    seen["id"] = result.get_response().id
    for coding in ("gzip", "deflate"):
        seen[coding] = client.infer("simple", pair(), compression_algorithm=coding).as_numpy(
            "OUTPUT0"
        )
    asked = {"priority": 1, "timeout": 5_000_000, "parameters": {"mine": 1, "yours": 0.5}}
    seen["parameters"] = client.infer("simple", pair(), **asked).as_numpy("OUTPUT0")[0, 1]
    texts = np.array([["größer".encode(), b""]], object)
    seen["bytes"] = [
        one.decode()
        for one in client.infer("text_identity", [of("INPUT0", texts, "BYTES")])
        .as_numpy("OUTPUT0")
        .ravel()
    ]
    large = np.random.default_rng(1).random((1, 4 << 20), np.float32)
    told = client.infer("identity", [of("INPUT0", large, "FP32")]).as_numpy("OUTPUT0")
    seen["large"] = bool((told == large).all())
    picture = np.array([Path(PICTURE).read_bytes()], object)
    classes = [grpc.InferRequestedOutput("scores", class_count=2)]
    seen["classes"] = [
        one.decode()
        for one in client.infer("colour", [of("images", picture, "BYTES")], outputs=classes)
        .as_numpy("scores")
        .ravel()
    ]

    answers: queue.Queue[Any] = queue.Queue()
    client.async_infer("simple", pair(), lambda result, error: answers.put((result, error)))
    result, error = answers.get(timeout=10)
    seen["async"] = [result.as_numpy("OUTPUT0")[0, 1], str(error)]
    seen["stream"] = stream(client)
    seen["cancelled"] = cancelled(client)
    seen["explicit"] = explicit()
    seen["refused"] = {
        "model": refused(client.infer, "none", pair()),
        "missing": refused(client.infer, "simple", pair()[:1]),
        "dtype": refused(
            client.infer, "simple", [of("INPUT0", np.zeros((1, 16), np.float32), "FP32"), pair()[1]]
        ),
        "shape": refused(
            client.infer, "simple", [of("INPUT0", np.zeros((1, 8), np.int32), "INT32"), pair()[1]]
        ),
        "output": refused(
            client.infer, "simple", pair(), outputs=[grpc.InferRequestedOutput("NONE")]
        ),
        "deadline": refused(client.infer, "slow", slow_input(), client_timeout=0.01),
    }

    seen["index"] = MessageToDict(client.get_model_repository_index())["models"]
    client.unload_model("simple")
    seen["unloaded_ready"] = client.is_model_ready("simple")
    seen["unloaded"] = refused(client.infer, "simple", pair())
    client.load_model("simple", config='{"max_batch_size":"16"}')
    seen["limited"] = client.get_model_config("simple").config.max_batch_size
    client.load_model("simple")
    seen["loaded"] = client.is_model_ready("simple")
    seen["load_refused"] = [
        refused(client.load_model, "wrong_model"),
        refused(client.load_model, "simple", config="{nonsense"),
        refused(client.unload_model, "wrong_model"),
    ]
    seen["stats"] = client.get_inference_statistics("identity", as_json=True)["model_stats"][0]
    seen["all_stats"] = len(client.get_inference_statistics().model_stats)
    seen["trace"] = client.get_trace_settings(as_json=True)["settings"]
    seen["trace_set"] = client.update_trace_settings(
        settings={"trace_level": ["TIMESTAMPS"], "trace_rate": "2"}, as_json=True
    )["settings"]
    seen["trace_cleared"] = client.update_trace_settings(
        settings={"trace_level": [], "trace_rate": []}, as_json=True
    )["settings"]
    seen["log"] = client.get_log_settings(as_json=True)["settings"]
    seen["log_set"] = client.update_log_settings({"log_verbose_level": 1}, as_json=True)["settings"]
    client.update_log_settings({"log_verbose_level": 0})
    seen["log_refused"] = refused(client.update_log_settings, {"log_file": "x"})
    seen["shm"] = shared(client)
    client.close()
    tell(seen)


def slow_input() -> list[grpc.InferInput]:
    return [of("images", np.zeros((1, 3, 8, 8), np.float32), "FP32")]


def stream(client: grpc.InferenceServerClient) -> dict[str, Any]:
    """Many requests on one stream: in order, an error among them, and an end by choice."""
    answers: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for at in range(20):
        model = "none" if at == 7 else "simple"
        client.async_stream_infer(
            model, pair(), request_id=str(at), enable_empty_final_response=True
        )
    order, final, errors = [], [], []
    for _ in range(20):
        result, error = answers.get(timeout=20)
        if error:
            errors.append(str(error))
        else:
            order.append(int(result.get_response().id))
            final.append(result.get_response().parameters["triton_final_response"].bool_param)
    client.stop_stream()
    client.start_stream(
        lambda result, error: answers.put((result, error)), headers={"triton_grpc_error": "true"}
    )
    client.async_stream_infer("none", pair())
    _, error = answers.get(timeout=10)
    client.stop_stream()
    return {
        "order": order,
        "final": all(final),
        "errors": errors,
        "ended": f"{error.status()} {error.message()}",
    }


def cancelled(client: grpc.InferenceServerClient) -> str:
    answers: queue.Queue[Any] = queue.Queue()
    call = client.async_infer(
        "slow", slow_input(), lambda result, error: answers.put((result, error))
    )
    time.sleep(0.02)
    call.cancel()
    _, error = answers.get(timeout=10)
    return str(error.status())


def explicit() -> dict[str, Any]:
    """Contents element by element, and both kinds mixed, as no client class sends them."""
    with plain_grpc.insecure_channel(ADDRESS) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        request = service_pb2.ModelInferRequest(model_name="simple", id="e")
        for name in ("INPUT0", "INPUT1"):
            one = request.inputs.add(name=name, datatype="INT32", shape=[1, 16])
            one.contents.int_contents.extend(range(16))
        told = stub.ModelInfer(request)
        total = np.frombuffer(told.raw_output_contents[0], np.int32)[3]
        request.raw_input_contents.append(bytes(64))
        mixed = refused(stub.ModelInfer, request)
        request = service_pb2.ModelInferRequest(model_name="simple")
        one = request.inputs.add(name="INPUT0", datatype="INT32", shape=[1, 16])
        one.contents.fp32_contents.extend([1.0] * 16)
        wrong = refused(stub.ModelInfer, request)
    return {"sum": total, "mixed": mixed, "wrong": wrong}


def shared(client: grpc.InferenceServerClient) -> dict[str, Any]:
    first = refused(client.unregister_system_shared_memory)
    seen: dict[str, Any] = {
        "unregister": first,
        "cuda": refused(client.register_cuda_shared_memory, "g", base64.b64encode(b"x"), 0, 4),
    }
    if first:
        return seen
    given = shm.create_shared_memory_region("in", "/heliograph_test_grpc_in", 128)
    taken = shm.create_shared_memory_region("out", "/heliograph_test_grpc_out", 64)
    try:
        shm.set_shared_memory_region(given, [np.arange(16, dtype=np.int32), np.ones(16, np.int32)])
        client.register_system_shared_memory("in", "/heliograph_test_grpc_in", 128)
        client.register_system_shared_memory("out", "/heliograph_test_grpc_out", 64)
        seen["twice"] = refused(
            client.register_system_shared_memory, "in", "/heliograph_test_grpc_in", 128
        )
        seen["status"] = sorted(client.get_system_shared_memory_status(as_json=True)["regions"])
        inputs = []
        for at, name in enumerate(("INPUT0", "INPUT1")):
            one = grpc.InferInput(name, [1, 16], "INT32")
            one.set_shared_memory("in", 64, offset=64 * at)
            inputs.append(one)
        there, here = grpc.InferRequestedOutput("OUTPUT0"), grpc.InferRequestedOutput("OUTPUT1")
        there.set_shared_memory("out", 64)
        result = client.infer("simple", inputs, outputs=[there, here])
        seen["difference"] = result.as_numpy("OUTPUT1")
        seen["sum"] = shm.get_contents_as_numpy(taken, np.int32, [1, 16]).copy()
        client.unregister_system_shared_memory()
        client.unregister_cuda_shared_memory()
        seen["cuda_status"] = client.get_cuda_shared_memory_status(as_json=True)
    finally:
        shm.destroy_shared_memory_region(given)
        shm.destroy_shared_memory_region(taken)
    return seen


main()
