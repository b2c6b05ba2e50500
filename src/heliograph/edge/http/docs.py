"""The OpenAPI document, its page, the page of errors, and the front page."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from heliograph.core.errors import TABLE
from heliograph.edge.http import pages
from heliograph.edge.http.errors import MEDIA_TYPE, Problem
from heliograph.edge.http.predict import Handler
from heliograph.edge.http.services import Services
from heliograph.vision.tasks import TASKS
from heliograph.vision.tasks.base import Task

_HOME = Path(__file__).parent / "home.html"


def openapi(services: Services) -> Handler:
    """`GET /openapi.json`."""

    async def document(request: Request) -> Response:
        del request
        return Response(msgspec.json.encode(_document(services)), media_type="application/json")

    return document


def page(services: Services) -> Handler:
    """`GET /docs`: the OpenAPI document as a page that needs nothing from outside."""

    async def render(request: Request) -> Response:
        del request
        return pages.reply(pages.reference(_document(services)))

    return render


async def errors(request: Request) -> Response:
    """`GET /docs/errors`: every error code."""
    del request
    return pages.reply(pages.errors())


async def home(request: Request) -> Response:
    """`GET /`: the front page: drop a photo, see the answer."""
    del request
    return FileResponse(_HOME, headers=pages.HEADERS)


def _document(services: Services) -> dict[str, Any]:
    if not services.openapi:
        services.openapi.update(describe())
    return services.openapi


def describe() -> dict[str, Any]:
    """The OpenAPI 3.1 document of this server."""
    kinds = [Problem, *(task.options for task in TASKS.values())]
    _, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    components |= _SCHEMAS
    paths: dict[str, Any] = {
        "/api/v1/models/{name}/predict": {"post": _predict(None)},
        **{f"/api/v1/{task.verb}": {"post": _predict(task)} for task in TASKS.values()},
        "/api/v1/models": {"get": _get("List the models in service", "models", "ModelList")},
        "/api/v1/models/{name}": {
            "get": _get("A model's card", "models", "ModelCard") | {"parameters": [_NAME]}
        },
        "/healthz": {"get": _open("Whether the process answers", "health")},
        "/readyz": {"get": _open("Whether every model is loaded and calls are taken", "health")},
        "/metrics": {
            "get": _get("Prometheus metrics", "health", None, media_type="text/plain")
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Heliograph",
            "version": version("heliograph"),
            "description": "Image models as a service: a picture in, an answer out.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


_NAME = {
    "name": "name",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": "^[a-z0-9][a-z0-9._-]{0,62}$"},
    "example": "ssd-mobilenet-v2-coco",
}
_BOX = {"x": 71.2, "y": 12.5, "width": 190.0, "height": 320.8}
_EXAMPLE = {
    "id": "pred_0199c2f4a1b27f3c9e81d04a5b6c7d8e",
    "model": "ssd-mobilenet-v2-coco",
    "version": "1",
    "task": "detection",
    "image": {"width": 512, "height": 430},
    "predictions": [{"label": "dog", "score": 0.97, "class_id": 18, "box": _BOX}],
    "timings_ms": {"queue": 0.1, "decode": 1.9, "batch": 0.0, "run": 21.4, "finish": 0.6, "total": 24},
}
_NUMBER = {"type": "number"}
_SCHEMAS: dict[str, Any] = {
    "Prediction": {
        "type": "object",
        "required": ["id", "model", "version", "task", "image", "predictions", "timings_ms"],
        "properties": {
            "id": {"type": "string"},
            "model": {"type": "string"},
            "version": {"type": "string"},
            "task": {"enum": sorted(TASKS)},
            "image": {
                "type": "object",
                "description": "Size of the upright picture in pixels.",
                "properties": {"width": {"type": "integer"}, "height": {"type": "integer"}},
            },
            "predictions": {"type": "array", "items": {"$ref": "#/components/schemas/Item"}},
            "timings_ms": {"type": "object", "additionalProperties": _NUMBER},
        },
        "example": _EXAMPLE,
    },
    "Item": {
        "type": "object",
        "description": "One answer, best first; which members it has depends on the task.",
        "properties": {
            "label": {"type": "string"},
            "score": {"type": "number", "minimum": 0, "maximum": 1},
            "class_id": {"type": "integer"},
            "box": {
                "type": "object",
                "description": "In pixels of the upright picture.",
                "properties": {side: _NUMBER for side in ("x", "y", "width", "height")},
            },
            "keypoints": {"type": "array", "items": {"type": "object"}},
            "image": {"type": "string", "contentEncoding": "base64"},
        },
    },
    "PredictionList": {
        "type": "object",
        "description": "One entry for each file, in order: a Prediction, or an error.",
        "properties": {
            "results": {
                "type": "array",
                "items": {
                    "anyOf": [
                        {"$ref": "#/components/schemas/Prediction"},
                        {
                            "type": "object",
                            "properties": {"error": {"$ref": "#/components/schemas/Problem"}},
                        },
                    ]
                },
            }
        },
    },
    "ModelList": {
        "type": "object",
        "properties": {"models": {"type": "array", "items": {"type": "object"}}},
    },
    "ModelCard": {
        "type": "object",
        "required": ["name", "version", "task", "state", "digest"],
        "properties": {one: {"type": "string"} for one in ("name", "version", "task", "state", "digest")},
    },
}


def _parameters(task: Task | None) -> list[dict[str, Any]]:
    common = [
        {
            "name": "version",
            "in": "query",
            "description": "A version of the model; the one in service if left out.",
            "schema": {"type": "string"},
        },
        {
            "name": "format",
            "in": "query",
            "description": "The answer as JSON or as a picture with the answer drawn on it.",
            "schema": {"enum": ["json", "png", "jpeg", "webp"]},
        },
    ]
    kinds = [task] if task else list(TASKS.values())
    options: dict[str, Any] = {}
    for one in kinds:
        _, parts = msgspec.json.schema_components([one.options])
        (schema,) = parts.values()
        wanted = set(schema.get("required", ())) if task else set[str]()
        for name, about in schema["properties"].items():
            options.setdefault(
                name,
                {"name": name, "in": "query", "schema": about, "required": name in wanted},
            )
    return [*common, *options.values()]


def _predict(task: Task | None) -> dict[str, Any]:
    said = f"The default model for {task.name}" if task else "Ask a model about a picture"
    binary = {"schema": {"type": "string", "format": "binary"}}
    return {
        "tags": ["predict"],
        "summary": said,
        "operationId": task.name if task else "predict",
        "parameters": ([] if task else [_NAME]) + _parameters(task),
        "requestBody": {
            "required": True,
            "description": "A JPEG, PNG, WebP, BMP or GIF, recognised by its content.",
            "content": {
                "image/*": binary,
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "properties": {
                            "image": {
                                "type": "array",
                                "items": {"type": "string", "format": "binary"},
                            }
                        },
                    }
                },
                "application/json": {
                    "schema": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["image"],
                        "properties": {"image": {"type": "string", "contentEncoding": "base64"}},
                    }
                },
            },
        },
        "responses": _responses(
            {
                "application/json": {
                    "schema": {
                        "anyOf": [
                            {"$ref": "#/components/schemas/Prediction"},
                            {"$ref": "#/components/schemas/PredictionList"},
                        ]
                    },
                    "example": _EXAMPLE,
                },
                "image/png": binary,
                "image/jpeg": binary,
                "image/webp": binary,
            }
        ),
    }


def _get(
    summary: str, tag: str, schema: str | None, media_type: str = "application/json"
) -> dict[str, Any]:
    said = {"schema": {"$ref": f"#/components/schemas/{schema}"} if schema else {"type": "string"}}
    return {"tags": [tag], "summary": summary, "responses": _responses({media_type: said})}


def _open(summary: str, tag: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"type": "object"}}}
    return {
        "tags": [tag],
        "summary": summary,
        "security": [],
        "responses": _responses(content),
    }


def _responses(content: dict[str, Any]) -> dict[str, Any]:
    problem = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    by_status: dict[int, list[str]] = {}
    for code, row in sorted(TABLE.items()):
        by_status.setdefault(row.status, []).append(f"`{code}`")
    return {"200": {"description": "The answer.", "content": content}} | {
        str(status): {"description": ", ".join(codes), "content": problem}
        for status, codes in sorted(by_status.items())
    }
