"""F-06 and F-10: the database cannot be written; nobody is answered for nothing, and it passes."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from heliograph.accounts.workspaces.values import DEFAULT
from heliograph.storage.database import FILE
from support.checker import check
from support.ledgerload import HTTP, PROTOCOLS, Door, Load, Outcome, introduce, opened, serving

PATIENCE = 15.0


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 24 MB."""
    place = tmp_path / "small"
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=24M", "tmpfs", str(place)]
    if os.geteuid() or subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a file system, and some roots may not either")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def fill(place: Path) -> Path:
    """Take all the space there is."""
    path = place / "filler"
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for size in (1 << 20, 4096, 1):
            with contextlib.suppress(OSError):
                while file.write(b"x" * size):
                    pass
    return path


def every(load: Load, door: Door) -> list[Outcome]:
    """A call over each protocol, with a key and without."""
    return [
        load.ask(door, load.question(protocol, keyed=keyed))
        for protocol in PROTOCOLS
        for keyed in (True, False)
    ]


def recovers(load: Load, door: Door) -> float:
    """Seconds until calls are answered again."""
    began = time.monotonic()
    while not load.ask(door, load.question(HTTP, keyed=False)).ok:
        assert time.monotonic() < began + PATIENCE, "it does not recover"
        time.sleep(0.05)
    return time.monotonic() - began


def test_a_full_disk_refuses_calls_and_nothing_else(small: Path, tmp_path: Path) -> None:
    load = Load(tmp_path / "log", DEFAULT, 6)
    with serving(small / "home", "server") as server, opened(server) as door:
        introduce(load, server)
        assert all(one.ok for one in every(load, door))
        filler = fill(small)
        # What is in the log's pages already may still be written over: full is when it says so.
        refused = [one for _ in range(3) for one in every(load, door) if not one.ok]
        assert len(refused) > 20
        codes = {one.code for one in refused}
        assert codes <= {"storage_full", "db_unavailable"}, codes
        assert "storage_full" in codes
        # 8 and 14 are gRPC's; 429 is what TensorFlow Serving's REST makes of 8.
        statuses = {one.status for one in refused}
        assert statuses <= {8, 14, 429, 503}, statuses
        with httpx.Client(trust_env=False, headers=server.headers, timeout=5.0) as http:
            assert http.get(f"{server.address}/healthz").status_code == 200
            assert http.get(f"{server.address}/api/v1/keys").status_code == 200
        filler.unlink()
        assert recovers(load, door) < 5.0
        load.again(door)
        assert all(one.ok for one in every(load, door))
    load.close()
    assert check(load.log, small / "home" / FILE) == []


@pytest.mark.slow
def test_a_lock_that_somebody_holds_is_waited_for_within_bounds(tmp_path: Path) -> None:
    load = Load(tmp_path / "log", DEFAULT, 10)
    home = tmp_path / "home"
    with serving(home, "server") as server, opened(server, 30.0) as door:
        introduce(load, server)
        assert all(one.ok for one in every(load, door))
        with contextlib.closing(sqlite3.connect(home / FILE, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            began = time.monotonic()
            asked = [load.question(protocol, keyed=False) for protocol in PROTOCOLS]
            with ThreadPoolExecutor(len(asked)) as pool:
                found = list(pool.map(load.ask, [door] * len(asked), asked))
            assert time.monotonic() - began < 10.0
            assert {one.code for one in found} == {"db_unavailable"}, found
            assert {one.status for one in found} == {503, 14}, found
            other.execute("ROLLBACK")
        assert recovers(load, door) < 5.0
        load.again(door)
        assert all(one.ok for one in every(load, door))
    load.close()
    assert check(load.log, home / FILE) == []
    seen = sum(not found.ok for _, found in load.outcomes)
    assert seen == len(PROTOCOLS), "the lock has refused nobody, or too many"
