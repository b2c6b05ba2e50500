"""F-02: the server is killed at every step of the ledger's path; no answer and no row is lost.

Two hundred seeds: `python -m bench.kills`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from random import Random

import pytest

from support.kills import EDGE, WRITING, Kills
from support.ledgerload import HTTP, OIP_GRPC, PROTOCOLS

STEPS = [
    *((site, HTTP) for site in (*EDGE, *WRITING)),
    *((site, OIP_GRPC) for site in EDGE),
]


@pytest.fixture(scope="module")
def kills(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kills]:
    """One data folder, over which every server of these tests runs and ends."""
    made = Kills(tmp_path_factory.mktemp("kills"))
    yield made
    made.load.close()


@pytest.mark.parametrize(("site", "protocol"), STEPS)
def test_an_end_at_any_step_loses_nothing(kills: Kills, site: str, protocol: str) -> None:
    # A start writes, too: where the writer is to end, it is to end later than that.
    times = 30 if site.startswith("writer") else 2
    end = kills.at(site, times, [protocol])
    assert not end.starting
    assert end.lost
    assert end.violations == []


def test_an_end_at_a_random_moment_loses_nothing(kills: Kills) -> None:
    assert kills.anywhen(Random(1)).violations == []


def test_a_worker_and_then_all_of_them(kills: Kills) -> None:
    assert kills.anywhen(Random(2), workers=2).violations == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_client_that_gives_up_and_asks_again_pays_once(kills: Kills, protocol: str) -> None:
    end = kills.given_up(Random(3), protocol)
    assert end.lost > 2, "it never gave up"
    assert end.violations == []


def test_what_was_left_open_is_answered_in_the_end(kills: Kills) -> None:
    assert kills.settle() == []
    # None of it would mean anything had nobody been answered or nothing been lost.
    said = Counter(one.ok for _, one in kills.load.outcomes)
    assert said[True] > 20, said
    assert said[False] >= len(STEPS), said
    assert any(one.again for _, one in kills.load.outcomes), "nothing was replayed"
