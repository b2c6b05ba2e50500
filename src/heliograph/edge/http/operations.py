"""Doors as OpenAPI says them: the same values that make the routes make their reference."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from heliograph.core.errors import Code
from heliograph.edge.http import responses, schemas
from heliograph.edge.http.booking import PERSONAL
from heliograph.edge.http.doors import Door

_ABOUT = {
    "abuse": "Reports of misuse, what was decided about them, and appeals.",
    "audit": "What happened, and the proof of it.",
    "identity": "Who a person is, as far as somebody has checked it.",
    "invoices": "What a month cost, line by line.",
    "keys": "What a program shows to be let in.",
    "people": "Registering, signing in, and what is a person's own.",
    "prices": "What things cost, from when on.",
    "privacy": "Consent, taking one's data away, and having it erased.",
    "quotas": "How much a workspace may use in a stretch of time.",
    "usage": "What was used, by hour, model or key.",
    "webhooks": "What the server tells your programs by itself.",
    "workspaces": "What is billed, limited and suspended; and who belongs to it.",
}
_PARAMETER = re.compile(r"{(\w+)}")
_STRINGS = {"type": "string", "pattern": r"^[^/]{1,200}$"}
_BODY = {
    *(Code.MALFORMED_JSON, Code.JSON_BAD_NUMBER, Code.JSON_DUPLICATE_KEY, Code.JSON_TOO_DEEP),
    *(Code.VALIDATION, Code.UNKNOWN_FIELD, Code.UNSUPPORTED_MEDIA, Code.TOO_LARGE),
}
_QUERY = {Code.UNKNOWN_FILTER, Code.KEY_IN_URL}
_STORED = {Code.DB_UNAVAILABLE, Code.STORAGE_FULL}
_GUARDED = {
    *(Code.UNAUTHENTICATED, Code.FORBIDDEN, Code.SUSPENDED, Code.CSRF, Code.NOT_FOUND),
}
_TWICE = {Code.IDEMPOTENCY_IN_PROGRESS, Code.IDEMPOTENCY_MISMATCH}
_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "At most 255 characters of your choice: the same request sent again with the "
    "same key is done once, and answered the same.",
    "schema": {"type": "string", "maxLength": 255},
}
_MEDIA = {"csv": "text/csv", "pdf": "application/pdf"}
_WORKSPACE = {
    "name": "Heliograph-Workspace",
    "in": "header",
    "required": False,
    "description": "Which workspace is meant, by people who belong to several and by the operator.",
    "schema": {"type": "string"},
}


def paths(doors: Iterable[Door], always: set[Code]) -> dict[str, Any]:
    """The operations of these doors; `always` is what any address may answer."""
    found: dict[str, Any] = {}
    for door in doors:
        found.setdefault(door.path, {})[door.method.lower()] = _operation(door, always)
    return found


def shapes(doors: Iterable[Door]) -> dict[str, Any]:
    """The schemas that these doors name."""
    kinds: dict[str, type[msgspec.Struct]] = {}
    for door in doors:
        for kind in (door.takes, door.gives):
            if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
                kinds[kind.__name__] = kind
    _, made = msgspec.json.schema_components(list(kinds.values()), ref_template=schemas.REF)
    for name, kind in kinds.items():
        schemas.explain(made[name], kind)
    return made


def tags(doors: Iterable[Door]) -> list[dict[str, str]]:
    """The chapters of these doors, in the order of the alphabet."""
    names = sorted({door.tag or "other" for door in doors})
    return [{"name": name, "description": _ABOUT.get(name, "")} for name in names]


def _operation(door: Door, always: set[Code]) -> dict[str, Any]:
    said: dict[str, Any] = {
        "tags": [door.tag or "other"],
        "operationId": _name(door),
        "summary": door.summary,
        "parameters": [*_parameters(door)],
        "responses": {str(door.status): _good(door)}
        | responses.problems(_codes(door) | set(door.codes) | always),
        "x-permission": str(door.needs) if door.needs else None,
    }
    if door.needs is None:
        said["security"] = []
        del said["x-permission"]
    if door.takes is not None:
        said["requestBody"] = {"required": True, "content": _content(door.takes)}
    return said


def _name(door: Door) -> str:
    """Such as `getKeysByKey`: the method and the address."""
    words = [one for one in re.split(r"[/_.:-]", door.path.removeprefix("/api/v1/")) if one]
    parts = [f"By{one[1:-1].title()}" if one.startswith("{") else one.title() for one in words]
    return door.method.lower() + "".join(parts)


def _codes(door: Door) -> set[Code]:
    codes = _QUERY | _STORED
    if door.needs is not None:
        codes |= _GUARDED
    if door.takes is not None:
        codes |= _BODY
    if door.query is not None:
        codes |= {Code.VALIDATION}
    if _once(door):
        codes |= _TWICE
    return codes


def _parameters(door: Door) -> Iterator[dict[str, Any]]:
    for name in _PARAMETER.findall(door.path):
        yield {"name": name, "in": "path", "required": True, "schema": _STRINGS}
    if door.query is not None:
        for name, schema in schemas.parameters(door.query):
            rest = dict(schema)
            about = {"name": name, "in": "query", "required": False}
            yield about | {"description": rest.pop("description", ""), "schema": rest}
    if door.needs is not None:
        yield _WORKSPACE
    if _once(door):
        yield _KEY


def _once(door: Door) -> bool:
    """Whether it takes an idempotency key."""
    return door.method == "POST" and door.needs is not None and door.needs not in PERSONAL


def _good(door: Door) -> dict[str, Any]:
    if door.gives is None:
        return {"description": "Done."}
    return {"description": "The answer.", "content": _content(door.gives) | _forms(door)}


def _forms(door: Door) -> dict[str, Any]:
    """The further content types of an answer whose query has a `format`."""
    said = dict(schemas.parameters(door.query)) if door.query is not None else {}
    whole = {"schema": {"type": "string", "format": "binary"}}
    named = said.get("format", {}).get("enum", ())
    return {_MEDIA[one]: whole for one in named if one in _MEDIA}


def _content(kind: Any) -> dict[str, Any]:
    if kind is bytes:
        return {"*/*": {"schema": {"type": "string", "format": "binary"}}}
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        (schema,), made = msgspec.json.schema_components([kind], ref_template=schemas.REF)
        example = _example(schema, made)
        return responses.in_json(kind.__name__, example)
    return {"application/json": {"schema": {}, "example": None}}


def _example(schema: Any, made: dict[str, Any]) -> Any:
    """A value that a schema takes, for readers; what has a default is shown with it."""
    if "$ref" in schema:
        return _example(made[schema["$ref"].rpartition("/")[2]], made)
    for word in ("example", "default", "const"):
        if word in schema:
            return schema[word]
    if "enum" in schema:
        return schema["enum"][0]
    either = schema.get("anyOf") or schema.get("oneOf")
    if either:
        return _example(either[0], made)
    if "properties" in schema:
        return {name: _example(one, made) for name, one in schema["properties"].items()}
    if "items" in schema:
        return [_example(schema["items"], made)]
    plain = {"integer": 0, "number": 0, "boolean": False, "string": "…", "object": {}, "array": []}
    return schema.get("minimum", plain.get(schema.get("type", "")))
