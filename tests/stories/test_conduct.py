"""Identity and abuse over HTTP: the doors, who may come through, and what they show."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

from heliograph.accounts.abuse.values import DAY_MS, Rules
from heliograph.accounts.gate import _WHILE_SUSPENDED
from heliograph.accounts.identity.values import Feature, Level, Policy
from heliograph.accounts.roles import PERMISSIONS, SELF, Role
from heliograph.cli import abuse as abuse_commands
from heliograph.cli import identity as identity_commands
from heliograph.core.call import Caller, Credentials
from heliograph.core.errors import Code, HeliographError
from heliograph.core.permissions import EVERY, Permission
from heliograph.edge.books import NullBooks
from heliograph.edge.http import abuse, identity
from heliograph.edge.http.doors import PUBLIC, Door, routes
from heliograph.edge.http.errors import answer
from heliograph.storage.database import Database
from support.conduct import START, Court, Office, court, office

OWNER = PERMISSIONS[Role.OWNER] | SELF
REPORTER = "eve@reporter.example"
SUBJECT = "ws_bad/models/leaves"


def someone(person: str, workspace: str, permissions: frozenset[Permission]) -> Caller:
    return Caller(person, workspace, person=person, permissions=permissions)


CALLERS = {
    "good": someone("usr_good", "ws_good", OWNER),
    "bad": someone("usr_bad", "ws_bad", OWNER),
    "judge": Caller("usr_judge", "ws_default", person="usr_judge", operator=True,
                    permissions=EVERY),
    "second": Caller("usr_second", "ws_default", person="usr_second", operator=True,
                     permissions=EVERY),
    "admin": Caller("admin", "ws_default", operator=True, permissions=EVERY),
    "key": Caller("key_1", "ws_bad", key="key_1", permissions=EVERY),
}  # fmt: skip


@dataclass
class Gate:
    """Knows a few callers; holds a suspended workspace to what the real gate leaves it."""

    court: Court | None = None

    def agreed(self, caller: Caller, purpose: str) -> None:
        raise AssertionError(f"{caller.name} asks no model here: {purpose}")

    def check(self, credentials: Credentials, needs: Permission, model: str = "") -> Caller:
        del model
        if credentials.key not in CALLERS:
            raise HeliographError(Code.UNAUTHENTICATED, "Send a key.")
        caller = CALLERS[credentials.key]
        if needs not in caller.permissions:
            raise HeliographError(Code.FORBIDDEN, "Not with this key.")
        suspended = self.court and caller.workspace in self.court.bailiff.suspended
        if suspended and needs not in _WHILE_SUSPENDED:
            raise HeliographError(Code.SUSPENDED, "Suspended.")
        return caller


class House:
    """Asks the doors as a client does."""

    def __init__(self, doors: list[Door], gate: Gate) -> None:
        async def told(request: Request, error: Exception) -> Response:
            return answer(error, request.method)[1]

        self._app = Starlette(
            routes=routes(gate, NullBooks(), doors), exception_handlers={HeliographError: told}
        )

    def ask(
        self, who: str, method: str, path: str, body: Any = None, *, status: int = 200
    ) -> httpx.Response:
        headers = {"authorization": f"Bearer {who}"} if who else {}
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        if not isinstance(body, bytes | None):
            headers["content-type"] = "application/json"

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self._app, client=("203.0.113.7", 4711))
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                url = f"/api/v1{path}"
                return await client.request(method, url, content=content, headers=headers)

        reply = asyncio.run(send())
        assert reply.status_code == status, reply.text
        return reply


@pytest.fixture
def justice(database: Database, tmp_path: Path) -> tuple[House, Court]:
    c = court(database, tmp_path, Rules(reports=5, alarms="duty@example.org"))
    return House(abuse.doors(c.abuse), Gate(c)), c


@pytest.fixture
def known(database: Database, tmp_path: Path) -> tuple[House, Office]:
    o = office(database, tmp_path, policy=Policy({Feature.CALL_MODELS: Level.REAL_NAME}))
    return House(identity.doors(o.identity), Gate()), o


def picture() -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(1).integers(0, 255, (120, 160, 3), np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_a_person_is_verified(known: tuple[House, Office]) -> None:
    house, _ = known
    said = {"name": "Ada Lovelace", "number": "P 1"}
    check = house.ask("good", "POST", "/identity/checks", said).json()
    assert check["state"] == "pending"
    house.ask("good", "POST", f"/identity/checks/{check['id']}/pictures", picture())
    # Somebody else's check is not there; a key is nobody's identity.
    house.ask("bad", "POST", f"/identity/checks/{check['id']}/pictures", picture(), status=404)
    house.ask("key", "POST", "/identity/checks", said, status=403)
    house.ask("good", "GET", "/identity/reviews", status=403)
    house.ask("key", "POST", f"/identity/reviews/{check['id']}/take", status=403)
    (waiting,) = house.ask("judge", "GET", "/identity/reviews").json()["checks"]
    one = f"/identity/reviews/{waiting['id']}"
    house.ask("judge", "GET", f"{one}/claims", status=403)
    case = house.ask("judge", "POST", f"{one}/take").json()
    house.ask("judge", "POST", f"{one}/approve", {"reason": "looks well"}, status=409)
    assert house.ask("judge", "GET", f"{one}/claims").json() == said
    shown = house.ask("judge", "GET", f"{one}/pictures/{case['pictures'][0]}")
    assert shown.headers["content-type"] == "image/png"
    assert shown.headers["cache-control"] == "no-store"
    done = house.ask("judge", "POST", f"{one}/approve", {"reason": "agrees"}).json()
    assert done["state"] == "verified"
    mine = house.ask("good", "GET", "/identity").json()
    assert (mine["level"], mine["state"]) == ("real_name", "verified")


def test_an_applicant_cannot_tell_a_duplicate(known: tuple[House, Office]) -> None:
    house, _ = known
    said = {"name": "Ada Lovelace", "number": "P 1"}
    first = house.ask("good", "POST", "/identity/checks", said).json()
    twin = house.ask("bad", "POST", "/identity/checks", said).json()
    same = {"id", "created_ms"}
    assert {k: v for k, v in first.items() if k not in same} == {
        k: v for k, v in twin.items() if k not in same
    }
    case = house.ask("judge", "GET", f"/identity/reviews/{twin['id']}").json()
    assert case["duplicate"]
    assert case["twins"] == [first["id"]]


def test_nobody_sets_what_is_not_theirs_to_set(known: tuple[House, Office]) -> None:
    house, _ = known
    said = {"name": "A", "number": "1", "state": "verified"}
    reply = house.ask("good", "POST", "/identity/checks", said, status=422)
    assert reply.json()["code"] == "unknown_field"
    house.ask("good", "POST", "/identity/codes", {"level": "real_name"}, status=422)
    for code, status in (("\ud800", 400), ("\x00", 422), ("12345", 422)):
        body = {"level": "email", "code": code}
        house.ask("good", "POST", "/identity/codes/confirm", body, status=status)
    house.ask("judge", "GET", "/identity/reviews/idc_%00", status=404)
    house.ask("judge", "GET", "/identity/reviews?after=%00", status=422)
    house.ask("judge", "GET", "/identity/reviews?state=hacked", status=422)


GRAVITIES = {"child_safety": "S0", "malware": "S1", "hate": "S2", "spam": "S3"}


def report(house: House, ground: str = "hate", **more: object) -> dict[str, Any]:
    said = {"subject": SUBJECT, "ground": ground, "text": "It does harm.", "contact": REPORTER}
    body = {**said, "good_faith": True, **more}
    return house.ask("", "POST", "/abuse/reports", body, status=202).json()


def ruled(action: str, until_ms: int = 0) -> dict[str, Any]:
    why = {"ground": "hate", "rule": "Terms, 4.2", "facts": "Seen in the model card."}
    return {"action": action, **why, "until_ms": until_ms}


@pytest.mark.parametrize("ground", GRAVITIES)
def test_the_whole_way(justice: tuple[House, Court], ground: str) -> None:
    house, c = justice
    receipt = report(house, ground)
    again = report(house, ground)
    assert again["case"] == receipt["case"]
    (case,) = house.ask("judge", "GET", "/abuse/cases").json()["cases"]
    assert (case["id"], case["reports"]) == (receipt["case"], 2)
    assert case["severity"] == GRAVITIES[ground]
    assert case["hidden"] == (case["severity"] == "S0")
    one = f"/abuse/cases/{case['id']}"
    c.clock.turn(case["due_ms"] - START)
    c.abuse.sweep()
    assert [mail.facts["id"] for mail in c.log.mails("duty@example.org")] == [case["id"]]
    until = c.clock() + 30 * DAY_MS
    for who in ("bad", "good", "key"):
        house.ask(who, "POST", f"{one}/decide", ruled("no_action"), status=403)
    made = house.ask("judge", "POST", f"{one}/decide", ruled("suspend", until)).json()
    assert c.bailiff.suspended == {"ws_bad": until}
    # What stays possible: to read the reasons and to appeal.
    (statement,) = house.ask("bad", "GET", "/abuse/statements").json()["statements"]
    assert statement["decision"] == made["id"]
    assert not house.ask("good", "GET", "/abuse/statements").json()["statements"]
    said = {"decision": made["id"], "text": "It was art."}
    house.ask("good", "POST", "/abuse/appeals", said, status=404)
    appeal = house.ask("bad", "POST", "/abuse/appeals", said, status=201).json()
    decide = f"/abuse/appeals/{appeal['id']}/decide"
    final = {"outcome": "reversed", "reasons": "It was."}
    for who in ("bad", "judge"):
        house.ask(who, "POST", decide, final, status=403)
    c.clock.turn(DAY_MS)
    house.ask("second", "POST", decide, final)
    assert c.bailiff.suspended == {}
    assert c.bailiff.imposed == set()
    assert c.bailiff.balance == DAY_MS
    (statement,) = house.ask("bad", "GET", "/abuse/statements").json()["statements"]
    assert (statement["force"], statement["appeal"]) == ("reversed", "reversed")
    table = house.ask("judge", "GET", "/abuse/transparency?year=2027")
    assert "appeals,reversed,1" in table.text
    assert [one.template for one in c.log.mails("usr_bad@example.org")] == ["suspended", "decision"]


def test_the_reporter_stands_in_no_answer(justice: tuple[House, Court]) -> None:
    house, c = justice
    receipt = report(house)
    one = f"/abuse/cases/{receipt['case']}"
    until = c.clock() + DAY_MS
    made = house.ask("judge", "POST", f"{one}/decide", ruled("suspend", until)).json()
    said = {"decision": made["id"], "text": "Who said that?"}
    answers = [
        house.ask("bad", "POST", "/abuse/appeals", said, status=201),
        house.ask("bad", "GET", "/abuse/statements"),
        house.ask("judge", "GET", one),
        house.ask("judge", "GET", "/abuse/cases?state=decided"),
        house.ask("judge", "GET", "/abuse/appeals"),
    ]
    for reply in answers:
        assert REPORTER not in reply.text
        assert "203.0.113" not in reply.text
        assert "usr_judge" not in reply.text or reply.url.path.startswith("/api/v1/abuse/cases/")
    for path in ("/abuse/cases", one, "/abuse/appeals", "/abuse/transparency?year=2027"):
        house.ask("bad", "GET", path, status=403)


def test_reports_are_checked_and_bounded(justice: tuple[House, Court]) -> None:
    house, _ = justice
    said = {"subject": SUBJECT, "ground": "hate", "text": "x", "good_faith": True}
    for wrong in (
        {"good_faith": False},
        {"good_faith": 1},
        {"ground": "dislike"},
        {"text": ""},
        {"text": "\x00"},
        {"text": "x" * 5001},
        {"subject": "a\nb"},
        {"contact": "a@b\nBcc: c@d"},
        {"reporter": "usr_good"},
    ):
        house.ask("", "POST", "/abuse/reports", {**said, **wrong}, status=422)
    for _ in range(5):
        report(house)
    reply = house.ask("", "POST", "/abuse/reports", said, status=429)
    assert int(reply.headers["retry-after"]) > 0


@pytest.mark.parametrize("text", ["<svg onload=alert(1)>", "{{7*7}} ${7*7} %s {0.__class__}"])
def test_hostile_text_comes_back_as_data(justice: tuple[House, Court], text: str) -> None:
    house, _ = justice
    receipt = report(house, text=text, subject=text)
    reply = house.ask("judge", "GET", f"/abuse/cases/{receipt['case']}")
    assert reply.headers["content-type"] == "application/json"
    assert reply.json()["reports"][0]["text"] == text
    assert reply.json()["case"]["subject"] == text


def test_a_grave_copy_over_http(justice: tuple[House, Court]) -> None:
    house, _ = justice
    receipt = report(house, "child_safety")
    copies = f"/abuse/cases/{receipt['case']}/copies"
    made = house.ask("judge", "POST", copies, picture(), status=201).json()
    one = f"{copies}/{made['copy']}"
    assert house.ask("judge", "GET", one).headers["content-type"] == "image/png"
    house.ask("judge", "GET", f"{one}?whole=true", status=403)
    house.ask("judge", "POST", f"{one}/leave", {"viewer": "usr_judge"}, status=403)
    house.ask("second", "POST", f"{one}/leave", {"viewer": "usr_judge"}, status=204)
    house.ask("judge", "GET", f"{one}?whole=true")
    other = report(house, "spam", subject="ws_bad/other")
    wrong = f"/abuse/cases/{other['case']}/copies/{made['copy']}"
    house.ask("judge", "GET", wrong, status=404)


def test_the_rest_of_a_case_over_http(justice: tuple[House, Court]) -> None:
    house, c = justice
    first = report(house, subject="https://example.org/a")["case"]
    second = report(house, subject="https://example.org/b")["case"]
    one = f"/abuse/cases/{first}"
    assert (
        house.ask("judge", "POST", f"{one}/triage", {"severity": "S1"}).json()["severity"] == "S1"
    )
    merged = house.ask("judge", "POST", f"/abuse/cases/{second}/merge", {"into": first}).json()
    assert merged["reports"] == 2
    house.ask("judge", "POST", f"{one}/workspace", {"workspace": "ws_bad"})
    assert house.ask("judge", "POST", f"{one}/hold", {"held": True}).json()["held"]
    assert house.ask("admin", "POST", f"{one}/decide", ruled("terminate")).json()["force"] == (
        "proposed"
    )
    house.ask("admin", "POST", f"{one}/second", {"agree": True}, status=403)
    house.ask("second", "POST", f"{one}/second", {"agree": True})
    assert c.bailiff.suspended == {"ws_bad": 0}


def test_what_is_public_is_the_report_alone(database: Database, tmp_path: Path) -> None:
    c, o = court(database, tmp_path / "c"), office(database, tmp_path / "o")
    doors = [*abuse.doors(c.abuse), *identity.doors(o.identity)]
    assert [one.path for one in doors if one.needs is PUBLIC] == ["/api/v1/abuse/reports"]
    # What a role of a workspace holds never opens a reviewer's door.
    held = frozenset[Permission]().union(*PERMISSIONS.values(), SELF)
    theirs = {one.path for one in doors if one.needs and one.needs in held}
    assert theirs == {
        "/api/v1/abuse/appeals",
        "/api/v1/abuse/statements",
        "/api/v1/identity",
        "/api/v1/identity/checks",
        "/api/v1/identity/checks/{check}/appeal",
        "/api/v1/identity/checks/{check}/pictures",
        "/api/v1/identity/codes",
        "/api/v1/identity/codes/confirm",
    }
    assert all(replace(one).summary for one in doors)


@pytest.fixture
def type_in(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Any, Court, Office]:
    """Types commands over features whose clock a test can turn."""
    c, o = court(database, tmp_path / "c"), office(database, tmp_path / "o")

    @contextmanager
    def house(home: Path | None) -> Generator[SimpleNamespace]:
        yield SimpleNamespace(abuse=c.abuse, identity=o.identity)

    def run(*words: str) -> str:
        group = abuse_commands.abuse if words[0] == "abuse" else identity_commands.identity
        done = CliRunner().invoke(group, words[1:], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    monkeypatch.setattr(abuse_commands, "house", house)
    monkeypatch.setattr(identity_commands, "house", house)
    monkeypatch.setattr(abuse_commands, "system_clock", c.clock)
    monkeypatch.setenv("COLUMNS", "240")
    return run, c, o


def test_commands_of_abuse(type_in: tuple[Any, Court, Office]) -> None:
    run, c, _ = type_in
    house = House(abuse.doors(c.abuse), Gate(c))
    receipt = report(house, text="It \u202edoes harm.")
    assert receipt["case"] in run("abuse", "list")
    shown = run("abuse", "show", receipt["case"])
    assert "It ?does harm." in shown
    assert REPORTER not in shown
    why = ("--ground", "hate", "--rule", "Terms, 4.2", "--facts", "Seen.")
    made = run("abuse", "decide", receipt["case"], "suspend", "--days", "7", *why)
    assert made.split()[1] == "in_force"
    assert c.bailiff.suspended == {"ws_bad": START + 7 * DAY_MS}
    said = {"decision": made.split()[0], "text": "It was art."}
    appeal = house.ask("bad", "POST", "/abuse/appeals", said, status=201).json()
    assert appeal["id"] in run("abuse", "appeals")
    with pytest.raises(HeliographError, match="another reviewer"):
        run("abuse", "settle", appeal["id"], "reversed", "--reasons", "art")
    assert run("abuse", "transparency", "2027").startswith("measure,of,value")
    again = report(house)["case"]
    assert run("abuse", "decide", again, "terminate", *why).split()[1] == "proposed"
    with pytest.raises(HeliographError):
        run("abuse", "second", again, "--agree")


def test_commands_of_identity(type_in: tuple[Any, Court, Office], tmp_path: Path) -> None:
    run, _, o = type_in
    house = House(identity.doors(o.identity), Gate())
    said = {"name": "Ada Lovelace", "number": "P 1"}
    check = house.ask("good", "POST", "/identity/checks", said).json()["id"]
    house.ask("good", "POST", f"/identity/checks/{check}/pictures", picture())
    assert check in run("identity", "list")
    assert "Ada" not in run("identity", "show", check)
    assert "Ada Lovelace" in run("identity", "show", check, "--evidence", str(tmp_path / "look"))
    (file,) = (tmp_path / "look").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert run("identity", "approve", check, "--reason", "agrees").split()[1] == "verified"
    other = house.ask("bad", "POST", "/identity/checks", {**said, "number": "2"}).json()["id"]
    run("identity", "show", other, "--evidence", str(tmp_path / "more"))
    assert run("identity", "reject", other, "--reason", "no picture").split()[1] == "rejected"
