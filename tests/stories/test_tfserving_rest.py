"""TensorFlow Serving's REST API, and KServe v1 beside it, on a real socket."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from heliograph.registry.releases import Release
from support import pictures
from support.clients import run_client
from support.tfserving import (
    Edge,
    broken,
    classes,
    half_plus,
    serving,
    tensor_package,
    zoo,
)

PICTURE = pictures.file(pictures.scene())
B64 = {"b64": base64.b64encode(PICTURE).decode()}


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    with serving(zoo(tmp_path_factory.mktemp("home"))) as started:
        yield started


@pytest.fixture(scope="module")
def http(edge: Edge) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=edge.address, trust_env=False, timeout=30.0) as client:
        yield client


def error(reply: httpx.Response, status: int) -> str:
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/json"
    body = reply.json()
    assert set(body) == {"error"}
    return body["error"]


def test_rows_and_columns_get_the_same_answer(http: httpx.Client) -> None:
    rows = http.post("/v1/models/half:predict", json={"instances": [[1.0, 2.0], [3, 4]]})
    assert rows.headers["content-type"] == "application/json"
    assert rows.json() == {"predictions": [[3.5, 4.0], [4.5, 5.0]]}
    columns = http.post("/v1/models/half:predict", json={"inputs": [[1.0, 2.0], [3, 4]]})
    assert columns.json() == {"outputs": [[3.5, 4.0], [4.5, 5.0]]}
    named = http.post("/v1/models/half:predict", json={"inputs": {"x": [[1.0, 2.0], [3, 4]]}})
    assert named.json() == columns.json()


def test_several_tensors_are_named(http: httpx.Client) -> None:
    rows = http.post(
        "/v1/models/pair:predict",
        json={"instances": [{"a": [1, 2], "b": [3, 5]}, {"a": [0, 0], "b": [1, 1]}]},
    )
    assert rows.json() == {
        "predictions": [
            {"sum": [4, 7], "difference": [-2, -3]},
            {"sum": [1, 1], "difference": [-1, -1]},
        ]
    }
    columns = http.post("/v1/models/pair:predict", json={"inputs": {"a": [[1, 2]], "b": [[3, 5]]}})
    assert columns.json() == {"outputs": {"sum": [[4, 7]], "difference": [[-2, -3]]}}


def test_a_picture_goes_where_a_tensor_is_wanted(http: httpx.Client) -> None:
    reply = http.post("/v1/models/colour:predict", json={"instances": [B64, B64]})
    first, second = reply.json()["predictions"]
    assert first == second
    assert sum(first) == pytest.approx(1.0, abs=1e-5)
    named = http.post("/v1/models/colour:predict", json={"inputs": {"images": [B64]}})
    assert named.json() == {"outputs": [first]}


def test_strings_and_bytes_come_back_as_the_output_is_called(http: httpx.Client) -> None:
    reply = http.post("/v1/models/words:predict", json={"instances": ["a", {"b64": "w6k="}]})
    assert reply.json()["predictions"] == [
        {"text": "a", "text_bytes": {"b64": "YQ=="}},
        {"text": "é", "text_bytes": {"b64": "w6k="}},
    ]


def test_numbers_that_are_none_go_in_and_out_bare(http: httpx.Client) -> None:
    body = b'{"instances": [[NaN, Infinity], [-Infinity, 1.5]]}'
    reply = http.post("/v1/models/half:predict", content=body)
    assert reply.text == '{"predictions":[[NaN,Infinity],[-Infinity,3.75]]}'


def test_versions_and_capitals_in_the_address(http: httpx.Client) -> None:
    body = {"instances": [[1.0]]}
    second = http.post("/V1/Models/half/Versions/2:Predict", json=body)
    assert second.json() == {"predictions": [[3.5]]}
    assert http.post("/v1/models/%68alf:predict", json=body).json() == second.json()
    assert http.post("/v1/models/half:predict?verbose=1", json=body).json() == second.json()


def test_a_body_may_come_packed(http: httpx.Client) -> None:
    body = gzip.compress(json.dumps({"instances": [[1.0]]}).encode())
    reply = http.post("/v1/models/half:predict", content=body, headers={"content-encoding": "gzip"})
    assert reply.json() == {"predictions": [[3.5]]}


def test_a_large_tensor_comes_back_exactly(http: httpx.Client) -> None:
    tensor = np.random.default_rng(0).standard_normal((3, 50_176)).astype(np.float32)
    reply = http.post("/v1/models/half:predict", json={"inputs": tensor.tolist()})
    answer = np.array(reply.json()["outputs"], np.float32)
    assert np.array_equal(answer, tensor / 2 + 3)


def test_classify_and_regress(http: httpx.Client) -> None:
    reply = http.post("/v1/models/colour:classify", json={"examples": [{"image/encoded": B64}]})
    [classes] = reply.json()["results"]
    assert [label for label, _ in classes] == ["red", "green", "blue"]
    reply = http.post(
        "/v1/models/line:regress", json={"context": {"x": 10.0}, "examples": [{"x": 1.0}, {}]}
    )
    assert reply.json() == {"results": [2.5, 7.0]}


def test_answers_tell_their_times(http: httpx.Client) -> None:
    reply = http.post("/v1/models/half:predict", json={"instances": [[1.0]]})
    assert "run;dur=" in reply.headers["server-timing"]
    assert reply.headers["x-request-id"].startswith("pred_")


def test_status_is_for_clients_of_both(http: httpx.Client) -> None:
    reply = http.get("/v1/models/half")
    ok = {"error_code": "OK", "error_message": ""}
    assert reply.json() == {
        "model_version_status": [
            {"version": "2", "state": "AVAILABLE", "status": ok},
            {"version": "1", "state": "END", "status": ok},
        ],
        "name": "half",
        "ready": True,
    }
    one = http.get("/v1/models/half/versions/1").json()
    assert [each["version"] for each in one["model_version_status"]] == ["1"]
    assert one["ready"] is False
    assert set(http.get("/v1/models").json()["models"]) >= {"half", "colour"}


def test_metadata_prints_every_default(http: httpx.Client) -> None:
    said = http.get("/v1/models/half/metadata").json()
    assert said["model_spec"] == {"name": "half", "signature_name": "", "version": "2"}
    signature = said["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["method_name"] == "tensorflow/serving/predict"
    assert signature["inputs"] == {
        "x": {
            "dtype": "DT_FLOAT",
            "tensor_shape": {
                "dim": [{"size": "-1", "name": ""}, {"size": "-1", "name": ""}],
                "unknown_rank": False,
            },
            "name": "x:0",
        }
    }


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/v1/models/nosuch:predict", 404, "Servable not found for request: Latest(nosuch)"),
        ("/v1/models/half/versions/7:predict", 404, "Specific(half, 7)"),
        ("/v1/models/half/labels/x:predict", 400, "Unrecognized servable version label: x"),
        ("/v1/models/half/labels/2:predict", 400, "Unrecognized servable version label: 2"),
        (f"/v1/models/half/versions/{'9' * 30}:predict", 400, "Failed to convert version"),
        ("/v1/models/half:nosuch", 400, "Malformed request: POST /v1/models/half:nosuch"),
        ("/v1/nosuch", 400, "Malformed request: POST /v1/nosuch"),
        ("/v1/models/uneven:predict", 400, "has inconsistent batch size: 1 expecting: 2"),
        ("/v1/models/pair:predict", 400, "expecting list of objects"),
        ("/v1/models/half:explain", 501, "not offered"),
        ("/v1/models/half:classify", 400, "method_name to be tensorflow/serving/classify"),
        ("/v1/models/colour:regress", 400, "method_name to be tensorflow/serving/regress"),
    ],
)
def test_what_is_wrong_with_an_address(
    http: httpx.Client, path: str, status: int, text: str
) -> None:
    assert text in error(http.post(path, json={"instances": [[1.0, 2.0], [3.0, 4.0]]}), status)


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/v1/models/nosuch", 404, "Could not find any versions of model nosuch"),
        ("/v1/models/half/versions/7", 404, "Could not find version 7 of model half"),
        ("/v1/models/half/labels/x", 400, "Unrecognized servable version label: x"),
        ("/v1/models/nosuch/metadata", 404, "Servable not found for request: Latest(nosuch)"),
        ("/v1/models/", 400, "Malformed request: GET /v1/models/"),
        ("/v1/models/half:predict", 400, "Malformed request: GET /v1/models/half:predict"),
    ],
)
def test_what_is_wrong_with_a_question(
    http: httpx.Client, path: str, status: int, text: str
) -> None:
    assert text in error(http.get(path), status)


def test_metrics_have_the_names_of_its_dashboards(http: httpx.Client) -> None:
    http.post("/v1/models/pair:predict", json={"inputs": {"a": [[1, 2]] * 3, "b": [[3, 5]] * 3}})
    text = http.get("/monitoring/prometheus/metrics").text
    counted = {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line[0] != "#"
    }
    name = ":tensorflow:serving:"
    assert counted[f'{name}request_count{{model_name="pair",status="OK"}}'] >= 1
    assert counted[f'{name}request_latency_sum{{model_name="pair"}}'] > 0
    assert counted[f'{name}request_example_counts_sum{{model="pair"}}'] >= 3


def test_a_key_is_asked_for(tmp_path: Path) -> None:
    tensor_package(tmp_path, "half", half_plus)
    with (
        serving(tmp_path, key="a-key-of-some-length") as edge,
        httpx.Client(base_url=edge.address, trust_env=False) as http,
    ):
        body: Any = {"instances": [[1.0]]}
        asks = [http.get(path) for path in ("/v1/models", "/v1/models/half", "/v1/models/x")]
        asks.append(http.get("/monitoring/prometheus/metrics"))
        asks.append(http.post("/v1/models/half:predict", json=body))
        asks.append(http.post("/v1/models/nosuch:predict", json=body))
        for reply in asks:
            assert "Authorization: Bearer" in error(reply, 401)
            assert reply.headers["www-authenticate"].startswith("Bearer")
        headers = {"authorization": "Bearer a-key-of-some-length"}
        good = http.post("/v1/models/half:predict", json=body, headers=headers)
        assert good.json() == {"predictions": [[2.5]]}


def test_the_client_of_kserve_works_with_its_first_protocol(edge: Edge) -> None:
    seen = run_client("kserve_v1", edge.address)
    assert seen["ready"] is True
    assert seen["version_not_loaded"] is False
    assert seen["infer"] == {"predictions": [[3.5, 4.0]]}
    assert "404" in seen["no_model_ready"]
    assert "Servable not found for request: Latest(nosuch)" in seen["no_model"]
    assert "not offered" in seen["explain"]


def test_a_label_is_a_name_for_a_version(tmp_path: Path) -> None:
    for version in (1, 2):
        tensor_package(tmp_path, "half", half_plus, version=version)
    with (
        serving(tmp_path) as edge,
        httpx.Client(base_url=edge.address, trust_env=False) as http,
    ):
        edge.app.catalog.decide("half", Release(aliases={"old_1": "1"}))
        body = {"instances": [[1.0]]}
        assert http.post("/v1/models/half/labels/old_1:predict", json=body).is_success
        said = http.get("/v1/models/half/labels/old_1").json()
        assert [one["version"] for one in said["model_version_status"]] == ["1"]
        metadata = http.get("/v1/models/half/labels/old_1/metadata").json()
        assert metadata["model_spec"]["version"] == "1"


def test_a_full_house_says_when_to_come_again(tmp_path: Path) -> None:
    tensor_package(tmp_path, "half", half_plus)
    with serving(tmp_path) as edge:
        seats = edge.app.path._desk.seats
        for _ in range(seats.count):
            seats.take()
        reply = httpx.post(
            f"{edge.address}/v1/models/half:predict", json={"instances": [[1.0]]}, trust_env=False
        )
        assert "seats" in error(reply, 429)
        assert reply.headers["retry-after"] == "1"


def test_a_model_is_loaded_by_its_first_call(tmp_path: Path) -> None:
    tensor_package(tmp_path, "half", half_plus)
    with (
        serving(tmp_path, load="demand") as edge,
        httpx.Client(base_url=edge.address, trust_env=False) as http,
    ):
        before = http.get("/v1/models/half").json()
        assert before["model_version_status"][0]["state"] == "AVAILABLE"
        # A call would be taken: it is ready in KServe's sense.
        assert before["ready"] is True
        reply = http.post("/v1/models/half:predict", json={"instances": [[1.0]]})
        assert reply.json() == {"predictions": [[2.5]]}
        [after] = http.get("/v1/models/half").json()["model_version_status"]
        assert after["state"] == "AVAILABLE"


def test_a_model_that_does_not_load_says_so(tmp_path: Path) -> None:
    tensor_package(tmp_path, "broken", broken)
    with (
        serving(tmp_path) as edge,
        httpx.Client(base_url=edge.address, trust_env=False) as http,
    ):
        reply = http.post("/v1/models/broken:predict", json={"instances": [[1.0]]})
        assert error(reply, 503).startswith("Servable not found for request: Latest(broken). ")
        body = http.get("/v1/models/broken").json()
        assert body["ready"] is False
        [said] = body["model_version_status"]
        assert (said["state"], said["status"]["error_code"]) == ("END", "UNKNOWN")
        assert said["status"]["error_message"]


def test_classes_and_scores_of_plain_tensors_are_classified(tmp_path: Path) -> None:
    tensor_package(tmp_path, "classes", classes)
    with serving(tmp_path) as edge:
        reply = httpx.post(
            f"{edge.address}/v1/models/classes:classify",
            json={"examples": [{"x": [0.25, 0.75]}, {"x": [1, 0]}]},
            trust_env=False,
        )
    assert reply.json() == {
        "results": [[["cat", 0.25], ["dog", 0.75]], [["cat", 1.0], ["dog", 0.0]]]
    }


def test_while_traffic_is_split_a_key_sticks_to_a_version(tmp_path: Path) -> None:
    tensor_package(tmp_path, "half", half_plus, version=1)
    tensor_package(tmp_path, "half", lambda path: half_plus(path, 3.0), version=2)
    with (
        serving(tmp_path) as edge,
        httpx.Client(base_url=edge.address, trust_env=False) as http,
    ):
        edge.app.catalog.decide("half", Release(split={"1": 1, "2": 1}))

        def ask(key: str) -> float:
            reply = http.post(
                "/v1/models/half:predict",
                json={"instances": [[1.0]]},
                headers={"x-sticky-key": key},
            )
            return reply.json()["predictions"][0][0]

        answers = {f"caller {at}": ask(f"caller {at}") for at in range(16)}
        assert set(answers.values()) == {2.5, 3.5}
        assert {key: ask(key) for key in answers} == answers
