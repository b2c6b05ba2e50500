"""Ten thousand rude clients, then a hundred polite ones (`tests/chaos.py` says how rude)."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import chaos
from support.server import running
from support.wire import memory_mb, open_files

SEED = 20_261_121
REFUSALS = {0, 100, 200, 400, 404, 405, 408, 413, 415, 416, 422, 429, 431, 503}


def test_ten_thousand_rude_clients(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The log of ten thousand answers would be the largest thing here.
    options = ("--open", "--models", "edges,process", "--log-level", "warning")
    with running(home, *options, stderr=tmp_path / "stderr") as server:
        pid = server.process.pid
        chaos.run(server.port, seed=0, requests=300)  # every path is warm once
        chaos.polite(server.port, 5)
        time.sleep(1.5)
        memory, files = memory_mb(pid), open_files(pid)
        report = chaos.run(server.port, seed=SEED, requests=10_000)
        polite = chaos.polite(server.port, 100)
        ends = time.monotonic() + 15
        while open_files(pid) > files + 4 and time.monotonic() < ends:
            time.sleep(0.1)  # heads and bodies that never came are still waited for
        grown = memory_mb(pid) - memory
        with capsys.disabled():
            print(f"\n{report}\n  then polite {dict(polite)}; memory {grown:+.0f} MB, "
                  f"files {open_files(pid) - files:+d}")  # fmt: skip
        assert report.kinds.total() == 10_000
        assert set(report.answers) <= REFUSALS, report
        assert report.answers[200] > 100, "some of them are good requests in bad company"
        assert report.slowest < 5
        assert polite == {200: 100}
        assert server.process.poll() is None
        assert open_files(pid) <= files + 4
        assert grown < 64
        assert report.seconds < 60
        assert "Traceback" not in server.log(), server.log()[-4000:]
