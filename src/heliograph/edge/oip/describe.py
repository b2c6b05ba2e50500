"""What the protocol says of a model: metadata and configuration, from its signature and package."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from heliograph.edge.oip.datatypes import datatype
from heliograph.registry.values import ModelPackage
from heliograph.runtimes.base import Tensor
from heliograph.serving.resident import Signature
from heliograph.serving.values import Model

MAX_BATCH = 1024
"""Most rows of one call of a batched model, unless it was loaded with another number."""


@dataclass(frozen=True, slots=True)
class Described:
    """One version of a model, as both metadata and configuration are made of it.

    Attributes:
        model: as the path sees it; `signature` and `package` are its.
        max_batch: most rows of a call; 0 if its first axis is no batch.
        states: inputs that take the state, and the outputs it comes from; clients see neither.
    """

    model: Model
    signature: Signature
    package: ModelPackage
    max_batch: int
    states: Mapping[str, str]

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The inputs that clients see."""
        return _without(self.signature.inputs, self.states)

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """The outputs that clients see."""
        return _without(self.signature.outputs, self.states.values())


def metadata(one: Described, versions: list[str]) -> dict[str, Any]:
    """The model's metadata."""
    return {
        "name": one.model.name,
        "versions": versions,
        "platform": one.signature.platform,
        "inputs": [_tensor(tensor) for tensor in one.inputs],
        "outputs": [_tensor(tensor) for tensor in one.outputs],
    }


def configuration(one: Described) -> dict[str, Any]:
    """The model's configuration, in the names and values of `inference.ModelConfig`."""
    package, plan = one.package, one.model.lane.plan
    platform = one.signature.platform
    told: dict[str, Any] = {
        "name": one.model.name,
        "platform": platform,
        "backend": platform.partition("_")[0],
        "version_policy": {"specific": {"versions": [int(one.model.version)]}},
        "max_batch_size": one.max_batch,
        "input": [_input(one, tensor) for tensor in one.inputs],
        "output": [_output(one, tensor) for tensor in one.outputs],
        "instance_group": [
            {"name": f"{one.model.name}_0", "kind": "KIND_CPU", "count": plan.instances}
        ],
        "default_model_filename": package.weights.file if package.weights else "",
        "model_transaction_policy": {"decoupled": False},
        "parameters": {
            "digest": {"string_value": one.model.digest},
            "task": {"string_value": package.task},
        },
    }
    if one.states:
        told["sequence_batching"] = {
            "oldest": {"max_candidate_sequences": plan.instances},
            "state": [_state(one, *pair) for pair in one.states.items()],
        }
    elif one.max_batch and plan.max_batch > 1:
        told["dynamic_batching"] = {
            "preferred_batch_size": [plan.max_batch],
            "max_queue_delay_microseconds": round(plan.max_wait_ms * 1000),
        }
    return told


def _tensor(tensor: Tensor) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "datatype": datatype(tensor.dtype),
        "shape": list(tensor.shape),
    }


def _input(one: Described, tensor: Tensor) -> dict[str, Any]:
    spec = one.model.input
    pictured = spec is not None and spec.name in {"", tensor.name}
    shape = f"FORMAT_{spec.layout}" if spec is not None and pictured else "FORMAT_NONE"
    return {
        "name": tensor.name,
        "data_type": _kind(tensor),
        "format": shape,
        "dims": _dims(one, tensor),
        "optional": False,
    }


def _output(one: Described, tensor: Tensor) -> dict[str, Any]:
    classes = one.model.task is not None and one.model.task.name == "classification"
    return {
        "name": tensor.name,
        "data_type": _kind(tensor),
        "dims": _dims(one, tensor),
        "label_filename": one.package.labels if classes else "",
    }


def _state(one: Described, given: str, taken: str) -> dict[str, Any]:
    tensor = next(tensor for tensor in one.signature.inputs if tensor.name == given)
    return {
        "input_name": given,
        "output_name": taken,
        "data_type": _kind(tensor),
        "dims": _dims(one, tensor),
    }


def _dims(one: Described, tensor: Tensor) -> list[int]:
    return list(tensor.shape[1:] if one.max_batch else tensor.shape)


def _kind(tensor: Tensor) -> str:
    kind = datatype(tensor.dtype)
    return "TYPE_STRING" if kind == "BYTES" else f"TYPE_{kind}"


def _without(tensors: tuple[Tensor, ...], hidden: Collection[str]) -> tuple[Tensor, ...]:
    return tuple([one for one in tensors if one.name not in hidden]) if hidden else tensors
