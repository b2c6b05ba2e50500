"""Every way to tamper with the log that we could think of: found here, and by the script alone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, delete, insert, update

from heliograph.audit import store, verifier
from heliograph.audit.export import export
from heliograph.audit.service import Audit
from heliograph.audit.signing import Signer
from heliograph.audit.verifier import GENESIS, chain_hash
from heliograph.core.errors import Code, HeliographError
from heliograph.storage.database import Database

Fill = Callable[[int], None]
Row = dict[str, Any]
Rows = list[Row]
only_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
only_postgresql = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


@pytest.fixture
def sealed(audit: Audit, fill: Fill) -> Audit:
    """A log of 12 events, with checkpoints over 4, 8 and 12."""
    for _ in range(3):
        fill(4)
        audit.seals.checkpoint()
    return audit


def edit(row: Row) -> None:
    row["body"] = row["body"].replace('"number":', '"number":1')


def relink(rows: Rows, start: int) -> Rows:
    """Write the chain anew from a place on, so that it fits within itself."""
    prev = rows[start - 1]["hash"] if start else GENESIS
    for row in rows[start:]:
        row["prev"], row["hash"] = prev, chain_hash(prev, row["body"])
        prev = row["hash"]
    return rows


def renumber(rows: Rows) -> Rows:
    for number, row in enumerate(rows, 1):
        body = json.loads(row["body"]) | {"seq": number}
        row["seq"] = number
        row["body"] = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return rows


def swap(rows: Rows, *names: str) -> Rows:
    one, other = rows[5], rows[6]
    for name in names:
        one[name], other[name] = other[name], one[name]
    return rows


def edited(rows: Rows) -> Rows:
    edit(rows[5])
    return rows


def edited_with_its_hash(rows: Rows) -> Rows:
    edit(rows[5])
    rows[5]["hash"] = chain_hash(rows[5]["prev"], rows[5]["body"])
    return rows


def edited_with_all_hashes(rows: Rows) -> Rows:
    edit(rows[5])
    return relink(rows, 5)


def edited_at_the_end(rows: Rows) -> Rows:
    edit(rows[11])
    return relink(rows, 11)


def another_time(rows: Rows) -> Rows:
    body = json.loads(rows[2]["body"])
    body["at_ms"] += 1
    rows[2]["at_ms"] += 1
    rows[2]["body"] = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return relink(rows, 2)


def removed(rows: Rows) -> Rows:
    return rows[:5] + rows[6:]


def removed_and_linked(rows: Rows) -> Rows:
    return relink(rows[:5] + rows[6:], 5)


def removed_and_renumbered(rows: Rows) -> Rows:
    return relink(renumber(rows[:5] + rows[6:]), 0)


def first_removed(rows: Rows) -> Rows:
    return rows[1:]


def last_removed(rows: Rows) -> Rows:
    return rows[:-1]


def cut_off(rows: Rows) -> Rows:
    return rows[:8]


def emptied(rows: Rows) -> Rows:
    del rows
    return []


def swapped(rows: Rows) -> Rows:
    return swap(rows, "body", "prev", "hash")


def swapped_bodies(rows: Rows) -> Rows:
    return swap(rows, "body")


def swapped_and_linked(rows: Rows) -> Rows:
    return relink(swap(rows, "body"), 5)


def repeated(rows: Rows) -> Rows:
    rows[6] = rows[5] | {"seq": 7}
    return rows


def inserted_at_the_end(rows: Rows) -> Rows:
    return [*rows, rows[5] | {"seq": 13}]


def inserted_before_the_first(rows: Rows) -> Rows:
    return [rows[0] | {"seq": 0}, *rows]


def another_beginning(rows: Rows) -> Rows:
    rows[0]["prev"] = "1" * 64
    rows[0]["hash"] = chain_hash("1" * 64, rows[0]["body"])
    return relink(rows, 1)


def not_canonical(rows: Rows) -> Rows:
    rows[11]["body"] = rows[11]["body"].replace('":', '": ')
    return relink(rows, 11)


def no_hash(rows: Rows) -> Rows:
    rows[5]["hash"] = ""
    return rows


def no_body(rows: Rows) -> Rows:
    rows[5]["body"] = ""
    return rows


MUTATIONS: dict[Callable[[Rows], Rows], tuple[str, int]] = {
    edited: ("edited", 6),
    edited_with_its_hash: ("unlinked", 7),
    edited_with_all_hashes: ("rewritten", 5),
    edited_at_the_end: ("rewritten", 9),
    another_time: ("rewritten", 1),
    removed: ("missing", 6),
    removed_and_linked: ("missing", 6),
    removed_and_renumbered: ("rewritten", 5),
    first_removed: ("missing", 1),
    last_removed: ("truncated", 12),
    cut_off: ("truncated", 9),
    emptied: ("truncated", 1),
    swapped: ("order", 6),
    swapped_bodies: ("edited", 6),
    swapped_and_linked: ("order", 6),
    repeated: ("order", 7),
    inserted_at_the_end: ("unlinked", 13),
    inserted_before_the_first: ("order", 0),
    another_beginning: ("unlinked", 1),
    not_canonical: ("malformed", 12),
    no_hash: ("malformed", 6),
    no_body: ("edited", 6),
}


def tamper(database: Database, change: Callable[[Rows], Rows]) -> None:
    """Change the rows as whoever owns the database can, the head too."""

    def work(connection: Connection) -> None:
        rows: Rows = [dict(one._mapping) for one in store.rows(connection)]
        rows = change(rows)
        connection.execute(delete(store.AUDIT))
        if rows:
            connection.execute(insert(store.AUDIT), rows)
        last = rows[-1] if rows else {"seq": 0, "hash": GENESIS}
        connection.execute(update(store.HEAD).values(seq=last["seq"], hash=last["hash"]))

    database.write(work)


def run_script(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the stand-alone verifier where none of our modules can be imported."""
    return subprocess.run(
        [sys.executable, "-I", "-S", verifier.__file__, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )


@only_sqlite
@pytest.mark.parametrize("change", MUTATIONS, ids=lambda one: one.__name__)
def test_tampering_is_found(
    sealed: Audit, database: Database, tmp_path: Path, change: Callable[[Rows], Rows]
) -> None:
    kind, seq = MUTATIONS[change]
    tamper(database, change)
    found = sealed.seals.verify()
    assert (kind, seq) in {(one.kind, one.seq) for one in found.faults}
    path = _write_export(sealed, tmp_path)
    done = run_script(path, "--key", sealed.seals.key)
    assert done.returncode == 1, done.stdout
    assert f"WRONG {kind}: " in done.stdout
    assert f"  {kind}: {verifier.ADVICE[kind]}" in done.stdout
    assert "whole" not in done.stdout
    assert done.stderr == ""


@only_postgresql
def test_tampering_is_found_in_postgresql(
    sealed: Audit, database: Database, tmp_path: Path
) -> None:
    with database.read() as connection:
        before: Rows = [dict(one._mapping) for one in store.rows(connection)]
    for number, (change, (kind, seq)) in enumerate(MUTATIONS.items()):
        tamper(database, lambda _, change=change: change([dict(one) for one in before]))
        found = {(one.kind, one.seq) for one in sealed.seals.verify().faults}
        assert (kind, seq) in found, change
        path = tmp_path / str(number)
        path.mkdir()
        checked = verifier.check_export(
            _write_export(sealed, path), verifier.read_key(sealed.seals.key)
        )
        assert (kind, seq) in {(one.kind, one.seq) for one in checked.faults}, change


def _write_export(audit: Audit, tmp_path: Path) -> Path:
    """An export of a log to which nothing can be appended any more."""
    path = tmp_path / "export"
    try:
        export(audit, path, "command")
    except HeliographError as error:
        assert error.code is Code.DB_UNAVAILABLE  # noqa: PT017 - it wrote all but its own event
    return path


def test_an_untouched_log_is_whole(sealed: Audit, tmp_path: Path) -> None:
    export(sealed, tmp_path / "export", "command")
    done = run_script(tmp_path / "export", "--key", tmp_path / "audit" / "key.pub")
    assert done.returncode == 0, done.stdout
    assert done.stdout == "12 events, 3 signed checkpoints\nThe log is whole.\n"
    assert sealed.seals.verify().faults == []
    assert sealed.count() == 13


@only_sqlite
@pytest.mark.parametrize("column", ["at_ms", "act", "actor", "workspace", "subject"])
def test_columns_that_are_searched_cannot_lie(
    sealed: Audit, database: Database, column: str
) -> None:
    value = 5 if column == "at_ms" else "other"
    where = store.AUDIT.c.seq == 6
    database.write(
        lambda one: one.execute(update(store.AUDIT).where(where).values({column: value}))
    )
    faults = sealed.seals.verify().faults
    assert [(one.seq, one.kind) for one in faults] == [(6, "edited")]
    assert column in faults[0].text


def test_the_head_cannot_lie(sealed: Audit, database: Database) -> None:
    database.write(lambda one: one.execute(update(store.HEAD).values(seq=20)))
    assert [one.kind for one in sealed.seals.verify().faults] == ["truncated"]


def test_a_wrong_log_is_not_signed(sealed: Audit, database: Database) -> None:
    tamper(database, edited_with_all_hashes)
    again = Audit(database, lambda: 0, sealed.seals._notes._folder.parent)
    with pytest.raises(HeliographError, match="no longer agrees") as refused:
        again.seals.checkpoint()
    assert refused.value.row.page
    assert len(again.seals.all()) == 3
    tamper(database, cut_off)
    with pytest.raises(HeliographError, match="no longer agrees"):
        again.seals.checkpoint()


@only_sqlite
def test_many_faults_are_told_in_few_lines(sealed: Audit, database: Database, fill: Fill) -> None:
    fill(100)

    def all_edited(rows: Rows) -> Rows:
        for row in rows:
            row["body"] += " "
        return rows

    tamper(database, all_edited)
    assert len(sealed.seals.verify().faults) == 50


# --- the checkpoints' files ----------------------------------------------------------------


def remove_middle(folder: Path) -> None:
    (folder / "00000002").unlink()


def remove_first(folder: Path) -> None:
    (folder / "00000001").unlink()


def grow(folder: Path) -> None:
    note = folder / "00000003"
    note.write_text(note.read_text().replace("\n12\n", "\n13\n"))


def garble(folder: Path) -> None:
    (folder / "00000002").write_bytes(b"\xff\xfe\0")


def empty(folder: Path) -> None:
    (folder / "00000003").write_text("")


def exchange(folder: Path) -> None:
    one, other = folder / "00000001", folder / "00000002"
    first, second = one.read_text(), other.read_text()
    one.write_text(second)
    other.write_text(first)


def forge(folder: Path) -> None:
    note = folder / "00000002"
    name = note.read_text().split("\n")[0]
    text = note.read_text().partition("\n\n")[0] + "\n"
    note.write_text(Signer(name, b"\7" * 32).sign(text))


def resign(folder: Path) -> None:
    """As who has stolen the key, and signs another log."""
    signer = Signer.read((folder.parent / "key").read_text())
    root = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
    (folder / "00000002").write_text(signer.sign(f"{signer.key.name}\n8\n{root}\n"))


@only_sqlite
@pytest.mark.parametrize(
    ("change", "kind"),
    [
        *((one, "checkpoint") for one in (remove_middle, remove_first, grow, garble, empty)),
        *((one, "checkpoint") for one in (exchange, forge)),
        (resign, "rewritten"),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_changed_checkpoints_are_found(
    sealed: Audit, tmp_path: Path, change: Callable[[Path], None], kind: str
) -> None:
    change(tmp_path / "audit" / "checkpoints")
    assert kind in {one.kind for one in sealed.seals.verify().faults}
    done = run_script(_write_export(sealed, tmp_path), "--key", sealed.seals.key)
    assert done.returncode == 1
    assert f"WRONG {kind}: " in done.stdout


def test_the_last_checkpoints_are_missed_where_a_copy_is(
    sealed: Audit, database: Database, tmp_path: Path
) -> None:
    """Who cuts off the log and its last checkpoints is found by what is kept elsewhere."""
    export(sealed, tmp_path / "export", "command")
    (tmp_path / "audit" / "checkpoints" / "00000003").unlink()
    tamper(database, cut_off)
    assert [one.kind for one in sealed.seals.verify().faults] == ["truncated"]
    alone = Audit(database, lambda: 0, tmp_path / "audit")
    assert alone.seals.verify().faults == []
    kept = tmp_path / "elsewhere" / "00000003"
    assert [one.kind for one in alone.seals.verify([kept.read_text()]).faults] == ["truncated"]
    export(alone, tmp_path / "later", "command")
    assert run_script(tmp_path / "later", "--key", alone.seals.key).returncode == 0
    done = run_script(tmp_path / "later", "--key", alone.seals.key, "--checkpoint", kept)
    assert "WRONG truncated: events 9 to 12 are missing at the end" in done.stdout


@only_sqlite
def test_files_are_for_the_owner_only(sealed: Audit, tmp_path: Path) -> None:
    del sealed
    folder = tmp_path / "audit"
    assert (folder / "key").stat().st_mode & 0o777 == 0o600
    assert (folder / "checkpoints").stat().st_mode & 0o777 == 0o700
    notes = sorted((folder / "checkpoints").iterdir())
    assert [one.name for one in notes] == ["00000001", "00000002", "00000003"]
    assert {one.stat().st_mode & 0o777 for one in notes} == {0o600}
    copies = sorted((tmp_path / "elsewhere").iterdir())
    assert [one.read_bytes() for one in copies] == [one.read_bytes() for one in notes]


@only_sqlite
def test_a_lost_or_damaged_key_stops_the_start(
    sealed: Audit, database: Database, tmp_path: Path
) -> None:
    del sealed
    key = tmp_path / "audit" / "key"
    content = key.read_text()
    key.write_text(content[:-8] + "AAAAAAA=")
    with pytest.raises(HeliographError, match="damaged"):
        Audit(database, lambda: 0, tmp_path / "audit")
    key.unlink()
    with pytest.raises(HeliographError, match="audit/key is gone"):
        Audit(database, lambda: 0, tmp_path / "audit")
    key.write_text(content)
    (tmp_path / "audit" / "key.pub").unlink()
    assert Audit(database, lambda: 0, tmp_path / "audit").seals.verify().faults == []
    assert (tmp_path / "audit" / "key.pub").exists()


@only_sqlite
def test_a_second_folder_that_fails_is_made_good(
    database: Database, tmp_path: Path, fill: Fill, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("")
    log = Audit(database, lambda: 0, tmp_path / "audit", blocked)
    fill(1)
    log.seals.checkpoint()
    assert "cannot be written" in caplog.text
    blocked.unlink()
    fill(1)
    log.seals.checkpoint()
    assert sorted(one.name for one in blocked.iterdir()) == ["00000001", "00000002"]
