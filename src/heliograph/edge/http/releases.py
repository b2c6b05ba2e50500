"""Managing releases: which version of a model answers, and changing that.

`GET` and `PATCH /api/v1/models/{name}/release`; `POST …/promote`, `/rollback`, `/load`, `/unload`.
Each answers with the release as it then is, and its ETag; a change that brings `If-Match` is
refused if somebody else was quicker. What blocks, loading above all, happens in a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar
from urllib.parse import urlsplit

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from heliograph.core.errors import Code, HeliographError
from heliograph.core.permissions import Permission
from heliograph.edge.http import strictjson
from heliograph.edge.http.models import versions_of
from heliograph.edge.http.predict import Handler
from heliograph.edge.http.query import credentials, no_query
from heliograph.edge.services import Services
from heliograph.registry.catalog import Catalog, Product
from heliograph.registry.releases import Change
from heliograph.serving.values import Model

S = TypeVar("S", bound=msgspec.Struct)
_MOST_BYTES = 64 << 10
_Reason = Annotated[str, msgspec.Meta(max_length=500)]
_Version = Annotated[str, msgspec.Meta(min_length=1, max_length=63)]


class Promotion(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is to become the stable version.

    Attributes:
        version: a number or an alias.
        reason: why, for those who look later.
    """

    version: _Version
    reason: _Reason = ""


class Rollback(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Going back.

    Attributes:
        reason: why, for those who look later.
    """

    reason: _Reason = ""


class Place(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is to be loaded or unloaded.

    Attributes:
        version: a number or an alias; left out: to unload all of them, to load the one that
            answers and take all others back into service.
    """

    version: _Version | msgspec.UnsetType = msgspec.UNSET


def routes(services: Services, model: str) -> list[Route]:
    """The addresses under `model`, the address of a model."""

    def post(verb: str, kind: type[S], change: Act[S]) -> Route:
        return Route(f"{model}/{verb}", _changing(services, kind, change), methods=["POST"])

    read = _reading(services)
    amend = _changing(services, Change, _amend)

    async def release(request: Request) -> Response:
        return await (amend if request.method == "PATCH" else read)(request)

    return [
        Route(f"{model}/release", release, methods=["GET", "PATCH"]),
        post("promote", Promotion, _promote),
        post("rollback", Rollback, _rollback),
        post("load", Place, _load),
        post("unload", Place, _unload),
    ]


@dataclass(frozen=True, slots=True)
class Order(Generic[S]):
    """What an operator asks for: of which model, what, and having seen which release."""

    catalog: Catalog[Model]
    name: str
    asked: S
    match: str


Act = Callable[[Order[S]], object]


def _amend(one: Order[Change]) -> None:
    one.catalog.amend(one.name, one.asked, one.match)


def _promote(one: Order[Promotion]) -> None:
    reason = one.asked.reason or "promoted"
    one.catalog.promote(one.name, one.asked.version, reason, one.match)


def _rollback(one: Order[Rollback]) -> None:
    one.catalog.rollback(one.name, one.asked.reason or "rolled back", one.match)


def _load(one: Order[Place]) -> None:
    one.catalog.load(one.name, one.asked.version or "", one.match)


def _unload(one: Order[Place]) -> None:
    one.catalog.unload(one.name, one.asked.version or "", one.match)


def _reading(services: Services) -> Handler:
    async def read(request: Request) -> Response:
        services.gate.check(credentials(request), Permission.MODELS_READ)
        no_query(request)
        return _reply(services.catalog, request.path_params["name"])

    return read


def _changing(services: Services, kind: type[S], act: Act[S]) -> Handler:
    """One change: may they, what do they want, do it, say how it is then."""

    async def change(request: Request) -> Response:
        services.gate.check(credentials(request), Permission.MODELS_WRITE)
        no_query(request)
        _refuse_other_pages(request)
        catalog, name = services.catalog, request.path_params["name"]
        catalog.product(name)
        asked = read_json(await _body(request), kind)
        await asyncio.to_thread(act, Order(catalog, name, asked, _match(request)))
        return _reply(catalog, name)

    return change


def _reply(catalog: Catalog[Model], name: str) -> Response:
    product = catalog.product(name)
    body = msgspec.json.encode(describe(catalog, product))
    headers = {"etag": f'"{product.release.etag}"', "cache-control": "no-store"}
    return Response(body, media_type="application/json", headers=headers)


def describe(catalog: Catalog[Model], product: Product[Model]) -> dict[str, Any]:
    """A release as it is told."""
    answering = product.answering()
    return {
        "name": product.name,
        "version": answering.version if answering else "",
        **msgspec.to_builtins(product.release),
        "versions": versions_of(catalog, product),
    }


def _match(request: Request) -> str:
    """The ETag that the caller has seen; empty for none.

    Raises:
        HeliographError: `validation` if it is not one of ours.
    """
    said = request.headers.get("if-match", "").strip()
    if said in {"", "*"}:
        return ""
    if len(said) < 3 or said[0] != '"' or said[-1] != '"' or '"' in said[1:-1]:
        raise HeliographError(
            Code.VALIDATION, "If-Match takes the ETag of the release, in its quotes, or *."
        )
    return said[1:-1]


def _refuse_other_pages(request: Request) -> None:
    """Keep foreign web pages from managing a server that asks for no key.

    A browser sends such a call without asking us first, and says where it comes from.
    """
    site = request.headers.get("sec-fetch-site", "")
    origin = request.headers.get("origin", "")
    foreign = site not in {"same-origin", "none"}
    if not site:
        foreign = bool(origin) and urlsplit(origin).netloc != request.headers.get("host", "")
    if foreign:
        raise HeliographError(
            Code.FORBIDDEN, "This call comes from a web page of another server; call it directly."
        )


async def _body(request: Request) -> bytes:
    body = bytearray()
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise HeliographError(Code.REQUEST_TIMEOUT, "The caller has gone.")
        body += message.get("body", b"")
        if len(body) > _MOST_BYTES:
            raise HeliographError(
                Code.TOO_LARGE, f"The body may be {_MOST_BYTES} bytes at this address."
            )
        if not message.get("more_body", False):
            return bytes(body)


def read_json(body: bytes, kind: type[S]) -> S:
    """A JSON body as a struct; an empty one is an object without members.

    Raises:
        HeliographError: `unknown_field`, `validation` or one of the JSON codes.
    """
    known = ", ".join(kind.__struct_fields__)
    try:
        return msgspec.convert(strictjson.parse(body) if body.strip() else {}, kind)
    except msgspec.ValidationError as error:
        said = str(error)
        if "unknown field" in said:
            name = said.split("`")[1]
            raise HeliographError(
                Code.UNKNOWN_FIELD, f"Unknown field {name[:60]!r}; known: {known}."
            ) from error
        # msgspec's messages name the member and the bound of our own declaration: ours to show.
        raise HeliographError(Code.VALIDATION, f"{said[:300]}. Known: {known}.") from error
