"""Refused calls, told to the audit log so that a flood of them cannot fill the disk.

    refused() ──► a bounded line ──► a thread: the first few of a source and minute, one by one;
                                     at the minute's end one event that counts the others

A source is the key that called or, of unknown callers, their address; of IPv6 the network of 64
bits that one household has. The number of sources told apart in a minute is bounded, and so are the
single events of a minute; what goes beyond is counted, and the count is told.
"""

from __future__ import annotations

import ipaddress
import logging
import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from heliograph.audit import grammar
from heliograph.audit.values import ADDRESS
from heliograph.core.clock import Clock
from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act, Event

log = logging.getLogger("heliograph.audit")
EVERY_SECONDS = 0.25
_MINUTE_MS = 60_000
_REST = "the rest"
_MOST_CODES = 8


class Bounds(NamedTuple):
    """How much refused calls may write.

    Attributes:
        each: single events of one source in a minute.
        singles: single events of all sources in a minute.
        sources: sources told apart in a minute; the others are one.
        waiting: calls that wait to be looked at, and events that wait to be written.
    """

    each: int = 10
    singles: int = 300
    sources: int = 100
    waiting: int = 10_000


class _Refused(NamedTuple):
    at_ms: int
    code: Code
    caller: str
    address: str
    workspace: str


@dataclass(slots=True)
class _Source:
    """What one source was refused in this minute."""

    first: _Refused
    told: int = 0
    more: Counter[str] = field(default_factory=Counter[str])


class Refusals:
    """Records refused calls off their way.

    Args:
        write: writes events in a transaction of their own; `Audit.record`.
        clock: the time of day.
        bounds: how much may be written.

    Attributes:
        lost: how many refused calls were not looked at since the last summary that told of them.
    """

    def __init__(
        self, write: Callable[..., None], clock: Clock, bounds: Bounds | None = None
    ) -> None:
        self._write = write
        self._clock = clock
        self._bounds = bounds or Bounds()
        self._line: deque[_Refused] = deque()
        self._events: deque[Event] = deque()
        self._minute = 0
        self._singles = 0
        self._sources: dict[str, _Source] = {}
        self._turn = threading.Lock()
        self._closed = threading.Event()
        self.lost = 0
        self._thread = threading.Thread(target=self._work, name="refusals", daemon=True)
        self._thread.start()

    def refused(self, code: Code, caller_name: str, address: str, workspace: str) -> None:
        """Take one refused call; returns at once, whatever the database does.

        Args:
            code: why it was refused.
            caller_name: the id of the key or person, if the gate found one out; else empty.
            address: where it came from; empty if that is not known.
            workspace: whose call it would have been; empty if nobody has shown that: what a
                stranger only claims must not appear among another's events.
        """
        if len(self._line) >= self._bounds.waiting:
            self.lost += 1
            return
        self._line.append(_Refused(self._clock(), code, caller_name, address, workspace))

    def flush(self) -> None:
        """Write down what waits, and the counts of minutes that are over."""
        with self._turn:
            while self._line:
                self._take(self._line.popleft())
            minute = self._clock() // _MINUTE_MS
            # Unlike below, also when the clock was set back.
            if minute != self._minute:
                self._end_minute()
                self._minute = minute
            self._put()

    def close(self) -> None:
        """Write down everything, this minute's counts too, and end; before the database closes."""
        self._closed.set()
        self._thread.join()
        self.flush()
        with self._turn:
            self._end_minute()
            self._put()

    def _work(self) -> None:
        while not self._closed.wait(EVERY_SECONDS):
            self.flush()

    def _take(self, one: _Refused) -> None:
        minute = one.at_ms // _MINUTE_MS
        if minute > self._minute:
            self._end_minute()
            self._minute = minute
        name = _source(one)
        if name not in self._sources and len(self._sources) >= self._bounds.sources:
            name, one = _REST, one._replace(caller="", address="", workspace="")
        source = self._sources.setdefault(name, _Source(one))
        each = 0 if name == _REST else self._bounds.each
        if source.told < each and self._singles < self._bounds.singles:
            source.told += 1
            self._singles += 1
            self._tell(one, {"code": str(one.code)})
        else:
            source.more[str(one.code)] += 1

    def _end_minute(self) -> None:
        for source in self._sources.values():
            if source.more:
                facts: dict[str, str | int | bool] = {"more": source.more.total()}
                for code, count in source.more.most_common(_MOST_CODES):
                    facts[f"of_{code}"] = count
                self._tell(source.first, facts)
        if self.lost:
            lost, self.lost = self.lost, 0
            self._queue(Event(Act.CALL_REFUSED, "system", facts={"uncounted": lost}))
        self._sources, self._singles = {}, 0

    def _tell(self, one: _Refused, facts: dict[str, str | int | bool]) -> None:
        address = _address(one.address)
        if address:
            facts[ADDRESS] = str(address)
        self._queue(Event(Act.CALL_REFUSED, one.caller or "nobody", one.workspace, facts=facts))

    def _queue(self, event: Event) -> None:
        try:
            grammar.check(event)
        except ValueError:
            # Of one that is malformed the others must not suffer.
            log.exception("a refused call could not be recorded")
            self.lost += 1
            return
        if len(self._events) < self._bounds.waiting:
            self._events.append(event)
        else:
            self.lost += 1

    def _put(self) -> None:
        """Write what waits to be written; what cannot be, waits on."""
        if not self._events:
            return
        events = list(self._events)
        try:
            self._write(*events)
        except HeliographError as error:
            log.warning("%d refused calls wait to be recorded: %s", len(events), error.code)
        else:
            self._events.clear()


def _source(one: _Refused) -> str:
    """By what a caller's refusals are counted."""
    if one.caller and one.caller not in {"nobody", "anyone"}:
        return one.caller
    address = _address(one.address)
    if address and address.version == 6:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address or "")


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
