"""Doors: what goes through is checked before the use case is called, and in this order."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import httpx
import msgspec
import pytest
from starlette.requests import Request
from starlette.routing import Router
from starlette.types import Receive, Scope, Send

from heliograph.accounts.key import KeyGate
from heliograph.core.permissions import Permission
from heliograph.edge.books import NullBooks
from heliograph.edge.http.doors import PUBLIC, Asked, Door, Page, Reply, routes
from heliograph.edge.http.errors import answer

KEY = {"authorization": "Bearer right"}


class Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    name: Annotated[str, msgspec.Meta(max_length=5)]


class App:
    """Doors behind a gate with one key; remembers what reached a use case."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []

        def use(given: Any) -> Any:
            def act(asked: Asked) -> Any:
                self.asked.append(asked)
                return given

            return act

        needs, body = Permission.MODELS_READ, Reply(b"a,b", media="text/csv")
        doors = [
            Door("GET", "/list", needs, use({"list": []}), query=Page),
            Door("POST", "/list", needs, use(Said(name="new")), takes=Said, status=201),
            Door("DELETE", "/list/{id}", needs, use(None)),
            Door("PUT", "/file", needs, use(body), takes=bytes, most=10),
            Door("GET", "/open", PUBLIC, use({})),
        ]
        self._router = Router(routes(KeyGate("right"), NullBooks(), doors), redirect_slashes=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = self
        try:
            await self._router(scope, receive, send)
        except Exception as error:  # noqa: BLE001 - as the server's front
            reply = answer(error, Request(scope).method)[1]
            await reply(scope, receive, send)

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        async def run() -> httpx.Response:
            transport = httpx.ASGITransport(self)
            async with httpx.AsyncClient(transport=transport, base_url="http://house") as client:
                said: dict[str, Any] = {"headers": KEY} | more
                return await client.request(method, path, **said)

        return asyncio.run(run())

    def code(self, method: str, path: str, **more: Any) -> tuple[int, str]:
        reply = self.ask(method, path, **more)
        assert not self.asked, "refused, and done all the same"
        return reply.status_code, reply.json()["code"]


def test_a_door_hands_over_what_came() -> None:
    app = App()
    reply = app.ask("GET", "/list?limit=7&after=x")
    assert (reply.status_code, reply.json()) == (200, {"list": []})
    assert app.asked[0].query == Page(after="x", limit=7)
    assert app.ask("HEAD", "/list").status_code == 200
    made = app.ask("POST", "/list", json={"name": "one"})
    assert (made.status_code, made.json()) == (201, {"name": "new"})
    assert app.asked[-1].body == Said(name="one")
    gone = app.ask("DELETE", "/list/7")
    assert (gone.status_code, gone.content, app.asked[-1].path) == (204, b"", {"id": "7"})
    file = app.ask("PUT", "/file", content=b"x" * 10)
    assert (file.content, file.headers["content-type"]) == (b"a,b", "text/csv; charset=utf-8")
    assert file.headers["cache-control"] == "no-store"
    assert app.ask("GET", "/open", headers={}).status_code == 200
    assert app.asked[-1].caller.name == "nobody"


def test_the_key_is_asked_for_before_anything_is_read() -> None:
    app, nobody = App(), {"headers": {"authorization": "Bearer wrong"}}
    for method, path in (("GET", "/list?nosuch=1"), ("DELETE", "/list/1"), ("PUT", "/file")):
        assert app.code(method, path, **nobody) == (401, "unauthenticated")
    assert app.code("POST", "/list", content=b"{", **nobody) == (401, "unauthenticated")


@pytest.mark.parametrize(
    ("method", "path", "more", "code"),
    [
        ("GET", "/list?nosuch=1", {}, (400, "unknown_filter")),
        ("DELETE", "/list/1?x=1", {}, (400, "unknown_filter")),
        ("GET", "/list?limit=0", {}, (422, "validation")),
        ("GET", "/list?limit=201", {}, (422, "validation")),
        ("GET", "/list?limit=x", {}, (422, "validation")),
        ("GET", "/list?limit=1&limit=2", {}, (400, "bad_request")),
        ("GET", "/list?token=x", {}, (400, "key_in_url")),
        ("POST", "/list", {"json": {"name": "x", "role": "owner"}}, (422, "unknown_field")),
        ("POST", "/list", {"json": {}}, (422, "validation")),
        ("POST", "/list", {"json": {"name": "longer"}}, (422, "validation")),
        ("POST", "/list", {"json": [1]}, (422, "validation")),
        ("POST", "/list", {"data": {"name": "x"}}, (415, "unsupported_media")),
        ("POST", "/list", {"content": b'{"name":"x"}'}, (415, "unsupported_media")),
        ("POST", "/list", {"json": {"name": "x" * 70_000}}, (413, "too_large")),
        ("PUT", "/file", {"content": b"x" * 11}, (413, "too_large")),
        ("PATCH", "/list", {}, (405, "method_not_allowed")),
        ("GET", "/nosuch", {}, (404, "not_found")),
    ],
)
def test_what_does_not_fit_goes_no_further(
    method: str, path: str, more: dict[str, Any], code: tuple[int, str]
) -> None:
    assert App().code(method, path, **more) == code


def test_a_body_without_a_length_is_bounded_too() -> None:
    async def pieces() -> Any:
        for _ in range(3):
            yield b"x" * 5

    assert App().code("PUT", "/file", content=pieces()) == (413, "too_large")
