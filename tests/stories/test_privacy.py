"""Somebody agrees, thinks again, takes their data along and leaves; and others cannot look in.

Over real sockets, with the real gate: people by session, workspaces by key, the operator.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Router
from starlette.types import Receive, Scope, Send

from heliograph.accounts.directory import Directory
from heliograph.accounts.gate import AccountsGate
from heliograph.accounts.gate import Person as Known
from heliograph.accounts.keys.service import Wishes
from heliograph.accounts.people.values import Opened, Visit
from heliograph.accounts.privacy.archive import check
from heliograph.accounts.roles import KEY_SCOPES
from heliograph.accounts.tokens import Tokens
from heliograph.audit.values import Filter
from heliograph.core.events import Act
from heliograph.edge.books import NullBooks
from heliograph.edge.http.doors import routes
from heliograph.edge.http.errors import answer
from heliograph.edge.http.privacy import doors
from heliograph.storage.database import Database
from support.privacy import MAIL, Town

ADMIN = "hg_admin_for_tests_only"
PASSWORD = "quiet otters paddle"
FRIEND = "friend@otters.example"


class Desk:
    """A house behind a server, and everybody who comes to it."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self.directory = Directory(town.database, town.clock, lambda _: ())
        self.directory.refresh()
        gate = AccountsGate(
            ADMIN, self.directory, Tokens(b"t" * 32, town.clock), self._session, town.clock
        )
        self._router = Router(routes(gate, NullBooks(), doors(town.privacy)))
        self.base = ""
        self.clients: list[httpx.Client] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = self
        try:
            await self._router(scope, receive, send)
        except Exception as error:  # noqa: BLE001 - as the server's front
            reply: Response = answer(error, Request(scope).method)[1]
            await reply(scope, receive, send)

    def _session(self, token: str) -> Known | None:
        signed = self.town.people.sessions.lookup(token)
        return Known(signed.person, signed.operator) if signed else None

    def browser(self, mail: str) -> httpx.Client:
        """A person at a page of ours."""
        opened = self.town.people.login.password(mail, PASSWORD, Visit("192.0.2.7", "tests"))
        assert isinstance(opened, Opened)
        return self.client({"cookie": f"heliograph={opened.token}", "origin": self.base})

    def program(self, key: str) -> httpx.Client:
        """A program with a key."""
        self.directory.refresh()
        return self.client({"authorization": f"Bearer {key}"})

    def client(self, headers: dict[str, str]) -> httpx.Client:
        base = f"{self.base}/api/v1"
        self.clients.append(httpx.Client(base_url=base, headers=headers, trust_env=False))
        return self.clients[-1]


@pytest.fixture
def desk(database: Database, tmp_path: Path) -> Iterator[Desk]:
    made = Desk(Town(database, tmp_path / "home"))
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    made.base = f"http://127.0.0.1:{listening.getsockname()[1]}"
    config = uvicorn.Config(made, log_level="critical", lifespan="off", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    yield made
    for client in made.clients:
        client.close()
    server.should_exit = True
    thread.join()
    listening.close()


def code(reply: httpx.Response) -> tuple[int, str]:
    return reply.status_code, reply.json()["code"]


def test_from_the_first_consent_to_the_last_letter(desk: Desk) -> None:
    town = desk.town
    me, other = town.person(), town.person(FRIEND, "Friend")
    mine, theirs = desk.browser(MAIL), desk.browser(FRIEND)

    # Agreeing is reading a text and saying its version back; taking back is less.
    boxes = mine.get("/me/consents", params={"locale": "en"}).json()["consents"]
    faces = next(one for one in boxes if one["purpose"] == "faces")
    assert (faces["given"], "faces" in faces["text"]) == (False, True)
    said = {"purpose": "faces", "given": True, "version": faces["version"], "channel": "console"}
    assert mine.post("/me/consents", json=said).json()["given"] is True
    assert code(mine.post("/me/consents", json={**said, "version": "old"})) == (409, "conflict")
    taken = mine.post("/me/consents", json={"purpose": "faces", "given": False}).json()
    assert (taken["given"], taken["agreed"]) == (False, "")
    assert code(mine.post("/me/consents", json={**said, "purpose": "all"}))[0] == 422

    # All data as a file, for one subject and for a week.
    asked = mine.post("/me/export")
    assert (asked.status_code, asked.json()["state"]) == (202, "queued")
    export = asked.json()["id"]
    assert code(mine.get(f"/exports/{export}/file")) == (409, "conflict")
    town.privacy.tend()
    card = mine.get(f"/exports/{export}").json()
    assert card["state"] == "ready"
    file = mine.get(f"/exports/{export}/file")
    assert file.headers["content-type"] == "application/zip"
    assert f'filename="{export}.zip"' in file.headers["content-disposition"]
    assert check(file.content, town.privacy.exports.public)["subject"] == me
    assert [one["id"] for one in mine.get("/me/exports").json()["exports"]] == [export]
    for path in (f"/exports/{export}", f"/exports/{export}/file", "/exports/exp_1"):
        assert code(theirs.get(path)) == (404, "not_found")

    # The end: seven days to think, a checklist to watch.
    begun = mine.post("/me/erasure")
    assert (begun.status_code, begun.json()["state"]) == (202, "cooling")
    erasure = begun.json()["id"]
    assert {one["state"] for one in begun.json()["places"]} == {"waiting"}
    assert mine.get("/me/erasure").json()["id"] == erasure
    assert code(theirs.get(f"/erasures/{erasure}")) == (404, "not_found")
    assert code(theirs.delete("/me/erasure")) == (404, "not_found")
    assert mine.delete("/me/erasure").json()["state"] == "cancelled"
    erasure = mine.post("/me/erasure").json()["id"]
    town.deliver()
    town.finish()
    assert mine.get(f"/erasures/{erasure}").status_code == 401, "nobody is there any more"
    operator = desk.program(ADMIN)
    done = operator.get(f"/erasures/{erasure}").json()
    assert done["state"] == "done"
    assert {one["state"] for one in done["places"]} <= {"erased", "kept"}
    assert all(one["law"] for one in done["places"] if one["state"] == "kept")
    assert len(operator.get("/erasures").json()["erasures"]) == 2
    assert town.audit.seals.verify().faults == []
    assert town.people.get(other).mail == FRIEND


def test_a_workspace_and_its_neighbour(desk: Desk) -> None:
    """B159: another one's export or erasure is not found."""
    town = desk.town
    me = town.person()
    friend = town.person(FRIEND, "Friend")
    room, next_door = town.room(me), town.room(friend, "Next Door")
    keys = {
        one: town.keys.create(one, Wishes("all", KEY_SCOPES), me, KEY_SCOPES)[1]
        for one in (room, next_door)
    }
    ours, theirs = desk.program(keys[room]), desk.program(keys[next_door])
    export = ours.post("/workspace/export").json()["id"]
    town.privacy.tend()
    data = ours.get(f"/workspace/exports/{export}/file").content
    assert check(data)["subject"] == room
    assert [one["id"] for one in ours.get("/workspace/exports").json()["exports"]] == [export]
    for path in (f"/workspace/exports/{export}", f"/workspace/exports/{export}/file"):
        assert code(theirs.get(path)) == (404, "not_found")
    assert code(ours.post("/workspace/erasure")) == (403, "forbidden"), "the owner's alone"
    assert code(ours.post("/me/export"))[0] == 403
    boxes = ours.get("/workspace/consents").json()["consents"]
    said = {"purpose": "training", "given": True, "version": boxes[-1]["version"]}
    assert boxes[-1]["purpose"] == "training"
    assert ours.post("/workspace/consents", json=said).json()["given"] is True

    owner = desk.browser(MAIL)
    named = {"heliograph-workspace": room}
    stranger = desk.browser(FRIEND)
    assert code(stranger.post("/workspace/erasure", headers=named)) == (404, "not_found")
    assert code(stranger.post("/workspace/export", headers=named)) == (404, "not_found")
    erasure = owner.post("/workspace/erasure", headers=named).json()
    assert erasure["state"] == "cooling"
    assert owner.get(f"/erasures/{erasure['id']}", headers=named).json()["kind"] == "workspace"
    assert owner.delete("/workspace/erasure", headers=named).json()["state"] == "cancelled"

    # The operator needs a second person; commands and the administrator key are one.
    operator = desk.program(ADMIN)
    proposed = operator.post("/workspace/erasure", headers=named).json()
    assert proposed["state"] == "proposed"
    approve = f"/erasures/{proposed['id']}/approve"
    assert code(operator.post(approve)) == (403, "forbidden")
    assert code(owner.post(approve)) == (403, "forbidden"), "an operator's"
    town.people.set_operator(friend, "admin", operator=True)
    second = desk.browser(FRIEND)
    assert second.post(approve).json()["state"] == "cooling"
    assert town.audit.find(Filter(act=Act.ERASURE_APPROVED))[0].actor == friend
    town.deliver()
    town.finish()
    desk.directory.refresh()
    assert code(ours.get("/workspace/exports"))[0] in (401, 403)
    assert theirs.get("/workspace/exports").status_code == 200
    assert operator.get(f"/erasures/{proposed['id']}").json()["state"] == "done"
