from __future__ import annotations

import base64
import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph.core.errors import Code, HeliographError
from heliograph.edge.http.bodies import pictures

FORM = "multipart/form-data; boundary=B"


def form(*files: tuple[str, bytes]) -> bytes:
    parts = [
        b'--B\r\nContent-Disposition: form-data; name="f"; filename="%b"\r\n\r\n%b\r\n'
        % (name.encode(), data)
        for name, data in files
    ]
    return b"".join(parts) + b"--B--\r\n"


def code_of(kind: str, body: bytes, most: int = 4) -> Code:
    with pytest.raises(HeliographError) as refused:
        pictures(kind, body, most)
    return refused.value.code


@pytest.mark.parametrize(
    "kind",
    [
        "",
        "image/png",
        "IMAGE/Anything",
        "application/octet-stream; x=y",
        "application/x-www-form-urlencoded",
    ],
)
def test_raw_bytes(kind: str) -> None:
    files, several = pictures(kind, b"\x89PNG", 4)
    assert [(one.data, one.name) for one in files] == [(b"\x89PNG", "")]
    assert not several


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=4))
def test_files_come_back_in_order_as_they_were(datas: list[bytes]) -> None:
    if any(b"\r\n--B" in data for data in datas):
        return
    files, several = pictures(FORM, form(*((str(at), data) for at, data in enumerate(datas))), 4)
    assert [one.data for one in files] == datas
    assert [one.name for one in files] == [str(at) for at in range(len(datas))]
    assert several == (len(datas) > 1)


@given(st.binary(max_size=300))
def test_any_bytes_are_files_or_one_of_our_errors(body: bytes) -> None:
    for whole in (body, b"--B" + body, b"--B\r\n" + body + b"\r\n--B--\r\n"):
        code: Code | None = None
        try:
            pictures(FORM, whole, 4)
        except HeliographError as error:
            code = error.code
        assert code in {None, Code.MULTIPART_MALFORMED, Code.TOO_MANY_PARTS, Code.EMPTY_FILE}


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("a.png", "a.png"),
        ("\u96ea\U0001f600.jpg", "\u96ea\U0001f600.jpg"),
        ("a\tb", "a\ufffdb"),
        ("x" * 999, "x" * 200),
    ],
)
def test_names_are_text(name: str, kept: str) -> None:
    assert pictures(FORM, form((name, b"x")), 4)[0][0].name == kept


def test_a_name_that_is_no_utf8() -> None:
    body = form(("a", b"x")).replace(b'"a"', b'"\xff\xfe"')
    assert pictures(FORM, body, 4)[0][0].name == "\ufffd\ufffd"


def test_a_part_is_a_file_by_its_name_or_its_type() -> None:
    text = b'--B\r\nContent-Disposition: form-data; name="note"\r\n\r\nhello\r\n'
    typed = b"--B\r\nContent-Type: image/png\r\n\r\nx\r\n"
    files, several = pictures(FORM, text + typed + b"--B--", 4)
    assert [one.data for one in files] == [b"x"]
    assert not several
    assert code_of(FORM, text + b"--B--") is Code.EMPTY_FILE


def test_parts_are_counted() -> None:
    assert code_of(FORM, form(*[("a", b"x")] * 5)) is Code.TOO_MANY_PARTS


def test_text_parts_are_short() -> None:
    long = b"--B\r\nContent-Disposition: form-data; name=x\r\n\r\n" + b"x" * 70_000 + b"\r\n--B--"
    assert code_of(FORM, long) is Code.TOO_LARGE


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--B",
        b"--B\r\n",
        form(("a", b"x"))[:-4],
        b"x" * 99 + form(("a", b"x")),
        form(("a", b"x")) + b"x" * 2000,
        b"--B\r\nbroken\r\n\r\nx\r\n--B--",
        b"--B\r\n" + b"A: b\r\n" * 17 + b"\r\nx\r\n--B--",
    ],
)
def test_forms_that_are_none(body: bytes) -> None:
    assert code_of(FORM, body) is Code.MULTIPART_MALFORMED


def test_nothing_takes_long() -> None:
    megabytes = 10_000_000
    for flood in (b"\r", b"\r\n", b"\r\n--", b"\r\n--A", b"--B", b"\r\n--Bx"):
        began = time.process_time()
        with contextlib.suppress(HeliographError):
            pictures(FORM, form(("a", flood * (megabytes // len(flood)))), 4)
        assert time.process_time() - began < 2


def test_a_picture_in_json() -> None:
    said = base64.b64encode(b"\x89PNG")
    for text in (said, b"data:image/png;base64," + said, said.replace(b"/", b"\\/")):
        (file,), several = pictures("application/json", b'{"image":"%b"}' % text, 4)
        assert file.data == b"\x89PNG"
        assert not several


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"image":"a"}', Code.BAD_REQUEST),
        (b'{"image":"\xc3\xa9"}', Code.BAD_REQUEST),
        (b'{"image":7}', Code.VALIDATION),
        (b"7", Code.VALIDATION),
        (b'{"image":"QQ==","x":1}', Code.UNKNOWN_FIELD),
        (b'{"url":7}', Code.VALIDATION),
        (b'{"url":"http://x/","image":"QQ=="}', Code.VALIDATION),
        (b"{", Code.MALFORMED_JSON),
    ],
)
def test_json_that_is_no_picture(body: bytes, code: Code) -> None:
    assert code_of("application/json; charset=utf-8", body) is code


@pytest.mark.parametrize(
    "kind", ["text/html", "multipart/mixed; boundary=B", "application/x-pickle", "\u00ff"]
)
def test_other_types(kind: str) -> None:
    assert code_of(kind, b"x") is Code.UNSUPPORTED_MEDIA
