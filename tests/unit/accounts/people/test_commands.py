"""`heliograph users`, over a real house of people."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from heliograph.cli import users
from heliograph.core.errors import Code, HeliographError
from heliograph.storage.database import Database
from support.people import HERE, MAIL, PASSWORD, House, build

Say = Callable[..., str]


@pytest.fixture
def house(database: Database, monkeypatch: pytest.MonkeyPatch) -> House:
    made = build(database, registration="closed")

    @contextmanager
    def opened(home: Path | None) -> Generator[SimpleNamespace]:
        assert home is None
        yield SimpleNamespace(people=made.people)

    monkeypatch.setattr(users, "house", opened)
    return made


def say(*words: str) -> str:
    done = CliRunner().invoke(users.users, words)
    if isinstance(done.exception, HeliographError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def test_a_first_operator_is_made_without_any_mail_server(house: House) -> None:
    made = say("create", MAIL, "--name", "Maria", "--operator").splitlines()
    assert made[0].startswith("usr_")
    house.people.joining.reset(made[1].partition("#")[2], PASSWORD, HERE)
    token = house.enter().token
    assert house.people.sessions.signed(token).operator
    assert say("list") == f"{made[0]}  active, operator    {MAIL}  Maria\n"
    assert json.loads(say("list", "--json"))[0]["mail"] == MAIL
    assert json.loads(say("show", MAIL.upper()))["id"] == made[0]
    assert json.loads(say("show", made[0]))["factors"] == []
    session = say("sessions", MAIL).split()
    assert session[0].startswith("ses_")
    assert say("sessions", MAIL, "--close", session[0]) == ""
    assert house.people.sessions.lookup(token) is None
    assert {event.actor for event in house.events} == {"command", made[0]}


def test_people_are_suspended_restored_and_helped(house: House) -> None:
    house.person()
    assert say("suspend", MAIL) == "suspended\n"
    assert say("list", "--state", "active") == ""
    assert say("restore", MAIL) == "active\n"
    assert say("operator", MAIL) == "active, operator\n"
    assert say("operator", MAIL, "--off") == "active\n"
    link = say("reset-link", MAIL).strip()
    house.people.joining.reset(link.partition("#")[2], "another long one", HERE)
    house.enter(password="another long one")


def test_nobody_is_nobody(house: House) -> None:
    for who in ("nobody@example.org", "usr_nobody"):
        with pytest.raises(HeliographError) as refused:
            say("show", who)
        assert refused.value.code is Code.NOT_FOUND
