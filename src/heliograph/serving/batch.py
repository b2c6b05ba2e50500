"""Step 2: a lane per model, where calls wait their turn and pictures gather into batches.

A lane has *hands* (threads that carry one call from decoding to its answer, in fair order) and
*instances* (runs at the same time). Where batching was not measured to help, hands and instances
are the same number and nobody waits for anybody. Where it was, the first hand that finds an
instance free leads: it takes the waiting pictures up to `max_batch`, drops the dead, runs them
and hands each its own arrays. A batch closes when an instance frees up, on size, or on wait.

A call that is alone in its lane may run on a *wide* copy of the model that uses every core.
An item brings one row (a picture) or several (a tensor call with a batch of its own); rows of
items are joined along the first axis and parted again by the same counts.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from heliograph.core.errors import Code, HeliographError
from heliograph.runtimes.base import Arrays, Plan
from heliograph.serving.hands import Hands
from heliograph.serving.resident import Resident

T = TypeVar("T")


class Item:
    """One call in a lane: its tensors, and in the end its arrays or its error.

    Args:
        feeds: tensors by input name, with the batch axis; the name "" is the input that the lane
            feeds by default.
        check: raises `HeliographError` once nobody waits for the answer any more.
        rows: size of the batch axis.
        alone: its first axis is no batch: it never runs together with others.
    """

    __slots__ = ("alone", "arrays", "batch", "check", "error", "feeds", "ran_ms", "rows", "since")

    def __init__(
        self,
        feeds: Mapping[str, NDArray[Any]],
        check: Callable[[], None],
        rows: int = 1,
        *,
        alone: bool = False,
    ) -> None:
        self.feeds = feeds
        self.alone = alone
        self.check = check
        self.rows = rows
        self.since = time.perf_counter()
        self.arrays: Arrays | None = None
        self.error: BaseException | None = None
        self.batch = rows
        self.ran_ms = 0.0

    @classmethod
    def picture(cls, tensor: NDArray[Any], check: Callable[[], None]) -> Self:
        """An item of one picture, a tensor without a batch axis."""
        return cls({"": tensor[None]}, check)

    @property
    def kind(self) -> list[tuple[str, tuple[int, ...], str]]:
        """Items of one kind may run together."""
        return [(name, one.shape[1:], one.dtype.str) for name, one in self.feeds.items()]

    @property
    def done(self) -> bool:
        """Whether it has its arrays or its error."""
        return self.arrays is not None or self.error is not None


class Lane:
    """Where one model version runs.

    Args:
        resident: the model; `plan.instances` runs at once.
        plan: how it runs on this machine.
        name: the model's, for names of threads.
        feed: name of the input that pictures are fed to; the first one if empty.

    Attributes:
        busy_ms: how long it has run in all; a batch counts once.
    """

    def __init__(self, resident: Resident, plan: Plan, *, name: str = "", feed: str = "") -> None:
        self.resident = resident
        self.plan = plan
        self._feed = feed
        self._free = plan.instances
        self._waiting: list[Item] = []
        self._turn = threading.Condition()
        self._calls = 0
        self.busy_ms = 0.0
        self._counting = threading.Lock()
        cores = len(os.sched_getaffinity(0))
        hands = plan.instances if plan.max_batch == 1 else plan.instances * plan.max_batch + cores
        self._hands = Hands(hands, f"lane-{name}")

    def submit(
        self, work: Callable[..., T], *args: Any, whose: str = "", share: float = 1.0
    ) -> Future[T]:
        """Have `work` done by the next free hand when it is its turn.

        Args:
            work: carries one call.
            args: what it is given.
            whose: the workspace that it is for; calls of one keep their order.
            share: the weight of that workspace.
        """
        # Counted before a hand can begin, or two calls at once would both think they are alone.
        self._count(1)
        try:
            future = self._hands.submit(whose, share, work, *args)
        except RuntimeError:
            self._count(-1)
            raise
        future.add_done_callback(self._left)
        return future

    def _left(self, future: Future[Any]) -> None:
        del future
        self._count(-1)

    def _count(self, more: int) -> None:
        with self._counting:
            self._calls += more

    def drain(self, patience: float = 60.0) -> None:
        """Wait until every call that is in the lane now has left it, for `patience` seconds."""
        ends = time.monotonic() + patience
        while self._calls > 0 and time.monotonic() < ends:
            time.sleep(0.005)

    def close(self) -> None:
        """Finish what has begun, stop the hands and let the model go."""
        self._hands.shutdown()
        self.resident.retire()

    def run(self, item: Item) -> Item:
        """Run one item, alone or with others; returns when it is done.

        Raises:
            HeliographError: `model_crashed` if the engine failed on this very item,
                `model_unavailable` if the model is not there.
        """
        if self.plan.max_batch == 1 or item.alone:
            self._run_batch([item])
        else:
            self._gather(item)
        if item.error is not None:
            raise item.error
        return item

    def _gather(self, item: Item) -> None:
        with self._turn:
            self._waiting.append(item)
            self._turn.notify_all()
            while not item.done:
                patience = self._patience()
                if patience is None or patience > 0:
                    self._turn.wait(patience)
                    continue
                batch = self._close_batch()
                if not batch:
                    continue
                self._free -= 1
                self._turn.release()
                try:
                    self._run_batch(batch)
                finally:
                    self._turn.acquire()
                    self._free += 1
                    self._turn.notify_all()

    def _patience(self) -> float | None:
        """Seconds to wait before leading a batch; 0 = lead now; None = until woken."""
        if not self._free or not self._waiting:
            return None
        if sum(item.rows for item in self._waiting) >= self.plan.max_batch:
            return 0.0
        waited = time.perf_counter() - self._waiting[0].since
        return max(0.0, self.plan.max_wait_ms / 1000.0 - waited)

    def _close_batch(self) -> list[Item]:
        """Take the next batch: the living, of one kind, in order of arrival."""
        rows = 0
        batch: list[Item] = []
        left: list[Item] = []
        for item in self._waiting:
            try:
                item.check()
            except HeliographError as error:
                item.error = error
                continue
            if not batch or (
                rows + item.rows <= self.plan.max_batch and item.kind == batch[0].kind
            ):
                batch.append(item)
                rows += item.rows
            else:
                left.append(item)
        self._waiting = left
        return batch

    def _run_batch(self, batch: list[Item]) -> None:
        began = time.perf_counter()
        rows = sum(item.rows for item in batch)
        try:
            arrays = self._run_feeds(self._join(batch))
            if len(batch) == 1:
                batch[0].arrays = arrays
            else:
                _part(batch, arrays, rows)
        except Exception as error:  # noqa: BLE001 - an engine may raise anything; it must not spread
            if len(batch) > 1:
                # One bad item must not hurt its neighbours: each is tried alone.
                for item in batch:
                    item.arrays = None
                    self._run_batch([item])
                return
            batch[0].error = _explain(error)
        ran_ms = (time.perf_counter() - began) * 1000.0
        with self._counting:
            self.busy_ms += ran_ms
        for item in batch:
            item.batch, item.ran_ms = rows, ran_ms

    def _join(self, batch: list[Item]) -> Mapping[str, NDArray[Any]]:
        if len(batch) == 1:
            return batch[0].feeds
        return {
            name: np.concatenate([item.feeds[name] for item in batch]) for name in batch[0].feeds
        }

    def _run_feeds(self, feeds: Mapping[str, NDArray[Any]]) -> Arrays:
        copies = self.resident.take()
        try:
            runner = copies.wide if copies.wide and self._calls <= 1 else copies.runner
            if "" in feeds:
                feeds = {self._feed or runner.inputs[0].name: feeds[""]}
            return runner.run(feeds)
        finally:
            self.resident.give()


def _part(batch: list[Item], arrays: Arrays, rows: int) -> None:
    """Give each item the rows that are its own."""
    for name, array in arrays.items():
        if array.shape[:1] != (rows,):
            raise ValueError(f"output {name!r}: expected {rows} rows, got shape {array.shape}")
    at = 0
    for item in batch:
        item.arrays = {name: array[at : at + item.rows] for name, array in arrays.items()}
        at += item.rows


def _explain(error: Exception) -> HeliographError:
    if isinstance(error, HeliographError):
        return error
    known = HeliographError(
        Code.MODEL_CRASHED, "The model failed on this input; the log has the reason."
    )
    known.__cause__ = error
    return known
