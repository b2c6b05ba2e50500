from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

from heliograph.audit import verifier
from heliograph.audit.service import Audit
from heliograph.core.call import Caller, Credentials
from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act, Event
from heliograph.core.permissions import EVERY, Permission
from heliograph.edge.books import NullBooks
from heliograph.edge.http.audit import doors
from heliograph.edge.http.doors import routes
from heliograph.edge.http.errors import answer
from support.audited import ALICE, KEY, SPACE

Fill = Callable[[int], None]
OTHER = "ws_" + "e5" * 16
READS = frozenset({Permission.AUDIT_READ})
CALLERS = {
    "ours": Caller("key_1", SPACE, permissions=READS),
    "theirs": Caller("key_2", OTHER, permissions=READS),
    "homeless": Caller("usr_1", permissions=READS),
    "weak": Caller("key_3", SPACE, permissions=EVERY - READS),
    "operator": Caller("admin", "ws_default", operator=True, permissions=EVERY),
}


class Gate:
    """Knows a few callers, as the real one tells them."""

    def agreed(self, caller: Caller, purpose: str) -> None:
        raise AssertionError(f"{caller.name} asks no model here: {purpose}")

    def check(self, credentials: Credentials, needs: Permission, model: str = "") -> Caller:
        del model
        caller = CALLERS[credentials.key]
        if needs not in caller.permissions:
            raise HeliographError(Code.FORBIDDEN, "Not with this key.")
        if caller.operator and credentials.workspace:
            return Caller("admin", credentials.workspace, operator=True, permissions=EVERY)
        return caller


@pytest.fixture
def get(audit: Audit, fill: Fill) -> Callable[..., httpx.Response]:
    """Asks our API: the path, whose key, whose workspace."""
    fill(5)
    audit.record(Event(Act.KEY_CREATED, "system", OTHER, "key_other"))
    audit.record(Event(Act.SERVER_STARTED, "system"))

    async def told(request: Request, error: Exception) -> Response:
        return answer(error, request.method)[1]

    app = Starlette(
        routes=routes(Gate(), NullBooks(), doors(audit)), exception_handlers={HeliographError: told}
    )

    def ask(path: str, key: str = "ours", workspace: str = "", **query: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {key}"}
        if workspace:
            headers["heliograph-workspace"] = workspace

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await client.get(f"/api/v1/audit{path}", headers=headers, params=query)

        return asyncio.run(send())

    return ask


Get = Callable[..., httpx.Response]


def numbers(reply: httpx.Response) -> list[int]:
    assert reply.status_code == 200, reply.text
    return [one["seq"] for one in reply.json()["events"]]


def code(reply: httpx.Response) -> tuple[int, str]:
    return reply.status_code, reply.json()["code"]


def test_each_sees_its_own(get: Get) -> None:
    assert numbers(get("")) == [5, 4, 3, 2, 1]
    assert numbers(get("", "theirs")) == [6]
    assert numbers(get("", "operator")) == [7, 6, 5, 4, 3, 2, 1]
    assert numbers(get("", "operator", OTHER)) == [6]
    assert code(get("", "homeless")) == (404, "not_found")
    assert code(get("", "weak")) == (403, "forbidden")
    first = get("", limit=1, after=2).json()["events"][0]
    assert first["actor"] == ALICE
    assert first["workspace"] == SPACE


def test_pages_follow_each_other(get: Get) -> None:
    seen: list[int] = []
    after = 0
    for _ in range(3):
        reply = get("", limit=2, after=after).json()
        seen += [one["seq"] for one in reply["events"]]
        after = reply["after"]
    assert seen == [5, 4, 3, 2, 1]
    assert after == 0


def test_filters(get: Get) -> None:
    at = get("", limit=1).json()["events"][0]["at_ms"]
    assert numbers(get("", actor=ALICE)) == [4, 1]
    assert numbers(get("", subject=KEY, since=at)) == [5]
    assert numbers(get("", until=at - 2000)) == [2, 1]
    assert numbers(get("", "operator", act="server:started")) == [7]
    assert numbers(get("", subject="key_other")) == []


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"owner": "x"}, (400, "unknown_filter")),
        ({"filter[owner.password__startswith]": "a"}, (400, "unknown_filter")),
        ({"sort": "__class__"}, (400, "unknown_filter")),
        ({"act": "key:eaten"}, (422, "validation")),
        ({"limit": 10**9}, (422, "validation")),
        ({"limit": 0}, (422, "validation")),
        ({"after": "x"}, (422, "validation")),
        ({"since": -1}, (422, "validation")),
        ({"since": 2**70}, (422, "validation")),
        ({"subject": "x" * 200}, (422, "validation")),
    ],
    ids=str,
)
def test_what_is_no_filter_is_refused(
    get: Get, query: dict[str, Any], expected: tuple[int, str]
) -> None:
    """B155."""
    assert code(get("", **query)) == expected


def test_a_subject_is_only_a_value(get: Get) -> None:
    assert numbers(get("", subject="' OR 1=1 --")) == []
    assert numbers(get("", actor="%")) == []


def test_a_proof_is_taken_away_and_checked(get: Get, audit: Audit) -> None:
    assert code(get("/checkpoint")) == (404, "not_found")
    assert code(get("/2/proof")) == (404, "not_found")
    audit.seals.checkpoint()
    newest = get("/checkpoint").json()
    key = verifier.read_key(newest["key"])
    assert (newest["number"], newest["key"]) == (1, audit.seals.key)
    assert verifier.read_checkpoint(newest["note"], key).size == 7
    proof = get("/2/proof").json()
    assert '"seq":2' in verifier.check_proof(proof, key)
    assert proof["checkpoint"] == newest["note"]
    assert get("/7/proof", "operator").status_code == 200
    for path in ("/6/proof", "/7/proof", "/8/proof", "/0/proof", "/-1/proof", "/x/proof"):
        assert code(get(path)) == (404, "not_found")
    assert code(get("/" + "9" * 30 + "/proof", "operator")) == (404, "not_found")
    assert code(get("/2/proof", "theirs")) == (404, "not_found")
    audit.record(Event(Act.KEY_CREATED, "system", SPACE))
    assert code(get("/8/proof")) == (409, "conflict")


def test_a_key_of_the_data_folder_is_the_one_told(get: Get, audit: Audit, tmp_path: Path) -> None:
    audit.seals.checkpoint()
    told = get("/checkpoint").json()["key"]
    assert told == (tmp_path / "audit" / "key.pub").read_text().strip()
