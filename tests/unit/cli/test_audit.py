from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import update

from heliograph.audit import store, verifier
from heliograph.audit.service import Audit
from heliograph.cli import audit as command
from heliograph.core.events import Act, Event
from heliograph.storage.database import Database, open_database
from heliograph.storage.tables import METADATA
from support.audited import ALICE, KEY, SPACE, Turned

Run = Callable[..., Result]


@pytest.fixture
def database(tmp_path: Path) -> Generator[Database]:
    made = open_database("", tmp_path / "database")
    made.write(METADATA.create_all)
    yield made
    made.close()


@pytest.fixture
def log(database: Database, tmp_path: Path) -> Audit:
    clock = Turned()
    made = Audit(database, clock, tmp_path / "audit")
    for number in range(5):
        made.record(Event(Act.KEY_CREATED, ALICE, SPACE, KEY, {"number": number}))
        clock.ms += 86_400_000
    made.record(Event(Act.SERVER_STARTED, "system"))
    return made


@pytest.fixture
def run(log: Audit, monkeypatch: pytest.MonkeyPatch) -> Run:
    @contextmanager
    def opened(home: Path | None) -> Generator[SimpleNamespace]:
        del home
        yield SimpleNamespace(audit=log)

    monkeypatch.setattr(command, "house", opened)

    def call(*words: str | Path) -> Result:
        return CliRunner().invoke(command.audit, [str(one) for one in words])

    return call


def test_listing(run: Run) -> None:
    lines = run("list").output.splitlines()
    assert len(lines) == 6
    assert lines[0].startswith("       1  2026-09-21 ")
    assert f"key:created  by {ALICE}  {KEY}  in {SPACE}  number=0" in lines[0]
    assert lines[-1].endswith("server:started  by system")
    assert len(run("list", "--act", "server:started").output.splitlines()) == 1
    assert len(run("list", "--workspace", SPACE, "--limit", "2").output.splitlines()) == 2
    assert (
        len(run("list", "--since", "2026-09-23", "--until", "2026-09-25").output.splitlines()) == 2
    )
    told = json.loads(run("list", "--json", "--limit", "1").output)
    assert told["act"] == "server:started"
    assert told["facts"] == {}
    assert run("list", "--act", "key:eaten").exit_code == 2


def test_verifying_before_and_after_a_byte_is_changed(run: Run, database: Database) -> None:
    good = run("verify")
    assert good.exit_code == 0
    assert "6 events, 0 signed checkpoints" in good.output
    assert "The log is whole. No checkpoint vouches for it yet." in good.output
    assert run("checkpoint").exit_code == 0
    assert "The log is whole.\n" in run("verify").output
    edit = update(store.AUDIT).where(store.AUDIT.c.seq == 3)
    database.write(lambda one: one.execute(edit.values(body=store.AUDIT.c.body.op("||")(" "))))
    bad = run("verify")
    assert bad.exit_code == 1
    assert "WRONG edited: event 3 was changed after it was written." in bad.output
    assert "keep the data folder" in bad.output


def test_a_checkpoint_can_be_kept_and_shown_again(run: Run, tmp_path: Path, log: Audit) -> None:
    printed = run("checkpoint")
    kept = tmp_path / "kept"
    kept.write_text(printed.stdout)
    assert printed.stdout == log.seals.newest()[1]
    assert "2 signed checkpoints" in run("verify", "--checkpoint", kept).output
    kept.write_text(printed.stdout.replace("\n6\n", "\n7\n"))
    assert run("verify", "--checkpoint", kept).exit_code == 1


def test_an_export_is_checked_by_the_script_that_is_printed(run: Run, tmp_path: Path) -> None:
    assert run("checkpoint").exit_code == 0
    out = tmp_path / "out.zip"
    assert "6 events" in run("export", out).output
    script = tmp_path / "audit_verify.py"
    script.write_text(run("script").output)
    assert script.read_text() == Path(verifier.__file__).read_text()
    words = [sys.executable, "-I", "-S", script, out, "--key", run("key").output.strip()]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "The log is whole." in done.stdout
    assert run("list", "--limit", "1").output.count("audit:exported  by command") == 1
