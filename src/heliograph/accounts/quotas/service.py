"""Keeping limits exactly: looked at when a call comes, decided when its answer is booked.

    look     refuse, before the body is read, what is known to be used up
    take     count a call that is in progress here; given back when it ends, however it ends
    settle   in the transaction that books the answer: add to the counter unless that would pass the
             bound; if it would, the answer is not booked and its caller is refused

The last step is what makes it exact: over threads, processes, machines and kills. The first two
only save the work of calls that would be refused there, from what this process knows; since that
may be stale, one call a second is let through to find out.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from sqlalchemy import Connection

from heliograph.accounts.quotas import store
from heliograph.accounts.quotas.values import RATES, Amounts, Window, amount, most, window
from heliograph.core.call import Caller, Limit
from heliograph.core.clock import Clock
from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act, Event
from heliograph.storage.database import Database, Record

_PROBE_SECONDS = 1.0
_KEPT = 10_000
Settled = tuple[tuple[Limit, ...], Amounts]
"""The limits of an answered call's caller, and what it counts for."""


class _Counter:
    """What this process knows of one limit in one stretch of time."""

    __slots__ = ("flying", "learnt", "used", "window")

    def __init__(self, stretch: Window) -> None:
        self.window = stretch
        self.used = 0
        self.flying = 0
        self.learnt = 0.0


class Allowances:
    """Every limit of a server.

    Args:
        clock: tells the time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._counters: dict[tuple[str, str, str], _Counter] = {}

    def look(self, caller: Caller) -> None:
        """Refuse a caller whose limits are known to be used up.

        Raises:
            HeliographError: `rate_limited` or `quota_exceeded`.
        """
        if caller.limits:
            with self._lock:
                for limit in caller.limits:
                    self._check(limit)

    def take(self, caller: Caller) -> None:
        """As `look`, and count the call as in progress."""
        if caller.limits:
            with self._lock:
                found = [self._check(limit) for limit in caller.limits]
                for one in found:
                    one.flying += 1

    def give_back(self, caller: Caller) -> None:
        """The call is no longer in progress."""
        if caller.limits:
            with self._lock:
                for limit in caller.limits:
                    counter = self._counter(limit)
                    counter.flying = max(0, counter.flying - 1)

    def settle(self, connection: Connection, answered: Sequence[Settled], now_ms: int) -> None:
        """Count answered calls, in the transaction that books them.

        Raises:
            HeliographError: `rate_limited` or `quota_exceeded`; then none of them is counted.
        """
        added: dict[Limit, int] = {}
        for limits, used in answered:
            for limit in limits:
                added[limit] = added.get(limit, 0) + amount(limit, used)
        # Always in the same order, so that two processes never wait for each other.
        for limit in sorted(added):
            stretch = window(limit.period, now_ms)
            used_now = store.add_up(connection, limit, stretch.begin_ms, added[limit], most(limit))
            self._learn(limit, stretch, used_now)
            if used_now is None:
                raise refusal(limit, stretch.end_ms - now_ms)

    def _check(self, limit: Limit) -> _Counter:
        counter = self._counter(limit)
        bound = most(limit)
        if counter.used + counter.flying < bound:
            return counter
        now = time.monotonic()
        if counter.used >= bound and not counter.flying and self._stale(counter, now):
            counter.learnt = now
            return counter
        raise refusal(limit, counter.window.end_ms - self._clock())

    def _stale(self, counter: _Counter, now: float) -> bool:
        return now - counter.learnt > _PROBE_SECONDS

    def _counter(self, limit: Limit) -> _Counter:
        name = limit.holder, limit.meter, limit.period
        found = self._counters.get(name)
        now = self._clock()
        if found is None or not found.window.begin_ms <= now < found.window.end_ms:
            if len(self._counters) >= _KEPT:
                self._counters.clear()
            flying = found.flying if found else 0
            found = self._counters[name] = _Counter(window(limit.period, now))
            found.flying = flying
        return found

    def _learn(self, limit: Limit, stretch: Window, used: int | None) -> None:
        with self._lock:
            counter = self._counter(limit)
            if counter.window == stretch:
                counter.used = most(limit) if used is None else used
                counter.learnt = time.monotonic()


def refusal(limit: Limit, left_ms: int) -> HeliographError:
    """Why a call is refused by a limit."""
    code = Code.RATE_LIMITED if limit.period in RATES else Code.QUOTA_EXCEEDED
    whose = "key" if limit.holder.startswith("key_") else "workspace"
    return HeliographError(
        code,
        f"This {whose} may use {limit.most} {limit.meter} a {limit.period}, and has.",
        retry_after=max(0.001, left_ms / 1000),
    )


class Quotas:
    """Use cases of limits on workspaces.

    Args:
        database: where they are kept.
        record: takes audit events.
        touch: tells every process that what the gate knows has changed.
        check: refuses a limit that means nothing.
    """

    def __init__(
        self,
        database: Database,
        record: Record,
        touch: Callable[[Connection], None],
        check: Callable[[str, str, int], None],
    ) -> None:
        self._database = database
        self._record = record
        self._touch = touch
        self._check = check

    def of(self, workspace: str) -> list[Limit]:
        """The limits of a workspace."""
        with self._database.read() as connection:
            return store.of(connection, workspace)

    def used(self, limits: Sequence[Limit], now_ms: int) -> list[int]:
        """What is used of each limit in the stretch of `now_ms`, in the unit counted in."""
        with self._database.read() as connection:
            return [
                store.used(connection, one, window(one.period, now_ms).begin_ms) for one in limits
            ]

    def put(self, limit: Limit, actor: str) -> None:
        """Set a limit, in place of the one on the same meter and period.

        Raises:
            HeliographError: `validation`.
        """
        self._check(limit.meter, limit.period, limit.most)

        def work(connection: Connection) -> None:
            store.put(connection, limit)
            self._told(connection, limit.holder, actor, f"{limit.meter}/{limit.period}", limit.most)

        self._database.write(work)

    def drop(self, holder: str, meter: str, period: str, actor: str) -> None:
        """Take a limit away.

        Raises:
            HeliographError: `not_found`.
        """

        def work(connection: Connection) -> None:
            if not store.drop(connection, holder, meter, period):
                raise HeliographError(Code.NOT_FOUND, "There is no such limit.")
            self._told(connection, holder, actor, f"{meter}/{period}", -1)

        self._database.write(work)

    def _told(self, connection: Connection, holder: str, actor: str, name: str, bound: int) -> None:
        self._touch(connection)
        facts = {"limit": name, "most": bound}
        self._record(connection, Event(Act.LIMIT_CHANGED, actor, holder, holder, facts))
