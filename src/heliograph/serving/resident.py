"""Whether a model is in memory: loaded once, leased by every run, let go when nobody runs.

    unloaded -> loading -> ready -> unloading -> unloaded
                   └-> failed (with its reason, until somebody loads it again)

However many callers want a model that is not there, it is loaded once and they all wait for that
one loading. Nothing is let go while a run holds a lease.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, Self

from heliograph.core.errors import Code, HeliographError
from heliograph.runtimes import heap
from heliograph.runtimes.base import Runner, Tensor
from heliograph.serving.budget import Budget

State = Literal["unloaded", "loading", "ready", "unloading", "failed"]
log = logging.getLogger("heliograph.serving")


class Copies(NamedTuple):
    """The loaded copies of a model: the one that serves, and a wide one for a lone call."""

    runner: Runner
    wide: Runner | None = None

    def close(self) -> None:
        """Give back the memory of all of them."""
        for runner in filter(None, self):
            runner.close()
        heap.give_back()


@dataclass(frozen=True, slots=True)
class Signature:
    """What a model takes and gives.

    Attributes:
        inputs: with the batch axis; -1 where any size is taken.
        outputs: likewise.
        batched: whether the first axis of every input and output is a batch of any size.
        platform: what runs it, in the words of the Open Inference Protocol.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    batched: bool
    platform: str

    @classmethod
    def of(cls, runner: Runner) -> Self:
        """The signature of a loaded model."""
        ends = (*runner.inputs, *runner.outputs)
        batched = all(one.shape[:1] == (-1,) for one in ends)
        return cls(runner.inputs, runner.outputs, batched, runner.platform)


class Resident:
    """The copies of one model, in memory or not.

    Args:
        open_copies: loads and warms them; raises `HeliographError`.
        on_demand: whether a run may load them; else a run of a model that is not loaded is refused.
        budget: how much memory this one and others may take together.
        estimate: bytes it will take, for as long as nobody has measured it.
    """

    def __init__(
        self,
        open_copies: Callable[[], Copies],
        *,
        on_demand: bool = False,
        budget: Budget | None = None,
        estimate: int = 0,
    ) -> None:
        self._open = open_copies
        self.on_demand = on_demand
        self._budget = budget or Budget()
        self._budget.join(self)
        self._turn = threading.Condition()
        self._copies: Copies | None = None
        self._leases = 0
        self._known: Signature | None = None
        self.state: State = "unloaded"
        self.reason = ""
        self.weight = estimate
        self.used = time.monotonic()

    @classmethod
    def of(cls, runner: Runner, wide: Runner | None = None) -> Self:
        """A model whose copies are open already."""
        made = cls(lambda: Copies(runner, wide))
        made.load()
        return made

    @property
    def memory(self) -> int:
        """Bytes it takes now, as far as they are known."""
        return self.weight if self.state in {"ready", "unloading"} else 0

    @property
    def takes_calls(self) -> bool:
        """Whether a call that comes now will find the model, perhaps after waiting for it."""
        return self.state == "ready" or (self.on_demand and self.state != "failed")

    @property
    def leases(self) -> int:
        """How many runs hold it now."""
        return self._leases

    @property
    def signature(self) -> Signature:
        """What it takes and gives; known once it was loaded, and kept.

        Raises:
            HeliographError: `model_unavailable` if it was never loaded and may not be on demand.
        """
        if self._known is None and self.takes_calls:
            self.load()
        if self._known is None:
            raise self.refusal()
        return self._known

    def refusal(self) -> HeliographError:
        """Why a call cannot have the model now."""
        if self.state == "loading":
            return HeliographError(
                Code.MODEL_UNAVAILABLE, "The model is still loading.", retry_after=1.0
            )
        why = {"failed": f"did not load: {self.reason}", "unloading": "is being unloaded."}
        return HeliographError(
            Code.MODEL_UNAVAILABLE, f"The model {why.get(self.state, 'is not loaded.')}"
        )

    def load(self) -> None:
        """Load it, or wait for the loading that has begun; does nothing if it is there.

        Raises:
            HeliographError: what `open_copies` raises; any other failure is `model_unavailable`.
        """
        with self._turn:
            waits = self.state in {"loading", "unloading"}
            self._turn.wait_for(lambda: self.state not in {"loading", "unloading"})
            if self.state == "ready":
                return
            if waits and self.state == "failed":
                # It failed for all who waited: they do not try it once more each, in a row.
                raise self.refusal()
            self.state, self.reason = "loading", ""
        try:
            self._budget.make_room(self)
            copies, known, weight = self._open_known()
        except HeliographError as error:
            # No room is a matter of the moment; whatever else went wrong will go wrong again.
            passing = error.code is Code.MODEL_UNAVAILABLE and error.retry_after is not None
            self._fail("unloaded" if passing else "failed", error.detail)
            raise
        except Exception as error:
            log.exception("a model did not load")
            self._fail("failed", "see the log")
            raise self.refusal() from error
        with self._turn:
            self._copies, self._known = copies, known
            self.weight = weight or self.weight
            self.used = time.monotonic()
            self.state = "ready"
            self._turn.notify_all()

    def _open_known(self) -> tuple[Copies, Signature, int]:
        """The copies, what they take and give, and their bytes; none are left open if it fails."""
        copies = self._open()
        try:
            weight = sum(one.memory() for one in filter(None, copies))
            return copies, Signature.of(copies.runner), weight
        except BaseException:
            with contextlib.suppress(Exception):
                copies.close()
            raise

    def _fail(self, state: State, reason: str) -> None:
        heap.give_back()
        with self._turn:
            self.state, self.reason = state, reason
            self._turn.notify_all()

    def unload(self, *, patience: float | None = None) -> bool:
        """Refuse new runs, let those that have begun finish, give the memory back.

        Args:
            patience: seconds to wait for the runs; None for as long as they take.

        Returns:
            Whether it is unloaded; if not, it is ready again.
        """
        with self._turn:
            self._turn.wait_for(lambda: self.state not in {"loading", "unloading"})
            if self.state != "ready":
                self.state, self.reason = "unloaded", ""
                return True
            self.state = "unloading"
            if not self._turn.wait_for(lambda: self._leases == 0, patience):
                self.state = "ready"
                self._turn.notify_all()
                return False
            copies, self._copies = self._copies, None
        if copies:
            with contextlib.suppress(Exception):
                copies.close()
        with self._turn:
            self.state = "unloaded"
            self._turn.notify_all()
        return True

    def retire(self) -> None:
        """Unload it for good."""
        self.unload()
        self._budget.leave(self)

    def take(self) -> Copies:
        """Lease the copies for one run; load them first where that may be.

        Raises:
            HeliographError: `model_unavailable`, or what loading raises.
        """
        while True:
            with self._turn:
                if self._copies is not None and self.state == "ready":
                    self._leases += 1
                    return self._copies
                if not self.takes_calls:
                    raise self.refusal()
            self.load()

    def give(self) -> None:
        """End a lease."""
        with self._turn:
            self._leases -= 1
            self.used = time.monotonic()
            if not self._leases:
                self._turn.notify_all()
