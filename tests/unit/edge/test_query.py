from __future__ import annotations

import pytest
from starlette.requests import Request

from heliograph.core.errors import Code, HeliographError
from heliograph.edge.http.query import credentials, no_query, read_head, read_query


def request(query: str = "", **headers: str) -> Request:
    raw = [
        (name.replace("_", "-").encode(), value.encode("latin-1"))
        for name, value in headers.items()
    ]
    scope = {"type": "http", "scheme": "http", "query_string": query.encode("latin-1")}
    return Request({**scope, "headers": raw})


def code_of(made: Request) -> Code:
    with pytest.raises(HeliographError) as refused:
        read_head(made, task="edges")
    return refused.value.code


def test_names_and_values() -> None:
    assert read_query(request("")) == {}
    assert read_query(request("a=1&b=&c=%C3%A9+x")) == {"a": "1", "b": "", "c": "\u00e9 x"}


@pytest.mark.parametrize(
    "query", ["a=1&a=1", "a=1&%61=2", "a=%ff", "&".join(f"a{n}=1" for n in range(65))]
)
def test_queries_that_can_be_misread(query: str) -> None:
    assert code_of(request(query)) is Code.BAD_REQUEST


@pytest.mark.parametrize(
    "name", ["key", "API_KEY", "access_token", "Token", "authorization", "apikey"]
)
def test_keys_do_not_belong_in_addresses(name: str) -> None:
    with pytest.raises(HeliographError) as refused:
        read_query(request(f"{name}=hg_secret"))
    assert refused.value.code is Code.KEY_IN_URL
    assert "hg_secret" not in refused.value.detail


def test_an_address_without_parameters_takes_none() -> None:
    no_query(request(""))
    with pytest.raises(HeliographError) as refused:
        no_query(request("x" * 500 + "=1"))
    assert refused.value.code is Code.UNKNOWN_FIELD
    assert len(refused.value.detail) < 200


@pytest.mark.parametrize(
    ("query", "accept", "form"),
    [
        ("", "", ""),
        ("", "*/*", ""),
        ("format=json", "image/png", "json"),
        ("format=jpg", "", "jpeg"),
        ("", "image/png", "png"),
        ("", "text/html, image/webp;q=0.9", "webp"),
        ("", "APPLICATION/JSON", "json"),
    ],
)
def test_what_is_wanted_back(query: str, accept: str, form: str) -> None:
    assert read_head(request(query, accept=accept), task="edges").form == form


def test_options_are_what_is_left() -> None:
    said = {"authorization": "bearer k1", "x_sticky_key": "user 7"}
    head = read_head(request("version=3&format=png&low=1", **said), model="m")
    assert (head.model, head.version, head.form) == ("m", "3", "png")
    assert head.sticky == "user 7"
    assert (head.credentials.key, dict(head.options)) == ("k1", {"low": "1"})
    assert head.alive()


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"content_encoding": "gzip"}, Code.UNSUPPORTED_ENCODING),
        ({"content_encoding": ""}, Code.UNSUPPORTED_ENCODING),
        ({"range": "bytes=0-0,1-1"}, Code.RANGE),
    ],
)
def test_headers_that_are_refused(headers: dict[str, str], code: Code) -> None:
    assert code_of(request("", **headers)) is code


def test_a_format_nobody_knows() -> None:
    assert code_of(request("format=exe")) is Code.VALIDATION


@pytest.mark.parametrize(
    ("said", "key"),
    [("Bearer k", "k"), ("bearer  k ", "k"), ("Basic k", ""), ("k", ""), ("", ""), ("Bearer", "")],
)
def test_credentials(said: str, key: str) -> None:
    assert credentials(request(authorization=said)).key == key
