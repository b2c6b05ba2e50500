"""Laws of TensorFlow Serving's codecs: what goes in comes out, in every form it may have."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

import heliograph.edge.tfserving
from heliograph.core.errors import HeliographError
from heliograph.edge.grpc.messages import load
from heliograph.edge.tfserving import codec, strict
from heliograph.edge.tfserving.codec import read_predict
from heliograph.edge.tfserving.dtypes import DTYPES, of_numpy
from heliograph.edge.tfserving.examples import serialise
from heliograph.edge.tfserving.fast import read_fast
from heliograph.edge.tfserving.replies import shortest, write_predict
from heliograph.edge.tfserving.tensors import read_tensor, varints, write_outputs, write_tensor
from heliograph.runtimes.base import Tensor

MESSAGES = load(Path(heliograph.edge.tfserving.__file__).with_name("tfserving.binpb"))
PROTO: Any = MESSAGES["tensorflow.TensorProto"]
NUMBERS = [one.numpy for one in DTYPES if one.numpy != "object"]
JSON_NUMBERS = [one for one in NUMBERS if not one.startswith("complex")]
SHAPES = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


def same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    """Equal in type, shape and every bit that counts."""
    floating = a.dtype.kind in "fc"
    return a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b, equal_nan=floating)


@st.composite
def tensors(draw: st.DrawFn, dtypes: list[str] = NUMBERS) -> NDArray[Any]:
    return draw(arrays.arrays(draw(st.sampled_from(dtypes)), SHAPES))


@given(tensors())
def test_a_tensor_comes_back_from_its_message(tensor: NDArray[Any]) -> None:
    proto = PROTO.FromString(write_tensor(tensor))
    assert same(read_tensor(proto, "x"), tensor)


@given(tensors())
def test_typed_fields_and_content_say_the_same(tensor: NDArray[Any]) -> None:
    typed = PROTO.FromString(write_tensor(tensor))
    content = PROTO(
        dtype=typed.dtype, tensor_shape=typed.tensor_shape, tensor_content=tensor.tobytes()
    )
    assert same(read_tensor(content, "x"), read_tensor(typed, "x"))


@given(arrays.arrays(object, SHAPES, elements=st.binary(max_size=20)))
def test_strings_come_back_from_their_message(tensor: NDArray[Any]) -> None:
    proto = PROTO.FromString(write_tensor(tensor))
    assert same(read_tensor(proto, "x"), tensor)


@given(st.sampled_from(JSON_NUMBERS), SHAPES, st.integers(0, 100))
def test_one_value_stands_for_all(dtype: str, shape: tuple[int, ...], value: int) -> None:
    one = np.array([value], dtype)
    proto = PROTO.FromString(write_tensor(one))
    del proto.tensor_shape.dim[:]
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    if math.prod(shape) == 0:
        with pytest.raises(HeliographError):
            read_tensor(proto, "x")
        return
    assert same(read_tensor(proto, "x"), np.full(shape, one[0], dtype))


@given(arrays.arrays(st.sampled_from(["int64", "uint64", "int32", "uint8"]), st.integers(0, 30)))
def test_integers_are_packed_as_protobuf_packs_them(values: NDArray[Any]) -> None:
    dtype = of_numpy(values.dtype)
    proto = PROTO(**{dtype.field: values.tolist()})
    theirs = proto.SerializeToString()
    if values.size:
        assert theirs.endswith(varints(values))
        assert len(theirs) - len(varints(values)) <= 4
    else:
        assert varints(values) == theirs == b""


@given(st.dictionaries(st.text(max_size=5), tensors(), max_size=3))
def test_outputs_are_the_map_of_a_response(outputs: dict[str, NDArray[Any]]) -> None:
    answer: Any = MESSAGES["tensorflow.serving.PredictResponse"].FromString(write_outputs(outputs))
    assert set(answer.outputs) == set(outputs)
    for name, tensor in outputs.items():
        assert same(read_tensor(answer.outputs[name], name), tensor)


@given(
    st.dictionaries(
        st.text(max_size=5),
        st.one_of(
            st.lists(st.binary(max_size=5)),
            st.lists(st.floats(width=32, allow_nan=False)),
            st.lists(st.integers(-(2**63), 2**63 - 1)),
        ),
        max_size=3,
    )
)
def test_examples_are_the_message(example: dict[str, list[Any]]) -> None:
    read: Any = MESSAGES["tensorflow.Example"].FromString(serialise(example))
    found: dict[str, list[Any]] = {}
    for name, feature in read.features.feature.items():
        kind = feature.WhichOneof("kind")
        found[name] = list(getattr(feature, kind).value) if kind else []
    assert found == example


@st.composite
def batches(draw: st.DrawFn) -> tuple[Tensor, NDArray[Any]]:
    """A tensor of a batch of at least one row that JSON can say, and what takes it."""
    dtype = draw(st.sampled_from(JSON_NUMBERS))
    shape = draw(arrays.array_shapes(min_dims=1, max_dims=4, max_side=4))
    elements: dict[str, Any] = {}
    if dtype.startswith("float"):
        # Numbers beyond are sent as such, and refused where they are whole and not exact.
        bound = {"float16": 1024, "float32": 65536, "float64": 65536}[dtype]
        elements = {"allow_nan": False, "min_value": -bound, "max_value": bound}
    tensor = draw(arrays.arrays(dtype, shape, elements=elements))
    return Tensor("x", dtype, tuple(-1 for _ in shape)), tensor


@given(batches())
def test_rows_and_columns_are_the_same_tensor(batch: tuple[Tensor, NDArray[Any]]) -> None:
    takes, tensor = batch
    for body in (
        {"instances": tensor.tolist()},
        {"inputs": tensor.tolist()},
        {"instances": [{"x": row} for row in tensor.tolist()]},
        {"inputs": {"x": tensor.tolist()}},
    ):
        found = read_predict(json.dumps(body).encode(), [takes])
        assert found.rows == ("instances" in body)
        assert same(found.feeds["x"], tensor)


@given(batches())
def test_the_fast_way_and_the_careful_way_agree(batch: tuple[Tensor, NDArray[Any]]) -> None:
    takes, tensor = batch
    body = json.dumps({"instances": tensor.tolist(), "signature_name": "s"}).encode()
    fast = read_fast(body, (takes,))
    careful = codec._careful(strict.parse(body), [takes], None)
    assert fast is not None
    assert (fast.signature, fast.rows) == (careful.signature, careful.rows)
    assert same(fast.feeds["x"], careful.feeds["x"])


@given(arrays.arrays(st.sampled_from(["float16", "float32"]), SHAPES))
def test_short_numbers_are_the_same_numbers(tensor: NDArray[Any]) -> None:
    short = shortest(tensor)
    with np.errstate(invalid="ignore"):
        assert same(short.astype(tensor.dtype), tensor)


@given(st.floats(-1e6, 1e6, allow_nan=False).map(lambda one: round(one, 3)).filter(lambda one: one))
def test_numbers_of_few_digits_are_written_so(number: float) -> None:
    if abs(number) >= 1000:
        number = float(round(number))
    short = shortest(np.array([number], np.float32))
    assert repr(float(short[0])) == repr(number)


@given(tensors(JSON_NUMBERS))
def test_an_answer_reads_back_as_its_tensor(tensor: NDArray[Any]) -> None:
    found = json.loads(write_predict({"y": tensor}, rows=False))["outputs"]
    with np.errstate(invalid="ignore"):
        assert same(np.array(found, tensor.dtype).reshape(tensor.shape), tensor)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_in_our_own_words(body: bytes) -> None:
    with pytest.raises(HeliographError):
        read_predict(body, [Tensor("x", "float32", (-1, 2))])


JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["x", "b64"]), inner)
    ),
    max_leaves=12,
)


@given(st.sampled_from(["instances", "inputs"]), JSON, st.sampled_from(["float32", "object"]))
def test_any_value_is_taken_or_refused_in_our_own_words(key: str, value: Any, dtype: str) -> None:
    body = json.dumps({key: value}).encode()
    try:
        found = read_predict(body, [Tensor("x", dtype, (-1, -1))], "x")
    except HeliographError:
        return
    assert set(found.feeds) == {"x"}


@given(st.binary(max_size=100))
def test_any_message_is_taken_or_refused_in_our_own_words(data: bytes) -> None:
    try:
        proto = PROTO.FromString(data)
    except Exception:  # noqa: BLE001 - protobuf's own error; the edge turns it into one of ours
        return
    try:
        read_tensor(proto, "x")
    except HeliographError:
        return
