"""Exports: whole, signed, resumable, fetched by one subject only, gone after their term."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from heliograph.accounts.privacy.archive import Packing, cell, check
from heliograph.accounts.privacy.values import Export, ExportState, Purpose, Sheet, Subject
from heliograph.audit.values import Filter
from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act
from heliograph.storage.database import Database
from support.privacy import MAIL, NAME, ROOM, Town


def refused(code: Code) -> pytest.RaisesExc[HeliographError]:
    return pytest.RaisesExc(HeliographError, check=lambda e: e.code == code)


def made(town: Town, subject: str) -> Export:
    asked = town.privacy.exports.ask(subject, subject)
    assert asked.state is ExportState.QUEUED
    town.privacy.tend()
    return town.privacy.exports.get(asked.id)


def inside(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        return {name: packed.read(name) for name in packed.namelist()}


def test_an_export_comes_back_with_the_same_digests(database: Database, tmp_path: Path) -> None:
    town = Town(database, tmp_path / "home")
    me = town.person()
    room = town.room(me)
    town.call(room, me)
    town.privacy.consents.withdraw(me, Purpose.TRAINING, me)
    export = made(town, me)
    assert export.state is ExportState.READY
    data = town.privacy.exports.take(export.id, me, me)
    manifest = check(data, town.privacy.exports.public)
    assert (manifest["subject"], manifest["export"]) == (me, export.id)
    files = inside(data)
    (account,) = json.loads(files["data/account.json"])
    assert (account["mail"], account["name"]) == (MAIL, NAME)
    assert "password" not in account
    assert [one["workspace"] for one in json.loads(files["data/memberships.json"])] == [room]
    assert [one["id"] for one in json.loads(files["data/calls.json"])] == ["pred_0"]
    assert [one["given"] for one in json.loads(files["data/consents.json"])] == [False]
    assert "user:registered" in str(files["data/audit.json"]) or files["data/audit.json"] != b"[]"
    schema = json.loads(files["schema.json"])["tables"]
    for name, columns in schema.items():
        rows = list(csv.reader(io.StringIO(files[f"data/{name}.csv"].decode())))
        assert rows[0] == columns
        assert len(rows) - 1 == len(json.loads(files[f"data/{name}.json"]))
    acts = [one.act for one in town.audit.find(Filter(subject=me, limit=3))]
    assert acts == [Act.EXPORT_TAKEN, Act.EXPORT_MADE, Act.EXPORT_REQUESTED]
    town.deliver()
    letters = [one.read_text() for one in (town.home / "outbox").glob("*.eml")]
    assert any(f"/api/v1/exports/{export.id}/file" in one for one in letters)


def test_a_workspace_has_its_own_and_no_secret_is_in_it(database: Database, tmp_path: Path) -> None:
    town = Town(database, tmp_path / "home")
    me = town.person()
    room, other = town.room(me), town.room(me, "Another Room")
    town.call(room, me, 1)
    town.call(other, me, 2)
    export = made(town, room)
    files = inside(town.privacy.exports.take(export.id, me, room))
    assert [one["id"] for one in json.loads(files["data/ledger.json"])] == ["pred_1"]
    assert json.loads(files["data/account.json"])[0]["name"] == ROOM
    (key,) = json.loads(files["data/keys.json"])
    assert key["name"] == "canary key"
    assert "digest" not in key
    everything = b"".join(files.values())
    assert other.encode() not in everything
    assert MAIL.encode() not in everything, "another person's address"
    with refused(Code.NOT_FOUND):
        town.privacy.exports.take(export.id, me, me)
    with refused(Code.NOT_FOUND):
        town.privacy.exports.get(export.id, other)


def test_it_goes_after_its_term_and_is_asked_for_once(database: Database, tmp_path: Path) -> None:
    town = Town(database, tmp_path / "home")
    me = town.person()
    first = town.privacy.exports.ask(me, me)
    assert town.privacy.exports.ask(me, me).id == first.id
    with refused(Code.CONFLICT):
        town.privacy.exports.take(first.id, me)
    town.privacy.tend()
    town.clock.days(7)
    with refused(Code.NOT_FOUND):
        town.privacy.exports.take(first.id, me)
    report = town.privacy.sweep()
    assert [(one.shelf, one.deleted) for one in report.lines] == [("exports", 1)]
    assert town.privacy.exports.get(first.id).state is ExportState.EXPIRED
    assert "1 deleted" in report.printed()
    assert town.privacy.retention.reports() == [report]
    assert town.privacy.exports.ask(me, me).id != first.id
    with refused(Code.NOT_FOUND):
        town.privacy.exports.ask("usr_" + "0" * 32, me)


def test_a_maker_that_died_is_followed_by_another(database: Database, tmp_path: Path) -> None:
    town = Town(database, tmp_path / "home")
    me = town.person()
    exports = town.privacy.exports
    asked = exports.ask(me, me)
    assert database.write(lambda c: exports._claim(c, asked.id)) is not None
    town.privacy.tend()
    assert exports.get(asked.id).state is ExportState.MAKING, "its maker may still live"
    town.clock.now += town.rules.lease
    town.privacy.tend()
    done = exports.get(asked.id)
    assert (done.state, done.tries) == (ExportState.READY, 2)
    check(exports.take(asked.id, me), exports.public)


def packed(rows: list[tuple[object, ...]], key: Ed25519PrivateKey) -> bytes:
    sheet = Sheet("things", ("id", "text"), lambda: rows)
    return b"".join(Packing(Subject("usr_1", "person"), "exp_1", 1, key).pieces([sheet]))


def test_whatever_is_changed_is_noticed() -> None:
    key = Ed25519PrivateKey.generate()
    data = packed([(1, "a")], key)
    public = key.public_key().public_bytes_raw()
    assert check(data, public)["subject"] == "usr_1"
    files = inside(data)
    others = [
        {**files, "data/things.json": b"[]"},
        {**files, "more.json": b"{}"},
        {name: one for name, one in files.items() if name != "data/things.csv"},
        {**files, "manifest.json": files["manifest.json"].replace(b"usr_1", b"usr_2")},
        {name: one for name, one in files.items() if name != "manifest.sig"},
    ]
    for one in others:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as again:
            for name, body in one.items():
                again.writestr(name, body)
        with refused(Code.VALIDATION):
            check(out.getvalue(), public)
    with refused(Code.VALIDATION):
        check(data, Ed25519PrivateKey.generate().public_key().public_bytes_raw())
    with refused(Code.VALIDATION):
        check(b"no zip", public)


@given(st.lists(st.tuples(st.integers(), st.text())))
def test_json_is_exact_and_csv_has_no_formula(rows: list[tuple[object, ...]]) -> None:
    data = packed(rows, Ed25519PrivateKey.generate())
    check(data)
    files = inside(data)
    assert [tuple(one.values()) for one in json.loads(files["data/things.json"])] == rows
    for _, text in rows:
        assert not cell(text).lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r"))


@pytest.mark.parametrize(
    "text", ["=cmd|'/c calc'!A1", "+1", "-1", "@x", "\t=", '"=1', ",=1", " =1"]
)
def test_a_formula_is_a_text(text: str) -> None:
    assert cell(text) == "'" + text
    assert cell(-1) == "-1"
