"""Model config and batching parameters files, with TensorFlow Serving's names."""

from __future__ import annotations

from pathlib import Path

import pytest

from heliograph.core.errors import Code, HeliographError
from heliograph.edge.tfserving.config import (
    Batching,
    Policy,
    ServedModel,
    read_batching,
    read_model_config,
)
from heliograph.runtimes.base import Plan

MODELS = """
# As its documentation shows it.
model_config_list: {
  config {
    name: "a"
    base_path: "/models/a"
    model_platform: "tensorflow"
    model_version_policy { specific { versions: 42 versions: 43 } }
    version_labels { key: "stable" value: 42 }
    version_labels { key: 'canary' value: 43 }
  }
  config: { name: "b", base_path: "/models/b" }
  config { name: "c" base_path: "/models/c" model_version_policy { all {} } }
  config { name: "d" base_path: "/models/d" model_version_policy { latest { num_versions: 3 } } }
}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "some.config"
    path.write_text(text, "utf-8")
    return path


def test_a_model_config_file_is_read(tmp_path: Path) -> None:
    assert read_model_config(write(tmp_path, MODELS)) == (
        ServedModel(
            "a",
            "/models/a",
            Policy("specific", versions=(42, 43)),
            {"stable": 42, "canary": 43},
        ),
        ServedModel("b", "/models/b"),
        ServedModel("c", "/models/c", Policy("all")),
        ServedModel("d", "/models/d", Policy("latest", count=3)),
    )


def one(text: str) -> str:
    return f'model_config_list {{ config {{ name: "a" base_path: "/a" {text} }} }}'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (one("speed: 1"), "line 1: there is no field speed in ModelConfig"),
        (one("\nmodel_version_policy { newest {} }"), "line 2: there is no field newest"),
        (one("logging_config { }"), "Model a: logging_config is not offered"),
        (one('model_platform: "caffe"'), "model_platform may be left out or be tensorflow"),
        (one("model_type: OTHER"), "model_platform may be left out or be tensorflow"),
        (one("model_version_policy { specific { } }"), "Model a: specific needs versions"),
        ('model_config_list { config { base_path: "/a" } }', "has no name"),
        ('model_config_list { config { name: "a" } }', "Model a: base_path is empty"),
        (one("} config { name: 'a' base_path: '/b'"), "Duplicate model name: a"),
        ("custom_model_config { }", "Only ModelConfigList is currently supported"),
        ("", "Only ModelConfigList is currently supported"),
        ("model_config_list {", "line 1: this is not the text form of a ModelServerConfig"),
        (one("version_labels { key: 1 }"), "this is not the text form"),
    ],
)
def test_what_is_not_known_or_not_offered_is_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(HeliographError) as caught:
        read_model_config(write(tmp_path, text))
    assert caught.value.code is Code.VALIDATION
    assert words in caught.value.detail
    assert str(tmp_path) not in caught.value.detail


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(HeliographError, match=r"some\.config cannot be read"):
        read_model_config(tmp_path / "some.config")


def test_batching_parameters_become_a_plan(tmp_path: Path) -> None:
    text = """
    max_batch_size { value: 128 }
    batch_timeout_micros { value: 1500 }
    max_enqueued_batches { value: 1000 }
    num_batch_threads { value: 8 }
    """
    batching = read_batching(write(tmp_path, text))
    assert batching == Batching(128, 1500, 8, 1000)
    plan = batching.plan(Plan("onnx", threads=2, instances=1))
    assert (plan.engine, plan.threads, plan.instances) == ("onnx", 2, 8)
    assert (plan.max_batch, plan.max_wait_ms) == (128, 1.5)
    assert "batching parameters" in plan.reason
    assert batching.most_waiting(plan) == 128_000


def test_what_a_batching_file_does_not_say_stays_as_measured(tmp_path: Path) -> None:
    measured = Plan("onnx", instances=3, max_batch=4, max_wait_ms=2.0, reason="measured")
    empty = read_batching(write(tmp_path, ""))
    assert empty.plan(measured) == measured
    assert empty.most_waiting(measured) is None
    some = read_batching(write(tmp_path, "max_batch_size { value: 8 }")).plan(measured)
    assert (some.instances, some.max_batch, some.max_wait_ms) == (3, 8, 2.0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("allowed_batch_sizes: 4", "allowed_batch_sizes has no meaning here"),
        ("pad_variable_length_inputs: true", "pad_variable_length_inputs is not offered"),
        ('thread_pool_name { value: "a" }', "thread_pool_name has no meaning here"),
        ("max_batch_size { value: 0 }", "max_batch_size is 0; it must be 1 to"),
        ("batch_timeout_micros { value: -1 }", "batch_timeout_micros is -1"),
        ("max_batch_size: 4", "this is not the text form of a BatchingParameters"),
        ("batch_size { value: 4 }", "there is no field batch_size in BatchingParameters"),
    ],
)
def test_batching_that_cannot_be_is_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(HeliographError) as caught:
        read_batching(write(tmp_path, text))
    assert words in caught.value.detail
