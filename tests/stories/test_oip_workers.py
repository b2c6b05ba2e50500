"""The Open Inference Protocol with several workers on the same ports."""

from __future__ import annotations

import json
import time

import grpc
import httpx
import pytest

from heliograph.edge.oip.protos import MESSAGES, SERVICE
from support.oip import serving


def test_workers_count_together_and_refuse_what_one_alone_would_know(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    environ = {"HELIOGRAPH_OIP_SHARED_MEMORY": "true"}
    folder = tmp_path_factory.mktemp("workers")
    with serving(folder, "--open", "--workers", "2", environ=environ) as oip:
        at = oip.server.address
        tensor = {"name": "INPUT0", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}
        for _ in range(20):  # a connection each, so that both workers get some
            reply = httpx.post(
                f"{at}/v2/models/identity/infer", json={"inputs": [tensor]}, trust_env=False
            )
            assert reply.json()["outputs"][0]["data"] == [1, 2]
        asked = MESSAGES["inference.ModelInferRequest"](
            model_name="identity", raw_input_contents=[bytes(8)]
        )
        asked.inputs.add(name="INPUT0", datatype="FP32", shape=[1, 2])
        for _ in range(10):
            options = [("grpc.use_local_subchannel_pool", 1)]
            with grpc.insecure_channel(oip.grpc, options=options) as channel:
                call = channel.unary_unary(f"/{SERVICE}/ModelInfer")
                assert call(asked.SerializeToString(), timeout=30)
        with httpx.Client(base_url=at, trust_env=False) as http:
            stats = {"inference_count": 0, "execution_count": 0}
            for _ in range(50):  # the other worker tells its rows a few times a second
                stats = http.get("/v2/models/identity/stats").json()["model_stats"][0]
                if stats["inference_count"] >= 30:
                    break
                time.sleep(0.1)
            assert stats["inference_count"] == stats["execution_count"] == 30
            for path, body in {
                "/v2/logging": {"log_info": False},
                "/v2/trace/setting": {"trace_rate": "1"},
                "/v2/systemsharedmemory/unregister": {},
            }.items():
                assert http.post(path, content=json.dumps(body)).status_code == 501, path
