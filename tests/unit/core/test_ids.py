"""Identifiers: sorted by time, never twice, not even after a fork."""

from __future__ import annotations

import os
import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from heliograph.core.ids import is_name, new_id


def test_an_id_says_what_it_is_of_and_when() -> None:
    before = int(time.time() * 1000)
    made = new_id("pred")
    after = int(time.time() * 1000)
    assert re.fullmatch(r"pred_[0-9a-f]{32}", made)
    assert before <= int(made[5:17], 16) <= after


def test_ids_of_later_milliseconds_sort_later() -> None:
    made: list[str] = []
    for _ in range(3):
        made.append(new_id("x"))
        time.sleep(0.002)
    assert made == sorted(made)


def test_no_id_comes_twice_from_any_thread() -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(new_id, ["x"] * 20_000))
    assert len(set(made)) == len(made)


def test_a_forked_process_has_randomness_of_its_own() -> None:
    new_id("x")
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(write, new_id("x")[-20:].encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(read, 20).decode()
    os.close(read)
    os.close(write)
    assert len(theirs) == 20
    assert theirs != new_id("x")[-20:]


@pytest.mark.parametrize("name", ["a", "0", "efficientnet-lite0", "a.b_c-d", "x" * 63])
def test_a_name(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize(
    "name", ["", "A", "-a", ".a", "_a", "a b", "a/b", "a..b", "..", "ä", "a\n", "\u0661", "x" * 64]
)
def test_no_name(name: str) -> None:
    assert not is_name(name)
