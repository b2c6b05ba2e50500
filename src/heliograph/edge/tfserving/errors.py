"""Errors under `/v1`: `{"error": text}`, TensorFlow Serving's HTTP statuses, from the one table."""

from __future__ import annotations

import math

import msgspec
from starlette.responses import Response

from heliograph.core.errors import Code, HeliographError
from heliograph.edge.http.errors import describe

STATUSES = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "UNKNOWN": 500,
    "INTERNAL": 500,
    "DATA_LOSS": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
"""HTTP status by the name of the gRPC status."""
_OWN = {413, 415}


def status_of(error: HeliographError) -> int:
    """The HTTP status of an error.

    What TensorFlow Serving has no limit for keeps its own: too large is 413, since 429 would mean
    "send it again"; a body that is no JSON by its own account is 415.
    """
    return error.row.status if error.row.status in _OWN else STATUSES[error.row.grpc]


def respond(error: HeliographError) -> Response:
    """An error as a response; faults of ours are logged with a trace."""
    told = describe(error)
    reply = write(msgspec.json.encode({"error": told.detail}), status_of(error))
    reply.headers["x-error-code"] = str(error.code)
    reply.headers["x-request-id"] = told.request_id
    if error.retry_after is not None:
        reply.headers["retry-after"] = str(math.ceil(error.retry_after))
    if error.code is Code.UNAUTHENTICATED:
        reply.headers["www-authenticate"] = 'Bearer realm="heliograph"'
    return reply


def understand(error: Exception) -> HeliographError:
    """The error of the table that an exception stands for; a stranger is a bug of ours."""
    if isinstance(error, HeliographError):
        return error
    own = HeliographError(
        Code.INTERNAL, "An error of ours; it is in the log under this request id."
    )
    own.__cause__ = error
    return own


def write(body: bytes, status: int = 200) -> Response:
    """A JSON response; clients compare its content type with exactly `application/json`."""
    reply = Response(body, status)
    reply.raw_headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    return reply
