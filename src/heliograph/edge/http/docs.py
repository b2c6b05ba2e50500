"""What a browser sees: the front page, the API's pages, and the files they are made with."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from heliograph.core.errors import Code, HeliographError
from heliograph.edge.http import openapi, pages
from heliograph.edge.http import reference as reference_page
from heliograph.edge.http.predict import Handler
from heliograph.edge.services import Services

_WEB = Path(__file__).parent / "web"
# Not from `mimetypes`: what it answers depends on the machine, and browsers refuse a wrong one.
_KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_ASSETS = {one.name: one for one in _WEB.iterdir() if one.suffix in _KINDS}


def document(services: Services) -> Handler:
    """`GET /openapi.json`."""

    async def answer(request: Request) -> Response:
        return _file(request, msgspec.json.encode(_document(services)), "application/json")

    return answer


def reference(services: Services) -> Handler:
    """`GET /docs`: the OpenAPI document as a page that needs nothing from outside."""

    async def answer(request: Request) -> Response:
        return _page(request, reference_page.render(_document(services)))

    return answer


async def errors(request: Request) -> Response:
    """`GET /docs/errors`: every error code."""
    return _page(request, pages.errors())


async def home(request: Request) -> Response:
    """`GET /`: the front page: drop a photo, see the answer.

    A program, which asks for no page by name as browsers do, gets KServe's sign of life instead.
    """
    if "text/html" not in request.headers.get("accept", "text/html"):
        return Response(b'{"status":"alive"}', media_type="application/json")
    return _page(request, (_WEB / "home.html").read_text("utf-8"))


async def asset(request: Request) -> Response:
    """`GET /assets/{name}`: one of our style sheets, scripts and pictures; a closed list."""
    path = _ASSETS.get(request.path_params["name"])
    if path is None:
        raise HeliographError(Code.NOT_FOUND, "There is no such file here. /docs lists everything.")
    return _file(request, path.read_bytes(), _KINDS[path.suffix])


def _document(services: Services) -> dict[str, Any]:
    if not services.openapi:
        services.openapi.update(openapi.describe(services.doors))
    return services.openapi


def _page(request: Request, html: str) -> Response:
    return _file(request, html.encode(), "text/html")


def _file(request: Request, body: bytes, media_type: str) -> Response:
    """A file that browsers keep but ask about: 304 while it is the same."""
    tag = f'"{hashlib.sha256(body).hexdigest()[:24]}"'
    headers = pages.HEADERS | {"etag": tag, "cache-control": "no-cache"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type=media_type)
