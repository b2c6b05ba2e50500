"""Predict requests and answers in JSON: TensorFlow Serving's words for what is wrong."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

from heliograph.core.errors import Code, HeliographError
from heliograph.edge.tfserving.codec import read_predict
from heliograph.edge.tfserving.fast import read_fast
from heliograph.edge.tfserving.replies import write_predict
from heliograph.runtimes.base import Tensor

X = Tensor("x", "float32", (-1, 2))
PAIR = [Tensor("a", "int32", (-1,)), Tensor("b", "bool", (-1, 1))]


def refused(body: bytes | Any, *inputs: Tensor, files: str | None = None) -> HeliographError:
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(HeliographError) as caught:
        read_predict(sent, inputs or [X], files)
    return caught.value


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "JSON Parse error: The document is empty at offset: 0"),
        (b"{", "JSON Parse error: Missing a name for object member."),
        (b'{"instances": [x]}', "JSON Parse error: Invalid value. at offset: 15"),
        (b'{"instances": [1', "JSON Parse error: Missing a comma or ]"),
        (b"{} {}", "JSON Parse error: The document root must not be followed"),
        (b'{"a', "JSON Parse error: Missing a closing quotation mark in string."),
        (b"[]", "JSON Value: [] Is not object"),
        ({}, "Missing 'inputs' or 'instances' key"),
        ({"instances": [[1, 2]], "inputs": 1}, "expecting only one of 'inputs' or 'instances'"),
        ({"instances": []}, "No values in 'instances' array"),
        ({"instances": 1}, "Excepting 'instances' to be an list/array"),
        ({"signature_name": 100}, "'signature_name' key must be a string value."),
        ({"instances": [["x", "y"]]}, '"x" Type: String is not of expected type: float'),
        ({"instances": [[True, 1]]}, "true Type: True is not of expected type: float"),
        ({"instances": [[None, 1]]}, "null Type: Null is not of expected type: float"),
        ({"instances": [[1, 2], [3]]}, "Expecting shape [2] but got: [1]"),
        ({"inputs": [[1, 2], [3]]}, "list at unexpected size: 1 at level: 1 expected size: 2"),
        ({"inputs": [[1, 2], 3]}, "found at incorrect level: 2 in the JSON DOM"),
        ({"inputs": [1, [2]]}, "Encountered list at unexpected level: 1 expected < 1"),
        ({"inputs": {"z": 1}}, "Missing named input: x in 'inputs' object."),
        ({"inputs": {"x": [[1, 2]], "z": 1}}, "does not have named input: z"),
        ({"instances": [{"z": 1}]}, "element: 0 key: z of 'instances' list."),
        ({"instances": [{"x": [1, 2]}, [1, 2]]}, "Expecting object but got list at item 1"),
        ({"instances": [[1, 2], {"x": 1}]}, "Expecting value/list but got object at item 1"),
        ({"instances": [[16777217, 1]]}, "16777217 to float without loss of precision."),
        ({"instances": [[1e39, 1]]}, "1e+39 to float without loss of precision."),
        ({"instances": [{"b64": "AAAA"}]}, "Type: Object is not of expected type: float"),
    ],
)
def test_what_is_wrong_is_said_in_its_words(body: bytes | Any, words: str) -> None:
    assert words in refused(body).detail


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"instances": ' + b"[" * 101 + b"]" * 101 + b"}", Code.JSON_TOO_DEEP),
        (b'{"instances": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", Code.JSON_TOO_DEEP),
        (b'{"else": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", Code.JSON_TOO_DEEP),
        (b'{"instances": [[1, 1e999]]}', Code.JSON_BAD_NUMBER),
        (b'{"instances": [[1, ' + b"1" * 5000 + b"]]}", Code.JSON_BAD_NUMBER),
        (b'{"instances": [[1, 2]], "instances": [[3, 4]]}', Code.JSON_DUPLICATE_KEY),
        (b'{"instances": [{"x": [1, 2], "x": [3, 4]}]}', Code.JSON_DUPLICATE_KEY),
        (b'{"instances": [[1, 2]], "\\u0069nstances": [[3, 4]]}', Code.JSON_DUPLICATE_KEY),
        (b'\xef\xbb\xbf{"instances": [[1, 2]]}', Code.MALFORMED_JSON),
        ('{"instances": [[1, 2]]}'.encode("utf-16"), Code.MALFORMED_JSON),
        (b'{"instances": ["\\ud800"]}', Code.MALFORMED_JSON),
        (b'{"instances": ["\xff"]}', Code.MALFORMED_JSON),
        (b'{"instances": [' + b"[]," * 600_000 + b"[]]}", Code.TOO_LARGE),
    ],
)
def test_holes_of_lenient_parsers_are_closed(body: bytes, code: Code) -> None:
    assert refused(body).code is code


def test_several_inputs_need_their_names() -> None:
    words = refused({"instances": [[1]]}, *PAIR).detail
    assert "expecting list of objects as multiple input tensors" in words
    words = refused({"inputs": [[1]]}, *PAIR).detail
    assert "expecting an object as multiple input tensors" in words
    words = refused({"instances": [{"a": 1}]}, *PAIR).detail
    assert words.endswith("keys must be equal to: a,b")


@pytest.mark.parametrize("value", [300, -1, 1.5, True, "1"])
def test_small_integers_hold_what_they_can(value: Any) -> None:
    assert (
        "is not of expected type: uint8"
        in refused({"inputs": [value]}, Tensor("x", "uint8", (-1,))).detail
    )


def test_a_value_in_an_error_is_cut() -> None:
    assert len(refused({"instances": [["x" * 10_000, 1]]}).detail) < 400


def test_files_are_taken_where_the_model_takes_pictures() -> None:
    sent = base64.b64encode(b"\x89PNG").decode()
    body = json.dumps({"instances": [{"b64": sent}, {"b64": sent}]}).encode()
    feeds = read_predict(body, [X], "x").feeds
    assert feeds["x"].dtype == object
    assert feeds["x"].tolist() == [b"\x89PNG"] * 2
    named = json.dumps({"inputs": {"x": [{"b64": sent}]}}).encode()
    assert read_predict(named, [X], "x").feeds["x"].tolist() == [b"\x89PNG"]
    numbers = read_predict(b'{"instances": [[1, 2]]}', [X], "x").feeds
    assert numbers["x"].dtype == np.float32


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"b64": "AAA"}, "Unable to base64 decode"),
        ({"b64": "A A="}, "Unable to base64 decode"),
        ({"b64": 1}, "not formatted correctly for base64 data"),
    ],
)
def test_base64_is_strict(value: Any, words: str) -> None:
    assert words in refused({"inputs": {"x": [value]}}, X, files="x").detail


def test_rows_of_files_and_numbers_do_not_mix() -> None:
    body = {"instances": [{"x": {"b64": "AAAA"}}, {"x": 1.0}]}
    assert "files in some rows and numbers in others" in refused(body, X, files="x").detail


def test_members_that_nobody_reads_are_read_over() -> None:
    found = read_predict(b'{"instances": [[1, 2]], "parameters": {"a": [1]}}', [X])
    assert found.feeds["x"].tolist() == [[1, 2]]


def test_plain_numbers_go_the_fast_way() -> None:
    body = b'{"signature_name": "s", "instances": [[1, 2.5]]}'
    assert read_fast(body, (X,)) is not None
    assert read_fast(b'{"instances": [[1, NaN]]}', (X,)) is None
    odd = (Tensor("x", "tensor(bfloat16)", (-1,)),)
    assert read_fast(b'{"instances": [1]}', odd) is None
    assert refused({"instances": [1]}, *odd).code is Code.UNSUPPORTED


def test_rows_of_different_length_cannot_be_told() -> None:
    arrays = {"y": np.zeros((2, 1)), "z": np.zeros((1, 1))}
    with pytest.raises(HeliographError, match="inconsistent batch size: 1 expecting: 2"):
        write_predict(arrays, rows=True)
    assert json.loads(write_predict(arrays, rows=False))["outputs"]["z"] == [[0.0]]
    with pytest.raises(HeliographError, match="has no shape information"):
        write_predict({"y": np.zeros(())}, rows=True)
    with pytest.raises(HeliographError, match="Failed to write JSON value"):
        write_predict({"y": np.zeros(1, np.complex64)}, rows=True)


def test_strings_that_are_no_text_are_bytes_whatever_they_are_called() -> None:
    array = np.array([b"a", b"\xff"], object)
    assert json.loads(write_predict({"y": array}, rows=True)) == {
        "predictions": ["a", {"b64": "/w=="}]
    }
