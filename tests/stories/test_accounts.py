"""A month with a customer: let in, known, billed to the cent through three kills, and proved.

The client keeps its own log of what it asked and heard, on disk before it goes on. At the end the
invoice is held against that log, by arithmetic that shares no line with the server's.
"""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import httpx
import pytest

from heliograph.billing.invoices.values import read_month
from heliograph.house import open_house
from heliograph.settings import read_settings
from support import pictures, reckoning
from support.checker import check
from support.clock import Turned
from support.ledgerload import HTTP, PROTOCOLS, Door, Load, Outcome, Question, serving
from support.server import Server, running

CALLS, LIVES, HANDS = 1000, 4, 4
OPEN = {"HELIOGRAPH_ACCOUNTS_REGISTRATION": "open"}
ADA, PASSWORD = "ada@example.org", "seven quiet lighthouses"
FORM = "form"
WAYS = (*PROTOCOLS, FORM)
SPACE = "Ada's pictures"


class Form(Question):
    """A picture in a form, as browsers send files."""

    __slots__ = ()

    @property
    def model(self) -> str:
        return "colour"

    def measures(self) -> dict[str, int]:
        return {"images": 1, "rows": 1, "pixels": 1600}


class Ways(Door):
    """A door that takes forms too."""

    def ask(self, question: Question, secret: str) -> Outcome:
        if not isinstance(question, Form):
            return super().ask(question, secret)
        picture = Question(HTTP, 0, "").body()
        edge = "edge-of-the-form"
        head = 'Content-Disposition: form-data; name="file"; filename="a.jpg"'
        body = f"--{edge}\r\n{head}\r\n\r\n".encode() + picture + f"\r\n--{edge}--\r\n".encode()
        media = {"content-type": f"multipart/form-data; boundary={edge}"}
        return self._send(question, media, body, secret)

    def _send(self, question: Question, media: dict[str, str], body: bytes, secret: str) -> Outcome:
        headers = {"authorization": f"Bearer {secret}", **media}
        if question.key:
            headers["idempotency-key"] = question.key
        url = f"{self._address}/api/v1/models/colour/predict"
        try:
            reply = self._http.post(url, content=body, headers=headers)
        except httpx.HTTPError as error:
            return Outcome(0, ok=False, code=type(error).__name__)
        return Outcome(
            reply.status_code,
            reply.is_success,
            "" if reply.is_success else reply.json()["code"],
            "idempotent-replayed" in reply.headers,
            reply.headers.get("x-request-id", ""),
            reply.content,
            reply.headers.get("x-cost", ""),
        )


# --- people -----------------------------------------------------------------------------------


@contextmanager
def browser(server: Server) -> Generator[httpx.Client]:
    """A browser on a page of this server: it keeps cookies and says where it is."""
    with httpx.Client(
        base_url=server.address, headers={"origin": server.address}, timeout=30, trust_env=False
    ) as client:
        yield client


def good(reply: httpx.Response) -> Any:
    """What an answer holds; it must be one."""
    assert reply.is_success, f"{reply.request.url}: {reply.status_code} {reply.text}"
    return reply.json() if reply.content else None


def secret_mailed(home: Path, to: str, page: str) -> str:
    """What stands behind `#` in the link of the mail, once it lies in the outbox."""
    ends = time.monotonic() + 30
    while time.monotonic() < ends:
        for file in (home / "outbox").glob("*.eml"):
            mail = message_from_bytes(file.read_bytes(), policy=policy.default)
            found = re.search(rf"/account/{page}#(\S+)", mail.get_content())
            if mail["To"] == to and found:
                return found[1]
        time.sleep(0.1)
    raise AssertionError(f"no mail to {to} with a link to {page}")


def registers(home: Path, page: httpx.Client) -> str:
    """Somebody who was never here registers, proves the address and logs in; their id."""
    who = {"mail": ADA, "password": PASSWORD}
    good(page.post("/api/v1/register", json={**who, "name": "Ada"}))
    assert page.post("/api/v1/sessions", json=who).status_code in {401, 403}, "not yet"
    link = secret_mailed(home, who["mail"], "verify")
    assert good(page.post("/api/v1/verify", json={"link": link, "password": PASSWORD})) == {
        "state": "active"
    }
    assert good(page.post("/api/v1/sessions", json=who))["needs"] == []
    return str(good(page.get("/api/v1/me"))["id"])


def reviewer_joins(server: Server, page: httpx.Client) -> None:
    """The holder of the administrator key asks a second operator in, who logs in."""
    who = {"mail": "grace@example.org"}
    invited = {**who, "operator": True}
    with httpx.Client(headers=server.headers, trust_env=False, timeout=30) as admin:
        good(admin.post(f"{server.address}/api/v1/users", json=invited))
    link = secret_mailed(server.home, who["mail"], "reset")
    good(page.post("/api/v1/reset", json={"link": link, "password": PASSWORD}))
    good(page.post("/api/v1/sessions", json={**who, "password": PASSWORD}))


def is_known(page: httpx.Client, reviewer: httpx.Client) -> None:
    """Ada shows who she is; another person looks at all of it and says yes."""
    at = "/api/v1/identity"
    said = {"name": "Ada Lovelace", "number": "L 1815-12"}
    one = good(page.post(f"{at}/checks", json=said))["id"]
    passport = pictures.file(pictures.scene())
    good(page.post(f"{at}/checks/{one}/pictures", content=passport))
    review = f"{at}/reviews/{one}"
    assert page.post(f"{review}/take").status_code == 403, "nobody reviews themselves"
    taken = good(reviewer.post(f"{review}/take"))
    assert good(reviewer.get(f"{review}/claims")) == said
    for picture in taken["pictures"]:
        assert reviewer.get(f"{review}/pictures/{picture}").content.startswith(b"\x89PNG")
    good(reviewer.post(f"{review}/approve", json={"reason": "They agree."}))
    assert good(page.get(at))["level"] == "real_name"


def settles_in(page: httpx.Client) -> tuple[str, str]:
    """A workspace and a key for its programs: their id and secret."""
    space = good(page.post("/api/v1/workspaces", json={"name": SPACE}))["id"]
    ends = time.monotonic() + 10
    while page.get("/api/v1/keys").status_code == 403 and time.monotonic() < ends:
        time.sleep(0.1)  # until the gate has heard of the workspace
    return space, good(page.post("/api/v1/keys", json={"name": "camera"}))["key"]


# --- calls ------------------------------------------------------------------------------------


def live(load: Load, server: Server, goal: int, *, kill: bool) -> None:
    """Call over all ways until so many were answered; then the server is killed, or left alone."""
    taking = threading.Lock()

    def hand(door: Ways) -> None:
        while server.process.poll() is None:
            with taking:
                at = len(load.outcomes)
                if at >= goal and not kill:
                    return
                if at >= goal:
                    server.process.kill()
            # While servers die only a key can tell whether a lost answer was paid for.
            one = load.question(WAYS[at % len(WAYS)], keyed=kill or at % 3 > 0)
            one = Form(*one) if one.protocol == FORM else one
            found = load.ask(door, one)
            if found.ok and one.key and at % 20 == 0:
                again = load.ask(door, one)
                assert not again.status or (again.again and again.body == found.body)
            assert found.ok or not found.status, (one, found)

    doors = [Ways(server) for _ in range(HANDS)]
    try:
        load.again(doors[0])
        with ThreadPoolExecutor(HANDS) as pool:
            list(pool.map(hand, doors))
    finally:
        for door in doors:
            door.close()


def priced(server: Server, page: httpx.Client, folder: Path) -> None:
    """The operator publishes prices by a command; they are in force when this returns."""
    sheet = folder / "prices.toml"
    sheet.write_text(reckoning.SHEET, "utf-8")
    assert "Price version 1" in command(server.home, "prices", "set", str(sheet))
    ends = time.monotonic() + 20
    while page.get("/api/v1/prices").status_code == 404 and time.monotonic() < ends:
        time.sleep(0.2)
    assert good(page.get("/api/v1/prices"))["version"] == 1


def command(home: Path, *words: str, code: int = 0) -> str:
    """What a command of ours says, on both of its ways out."""
    done = subprocess.run(
        [sys.executable, "-m", "heliograph", *words, "--home", str(home)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def month_now() -> str:
    """This month; a story that would end in the next one is not begun."""
    now = datetime.now(UTC)
    if (now + timedelta(minutes=10)).month != now.month:
        pytest.skip("the month ends while this would run")
    return f"{now:%Y-%m}"


# --- the story --------------------------------------------------------------------------------


def test_a_month_with_a_customer(tmp_path: Path) -> None:
    home, month = tmp_path / "home", month_now()
    log = tmp_path / "client.jsonl"
    with serving(home, "life-0", **OPEN) as server, browser(server) as page:
        registers(home, page)
        with browser(server) as reviewer:
            reviewer_joins(server, reviewer)
            is_known(page, reviewer)
        space, secret = settles_in(page)
        priced(server, page, tmp_path)
        load = Load(log, space, seed=4, secret=secret)
        live(load, server, CALLS // LIVES, kill=True)
    for life in range(1, LIVES - 1):
        with serving(home, f"life-{life}", **OPEN) as server:
            live(load, server, CALLS * (life + 1) // LIVES, kill=True)
    with serving(home, "last-life", **OPEN) as server, browser(server) as page:
        live(load, server, CALLS, kill=False)
        good(page.post("/api/v1/sessions", json={"mail": ADA, "password": PASSWORD}))
        used = good(page.get("/api/v1/usage"))
        draft = good(page.get(f"/api/v1/invoices/{month}"))
    load.close()
    assert not load.lost

    own = reckoning.answers(log)
    assert len(own) >= CALLS * 9 // 10
    assert {one.protocol for one, found in load.outcomes if found.ok} == set(WAYS)
    assert any(found.again for _, found in load.outcomes)
    assert sum(not found.status for _, found in load.outcomes) >= LIVES - 1, "nothing was cut off"
    assert [one.cost for one in own] == [reckoning.told(one) for one in own]
    assert used["totals"]["calls"] == len(own)
    assert used["totals"]["bytes_out"] == sum(one.bytes for one in own)
    assert reckoning.shown(draft["lines"]) == reckoning.owed(own)

    number = closes(home, month, space, own)
    file = tmp_path / "invoice.pdf"
    assert f"{number}: " in command(home, "invoices", "pdf", number, str(file))
    assert file.read_bytes().startswith(b"%PDF-")
    proves(home, tmp_path, log)


def closes(home: Path, month: str, space: str, own: list[reckoning.Answer]) -> str:
    """The month ends, four days later it is closed: to the cent what the client reckons."""
    clock = Turned(read_month(month).to_ms + 4 * 86_400_000)
    house = open_house(read_settings(home), clock)
    try:
        closed = house.invoices.closing.close(read_month(month), "admin")
        assert (closed.state, closed.finalised, closed.failed) == ("final", 1, {})
        invoice = house.invoices.document(space, month)
        again, kept = house.invoices.rerated(space, invoice["id"])
        house.audit.seals.checkpoint()
    finally:
        house.close()
    lines = reckoning.owed(own)
    net = sum(lines.values())
    assert reckoning.shown(invoice["lines"]) == lines
    assert (invoice["net"], invoice["tax"]) == (net, reckoning.tax(net))
    assert invoice["total"] == net + reckoning.tax(net) > 0
    assert sum(one["calls"] for one in invoice["usage"]) == len(own)
    assert again == kept
    return invoice["number"]


def proves(home: Path, folder: Path, log: Path) -> None:
    """The audit log is whole, here and elsewhere; one byte later neither says so."""
    assert "The log is whole." in command(home, "audit", "verify")
    key, script = folder / "key.pub", folder / "audit_verify.py"
    key.write_text(command(home, "audit", "key").strip() + "\n", "ascii")
    done = subprocess.run(
        [sys.executable, "-m", "heliograph", "audit", "script"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    script.write_text(done.stdout, "utf-8")
    command(home, "audit", "export", str(folder / "before.zip"))
    assert elsewhere(script, folder / "before.zip", key)[0] == 0
    assert check(log, home / "heliograph.db", folder / "before.zip") == []

    with sqlite3.connect(home / "heliograph.db") as database:
        where = "act = 'price:published'"
        (seq, body) = database.execute(f"SELECT seq, body FROM audit WHERE {where}").fetchone()
        at = body.index('"version":1') + len('"version":')
        changed = f"{body[:at]}2{body[at + 1 :]}"
        database.execute("UPDATE audit SET body = ? WHERE seq = ?", (changed, seq))
    database.close()
    assert f"event {seq} was changed" in command(home, "audit", "verify", code=1)
    command(home, "audit", "export", str(folder / "after.zip"))
    code, said = elsewhere(script, folder / "after.zip", key)
    assert code == 1
    assert f"event {seq} was changed" in said


def elsewhere(script: Path, export: Path, key: Path) -> tuple[int, str]:
    """The stand-alone verifier, run without anything of ours in reach."""
    done = subprocess.run(
        [sys.executable, "-I", script, export, "--key", key],
        capture_output=True, text=True, timeout=60, check=False, cwd=script.parent,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_a_newcomer_needs_none_of_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(home, "--models", "edges", stderr=tmp_path / "stderr") as server:
        assert (home / "admin.key").stat().st_mode & 0o777 == 0o600
        url, picture = f"{server.address}/api/v1/edges", pictures.file(pictures.scene())
        assert httpx.post(url, content=picture, trust_env=False).status_code == 401
        told = httpx.post(url, content=picture, headers=server.headers, trust_env=False)
        assert told.status_code == 200
        assert "x-cost" not in told.headers
        used = httpx.get(f"{server.address}/api/v1/usage", headers=server.headers, trust_env=False)
        assert json.loads(used.text)["totals"]["calls"] == 1
