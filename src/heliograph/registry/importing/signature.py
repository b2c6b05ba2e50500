"""What a model takes and gives, read from its file; an engine is asked only in another process."""

from __future__ import annotations

import importlib

from heliograph.registry.importing.files import mapped
from heliograph.registry.importing.onnx_file import OnnxFile, Value, read_onnx
from heliograph.registry.importing.values import Facts, Format, Staged
from heliograph.runtimes.base import Tensor

_DTYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    8: "object",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    16: "bfloat16",
}
_PASSING = {"Identity", "Cast", "Dropout"}
_MODULES: dict[Format, str] = {
    Format.FROZEN_GRAPH: "signature_probe",
    Format.KERAS: "signature_probe",
    Format.OPENVINO: "signature_probe",
    Format.PT2: "signature_probe",
    Format.SAVED_MODEL: "signature_probe",
    Format.TFLITE: "signature_tflite",
    Format.TORCHSCRIPT: "signature_probe",
}


def read_facts(staged: Staged) -> Facts:
    """What a checked copy says about itself.

    Raises:
        HeliographError: `model_invalid`, `unsupported` or `model_unavailable`.
    """
    if staged.format is Format.ONNX:
        with mapped(staged.main) as data:
            return onnx_facts(read_onnx(data))
    module = importlib.import_module(f"heliograph.registry.importing.{_MODULES[staged.format]}")
    facts: Facts = module.read_facts(staged)
    return facts


def onnx_facts(model: OnnxFile) -> Facts:
    """The facts of an ONNX file."""
    inputs = [_tensor(one) for one in model.real_inputs()]
    makers = {name: node for node in model.graph.nodes for name in node.outputs}
    last: dict[str, str] = {}
    for one in model.graph.outputs:
        node = makers.get(one.name)
        while node is not None and node.op in _PASSING and node.inputs:
            node = makers.get(node.inputs[0])
        last[one.name] = node.op if node else ""
    fed = inputs[0].name if inputs else ""
    first = tuple(node.op for node in model.graph.nodes if fed in node.inputs)
    return Facts(
        inputs=tuple(inputs),
        outputs=tuple(_tensor(one) for one in model.graph.outputs),
        engine="onnx",
        metadata=model.metadata | ({"producer": model.producer} if model.producer else {}),
        last=last,
        first=first,
    )


def _tensor(value: Value) -> Tensor:
    # A rank that the file does not give is told by an empty shape only where it is a scalar; an
    # engine will know better, so one free axis stands in.
    shape = (-1,) if value.shape is None else value.shape
    return Tensor(value.name, _DTYPES.get(value.dtype, "unknown"), shape)
