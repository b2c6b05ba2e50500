"""Step 2: a lane per model, where calls wait their turn and pictures gather into batches.

A lane has *hands* (threads that carry one call from decoding to its answer, in order of arrival)
and *instances* (runs at the same time). Where batching was not measured to help, hands and
instances are the same number and nobody waits for anybody. Where it was, the first hand that finds
an instance free leads: it takes the waiting pictures up to `max_batch`, drops the dead, runs them
and hands each its own arrays. A batch closes when an instance frees up, on size, or on wait.

A call that is alone in its lane may run on a *wide* copy of the model that uses every core.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from heliograph.core.errors import Code, HeliographError
from heliograph.runtimes.base import Arrays, Plan, Runner

T = TypeVar("T")


class Item:
    """One picture in a lane: its tensor, and in the end its arrays or its error.

    Args:
        tensor: without a batch axis.
        check: raises `HeliographError` once nobody waits for the answer any more.
    """

    __slots__ = ("arrays", "batch", "check", "error", "ran_ms", "since", "tensor")

    def __init__(self, tensor: NDArray[Any], check: Callable[[], None]) -> None:
        self.tensor = tensor
        self.check = check
        self.since = time.perf_counter()
        self.arrays: Arrays | None = None
        self.error: BaseException | None = None
        self.batch = 1
        self.ran_ms = 0.0

    @property
    def done(self) -> bool:
        """Whether it has its arrays or its error."""
        return self.arrays is not None or self.error is not None


class Lane:
    """Where one model version runs.

    Args:
        runner: the model; `plan.instances` runs at once.
        plan: how it runs on this machine.
        name: the model's, for names of threads.
        feed: name of the input that is fed; the first one if empty.
        wide: a second copy for a call that is alone.
    """

    def __init__(
        self,
        runner: Runner,
        plan: Plan,
        *,
        name: str = "",
        feed: str = "",
        wide: Runner | None = None,
    ) -> None:
        self.runner = runner
        self.plan = plan
        self._wide = wide
        self._feed = feed or runner.inputs[0].name
        self._free = plan.instances
        self._waiting: list[Item] = []
        self._turn = threading.Condition()
        self._calls = 0
        self._counting = threading.Lock()
        cores = len(os.sched_getaffinity(0))
        hands = plan.instances if plan.max_batch == 1 else plan.instances * plan.max_batch + cores
        self._hands = ThreadPoolExecutor(hands, thread_name_prefix=f"lane-{name}")

    def submit(self, work: Callable[..., T], *args: Any) -> Future[T]:
        """Have `work` done by the next free hand, in order of arrival."""
        # Counted before a hand can begin, or two calls at once would both think they are alone.
        self._count(1)
        try:
            future = self._hands.submit(work, *args)
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

    def warm_up(self, tensor: NDArray[Any]) -> None:
        """Run one tensor on each copy of the model and forget the outcome."""
        for runner in filter(None, (self.runner, self._wide)):
            runner.run({self._feed: tensor[None]})

    def close(self) -> None:
        """Finish what has begun and stop the hands."""
        self._hands.shutdown(wait=True, cancel_futures=True)

    def run(self, item: Item) -> Item:
        """Run one picture, alone or with others; returns when it is done.

        Raises:
            HeliographError: `model_crashed` if the engine failed on this very picture.
        """
        if self.plan.max_batch == 1:
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
        if len(self._waiting) >= self.plan.max_batch:
            return 0.0
        waited = time.perf_counter() - self._waiting[0].since
        return max(0.0, self.plan.max_wait_ms / 1000.0 - waited)

    def _close_batch(self) -> list[Item]:
        """Take the next batch: the living, of one shape, in order of arrival."""
        batch: list[Item] = []
        left: list[Item] = []
        for item in self._waiting:
            try:
                item.check()
            except HeliographError as error:
                item.error = error
                continue
            if len(batch) < self.plan.max_batch and (
                not batch or item.tensor.shape == batch[0].tensor.shape
            ):
                batch.append(item)
            else:
                left.append(item)
        self._waiting = left
        return batch

    def _run_batch(self, batch: list[Item]) -> None:
        began = time.perf_counter()
        try:
            feed = batch[0].tensor[None] if len(batch) == 1 else np.stack([i.tensor for i in batch])
            runner = self._wide if self._wide and self._calls <= 1 else self.runner
            arrays = runner.run({self._feed: feed})
            for at, item in enumerate(batch):
                item.arrays = {name: array[at] for name, array in arrays.items()}
        except Exception as error:  # noqa: BLE001 - an engine may raise anything; it must not spread
            if len(batch) > 1:
                # One bad picture must not hurt its neighbours: each is tried alone.
                for item in batch:
                    item.arrays = None
                    self._run_batch([item])
                return
            batch[0].error = HeliographError(
                Code.MODEL_CRASHED, "The model failed on this picture; the log has the reason."
            )
            batch[0].error.__cause__ = error
        ran_ms = (time.perf_counter() - began) * 1000.0
        for item in batch:
            item.batch, item.ran_ms = len(batch), ran_ms
