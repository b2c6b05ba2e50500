"""Real tiny models of plain tensors, as ONNX files in packages of their own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from heliograph.registry.values import ModelPackage, read_package
from support.models import save, write_card

WIDTH = 16
Size = int | str


def tensor(name: str, kind: int, *shape: Size) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, list(shape))


def build(
    nodes: list[NodeProto], given: list[ValueInfoProto], answer: list[ValueInfoProto]
) -> ModelProto:
    """A model of any number of inputs and outputs."""
    return helper.make_model(
        helper.make_graph(nodes, "tiny", given, answer),
        ir_version=8,
        opset_imports=[helper.make_opsetid("", 17)],
    )


def simple(path: Path) -> Path:
    """Triton's `simple`: INT32 INPUT0, INPUT1 [N, 16] -> their sum OUTPUT0, difference OUTPUT1."""
    nodes = [
        helper.make_node("Add", ["INPUT0", "INPUT1"], ["OUTPUT0"]),
        helper.make_node("Sub", ["INPUT0", "INPUT1"], ["OUTPUT1"]),
    ]
    given = [tensor(name, TensorProto.INT32, "N", WIDTH) for name in ("INPUT0", "INPUT1")]
    answer = [tensor(name, TensorProto.INT32, "N", WIDTH) for name in ("OUTPUT0", "OUTPUT1")]
    return save(build(nodes, given, answer), path)


def echo(path: Path, kind: int, *shape: Size) -> Path:
    """`INPUT0` comes back as `OUTPUT0`."""
    node = helper.make_node("Identity", ["INPUT0"], ["OUTPUT0"])
    ends = [tensor(name, kind, *shape) for name in ("INPUT0", "OUTPUT0")]
    return save(build([node], ends[:1], ends[1:]), path)


def accumulator(path: Path) -> Path:
    """`OUTPUT` = `INPUT` + the state; the state becomes `OUTPUT`. All INT32 [N, 1]."""
    nodes = [
        helper.make_node("Add", ["INPUT", "STATE_IN"], ["OUTPUT"]),
        helper.make_node("Identity", ["OUTPUT"], ["STATE_OUT"]),
    ]
    given = [tensor(name, TensorProto.INT32, "N", 1) for name in ("INPUT", "STATE_IN")]
    answer = [tensor(name, TensorProto.INT32, "N", 1) for name in ("OUTPUT", "STATE_OUT")]
    return save(build(nodes, given, answer), path)


def simple_package(home: Path, name: str = "simple", **changes: Any) -> ModelPackage:
    return package(home, name, simple, **changes)


def text_package(home: Path, name: str = "text_identity", **changes: Any) -> ModelPackage:
    return package(home, name, lambda path: echo(path, TensorProto.STRING, "N", "D"), **changes)


def vector_package(home: Path, name: str = "identity", **changes: Any) -> ModelPackage:
    return package(home, name, lambda path: echo(path, TensorProto.FLOAT, "N", "D"), **changes)


def accumulator_package(home: Path, name: str = "accumulator", **changes: Any) -> ModelPackage:
    states = {"STATE_IN": "STATE_OUT"}
    return package(home, name, accumulator, states=states, **changes)


def package(home: Path, name: str, make: Callable[[Path], Path], **changes: Any) -> ModelPackage:
    """A package of plain tensors in `home/models/name`, or in `…/VERSION` if one is given."""
    folder = home / "models" / name / str(changes.get("version", ""))
    folder.mkdir(parents=True)
    digest = hashlib.sha256(make(folder / "model.onnx").read_bytes()).hexdigest()
    table = {
        "name": name,
        "version": 1,
        "task": "tensors",
        "engine": "onnx",
        "weights": {"file": "model.onnx", "sha256": digest},
    }
    return read_package(write_card(folder, table | changes))
