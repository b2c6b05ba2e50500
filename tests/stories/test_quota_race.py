"""B140: fifty calls at once on a quota of one, over two processes; exactly one is answered."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from heliograph.accounts.workspaces.values import DEFAULT
from heliograph.storage.database import FILE
from support.checker import check
from support.ledgerload import HTTP, OIP_GRPC, Load, introduce, opened, serving

CALLS = 50


@pytest.mark.parametrize(
    "protocols",
    [
        pytest.param((HTTP,), marks=pytest.mark.slow),
        pytest.param((OIP_GRPC,), marks=pytest.mark.slow),
        (HTTP, OIP_GRPC),
    ],
    ids="+".join,
)
def test_one_of_fifty(tmp_path: Path, protocols: tuple[str, ...]) -> None:
    load = Load(tmp_path / "log", DEFAULT, 7)
    begin = threading.Barrier(CALLS)
    with serving(tmp_path / "home", "server", "--workers", "2") as server:
        introduce(load, server, [{"meter": "calls", "period": "month", "most": 1}], prices=False)

        def call(at: int) -> None:
            # A connection each: so that the kernel deals them out to both processes.
            with opened(server, 30.0) as door:
                begin.wait(30)
                load.ask(door, load.question(protocols[at % len(protocols)], keyed=False))

        pool = [threading.Thread(target=call, args=(at,)) for at in range(CALLS)]
        for one in pool:
            one.start()
        for one in pool:
            one.join()
        codes = [found.code for _, found in load.outcomes]
        assert codes.count("") == 1, codes
        assert codes.count("quota_exceeded") == CALLS - 1, codes
    load.close()
    assert check(load.log, tmp_path / "home" / FILE) == []
