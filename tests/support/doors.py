"""Every door of a server, as its own OpenAPI names them, with bodies that they take.

    for door in doors(document):
        http.request(door.method, door.at(ids), **door.sent())

What is not in the document (other protocols, pages) stands in `OTHERS`, and gRPC's methods come
from the descriptor sets that the server itself is built from.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from google.protobuf.descriptor_pb2 import FileDescriptorSet

import heliograph.edge

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_PARAMETER = re.compile(r"{(\w+)}")
EDGE = Path(heliograph.edge.__file__).parent
_SETS = ("oip/oip.binpb", "tfserving/tfserving.binpb", "grpc/grpc.binpb")
_PATTERNS = {
    "^usr_[0-9a-f]{32}$": "usr_" + "0" * 32,
    "^[a-z]{2,8}_[0-9a-f]{32}$": "dec_" + "0" * 32,
    "^[0-9]{6}$": "123456",
}
"""A text for each pattern that a required member of a body must match."""


@dataclass(frozen=True, slots=True)
class Door:
    """One operation.

    Attributes:
        method: of HTTP; `path` with `{name}` for its parameters.
        public: needs no key, the document says.
        needs: the permission; empty where the document names none.
        said: the operation, as the document has it.
        schemas: of the document.
    """

    method: str
    path: str
    public: bool
    needs: str
    said: Mapping[str, Any]
    schemas: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def parameters(self) -> list[str]:
        """Names within the path."""
        return _PARAMETER.findall(self.path)

    def query(self) -> list[str]:
        """Names that the query takes."""
        return [one["name"] for one in self.said.get("parameters", ()) if one["in"] == "query"]

    def at(self, ids: Mapping[str, str]) -> str:
        """The address with these parameters."""
        return _PARAMETER.sub(lambda found: ids[found[1]], self.path)

    @property
    def media(self) -> list[str]:
        """Content types of bodies that it takes; empty if it takes none."""
        return list(self.said.get("requestBody", {}).get("content", ()))

    @property
    def takes_json(self) -> bool:
        """Whether its body is a struct in JSON, and nothing else."""
        return self.media == ["application/json"]

    def body(self) -> Any:
        """The least that its schema lets through."""
        schema = self.said["requestBody"]["content"]["application/json"]["schema"]
        return self._least(schema)

    def _least(self, schema: Mapping[str, Any]) -> Any:
        if "$ref" in schema:
            return self._least(self.schemas[schema["$ref"].rpartition("/")[2]])
        if "enum" in schema:
            return schema["enum"][0]
        either = schema.get("anyOf") or schema.get("oneOf")
        if either:
            return self._least(either[0])
        match schema.get("type"):
            case "object":
                required = schema.get("required", ())
                members = schema.get("properties", {})
                return {name: self._least(members[name]) for name in required}
            case "array":
                return [self._least(schema["items"])] * schema.get("minItems", 0)
            case "integer" | "number":
                return schema.get("minimum", 1)
            case "boolean":
                return True
            case _:
                pattern = schema.get("pattern", "")
                return _PATTERNS.get(pattern, "x" * max(1, schema.get("minLength", 1)))


def doors(document: Mapping[str, Any]) -> list[Door]:
    """Every operation of a server's OpenAPI."""
    schemas = document["components"]["schemas"]
    return [
        Door(
            method.upper(),
            path,
            said.get("security") == [],
            said.get("x-permission", ""),
            said,
            schemas,
        )
        for path, operations in document["paths"].items()
        for method, said in operations.items()
        if method.upper() in METHODS
    ]


class Other(NamedTuple):
    """An address that the document leaves out: pages, and protocols with documents of their own."""

    method: str
    path: str
    body: bytes = b""
    public: str = ""
    """Why nobody needs a key; empty where one is needed."""

    @property
    def name(self) -> str:
        """Of the test."""
        return f"{self.method} {self.path}"


_JSON = b"{}"
_INFER = json.dumps({"inputs": []}).encode()
_PAGE = "a page that describes the server, with no data of anybody"
_PROBE = "what orchestrators ask: whether it lives, nothing more"
OTHERS = (
    Other("GET", "/", public=_PAGE),
    Other("GET", "/docs", public=_PAGE),
    Other("GET", "/docs/errors", public=_PAGE),
    Other("GET", "/assets/page.css", public=_PAGE),
    Other("GET", "/openapi.json", public=_PAGE),
    Other("GET", "/v2/health/live", public=_PROBE),
    Other("GET", "/v2/health/ready", public=_PROBE),
    *(
        Other("GET", f"/v2{path}")
        for path in ("", "/models", "/models/stats", "/models/edges", "/models/edges/ready",
                     "/models/edges/config", "/models/edges/stats", "/models/edges/versions/1",
                     "/models/edges/versions/1/ready", "/models/edges/versions/1/config",
                     "/models/edges/versions/1/stats", "/models/edges/trace/setting",
                     "/models/nosuch", "/models/nosuch/config",
                     "/trace/setting", "/logging", "/systemsharedmemory/status",
                     "/systemsharedmemory/region/r/status", "/cudasharedmemory/status",
                     "/cudasharedmemory/region/r/status")
    ),
    *(
        Other("POST", f"/v2{path}", body)
        for path, body in (
            ("/models/edges/infer", _INFER), ("/models/edges/versions/1/infer", _INFER),
            ("/models/nosuch/infer", _INFER), ("/models/edges/generate", _JSON),
            ("/models/edges/generate_stream", _JSON), ("/models/edges/trace/setting", _JSON),
            ("/trace/setting", _JSON),
            ("/logging", _JSON), ("/repository/index", _JSON),
            ("/repository/models/edges/load", _JSON), ("/repository/models/edges/unload", _JSON),
            ("/systemsharedmemory/region/r/register", _JSON),
            ("/systemsharedmemory/region/r/unregister", _JSON),
            ("/systemsharedmemory/unregister", _JSON),
            ("/cudasharedmemory/region/r/register", _JSON),
            ("/cudasharedmemory/region/r/unregister", _JSON),
            ("/cudasharedmemory/unregister", _JSON))
    ),
    Other("GET", "/v1/models"),
    Other("GET", "/v1/models/edges"),
    Other("GET", "/V1/Models/edges"),
    Other("GET", "/v1/models/edges/versions/1"),
    Other("GET", "/v1/models/edges/metadata"),
    Other("GET", "/v1/models/nosuch"),
    *(
        Other("POST", f"/v1/models/{model}:{verb}", b'{"instances":[]}')
        for model in ("edges", "edges/versions/1", "nosuch")
        for verb in ("predict", "classify", "regress", "explain")
    ),
    Other("GET", "/monitoring/prometheus/metrics"),
)  # fmt: skip
"""Every address that is not in the document."""
ROUTES = {
    *("/", "/docs", "/docs/errors", "/assets/{name}", "/openapi.json"),
    *("/v2", "/v2/{rest:path}", "/v1/{rest:path}", "/monitoring/prometheus/metrics"),
}
"""The routes that those addresses are behind."""
PUBLIC_METHODS = {
    "/inference.GRPCInferenceService/ServerLive": _PROBE,
    "/inference.GRPCInferenceService/ServerReady": _PROBE,
    "/grpc.health.v1.Health/Check": _PROBE,
    "/grpc.health.v1.Health/List": _PROBE,
    "/grpc.health.v1.Health/Watch": _PROBE,
}
"""The methods of gRPC that need no key, and why."""
UNSERVED = "tensorflow.serving.SessionService"
"""A service that the descriptor set may name and nobody serves."""


class Method(NamedTuple):
    """A method of gRPC; `streams` of questions, answers."""

    name: str
    streams: tuple[bool, bool]


def methods() -> Iterator[Method]:
    """Every method of every service that the server's descriptor sets declare."""
    for name in _SETS:
        found = FileDescriptorSet()
        found.ParseFromString((EDGE / name).read_bytes())
        for file in found.file:
            for service in file.service:
                for one in service.method:
                    yield Method(
                        f"/{file.package}.{service.name}/{one.name}",
                        (one.client_streaming, one.server_streaming),
                    )
