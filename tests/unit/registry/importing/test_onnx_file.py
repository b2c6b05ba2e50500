"""Our own walk over ONNX files against the library's, and what it does with bytes that are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from heliograph.core.errors import HeliographError
from heliograph.registry.importing.bounds import Bounds
from heliograph.registry.importing.onnx_file import read_onnx
from heliograph.registry.importing.signature import onnx_facts
from heliograph.registry.importing.unbatched import with_batch_axis
from support import foreign, models

NAMES = st.text("abcXYZ_./:0", min_size=1, max_size=12)
SHAPES = st.lists(st.one_of(st.integers(0, 9), st.sampled_from(["N", "h"])), max_size=4)
KINDS = st.sampled_from([TensorProto.FLOAT, TensorProto.INT64, TensorProto.UINT8, TensorProto.BOOL])


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(NAMES, KINDS, SHAPES), min_size=1, max_size=4, unique_by=lambda one: one[0]),
    st.lists(st.tuples(NAMES, st.lists(st.integers(0, 4), max_size=3)), max_size=3),
    st.dictionaries(NAMES, st.text(max_size=20), max_size=3),
)
def test_the_walk_reads_what_the_library_wrote(
    inputs: list[tuple[str, int, list[int | str]]],
    kept: list[tuple[str, list[int]]],
    notes: dict[str, str],
) -> None:
    constants = [numpy_helper.from_array(np.zeros(shape, np.float32), name) for name, shape in kept]
    values = [helper.make_tensor_value_info(*one) for one in inputs]
    nodes = [helper.make_node("Identity", [inputs[0][0]], ["out"])]
    made = foreign.graph_model(
        helper.make_graph(nodes, "g", values, [models.floats("out", 1)], constants)
    )
    helper.set_model_props(made, notes)
    read = read_onnx(memoryview(made.SerializeToString()))
    assert read.opsets == {"": 17}
    assert read.metadata == notes
    assert [one.name for one in read.graph.inputs] == [name for name, _, _ in inputs]
    assert [one.dtype for one in read.graph.inputs] == [kind for _, kind, _ in inputs]
    for value, (_, _, shape) in zip(read.graph.inputs, inputs, strict=True):
        assert value.shape == tuple(-1 if isinstance(size, str) else size for size in shape)
        assert value.symbols == tuple(size if isinstance(size, str) else "" for size in shape)
    assert [(one.name, one.dims) for one in read.graph.constants] == kept
    assert [node.op for node in read.graph.nodes] == ["Identity"]


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=400), st.integers(0, 300))
def test_no_bytes_do_worse_than_be_refused(noise: bytes, at: int) -> None:
    good = foreign.classifier().SerializeToString()
    for data in (noise, good[:at] + noise + good[at:], good[: at + 1]):
        try:
            read_onnx(memoryview(data))
        except HeliographError:
            continue


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=3),
    st.lists(st.integers(0, 4), min_size=1, max_size=3),
)
def test_a_bound_is_never_more_than_the_truth(shape: list[int], repeats: list[int]) -> None:
    """Known sizes are followed through; what the engine really makes is never smaller."""
    rank = min(len(shape), len(repeats))
    shape, repeats = shape[:rank], repeats[:rank]
    graph = helper.make_graph(
        [
            helper.make_node("ConstantOfShape", ["shape"], ["a"]),
            helper.make_node("Tile", ["a", "repeats"], ["b"]),
            helper.make_node("Concat", ["b", "b"], ["c"], axis=0),
            helper.make_node("Add", ["c", "one"], ["d"]),
        ],
        "g",
        [],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "abcd"],
        [
            numpy_helper.from_array(np.array(shape, np.int64), "shape"),
            numpy_helper.from_array(np.array(repeats, np.int64), "repeats"),
            numpy_helper.from_array(np.ones(1, np.float32), "one"),
        ],
    )
    data = foreign.graph_model(graph).SerializeToString()
    session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    made = map(np.asarray, session.run(list("abcd"), {}))
    truth = dict(zip("abcd", made, strict=True))
    bounds = Bounds()
    bounds.graph(read_onnx(memoryview(data)).graph)
    for name, array in truth.items():
        if array.size:
            assert bounds._least[name] <= array.size


def test_facts_tell_what_the_outputs_come_out_of_and_the_input_goes_into() -> None:
    facts = onnx_facts(
        read_onnx(memoryview(foreign.classifier(ends="Softmax").SerializeToString()))
    )
    assert facts.last == {"scores": "Softmax"}
    assert facts.first == ()
    nodes = [
        helper.make_node("Sub", ["x", "x"], ["a"]),
        helper.make_node("Softmax", ["a"], ["b"]),
        helper.make_node("Cast", ["b"], ["y"], to=TensorProto.FLOAT),
    ]
    made = models.model(nodes, models.floats("x", 1), models.floats("y", 1))
    facts = onnx_facts(read_onnx(memoryview(made.SerializeToString())))
    assert (facts.first, facts.last) == (("Sub",), {"y": "Softmax"})


def test_weights_that_old_files_list_as_inputs_are_not_fed(tmp_path: Path) -> None:
    made = foreign.bomb("Identity", np.ones(4, np.float32))
    made.graph.input.append(models.floats("c0", 4))
    facts = onnx_facts(read_onnx(memoryview(made.SerializeToString())))
    assert [one.name for one in facts.inputs] == ["x"]


def test_a_batch_axis_is_added_and_the_model_is_otherwise_the_same() -> None:
    """Also where a branch inside reads the picture by its old name."""
    inner = helper.make_graph(
        [helper.make_node("ReduceMax", ["image"], ["m"], keepdims=0)],
        "inner",
        [],
        [models.floats("m")],
    )
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("If", ["yes"], ["most"], then_branch=inner, else_branch=inner),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [models.floats("image", 3, "h", "w")],
        [models.floats("mean", 3), models.floats("most")],
        [numpy_helper.from_array(np.array(True), "yes")],
    )
    made = foreign.graph_model(graph)
    helper.set_model_props(made, {"kept": "yes"})
    data = made.SerializeToString()
    wrapped = with_batch_axis(memoryview(data), "image")
    onnx.checker.check_model(onnx.load_from_string(wrapped), full_check=True)
    assert read_onnx(memoryview(wrapped)).metadata == {"kept": "yes"}
    picture = np.random.default_rng(3).random((3, 5, 7), np.float32)
    before = ort.InferenceSession(data).run(None, {"image": picture})
    after = ort.InferenceSession(wrapped).run(None, {"image": picture[None]})
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)
