"""kserve's clients against a server: HTTP-ADDRESS GRPC-ADDRESS."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig
from kserve.protocol.infer_type import RequestedOutput
from seen import tell

HTTP, GRPC = f"http://{sys.argv[1]}", sys.argv[2]


def question(*, binary: bool, model: str = "simple", outputs: bool = False) -> InferRequest:
    inputs = []
    for at, name in enumerate(("INPUT0", "INPUT1")):
        one = InferInput(name, [1, 16], "INT32")
        one.set_data_from_numpy(np.arange(16, dtype=np.int32)[None] * (at + 1), binary_data=binary)
        inputs.append(one)
    wanted = [RequestedOutput("OUTPUT0", parameters={"binary_data": binary})] if outputs else None
    return InferRequest(model_name=model, infer_inputs=inputs, request_outputs=wanted)


async def of_rest() -> dict[str, Any]:
    seen: dict[str, Any] = {}
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    seen["live"] = await client.is_server_live(HTTP)
    seen["ready"] = await client.is_server_ready(HTTP)
    seen["model_ready"] = await client.is_model_ready(HTTP, "simple")
    seen["no_model_ready"] = await client.is_model_ready(HTTP, "none")
    for binary in (True, False):
        told = await client.infer(
            HTTP, question(binary=binary, outputs=binary), model_name="simple"
        )
        seen[f"sum_{binary}"] = told.outputs[0].as_numpy()
    half = InferInput("INPUT0", [1, 3], "FP16")
    half.set_data_from_numpy(np.array([[1, 2, 3]], np.float16), binary_data=True)
    seen["fp16"] = await text_of(
        client.infer(HTTP, InferRequest("identity", [half]), model_name="identity")
    )
    seen["refused"] = await text_of(
        client.infer(HTTP, question(binary=True, model="none"), model_name="none")
    )
    return seen


async def of_v1() -> dict[str, Any]:
    seen: dict[str, Any] = {}
    client = InferenceRESTClient(RESTConfig(protocol="v1"))
    seen["live"] = await text_of(client.is_server_live(HTTP))
    seen["model_ready"] = await client.is_model_ready(HTTP, "simple")
    seen["no_model_ready"] = await text_of(client.is_model_ready(HTTP, "none"))
    rows = {"instances": [{"INPUT0": list(range(16)), "INPUT1": [1] * 16}]}
    seen["predictions"] = await client.infer(HTTP, rows, model_name="simple")
    seen["refused"] = await text_of(client.infer(HTTP, {"instances": [1]}, model_name="none"))
    return seen


async def of_grpc() -> dict[str, Any]:
    seen: dict[str, Any] = {}
    client = InferenceGRPCClient(GRPC)
    seen["live"], seen["ready"] = await client.is_server_live(), await client.is_server_ready()
    seen["model_ready"] = await client.is_model_ready("simple")
    seen["no_model_ready"] = await text_of(client.is_model_ready("none"))
    for binary in (True, False):
        told = await client.infer(question(binary=binary))
        seen[f"sum_{binary}"] = told.outputs[0].as_numpy()
    seen["refused"] = await text_of(client.infer(question(binary=True, model="none")))
    await client.close()
    return seen


async def text_of(call: Any) -> str:
    """The error's text, or the answer's."""
    try:
        return str(await call)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


async def main() -> None:
    tell({"v2": await of_rest(), "v1": await of_v1(), "grpc": await of_grpc()})


asyncio.run(main())
