"""What is served: `GET /api/v1/models` and `GET /api/v1/models/{name}`."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from heliograph.core.errors import Code, HeliographError
from heliograph.edge.http.predict import Handler
from heliograph.edge.http.query import credentials, no_query
from heliograph.edge.http.services import Services
from heliograph.registry.catalog import Shelf
from heliograph.serving.values import Model


def index(services: Services) -> Handler:
    """`GET /api/v1/models`: name, task, state of each."""

    async def models(request: Request) -> Response:
        services.gate.check(credentials(request))
        no_query(request)
        return _json({"models": [summary(shelf) for shelf in services.catalog.shelves]})

    return models


def card(services: Services) -> Handler:
    """`GET /api/v1/models/{name}`: a model's card."""

    async def model(request: Request) -> Response:
        services.gate.check(credentials(request))
        no_query(request)
        for shelf in services.catalog.shelves:
            if shelf.package.name == request.path_params["name"]:
                return _json(describe(shelf))
        raise HeliographError(
            Code.NOT_FOUND, "There is no such model. GET /api/v1/models lists what is served."
        )

    return model


def summary(shelf: Shelf[Model]) -> dict[str, Any]:
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
    }


def describe(shelf: Shelf[Model]) -> dict[str, Any]:
    """A model's card: everything one should know before relying on it."""
    package = shelf.package
    model = shelf.model
    return summary(shelf) | {
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
