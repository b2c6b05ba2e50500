"""Models as other people's tools export them, and models that mean harm: a few nodes each."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, ValueInfoProto, helper, numpy_helper

from support.models import floats, save

Shape = Sequence[int | str]


def constant_model(
    takes: Mapping[str, Shape],
    gives: Mapping[str, NDArray[Any]],
    *,
    notes: Mapping[str, str] | None = None,
    shapes: Mapping[str, Shape] | None = None,
    dtype: int = TensorProto.FLOAT,
    ends: str = "",
) -> ModelProto:
    """A model that gives the same answer whatever it is fed.

    Args:
        takes: inputs by name.
        gives: each output's constant value by name; its first axis is the batch of one.
        notes: `metadata_props`.
        shapes: shapes that outputs are declared with, where another than their value's.
        dtype: element type of the inputs.
        ends: an operation that the outputs come out of, e.g. `Softmax`.
    """
    kept, nodes, outputs = [], [], []
    for name, value in gives.items():
        kept.append(numpy_helper.from_array(value, f"{name}_value"))
        # A Softmax of opset 17 is along the last axis.
        nodes.append(helper.make_node(ends or "Identity", [f"{name}_value"], [name]))
        kind = helper.np_dtype_to_tensor_dtype(value.dtype)
        shape = list((shapes or {}).get(name, value.shape))
        outputs.append(helper.make_tensor_value_info(name, kind, shape))
    inputs = [helper.make_tensor_value_info(name, dtype, list(s)) for name, s in takes.items()]
    made = helper.make_model(
        helper.make_graph(nodes, "constant", inputs, outputs, kept),
        ir_version=8,
        opset_imports=[helper.make_opsetid("", 17)],
    )
    helper.set_model_props(made, dict(notes or {}))
    return made


def add(path: Path) -> Path:
    """`sum` [N, 4] of `a` and `b`."""
    node = helper.make_node("Add", ["a", "b"], ["sum"])
    graph = helper.make_graph(
        [node], "add", [floats("a", "N", 4), floats("b", "N", 4)], [floats("sum", "N", 4)]
    )
    return save(graph_model(graph), path)


def graph_model(graph: Any, **more: Any) -> ModelProto:
    """A model of a graph, of the opset that all tests use."""
    opsets = [helper.make_opsetid("", 17), *more.pop("opsets", [])]
    return helper.make_model(graph, ir_version=8, opset_imports=opsets, **more)


def classifier(classes: int = 3, *, ends: str = "", best: int = 1, **more: Any) -> ModelProto:
    """`images` [N, 3, 16, 16] -> `scores` [1, classes] with class `best` on top."""
    scores = np.zeros((1, classes), np.float32)
    scores[0, best] = 4.0
    return constant_model({"images": ("N", 3, 16, 16)}, {"scores": scores}, ends=ends, **more)


def yolo_v8(side: int = 64, classes: int = 2, *, best: int = 1, **more: Any) -> ModelProto:
    """A YOLOv8 head with one sure box of class `best` in the middle."""
    cells = sum((side // stride) ** 2 for stride in (8, 16, 32))
    table = np.zeros((1, 4 + classes, cells), np.float32)
    table[0, :4, 0] = side / 2, side / 2, side / 4, side / 4
    table[0, 4 + best, 0] = 0.9
    return constant_model({"images": (1, 3, side, side)}, {"output0": table}, **more)


def tf_detection() -> ModelProto:
    """The outputs of the TensorFlow Object Detection API, one sure object of class 2."""
    return constant_model(
        {"image_tensor": (1, "h", "w", 3)},
        {
            "detection_boxes": np.array([[[0.25, 0.25, 0.75, 0.75]]], np.float32),
            "detection_scores": np.array([[0.9]], np.float32),
            "detection_classes": np.array([[2.0]], np.float32),
            "num_detections": np.array([1.0], np.float32),
        },
        dtype=TensorProto.UINT8,
    )


def chosen_boxes(
    takes: Shape,
    names: tuple[str, str, str],
    *,
    sized: bool = False,
    label: int = 1,
    box: tuple[float, float, float, float] = (4.0, 4.0, 12.0, 12.0),
) -> ModelProto:
    """Boxes, labels and scores without a batch axis, as torchvision and Detectron2 give them."""
    boxes, labels, scores = names
    gives: dict[str, NDArray[Any]] = {
        boxes: np.array([box], np.float32),
        labels: np.array([label], np.int64),
        scores: np.array([0.9], np.float32),
    }
    if sized:
        gives["size"] = np.array([16, 16], np.int64)
    shapes: dict[str, Shape] = {boxes: ("n", 4), labels: ("n",), scores: ("n",)}
    return constant_model({"image": takes}, gives, shapes=shapes)


# --- harm ----------------------------------------------------------------------------------------


class Bomb:
    """Pickled, it writes a file as it is opened."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        import subprocess

        return subprocess.call, (["touch", str(self.marker)],)


def pickled(marker: Path, protocol: int) -> bytes:
    return pickle.dumps(Bomb(marker), protocol=protocol)


def zipped(entries: Mapping[str, bytes], how: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", how) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return file.getvalue()


def keras(config: Mapping[str, Any]) -> bytes:
    """A `.keras` file of a configuration alone."""
    return zipped({"config.json": json.dumps(config).encode(), "metadata.json": b"{}"})


def safetensors(header: object, data: bytes = b"") -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data


def outside(location: str, *, offset: int = 0, length: int = 16) -> ModelProto:
    """`y` = `x` + a weight that is kept in another file."""
    made = graph_model(
        helper.make_graph(
            [helper.make_node("Add", ["x", "w"], ["y"])],
            "outside",
            [floats("x", "N", 4)],
            [floats("y", "N", 4)],
        )
    )
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4])
    weight.data_location = TensorProto.EXTERNAL
    said = {"location": location, "offset": str(offset), "length": str(length)}
    for key, value in said.items():
        entry = weight.external_data.add()
        entry.key, entry.value = key, value
    made.graph.initializer.append(weight)
    return made


def bomb(op: str, *values: Any, **attributes: Any) -> ModelProto:
    """One node fed by constants, its result added to the input."""
    names = [f"c{number}" for number in range(len(values))]
    kept = [numpy_helper.from_array(np.asarray(v), n) for v, n in zip(values, names, strict=True)]
    graph = helper.make_graph(
        [
            helper.make_node(op, names, ["big"], **attributes),
            helper.make_node("Add", ["x", "big"], ["y"]),
        ],
        "bomb",
        [floats("x", "N", 4)],
        [floats("y", "N", 4)],
        kept,
    )
    return graph_model(graph)


def named(inputs: Sequence[str], outputs: Sequence[str]) -> ModelProto:
    """A model whose inputs and outputs have these names."""
    nodes = [helper.make_node("Sum", list(inputs), [name]) for name in outputs]
    takes: list[ValueInfoProto] = [floats(name, 1) for name in inputs]
    gives = [floats(name, 1) for name in outputs]
    return graph_model(helper.make_graph(nodes, "named", takes, gives))


def nested(depth: int) -> bytes:
    """An `If` in an `If` in an `If` …, built from the inside out, as bytes."""

    def part(number: int, data: bytes) -> bytes:
        out, length = bytearray([number << 3 | 2]), len(data)
        while length > 0x7F:
            out.append(length & 0x7F | 0x80)
            length >>= 7
        return bytes([*out, length]) + data

    graph = part(2, b"innermost")
    for _ in range(depth):
        branch = part(1, b"then_branch") + part(6, graph) + b"\xa0\x01\x05"
        graph = part(1, part(4, b"If") + part(5, branch))
    return b"\x08\x08" + part(7, graph)
