"""What operations answer, as OpenAPI says it: headers, bodies, refusals by status."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from heliograph.core.errors import TABLE, Code
from heliograph.edge.http import schemas
from heliograph.edge.http.errors import MEDIA_TYPE
from heliograph.edge.http.examples import EXAMPLES

HEADERS: dict[str, Any] = {
    "Server-Timing": {
        "description": "Milliseconds of each step, as browsers and tracing tools read them; not on "
        "answers to several files, each of which has its own `timings_ms`.",
        "schema": {"type": "string"},
        "example": "queue;dur=0.090, decode;dur=1.940, run;dur=21.400, total;dur=23.760",
    },
    "X-Request-Id": {
        "description": "The call's id; quote it when asking for help. Not on answers to several "
        "files, each of which has its own `id`.",
        "schema": {"type": "string", "pattern": "^(pred|req)_[0-9a-f]{32}$"},
        "example": "pred_01a1ff21627d479a0ab30d93397adbc3",
    },
    "X-Model": {
        "description": "Which model answered, where the body is a picture: `name@version`.",
        "schema": {"type": "string"},
        "example": "ssd-mobilenet-v2-coco@1",
    },
    "ETag": {
        "description": "Names exactly this release; send it back as If-Match with a change.",
        "schema": {"type": "string"},
        "example": '"9f86d081884c7d65"',
    },
    "Retry-After": {
        "description": "Seconds after which the same call may succeed.",
        "schema": {"type": "integer", "minimum": 0},
        "example": 1,
    },
    "WWW-Authenticate": {
        "description": "How to send a key.",
        "schema": {"type": "string"},
        "example": 'Bearer realm="heliograph"',
    },
}


def in_json(schema: str, example: Any) -> dict[str, Any]:
    """A body in JSON."""
    return {"application/json": {"schema": ref(schema), "example": example}}


def ref(name: str) -> dict[str, str]:
    """A reference to a schema of the document."""
    return {"$ref": schemas.REF.format(name=name)}


def ok(content: dict[str, Any], headers: Iterable[str] = ()) -> dict[str, Any]:
    """The answer of a call that went well."""
    said: dict[str, Any] = {"description": "The answer.", "content": content}
    return said | ({"headers": _headers(headers)} if headers else {})


def _headers(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def problems(codes: Iterable[Code]) -> dict[str, Any]:
    """The refusals, by status; each status names its codes."""
    by_status: dict[int, list[Code]] = {}
    for code in sorted(codes):
        by_status.setdefault(TABLE[code].status, []).append(code)
    return {str(status): _problem(status, by_status[status]) for status in sorted(by_status)}


def _problem(status: int, codes: list[Code]) -> dict[str, Any]:
    headers = ["X-Request-Id"]
    if status == 401:
        headers.append("WWW-Authenticate")
    if status in {429, 503}:
        headers.append("Retry-After")
    return {
        "description": ", ".join(f"`{code}`" for code in codes),
        "headers": _headers(headers),
        "content": {MEDIA_TYPE: {"schema": ref("Problem"), "example": _refusal(codes[0])}},
    }


def _refusal(code: Code) -> dict[str, Any]:
    row = TABLE[code]
    return EXAMPLES["Problem"] | {
        "type": f"/docs/errors#{code}",
        "title": row.title,
        "status": row.status,
        "code": str(code),
        "detail": f"{row.title}.",
    }
