from __future__ import annotations

import msgspec
import pytest
from starlette.exceptions import HTTPException

from heliograph.core.errors import Code, HeliographError
from heliograph.edge.http.errors import answer, respond


def told(error: Exception) -> tuple[int, dict[str, str], dict[str, object]]:
    code, reply = answer(error, "BREW")
    assert code == msgspec.json.decode(bytes(reply.body))["code"]
    return reply.status_code, dict(reply.headers), msgspec.json.decode(bytes(reply.body))


def test_an_error_of_ours_is_answered_with_its_code() -> None:
    status, headers, body = told(HeliographError(Code.RANGE, "One range."))
    assert (status, body["code"], body["detail"]) == (416, "range", "One range.")
    assert headers["content-type"] == "application/problem+json"


def test_a_bug_says_nothing_to_the_caller_and_all_to_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    status, _, body = told(KeyError("/secret/path 0x7f00dead"))
    assert (status, body["code"]) == (500, "internal")
    assert "secret" not in str(body)
    assert "0x7f00dead" in caplog.text
    assert str(body["request_id"]) in caplog.text


@pytest.mark.parametrize(
    ("status", "code"), [(404, "not_found"), (405, "method_not_allowed"), (400, "bad_request")]
)
def test_the_frameworks_errors_have_our_shape(status: int, code: str) -> None:
    said, headers, body = told(HTTPException(status, "its own words", {"allow": "POST"}))
    assert (said, body["code"]) == (status, code)
    assert headers["allow"] == "POST"
    assert "its own words" not in str(body)


def test_retry_after_is_in_both_places() -> None:
    reply = respond(HeliographError(Code.OVERLOADED, "Full.", retry_after=1.5))
    assert reply.headers["retry-after"] == "2"
    assert msgspec.json.decode(bytes(reply.body))["retry_after"] == 1.5
