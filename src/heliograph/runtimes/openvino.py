"""OpenVINO on the CPU: IR, ONNX, TFLite, TensorFlow SavedModel folders and frozen graphs.

TensorFlow itself is not needed. Names are the author's: the frontends give a tensor several, and of
these the one that the model's own signature uses is kept.

What the CPU plugin of OpenVINO 2026.4 cannot do is refused, since it would answer wrongly and say
nothing: it computes 64-bit integers in 32 bits, and running a model that passes strings through
frees memory that is not its own (`tests/unit/runtimes/test_tensors.py` watches both).
"""

# OpenVINO's own stubs leave much of its API untyped, and its two Model classes unrelated.
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

import queue
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino.preprocess import PrePostProcessor

from heliograph.core.errors import Code, HeliographError
from heliograph.runtimes.base import Arrays, Plan, Tensor
from heliograph.runtimes.resident import resident

_DTYPES = {
    "f16": "float16",
    "bf16": "bfloat16",
    "f32": "float32",
    "f64": "float64",
    "i8": "int8",
    "i16": "int16",
    "i32": "int32",
    "i64": "int64",
    "u8": "uint8",
    "u16": "uint16",
    "u32": "uint32",
    "u64": "uint64",
    "boolean": "bool",
}
_LONG = 2**31
_ENDINGS = {".xml": "ir", ".onnx": "onnx", ".tflite": "tflite", ".pb": "graphdef"}
_NAMED_WITH_PORT = {".pb", ""}
"""Frozen graphs and SavedModel folders: their `name:0` is TensorFlow's notation for `name`."""


class OpenvinoRunner:
    """A model file run by OpenVINO; one infer request an instance, one copy of the weights."""

    def __init__(self, path: Path, plan: Plan) -> None:
        before = resident()
        core = ov.Core()
        model = core.read_model(str(path))
        bare = path.suffix in _NAMED_WITH_PORT
        self.platform = f"openvino_{_ENDINGS.get(path.suffix, 'savedmodel')}"
        self.inputs = _tensors(model.inputs, bare=bare)
        self.outputs = _tensors(model.outputs, bare=bare)
        model = _widen(model, self.inputs, self.outputs)
        config = {
            "NUM_STREAMS": str(plan.instances),
            "INFERENCE_NUM_THREADS": str(plan.threads * plan.instances),
            # Plans are measured in float32; lower precision is a plan of its own.
            "INFERENCE_PRECISION_HINT": "f32",
            "ENABLE_CPU_PINNING": "NO",
        }
        compiled = core.compile_model(model, "CPU", config)
        self._long = {one.name for one in self.inputs if one.dtype in {"int64", "uint64"}}
        self._order = {one.name: index for index, one in enumerate(self.inputs)}
        self._requests: queue.SimpleQueue[ov.InferRequest | None] = queue.SimpleQueue()
        for _ in range(plan.instances):
            self._requests.put(compiled.create_infer_request())
        self._memory = resident() - before

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Arrays:
        """See `Runner.run`; raises `validation` for integers that need more than 32 bits."""
        given = {self._order[name]: self._given(name, array) for name, array in feeds.items()}
        request = self._requests.get()
        if request is None:
            self._requests.put(None)
            raise RuntimeError("the runner is closed; this is a bug")
        try:
            results = request.infer(given, share_inputs=True, share_outputs=True)
            arrays = [np.array(results[index]) for index in range(len(self.outputs))]
        finally:
            self._requests.put(request)
        return dict(zip((one.name for one in self.outputs), arrays, strict=True))

    def memory(self) -> int:
        """See `Runner.memory`: what the process grew by while loading."""
        return max(0, self._memory)

    def close(self) -> None:
        """See `Runner.close`."""
        self._requests = queue.SimpleQueue()
        # Whoever runs after this finds no request, and is told so instead of waiting for ever.
        self._requests.put(None)

    def _given(self, name: str, array: NDArray[Any]) -> NDArray[Any]:
        if name in self._long and array.size and _beyond(array):
            raise HeliographError(
                Code.VALIDATION,
                f"{name!r} holds a number beyond 32 bits, which OpenVINO cannot compute with; "
                "another engine can.",
            )
        # It reads memory as it lies: a transposed view would be read in the wrong order.
        return np.ascontiguousarray(array).reshape(array.shape)


def _beyond(array: NDArray[Any]) -> bool:
    """Whether an integer needs more than 32 bits."""
    return int(array.max()) >= _LONG or int(array.min()) < -_LONG


def _tensors(ports: Sequence[Any], *, bare: bool) -> tuple[Tensor, ...]:
    """The ports' tensors, each under a name of its own."""
    made: list[Tensor] = []
    for number, port in enumerate(ports):
        name = _name(port, bare=bare) or str(number)
        if any(one.name == name for one in made):
            # One tensor given out twice: OpenVINO names both alike.
            others = [_bare(one, bare=bare) for one in (*sorted(port.names), f"{name}_{number}")]
            name = next(one for one in others if all(one != other.name for other in made))
        made.append(Tensor(name, _dtype(port, name), _shape(port)))
    return tuple(made)


def _name(port: Any, *, bare: bool) -> str:
    """The author's name of a port.

    The frontends name a tensor by its signature and by the node that makes it; the port's own node
    carries the first, wherever there is one.
    """
    names = set(port.names)
    given = port.get_node().get_friendly_name()
    own = given if given in names or not names else port.any_name
    return _bare(own, bare=bare)


def _bare(name: str, *, bare: bool) -> str:
    return name.removesuffix(":0") if bare else name


def _dtype(port: Any, name: str) -> str:
    kind = port.element_type.get_type_name()
    if kind not in _DTYPES:
        raise HeliographError(
            Code.MODEL_INVALID,
            f"{name!r} has elements of {kind}, which OpenVINO does not serve; it does "
            f"{', '.join(sorted(_DTYPES))}.",
        )
    return _DTYPES[kind]


def _shape(port: Any) -> tuple[int, ...]:
    shape = port.get_partial_shape()
    if shape.rank.is_dynamic:
        raise HeliographError(
            Code.MODEL_INVALID,
            f"{port.any_name!r} may have any number of axes; export the model with their number "
            "fixed (sizes may stay free).",
        )
    return tuple(dim.get_length() if dim.is_static else -1 for dim in shape)


def _widen(model: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Any:
    """Let bfloat16 tensors come and go as float32; the arithmetic stays as it is."""
    if all(one.dtype != "bfloat16" for one in (*inputs, *outputs)):
        return model
    steps = PrePostProcessor(model)
    for index, one in enumerate(inputs):
        if one.dtype == "bfloat16":
            steps.input(index).tensor().set_element_type(ov.Type.f32)
    for index, one in enumerate(outputs):
        if one.dtype == "bfloat16":
            steps.output(index).tensor().set_element_type(ov.Type.f32)
    return steps.build()
