"""OpenVINO on the CPU: IR, ONNX, TFLite and TensorFlow frozen graphs, without TensorFlow."""

from __future__ import annotations

import queue
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from heliograph.runtimes.base import Arrays, Plan, Tensor


class OpenvinoRunner:
    """A model file run by OpenVINO; one infer request an instance, one copy of the weights."""

    def __init__(self, path: Path, plan: Plan) -> None:
        core = ov.Core()
        model = core.read_model(str(path))
        config = {
            "NUM_STREAMS": str(plan.instances),
            "INFERENCE_NUM_THREADS": str(plan.threads * plan.instances),
            # Plans are measured in float32; lower precision is a plan of its own.
            "INFERENCE_PRECISION_HINT": "f32",
            "ENABLE_CPU_PINNING": "NO",
        }
        self._compiled = core.compile_model(model, "CPU", config)
        self.inputs = tuple(_tensor(port) for port in self._compiled.inputs)
        self.outputs = tuple(_tensor(port) for port in self._compiled.outputs)
        self._requests: queue.SimpleQueue[ov.InferRequest] = queue.SimpleQueue()
        for _ in range(plan.instances):
            self._requests.put(self._compiled.create_infer_request())

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Arrays:
        """See `Runner.run`."""
        request = self._requests.get()
        try:
            results = request.infer(dict(feeds), share_inputs=True)
            arrays = [np.array(results[index]) for index in range(len(self.outputs))]
        finally:
            self._requests.put(request)
        return dict(zip((one.name for one in self.outputs), arrays, strict=True))


def _tensor(port: Any) -> Tensor:
    shape = tuple(dim.get_length() if dim.is_static else -1 for dim in port.get_partial_shape())
    return Tensor(port.any_name, np.dtype(port.element_type.to_dtype()).name, shape)
