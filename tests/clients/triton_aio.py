"""tritonclient's two asyncio clients against a server: HTTP-ADDRESS GRPC-ADDRESS."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import tritonclient.grpc.aio as grpc
import tritonclient.http.aio as http
from seen import tell

HTTP, GRPC = sys.argv[1:3]


def pair(kind: Any) -> list[Any]:
    inputs = []
    for at, name in enumerate(("INPUT0", "INPUT1")):
        one = kind(name, [1, 16], "INT32")
        one.set_data_from_numpy(np.arange(16, dtype=np.int32)[None] * (at + 1))
        inputs.append(one)
    return inputs


async def of_http() -> dict[str, Any]:
    seen: dict[str, Any] = {}
    async with http.InferenceServerClient(HTTP) as client:
        seen["live"], seen["ready"] = await client.is_server_live(), await client.is_server_ready()
        seen["model_ready"] = await client.is_model_ready("simple")
        seen["server"] = await client.get_server_metadata()
        seen["metadata"] = await client.get_model_metadata("simple")
        seen["config"] = await client.get_model_config("simple")
        results = await asyncio.gather(
            *(client.infer("simple", pair(http.InferInput), request_id=str(at)) for at in range(8))
        )
        seen["sums"] = [one.as_numpy("OUTPUT0")[0, 3] for one in results]
        for coding in ("gzip", "deflate"):
            result = await client.infer(
                "simple",
                pair(http.InferInput),
                request_compression_algorithm=coding,
                response_compression_algorithm=coding,
            )
            seen[coding] = result.as_numpy("OUTPUT1")[0, 3]
        seen["index"] = await client.get_model_repository_index()
        await client.unload_model("simple")
        await client.load_model("simple")
        seen["stats"] = (await client.get_inference_statistics("simple"))["model_stats"][0]["name"]
        seen["trace"] = await client.get_trace_settings()
        seen["log"] = await client.get_log_settings()
        seen["refused"] = await text_of(client.infer("none", pair(http.InferInput)))
        seen["shm"] = await text_of(client.get_system_shared_memory_status())
    return seen


async def of_grpc() -> dict[str, Any]:
    seen: dict[str, Any] = {}
    async with grpc.InferenceServerClient(GRPC) as client:
        seen["live"], seen["ready"] = await client.is_server_live(), await client.is_server_ready()
        seen["metadata"] = await client.get_model_metadata("simple", as_json=True)
        results = await asyncio.gather(
            *(client.infer("simple", pair(grpc.InferInput)) for _ in range(8))
        )
        seen["sums"] = [one.as_numpy("OUTPUT0")[0, 3] for one in results]
        result = await client.infer("simple", pair(grpc.InferInput), compression_algorithm="gzip")
        seen["gzip"] = result.as_numpy("OUTPUT1")[0, 3]
        seen["refused"] = await text_of(client.infer("none", pair(grpc.InferInput)))
        seen["stream"] = await streamed(client)
        slow = grpc.InferInput("images", [1, 3, 8, 8], "FP32")
        slow.set_data_from_numpy(np.zeros((1, 3, 8, 8), np.float32))
        task = asyncio.create_task(client.infer("slow", [slow]))
        await asyncio.sleep(0.02)
        task.cancel()
        seen["cancelled"] = await text_of(task)
        seen["after"] = (await client.infer("simple", pair(grpc.InferInput))).as_numpy("OUTPUT0")[
            0, 3
        ]
    return seen


async def streamed(client: grpc.InferenceServerClient) -> list[Any]:
    async def questions() -> AsyncIterator[dict[str, Any]]:
        for at in range(5):
            yield {
                "model_name": "none" if at == 2 else "simple",
                "inputs": pair(grpc.InferInput),
                "request_id": str(at),
            }

    return [
        str(error) if error else result.get_response().id
        async for result, error in client.stream_infer(questions())
    ]


async def text_of(call: Any) -> str:
    try:
        await call
    except (Exception, asyncio.CancelledError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


async def main() -> None:
    tell({"http": await of_http(), "grpc": await of_grpc()})


asyncio.run(main())
