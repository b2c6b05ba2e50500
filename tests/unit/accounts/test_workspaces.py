from __future__ import annotations

import pytest

from heliograph.accounts.roles import Role
from heliograph.accounts.workspaces.service import Workspaces
from heliograph.accounts.workspaces.values import DEFAULT
from heliograph.core.errors import Code, HeliographError
from heliograph.storage.database import Database
from support.clock import Turned
from support.record import Recorded


@pytest.fixture
def record() -> Recorded:
    return Recorded()


@pytest.fixture
def workspaces(database: Database, record: Recorded) -> Workspaces:
    return Workspaces(database, Turned(), record)


def test_the_first_start_makes_one(workspaces: Workspaces, record: Recorded) -> None:
    workspaces.prepare()
    workspaces.prepare()
    assert [one.id for one in workspaces.page()] == [DEFAULT]
    assert record.acts == ["workspace:created"]


@pytest.mark.parametrize("twin", ["acme", "ACME", "\uff41cme", " acme "])
def test_names_that_look_alike_are_one(workspaces: Workspaces, twin: str) -> None:
    workspaces.create("acme", "admin")
    with pytest.raises(HeliographError) as failed:
        workspaces.create(twin, "admin")
    assert failed.value.code is Code.NAME_TAKEN


@pytest.mark.parametrize("name", ["", " ", "x" * 81, "a\nb", "a\x00b", "\u202eevil"])
def test_names_that_are_none(workspaces: Workspaces, name: str) -> None:
    with pytest.raises(HeliographError) as failed:
        workspaces.create(name, "admin")
    assert failed.value.code is Code.VALIDATION


@pytest.mark.parametrize("name", ["{{7*7}}", "<svg onload=x>", "=1+1", "Größe & Söhne", "%s%n"])
def test_odd_names_stay_what_they_are(workspaces: Workspaces, name: str) -> None:
    assert workspaces.get(workspaces.create(name, "admin").id).name == name


def test_a_workspace_keeps_an_owner(workspaces: Workspaces, record: Recorded) -> None:
    place = workspaces.create("acme", "admin", owner="usr_1").id
    workspaces.join(place, "usr_2", Role.ADMIN, "usr_1")
    for refused in (
        lambda: workspaces.leave(place, "usr_1", "usr_2"),
        lambda: workspaces.change_role(place, "usr_1", Role.VIEWER, "usr_2"),
    ):
        with pytest.raises(HeliographError) as failed:
            refused()
        assert failed.value.code is Code.CONFLICT
    workspaces.change_role(place, "usr_2", Role.OWNER, "usr_1")
    workspaces.leave(place, "usr_1", "usr_1")
    assert [(one.person, one.role) for one in workspaces.members(place)] == [("usr_2", Role.OWNER)]
    assert record.acts == [
        "workspace:created", "member:added", "member:changed", "member:removed",
    ]  # fmt: skip


def test_nobody_joins_twice_or_nowhere(workspaces: Workspaces) -> None:
    place = workspaces.create("acme", "admin").id
    workspaces.join(place, "usr_1", Role.VIEWER, "admin")
    for where, code in ((place, Code.CONFLICT), ("ws_nowhere", Code.NOT_FOUND)):
        with pytest.raises(HeliographError) as failed:
            workspaces.join(where, "usr_1", Role.VIEWER, "admin")
        assert failed.value.code is code


def test_what_is_not_there(workspaces: Workspaces) -> None:
    for act in (
        lambda: workspaces.get("ws_x"),
        lambda: workspaces.rename("ws_x", "y", "admin"),
        lambda: workspaces.weigh("ws_x", 2, "admin"),
        lambda: workspaces.leave("ws_x", "usr_1", "admin"),
    ):
        with pytest.raises(HeliographError) as failed:
            act()
        assert failed.value.code is Code.NOT_FOUND
