from __future__ import annotations

import pytest

from heliograph.core.errors import Code, HeliographError
from heliograph.edge.http.limits import RequestHead, WireLimits, check_head

LIMITS = WireLimits(head_bytes=200, body_bytes=1000)
HOST = (b"host", b"localhost")
GOOD = RequestHead(b"POST", b"/a", "1.1", [HOST], upgrade=False, size=20)


def with_headers(*headers: tuple[bytes, bytes]) -> RequestHead:
    return GOOD._replace(headers=[HOST, *headers])


def test_a_good_head_says_whether_its_body_has_a_length() -> None:
    assert not check_head(GOOD, LIMITS)
    assert not check_head(with_headers((b"transfer-encoding", b"Chunked")), LIMITS)
    assert check_head(with_headers((b"content-length", b"1000")), LIMITS)
    assert not check_head(with_headers((b"upgrade", b"h2c")), LIMITS), "asked for by nobody"


@pytest.mark.parametrize(
    ("head", "code"),
    [
        (GOOD._replace(size=201), Code.HEADERS_TOO_LARGE),
        (GOOD._replace(method=b"CONNECT", target=b"a:1"), Code.METHOD_NOT_ALLOWED),
        (GOOD._replace(target=b"http://localhost/a"), Code.BAD_REQUEST),
        (GOOD._replace(target=b"*"), Code.BAD_REQUEST),
        (GOOD._replace(headers=[]), Code.BAD_HOST),
        (with_headers(HOST), Code.BAD_HOST),
        (with_headers((b"authorization", b"a"), (b"authorization", b"a")), Code.BAD_HEADER),
        (with_headers((b"content-type", b"a"), (b"content-type", b"b")), Code.BAD_HEADER),
        (with_headers((b"transfer-encoding", b"gzip, chunked")), Code.BAD_HEADER),
        (with_headers((b"transfer-encoding", b"chunked"))._replace(version="1.0"), Code.BAD_HEADER),
        (with_headers((b"upgrade", b"websocket"))._replace(upgrade=True), Code.BAD_REQUEST),
        (with_headers((b"content-length", b"1001")), Code.TOO_LARGE),
    ],
)
def test_heads_that_are_refused(head: RequestHead, code: Code) -> None:
    with pytest.raises(HeliographError) as refused:
        check_head(head, LIMITS)
    assert refused.value.code is code
