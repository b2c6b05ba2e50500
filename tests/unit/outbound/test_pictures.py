"""Room for fetches: so many at once, and half of them for one workspace."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import pytest

from heliograph.core.errors import Code, HeliographError
from heliograph.outbound.addresses import Address
from heliograph.outbound.fetch import Courier
from heliograph.outbound.guard import Guard
from heliograph.outbound.pictures import NoPictures, Pictures
from heliograph.outbound.targets import PUBLIC


async def asleep(name: str) -> Sequence[Address]:
    await asyncio.sleep(60)
    return []


async def crowd(fetcher: Pictures, holders: Sequence[str]) -> list[str]:
    """The code of each fetch, in order; those that were let in are cancelled."""
    tasks = [
        asyncio.create_task(fetcher.fetch("https://a.example/", 9, one), name=one)
        for one in holders
    ]
    await asyncio.sleep(0.05)
    codes: list[str] = []
    for one in tasks:
        error = one.exception() if one.done() else None
        codes.append(str(error.code) if isinstance(error, HeliographError) else "")
        one.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return codes


def test_one_workspace_leaves_room_for_others() -> None:
    fetcher = Pictures(Courier(Guard(resolver=asleep)), PUBLIC, most=9, seconds=9, at_once=4)
    full = str(Code.OVERLOADED)
    for _ in range(2):  # whoever leaves gives its room back
        assert asyncio.run(crowd(fetcher, "aaabbbc")) == ["", "", full, "", "", full, full]


def test_the_callers_time_and_our_own() -> None:
    for left, ours in ((0.05, 9.0), (9.0, 0.05), (-1.0, 9.0)):
        fetcher = Pictures(Courier(Guard(resolver=asleep)), PUBLIC, most=9, seconds=ours)
        began = time.monotonic()
        with pytest.raises(HeliographError) as caught:
            asyncio.run(fetcher.fetch("https://a.example/", left, "a"))
        assert caught.value.code is Code.FETCH_TIMEOUT
        assert time.monotonic() - began < 1


def test_nobody_has_said_where_from() -> None:
    with pytest.raises(HeliographError) as caught:
        asyncio.run(NoPictures().fetch("https://a.example/", 1, "a"))
    assert caught.value.code is Code.UNSUPPORTED
