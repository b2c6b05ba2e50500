"""Tensors of every kind through the engines: types, several ends, scalars, strings, names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, ValueInfoProto, helper

from heliograph.core.errors import Code, HeliographError
from heliograph.runtimes.base import Plan, Runner, Tensor
from heliograph.runtimes.engines import open_runner
from support import models

engines = pytest.mark.parametrize("engine", ["onnx", "openvino"])

NUMBERS = {
    "float16": TensorProto.FLOAT16,
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    "int8": TensorProto.INT8,
    "int16": TensorProto.INT16,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "uint8": TensorProto.UINT8,
    "uint16": TensorProto.UINT16,
    "uint32": TensorProto.UINT32,
    "uint64": TensorProto.UINT64,
}


def tensor(name: str, kind: int, *shape: int | str) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, list(shape))


def graph(
    nodes: list[Any], inputs: list[ValueInfoProto], outputs: list[ValueInfoProto]
) -> ModelProto:
    made = helper.make_graph(nodes, "tensors", inputs, outputs)
    return helper.make_model(made, ir_version=10, opset_imports=[helper.make_opsetid("", 22)])


def through(kind: int, path: Path, *shape: int | str) -> Path:
    """`x` of an element type comes back as `y`."""
    ends = (tensor("x", kind, *shape), tensor("y", kind, *shape))
    return models.save(
        graph([helper.make_node("Identity", ["x"], ["y"])], [ends[0]], [ends[1]]), path
    )


def opened(path: Path, engine: str) -> Runner:
    return open_runner(path, Plan(engine))


def extremes(dtype: str) -> NDArray[Any]:
    kind = np.dtype(dtype)
    told = np.finfo(kind) if kind.kind == "f" else np.iinfo(kind)
    return np.array([[told.min, 0], [1, told.max]], kind)


@engines
@pytest.mark.parametrize("dtype", sorted(NUMBERS))
def test_numbers_of_every_type_pass_to_the_last_bit(
    engine: str, dtype: str, tmp_path: Path
) -> None:
    runner = opened(through(NUMBERS[dtype], tmp_path / "m.onnx", "N", 2), engine)
    assert runner.inputs == (Tensor("x", dtype, (-1, 2)),)
    assert runner.outputs == (Tensor("y", dtype, (-1, 2)),)
    narrow = {"float64": "float32", "int64": "int32", "uint64": "uint16"}
    given = extremes(narrow.get(dtype, dtype) if engine == "openvino" else dtype).astype(dtype)
    np.testing.assert_array_equal(runner.run({"x": given})["y"], given, strict=True)


@engines
def test_truth_values_pass(engine: str, tmp_path: Path) -> None:
    runner = opened(through(TensorProto.BOOL, tmp_path / "m.onnx", "N", 2), engine)
    given = np.array([[True, False]])
    assert runner.inputs[0].dtype == "bool"
    np.testing.assert_array_equal(runner.run({"x": given})["y"], given, strict=True)


@engines
@pytest.mark.parametrize("shape", [("N", 2), ()])
def test_bfloat16_travels_as_float32_rounded_once(
    engine: str, shape: tuple[int | str, ...], tmp_path: Path
) -> None:
    runner = opened(through(TensorProto.BFLOAT16, tmp_path / "m.onnx", *shape), engine)
    assert runner.inputs[0].dtype == runner.outputs[0].dtype == "bfloat16"
    # 1 + 1/256 lies halfway between two bfloat16: the even one is 1.
    given = np.array([[1.5, 1 + 1 / 256]], np.float32) if shape else np.array(1.5, np.float32)
    expected = np.array([[1.5, 1.0]], np.float32) if shape else given
    np.testing.assert_array_equal(runner.run({"x": given})["y"], expected, strict=True)


def test_byte_strings_pass(tmp_path: Path) -> None:
    runner = opened(through(TensorProto.STRING, tmp_path / "m.onnx", "N", 2), "onnx")
    assert runner.inputs == (Tensor("x", "object", (-1, 2)),)
    given = np.array(
        [[b"", "größer".encode()], [b"a longer one, of 31 bytes in all", b"z"]], object
    )
    found = runner.run({"x": given})["y"]
    assert found.dtype == object
    assert found.tolist() == given.tolist()
    assert runner.run({"x": np.empty((0, 2), object)})["y"].shape == (0, 2)


def test_strings_are_refused_by_openvino(tmp_path: Path) -> None:
    with pytest.raises(HeliographError) as refused:
        opened(through(TensorProto.STRING, tmp_path / "m.onnx", "N", 2), "openvino")
    assert refused.value.code is Code.MODEL_INVALID
    assert "string" in refused.value.detail


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_numbers_that_openvino_would_cut_are_refused(dtype: str, tmp_path: Path) -> None:
    runner = opened(through(NUMBERS[dtype], tmp_path / "m.onnx", "N"), "openvino")
    fits = np.array([0, 2**31 - 1], dtype)
    np.testing.assert_array_equal(runner.run({"x": fits})["y"], fits, strict=True)
    with pytest.raises(HeliographError) as refused:
        runner.run({"x": np.array([0, 2**31], dtype)})
    assert refused.value.code is Code.VALIDATION
    assert "'x'" in refused.value.detail


def test_onnx_runtime_takes_text_only_and_says_so(tmp_path: Path) -> None:
    runner = opened(through(TensorProto.STRING, tmp_path / "m.onnx", "N"), "onnx")
    with pytest.raises(HeliographError) as refused:
        runner.run({"x": np.array([b"\xff\xd8\xff"], object)})
    assert refused.value.code is Code.VALIDATION
    assert "'x'" in refused.value.detail


@engines
def test_a_scalar_has_no_axis(engine: str, tmp_path: Path) -> None:
    runner = opened(through(TensorProto.FLOAT, tmp_path / "m.onnx"), engine)
    assert runner.inputs == (Tensor("x", "float32", ()),)
    found = runner.run({"x": np.array(2.5, np.float32)})["y"]
    assert (found.shape, found.dtype, float(found)) == ((), np.float32, 2.5)


def several(path: Path) -> Path:
    """a [N, 2], b [2], c [] -> sum, rows [N], and a itself again."""
    nodes = [
        helper.make_node("Add", ["a", "b"], ["ab"]),
        helper.make_node("Mul", ["ab", "c"], ["result"]),
        helper.make_node("ReduceSum", ["result"], ["rows"], keepdims=0),
        helper.make_node("Identity", ["a"], ["again"]),
    ]
    inputs = [models.floats("a", "N", 2), models.floats("b", 2), models.floats("c")]
    outputs = [
        models.floats("result", "N", 2),
        models.floats("rows"),
        models.floats("again", "N", 2),
    ]
    return models.save(graph(nodes, inputs, outputs), path)


@engines
def test_several_inputs_and_outputs_keep_their_names(engine: str, tmp_path: Path) -> None:
    runner = opened(several(tmp_path / "m.onnx"), engine)
    assert [one.name for one in runner.inputs] == ["a", "b", "c"]
    assert [one.name for one in runner.outputs] == ["result", "rows", "again"]
    a = np.arange(4, dtype=np.float32).reshape(2, 2)
    b, c = np.array([1, 2], np.float32), np.array(10, np.float32)
    # The order of the feeds is not that of the inputs.
    found = runner.run({"c": c, "a": a, "b": b})
    np.testing.assert_array_equal(found["result"], (a + b) * c, strict=True)
    np.testing.assert_array_equal(found["rows"], ((a + b) * c).sum(), strict=False)
    np.testing.assert_array_equal(found["again"], a, strict=True)


@engines
def test_memory_that_lies_otherwise_is_read_right(engine: str, tmp_path: Path) -> None:
    runner = opened(through(TensorProto.FLOAT, tmp_path / "m.onnx", "N", 3), engine)
    whole = np.arange(12, dtype=np.float32).reshape(3, 4)
    for given in (whole.T, whole[::-1, :3], np.broadcast_to(whole[0, :3], (2, 3))):
        np.testing.assert_array_equal(runner.run({"x": given})["y"], given)


def test_what_is_no_tensor_is_refused_with_its_name(tmp_path: Path) -> None:
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, ["N"]))
    answer = helper.make_value_info("scores", kind)
    node = helper.make_node("SequenceConstruct", ["x"], ["scores"])
    path = models.save(graph([node], [models.floats("x", "N")], [answer]), tmp_path / "m.onnx")
    with pytest.raises(HeliographError) as refused:
        opened(path, "onnx")
    assert refused.value.code is Code.MODEL_INVALID
    assert "'scores'" in refused.value.detail
    assert "zipmap=False" in refused.value.detail


def test_a_model_of_any_rank_is_refused_by_openvino(tmp_path: Path) -> None:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", "y")]
    made = graph([helper.make_node("Identity", ["x"], ["y"])], ends[:1], ends[1:])
    with pytest.raises(HeliographError) as refused:
        opened(models.save(made, tmp_path / "m.onnx"), "openvino")
    assert "any number of axes" in refused.value.detail


def test_platforms_tell_engine_and_format(tmp_path: Path) -> None:
    path = models.identity(tmp_path / "m.onnx")
    assert opened(path, "onnx").platform == "onnxruntime_onnx"
    assert opened(path, "openvino").platform == "openvino_onnx"
