"""ONNX Runtime on the CPU.

One session serves every thread of a lane: `InferenceSession.run` is safe to call concurrently and,
with one intra-op thread, works in the caller's own thread, so that N instances share one copy of
the weights.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from heliograph.core.errors import Code, HeliographError
from heliograph.runtimes.base import Arrays, Plan, Tensor
from heliograph.runtimes.elements import bytes_of, float32_of, halves_of, text_of
from heliograph.runtimes.resident import resident

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(bfloat16)": "bfloat16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(uint16)": "uint16",
    "tensor(uint32)": "uint32",
    "tensor(uint64)": "uint64",
    "tensor(int8)": "int8",
    "tensor(int16)": "int16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
    "tensor(string)": "object",
}
_BFLOAT16 = 16
"""ONNX's number of the type, `TensorProto.BFLOAT16`."""

_NEWER = (
    (re.compile(r"Opset (\d+) is under development.*till opset (\d+)", re.DOTALL), "operator set"),
    (re.compile(r"IR version: (\d+), max supported IR version: (\d+)"), "IR version"),
)
"""What it says of files from newer tools than itself: the likeliest reason that it refuses one."""

# Its builds report home by default; a server of other people's pictures does not.
ort.disable_telemetry_events()


class OnnxRunner:
    """A model file run by ONNX Runtime."""

    platform = "onnxruntime_onnx"

    def __init__(self, path: Path, plan: Plan) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = plan.threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        # Spinning workers burn the cores that decoding needs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        before = resident()
        self._session: ort.InferenceSession | None = _open(path, options)
        self._memory = resident() - before
        self.inputs = tuple(map(_tensor, self._session.get_inputs()))
        self.outputs = tuple(map(_tensor, self._session.get_outputs()))
        self._names = [one.name for one in self.outputs]
        self._texts = [one.name for one in self.inputs if one.dtype == "object"]
        self._halves = any(one.dtype == "bfloat16" for one in (*self.inputs, *self.outputs))

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Arrays:
        """See `Runner.run`; raises `validation` for byte strings that are not UTF-8."""
        session = self._session
        if session is None:
            raise RuntimeError("the runner is closed; this is a bug")
        given = dict(feeds)
        for name in self._texts:
            given[name] = text_of(name, given[name])
        if self._halves:
            return self._run_values(session, given)
        arrays = cast("list[NDArray[Any]]", session.run(self._names, given))
        return {
            name: bytes_of(array) if array.dtype == object else array
            for name, array in zip(self._names, map(np.asarray, arrays), strict=True)
        }

    def memory(self) -> int:
        """See `Runner.memory`: what the process grew by while loading."""
        return max(0, self._memory)

    def close(self) -> None:
        """See `Runner.close`."""
        self._session = None

    def _run_values(self, session: ort.InferenceSession, feeds: Arrays) -> Arrays:
        """As `run`, through ONNX Runtime's own values: numpy cannot carry bfloat16 to it."""
        kinds = {one.name: one.dtype for one in self.inputs}
        make = ort.OrtValue.ortvalue_from_numpy
        given = {
            name: ort.OrtValue.ortvalue_from_numpy_with_onnx_type(halves_of(one), _BFLOAT16)
            if kinds.get(name) == "bfloat16"
            else make(np.ascontiguousarray(one).reshape(one.shape))
            for name, one in feeds.items()
        }
        answers = session.run_with_ort_values(self._names, given)
        return dict(zip(self._names, map(_array, answers), strict=True))


def _open(path: Path, options: Any) -> ort.InferenceSession:
    """Open a file; one that is too new for this ONNX Runtime is refused with what to do."""
    try:
        return ort.InferenceSession(
            str(path), sess_options=options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        for pattern, what in _NEWER:
            found = pattern.search(str(error))
            if found:
                raise HeliographError(
                    Code.MODEL_INVALID,
                    f"The model is written in ONNX's {what} {found[1]}; ONNX Runtime "
                    f"{ort.__version__} reads up to {found[2]}. Export it again with that.",
                ) from None
        raise


def _array(value: ort.OrtValue) -> NDArray[Any]:
    if value.element_type() != _BFLOAT16:
        array = value.numpy()
        return bytes_of(array) if array.dtype == object else array
    shape = tuple(value.shape())
    size = int(np.prod(shape, dtype=np.int64))
    raw = ctypes.string_at(value.data_ptr(), size * 2) if size else b""
    return float32_of(np.frombuffer(raw, np.uint16).reshape(shape))


def _tensor(node: Any) -> Tensor:
    if node.type not in _DTYPES:
        raise HeliographError(
            Code.MODEL_INVALID,
            f"{node.name!r} is a {node.type}; only tensors are served, of "
            f"{', '.join(sorted(_DTYPES.values()))}. A classifier of scikit-learn needs "
            "`zipmap=False` when it is converted.",
        )
    shape = tuple(size if isinstance(size, int) else -1 for size in node.shape)
    return Tensor(str(node.name), _DTYPES[node.type], shape)
