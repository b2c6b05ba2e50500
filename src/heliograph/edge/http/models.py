"""What is served: `GET /api/v1/models` and `GET /api/v1/models/{name}`."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from heliograph.core.errors import Code, HeliographError
from heliograph.core.permissions import Permission
from heliograph.edge.http.predict import Handler
from heliograph.edge.http.query import credentials, no_query, read_query
from heliograph.edge.services import Services
from heliograph.registry.catalog import Catalog, Product, Shelf
from heliograph.serving.values import Model


def index(services: Services) -> Handler:
    """`GET /api/v1/models`: name, task and versions of each."""

    async def models(request: Request) -> Response:
        services.gate.check(credentials(request), Permission.MODELS_READ)
        no_query(request)
        catalog = services.catalog
        answering = [(one, one.answering()) for one in catalog.products.values()]
        return _json({"models": [_line(catalog, one, shelf) for one, shelf in answering if shelf]})

    return models


def card(services: Services) -> Handler:
    """`GET /api/v1/models/{name}`: the card of the version that answers, or of `?version=`."""

    async def model(request: Request) -> Response:
        services.gate.check(credentials(request), Permission.MODELS_READ)
        query = read_query(request)
        version = query.pop("version", "")
        for name in query:
            raise HeliographError(
                Code.UNKNOWN_FIELD, f"This address takes version only; {name[:60]!r} came."
            )
        product = services.catalog.product(request.path_params["name"])
        shelf = product.pick(version) if version else product.answering()
        if shelf is None:
            raise HeliographError(
                Code.NOT_FOUND,
                f"{product.name} has no version {version[:60]!r}; it has "
                f"{', '.join(product.versions)}.",
            )
        return _json(describe(services.catalog, product, shelf))

    return model


def _line(catalog: Catalog[Model], product: Product[Model], shelf: Shelf[Model]) -> dict[str, Any]:
    """A model in a line."""
    package = shelf.package
    return {
        "name": package.name,
        "version": str(package.version),
        "title": package.title,
        "task": package.task,
        "default": package.default,
        "state": shelf.state,
        "licence": package.licence,
        "versions": versions_of(catalog, product),
    }


def versions_of(catalog: Catalog[Model], product: Product[Model]) -> list[dict[str, Any]]:
    """Every version of a model: where it is, and which calls it gets."""
    release, shares = product.release, product.shares()
    shadow = release.resolve(release.shadow.version) if release.shadow else ""
    broken = {
        version: reason
        for version, reason in catalog.problems(product.name).items()
        if version.isdigit() and version not in product.shelves
    }
    unread = {"state": "failed", "digest": "", "memory": 0, "share": 0.0, "aliases": []}
    return [
        {
            "version": version,
            "state": shelf.state,
            "reason": shelf.reason,
            "digest": shelf.package.digest,
            "memory": shelf.model.lane.resident.memory,
            "share": shares.get(version, 0.0) if release.serves(version) else 0.0,
            "aliases": sorted(name for name, to in release.aliases.items() if to == version),
            "shadow": version == shadow,
        }
        for version, shelf in product.shelves.items()
    ] + [
        {"version": version, "reason": reason, "shadow": False} | unread
        for version, reason in broken.items()
    ]


def describe(
    catalog: Catalog[Model], product: Product[Model], shelf: Shelf[Model]
) -> dict[str, Any]:
    """A model's card: everything one should know before relying on it."""
    package = shelf.package
    model = shelf.model
    return _line(catalog, product, shelf) | {
        "reason": shelf.reason,
        "description": package.description,
        "provenance": package.provenance,
        "digest": package.digest,
        "metrics": msgspec.to_builtins(package.metrics),
        "input": msgspec.to_builtins(package.input),
        "output": msgspec.to_builtins(package.output),
        "labels": list(model.labels),
        "plan": _plan(model),
    }


def _plan(model: Model) -> dict[str, Any]:
    plan = model.lane.plan
    return {
        "engine": plan.engine,
        "threads": plan.threads,
        "instances": plan.instances,
        "max_batch": plan.max_batch,
        "max_wait_ms": plan.max_wait_ms,
        "reason": plan.reason,
    }


def _json(body: Any) -> Response:
    return Response(msgspec.json.encode(body), media_type="application/json")
