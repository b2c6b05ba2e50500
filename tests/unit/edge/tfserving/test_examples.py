"""Examples for classify and regress: features to tensors, outputs to classes and numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import heliograph.edge.tfserving
from heliograph.core.errors import HeliographError
from heliograph.edge.grpc.messages import load
from heliograph.edge.tfserving import answers
from heliograph.edge.tfserving.examples import feeds_of, of_input, read_examples
from heliograph.runtimes.base import Tensor

MESSAGES = load(Path(heliograph.edge.tfserving.__file__).with_name("tfserving.binpb"))
X = Tensor("x", "float32", (-1, 2))
FILE = Tensor("images", "float32", (-1, 3, 8, 8))


def refused(work: Any, *given: Any) -> str:
    with pytest.raises(HeliographError) as caught:
        work(*given)
    return caught.value.detail


def test_examples_in_json_have_what_they_share() -> None:
    body = {
        "signature_name": "s",
        "context": {"a": 1, "b": [True, False]},
        "examples": [{"a": [2]}, {"c": {"b64": "AAA="}, "d": "é"}],
    }
    assert read_examples(json.dumps(body).encode()) == (
        "s",
        [
            {"a": [2], "b": [1, 0]},
            {"a": [1], "b": [1, 0], "c": [b"\x00\x00"], "d": ["é".encode()]},
        ],
    )


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "key 'examples' is expected and was not found"),
        ({"examples": 1}, "Expecting 'examples' value to be an list/array"),
        ({"examples": []}, "'examples' value is an empty array"),
        ({"examples": [1]}, "Example must be JSON object"),
        ({"examples": [{"a": None}]}, "Feature: a has element with unexpected JSON type"),
        ({"examples": [{"a": [[1]]}]}, "Feature: a has element with unexpected JSON type"),
        ({"examples": [{"a": [1, 1.5]}]}, "element type in feature: a expecting type: int64"),
        ({"examples": [{"a": 2**63}]}, "Only int64 is supported."),
        ({"examples": [{"a": {"b64": "A"}}]}, "Unable to base64 decode"),
        ({"context": 1, "examples": [{}]}, "Example must be JSON object"),
    ],
)
def test_what_is_wrong_with_examples_is_said(body: Any, words: str) -> None:
    assert words in refused(read_examples, json.dumps(body).encode())


def test_examples_of_a_message_have_what_they_share() -> None:
    given: Any = MESSAGES["tensorflow.serving.Input"]()
    assert refused(of_input, given) == "Input is empty."
    held = given.example_list_with_context
    held.context.features.feature["a"].int64_list.value.extend([1])
    held.examples.add().features.feature["b"].bytes_list.value.append(b"x")
    held.examples.add().features.feature["a"].float_list.value.append(0.5)
    assert of_input(given) == [{"a": [1], "b": [b"x"]}, {"a": [0.5]}]


def test_a_feature_feeds_the_input_of_its_name() -> None:
    other = Tensor("n", "int32", (-1,))
    found = feeds_of([{"x": [1.0, 2.0], "n": [3]}, {"x": [4, 5], "n": [6]}], [X, other])
    assert found["x"].tolist() == [[1, 2], [4, 5]]
    assert found["n"].tolist() == [3, 6]
    assert (found["x"].dtype, found["n"].dtype) == (np.float32, np.int32)


def test_one_size_of_a_row_follows_from_its_values() -> None:
    found = feeds_of([{"x": [1, 2, 3, 4]}], [Tensor("x", "float32", (-1, -1, 2))])
    assert found["x"].tolist() == [[[1, 2], [3, 4]]]


def test_one_feature_feeds_the_only_input_whatever_it_is_called() -> None:
    found = feeds_of([{"image/encoded": [b"jpeg"]}] * 2, [FILE], "images")
    assert found["images"].tolist() == [b"jpeg"] * 2


def test_a_model_of_strings_gets_whole_examples() -> None:
    found = feeds_of([{"a": [1]}], [Tensor("examples", "object", (-1,))])
    example: Any = MESSAGES["tensorflow.Example"].FromString(found["examples"][0])
    assert list(example.features.feature["a"].int64_list.value) == [1]


@pytest.mark.parametrize(
    ("example", "words"),
    [
        ({"x": [1.0], "y": [2]}, "values size: 1 but output shape: [2]"),
        ({"y": [1.0], "z": [2]}, "Feature: x (data type: float) is required"),
        ({"x": [], "y": [2]}, "Feature: x (data type: float) is required"),
        ({"x": [b"1", b"2"]}, "Data type: string but expected type: float"),
    ],
)
def test_what_does_not_fit_is_said(example: Any, words: str) -> None:
    assert words in refused(feeds_of, [example], [X])


def test_integers_take_no_fractions_and_hold_what_they_can() -> None:
    wanted = [Tensor("n", "uint8", (-1,))]
    assert "Data type: float but expected type: uint8" in refused(feeds_of, [{"n": [1.5]}], wanted)
    assert "A value is no uint8" in refused(feeds_of, [{"n": [300]}], wanted)


def test_one_picture_a_row() -> None:
    assert "values size: 2" in refused(feeds_of, [{"i": [b"a", b"b"]}], [FILE], "images")


def test_regressions_are_one_number_a_row() -> None:
    assert answers.regress({"y": np.array([[0.1], [2]], np.float32)}) == [0.1, 2.0]
    assert answers.regress({"y": np.array([3.0])}) == [3.0]
    assert "[batch_size, 1] but got [1, 2]" in refused(answers.regress, {"y": np.ones((1, 2))})
    assert answers.results([float("nan"), 1.0]) == b'{"results":[NaN,1.0]}'
