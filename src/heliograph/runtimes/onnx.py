"""ONNX Runtime on the CPU.

One session serves every thread of a lane: `InferenceSession.run` is safe to call concurrently and,
with one intra-op thread, works in the caller's own thread, so that N instances share one copy of
the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from heliograph.runtimes.base import Arrays, Plan, Tensor

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
    "tensor(string)": "object",
}


class OnnxRunner:
    """A model file run by ONNX Runtime."""

    def __init__(self, path: Path, plan: Plan) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = plan.threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        # Spinning workers burn the cores that decoding needs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        self._session = ort.InferenceSession(
            str(path), sess_options=options, providers=["CPUExecutionProvider"]
        )
        self.inputs = tuple(map(_tensor, self._session.get_inputs()))
        self.outputs = tuple(map(_tensor, self._session.get_outputs()))
        self._names = [one.name for one in self.outputs]

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Arrays:
        """See `Runner.run`."""
        arrays = cast("list[NDArray[Any]]", self._session.run(self._names, dict(feeds)))
        return dict(zip(self._names, map(np.asarray, arrays), strict=True))


def _tensor(node: Any) -> Tensor:
    shape = tuple(size if isinstance(size, int) else -1 for size in node.shape)
    return Tensor(str(node.name), _DTYPES.get(node.type, str(node.type)), shape)
