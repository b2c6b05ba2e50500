"""Sequences: calls of a stateful model that belong together, one after the other.

A stateful model gives its state out and takes it back with the next call: its package names the
pairs (`[states]`, input = output). Clients see neither; they name a sequence and say where it
begins and ends. The state lies in this process.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np

from heliograph.core.errors import Code, HeliographError
from heliograph.edge.oip.datatypes import Array
from heliograph.edge.oip.parameters import sequence_of
from heliograph.edge.oip.values import Parameter
from heliograph.runtimes.base import Tensor

MOST = 4096
IDLE_SECONDS = 60.0


@dataclass(slots=True)
class _Sequence:
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    state: dict[str, Array] = field(default_factory=dict[str, Array])
    used: float = field(default_factory=time.monotonic)


class Sequences:
    """The running sequences of all models of one process.

    Args:
        idle: seconds after which a sequence that nobody continues is forgotten.
        most: sequences kept at once.
    """

    def __init__(self, idle: float = IDLE_SECONDS, most: int = MOST) -> None:
        self._idle = idle
        self._most = most
        self._running: OrderedDict[tuple[str, str, int | str], _Sequence] = OrderedDict()

    def __len__(self) -> int:
        return len(self._running)

    @asynccontextmanager
    async def turn(
        self, model: str, version: str, parameters: Mapping[str, Parameter]
    ) -> AsyncGenerator[dict[str, Array]]:
        """The turn of one call of a sequence: calls of one come one at a time, in order.

        Yields:
            The state by the name of its input, empty at the start; what is left in it is kept for
            the next call if this one goes well.

        Raises:
            HeliographError: `validation` (no sequence is named), `conflict` (it has not begun),
                `overloaded` (too many sequences run).
        """
        called = sequence_of(parameters)
        if called is None:
            raise HeliographError(
                Code.VALIDATION,
                f"inference request to model '{model}' must specify a non-zero or non-empty "
                "correlation ID",
            )
        which, start, end = called
        key = (model, version, which)
        self._forget()
        running = self._running.get(key)
        if running is None:
            if not start:
                raise HeliographError(
                    Code.VALIDATION,
                    f"inference request for sequence {str(which)[:80]} to model '{model}' must "
                    "specify the START flag on the first request of the sequence",
                )
            if len(self._running) >= self._most:
                raise HeliographError(
                    Code.OVERLOADED, f"At most {self._most} sequences run at once.", retry_after=1.0
                )
            running = self._running[key] = _Sequence()
        async with running.turn:
            state = {} if start else dict(running.state)
            yield state
            running.state, running.used = state, time.monotonic()
            self._running[key] = running
            self._running.move_to_end(key)
            if end:
                del self._running[key]

    def _forget(self) -> None:
        """Drop the sequences that nobody continues; the longest unused are first."""
        old = time.monotonic() - self._idle
        while self._running:
            key, first = next(iter(self._running.items()))
            if first.used > old or first.turn.locked():
                return
            del self._running[key]


def first_state(wanted: Tensor, rows: int) -> Array:
    """The state before the first call: zeros.

    Args:
        wanted: the input that takes it; an open first axis is that of the rows, others are 1.
        rows: of the call.
    """
    shape = [
        size if size != -1 else rows if axis == 0 else 1 for axis, size in enumerate(wanted.shape)
    ]
    if wanted.dtype == "object":
        blank = np.empty(shape, object)
        blank.fill(b"")
        return blank
    return np.zeros(shape, "float32" if wanted.dtype == "bfloat16" else wanted.dtype)
