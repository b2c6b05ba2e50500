"""A server is backed up while it answers, lost, and restored elsewhere: nothing differs."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import httpx

from support import pictures
from support.server import Server, running

PHOTO = pictures.file(pictures.scene())
MODELS = ("--models", "process,edges")


def heliograph(home: Path, *words: str, code: int = 0) -> str:
    """A command on a data folder; its output."""
    done = subprocess.run(
        [sys.executable, "-m", "heliograph", *words, "--home", str(home)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={one: said for one, said in os.environ.items() if one != "HELIOGRAPH_HOME"},
    )
    assert done.returncode == code, done.stderr + done.stdout
    return done.stdout + done.stderr


def ask(server: Server, key: str) -> str:
    """One paid call; its request id."""
    answer = httpx.post(
        f"{server.address}/api/v1/edges",
        content=PHOTO,
        headers={"authorization": f"Bearer {key}", "content-type": "image/png"},
        timeout=30,
    )
    assert answer.status_code == 200, answer.text
    return answer.headers["x-request-id"]


def ledger(home: Path) -> list[tuple[object, ...]]:
    """Every row of the ledger, as it lies in the file."""
    connection = sqlite3.connect(f"file:{home / 'heliograph.db'}?mode=ro", uri=True)
    try:
        return connection.execute("SELECT * FROM ledger ORDER BY seq").fetchall()
    finally:
        connection.close()


def test_a_lost_server_comes_back_as_it_was(tmp_path: Path) -> None:
    home, again, file = tmp_path / "home", tmp_path / "again", tmp_path / "b"
    words = tmp_path / "words"
    words.write_text("a passphrase that is long enough\n")
    lock = ("--passphrase-file", str(words))
    with running(home, *MODELS, stderr=tmp_path / "log") as server:
        key = heliograph(home, "keys", "create", "phone").split()[0]
        asked = {ask(server, key) for _ in range(12)}
        said = heliograph(home, "backup", str(file), *lock)
        assert "rows" in said
        asked_later = ask(server, key)
    assert file.read_bytes().startswith(b"HELIOGRAPH-BACKUP 1\n")
    before = ledger(home)
    assert len(before) == 13
    heliograph(home, "rotate-keys")
    assert "every key opens" in heliograph(home, "rotate-keys", "--check")
    secrets = {name: home / name for name in ("keys/root", "audit/key")}
    for name, path in secrets.items():
        if path.exists():
            (again / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, again / name)
    shutil.rmtree(home)

    assert "passphrase" in heliograph(again, "restore", str(file), code=2)
    assert "restored what was there" in heliograph(again, "restore", str(file), *lock)
    assert "there already" in heliograph(again, "restore", str(file), *lock, code=2)
    assert ledger(again) == before[:12], "equal to the last digit"
    assert asked_later not in str(ledger(again))
    assert all(one in str(ledger(again)) for one in asked)
    heliograph(again, "audit", "verify")
    with running(again, *MODELS, stderr=tmp_path / "log2") as server:
        ask(server, key)
    assert len(ledger(again)) == 13
    assert "backup:restored" in heliograph(again, "audit", "list")
