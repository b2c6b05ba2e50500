"""A model's signature as TensorFlow Serving tells it: in JSON, or as a SignatureDefMap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from heliograph.edge.tfserving.dtypes import of_numpy
from heliograph.edge.tfserving.spec import SIGNATURE
from heliograph.runtimes.base import Tensor
from heliograph.serving.resident import Signature

PREDICT = "tensorflow/serving/predict"
CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"


def in_json(name: str, version: str, signature: Signature) -> dict[str, Any]:
    """The body of `GET …/metadata`: names as in the messages, defaults said, int64 as text."""
    said = {
        "inputs": _infos(signature.inputs),
        "outputs": _infos(signature.outputs),
        "method_name": PREDICT,
        "defaults": {},
    }
    return {
        "model_spec": {"name": name, "signature_name": "", "version": version},
        "metadata": {"signature_def": {"signature_def": {SIGNATURE: said}}},
    }


def _infos(tensors: Sequence[Tensor]) -> dict[str, Any]:
    return {
        one.name: {
            "dtype": of_numpy(one.dtype).label,
            "tensor_shape": {
                "dim": [{"size": str(size), "name": ""} for size in one.shape],
                "unknown_rank": False,
            },
            "name": _node(one.name),
        }
        for one in tensors
    }


def in_message(messages: Any, signature: Signature) -> Any:
    """The SignatureDefMap of a model.

    Args:
        messages: the message classes, see `edge.grpc.messages`.
        signature: the model's.
    """
    said = messages["tensorflow.SignatureDef"](method_name=PREDICT)
    ends = ((said.inputs, signature.inputs), (said.outputs, signature.outputs))
    for infos, tensors in ends:
        for one in tensors:
            info = infos[one.name]
            info.name, info.dtype = _node(one.name), of_numpy(one.dtype).number
            for size in one.shape:
                info.tensor_shape.dim.add(size=size)
    return messages["tensorflow.serving.SignatureDefMap"](signature_def={SIGNATURE: said})


def _node(name: str) -> str:
    """What TensorFlow calls the tensor: output 0 of the operation of that name."""
    return name if ":" in name else f"{name}:0"
