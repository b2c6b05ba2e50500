"""Rows B19-B29, B31, B36, B37 and B62: multipart, JSON, queries and content types.

Not on this surface: B24's storage (a name is only ever given back, as escaped text), B30 (nothing
here has roles, balances or tenants; an unknown field is refused all the same), B32-B34 and B38
(no tensors are taken yet).
"""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest

from heliograph.core.errors import Code
from support import pictures
from support.server import Server
from support.wire import Reply, Wire, ask, cpu_seconds, head, post

GOOD = pictures.file(pictures.scene())
EDGES = "/api/v1/edges?format=json"
FORM = "Content-Type: multipart/form-data; boundary=BOUND"
JSON = "Content-Type: application/json"
END = b"\r\n--BOUND--\r\n"
TWENTY_MB = 20_000_000


def part(body: bytes, name: str | None = "a.png", *lines: bytes) -> bytes:
    """One part of a form; without a name it is text."""
    said = b'Content-Disposition: form-data; name="image"'
    said += b'; filename="%b"' % name.encode() if name is not None else b""
    return b"\r\n".join((b"\r\n--BOUND", said, *lines, b"", body))


def form(*parts: bytes) -> bytes:
    return b"".join(parts)[2:] + END


def refused(server: Server, request: bytes, code: Code) -> Reply:
    """Send it: this code, within two seconds, for less than half a second of work."""
    before = cpu_seconds(server.process.pid)
    reply = ask(server, request)
    assert reply.code == code, reply
    assert reply.seconds < 2
    assert cpu_seconds(server.process.pid) - before < 0.5
    return reply


def test_files_in_a_form(lean: Server) -> None:
    one = ask(lean, post(form(part(GOOD)), EDGES, FORM))
    assert one.json["image"] == {"width": 48, "height": 32}
    three = ask(lean, post(form(part(GOOD), part(b"no", "b"), part(b"", "c")), EDGES, FORM))
    assert three.status == 200
    good, bad, empty = three.json["results"]
    assert good["image"] == {"width": 48, "height": 32}
    assert bad["error"]["code"] == Code.UNSUPPORTED_MEDIA
    assert empty["error"]["code"] == Code.EMPTY_FILE


def test_b19_too_many_parts(lean: Server) -> None:
    refused(lean, post(form(*[part(b"x")] * 1001), EDGES, FORM), Code.TOO_MANY_PARTS)


def test_lines_that_begin_as_the_boundary_does(lean: Server) -> None:
    short = "Content-Type: multipart/form-data; boundary=B"
    body = b"--B\r\n\r\n" + b"\r\n--Bx" * (TWENTY_MB // 6) + b"\r\n--B--"
    refused(lean, post(body, EDGES, short), Code.TOO_MANY_PARTS)


def test_b20_a_long_text_part(lean: Server) -> None:
    text = form(part(GOOD), part(b"x" * TWENTY_MB, None))
    refused(lean, post(text, EDGES, FORM), Code.TOO_LARGE)
    beyond = head("POST", EDGES, FORM, "Content-Length: 100000000")
    refused(lean, beyond + text[: 1 << 20], Code.TOO_LARGE)


@pytest.mark.parametrize(
    "body",
    [
        b"x" * TWENTY_MB + form(part(GOOD)),
        b"\r\n" * (TWENTY_MB // 2) + form(part(GOOD)),
        form(part(GOOD)) + b"x" * TWENTY_MB,
        form(part(GOOD)) + b"\r\n" * (TWENTY_MB // 2),
        form(part(GOOD)) + b"-" * TWENTY_MB,
        b"\r" * TWENTY_MB,
    ],
    ids=["preamble", "empty lines", "epilogue", "lines after", "dashes", "returns"],
)
def test_b21_floods_around_the_parts(lean: Server, body: bytes) -> None:
    refused(lean, post(body, EDGES, FORM), Code.MULTIPART_MALFORMED)


def test_b22_a_part_with_many_or_long_headers(lean: Server) -> None:
    for lines in (
        [b"A: b"] * 10_000,
        [b"A%d: b" % n for n in range(10_000)],
        [b"A: " + b"b" * 9999],
    ):
        refused(lean, post(form(part(GOOD, "a", *lines)), EDGES, FORM), Code.MULTIPART_MALFORMED)


@pytest.mark.parametrize(
    "options",
    [
        "",
        "; boundary=",
        "; boundary=" + "a" * 10000,
        '; boundary="' + '\\"' * 4000 + ";" * 4000,
        "; " + 'x="\\' * 3000,
        ";" * 10000,
        "; boundary=ÿ",
        "; boundary*=utf-8''BOUND",
    ],
)
def test_b23_boundaries(lean: Server, options: str) -> None:
    kind = f"Content-Type: multipart/form-data{options}"
    reply = refused(lean, post(form(part(GOOD)), EDGES, kind), Code.MULTIPART_MALFORMED)
    assert reply.seconds < 0.3


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../x", "../../x"),
        ("/etc/x", "/etc/x"),
        ("a\0b", "a\ufffdb"),
        ("x" * 300, "x" * 200),
        ("\u202egnp.exe", "\ufffdgnp.exe"),
        ("CON", "CON"),
        (".htaccess", ".htaccess"),
        ("<script>", "<script>"),
        ("\u2603", "\u2603"),
    ],
)
def test_b24_file_names_are_only_text(lean: Server, name: str, shown: str) -> None:
    body = form(part(GOOD, name), part(GOOD, "b"))
    reply = ask(lean, post(body, EDGES, FORM))
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.json["results"][0]["file"] == shown


@pytest.mark.parametrize("cut", [3, 8, 12, 60, 100])
def test_b25_a_form_cut_short(lean: Server, cut: int) -> None:
    whole = form(part(GOOD))
    refused(lean, post(whole[: len(whole) - cut], EDGES, FORM), Code.MULTIPART_MALFORMED)


def test_b25_a_length_beyond_the_body(hurried: Server) -> None:
    with Wire(hurried) as wire:
        wire.send(
            head("POST", EDGES, FORM, f"Content-Length: {len(GOOD) + 9000}") + form(part(GOOD))
        )
        assert wire.read().code == Code.REQUEST_TIMEOUT


def test_a_form_without_files(lean: Server) -> None:
    refused(lean, post(form(part(b"text", None)), EDGES, FORM), Code.EMPTY_FILE)
    refused(lean, post(b"--BOUND--\r\n", EDGES, FORM), Code.EMPTY_FILE)
    refused(lean, post(b"--BOUND" * (TWENTY_MB // 7) + END, EDGES, FORM), Code.EMPTY_FILE)


def test_two_files_have_no_one_picture(lean: Server) -> None:
    body = form(part(GOOD), part(GOOD))
    refused(lean, post(body, "/api/v1/edges?format=png", FORM), Code.VALIDATION)


def test_a_picture_in_json(lean: Server) -> None:
    text = base64.b64encode(GOOD).decode()
    for said in (text, f"data:image/png;base64,{text}"):
        reply = ask(lean, post(json.dumps({"image": said}).encode(), EDGES, JSON))
        assert reply.json["image"] == {"width": 48, "height": 32}


@pytest.mark.parametrize(
    "body",
    [b"[" * 101, b"[" * 5000, b"[" * 200_000, b'{"a":' * 200_000, b'{"image":' + b"[" * 100],
    ids=["101", "5000", "200000", "objects", "inside"],
)
def test_b26_deep_json(lean: Server, body: bytes) -> None:
    refused(lean, post(body, EDGES, JSON), Code.JSON_TOO_DEEP)


@pytest.mark.parametrize(
    "number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 5000, "1." + "9" * 5000]
)
def test_b27_numbers_that_are_none(lean: Server, number: str) -> None:
    refused(lean, post(b'{"image": %b}' % number.encode(), EDGES, JSON), Code.JSON_BAD_NUMBER)


@pytest.mark.parametrize(
    "body",
    [b'{"image":"a","image":"b"}', b'{"image":"a","im\\u0061ge":"b"}', b'{"a":{"b":1,"b":1}}'],
)
def test_b28_duplicate_keys(lean: Server, body: bytes) -> None:
    refused(lean, post(body, EDGES, JSON), Code.JSON_DUPLICATE_KEY)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"image": "\xff\xfe"}', Code.MALFORMED_JSON),
        (b'{"image": "\xed\xa0\x80"}', Code.MALFORMED_JSON),
        (b'{"image": "\\ud800"}', Code.MALFORMED_JSON),
        (b'{"image": "\\uDfff\\uD800"}', Code.MALFORMED_JSON),
        (b'\xef\xbb\xbf{"image": "QQ=="}', Code.MALFORMED_JSON),
        ('{"image": "QQ=="}'.encode("utf-16"), Code.MALFORMED_JSON),
        (b'{"image\\u0000": "QQ=="}', Code.UNKNOWN_FIELD),
        (b'{"image": "QQ==\\u0000"}', Code.BAD_REQUEST),
        (b"{'image': 'QQ=='}", Code.MALFORMED_JSON),
        (b'{"image": "QQ==",}', Code.MALFORMED_JSON),
        (b'{"image": "QQ=="} x', Code.MALFORMED_JSON),
        (b"", Code.MALFORMED_JSON),
        (b"null", Code.VALIDATION),
        (b"[]", Code.VALIDATION),
        (b"{}", Code.VALIDATION),
        (b'{"image": 1}', Code.VALIDATION),
        (b'{"image": null}', Code.VALIDATION),
        (b'{"image": ["QQ=="]}', Code.VALIDATION),
    ],
)
def test_b29_text_and_types_in_json(lean: Server, body: bytes, code: Code) -> None:
    refused(lean, post(body, EDGES, JSON), code)


@pytest.mark.parametrize("field", ["role", "balance", "tenant_id", "is_admin", "model", "top_k"])
def test_b30_unknown_fields(lean: Server, field: str) -> None:
    body = json.dumps({"image": base64.b64encode(GOOD).decode(), field: 1}).encode()
    refused(lean, post(body, EDGES, JSON), Code.UNKNOWN_FIELD)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("QQ", Code.BAD_REQUEST),
        ("QQ=", Code.BAD_REQUEST),
        ("Q Q = =", Code.BAD_REQUEST),
        ("Q!Q=", Code.BAD_REQUEST),
        ("QQ==QQ==", Code.BAD_REQUEST),
        ("_-8=", Code.BAD_REQUEST),
        ("data:image/png;base64", Code.EMPTY_FILE),
        ("", Code.EMPTY_FILE),
    ],
)
def test_b31_base64(lean: Server, text: str, code: Code) -> None:
    refused(lean, post(json.dumps({"image": text}).encode(), EDGES, JSON), code)


def test_b31_base64_of_too_much(lean: Server) -> None:
    refused(lean, post(b'{"image": "%b"}' % (b"A" * 28_000_000), EDGES, JSON), Code.TOO_LARGE)
    refused(lean, post(b'{"image": "%b"}' % (b"A" * 60_000_000), EDGES, JSON), Code.TOO_LARGE)


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"[]," * 6000000 + b"[]]",
        b"[" + b"1," * 9000000 + b"1]",
        b"]" * 20000000,
        b'"' + b'\\"' * 10000000,
    ],
    ids=["lists", "numbers", "brackets", "no end"],
)
def test_floods_of_json(lean: Server, body: bytes) -> None:
    code = Code.MALFORMED_JSON if body.startswith(b'"') else Code.TOO_LARGE
    refused(lean, post(body, EDGES, JSON), code)


def test_pictures_by_url_are_not_offered_yet(lean: Server) -> None:
    refused(lean, post(b'{"url": "http://127.0.0.1/"}', EDGES, JSON), Code.UNSUPPORTED)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("method=canny&method=sobel", Code.BAD_REQUEST),
        ("method=canny&%6dethod=sobel", Code.BAD_REQUEST),
        ("method[]=canny", Code.UNKNOWN_FIELD),
        ("method=canny&model=b", Code.UNKNOWN_FIELD),
        ("&".join(f"a{n}=1" for n in range(100)), Code.BAD_REQUEST),
        ("method=%ff", Code.BAD_REQUEST),
        ("method=nosuch", Code.VALIDATION),
        ("low=nan", Code.VALIDATION),
        ("low=1e999", Code.VALIDATION),
        ("low=" + "9" * 5000, Code.VALIDATION),
        ("low=-1", Code.VALIDATION),
        ("low=", Code.VALIDATION),
        ("format=exe", Code.VALIDATION),
        ("version=2", Code.NOT_FOUND),
        ("token=hg_admin_x", Code.KEY_IN_URL),
        ("API_KEY=x", Code.KEY_IN_URL),
        ("%00=1", Code.UNKNOWN_FIELD),
    ],
)
def test_b36_queries(lean: Server, query: str, code: Code) -> None:
    refused(lean, post(GOOD, f"/api/v1/edges?{query}"), code)


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/x-pickle",
        "application/xml",
        "multipart/mixed",
        "text/json",
        "x",
        "application/json5",
        "ÿ/ÿ",
        "message/http",
    ],
)
def test_b37_content_types(lean: Server, kind: str) -> None:
    body = b'{"image": "QQ=="}'
    refused(lean, post(body, EDGES, f"Content-Type: {kind}"), Code.UNSUPPORTED_MEDIA)


@pytest.mark.parametrize("kind", ["image/png", "image/jpeg", "application/octet-stream", ""])
def test_the_content_type_does_not_tell_what_a_picture_is(lean: Server, kind: str) -> None:
    assert ask(lean, post(GOOD, EDGES, f"Content-Type: {kind}")).status == 200


@pytest.mark.parametrize(
    "ops",
    [f"{verb}:{value}" for value in (2**31, -(2**31), 10**9, "nan", "inf", "0x0", "1e999")
     for verb in ("resize", "crop", "blur", "median")]
    + ["crop:0:0:0:0", "crop:99:99:9:9", "resize:1000000x1000000", "resize:12000x12000,blur:250"]
    + ["rotate:nan", "rotate:1e30", "nosuch", "", ",", "png,blur", "blur," * 40, "x" * 5000],
)  # fmt: skip
def test_b62_parameters_of_steps(lean: Server, ops: str) -> None:
    reply = ask(lean, post(GOOD, f"/api/v1/process?ops={quote(ops)}"))
    assert reply.code in {Code.VALIDATION, Code.UNKNOWN_FIELD}, (ops, reply)
    assert reply.seconds < 1
