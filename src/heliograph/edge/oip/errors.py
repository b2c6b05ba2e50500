"""Errors as the protocol's clients know them: one text, and a status of few.

HTTP: `{"error": text}` with content type exactly `application/json` (one client looks at nothing
else), gRPC: the status and the text. Which error it was stands in the header `x-error-code`, in
gRPC in the trailer `code`.
"""

from __future__ import annotations

import math

import msgspec
from starlette.responses import Response

from heliograph.core.errors import Code, HeliographError
from heliograph.core.ids import new_id
from heliograph.edge.grpc.errors import Refusal, log, refuse

CODINGS = "gzip, deflate"
_STATUS = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "NOT_FOUND": 404,
    "UNIMPLEMENTED": 501,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
}
# Where the row of the table says more than the protocol does, its own status stays: 401, 403, 408,
# 413, 415, 429, 504.
_OWN = {Code.METHOD_NOT_ALLOWED: 405, Code.UNSUPPORTED_ENCODING: 501, Code.UNSUPPORTED_MEDIA: 415}


def status_of(error: HeliographError) -> int:
    """The HTTP status of an error in this protocol."""
    own = _OWN.get(error.code)
    return own or _STATUS.get(error.row.grpc, error.row.status)


def respond(error: HeliographError) -> Response:
    """An error as this protocol tells it over HTTP; faults of ours are logged with a trace."""
    request = new_id("req")
    if error.row.page:
        log.error("%s %s: %s", request, error.code, error.detail, exc_info=error)
    body = msgspec.json.encode({"error": error.detail})
    reply = Response(body, status_of(error))
    reply.raw_headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"x-error-code", error.code.encode()),
        (b"x-request-id", request.encode()),
        (b"cache-control", b"no-store"),
    ]
    if error.retry_after is not None:
        reply.raw_headers.append((b"retry-after", str(math.ceil(error.retry_after)).encode()))
    if error.code is Code.UNAUTHENTICATED:
        reply.raw_headers.append((b"www-authenticate", b'Bearer realm="heliograph"'))
    if error.code is Code.UNSUPPORTED_ENCODING:
        reply.raw_headers.append((b"accept-encoding", CODINGS.encode()))
    return reply


def render(error: HeliographError) -> Refusal:
    """An error as this protocol tells it over gRPC."""
    import grpc

    told = refuse(error)
    if error.code is Code.CONFLICT:
        return told._replace(status=grpc.StatusCode.ALREADY_EXISTS)
    return told


def unknown(error: HeliographError, name: str, version: str) -> HeliographError:
    """The error of a model that is not there or not ready, in the words that clients look for."""
    which = f"'{name[:80]}'" + (f" version {version[:40]}" if version else "")
    if error.code is Code.NOT_FOUND:
        return HeliographError(error.code, f"Request for unknown model: {which} is not found")
    if error.code is Code.MODEL_UNAVAILABLE:
        state = "is not at ready state" if version else "has no available versions"
        return HeliographError(
            error.code,
            f"Request for unknown model: {which} {state}. {error.detail}",
            retry_after=error.retry_after,
        )
    return error
