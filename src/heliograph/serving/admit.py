"""Admission: who calls, which model, is there room; a seat is a thing one holds.

Two moments. `enter` happens when the head of a call is there: it refuses before a byte of the body
is read. `seat` happens when the body is there, so that a slow sender holds no seat while it sends.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Self

import msgspec

from heliograph.core.call import Timings, Usage
from heliograph.core.errors import Code, HeliographError
from heliograph.core.ids import new_id
from heliograph.core.permissions import Permission
from heliograph.serving.values import (
    Allowance,
    Catalog,
    Entry,
    Gate,
    Head,
    Meter,
    NoLimits,
    NullMeter,
    always,
    sight,
)
from heliograph.vision.decode import Limits
from heliograph.vision.tasks.base import Options


def _nobody(taken: int) -> None:
    del taken


class Seats:
    """A bounded number of places for calls in progress, shared fairly between workspaces.

    Who is alone may take nearly all; a part is kept for whoever comes next. While several have
    calls in progress, each may hold as many as its weight among them gives it.

    Args:
        count: how many there are.
        watch: told how many are taken after each change.
    """

    def __init__(self, count: int, watch: Callable[[int], object] = _nobody) -> None:
        self.count = count
        self._kept = count // 8
        self._taken = 0
        self._held: dict[str, int] = {}
        self._shares: dict[str, float] = {}
        self._lock = threading.Lock()
        self._watch = watch

    @property
    def taken(self) -> int:
        """How many seats are taken now."""
        return self._taken

    def refusal(self, whose: str = "", share: float = 1.0) -> HeliographError | None:
        """The error `overloaded` if no seat is free for a workspace now, else None; takes none."""
        if self._taken >= self.count:
            return _overloaded(f"All {self.count} seats of this server are taken.")
        if whose and self._held.get(whose, 0) >= self._most(whose, share):
            return _overloaded("Your workspace's share of this server's seats is taken.")
        return None

    def look(self, whose: str = "", share: float = 1.0) -> None:
        """Raise `overloaded` if no seat is free for a workspace now; takes none."""
        error = self.refusal(whose, share)
        if error is not None:
            raise error

    def take(self, whose: str = "", share: float = 1.0) -> None:
        """Take a seat for a workspace or raise `overloaded`."""
        with self._lock:
            self.look(whose, share)
            self._taken += 1
            self._held[whose] = self._held.get(whose, 0) + 1
            self._shares[whose] = share
            self._watch(self._taken)

    def give_back(self, whose: str = "") -> None:
        """Free a seat of a workspace."""
        with self._lock:
            self._taken -= 1
            self._held[whose] -= 1
            if not self._held[whose]:
                del self._held[whose], self._shares[whose]
            self._watch(self._taken)

    def _most(self, whose: str, share: float) -> float:
        others = sum([one for name, one in list(self._shares.items()) if name != whose])
        fair = self.count * share / (share + others)
        return max(1.0, min(fair, self.count - self._kept))


def _overloaded(why: str) -> HeliographError:
    return HeliographError(Code.OVERLOADED, f"{why} Try again in a second.", retry_after=1.0)


class _Aside(Seats):
    """Where calls sit that nobody waits for."""

    def __init__(self) -> None:
        super().__init__(0)

    def give_back(self, whose: str = "") -> None:
        """Nobody took one."""


class Ticket:
    """An admitted call: it holds a seat and passes the meter exactly once, whatever happens.

    Use it as `with ticket:` around the work; leaving the block gives the seat back and records the
    usage, with the outcome `ok` or the code of the error that left the block.
    """

    def __init__(
        self, entry: Entry, size: int, seats: Seats, meter: Meter, allowance: Allowance
    ) -> None:
        self.id = new_id("pred")
        self.entry = entry
        self.size = size
        self.timings = Timings()
        self.pixels = 0
        self.rows = 0
        self.batch = 0
        self.usage: Usage | None = None
        self._seats = seats
        self._meter = meter
        self._allowance = allowance

    def check(self) -> None:
        """Stop here if the caller has gone or the deadline has passed.

        Raises:
            HeliographError: `request_timeout` (gone, nobody will read it) or `inference_timeout`.
        """
        if not self.entry.alive():
            raise HeliographError(Code.REQUEST_TIMEOUT, "The caller has gone.")
        if self.entry.left() <= 0:
            raise out_of_time()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._seats.give_back(self.entry.caller.workspace)
        self._allowance.give_back(self.entry.caller)
        outcome = "ok"
        if error is not None:
            outcome = str(error.code if isinstance(error, HeliographError) else Code.INTERNAL)
        model = self.entry.model
        self.usage = Usage(
            self.id,
            self.entry.caller,
            model.name,
            model.version,
            model.digest,
            model.task.name if model.task else "tensors",
            outcome,
            self.size,
            self.pixels,
            self.rows,
            self.batch,
            self.timings.rounded(),
        )
        self._meter.record(self.usage)


def out_of_time() -> HeliographError:
    """The error of a call that ran past its deadline."""
    return HeliographError(
        Code.INFERENCE_TIMEOUT, "The call ran past its deadline. Try again when there is less load."
    )


class Desk:
    """Lets calls in.

    Args:
        gate: who may call.
        catalog: which models there are.
        meter: takes one usage per ticket.
        seats: how many calls may be in progress.
        deadline: seconds a call may take from its head to its answer.
        limits: what a picture may cost.
        allowance: how much a caller may use.
    """

    def __init__(
        self,
        *,
        gate: Gate,
        catalog: Catalog,
        meter: Meter,
        seats: Seats,
        deadline: float,
        limits: Limits,
        allowance: Allowance | None = None,
    ) -> None:
        self.gate = gate
        self.catalog = catalog
        self.seats = seats
        self.limits = limits
        self._meter = meter
        self._deadline = deadline
        self._allowance = allowance or NoLimits()

    def enter(self, head: Head) -> Entry:
        """Decide on a call before its body is read.

        Raises:
            HeliographError: `unauthenticated`, `forbidden`, `not_found`, `model_unavailable`,
                `unsupported`, `unknown_field`, `validation` or `overloaded`.
        """
        caller = self.gate.check(head.credentials, Permission.MODELS_CALL, head.model)
        model = (
            self.catalog.find(head.model, head.version, head.sticky)
            if head.model
            else self.catalog.default(head.task, head.version, head.sticky)
        )
        if caller.models and not head.model:
            # Which model the task's default is, only the catalog knows.
            self.gate.check(head.credentials, Permission.MODELS_CALL, model.name)
        if model.consent:
            self.gate.agreed(caller, model.consent)
        kind = Options if head.tensors else sight(model).task.options
        options = parse_options(kind, head.options)
        self._allowance.look(caller)
        self.seats.look(caller.workspace, caller.share)
        deadline = time.perf_counter() + self._deadline
        shadow = None if head.version else self.catalog.shadow(model.name)
        return Entry(caller, model, options, head.form, head.alive, deadline, shadow)

    def seat(self, entry: Entry, body: bytes) -> Ticket:
        """Take a seat for a call whose picture is there.

        Raises:
            HeliographError: `empty_file`, `too_large` or `overloaded`.
        """
        if not body:
            raise HeliographError(Code.EMPTY_FILE, "The picture is empty: 0 bytes were sent.")
        if len(body) > self.limits.bytes:
            raise HeliographError(
                Code.TOO_LARGE,
                f"The picture is {len(body)} bytes; at most {self.limits.bytes} are taken.",
            )
        return self.seat_tensors(entry, len(body))

    def seat_tensors(self, entry: Entry, size: int) -> Ticket:
        """Take a seat for a call whose tensors are there, `size` bytes of them.

        Raises:
            HeliographError: `overloaded`, `rate_limited` or `quota_exceeded`.
        """
        self._allowance.take(entry.caller)
        try:
            self.seats.take(entry.caller.workspace, entry.caller.share)
        except HeliographError:
            self._allowance.give_back(entry.caller)
            raise
        return Ticket(entry, size, self.seats, self._meter, self._allowance)

    def shadow(self, entry: Entry, size: int) -> Ticket:
        """A ticket for the shadow of a call: it takes no seat and nobody pays for it."""
        if entry.shadow is None:
            raise AssertionError("a call without a shadow has none to let in; this is a bug")
        deadline = time.perf_counter() + self._deadline
        again = replace(
            entry, model=entry.shadow, shadow=None, form="json", alive=always, deadline=deadline
        )
        return Ticket(again, size, _Aside(), NullMeter(), NoLimits())


def parse_options(kind: type[Options], given: object) -> Options:
    """Read a task's options from text values.

    Raises:
        HeliographError: `unknown_field` for a name the task does not have, `validation` for a value
            out of range.
    """
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _explain(kind, str(error)) from error


def _explain(kind: type[Options], message: str) -> HeliographError:
    # msgspec's messages name the field and the bound of our own declaration: ours to show.
    known = ", ".join(kind.__struct_fields__) or "none"
    if "unknown field" in message:
        name = message.split("`")[1]
        return HeliographError(
            Code.UNKNOWN_FIELD, f"This task has no option {name[:60]!r}. Its options: {known}."
        )
    return HeliographError(Code.VALIDATION, f"{message}. This task's options: {known}.")
