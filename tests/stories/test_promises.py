"""What a real server answers is what its OpenAPI document promises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from support.server import Server


@pytest.fixture(scope="module")
def document(server: Server) -> dict[str, Any]:
    return httpx.get(f"{server.address}/openapi.json").json()


PICTURED = {"X-Model"}
SEVERAL = {"X-Model", "Server-Timing", "X-Request-Id"}


def promised(
    document: dict[str, Any],
    path: str,
    verb: str,
    reply: httpx.Response,
    left_out: set[str] = PICTURED,
) -> None:
    """Raise unless status, headers, media type and body are as documented."""
    said = document["paths"][path][verb]["responses"][str(reply.status_code)]
    content = said["content"][reply.headers["content-type"].partition(";")[0]]
    for name in said.get("headers", {}):
        if name not in left_out:
            assert name in reply.headers
    if "json" in reply.headers["content-type"]:
        schema = {**content["schema"], "components": document["components"]}
        Draft202012Validator(schema).validate(reply.json())


@pytest.mark.parametrize("verb", ["detect", "classify", "keypoints", "edges", "process"])
def test_answers(server: Server, photos: Path, document: dict[str, Any], verb: str) -> None:
    path = f"/api/v1/{verb}"
    query = {"format": "json"} | ({"ops": "resize:64"} if verb == "process" else {})
    data = (photos / "pets.jpg").read_bytes()
    asked = httpx.post(server.address + path, params=query, content=data, timeout=30)
    assert asked.status_code == httpx.codes.OK
    promised(document, path, "post", asked)
    drawn = httpx.post(
        server.address + path, params=query | {"format": "webp"}, content=data, timeout=30
    )
    assert "x-model" in drawn.headers
    promised(document, path, "post", drawn, set())


def test_several_files(server: Server, photos: Path, document: dict[str, Any]) -> None:
    files = [
        ("image", ("pets.jpg", (photos / "pets.jpg").read_bytes(), "image/jpeg")),
        ("image", ("broken.jpg", b"\xff\xd8\xff", "image/jpeg")),
    ]
    reply = httpx.post(f"{server.address}/api/v1/detect", files=files, timeout=30)
    assert [one["file"] for one in reply.json()["results"]] == ["pets.jpg", "broken.jpg"]
    promised(document, "/api/v1/detect", "post", reply, SEVERAL)


@pytest.mark.parametrize("name", ["ssd-mobilenet-v2-coco", "process", "no-such-model"])
def test_cards(server: Server, document: dict[str, Any], name: str) -> None:
    reply = httpx.get(f"{server.address}/api/v1/models/{name}")
    promised(document, "/api/v1/models/{name}", "get", reply)


@pytest.mark.parametrize("path", ["/api/v1/models", "/healthz", "/readyz", "/metrics"])
def test_the_rest(server: Server, document: dict[str, Any], path: str) -> None:
    promised(document, path, "get", httpx.get(server.address + path))


@pytest.mark.parametrize(
    ("query", "body", "status"),
    [
        ("", b"no picture", 415),
        ("", b"", 400),
        ("?colour=red", b"x", 422),
        ("?top_k=0", b"x", 422),
        ("?version=9", b"x", 404),
    ],
)
def test_refusals(
    server: Server, document: dict[str, Any], query: str, body: bytes, status: int
) -> None:
    reply = httpx.post(f"{server.address}/api/v1/detect{query}", content=body)
    assert reply.status_code == status
    promised(document, "/api/v1/detect", "post", reply)


def test_without_a_key(keyed_server: Server, document: dict[str, Any]) -> None:
    reply = httpx.get(f"{keyed_server.address}/api/v1/models")
    assert reply.status_code == httpx.codes.UNAUTHORIZED
    promised(document, "/api/v1/models", "get", reply)
