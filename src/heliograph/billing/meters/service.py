"""Sampling: who has models in memory for how long, and how much is in store.

    sample        every minute, of this process: from its previous sample until now
    sample_day    once a day for the whole house, whoever comes first; asked for every hour

A model of the server is everybody's: while it runs, its time is shared out between those who had
it run, by the run time in their ledger rows; while it idles nobody pays, since nobody asked it to
wait.
A model that is kept for one workspace is that workspace's all the time.

A stretch is charged only for replicas that were there at its beginning and at its end. A process
that is killed loses the stretch since its last sample, to nobody's cost, and no other process ever
writes that stretch.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy.exc import IntegrityError

from heliograph.billing.invoices.values import DAY_MS
from heliograph.billing.meters import store
from heliograph.billing.meters.values import NOBODY, Copy, Sample
from heliograph.core.clock import Clock
from heliograph.core.ids import new_id
from heliograph.core.money import allocate
from heliograph.storage.database import Database

_WORKSPACE = "ws_"
_Name = tuple[str, str, str]


class _Seen(NamedTuple):
    """What the previous sample saw: the time by two clocks, the ledger's number, the copies."""

    at_ms: int
    passed: float
    ledger: int
    copies: Mapping[_Name, Copy]


class Meters:
    """Samples for one process.

    Args:
        database: where they are kept.
        clock: tells the time.
        loaded: what this process has in memory.
        node: name of the machine.
        kept_for: the workspace that a model is kept for; `NOBODY` for everybody's.
        passed: seconds from a clock that never jumps: what is charged is measured by this one.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        loaded: Callable[[], Sequence[Copy]],
        node: str,
        kept_for: Callable[[str], str] = lambda _: NOBODY,
        passed: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._clock = clock
        self._loaded = loaded
        self._node = node
        self._kept_for = kept_for
        self._passed = passed
        self._boot = new_id("boot")
        self._lock = threading.Lock()
        self._seen: _Seen | None = None

    def sample(self) -> int:
        """Write the stretch from the previous sample until now; the first writes nothing.

        Returns:
            How many rows were written.

        Raises:
            HeliographError: `db_unavailable`, `storage_full`; the stretch is then a part of the
                next.
        """
        with self._lock:
            before = self._seen
            with self._database.read() as connection:
                high = store.newest(connection)
                used = store.users(connection, before.ledger, high) if before else {}
            copies = {(one.model, one.version, one.device): one for one in self._loaded()}
            now = self._now(before, high, copies)
            samples = list(self._samples(before, now, used)) if before else []
            if samples:
                # It is there already if the last commit's outcome was unknown, and was good.
                with contextlib.suppress(IntegrityError):
                    self._database.write(lambda one: store.add_hosted(one, samples))
            self._seen = now
            return len(samples)

    def _now(self, before: _Seen | None, high: int, copies: Mapping[_Name, Copy]) -> _Seen:
        at, passed = self._clock(), self._passed()
        if before is not None:
            # Of two clocks that run a little apart: stretches follow each other without overlap.
            end = before.at_ms + _length(before.passed, passed)
            at = end if before.at_ms <= at < end else at
        return _Seen(at, passed, high, copies)

    def _samples(
        self, before: _Seen, now: _Seen, used: Mapping[_Name, Mapping[str, int]]
    ) -> Iterator[Sample]:
        length = _length(before.passed, now.passed)
        for name, copy in now.copies.items():
            was = before.copies.get(name)
            if was is None or not length:
                continue
            replica = length * min(was.replicas, copy.replicas)
            busy = min(replica, max(0, copy.busy_us - was.busy_us) // 1000)
            for workspace, part, run in self._shares(copy.model, replica, busy, used.get(name, {})):
                if part:
                    # By the clock that told the beginning, so that stretches never overlap.
                    until = before.at_ms + length
                    yield Sample(
                        workspace, self._node, self._boot, *name, before.at_ms, until, part, run
                    )

    def _shares(
        self, model: str, replica: int, busy: int, used: Mapping[str, int]
    ) -> Iterator[tuple[str, int, int]]:
        """Workspaces with their part of the replicas' time, and how much of it they ran."""
        owner = self._kept_for(model)
        if owner != NOBODY:
            yield owner, replica, busy
            return
        names = sorted(used.keys() - {NOBODY})
        parts = allocate(busy, [used[one] for one in names]) if names else []
        for name, part in zip(names, parts, strict=True):
            yield name, part, part
        ran = sum(parts)
        yield NOBODY, replica - ran, busy - ran

    def sample_day(self) -> int | None:
        """Write what each workspace has in store today, once a day.

        Returns:
            How many workspaces have something; None if the day has been sampled before.

        Raises:
            HeliographError: `db_unavailable`, `storage_full`.
        """
        day = self._clock() // DAY_MS
        with self._database.read() as connection:
            if store.sampled(connection, day):
                return None
        return self._database.write(lambda one: store.add_stored(one, day, _WORKSPACE))


def _length(begin: float, end: float) -> int:
    return max(0, int((end - begin) * 1000))
