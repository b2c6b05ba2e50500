"""The OpenAPI 3.1 document: every address, what it takes, what it answers, how it refuses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import Any

from heliograph.core.errors import Code
from heliograph.edge.http import operations, responses, schemas
from heliograph.edge.http.doors import Door
from heliograph.edge.http.examples import EXAMPLES
from heliograph.edge.http.shapes import ANSWERS
from heliograph.vision.tasks import TASKS
from heliograph.vision.tasks.base import Task

_ANY = {
    *(Code.BAD_HEADER, Code.BAD_HOST, Code.BAD_REQUEST, Code.HEADERS_TOO_LARGE, Code.INTERNAL),
    *(Code.METHOD_NOT_ALLOWED, Code.REQUEST_TIMEOUT, Code.TOO_LARGE, Code.TOO_MANY_CHUNKS),
    Code.TOO_MANY_CONNECTIONS,
}
"""What any address may answer: the connection's own limits."""
_KEYED = _ANY | {Code.UNAUTHENTICATED, Code.FORBIDDEN, Code.KEY_IN_URL, Code.UNKNOWN_FIELD}
_OPERATOR = {
    Code.CONFLICT,
    Code.MODEL_CRASHED_ON_LOAD,
    Code.MODEL_EXTERNAL_DATA,
    Code.MODEL_FORMAT,
    Code.MODEL_INVALID,
    Code.MODEL_OP_FORBIDDEN,
    Code.MODEL_SIGNATURE,
    Code.STORAGE_FULL,
    Code.UNSAFE_FORMAT,
}
"""What a start or a change of the house may meet, never a call."""
_CHANGE = (
    _KEYED
    | _OPERATOR
    | {
        *(Code.NOT_FOUND, Code.MODEL_UNAVAILABLE, Code.MODEL_RESOURCE_LIMIT, Code.VALIDATION),
        *(Code.MALFORMED_JSON, Code.JSON_BAD_NUMBER, Code.JSON_DUPLICATE_KEY, Code.JSON_TOO_DEEP),
    }
)
_PREDICT = set(Code) - _OPERATOR - {Code.METHOD_NOT_ALLOWED}

_ASKED = {
    "classification": "What does the picture show?",
    "detection": "What is in the picture, and where?",
    "edges": "Where are the picture's edges?",
    "embedding": "Where does the picture lie among all pictures?",
    "enhancement": "The same picture, but better",
    "instances": "What is in the picture, and which pixels are each thing's?",
    "keypoints": "Where are the joints of the people?",
    "segmentation": "What is each pixel part of?",
    "pipeline": "What do several models, one after the other, make of the picture?",
    "process": "Resize, crop, rotate, filter: a picture through a pipeline",
    "text": "What is written in the picture, and where?",
}
_ABOUT = {
    "predict": "A picture in, an answer out.",
    "models": "What is in service, and what one should know before relying on it.",
    "releases": "Which version of a model answers: promoting, going back, trying a new one.",
    "health": "For load balancers, orchestrators and monitoring.",
}
_INFO = """\
Image models as a service: a picture in, an answer out.

Send the picture itself as the body, as a file of a form, or as base64 in JSON; get JSON or the \
annotated picture. Boxes and joints are in pixels of the upright picture. Errors are problem JSON \
(RFC 9457) with a `code` from a closed list. Where the server wants a key, send it as \
`Authorization: Bearer KEY`.

Every model answers two more protocols on this port, with clients of their own: the Open Inference \
Protocol under `/v2` (Triton, KServe) and TensorFlow Serving's API under `/v1/models`; both over \
gRPC, too. A model that is no image task is asked there."""
_PICTURES = ("image/png", "image/jpeg", "image/webp")
_EXAMPLE_VALUES: dict[str, Any] = {"ops": "grayscale,resize:320"}


def describe(doors: Sequence[Door] = ()) -> dict[str, Any]:
    """The OpenAPI 3.1 document of this server; `doors` are those of what it remembers."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Heliograph",
            "version": version("heliograph"),
            "summary": "Image models as a service.",
            "description": _INFO,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "This server."}],
        "tags": [
            *({"name": name, "description": about} for name, about in _ABOUT.items()),
            *operations.tags(doors),
        ],
        "security": [{"key": []}],
        "paths": _paths() | operations.paths(doors, _ANY),
        "components": {
            "schemas": schemas.components() | operations.shapes(doors),
            "headers": responses.HEADERS,
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Not needed where the server was started with --open.",
                }
            },
        },
    }


def _paths() -> dict[str, Any]:
    by_task = {f"/api/v1/{task.verb}": {"post": _by_task(task)} for task in TASKS.values()}
    return by_task | {
        "/api/v1/models/{name}/predict": {"parameters": [_NAME], "post": _by_model()},
        "/api/v1/models": {
            "get": _get("models", "listModels", "Which models are in service", "ModelList")
        },
        "/api/v1/models/{name}": {
            "parameters": [_NAME],
            "get": _get("models", "getModel", "A model's card", "ModelCard", {Code.NOT_FOUND})
            | {"parameters": [_VERSION]},
        },
        **_releases(),
        "/healthz": {"get": _open("getHealth", "Whether the process answers", "live", set())},
        "/readyz": {
            "get": _open(
                "getReadiness",
                "Whether every model is loaded and calls are taken",
                "ready",
                {Code.DRAINING, Code.MODEL_UNAVAILABLE},
            )
        },
        "/metrics": {"get": _metrics()},
    }


def _releases() -> dict[str, Any]:
    """The addresses under a model that change which of its versions answers."""
    place = "/api/v1/models/{name}"
    seen = _get(
        "releases", "getRelease", "Which version answers, and why", "ReleaseCard", {Code.NOT_FOUND}
    )
    seen["responses"]["200"]["headers"] = {"ETag": {"$ref": "#/components/headers/ETag"}}
    found: dict[str, Any] = {
        f"{place}/release": {
            "parameters": [_NAME],
            "get": seen,
            "patch": _order("amendRelease", "Change aliases, split, shadow or gates", "Change"),
        }
    }
    for operation, (summary, body) in _ORDERS.items():
        found[f"{place}/{operation}"] = {
            "parameters": [_NAME],
            "post": _order(operation, summary, body),
        }
    return found


_ORDERS = {
    "promote": ("Make a version the stable one; a split ends", "Promotion"),
    "rollback": ("Take a split back, or go back to the stable version before", "Rollback"),
    "load": ("Take a version into service, and keep it in memory", "Place"),
    "unload": ("Take a version, or all, out of service and out of memory", "Place"),
}


def _order(operation: str, summary: str, body: str) -> dict[str, Any]:
    """An operation that changes a release."""
    answer = responses.ok(responses.in_json("ReleaseCard", EXAMPLES["ReleaseCard"]), ["ETag"])
    return {
        "tags": ["releases"],
        "operationId": operation,
        "summary": summary,
        "description": "Answers when it is so: what comes into service is loaded first.",
        "parameters": [_IF_MATCH],
        "requestBody": {
            "required": body in {"Change", "Promotion"},
            "description": "What is wanted; members that are left out stay as they are.",
            "content": responses.in_json(body, EXAMPLES[body]),
        },
        "responses": {"200": answer} | responses.problems(_CHANGE),
    }


_IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "description": "The ETag of the release that was seen: `conflict` if it has changed since.",
    "schema": {"type": "string"},
}
_VERSION = {
    "name": "version",
    "in": "query",
    "required": False,
    "description": "A number or an alias; left out: the version that answers.",
    "schema": {"type": "string"},
}
_NAME = {
    "name": "name",
    "in": "path",
    "required": True,
    "description": "The model's name, from the list of models.",
    "schema": {"type": "string", "pattern": "^[a-z0-9][a-z0-9._-]{0,62}$"},
    "example": "ssd-mobilenet-v2-coco",
}


def _by_task(task: Task) -> dict[str, Any]:
    answer = ANSWERS[task.name].__name__
    options = [
        _query(name, schema, required=name in _required(task)) | _example(name)
        for name, schema in schemas.parameters(task.options)
    ]
    return {
        "tags": ["predict"],
        "operationId": task.verb,
        "x-task": task.name,
        "x-pictured": task.pictured,
        "summary": _ASKED.get(task.name, task.name),
        "description": f"Asks the default model of the task `{task.name}`.",
        "parameters": [*_COMMON, *options],
        "requestBody": _BODY,
        "responses": _answers(answer),
    }


def _required(task: Task) -> tuple[str, ...]:
    fields, defaults = task.options.__struct_fields__, task.options.__struct_defaults__
    return tuple(fields[: len(fields) - len(defaults)])


def _by_model() -> dict[str, Any]:
    return {
        "tags": ["predict"],
        "operationId": "predict",
        "summary": "Ask one model about a picture",
        "description": "The options are those of the model's task; others are refused by name.",
        "parameters": [*_COMMON, *_all_options()],
        "requestBody": _BODY,
        "responses": _answers("Prediction"),
    }


def _all_options() -> list[dict[str, Any]]:
    """The options of every task, each once; where they differ, the words say how."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for task in TASKS.values():
        for name, schema in schemas.parameters(task.options):
            found.setdefault(name, {})[task.name] = schema
    return [_query(name, _merged(by_task)) for name, by_task in found.items()]


def _merged(by_task: dict[str, dict[str, Any]]) -> dict[str, Any]:
    kept, *others = by_task.values()
    said = {name: kept[name] for name in kept if all(kept[name] == one.get(name) for one in others)}
    # Some generated clients send every default; those of another task would be refused.
    said.pop("default", None)
    meanings = (f"For {task}: {schema['description']}" for task, schema in by_task.items())
    return said | {"description": " ".join(meanings)}


def _query(name: str, schema: dict[str, Any], *, required: bool = False) -> dict[str, Any]:
    rest = dict(schema)
    about = {"name": name, "in": "query", "required": required}
    return about | {"description": rest.pop("description", ""), "schema": rest}


def _example(name: str) -> dict[str, Any]:
    return {"example": _EXAMPLE_VALUES[name]} if name in _EXAMPLE_VALUES else {}


_COMMON: list[dict[str, Any]] = [
    _query(
        "version",
        {
            "type": "string",
            "description": "a version of the model or one of its aliases; left out: the stable "
            "one, or by its share while calls are split.",
        },
    ),
    _query(
        "format",
        {
            "enum": ["json", "png", "jpeg", "webp"],
            "description": "the answer as JSON, or as a picture with the answer drawn on it; "
            "the Accept header does the same. Left out: a picture for tasks whose answer is one "
            "(edges, enhancement, process), JSON for the others.",
        },
    ),
    {
        "name": "X-Sticky-Key",
        "in": "header",
        "required": False,
        "description": "While calls are split between versions: the same text, e.g. a user's id, "
        "gets the same version.",
        "schema": {"type": "string"},
    },
]
_BINARY = {"type": "string", "format": "binary"}
_BODY: dict[str, Any] = {
    "required": True,
    "description": "A JPEG, PNG, WebP, BMP or GIF (its first frame), recognised by its content.",
    "content": {
        "image/*": {"schema": _BINARY},
        "application/octet-stream": {"schema": _BINARY},
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "description": "One file or several; several get one answer each, in order.",
                "required": ["image"],
                "properties": {"image": {"type": "array", "minItems": 1, "items": _BINARY}},
            }
        },
        "application/json": {
            "schema": {
                "type": "object",
                "additionalProperties": False,
                "minProperties": 1,
                "maxProperties": 1,
                "properties": {
                    "image": {
                        "type": "string",
                        "contentEncoding": "base64",
                        "description": "the file in base64, with or without a `data:` prefix.",
                    },
                    "url": {
                        "type": "string",
                        "maxLength": 2048,
                        "description": "where the file lies, if the operator lets pictures be "
                        "fetched (`fetch.allow`).",
                    },
                },
            },
            "example": {"image": EXAMPLES["Edges"]["predictions"][0]["image"]},
        },
    },
}


def _answers(answer: str) -> dict[str, Any]:
    one_or_several = [responses.ref(answer), responses.ref("PredictionList")]
    content: dict[str, Any] = {
        "application/json": {
            "schema": {"anyOf": one_or_several},
            "examples": {
                "one": {"summary": "One picture", "value": EXAMPLES[answer]},
                "several": {"summary": "Several files", "value": EXAMPLES["PredictionList"]},
            },
        }
    } | {kind: {"schema": _BINARY} for kind in _PICTURES}
    headers = ("Server-Timing", "X-Request-Id", "X-Model")
    return {"200": responses.ok(content, headers)} | responses.problems(_PREDICT)


def _get(
    tag: str, operation: str, summary: str, schema: str, codes: Iterable[Code] = ()
) -> dict[str, Any]:
    return {
        "tags": [tag],
        "operationId": operation,
        "summary": summary,
        "responses": {"200": responses.ok(responses.in_json(schema, EXAMPLES[schema]))}
        | responses.problems({*_KEYED, *codes}),
    }


def _open(operation: str, summary: str, status: str, codes: set[Code]) -> dict[str, Any]:
    return {
        "tags": ["health"],
        "operationId": operation,
        "summary": summary,
        "security": [],
        "responses": {"200": responses.ok(responses.in_json("Health", {"status": status}))}
        | responses.problems(_ANY | codes),
    }


def _metrics() -> dict[str, Any]:
    text = {"schema": {"type": "string"}, "example": "heliograph_in_flight 0.0\n"}
    return {
        "tags": ["health"],
        "operationId": "getMetrics",
        "summary": "Metrics in Prometheus's text format",
        "responses": {"200": responses.ok({"text/plain": text})}
        | responses.problems(_KEYED - {Code.UNKNOWN_FIELD, Code.KEY_IN_URL}),
    }
