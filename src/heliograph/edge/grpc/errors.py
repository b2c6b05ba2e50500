"""Errors over gRPC: a status from the one table, its detail, and trailing metadata.

Trailers: `code` (from the closed list, the one programs should look at), `x-request-id`, and for an
error that passes `retry-after` in seconds with gRPC's own `grpc-retry-pushback-ms`.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, NamedTuple

from heliograph.core.errors import Code, HeliographError
from heliograph.core.ids import new_id

if TYPE_CHECKING:
    import grpc

log = logging.getLogger("heliograph.edge")


class Refusal(NamedTuple):
    """What a client is told."""

    status: grpc.StatusCode
    detail: str
    trailers: tuple[tuple[str, str], ...]


def understand(error: Exception) -> HeliographError:
    """The error of the table that an exception stands for; a stranger is a bug of ours."""
    if isinstance(error, HeliographError):
        return error
    own = HeliographError(
        Code.INTERNAL, "An error of ours; it is in the log under this request id."
    )
    own.__cause__ = error
    return own


def refuse(error: HeliographError) -> Refusal:
    """Status, detail and trailers of an error; faults of ours are logged with a trace."""
    import grpc  # not before HTTP answers: it takes a tenth of a second

    request = new_id("req")
    if error.row.page:
        log.error("%s %s: %s", request, error.code, error.detail, exc_info=error)
    trailers = [("code", str(error.code)), ("x-request-id", request)]
    if error.retry_after is not None:
        trailers.append(("retry-after", str(math.ceil(error.retry_after))))
        trailers.append(("grpc-retry-pushback-ms", str(round(error.retry_after * 1000))))
    return Refusal(grpc.StatusCode[error.row.grpc], error.detail, tuple(trailers))
