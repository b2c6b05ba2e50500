"""Errors on the wire: one shape (RFC 9457 problem JSON) from the one table."""

from __future__ import annotations

import logging
import math

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response

from heliograph.core.errors import Code, HeliographError
from heliograph.core.ids import new_id

log = logging.getLogger("heliograph.edge")
MEDIA_TYPE = "application/problem+json"


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An error as a client sees it (RFC 9457).

    Attributes:
        type: an address that names the code; documentation lies under it.
        title: the code in words.
        status: the HTTP status.
        code: from the closed list; the member programs should look at.
        detail: what was expected, what came, what to do.
        request_id: quote it when asking for help.
        retry_after: seconds after which the call may succeed.
    """

    type: str
    title: str
    status: int
    code: str
    detail: str
    request_id: str
    retry_after: float | None = None


def describe(error: HeliographError) -> Problem:
    """The problem of an error, with a fresh request id; faults of ours are logged with a trace."""
    row = error.row
    made = Problem(
        type=f"/docs/errors#{error.code}",
        title=row.title,
        status=row.status,
        code=str(error.code),
        detail=error.detail,
        request_id=new_id("req"),
        retry_after=error.retry_after,
    )
    if row.page:
        log.error("%s %s: %s", made.request_id, error.code, error.detail, exc_info=error)
    return made


def problem(error: HeliographError) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, headers and body of an error."""
    made = describe(error)
    body = msgspec.json.encode(made)
    headers = [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"x-request-id", made.request_id.encode()),
        (b"cache-control", b"no-store"),
    ]
    if error.retry_after is not None:
        headers.append((b"retry-after", str(math.ceil(error.retry_after)).encode()))
    if error.code is Code.UNAUTHENTICATED:
        headers.append((b"www-authenticate", b'Bearer realm="heliograph"'))
    return made.status, headers, body


def respond(error: HeliographError) -> Response:
    """An error as a Starlette response."""
    status, headers, body = problem(error)
    reply = Response(body, status)
    reply.raw_headers = headers
    return reply


def answer(error: Exception, method: str) -> tuple[Code, Response]:
    """The answer to any exception of a route, and its code."""
    known = _understand(error, method)
    reply = respond(known)
    if isinstance(error, HTTPException):  # which methods an address takes
        reply.headers.update(error.headers or {})
    return known.code, reply


def _understand(error: Exception, method: str) -> HeliographError:
    """The error of the table that an exception stands for; a stranger is a bug of ours."""
    if isinstance(error, HeliographError):
        return error
    if isinstance(error, HTTPException):
        return _of_status(error.status_code, method)
    own = HeliographError(
        Code.INTERNAL, "An error of ours; it is in the log under this request id."
    )
    own.__cause__ = error
    return own


def _of_status(status: int, method: str) -> HeliographError:
    if status == 404:
        return HeliographError(Code.NOT_FOUND, "There is no such address. /docs lists them all.")
    if status == 405:
        return HeliographError(
            Code.METHOD_NOT_ALLOWED, f"This address does not take {method[:16]}."
        )
    return HeliographError(Code.BAD_REQUEST, "The request is not understood.")
