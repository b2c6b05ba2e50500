"""Booking: once for an idempotency key, whose it is, and what a kept answer has again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from heliograph.accounts.keys.service import Wishes
from heliograph.accounts.workspaces.values import DEFAULT
from heliograph.core.errors import Code, HeliographError
from heliograph.core.permissions import EVERY, Permission
from heliograph.edge.http.booking import booked
from heliograph.house import House, open_house
from heliograph.settings import read_settings

CALL = Permission.MODELS_CALL


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = open_house(read_settings(tmp_path))
    yield made
    made.close()


class Act:
    """Answers, and counts how often it did."""

    def __init__(self, status: int = 200, **headers: str) -> None:
        self.times = 0
        self._status = status
        self._headers = {name.replace("_", "-"): value for name, value in headers.items()}

    async def __call__(self, request: Request) -> Response:
        self.times += 1
        body = await request.body()
        return Response(b"%d:" % self.times + body, self._status, headers=self._headers)


def key(house: House, workspace: str = DEFAULT) -> str:
    wishes = Wishes("k", frozenset({CALL}))
    return house.keys.create(workspace, wishes, "admin", EVERY)[1]


def ask(
    house: House,
    act: Act,
    key: str,
    once: str = "a",
    needs: Permission | None = CALL,
    **more: Any,
) -> Response:
    headers = {"authorization": f"Bearer {key}", "idempotency-key": once, "content-type": "x/y"}
    scope = {
        "type": "http",
        "scheme": "http",
        "method": more.get("method", "POST"),
        "path": "/x",
        "raw_path": more.get("path", b"/x"),
        "query_string": more.get("query", b""),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
    }
    pieces = [{"type": "http.request", "body": more.get("body", b"q"), "more_body": False}]

    async def receive() -> Any:
        return pieces.pop()

    return asyncio.run(booked(house.books, house.gate, Request(scope, receive), act, needs))


def test_a_replay_has_what_its_body_cannot_be_read_without(house: House) -> None:
    act = Act(
        content_type="application/octet-stream",
        content_encoding="gzip",
        inference_header_content_length="12",
        server_timing="run;dur=1",
    )
    text = key(house)
    first, again = ask(house, act, text), ask(house, act, text)
    assert (act.times, first.body) == (1, again.body)
    for name in ("content-type", "content-encoding", "inference-header-content-length"):
        assert again.headers[name] == first.headers[name]
    assert again.headers["idempotent-replayed"] == "true"
    assert "server-timing" not in again.headers


@pytest.mark.parametrize(
    "more", [{"body": b"r"}, {"path": b"/y"}, {"query": b"a=1"}], ids=["body", "path", "query"]
)
def test_another_request_under_the_same_key_is_refused(house: House, more: dict[str, Any]) -> None:
    act, text = Act(), key(house)
    ask(house, act, text)
    with pytest.raises(HeliographError) as failed:
        ask(house, act, text, **more)
    assert failed.value.code is Code.IDEMPOTENCY_MISMATCH
    assert act.times == 1


def test_what_failed_is_done_again(house: House) -> None:
    bad, good, text = Act(422), Act(), key(house)
    assert ask(house, bad, text).status_code == 422
    house.database.write(lambda _: None)
    assert ask(house, good, text).status_code == 200
    assert (bad.times, good.times) == (1, 1)


def test_keys_belong_to_workspaces(house: House) -> None:
    place = house.workspaces.create("other", "admin").id
    act = Act()
    for one in (key(house), key(house, place)):
        ask(house, act, one)
    assert act.times == 2
    ask(house, act, key(house))
    assert act.times == 2, "another key of the same workspace"


def test_nobody_without_the_permission_gets_a_kept_answer(house: House) -> None:
    act, text = Act(), key(house)
    ask(house, act, text)
    for wrong, needs, code in (
        (text, Permission.KEYS_WRITE, Code.FORBIDDEN),
        ("wrong", CALL, Code.UNAUTHENTICATED),
    ):
        with pytest.raises(HeliographError) as failed:
            ask(house, act, wrong, needs=needs)
        assert failed.value.code is code
    assert act.times == 1


@pytest.mark.parametrize("needs", [Permission.SELF_WRITE, Permission.SELF_READ, None])
def test_what_is_ones_own_or_public_is_never_kept(house: House, needs: Permission | None) -> None:
    act, text = Act(), key(house)
    for _ in range(2):
        ask(house, act, text, needs=needs)
    ask(house, act, text, method="PUT")
    assert act.times == 3


@pytest.mark.parametrize("once", ["", "x" * 256, "a\tb", "é\x7f"])
def test_keys_that_are_none(house: House, once: str) -> None:
    with pytest.raises(HeliographError) as failed:
        ask(house, Act(), key(house), once)
    assert failed.value.code is Code.BAD_REQUEST
