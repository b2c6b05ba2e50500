"""Erasures: asked for, cooled down, carried out to the last byte, whoever is killed on the way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import select

from heliograph.accounts.keys.store import KEYS
from heliograph.accounts.privacy.values import Erasure, ErasureState, ExportState
from heliograph.accounts.roles import Role
from heliograph.audit.values import Filter
from heliograph.billing.ledger.store import LEDGER
from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act
from heliograph.places import tables
from heliograph.storage.backup import Backup
from heliograph.storage.database import Database
from heliograph.storage.erasures import FILE, erased
from heliograph.storage.restoring import Target, restore
from heliograph.storage.tables import METADATA
from support.databases import opened
from support.privacy import ALARMS, MAIL, NAME, PICTURE, ROOM, Town, every_row

TESTS = Path(__file__).parents[3]
SITES = (
    *("erasure.refused", "erasure.noted", "erasure.shredded", "erasure.place", "erasure.place=20"),
    *("erasure.told", "erasure.letters", "erasure.forgotten", "erasure.scrubbed"),
    *("vault.emptied", "audit.appended"),
)


def refused(code: Code, *words: str) -> pytest.RaisesExc[HeliographError]:
    return pytest.RaisesExc(
        HeliographError, check=lambda e: e.code == code and all(word in e.detail for word in words)
    )


def full(town: Town) -> tuple[str, str, str]:
    """Somebody with something everywhere, and a room that others own too: ids and a file."""
    me, friend = town.person(), town.person("friend@otters.example", "Friend")
    room = town.room(friend, "A Room That Stays")
    town.rooms.join(room, me, Role.DEVELOPER, friend)
    town.call(room, me)
    ref = town.picture(me)
    town.privacy.consents.withdraw(me, town.privacy.consents.asked(me)[0].purpose, me)
    town.privacy.exports.ask(me, me)
    town.privacy.tend()
    town.deliver()
    return me, room, ref


def traces(town: Town) -> list[str]:
    """Where a canary is still to be found."""
    found: list[str] = []
    for path, data in town.everywhere():
        canaries = (MAIL, NAME, "canary.maria")
        found += [f"{one} in {path.name}" for one in canaries if one.encode() in data]
        if PICTURE[:40] in data:
            found.append(f"a picture in {path.name}")
    with town.database.read() as connection:
        said = every_row(connection)
    return found + [one for one in (MAIL, NAME) if one in said]


def test_nothing_is_left_and_the_audit_log_still_verifies(
    database: Database, tmp_path: Path
) -> None:
    town = Town(database, tmp_path / "home")
    me, room, ref = full(town)
    town.audit.seals.checkpoint()
    assert traces(town), "the canaries are there before"
    (export,) = town.privacy.exports.page(me)
    assert export.state is ExportState.READY
    done = town.erased(me)
    assert done.state is ErasureState.DONE
    assert (done.subject, done.actor) == ("", "")
    assert traces(town) == []
    assert town.audit.seals.verify().faults == []
    assert town.audit.find(Filter(subject=me)) == [], "nobody resolves the pseudonym"
    certificate = next(one for one in town.audit.find(Filter(act=Act.ERASURE_DONE)))
    assert certificate.facts["erasure"] == done.id
    assert me not in str(certificate)
    with refused(Code.NOT_FOUND):
        town.vault.get(ref, me, "pictures")
    assert list((town.home / "blobs").rglob("*_*")) == [], "the objects went too"
    assert erased(town.home / FILE) == [me]
    with database.read() as connection:
        assert connection.scalar(select(LEDGER.c.person)) == me, "the law keeps the ledger"
    _, ticks = town.privacy.erasures.get(done.id)
    kept = {one.place: one.law for one in ticks if one.state == "kept"}
    assert set(kept) == {"calls", "consents", "audit"}
    assert all(kept.values())
    assert [one.place for one in ticks if one.place in town.privacy.erasures.names()]
    assert {one.place for one in ticks} == set(town.privacy.erasures.names())
    assert town.rooms.members(room)[0].person != me
    assert town.people.get(me).state == "erased"


def test_a_workspace_goes_and_the_bill_stays(database: Database, tmp_path: Path) -> None:
    town = Town(database, tmp_path / "home")
    me = town.person()
    room, other = town.room(me), town.room(me, "Another Room")
    town.call(room, me)
    ref = town.picture(room)
    done = town.erased(room, me)
    assert done.state is ErasureState.DONE
    with town.database.read() as connection:
        said = every_row(connection)
        rooms = list(connection.scalars(select(KEYS.c.workspace)))
    assert ROOM not in said
    assert "pred_0" in said
    assert rooms == [other], "another one's keys are untouched"
    with refused(Code.NOT_FOUND):
        town.vault.get(ref, room, "pictures")
    assert town.people.get(me).mail == MAIL, "the owner is not the workspace"
    assert town.rooms.get(room).suspended(town.clock())
    with refused(Code.NOT_FOUND):
        town.privacy.erasures.ask(room, me)
    assert town.audit.seals.verify().faults == []


def test_it_cools_down_and_can_be_called_off(database: Database, tmp_path: Path) -> None:
    town = Town(database, tmp_path / "home")
    me = town.person()
    desk = town.privacy.erasures
    asked = desk.ask(me, me)
    assert asked.state is ErasureState.COOLING
    assert desk.ask(me, me) == asked, "asked for twice is asked for once"
    assert desk.of(me) == asked
    town.clock.days(6.9)
    town.privacy.tend()
    assert desk.cancel(asked.id, me).state is ErasureState.CANCELLED
    assert desk.cancel(asked.id, me).state is ErasureState.CANCELLED
    town.clock.days(30)
    town.privacy.tend()
    assert town.people.get(me).mail == MAIL
    again = desk.ask(me, me)
    assert again.id != asked.id
    town.clock.days(7)
    town.privacy.tend()
    with refused(Code.CONFLICT, "begun"):
        desk.cancel(again.id, me)
    with refused(Code.NOT_FOUND):
        desk.of("usr_" + "0" * 32)
    with refused(Code.NOT_FOUND):
        desk.get(again.id, "usr_" + "0" * 32)
    with refused(Code.NOT_FOUND):
        desk.ask("usr_" + "0" * 32, me)


def test_calls_are_refused_before_anything_is_deleted(database: Database, tmp_path: Path) -> None:
    town = Town(database, tmp_path / "home")
    me = town.person()
    room = town.room(me)
    ref = town.picture(room)
    asked = town.privacy.erasures.ask(room, me)
    town.clock.days(7)
    town.privacy.tend()
    assert town.privacy.erasures.get(asked.id)[0].state is ErasureState.REFUSING
    assert town.rooms.get(room).suspended(town.clock())
    assert town.vault.get(ref, room, "pictures") == PICTURE, "calls in flight may still end"
    town.call(room, me, 7)
    town.clock.now += town.rules.settling
    town.privacy.tend()
    with refused(Code.NOT_FOUND):
        town.vault.get(ref, room, "pictures")


def test_the_operator_needs_a_second_person_for_a_workspace(
    database: Database, tmp_path: Path
) -> None:
    town = Town(database, tmp_path / "home")
    me = town.person()
    room = town.room(me)
    desk = town.privacy.erasures
    asked = desk.ask(room, "admin", operator=True)
    assert asked.state is ErasureState.PROPOSED
    town.clock.days(20)
    town.privacy.tend()
    assert desk.get(asked.id)[0].state is ErasureState.PROPOSED
    for same in ("admin", "command"):
        with refused(Code.FORBIDDEN, "second person"):
            desk.approve(asked.id, same)
    approved = desk.approve(asked.id, me)
    assert (approved.state, approved.second) == (ErasureState.COOLING, me)
    assert approved.begins_ms == town.clock() + town.rules.cooling
    with refused(Code.CONFLICT):
        desk.approve(asked.id, me)


def test_the_last_owner_and_the_servers_own_workspace_stay(
    database: Database, tmp_path: Path
) -> None:
    town = Town(database, tmp_path / "home")
    me = town.person()
    room = town.room(me)
    with refused(Code.CONFLICT, room, "only owner"):
        town.privacy.erasures.ask(me, me)
    with refused(Code.CONFLICT):
        town.privacy.erasures.ask("ws_default", me)
    town.erased(room, me)
    assert town.erased(me).state is ErasureState.DONE


def test_a_legal_hold_comes_first_and_the_law_is_told(database: Database, tmp_path: Path) -> None:
    town = Town(database, tmp_path / "home")
    me, _, ref = full(town)
    asked = town.privacy.erasures.ask(me, me)
    town.held.add(me)
    town.finish()
    waiting: Erasure = town.privacy.erasures.get(asked.id)[0]
    assert (waiting.state, "legal hold" in waiting.waits) == (ErasureState.REFUSING, True)
    assert town.vault.get(ref, me, "pictures") == PICTURE
    assert erased(town.home / FILE) == [], "a restore must not erase it either"
    town.clock.now = asked.due_ms - town.rules.warning
    town.privacy.tend()
    town.privacy.tend()
    town.clock.now = asked.due_ms
    town.privacy.tend()
    late = town.audit.find(Filter(act=Act.ERASURE_OVERDUE))
    assert [one.facts["days_left"] for one in late] == [0, 7]
    town.deliver()
    letters = [one.read_text() for one in (town.home / "outbox").glob("*.eml")]
    assert sum(f"To: {ALARMS}" in one for one in letters) == 2
    town.held.clear()
    town.finish()
    assert town.privacy.erasures.get(asked.id)[0].state is ErasureState.DONE
    assert traces(town) == []


def test_the_letter_leaves_before_the_address_is_forgotten(
    database: Database, tmp_path: Path
) -> None:
    town = Town(database, tmp_path / "home")
    me = town.person()
    town.deliver()
    asked = town.privacy.erasures.ask(me, me)
    town.clock.days(7)
    town.privacy.tend()
    town.clock.now += 10_000
    town.privacy.tend()
    assert town.privacy.erasures.get(asked.id)[0].state is ErasureState.TELLING
    town.deliver()
    letters = [one.read_text() for one in (town.home / "outbox").glob("*.eml")]
    assert any("Your data has been erased" in one for one in letters)
    town.privacy.tend()
    assert town.privacy.erasures.get(asked.id)[0].state is ErasureState.DONE


def test_a_letter_that_never_leaves_does_not_keep_the_address(
    database: Database, tmp_path: Path
) -> None:
    town = Town(database, tmp_path / "home")
    me = town.person()
    asked = town.privacy.erasures.ask(me, me)
    town.clock.days(7)
    town.privacy.tend()
    town.clock.now += 10_000
    town.privacy.tend()
    town.clock.days(2)
    town.privacy.tend()
    assert town.privacy.erasures.get(asked.id)[0].state is ErasureState.DONE
    assert traces(town) == []


def test_a_restored_backup_forgets_again(tmp_path: Path) -> None:
    """An old backup brings nobody back: the list of the erased is not in it."""
    file = tmp_path / "backup"
    with opened("", tmp_path / "database") as database:
        town = Town(database, tmp_path / "home")
        me, _, ref = full(town)
        asked = town.privacy.erasures.ask(me, me)
        backup = Backup(database, town.home, town.vault.objects, town.clock, town.audit.append)
        backup.make(file, actor="command", with_root_key=True)
        town.finish()
        assert town.privacy.erasures.get(asked.id)[0].state is ErasureState.DONE
        gone = erased(town.home / FILE)
    with opened("", tmp_path / "second" / "database") as database:
        again = Town(database, tmp_path / "second" / "home")
        target = Target(database, again.home, again.vault.objects, again.clock)
        steps = [again.privacy.erase_again]
        restore(file, target, replace=True, erased=gone, erase=steps)
        again = Town(database, again.home)
        assert again.people.get(me).state == "erased"
        with refused(Code.NOT_FOUND):
            again.vault.get(ref, me, "pictures")
        with refused(Code.NOT_FOUND):
            again.privacy.erasures.of(me)
        with database.read() as connection:
            said = every_row(connection)
        assert MAIL not in said
        assert NAME not in said
        database.write(lambda connection: again.privacy.erase_again(connection, "unknown_1"))
        database.write(lambda connection: again.privacy.erase_again(connection, me))
        assert again.audit.seals.verify().faults == []


NOBODYS = {
    # Not of one person or workspace, or found through what is.
    *("alembic_version", "epochs", "attempts", "audit", "audit_head", "audit_subjects"),
    *("price_books", "invoice_series", "invoice_seals", "usage_marks"),
    *("ring_keys", "ring_data_keys"),
    # Of the procedure: subjects are what was reported; evidence lies under the holds' own key.
    *("abuse_cases", "abuse_copies", "abuse_grants", "abuse_locks", "abuse_senders"),
    # Who has looked at evidence, by id.
    "identity_views",
}


def test_every_table_is_in_some_place_or_nobodys(database: Database) -> None:
    del database
    mine = {name for name in METADATA.tables if name.startswith("privacy_")}
    assert set(METADATA.tables) - tables() - mine - NOBODYS == set()


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from support.databases import opened
from support.privacy import Clock, Town
home = Path(sys.argv[1])
with opened("", home.parent / "database") as database:
    Town(database, home, Clock(int(sys.argv[3]))).finish()
"""


@pytest.mark.parametrize("site", SITES)
def test_a_process_that_is_killed_is_followed_by_another(tmp_path: Path, site: str) -> None:
    home, seen = tmp_path / "home", tmp_path / "seen"
    with opened("", tmp_path / "database") as database:
        town = Town(database, home)
        me, _, _ = full(town)
        asked = town.privacy.erasures.ask(me, me)
        now = town.clock()
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(home), str(TESTS), str(now)],
        env={**os.environ, "HELIOGRAPH_FAULTS": site, "HELIOGRAPH_FAULTS_SEEN": str(seen)},
        check=False,
        timeout=60,
    )
    assert killed.returncode == -9
    assert seen.read_text() == site.partition("=")[0] + "\n"
    with opened("", tmp_path / "database") as database:
        town = Town(database, home)
        town.clock.now = now
        town.finish()
        done, ticks = town.privacy.erasures.get(asked.id)
        assert done.state is ErasureState.DONE
        assert sorted(one.place for one in ticks) == sorted(town.privacy.erasures.names())
        assert len(town.audit.find(Filter(act=Act.ERASURE_DONE))) == 1
        assert town.audit.seals.verify().faults == []
        assert erased(home / FILE) == [me]
        assert traces(town) == []
