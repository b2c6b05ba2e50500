from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    MetaData,
    Table,
    Text,
    func,
    insert,
    select,
)
from sqlalchemy.exc import IntegrityError

from heliograph.core.errors import Code, HeliographError
from heliograph.storage.database import Database, check_sqlite, open_database
from heliograph.storage.tables import SEQUENCE

NOTES = Table(
    "test_notes",
    MetaData(),
    Column("n", SEQUENCE, primary_key=True),
    Column("id", Text, unique=True, nullable=False),
    Column("x", BigInteger),
)


@pytest.fixture(autouse=True)
def notes(database: Database) -> None:
    """The table, which is no part of the house's."""
    database.write(lambda connection: NOTES.create(connection, checkfirst=True))


def put(id_: str) -> Callable[[Connection], int]:
    def work(connection: Connection) -> int:
        return connection.execute(insert(NOTES).values(id=id_, x=1)).rowcount

    return work


def count(database: Database) -> int:
    with database.read() as connection:
        return connection.scalar(select(func.count()).select_from(NOTES)) or 0


def test_what_is_written_can_be_read(database: Database) -> None:
    assert database.write(put("a")) == 1
    assert count(database) == 1


def test_one_that_fails_is_undone_alone(database: Database) -> None:
    database.write(put("a"))
    gate = threading.Event()

    def slow(connection: Connection) -> None:
        del connection
        gate.wait(5)

    # While the first works the others gather in the line, and share the next transaction.
    waiting = [database.submit(slow)]
    waiting += [database.submit(put(one)) for one in ("b", "a", "c")]
    gate.set()
    errors = [type(one.exception()) for one in waiting]
    assert errors == [type(None), type(None), IntegrityError, type(None)]
    assert count(database) == 3


def test_work_that_raises_leaves_nothing(database: Database) -> None:
    def work(connection: Connection) -> None:
        connection.execute(insert(NOTES).values(id="a", x=1))
        raise HeliographError(Code.CONFLICT, "No.")

    with pytest.raises(HeliographError) as failed:
        database.write(work)
    assert failed.value.code is Code.CONFLICT
    assert count(database) == 0


def test_a_bug_in_ones_work_is_told_to_that_one(database: Database) -> None:
    with pytest.raises(ZeroDivisionError):
        database.write(lambda connection: 1 // len(connection.info.get("x", "")))
    assert database.write(put("a")) == 1


def test_rows_of_one_kind_are_written_together_and_one_bad_row_hurts_nobody(
    database: Database,
) -> None:
    sizes: list[int] = []

    def write(connection: Connection, rows: Sequence[dict[str, object]]) -> None:
        sizes.append(len(rows))
        connection.execute(insert(NOTES), list(rows))

    bulk = database.bulk(write)
    gate = threading.Event()
    database.submit(lambda _: gate.wait(5))
    futures = [bulk.put({"id": str(n % 40), "x": n}) for n in range(50)]
    gate.set()
    failed = [one.exception() is not None for one in futures]
    assert failed == [n >= 40 for n in range(50)]
    assert max(sizes) == 50, "they were never together"
    assert count(database) == 40


def test_readers_cannot_write(database: Database) -> None:
    def attempt() -> None:
        with database.read() as connection:
            connection.execute(insert(NOTES).values(id="a", x=1))
            connection.commit()

    with pytest.raises(HeliographError):
        attempt()
    assert count(database) == 0


def test_many_threads_lose_nothing(database: Database) -> None:
    def work(at: int) -> None:
        for n in range(25):
            database.write(put(f"{at}-{n}"))

    threads = [threading.Thread(target=work, args=(at,)) for at in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert count(database) == 200


def test_what_waits_at_the_end_is_written(tmp_path: Path) -> None:
    first = open_database("", tmp_path)
    first.write(NOTES.create)
    futures = [first.submit(put(str(n))) for n in range(20)]
    first.close()
    assert all(one.done() for one in futures)
    again = open_database("", tmp_path)
    assert count(again) == 20
    again.close()
    with pytest.raises(HeliographError) as failed:
        again.submit(put("late"))
    assert failed.value.code is Code.DB_UNAVAILABLE


@pytest.mark.parametrize(
    "version", [(3, 40, 1), (3, 44, 5), (3, 45, 0), (3, 50, 6), (3, 51, 0), (3, 51, 2)]
)
def test_a_library_that_can_lose_data_is_refused(version: tuple[int, int, int]) -> None:
    with pytest.raises(HeliographError, match="write-ahead log"):
        check_sqlite(version)


@pytest.mark.parametrize("version", [(3, 44, 6), (3, 50, 7), (3, 51, 3), (3, 53, 4), (4, 0, 0)])
def test_mended_libraries_are_taken(version: tuple[int, int, int]) -> None:
    check_sqlite(version)


@pytest.mark.parametrize("url", ["mysql://x/y", "sqlite:///x", "nonsense", "postgresql"])
def test_other_addresses_are_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(HeliographError) as failed:
        open_database(url, tmp_path)
    assert failed.value.code is Code.VALIDATION


def test_sqlite_is_private_full_and_in_wal(tmp_path: Path) -> None:
    database = open_database("", tmp_path)
    pragmas = ("journal_mode", "synchronous", "foreign_keys")
    said = database.write(
        lambda connection: [connection.exec_driver_sql(f"PRAGMA {one}").scalar() for one in pragmas]
    )
    assert said == ["wal", 2, 1]
    assert (tmp_path / "heliograph.db").stat().st_mode & 0o777 == 0o600
    database.close()


def test_a_locked_database_is_told_and_not_waited_for_ever(tmp_path: Path) -> None:
    one, other = open_database("", tmp_path), open_database("", tmp_path)
    one.write(NOTES.create)
    held, let_go = threading.Event(), threading.Event()

    def hold(connection: Connection) -> None:
        del connection
        held.set()
        let_go.wait(20)

    holding = one.submit(hold)
    held.wait(5)
    with pytest.raises(HeliographError) as failed:
        other.write(put("a"))
    assert failed.value.code is Code.DB_UNAVAILABLE
    let_go.set()
    holding.result(5)
    assert other.write(put("a")) == 1
    one.close()
    other.close()
