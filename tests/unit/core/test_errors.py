from __future__ import annotations

import logging
import re
from pathlib import Path

import msgspec
import pytest

from heliograph.core.errors import TABLE, Code, HeliographError
from heliograph.edge.http import pages
from heliograph.edge.http.errors import describe, problem

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "errors.md"
GRPC = {
    "ABORTED", "ALREADY_EXISTS", "DEADLINE_EXCEEDED", "FAILED_PRECONDITION", "INTERNAL",
    "INVALID_ARGUMENT", "NOT_FOUND",
    "OUT_OF_RANGE", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "UNAUTHENTICATED", "UNAVAILABLE",
    "UNIMPLEMENTED",
}  # fmt: skip


def test_every_code_has_a_row_and_stands_in_alphabetical_order() -> None:
    assert list(TABLE) == list(Code)
    assert list(Code) == sorted(Code)


@pytest.mark.parametrize("code", Code)
def test_a_row_is_whole(code: Code) -> None:
    row = TABLE[code]
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", code)
    assert row.status in {*range(400, 500), 500, 502, 503, 504}
    assert row.grpc in GRPC
    assert row.title
    assert row.title[-1] != "."
    assert row.page <= (row.status >= 500), "nobody is woken by what a caller did"


def test_titles_tell_codes_apart() -> None:
    assert len({row.title for row in TABLE.values()}) == len(TABLE)


@pytest.mark.parametrize("code", Code)
def test_every_code_is_documented(code: Code) -> None:
    assert f"\n## {code}\n" in REFERENCE.read_text("utf-8")
    assert f'id="{code}"' in pages.errors()


@pytest.mark.parametrize("code", Code)
def test_a_problem_has_the_one_shape(code: Code) -> None:
    status, headers, body = problem(HeliographError(code, "What was wrong.", retry_after=0.2))
    said = msgspec.json.decode(body)
    by_name = dict(headers)
    assert len(by_name) == len(headers)
    assert said == {
        "type": f"/docs/errors#{code}",
        "title": TABLE[code].title,
        "status": status,
        "code": code,
        "detail": "What was wrong.",
        "request_id": by_name[b"x-request-id"].decode(),
        "retry_after": 0.2,
    }
    assert status == TABLE[code].status
    assert by_name[b"content-length"] == str(len(body)).encode()
    assert by_name[b"retry-after"] == b"1", "whole seconds, and not zero"
    assert (b"www-authenticate" in by_name) == (code is Code.UNAUTHENTICATED)


def test_only_our_own_faults_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    for code, row in TABLE.items():
        caplog.clear()
        with caplog.at_level(logging.DEBUG):
            made = describe(HeliographError(code, "x"))
        assert bool(caplog.records) == row.page
        assert not row.page or made.request_id in caplog.text


def test_an_error_knows_its_row_and_hides_its_cause() -> None:
    error = HeliographError(Code.TOO_LARGE, "Too much.")
    error.__cause__ = OSError("/secret/path")
    assert error.row == TABLE[Code.TOO_LARGE]
    assert str(error) == "too_large: Too much."
    assert b"secret" not in problem(error)[2]
