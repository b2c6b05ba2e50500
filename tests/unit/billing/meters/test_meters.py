from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select

from heliograph.billing.invoices.values import ALL, DAY_MS, Span
from heliograph.billing.meters import store
from heliograph.billing.meters.service import Meters
from heliograph.billing.meters.values import NOBODY, Copy
from heliograph.billing.usage.reader import LedgerReader
from heliograph.core.errors import HeliographError
from heliograph.storage.database import Database
from heliograph.storage.store import BLOBS
from support.clock import START, Turned
from support.usage import answer, answered


class Machine:
    """A process with models in memory, whose two clocks a test turns."""

    def __init__(self, database: Database, owner: str = NOBODY) -> None:
        self.database = database
        self.clock = Turned()
        self.passed = 1000.0
        self.copies: list[Copy] = []
        self.meters = Meters(
            database, self.clock, lambda: self.copies, "node_1", lambda _: owner,
            lambda: self.passed,
        )  # fmt: skip

    def load(self, replicas: int = 1, busy_ms: int = 0, model: str = "detector") -> None:
        self.copies = [Copy(model, "1", "cpu", replicas, busy_ms * 1000)] if replicas else []

    def wait(self, seconds: float) -> None:
        self.clock.forward(seconds=seconds)
        self.passed += seconds


def call(database: Database, workspace: str, run_ms: int) -> None:
    row = answer(workspace, START, run_us=run_ms * 1000)
    database.write(lambda connection: answered(connection, [row]))


def rows(database: Database) -> list[Any]:
    with database.read() as connection:
        return list(connection.execute(select(store.HOSTED).order_by(store.HOSTED.c.seq)))


def shares(database: Database) -> dict[str, tuple[int, int]]:
    return {one.workspace: (one.replica_ms, one.busy_ms) for one in rows(database)}


@pytest.fixture
def machine(database: Database) -> Machine:
    return Machine(database)


def test_a_shared_models_run_is_shared_by_use(database: Database, machine: Machine) -> None:
    call(database, "ws_c", 500)
    machine.load(replicas=2)
    assert machine.meters.sample() == 0
    call(database, "ws_a", 100)
    call(database, "ws_b", 200)
    machine.load(replicas=2, busy_ms=901)
    machine.wait(60)
    assert machine.meters.sample() == 3
    assert shares(database) == {
        "ws_a": (300, 300),
        "ws_b": (601, 601),
        NOBODY: (2 * 60_000 - 901, 0),
    }


def test_a_kept_models_time_is_its_owners(database: Database) -> None:
    machine = Machine(database, "ws_a")
    machine.load(replicas=1)
    machine.meters.sample()
    call(database, "ws_b", 200)
    machine.load(replicas=1, busy_ms=200)
    machine.wait(10)
    machine.meters.sample()
    assert shares(database) == {"ws_a": (10_000, 200)}


def test_only_what_was_there_all_the_time_counts(database: Database, machine: Machine) -> None:
    machine.load(replicas=0)
    machine.meters.sample()
    machine.load(replicas=3)
    machine.wait(60)
    assert machine.meters.sample() == 0
    machine.load(replicas=1)
    machine.wait(60)
    machine.meters.sample()
    machine.load(replicas=0)
    machine.wait(60)
    assert machine.meters.sample() == 0
    assert shares(database) == {NOBODY: (60_000, 0)}


def test_a_killed_process_counts_nothing_twice(database: Database, machine: Machine) -> None:
    machine.load()
    machine.meters.sample()
    machine.wait(60)
    machine.meters.sample()
    machine.wait(30)
    again = Machine(database)
    again.clock.now_ms = machine.clock.now_ms
    again.load()
    again.meters.sample()
    again.wait(60)
    again.meters.sample()
    assert sum(one.replica_ms for one in rows(database)) == 120_000
    first, second = rows(database)
    assert first.to_ms <= second.from_ms


def test_a_clock_that_jumps_changes_no_length(database: Database, machine: Machine) -> None:
    machine.load()
    machine.meters.sample()
    for jump in (-86_400, 86_400, 0, -3600):
        machine.clock.forward(seconds=jump)
        machine.wait(60)
        machine.meters.sample()
    assert [one.replica_ms for one in rows(database)] == [60_000] * 4
    assert all(one.to_ms - one.from_ms == 60_000 for one in rows(database))


def test_a_sample_that_could_not_be_written_is_a_part_of_the_next(
    database: Database, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from heliograph.core.errors import Code

    machine.load()
    machine.meters.sample()
    machine.wait(60)
    with monkeypatch.context() as patch:

        def away(*_: object) -> None:
            raise HeliographError(Code.DB_UNAVAILABLE, "It is away.")

        patch.setattr(database, "write", away)
        with pytest.raises(HeliographError):
            machine.meters.sample()
    machine.wait(60)
    machine.meters.sample()
    assert shares(database) == {NOBODY: (120_000, 0)}


@given(
    busy=st.integers(0, 200_000),
    used=st.dictionaries(st.sampled_from(["ws_a", "ws_b", "ws_c"]), st.integers(0, 10**6)),
    replicas=st.integers(1, 4),
)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_law_shares_sum_to_the_replicas_time(
    database: Database, busy: int, used: dict[str, int], replicas: int
) -> None:
    database.write(lambda connection: connection.execute(delete(store.HOSTED)) and None)
    machine = Machine(database)
    machine.load(replicas=replicas)
    machine.meters.sample()
    for workspace, run_ms in used.items():
        call(database, workspace, run_ms)
    machine.load(replicas=replicas, busy_ms=busy)
    machine.wait(60)
    machine.meters.sample()
    found = rows(database)
    assert sum(one.replica_ms for one in found) == 60_000 * replicas
    assert sum(one.busy_ms for one in found) == min(busy, 60_000 * replicas)
    assert all(0 <= one.busy_ms <= one.replica_ms for one in found)


def blob(tenant: str, size: int, *, shredded: bool = False) -> dict[str, Any]:
    return {
        "id": f"blob_{tenant}_{size}",
        "tenant": tenant,
        "purpose": "picture",
        "size": size,
        "stored": size + 100,
        "digest": "",
        "key": "dek_1",
        "wrapped": None if shredded else b"k",
        "created_ms": START,
        "expires_ms": None,
        "hold": False,
    }


def stored(database: Database) -> dict[tuple[int, str], int]:
    with database.read() as connection:
        found = connection.execute(select(store.STORED))
        return {(one.day, one.workspace): one.bytes for one in found}


def test_storage_is_sampled_once_a_day(database: Database) -> None:
    blobs = [blob("ws_a", 5), blob("ws_a", 7), blob("ws_b", 9, shredded=True), blob("usr_1", 3)]
    database.write(lambda connection: connection.execute(insert(BLOBS), blobs) and None)
    machines = [Machine(database) for _ in range(4)]
    threads = [threading.Thread(target=one.meters.sample_day) for one in machines]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    day = START // DAY_MS
    database.write(lambda connection: connection.execute(insert(BLOBS), [blob("ws_b", 1)]) and None)
    assert Machine(database).meters.sample_day() is None
    assert stored(database) == {(day, NOBODY): 3, (day, "ws_a"): 12}
    machines[0].wait(86_400)
    assert machines[0].meters.sample_day() == 2
    assert stored(database)[day + 1, "ws_b"] == 1


def test_invoices_read_samples_of_workspaces_only(database: Database, machine: Machine) -> None:
    blobs = [blob("ws_a", 5), blob("usr_1", 3)]
    database.write(lambda connection: connection.execute(insert(BLOBS), blobs) and None)
    machine.load()
    machine.meters.sample()
    call(database, "ws_a", 100)
    machine.load(busy_ms=90)
    machine.wait(60)
    machine.meters.sample()
    machine.meters.sample_day()
    reader, span = LedgerReader(), Span(START - DAY_MS, START + DAY_MS)
    marks = database.write(reader.marks)
    with database.read() as connection:
        found = list(reader.usage(connection, span, ALL, None))
        late = set(
            reader.late(
                connection, START + DAY_MS, ALL._replace(ledger=0, hosted=0, stored=0), marks
            )
        )
    assert {one.workspace for one in found} == {"ws_a"}
    assert sum(one.busy_ms for one in found) == sum(one.replica_ms for one in found) == 90
    assert sum(one.byte_days for one in found) == 5
    assert sum(one.calls for one in found) == 1
    assert late == {("ws_a", START // DAY_MS)}
