from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from heliograph.audit import verifier
from heliograph.audit.export import export
from heliograph.audit.service import Audit
from heliograph.audit.values import Filter
from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act, Event
from support.audited import ALICE, SPACE

Fill = Callable[[int], None]
only_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@pytest.mark.parametrize("name", ["export", "export.zip"])
def test_an_export_verifies_elsewhere(audit: Audit, fill: Fill, tmp_path: Path, name: str) -> None:
    fill(7)
    audit.seals.checkpoint()
    fill(2)
    path = tmp_path / name
    assert export(audit, path, "command") == 9
    key = verifier.read_key(audit.seals.key)
    found = verifier.check_export(path, key)
    assert (found.events, found.checkpoints, found.faults) == (9, 1, [])
    assert path.stat().st_mode & 0o077 == 0
    told = audit.find(Filter(limit=1))[0]
    assert (told.act, told.actor, told.facts) == (Act.AUDIT_EXPORTED, "command", {"events": 9})
    with pytest.raises(HeliographError) as refused:
        export(audit, path, "command")
    assert refused.value.code is Code.NAME_TAKEN


def test_an_export_names_nobody(audit: Audit, fill: Fill, tmp_path: Path) -> None:
    fill(3)
    export(audit, tmp_path / "export", "command")
    text = (tmp_path / "export" / "audit.jsonl").read_text()
    assert ALICE not in text
    assert SPACE not in text
    assert not list(tmp_path.glob(".export*"))


@only_sqlite
def test_an_export_to_nowhere_leaves_nothing(audit: Audit, fill: Fill, tmp_path: Path) -> None:
    fill(1)
    with pytest.raises(HeliographError) as refused:
        export(audit, tmp_path / "missing" / "export", "command")
    assert refused.value.code is Code.STORAGE_FULL
    assert audit.count() == 1


@only_sqlite
@pytest.mark.parametrize(
    "line",
    [
        *(b"", b"{}", b"[1]", b"\xff", b"null", b'"' * 10, b"[" * 5000, b"1" * 70_000),
        b'{"seq":true,"body":"","prev":"","hash":""}',
        b'{"seq":1e400,"body":"","prev":"","hash":""}',
        b'{"seq":99999999999999999999999999,"body":"","prev":"","hash":""}',
        b'{"seq":10,"body":"\\ud800","prev":"","hash":""}',
        b'{"seq":10,"body":{},"prev":[],"hash":null}',
    ],
    ids=range(13),
)
def test_foreign_lines_are_faults_not_crashes(
    audit: Audit, fill: Fill, tmp_path: Path, line: bytes
) -> None:
    fill(2)
    export(audit, tmp_path / "export", "command")
    with (tmp_path / "export" / "audit.jsonl").open("ab") as file:
        file.write(line + b"\n")
    found = verifier.check_export(tmp_path / "export", verifier.read_key(audit.seals.key))
    assert found.faults


@only_sqlite
def test_what_is_no_export_is_said_to_be_none(
    audit: Audit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text").write_text("hello")
    (tmp_path / "empty").mkdir()
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("x", "y")
    for name in ("text", "empty", "other.zip", "missing"):
        assert verifier.main([str(tmp_path / name), "--key", audit.seals.key]) == 1
        assert "is no export" in capsys.readouterr().err
    assert verifier.main([str(tmp_path), "--key", str(tmp_path / "nokey")]) == 2


@only_sqlite
def test_a_log_without_checkpoints_says_so(
    audit: Audit, fill: Fill, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(1)
    export(audit, tmp_path / "export", "command")
    assert verifier.main([str(tmp_path / "export"), "--key", audit.seals.key]) == 0
    assert "No checkpoint vouches for it yet." in capsys.readouterr().out


@only_sqlite
def test_a_proof_is_checked_by_the_script(
    audit: Audit, fill: Fill, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(11)
    audit.seals.checkpoint()
    proof = audit.proof(6, SPACE)
    said = {name: getattr(proof, name) for name in proof.__dataclass_fields__}
    path = tmp_path / "proof.json"
    words = ["--proof", str(path), "--key", audit.seals.key]
    path.write_text(json.dumps(said))
    assert verifier.main(words) == 0
    assert '"seq":6' in capsys.readouterr().out
    other = audit.proof(7)
    wrongs = [
        {"body": proof.body.replace("key:", "kei:")},
        {"seq": 7},
        {"path": other.path},
        {"path": proof.path[:-1]},
        {"checkpoint": proof.checkpoint.replace("\n11\n", "\n12\n")},
        {"body": other.body, "prev": other.prev, "hash": other.hash},
        {"body": other.body, "prev": other.prev, "hash": other.hash, "seq": 7},
        {"path": 3},
        {"path": ["zz"]},
        {"hash": None},
    ]
    for wrong in wrongs:
        path.write_text(json.dumps(said | wrong))
        assert verifier.main(words) == 1, wrong
        assert "not proved" in capsys.readouterr().err
    path.write_text("[]")
    assert verifier.main(words) == 1


def test_a_proof_waits_for_its_checkpoint(audit: Audit, fill: Fill) -> None:
    fill(2)
    with pytest.raises(HeliographError) as refused:
        audit.proof(1)
    assert refused.value.code is Code.NOT_FOUND
    audit.seals.checkpoint()
    assert audit.proof(2).seq == 2
    fill(1)
    with pytest.raises(HeliographError) as refused:
        audit.proof(3)
    assert refused.value.code is Code.CONFLICT
    audit.record(Event(Act.SERVER_STARTED, "system"))
    audit.seals.checkpoint()
    for seq, workspace in ((4, SPACE), (1, "ws_" + "0" * 32), (9, None), (0, None)):
        with pytest.raises(HeliographError) as refused:
            audit.proof(seq, workspace)
        assert refused.value.code is Code.NOT_FOUND
