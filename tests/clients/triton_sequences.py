"""Sequences of a stateful model over tritonclient: HTTP-ADDRESS GRPC-ADDRESS."""

from __future__ import annotations

import queue
import sys
from typing import Any

import numpy as np
import tritonclient.grpc as grpc
import tritonclient.http as http
from seen import refused, tell

HTTP, GRPC = sys.argv[1:3]
VALUES = [11, 7, 5, 3, 2, 0, 1]


def of(kind: Any, value: int) -> list[Any]:
    one = kind("INPUT", [1, 1], "INT32")
    one.set_data_from_numpy(np.array([[value]], np.int32))
    return [one]


def flags(at: int) -> dict[str, bool]:
    return {"sequence_start": at == 0, "sequence_end": at == len(VALUES) - 1}


def main() -> None:
    seen: dict[str, Any] = {}
    client = http.InferenceServerClient(HTTP)
    seen["metadata"] = client.get_model_metadata("accumulator")
    seen["config"] = client.get_model_config("accumulator")
    seen["http"] = {"1000": [], "named": []}
    for at, value in enumerate(VALUES):
        for which, sign in ((1000, 1), ("named", -1)):
            result = client.infer(
                "accumulator", of(http.InferInput, sign * value), sequence_id=which, **flags(at)
            )
            seen["http"][str(which)].append(int(result.as_numpy("OUTPUT")[0, 0]))
    seen["none"] = refused(client.infer, "accumulator", of(http.InferInput, 1))
    seen["ended"] = refused(client.infer, "accumulator", of(http.InferInput, 1), sequence_id=1000)

    answers: queue.Queue[Any] = queue.Queue()
    stub = grpc.InferenceServerClient(GRPC)
    stub.start_stream(lambda result, error: answers.put((result, error)))
    for at, value in enumerate(VALUES):
        for which, sign in ((1, 1), ("two", -1)):
            stub.async_stream_infer(
                "accumulator",
                of(grpc.InferInput, sign * value),
                request_id=f"{which}",
                sequence_id=which,
                **flags(at),
            )
    seen["grpc"] = {"1": [], "two": []}
    for _ in range(2 * len(VALUES)):
        result, error = answers.get(timeout=20)
        if error:
            raise error
        seen["grpc"][result.get_response().id].append(int(result.as_numpy("OUTPUT")[0, 0]))
    stub.stop_stream()
    tell(seen)


main()
