from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from heliograph.core.errors import Code, HeliographError
from heliograph.edge.oip.sequences import Sequences, first_state
from heliograph.runtimes.base import Tensor


async def step(sequences: Sequences, value: int, **parameters: Any) -> int:
    """One call that adds to the state and takes a moment."""
    async with sequences.turn("m", "1", {"sequence_id": 7} | parameters) as state:
        before = int(state.get("sum", np.zeros(1))[0])
        await asyncio.sleep(0.001)
        state["sum"] = np.array([before + value])
        return before + value


async def broken(sequences: Sequences) -> None:
    async with sequences.turn("m", "1", {"sequence_id": 7}) as state:
        state["sum"] = np.array([99])
        raise ValueError("broken")


async def refusal(sequences: Sequences, **parameters: Any) -> HeliographError:
    with pytest.raises(HeliographError) as caught:
        await step(sequences, 1, **parameters)
    return caught.value


def test_calls_of_one_sequence_take_turns_in_order() -> None:
    async def run() -> None:
        sequences = Sequences()
        first = step(sequences, 1, sequence_start=True)
        sums = await asyncio.gather(first, *(step(sequences, 1) for _ in range(9)))
        assert sums == list(range(1, 11))
        assert await step(sequences, 5, sequence_end=True) == 15
        assert not len(sequences)

    asyncio.run(run())


def test_sequences_do_not_mix() -> None:
    async def run() -> None:
        sequences = Sequences()
        for which in (1, 2, "a"):
            await step(sequences, 10, sequence_id=which, sequence_start=True)
        assert await step(sequences, 1, sequence_id=2) == 11
        assert await step(sequences, 2, sequence_id="a") == 12
        assert await step(sequences, 3, sequence_id=1, sequence_start=True) == 3

    asyncio.run(run())


def test_a_failed_call_leaves_the_state_alone() -> None:
    async def run() -> None:
        sequences = Sequences()
        await step(sequences, 1, sequence_start=True)
        with pytest.raises(ValueError, match="broken"):
            await broken(sequences)
        assert await step(sequences, 1) == 2

    asyncio.run(run())


def test_a_sequence_must_be_named_and_begun() -> None:
    async def run() -> None:
        sequences = Sequences(most=1)
        for none in (0, ""):
            error = await refusal(sequences, sequence_id=none)
            assert "must specify a non-zero or non-empty correlation ID" in error.detail
        for bad in (True, 1.5, -1, 1 << 64):
            assert (await refusal(sequences, sequence_id=bad)).code is Code.VALIDATION
        error = await refusal(sequences, sequence_id=9)
        assert "must specify the START flag" in error.detail
        await step(sequences, 1, sequence_start=True)
        error = await refusal(sequences, sequence_id=8, sequence_start=True)
        assert error.code is Code.OVERLOADED

    asyncio.run(run())


def test_a_sequence_that_nobody_continues_is_forgotten() -> None:
    async def run() -> None:
        sequences = Sequences(idle=0.01)
        await step(sequences, 1, sequence_start=True)
        await asyncio.sleep(0.02)
        assert "START flag" in (await refusal(sequences)).detail

    asyncio.run(run())


def test_the_first_state_is_zero() -> None:
    assert first_state(Tensor("s", "float32", (-1, 2, -1)), 3).shape == (3, 2, 1)
    assert first_state(Tensor("s", "object", (-1,)), 2).tolist() == [b"", b""]
    assert not first_state(Tensor("s", "int64", (4,)), 1).any()
