"""Real tiny models: ONNX files of a few nodes, and the packages around them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from heliograph.registry.values import ModelPackage, read_package

SIDE = 8
"""Width and height of the picture that the models of colour take."""

COLOURS = ("red", "green", "blue")
SHA = "0" * 64


def model(
    nodes: list[NodeProto],
    given: ValueInfoProto,
    answer: ValueInfoProto,
    constants: Mapping[str, NDArray[Any]] | None = None,
) -> ModelProto:
    """A model of one input and one output."""
    kept = [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()]
    return helper.make_model(
        helper.make_graph(nodes, "tiny", [given], [answer], kept),
        ir_version=8,
        opset_imports=[helper.make_opsetid("", 17)],
    )


def floats(name: str, *shape: int | str) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


def save(made: ModelProto, path: Path) -> Path:
    path.write_bytes(made.SerializeToString(deterministic=True))
    return path


def identity(path: Path, *shape: int | str) -> Path:
    """`x` float32 comes back as `y`; [N, 4] unless another shape is given."""
    shape = shape or ("N", 4)
    node = helper.make_node("Identity", ["x"], ["y"])
    return save(model([node], floats("x", *shape), floats("y", *shape)), path)


def product(path: Path, *, inner: int = 512, columns: int = 8) -> Path:
    """`y` = `x` [N, inner] times a fixed matrix: its last digits tell float32 from bfloat16."""
    rng = np.random.default_rng(1)
    weights = {"w": rng.standard_normal((inner, columns)).astype(np.float32)}
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    return save(model([node], floats("x", "N", inner), floats("y", "N", columns), weights), path)


def mean_colour(path: Path) -> Path:
    """`images` [N, 3, 8, 8] in 0-1 -> `scores` [N, 3]: how red, green and blue, summing to 1."""
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "ten"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scores"], axis=1),
    ]
    ten = {"ten": np.array(10.0, np.float32)}
    return save(
        model(nodes, floats("images", "N", 3, SIDE, SIDE), floats("scores", "N", 3), ten), path
    )


def fails_on_black(path: Path) -> Path:
    """As `mean_colour`, but a black picture anywhere in the batch fails the whole run."""
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("ReduceMax", ["mean"], ["light"], axes=[1], keepdims=0),
        helper.make_node("Equal", ["light", "nothing"], ["black"]),
        helper.make_node("Cast", ["black"], ["one"], to=TensorProto.INT64),
        helper.make_node("ReduceMax", ["one"], ["where"], keepdims=0),
        # Black looks behind the end of a table of one, which is an error when it runs.
        helper.make_node("Gather", ["table", "where"], ["ten"], axis=0),
        helper.make_node("Mul", ["mean", "ten"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scores"], axis=1),
    ]
    constants: dict[str, NDArray[Any]] = {
        "nothing": np.array(0.0, np.float32),
        "table": np.full(1, 10.0, np.float32),
    }
    return save(
        model(nodes, floats("images", "N", 3, SIDE, SIDE), floats("scores", "N", 3), constants),
        path,
    )


def slow(path: Path, *, rounds: int = 200) -> Path:
    """As `mean_colour`, after `rounds` products of 256 x 256 matrices (about 0.2 ms each)."""
    side = 256
    loop = helper.make_graph(
        [
            helper.make_node("MatMul", ["before", "even"], ["after"]),
            helper.make_node("Identity", ["go"], ["on"]),
        ],
        "round",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            floats("before", side, side),
        ],
        [helper.make_tensor_value_info("on", TensorProto.BOOL, []), floats("after", side, side)],
    )
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[2, 3], keepdims=0),
        # What is looped over depends on the picture, so that no optimiser does it beforehand.
        helper.make_node("ReduceMean", ["mean"], ["level"], keepdims=0),
        helper.make_node("Add", ["even", "level"], ["start"]),
        helper.make_node("Loop", ["rounds", "always", "start"], ["end"], body=loop),
        helper.make_node("ReduceMean", ["end"], ["left"], keepdims=0),
        helper.make_node("Mul", ["left", "nothing"], ["zero"]),
        helper.make_node("Add", ["mean", "zero"], ["sum"]),
        helper.make_node("Softmax", ["sum"], ["scores"], axis=1),
    ]
    constants: dict[str, NDArray[Any]] = {
        "even": np.full((side, side), 1 / side, np.float32),
        "rounds": np.array(rounds, np.int64),
        "always": np.array(True),
        "nothing": np.array(0.0, np.float32),
    }
    return save(
        model(nodes, floats("images", "N", 3, SIDE, SIDE), floats("scores", "N", 3), constants),
        path,
    )


def card(name: str = "colour", **changes: Any) -> dict[str, Any]:
    """The table of a valid `model.toml`; `changes` replace, a value of None leaves out."""
    table: dict[str, Any] = {
        "name": name,
        "version": 1,
        "title": "Mean colour",
        "task": "classification",
        "engine": "onnx",
        "labels": "labels.txt",
        "weights": {"file": "model.onnx", "sha256": SHA},
        "input": {"name": "images", "width": SIDE, "height": SIDE, "std": [255.0]},
        "output": {"decoder": "scores"},
    } | changes
    return {key: value for key, value in table.items() if value is not None}


def write_card(folder: Path, table: dict[str, Any]) -> Path:
    """Write `table` as `folder/model.toml`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.toml").write_text(toml(table), "utf-8")
    labels = table.get("labels", "")
    if labels == "labels.txt" and not (folder / labels).exists():
        (folder / labels).write_text("\n".join(COLOURS) + "\n", "utf-8")
    return folder


def colour_package(home: Path, name: str = "colour", **changes: Any) -> ModelPackage:
    """A package of `mean_colour` in `home/models/name`."""
    return _package(home, name, mean_colour, changes)


def version_package(
    home: Path, version: int, name: str = "colour", *, rounds: int = 0, **changes: Any
) -> ModelPackage:
    """Version `version` of a model of colour in `home/models/name/version`; its labels say which.

    It appears whole; `rounds` makes it slow, see `slow`.
    """
    make = partial(slow, rounds=rounds) if rounds else mean_colour
    scratch = home / "models" / name / f".making-{version}"
    scratch.mkdir(parents=True)
    digest = hashlib.sha256(make(scratch / "model.onnx").read_bytes()).hexdigest()
    table = card(
        name, weights={"file": "model.onnx", "sha256": digest}, **{"version": version} | changes
    )
    labels = "".join(f"{one} {version}\n" for one in COLOURS)
    (scratch / "labels.txt").write_text(labels, "utf-8")
    write_card(scratch, table)
    return read_package(scratch.rename(home / "models" / name / str(version)))


def moody_package(home: Path, name: str = "moody", **changes: Any) -> ModelPackage:
    """A package of `fails_on_black` in `home/models/name`."""
    return _package(home, name, fails_on_black, changes)


def slow_package(
    home: Path, name: str = "slow", *, rounds: int = 200, **changes: Any
) -> ModelPackage:
    """A package of `slow` in `home/models/name`."""
    return _package(home, name, partial(slow, rounds=rounds), changes)


def _package(
    home: Path, name: str, make: Callable[[Path], Path], changes: dict[str, Any]
) -> ModelPackage:
    folder = home / "models" / name
    folder.mkdir(parents=True)
    digest = hashlib.sha256(make(folder / "model.onnx").read_bytes()).hexdigest()
    weights = {"file": "model.onnx", "sha256": digest}
    return read_package(write_card(folder, card(name, weights=weights, **changes)))


def toml(table: dict[str, Any]) -> str:
    """A table of plain values and tables of them as TOML: its values are written as JSON's are."""
    plain = [f"{key} = {json.dumps(value)}" for key, value in table.items() if not _nested(value)]
    for key, value in table.items():
        if isinstance(value, dict):
            plain += ["", f"[{key}]", toml(value)]
        elif _nested(value):
            plain += [line for one in value for line in ("", f"[[{key}]]", toml(one))]
    return "\n".join(plain)


def _nested(value: object) -> bool:
    if isinstance(value, list):
        return bool(value) and isinstance(value[0], dict)
    return isinstance(value, dict)
