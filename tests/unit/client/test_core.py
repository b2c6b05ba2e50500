"""Requests and replies without a socket: addresses, keys, refusals, questions, answers."""

from __future__ import annotations

import json
from email.utils import formatdate
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph.client import core, questions
from heliograph.client.core import Reply, Target, failure, refusal, retry_after
from heliograph.client.errors import (
    ApiError,
    BadReplyError,
    ClientError,
    OutOfTimeError,
    UnreachableError,
)
from heliograph.client.prediction import Prediction
from heliograph.vision.tasks.base import Result
from heliograph.vision.tasks.classification import Classes
from heliograph.vision.tasks.detection import Detections

BOX = {"x": 10.0, "y": 20.0, "width": 30.0, "height": 40.0}
DOG: dict[str, Any] = {
    "id": "pred_1", "model": "ssd", "version": "1", "task": "detection",
    "image": {"width": 64, "height": 48},
    "predictions": [{"label": "dog", "score": 0.9, "class_id": 18, "box": BOX}],
    "timings_ms": {"run": 2.0, "total": 3.0}, "a_later_member": [1],
}  # fmt: skip


def ok(body: Any) -> Reply:
    return Reply(200, {}, json.dumps(body).encode())


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HELIOGRAPH_ADDRESS", raising=False)
    monkeypatch.delenv("HELIOGRAPH_KEY", raising=False)


def test_address_and_key_have_defaults() -> None:
    target = Target.choose(None, None)
    assert (target.address, target.key) == ("http://127.0.0.1:8000", "")
    assert "authorization" not in target.http()["headers"]


def test_the_environment_names_address_and_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HELIOGRAPH_ADDRESS", "https://pictures.example/api/")
    monkeypatch.setenv("HELIOGRAPH_KEY", "hg_secret")
    target = Target.choose(None, None)
    assert target.address == "https://pictures.example/api"
    assert target.http()["headers"]["authorization"] == "Bearer hg_secret"
    assert Target.choose("http://localhost:1", "mine") == Target("http://localhost:1", "mine")
    assert Target.choose(None, "").key == ""


def test_a_key_read_from_a_file_may_end_its_line() -> None:
    assert Target.choose(None, "hg_secret\n").key == "hg_secret"


def test_a_key_is_not_shown() -> None:
    assert "hg_secret" not in repr(Target.choose(None, "hg_secret"))


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1:8000", "ftp://host", "http://", "http://h?key=1", "http://h:port", "http://h#x"],
)
def test_an_address_must_be_one(address: str) -> None:
    with pytest.raises(ValueError, match="Expected an address such as http://127"):
        Target.choose(address, None)


@pytest.mark.parametrize("key", ["hg\nx: y", "hg schlüssel", "schlüssel", "a b"])
def test_a_key_cannot_smuggle_a_header(key: str) -> None:
    with pytest.raises(ValueError, match="pasted whole"):
        Target.choose(None, key)


@pytest.mark.parametrize(
    ("address", "proxies"),
    [("http://127.0.0.1:1", False), ("http://localhost", False), ("http://[::1]:2", False),
     ("https://pictures.example", True), ("http://10.0.0.1", True)],
)  # fmt: skip
def test_only_other_machines_are_asked_through_a_proxy(address: str, *, proxies: bool) -> None:
    http = Target.choose(address, None).http()
    assert http["trust_env"] is proxies
    assert http["follow_redirects"] is False


def test_connecting_takes_five_seconds_at_most() -> None:
    assert core.patience(30.0) == {"timeout": 30.0, "connect": 5.0}
    assert core.patience(2.0) == {"timeout": 2.0, "connect": 2.0}


def test_a_problem_becomes_an_api_error() -> None:
    problem = {
        "type": "/docs/errors#overloaded", "title": "All seats are taken", "status": 503,
        "code": "overloaded", "detail": "Try again in a second.", "request_id": "req_1",
        "retry_after": 0.5,
    }  # fmt: skip
    error = refusal(Reply(503, {"retry-after": "1"}, json.dumps(problem).encode()))
    assert isinstance(error, ApiError)
    assert isinstance(error, ClientError)
    assert (error.code, error.status, error.request_id) == ("overloaded", 503, "req_1")
    assert error.retry_after == 0.5
    assert str(error) == "[overloaded] Try again in a second. (req_1)"


def test_a_missing_key_says_where_to_put_it() -> None:
    error = refusal(Reply(401, {}, b'{"code": "unauthenticated", "detail": "Send the key."}'))
    assert isinstance(error, ApiError)
    assert error.__notes__ == ["Pass it as Client(key=…) or set HELIOGRAPH_KEY."]


@pytest.mark.parametrize("body", [b"<html>Bad Gateway</html>", b"", b"[]", b"\xff", b'{"code": 1}'])
def test_a_proxy_s_own_words_become_an_api_error_too(body: bytes) -> None:
    error = refusal(Reply(502, {"retry-after": "7"}, body))
    assert isinstance(error, ApiError)
    assert (error.code, error.status, error.retry_after) == ("http_502", 502, 7.0)


def test_a_redirect_is_not_followed_with_the_key() -> None:
    error = refusal(Reply(302, {"location": "https://login.example"}, b""))
    assert isinstance(error, BadReplyError)
    assert "https://login.example" in str(error)


def test_retry_after_has_two_forms() -> None:
    assert retry_after("120") == 120.0
    assert retry_after(formatdate(1_000_060, usegmt=True), now=1_000_000) == 60.0
    assert retry_after(formatdate(999_000, usegmt=True), now=1_000_000) == 0.0
    for wrong in ("", "soon", "-1", "1.5", "²", "Fri, 99 Dec"):
        assert retry_after(wrong) is None


@given(st.text(max_size=60))
def test_retry_after_takes_any_text(header: str) -> None:
    found = retry_after(header, now=0.0)
    assert found is None or found >= 0


def test_what_httpx_raises_becomes_ours() -> None:
    here = "http://here"
    refused = failure(httpx.ConnectError("Connection refused"), here, 3.0)
    assert isinstance(refused, UnreachableError)
    assert isinstance(refused, ConnectionError)
    assert "heliograph serve" in str(refused)
    assert isinstance(refused.__cause__, httpx.ConnectError)
    assert isinstance(failure(httpx.ConnectTimeout(""), here, 3.0), UnreachableError)
    for late in (httpx.ReadTimeout(""), TimeoutError()):
        error = failure(late, here, 3.0)
        assert isinstance(error, OutOfTimeError)
        assert isinstance(error, TimeoutError)
        assert "within 3 seconds" in str(error)
    assert isinstance(failure(httpx.DecodingError(""), here, 3.0), BadReplyError)


def test_options_left_alone_are_left_to_the_server() -> None:
    asked = questions.of_task("detection", Detections, min_score=0.25, top_k=None, iou=None)
    request = asked.about(b"picture")
    assert (request.method, request.path, request.body) == ("POST", "/api/v1/detect", b"picture")
    assert request.query == {"min_score": "0.25", "format": "json"}


def test_a_model_is_asked_by_name_or_by_task() -> None:
    named = questions.of_model("yolo", "detection", "2", {"min_score": 0.5, "exact": True})
    assert named.path == "/api/v1/models/yolo/predict"
    assert named.query == {
        "min_score": "0.5", "exact": "true", "version": "2", "format": "json"
    }  # fmt: skip
    default = questions.of_model("", "classification", "", {})
    assert (default.path, default.query) == ("/api/v1/classify", {"format": "json"})
    assert questions.card_of("../admin").path == "/api/v1/models/..%2Fadmin"


def test_what_cannot_be_asked_is_said_before_it_is_sent() -> None:
    with pytest.raises(ValueError, match="no task 'detect'; there are classification, detection"):
        questions.of_model("", "detect", "", {})
    with pytest.raises(TypeError, match="draw"):
        questions.of_model("yolo", "detection", "", {"format": "png"})


def test_an_answer_is_read_with_its_type() -> None:
    asked = questions.of_task("detection", Detections)
    answer = asked.read(ok(DOG), b"picture")
    assert (answer.id, answer.size, answer.picture) == ("pred_1", (64, 48), b"picture")
    assert answer.result.labels == ("dog",)
    assert answer.result.boxes.tolist() == [[10.0, 20.0, 40.0, 60.0]]
    assert answer.predictions == DOG["predictions"]
    assert repr(answer) == "<detection by ssd@1 in 3.0 ms: dog 90%>"


def test_an_answer_of_another_kind_is_refused() -> None:
    with pytest.raises(BadReplyError, match="Expected Classes, got an answer to detection"):
        questions.of_task("classification", Classes).read(ok(DOG), b"")


@pytest.mark.parametrize(
    "change",
    [{"task": "telepathy"}, {"image": {}}, {"predictions": [{"label": "dog"}]}, {"id": None}],
)
def test_what_is_no_answer_is_said_to_be_none(change: dict[str, Any]) -> None:
    with pytest.raises(BadReplyError, match="pip install --upgrade"):
        questions.of_task("detection", Detections).read(ok(DOG | change), b"")
    with pytest.raises(BadReplyError):
        questions.of_task("detection", Detections).read(Reply(200, {}, b"<html>"), b"")


def test_models_are_read_and_later_members_let_be() -> None:
    listed = questions.read_models(ok({"models": [{"name": "ssd", "default": True, "later": 1}]}))
    assert [(one.name, one.default) for one in listed] == [("ssd", True)]
    card = questions.read_card(ok({"name": "ssd", "labels": ["dog"], "plan": None}))
    assert (card.name, card.labels, card.plan) == ("ssd", ["dog"], None)
    with pytest.raises(BadReplyError, match="not as a Heliograph server does"):
        questions.read_models(Reply(200, {}, b"<html>"))


def test_a_typed_answer_goes_wherever_any_answer_goes() -> None:
    # For the type checker: a Prediction[Detections] is a Prediction[Result].
    answer: Prediction[Result] = questions.of_task("detection", Detections).read(ok(DOG), b"")
    assert answer.result.predictions() == DOG["predictions"]
