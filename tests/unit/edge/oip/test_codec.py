from __future__ import annotations

import json
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from heliograph.core.errors import Code, HeliographError
from heliograph.edge.oip.codec import (
    read_header_length,
    read_question,
    read_whole,
    write_reply,
)
from heliograph.edge.oip.datatypes import NUMPY, read_list, read_raw, write_list, write_raw
from heliograph.edge.oip.values import Reply, Told
from heliograph.runtimes.base import Tensor

_FIXED = sorted(set(NUMPY) - {"BYTES", "BF16"})
_SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


def request(*inputs: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"inputs": list(inputs), **more}).encode()


def one(**changes: Any) -> dict[str, Any]:
    return {"name": "x", "shape": [2], "datatype": "INT32", "data": [1, 2]} | changes


def refusal(body: bytes, header: int | None = None) -> HeliographError:
    with pytest.raises(HeliographError) as caught:
        read_question(body, header, "m")
    return caught.value


def same(left: Any, right: Any) -> bool:
    return left.shape == right.shape and left.tobytes() == right.tobytes()


# --- tensors ---------------------------------------------------------------------------------


@given(data=st.data(), kind=st.sampled_from(_FIXED))
def test_raw_tensors_come_back_as_they_went(data: st.DataObject, kind: str) -> None:
    array = data.draw(hnp.arrays(NUMPY[kind], _SHAPES))
    raw = bytes(write_raw(array, kind))
    assert same(read_raw("x", kind, array.shape, raw), array)
    # Wherever in a body it begins, engines get it aligned.
    shifted = memoryview(b"?" + raw)[1:]
    assert read_raw("x", kind, array.shape, shifted).flags.aligned


@given(st.lists(st.binary(max_size=40), max_size=12))
def test_byte_strings_come_back_as_they_went(values: list[bytes]) -> None:
    array = np.empty(len(values), object)
    array[:] = values
    raw = write_raw(array, "BYTES")
    assert read_raw("x", "BYTES", (len(values),), raw).tolist() == values


@given(st.binary(max_size=64), st.integers(0, 1 << 40))
def test_any_bytes_are_byte_strings_or_refused(data: bytes, count: int) -> None:
    try:
        array = read_raw("x", "BYTES", (count,), data)
    except HeliographError as error:
        assert error.code is Code.BAD_SHAPE  # noqa: PT017 - both outcomes are lawful
    else:
        assert bytes(write_raw(array, "BYTES")) == data


@given(hnp.arrays(np.float32, _SHAPES, elements=st.floats(width=32)))
def test_bf16_rounds_to_the_nearest(array: Any) -> None:
    once = read_raw("x", "BF16", array.shape, write_raw(array, "BF16"))
    twice = read_raw("x", "BF16", array.shape, write_raw(once, "BF16"))
    assert same(once, twice)
    finite = np.isfinite(array) & (np.abs(array) < 3e38) & (np.abs(array) > 1e-37)
    off = np.abs(once[finite].astype(np.float64) - array[finite])
    assert (off <= np.abs(array[finite].astype(np.float64)) / 256).all()
    assert (np.isnan(once) == np.isnan(array)).all()


@given(data=st.data(), kind=st.sampled_from(sorted(set(_FIXED) - {"FP16"})))
def test_lists_come_back_as_they_went(data: st.DataObject, kind: str) -> None:
    dtype = NUMPY[kind]
    elements = hnp.from_dtype(dtype, allow_nan=False, allow_infinity=False)
    array = data.draw(hnp.arrays(dtype, _SHAPES, elements=elements))
    written = orjson.dumps(write_list(array, kind, "x"), option=orjson.OPT_SERIALIZE_NUMPY)
    values = json.loads(written)
    assert same(read_list("x", kind, array.shape, values), array)


@pytest.mark.parametrize("kind", ["FP16", "BF16"])
def test_half_floats_have_no_form_in_json(kind: str) -> None:
    with pytest.raises(HeliographError, match=f"receiving {kind} data via JSON is not supported"):
        read_list("x", kind, (1,), [1.0])
    with pytest.raises(HeliographError, match=f"sending {kind} data via JSON is not supported"):
        write_list(np.ones(1, np.float32), kind, "y")


@pytest.mark.parametrize(
    ("kind", "value"),
    [("INT8", 128), ("UINT8", -1), ("INT64", 1 << 63), ("FP32", 1e39), ("UINT64", 1 << 64)],
)
def test_a_value_beyond_its_datatype_is_refused(kind: str, value: float) -> None:
    with pytest.raises(HeliographError, match="does not fit its datatype"):
        read_list("x", kind, (1,), [value])


def test_truth_is_zero_or_not() -> None:
    assert read_raw("x", "BOOL", (3,), b"\x00\x01\x02").tolist() == [False, True, True]


# --- bodies ----------------------------------------------------------------------------------


@settings(max_examples=60)
@given(data=st.data(), kinds=st.lists(st.sampled_from(_FIXED), min_size=1, max_size=3))
def test_binary_bodies_come_back_as_they_went(data: st.DataObject, kinds: list[str]) -> None:
    arrays = [data.draw(hnp.arrays(NUMPY[kind], _SHAPES)) for kind in kinds]
    told = tuple(
        Told(f"t{at}", kind, array.shape, array, binary=data.draw(st.booleans()) or kind == "FP16")
        for at, (kind, array) in enumerate(zip(kinds, arrays, strict=True))
    )
    finite = all(np.isfinite(each.array).all() for each in told if each.array is not None)
    parts, header = write_reply(Reply("7", "m", "1", told))
    body = b"".join(parts)
    said = json.loads(body[:header])
    assert (said["id"], said["model_name"], said["model_version"]) == ("7", "m", "1")
    assert (header is None) == (not any(len(part) for part in parts[1:]))
    if not finite:
        return
    # An answer's tensors are said as a request's are.
    asked = json.dumps({"inputs": said["outputs"]}).encode()
    rest = body[header:] if header is not None else b""
    read = read_question(asked + rest, len(asked), "m")
    for given_tensor, array in zip(read.inputs, arrays, strict=True):
        assert given_tensor.array is not None
        assert same(given_tensor.array, array)


def test_nested_data_is_flat_data() -> None:
    nested = read_question(request(one(shape=[2, 2], data=[[1, 2], [3, 4]])), None, "m")
    flat = read_question(request(one(shape=[2, 2], data=[1, 2, 3, 4])), None, "m")
    for question in (nested, flat):
        assert question.inputs[0].array is not None
        assert question.inputs[0].array.tolist() == [[1, 2], [3, 4]]


def test_text_may_hold_brackets_and_colons() -> None:
    words = [["[a]", 'b"]:'], ["é", ""]]
    question = read_question(request(one(shape=[2, 2], datatype="BYTES", data=words)), None, "m")
    assert question.inputs[0].array is not None
    assert [w.decode() for w in question.inputs[0].array.ravel()] == ["[a]", 'b"]:', "é", ""]


def test_outputs_are_binary_by_their_own_word_else_the_requests() -> None:
    outputs = [{"name": "a"}, {"name": "b", "parameters": {"binary_data": False}}]
    parameters = {"binary_data_output": True}
    question = read_question(request(one(), outputs=outputs, parameters=parameters), None, "m")
    assert [each.binary for each in question.outputs] == [True, False]
    assert question.binary


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        (b"12345678?", "unexpected additional input data for model 'm'"),
        (b"1234567", "unexpected size for input 'x', expecting 1 additional bytes for model 'm'"),
    ],
)
def test_raw_bytes_must_be_as_many_as_said(rest: bytes, words: str) -> None:
    said = one(parameters={"binary_data_size": 8})
    del said["data"]
    head = request(said)
    assert words in refusal(head + rest, len(head)).detail


def test_a_binary_size_needs_the_header_of_the_header() -> None:
    said = one(parameters={"binary_data_size": 8})
    del said["data"]
    assert "must specify valid 'Infer-Header-Content-Length'" in refusal(request(said)).detail


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"shape": [-1, 2]}, "contains one or more invalid dimensions"),
        ({"shape": [1 << 31, 1 << 31, 3]}, "causes total element count to exceed"),
        ({"shape": [True]}, "Expected `int`, got `bool`"),
        ({"shape": [1.5]}, "Expected `int`, got `float`"),
        ({"shape": [1] * 33}, "invalid dimensions"),
        ({"datatype": "FP17"}, "invalid datatype"),
        ({"data": [1, 2, 3]}, "unexpected number of elements 3 for input 'x', expecting 2"),
        ({"data": ["1", "2"]}, "unable to parse 'data' of input 'x' as INT32"),
        ({"data": [1.5, 2]}, "unable to parse 'data'"),
        ({"data": [[1, 2], []]}, "unable to parse 'data'"),
        ({"data": {"a": 1}}, "unable to parse 'data'"),
        ({"extra": 1}, "unknown field `extra`"),
        ({"parameters": {"binary_data_size": 8}}, "must not specify 'data'"),
        ({"parameters": {"binary_data_size": -1}, "data": None}, "must not specify 'data'"),
    ],
)
def test_what_is_wrong_with_an_input_is_said(changes: dict[str, Any], words: str) -> None:
    assert words in refusal(request(one(**changes))).detail


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"inputs":[],"inputs":[]}', Code.JSON_DUPLICATE_KEY),
        (b'{"inputs":[{"name":"x","shape":[1],"datatype":"INT8","data":[1],"name" :"y"}]}',
         Code.JSON_DUPLICATE_KEY),
        (b'{"inputs":[{"name":"x:y","shape":[1],"datatype":"INT8","data":[1],"data":[2]}]}',
         Code.JSON_DUPLICATE_KEY),
        (b'{"inputs":' + b"[" * 101 + b"]" * 101 + b"}", Code.JSON_TOO_DEEP),
        (b'{"inputs":' + b"[" * 200_000 + b"]" * 200_000 + b"}", Code.JSON_TOO_DEEP),
        (b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[NaN]}]}',
         Code.JSON_BAD_NUMBER),
        (b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1e999]}]}',
         Code.JSON_BAD_NUMBER),
        (b'{"inputs":[{"name":"\xff","shape":[1],"datatype":"FP32","data":[1]}]}',
         Code.MALFORMED_JSON),
        (b"\xef\xbb\xbf{}", Code.MALFORMED_JSON),
        (b"", Code.MALFORMED_JSON),
        (b"[]", Code.VALIDATION),
        (b"{}", Code.VALIDATION),
        (b'{"inputs":[],"is_admin":true}', Code.VALIDATION),
        (b'{"inputs":[],"model_name":"another"}', Code.BAD_REQUEST),
    ],
)  # fmt: skip
def test_json_is_read_strictly(body: bytes, code: Code) -> None:
    assert refusal(body).code is code


@pytest.mark.parametrize("depth", [101, 5000, 200_000])
def test_deep_data_is_refused(depth: int) -> None:
    body = b'{"inputs":[{"name":"x","shape":[1],"datatype":"INT8","data":%s1%s}]}' % (
        b"[" * depth,
        b"]" * depth,
    )
    assert refusal(body).code is Code.JSON_TOO_DEEP


@pytest.mark.parametrize("kind", ["INT8", "BYTES"])
def test_data_nested_as_deep_as_may_be(kind: str) -> None:
    value = b'"a"' if kind == "BYTES" else b"1"
    body = b'{"inputs":[{"name":"x","shape":[1],"datatype":"%s","data":%s%s%s}]}' % (
        kind.encode(),
        b"[" * 90,
        value,
        b"]" * 90,
    )
    assert read_question(body, None, "m").inputs[0].shape == (1,)


def test_a_name_twice_is_refused() -> None:
    assert "input 'x' already exists" in refusal(request(one(), one())).detail
    outputs = [{"name": "y"}, {"name": "y"}]
    assert "output 'y' already exists" in refusal(request(one(), outputs=outputs)).detail


@pytest.mark.parametrize(
    "parameters", [{"triton_mine": 1}, {"mine": [1]}, {"mine": None}, {"mine": {"a": 1}}]
)
def test_parameters_that_cannot_be_are_refused(parameters: dict[str, Any]) -> None:
    assert refusal(request(one(), parameters=parameters)).code is Code.VALIDATION


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("nan", "Unable to parse Inference-Header-Content-Length, got: nan"),
        ("-1", "Unable to parse"),
        ("٣", "Unable to parse"),
        ("11", "inference header size should be in range (0, 10), got: 11"),
    ],
)
def test_the_header_length_must_be_one(said: str, words: str) -> None:
    with pytest.raises(HeliographError) as caught:
        read_header_length(said, 10)
    assert words in caught.value.detail


@given(st.binary(max_size=200), st.integers(0, 200))
def test_any_bytes_are_a_request_or_refused(body: bytes, header: int) -> None:
    with pytest.raises(HeliographError):
        read_question(body, min(header, len(body)), "m")


# --- raw requests ----------------------------------------------------------------------------


def test_a_whole_body_is_one_tensor() -> None:
    tensor = Tensor("x", "float32", (-1, -1, 2))
    question = read_whole(np.arange(6, dtype="<f4").tobytes(), (tensor,), "FP32", batched=True)
    assert question.binary
    assert question.inputs[0].shape == (1, 3, 2)


@pytest.mark.parametrize(
    ("shape", "words"),
    [((-1, -1, -1), "more than one variable-sized dimension"), ((-1, 3), "byte size mismatch")],
)
def test_a_whole_body_must_say_its_shape_by_its_size(shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(HeliographError) as caught:
        read_whole(bytes(16), (Tensor("x", "float32", shape),), "FP32", batched=True)
    assert words in caught.value.detail


def test_a_whole_body_of_bytes_is_one_element() -> None:
    tensor = Tensor("x", "object", (-1, 1))
    question = read_whole(b"abc", (tensor,), "BYTES", batched=True)
    assert question.inputs[0].array is not None
    assert question.inputs[0].array.tolist() == [[b"abc"]]
    with pytest.raises(HeliographError, match="must have input shape"):
        read_whole(b"abc", (Tensor("x", "object", (-1, 2)),), "BYTES", batched=True)
    with pytest.raises(HeliographError, match="must only have 1 input"):
        read_whole(b"abc", (tensor, tensor), "BYTES", batched=True)
