from __future__ import annotations

import contextlib
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph.core.errors import Code, HeliographError
from heliograph.edge.http.strictjson import DEEPEST, parse

TEXT = st.text(st.characters(codec="utf-8"))
NUMBERS = st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5),
    max_leaves=30,
)


def code_of(body: bytes) -> Code:
    with pytest.raises(HeliographError) as refused:
        parse(body)
    return refused.value.code


@given(VALUES, st.booleans())
def test_what_json_writes_is_read_as_it_was(value: object, ascii_only: bool) -> None:
    assert parse(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_one_of_our_errors(body: bytes) -> None:
    code: Code | None = None
    try:
        parse(body)
    except HeliographError as error:
        code = error.code
    assert code in {
        None,
        Code.MALFORMED_JSON,
        Code.JSON_BAD_NUMBER,
        Code.JSON_DUPLICATE_KEY,
        Code.JSON_TOO_DEEP,
    }


def test_depth_is_counted_outside_strings() -> None:
    assert parse(b"[" * DEEPEST + b"]" * DEEPEST)
    assert code_of(b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1)) is Code.JSON_TOO_DEEP
    assert parse(b'["' + b"[" * 500 + b'"]') == ["[" * 500]
    assert parse(b'["\\"' + b"[" * 500 + b'"]') == ['"' + "[" * 500]


@pytest.mark.parametrize(
    "text", ["NaN", "Infinity", "-Infinity", "1e400", "9" * 401, "0." + "1" * 400]
)
def test_numbers(text: str) -> None:
    assert code_of(text.encode()) is Code.JSON_BAD_NUMBER
    assert code_of(b'{"a": [%b]}' % text.encode()) is Code.JSON_BAD_NUMBER


@pytest.mark.parametrize(
    "body", [b'{"a":1,"a":2}', b'[{"a":{"b":1,"b":1}}]', b'{"a":1,"\\u0061":2}']
)
def test_keys_that_stand_twice(body: bytes) -> None:
    assert code_of(body) is Code.JSON_DUPLICATE_KEY


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"\xef\xbb\xbf1",
        b'"\\ud800"',
        b'"\\uDBFF"',
        b'{"\\udc00":1}',
        b"[1,]",
        b"1 2",
        b"'a'",
        "[1]".encode("utf-16-le"),
        b'"\x00"',
        b"// no\n1",
    ],
)
def test_what_is_no_json(body: bytes) -> None:
    assert code_of(body) is Code.MALFORMED_JSON


def test_pairs_of_surrogates_are_characters() -> None:
    assert parse(b'"\\ud83d\\ude00"') == "\U0001f600"


def test_many_values() -> None:
    assert len(parse(b"[" + b"1," * 9000 + b"1]")) == 9001
    assert code_of(b"[" + b"1," * 11_000 + b"1]") is Code.TOO_LARGE


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":"' + b"A" * 20000000 + b'"}',
        b'"' + b'\\"' * 5000000,
        b"]" * 10000000,
        b'"\\' * 5000000,
        b'""' * 5000000,
        b"9" * 10000000,
    ],
    ids=["picture", "no end", "brackets", "backslashes", "strings", "digits"],
)
def test_nothing_takes_long(body: bytes) -> None:
    began = time.process_time()
    with contextlib.suppress(HeliographError):
        parse(body)
    assert time.process_time() - began < 1
