"""What every answer carries for browsers: security headers, and which other pages may read it.

Worked out once at the start. The connection (`wire.py`) puts them before the headers of an answer,
so that none can be without: not of a page, a picture, an error, nor what is refused before the
application is asked.

Covered: no sniffing, no referrer, no use of answers by other sites' documents, https from now on;
CORS by a list of origins, preflights included.
Not covered: what a page may load and who may frame it, which pages say themselves (`pages.py`).
Cookies are never allowed across origins: whoever calls from another site's page sends a key.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from starlette.responses import Response

from heliograph.core.errors import Code, HeliographError
from heliograph.core.exposure import loopback

Header = tuple[bytes, bytes]
_METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE"
_ASKABLE = (
    b"authorization, content-type, heliograph-workspace, idempotency-key, if-match, "
    b"inference-header-content-length, x-sticky-key"
)
_READABLE = (
    b"etag, heliograph-cost, idempotency-replayed, inference-header-content-length, location, "
    b"retry-after, server-timing, x-model, x-request-id"
)
_KEEP_PREFLIGHT = b"600"
_ASKS = b"access-control-request-method"


class Cors:
    """Whose pages may call and read the answers.

    Args:
        origins: such as `https://app.example`; `*` for everybody's.
    """

    def __init__(self, origins: Iterable[str]) -> None:
        named = {one.encode("ascii") for one in origins}
        self.everybody = b"*" in named
        self._answers = {one: _allow(one) for one in named}

    def allow(self, origin: bytes) -> tuple[Header, ...]:
        """What an answer to a page of this origin carries; empty for one that is not let in."""
        return self._answers.get(b"*" if self.everybody else origin, ())


def preflight(method: bytes, headers: Iterable[Header]) -> Response | None:
    """The answer to a browser that asks before it sends; None for any other request."""
    if method != b"OPTIONS" or not any(name == _ASKS for name, _ in headers):
        return None
    reply = Response(status_code=204)
    reply.raw_headers = [
        (b"access-control-allow-methods", _METHODS),
        (b"access-control-allow-headers", _ASKABLE),
        (b"access-control-max-age", _KEEP_PREFLIGHT),
    ]
    return reply


def _allow(origin: bytes) -> tuple[Header, ...]:
    return (
        (b"access-control-allow-origin", origin),
        (b"access-control-expose-headers", _READABLE),
    )


def read_origins(said: str) -> Cors | None:
    """The setting `server.cors`; None where it is empty.

    Raises:
        HeliographError: `validation`, naming what is no origin.
    """
    origins = [one for one in (part.strip() for part in said.split(",")) if one]
    for one in origins:
        parts = urlsplit(one)
        whole = f"{parts.scheme}://{parts.netloc}"
        if one != "*" and (
            parts.scheme not in {"http", "https"}
            or not parts.netloc
            or whole.lower() != one.lower()
        ):
            raise HeliographError(
                Code.VALIDATION,
                f"server.cors: {one[:60]!r} is no origin; write https://app.example, without a "
                "path, or *.",
            )
    return Cors(one.lower() for one in origins) if origins else None


def always(cors: Cors | None = None, *, strict_seconds: int = 0) -> list[Header]:
    """The headers of every answer.

    Args:
        cors: whose pages may read it.
        strict_seconds: for how long browsers shall come over https only; 0 to say nothing of it.
    """
    headers = [
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        # Other origins that may read it do so by CORS, which this does not stand in the way of.
        (b"cross-origin-resource-policy", b"same-origin"),
    ]
    if cors is not None and not cors.everybody:
        headers.append((b"vary", b"origin"))
    if strict_seconds:
        headers.append((b"strict-transport-security", b"max-age=%d" % strict_seconds))
    return headers


def strict_seconds(asked: int, host: str, *, tls: bool) -> int:
    """For how long browsers shall insist on https.

    Only over TLS of our own; and not on loopback, where the name `localhost` is shared with every
    other program of the machine.
    """
    return asked if tls and not loopback(host) else 0


def header(headers: Sequence[Header], name: bytes) -> bytes:
    """The first value of a header; empty where there is none."""
    return next((value for one, value in headers if one == name), b"")
