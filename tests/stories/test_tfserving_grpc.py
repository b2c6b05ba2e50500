"""TensorFlow Serving over gRPC: the stubs of the real `tensorflow-serving-api`, unmodified."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from heliograph.edge.grpc.messages import load
from heliograph.edge.tfserving.grpc import SET
from support import pictures
from support.clients import run_client
from support.models import slow_package
from support.server import running
from support.tfserving import half_plus, serving, tensor_package, zoo

Seen = dict[str, Any]
GRPC = re.compile(r"^gRPC on (\S+)", re.MULTILINE)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """What every call of `tests/clients/tfserving_calls.py` got."""
    home = zoo(tmp_path_factory.mktemp("home"))
    picture = home / "picture.png"
    picture.write_bytes(pictures.file(pictures.scene()))
    models = ",".join(one.name for one in (home / "models").iterdir())
    options = ("--open", "--grpc-port", "0", "--models", models)
    with running(home, *options, stderr=home / "stderr") as server:
        target = GRPC.search(server.log())
        assert target, server.log()
        found = run_client("tfserving_calls", target[1], picture, home, SET)
        assert "Traceback" not in server.log(), server.log()[-4000:]
    return found


def outputs(answer: Any) -> Any:
    return answer["outputs"]


def refused(answer: Any) -> tuple[str, str]:
    return answer["code"], answer["details"]


def test_our_messages_are_those_of_the_real_package(seen: Seen) -> None:
    # The batching parameters are a file of the server: no client has them.
    assert seen["differences"] == ["tensorflow.serving.BatchingParameters is not there"]


def test_tensors_come_in_every_form_a_client_may_send(seen: Seen) -> None:
    assert seen["predict"] == {
        "spec": ["half", 2, "serving_default"],
        "outputs": {"y": [[3.5, 4.0], [4.5, 5.0]]},
    }
    assert outputs(seen["predict_typed_fields"]) == {"y": [[3.5, 4.0]]}
    assert outputs(seen["predict_one_value_for_all"]) == {"y": [[5.0] * 3] * 2}
    assert outputs(seen["predict_newer_fields"]) == {"y": [[3.5, 4.0]]}
    assert outputs(seen["predict_gzip"]) == {"y": [[3.5, 4.0]]}
    assert seen["predict_large"] is True


def test_answers_come_in_typed_fields(seen: Seen) -> None:
    values, content = seen["predict_answers_in_typed_fields"]
    assert (values, content) == ([3.5, 4.0], 0)


def test_several_inputs_and_chosen_outputs(seen: Seen) -> None:
    assert outputs(seen["predict_two_inputs"]) == {"difference": [[-2, -3]], "sum": [[4, 7]]}
    assert outputs(seen["predict_filtered"]) == {"difference": [[-2, -3]]}


def test_strings_and_pictures(seen: Seen) -> None:
    said = ["a", b"\xc3\xa9".decode("latin-1")]
    assert outputs(seen["predict_strings"]) == {"text": said, "text_bytes": said}
    first, second = outputs(seen["predict_picture"])["scores"]
    assert first == second
    assert sum(first) == pytest.approx(1.0, abs=1e-5)


def test_calls_at_once_do_not_mix(seen: Seen) -> None:
    assert seen["predict_future"] == [[[one / 2 + 3]] for one in range(8)]


def test_a_missing_model_is_told_in_the_words_that_clients_wait_for(seen: Seen) -> None:
    text = "Servable not found for request: Latest(nosuch)"
    assert refused(seen["unknown_model"]) == ("NOT_FOUND", text)
    text = "Servable not found for request: Specific(half, 77)"
    assert refused(seen["unknown_version"]) == ("NOT_FOUND", text)
    text = "Unrecognized servable version label: nosuch"
    assert refused(seen["unknown_label"]) == ("INVALID_ARGUMENT", text)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("unknown_signature", 'Serving signature key "nosuch" not found'),
        ("unknown_input", "Inputs expected to be in the set {x}."),
        ("missing_input", "Missing but required: {b}."),
        ("unknown_output", "output tensor alias not found in signature: nosuch"),
        ("wrong_type", "Expects arg[0] to be float but double is provided"),
        ("wrong_shape", "Expected [-1,-1], got [3]"),
        ("classify_other_model", "method_name to be tensorflow/serving/classify"),
        ("multi_inference_twice", "Duplicate evaluation of signature: serving_default"),
        ("metadata_of_nothing", "must specify at least one metadata_field"),
        ("reload_outside", "base_path is not the folder of a model of that name"),
    ],
)
def test_what_is_wrong_is_named(seen: Seen, call: str, words: str) -> None:
    code, details = refused(seen[call])
    assert code == "INVALID_ARGUMENT"
    assert words in details


def test_examples_are_classified_with_the_labels_of_the_package(seen: Seen) -> None:
    [classes] = seen["classify"]["classes"]
    assert [label for label, _ in classes] == ["red", "green", "blue"]
    assert sum(score for _, score in classes) == pytest.approx(1.0, abs=1e-3)


def test_examples_are_regressed_and_share_their_context(seen: Seen) -> None:
    assert seen["regress"] == [2.5, 7.0, 3.5]
    assert seen["multi_inference"] == [["line", 2.5]]


def test_metadata_is_the_signature(seen: Seen) -> None:
    assert seen["metadata"] == {
        "version": 2,
        "method": "tensorflow/serving/predict",
        "inputs": ["x"],
        "outputs": ["y"],
        "dtype": 1,
        "shape": [-1, -1],
        "name": "x:0",
    }


def test_status_tells_how_far_each_version_is(seen: Seen) -> None:
    assert seen["status"] == [[2, "AVAILABLE", 0], [1, "END", 0]]
    assert seen["status_of_one"] == [[2, "AVAILABLE", 0]]
    text = "Could not find any versions of model nosuch"
    assert refused(seen["status_of_nothing"]) == ("NOT_FOUND", text)


def test_a_cancelled_call_ends(seen: Seen) -> None:
    assert seen["cancel"] == "cancelled"


def test_a_configuration_replaces_what_is_served(seen: Seen) -> None:
    now = seen["reload_all"]
    assert now["error_code"] == 0
    assert now["status"] == [[2, "AVAILABLE", 0], [1, "AVAILABLE", 0]]
    assert outputs(now["stable"]) == {"y": [[2.5]]}
    assert outputs(now["canary"]) == {"y": [[3.5]]}
    # As there, the highest version answers a call that names none.
    assert outputs(now["none"]) == {"y": [[3.5]]}
    text = "Servable not found for request: Latest(line)"
    assert refused(now["gone"]) == ("NOT_FOUND", text)
    assert now["status of gone"] == [[1, "END", 0]]


def test_the_next_configuration_brings_a_model_back(seen: Seen) -> None:
    now = seen["reload_back"]
    assert outputs(now["none"]) == {"y": [[2.5]]}
    assert outputs(now["line"]) == {"y": [[2.5]]}
    assert now["status"] == [[2, "UNLOADING", 0], [1, "AVAILABLE", 0]]


def test_the_key_is_asked_for(tmp_path: Path) -> None:
    tensor_package(tmp_path, "half", half_plus)
    with (
        serving(tmp_path, key="a-key-of-some-length") as edge,
        grpc.insecure_channel(edge.target) as channel,
    ):
        status = channel.unary_unary("/tensorflow.serving.ModelService/GetModelStatus")
        with pytest.raises(grpc.RpcError) as refusal:
            status(b"", timeout=10)
        assert refusal.value.code() is grpc.StatusCode.UNAUTHENTICATED
        asked = b"\x0a\x06\x0a\x04half"  # model_spec { name: "half" }
        metadata = (("authorization", "Bearer a-key-of-some-length"),)
        assert status(asked, metadata=metadata, timeout=10)


def test_a_cancelled_call_gives_its_seat_back_before_its_turn_comes(tmp_path: Path) -> None:
    """More calls than hands, all cancelled: those that wait leave at once, unheard by the model."""
    slow_package(tmp_path, rounds=6_000)
    picture = pictures.file(pictures.scene())
    messages = load(SET)
    asked: Any = messages["tensorflow.serving.PredictRequest"]()
    asked.model_spec.name = "slow"
    held = asked.inputs["images"]
    held.dtype = 7
    held.tensor_shape.dim.add(size=1)
    held.string_val.append(picture)
    with serving(tmp_path) as edge, grpc.insecure_channel(edge.target) as channel:
        seats = edge.app.path._desk.seats
        hands = edge.app.catalog.find("slow").lane.plan.instances
        predict = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        calls = [predict.future(asked.SerializeToString(), timeout=60) for _ in range(hands + 5)]
        assert within(10.0, lambda: seats.taken == hands + 5)
        for call in calls:
            call.cancel()
        assert within(1.0, lambda: seats.taken <= hands)
        assert within(60.0, lambda: seats.taken == 0)


def within(seconds: float, true: Callable[[], bool]) -> bool:
    ends = time.monotonic() + seconds
    while not true() and time.monotonic() < ends:
        time.sleep(0.01)
    return true()
