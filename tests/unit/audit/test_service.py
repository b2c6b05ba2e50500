from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, delete, insert, select

from heliograph.audit import store
from heliograph.audit.keeping import Keeper
from heliograph.audit.service import Audit
from heliograph.audit.values import ADDRESS, Filter
from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act, Event
from heliograph.storage.database import Database, open_database
from heliograph.storage.tables import METADATA
from support.audited import ALICE, BOB, KEY, SPACE, Turned

Fill = Callable[[int], None]


def bodies(audit: Audit) -> list[dict[str, Any]]:
    return [json.loads(row.body) for row in audit.rows()]


def test_events_count_up_from_one(audit: Audit, fill: Fill) -> None:
    fill(5)
    assert [row.seq for row in audit.rows()] == [1, 2, 3, 4, 5]
    assert audit.seals.verify().faults == []


def test_an_empty_log_is_whole(audit: Audit) -> None:
    assert audit.seals.verify().faults == []
    assert audit.seals.checkpoint()[0] == 1
    assert audit.seals.verify().checkpoints == 2  # with the copy elsewhere


def test_the_act_and_its_event_are_one_transaction(audit: Audit, database: Database) -> None:
    def work(connection: Connection) -> None:
        audit.append(connection, Event(Act.KEY_CREATED, "system", SPACE, KEY))
        raise HeliographError(Code.CONFLICT, "Not today.")

    with pytest.raises(HeliographError, match="Not today"):
        database.write(work)
    assert audit.count() == 0
    audit.record(Event(Act.KEY_CREATED, "system", SPACE, KEY))
    assert [row.seq for row in audit.rows()] == [1]


def test_an_event_that_cannot_be_written_stops_its_act(audit: Audit, database: Database) -> None:
    """F-27: what is not recorded does not happen, and the caller is told to try again."""

    def work(connection: Connection) -> None:
        connection.execute(insert(store.SUBJECTS).values(_subject()))
        audit.append(connection, Event(Act.KEY_CREATED, "system", SPACE, KEY))

    database.write(store.AUDIT.drop)
    with pytest.raises(HeliographError) as refused:
        database.write(work)
    assert refused.value.code is Code.DB_UNAVAILABLE
    assert refused.value.row.status == 503
    with database.read() as connection:
        assert connection.execute(select(store.SUBJECTS)).all() == []


def _subject() -> dict[str, object]:
    return {"id": "x", "pseudonym": "y", "salt": b"z", "made_ms": 0}


def test_a_secret_stops_its_act(audit: Audit, database: Database) -> None:
    with pytest.raises(ValueError, match="key of ours"):
        audit.record(Event(Act.KEY_CREATED, "system", facts={"text": "hg_live_0123456789"}))
    assert audit.count() == 0


def test_a_clock_that_jumps_back_changes_no_order(audit: Audit, clock: Turned, fill: Fill) -> None:
    fill(2)
    clock.ms -= 86_400_000
    fill(2)
    assert audit.seals.verify().faults == []
    found = audit.find(Filter())
    assert [one.seq for one in found] == [4, 3, 2, 1]
    assert found[0].at_ms < found[-1].at_ms


# --- people ------------------------------------------------------------------------------


def test_the_chain_names_nobody(audit: Audit, fill: Fill) -> None:
    fill(3)
    audit.record(Event(Act.CALL_REFUSED, "nobody", facts={ADDRESS: "203.0.113.7"}))
    text = " ".join(row.body for row in audit.rows())
    for secret in (ALICE, BOB, SPACE, "203.0.113.7"):
        assert secret not in text
    assert KEY in text


def test_readers_see_who_it_was(audit: Audit, fill: Fill) -> None:
    fill(1)
    audit.record(Event(Act.CALL_REFUSED, "nobody", facts={ADDRESS: "203.0.113.7"}))
    refused, created = audit.find(Filter())
    assert (created.actor, created.workspace, created.subject) == (ALICE, SPACE, KEY)
    assert created.facts == {"number": 0, "member": BOB}
    assert refused.facts == {ADDRESS: "203.0.113.7"}


def test_who_is_forgotten_is_gone_and_the_chain_verifies(
    audit: Audit, database: Database, fill: Fill
) -> None:
    """I-12 and I-18 together."""
    fill(6)
    audit.seals.checkpoint()
    before = list(audit.rows())
    pseudonym = database.write(lambda one: audit.forget(one, ALICE))
    assert list(audit.rows())[:6] == before
    audit.seals.checkpoint()
    assert audit.seals.verify().faults == []
    told = audit.find(Filter())
    assert ALICE not in str(told)
    assert BOB in str(told)
    assert told[0].act == Act.AUDIT_FORGOTTEN
    assert told[0].subject == pseudonym == told[-1].actor
    assert audit.find(Filter(actor=ALICE)) == []
    # Whoever has the id still cannot find the events: the salt is gone.
    with database.read() as connection:
        assert ALICE not in connection.execute(select(store.SUBJECTS.c.id)).scalars().all()
    assert database.write(lambda one: audit.forget(one, ALICE)) == ""


def test_nothing_of_the_salt_stays_in_the_file(tmp_path: Path, clock: Turned) -> None:
    database = open_database("", tmp_path)
    database.write(METADATA.create_all)
    audit = Audit(database, clock, tmp_path / "audit")
    audit.record(Event(Act.KEY_CREATED, ALICE, SPACE, KEY))
    with database.read() as connection:
        salt = connection.execute(
            select(store.SUBJECTS.c.salt).where(store.SUBJECTS.c.id == ALICE)
        ).scalar_one()
    database.write(lambda one: audit.forget(one, ALICE))
    database.close()
    left = b"".join(one.read_bytes() for one in tmp_path.glob("heliograph.db*"))
    assert SPACE.encode() in left
    assert salt not in left
    assert ALICE.encode() not in left


def test_a_workspace_is_forgotten_too(audit: Audit, database: Database, fill: Fill) -> None:
    fill(3)
    database.write(lambda one: audit.forget(one, SPACE))
    assert audit.find(Filter(workspace=SPACE)) == []
    assert audit.seals.verify().faults == []


def test_addresses_are_forgotten_with_time(
    audit: Audit, database: Database, clock: Turned, fill: Fill
) -> None:
    audit.record(Event(Act.CALL_REFUSED, "nobody", facts={ADDRESS: "203.0.113.7"}))
    fill(1)
    clock.ms += 1000
    audit.record(Event(Act.CALL_REFUSED, "nobody", facts={ADDRESS: "203.0.113.8"}))
    assert database.write(lambda one: audit.forget_addresses(one, clock.ms)) == 1
    told = str(audit.find(Filter()))
    assert "203.0.113.7" not in told
    assert "203.0.113.8" in told
    assert ALICE in told
    assert audit.seals.verify().faults == []


# --- several at once ---------------------------------------------------------------------


def test_writers_of_several_processes_make_one_chain(
    database: Database, clock: Turned, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = ""
    if database.kind == "postgresql":
        name = database.engine.url.database
        server: str = request.getfixturevalue("postgres_server")
        url = server.replace("/postgres?", f"/{name}?")
    other = open_database(url, tmp_path / "database")
    logs = [Audit(one, clock, tmp_path / "audit") for one in (database, other)]
    failed: list[BaseException] = []

    def write(log: Audit, number: int) -> None:
        try:
            for turn in range(20):
                actor = f"usr_{number:016x}{turn % 3:016x}"
                log.record(Event(Act.KEY_CREATED, actor, SPACE, KEY, {"turn": turn}))
        except BaseException as error:  # noqa: BLE001 - shown below
            failed.append(error)

    threads = [threading.Thread(target=write, args=(logs[n % 2], n // 2)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    assert failed == []
    assert [row.seq for row in logs[0].rows()] == list(range(1, 161))
    assert logs[0].seals.verify().faults == []
    with database.read() as connection:
        people = connection.execute(select(store.SUBJECTS.c.id)).scalars().all()
    assert len(people) == len(set(people)) == 4 * 3 + 1


def test_checkpoints_of_several_processes_have_one_count(
    database: Database, clock: Turned, tmp_path: Path, audit: Audit, fill: Fill
) -> None:
    again = Audit(database, clock, tmp_path / "audit")
    assert again.seals.key == audit.seals.key
    for turn in range(4):
        fill(2)
        threads = [
            threading.Thread(target=one.seals.checkpoint) for one in (audit, again, audit, again)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [number for number, _ in audit.seals.all()] == list(range(1, turn + 2))
    assert audit.seals.verify().faults == []


# --- looking -----------------------------------------------------------------------------


def test_filters(audit: Audit, clock: Turned, fill: Fill) -> None:
    fill(6)
    audit.record(Event(Act.SERVER_STARTED, "system"))
    assert [one.seq for one in audit.find(Filter(act=Act.SERVER_STARTED))] == [7]
    assert [one.seq for one in audit.find(Filter(actor=ALICE))] == [4, 1]
    assert [one.seq for one in audit.find(Filter(workspace=SPACE, limit=2))] == [6, 5]
    assert [one.seq for one in audit.find(Filter(before=3))] == [2, 1]
    assert [one.seq for one in audit.find(Filter(subject=KEY, before=2))] == [1]
    third = audit.find(Filter(before=4))[0].at_ms
    assert [one.seq for one in audit.find(Filter(since_ms=third, until_ms=third + 1000))] == [3]
    assert audit.find(Filter(workspace="ws_" + "0" * 32)) == []


# --- the keeper ----------------------------------------------------------------------------


def test_the_keeper_signs_now_and_then_and_at_the_end(
    audit: Audit, database: Database, clock: Turned, fill: Fill
) -> None:
    keeper = Keeper(audit, database, clock, every=3600)
    fill(3)
    keeper.close()
    number, note = audit.seals.newest()
    assert (number, note.split("\n")[1]) == (1, "3")
    keeper = Keeper(audit, database, clock, every=0.01)
    fill(1)
    done = threading.Event()
    for _ in range(500):
        if audit.seals.newest()[0] == 2:
            break
        done.wait(0.01)
    keeper.close()
    assert audit.seals.newest()[1].split("\n")[1] == "4"


def test_the_keeper_outlives_a_database_that_fails(
    audit: Audit, database: Database, clock: Turned, fill: Fill
) -> None:
    fill(1)
    database.write(lambda one: one.execute(delete(store.AUDIT)))
    keeper = Keeper(audit, database, clock, every=0.01, address_days=0)
    threading.Event().wait(0.05)
    keeper.close()
    assert audit.seals.all() == []
