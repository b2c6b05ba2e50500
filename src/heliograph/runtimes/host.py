"""A model in a worker process of its own, behind the Runner protocol: our side of the wall.

A crash, a hang or a flood costs the call that caused it. A thread of each host keeps a worker
running: it starts one, watches it, and starts the next as soon as it has died. A call that was in a
worker when it died is the culprit if it was alone there; if several were, each is run again with
nobody beside it, and only the one that kills again is blamed. After three deaths within a while the
model is in quarantine until it is loaded anew.

Why one worker for all instances, why a fresh interpreter, and what a call costs:
`docs/decisions/0006-model-workers.md`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from heliograph.core.errors import Code, HeliographError
from heliograph.runtimes import wall
from heliograph.runtimes.base import Arrays, Plan, Runner, Tensor
from heliograph.runtimes.channel import Absent, Gone, Nonsense
from heliograph.runtimes.exchange import printable
from heliograph.runtimes.process import GuestLimits, ModelProcess, Opener, Order

log = logging.getLogger("heliograph")

_LOOK_SECONDS = 0.25
_RETRIES = 3
_SHARED = 3
"""Deaths whose culprit is not known count for one in this many."""


class HostRunner:
    """A model that runs in a worker process; returns once it is loaded.

    Args:
        path: the model's main file or folder.
        plan: engine, threads and instances.
        limits: what the worker may take.
        readable: further files and folders of the model.
        opener: what opens the model inside the worker.

    Raises:
        HeliographError: `model_invalid`, `model_crashed_on_load`, `model_resource_limit`, or
            `unsupported` if this machine lacks a required part of the wall.
    """

    def __init__(
        self,
        path: Path,
        plan: Plan,
        *,
        limits: GuestLimits,
        readable: Sequence[Path] = (),
        opener: Opener | None = None,
    ) -> None:
        path = path.absolute()
        own = tuple(one.absolute() for one in (path, *readable))
        self._order = Order(path, plan, limits, own, opener or Opener())
        self._turn = threading.Condition()
        self._alone = threading.Lock()
        self._process: ModelProcess | None = None
        self._closing = False
        self._out: HeliographError | None = None
        self._deaths: list[tuple[float, bool]] = []
        self._keeper = threading.Thread(target=self._keep, name="model-keeper", daemon=True)
        self._keeper.start()
        with self._turn:
            self._turn.wait_for(lambda: self._process is not None or self._out is not None)
            first = self._process
        if first is None:
            self._keeper.join()
            assert self._out is not None, "either came"
            raise self._out
        self.inputs: tuple[Tensor, ...] = first.inputs
        self.outputs: tuple[Tensor, ...] = first.outputs
        self.platform = first.platform
        self.wall: wall.Report = first.wall

    @property
    def quarantine(self) -> str:
        """Why the model is in quarantine; empty if it is not."""
        return "" if self._closing or self._out is None else self._out.detail

    @property
    def pid(self) -> int:
        """The worker's process number; 0 while there is none."""
        process = self._process
        return 0 if process is None else process.pid

    def memory(self) -> int:
        """See `Runner.memory`."""
        process = self._process
        return 0 if process is None else process.memory_bytes()

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Arrays:
        """See `Runner.run`.

        Raises:
            HeliographError: `inference_timeout` if this run took too long, `model_crashed` if it
                ended the worker or failed in it, `model_resource_limit` if it wanted more memory
                than there is for it, `model_unavailable` in quarantine or after `close`.
        """
        deaths = 0
        while deaths < _RETRIES:
            process = self._await()
            try:
                if not deaths:
                    return self._try(process, feeds)
                with self._alone:
                    return self._try(process, feeds, alone=True)
            except Absent:
                # It was over before this call came; each further worker is a further death, and
                # those are numbered.
                self._retire(process)
            except Gone:
                self._retire(process)
                deaths += 1
        raise self._unavailable("The model's worker ended several times under other calls.")

    def _try(
        self, process: ModelProcess, feeds: Mapping[str, NDArray[Any]], *, alone: bool = False
    ) -> Arrays:
        """Run in this worker; `Gone` if it died and this call is not known to be why."""
        seconds = self._order.limits.run_seconds
        try:
            # Whoever is in it is out of it, or has ended it, after `run_seconds`.
            taken = process.take(2.0 * seconds + 1.0, alone=alone)
        except TimeoutError:
            raise HeliographError(
                Code.INFERENCE_TIMEOUT, "No instance of the model became free in time."
            ) from None
        try:
            return taken[0].exchange(feeds, process.outputs)
        except TimeoutError:
            slow = f"The model ran for more than {seconds:g} s on this input."
            raise self._condemn(process, Code.INFERENCE_TIMEOUT, slow) from None
        except Nonsense as nonsense:
            log.warning("a model worker answered %s", printable(str(nonsense)))
            unusable = "The model's answer cannot be used; the log has the reason."
            raise self._condemn(process, Code.MODEL_CRASHED, unusable) from None
        except Absent:
            raise
        except Gone:
            verdict = None if self._closing else process.judge()
            if verdict is None:
                raise
            self._retire(process)
            raise verdict from None
        finally:
            process.give(taken)

    def _condemn(self, process: ModelProcess, code: Code, detail: str) -> HeliographError:
        why = HeliographError(code, detail)
        process.condemn(why)
        self._retire(process)
        return why

    def _retire(self, process: ModelProcess) -> None:
        """Let no further call into a worker that ended; the keeper brings the next."""
        with self._turn:
            if self._process is process:
                self._process = None

    def _await(self) -> ModelProcess:
        """The running worker, as soon as there is one."""
        process = self._process
        if process is not None:
            return process
        limits = self._order.limits
        with self._turn:
            self._turn.wait_for(
                lambda: self._process is not None or self._out is not None or self._closing,
                limits.load_seconds,
            )
            if self._process is not None:
                return self._process
            if self._out is not None:
                raise HeliographError(self._out.code, self._out.detail)
        raise self._unavailable("The model's worker is not there.")

    def _unavailable(self, why: str) -> HeliographError:
        if self._closing:
            return HeliographError(Code.MODEL_UNAVAILABLE, "The model was unloaded.")
        return HeliographError(Code.MODEL_UNAVAILABLE, why, retry_after=1.0)

    def _keep(self) -> None:
        """Keep a worker running until closed or out; the life of the keeper's thread."""
        loaded = False
        try:
            while not self._closing and self._out is None:
                try:
                    process = ModelProcess(self._order)
                    process.load(lambda: self._closing)
                except HeliographError as error:
                    if not loaded:
                        self._settle(out=error)
                        return
                    log.warning("a model's worker could not be replaced: %s", error)
                    self._count(shared=False)
                    continue
                loaded = True
                self._settle(process)
                while not self._closing and not process.wait(_LOOK_SECONDS):
                    process.look()
                self._retire(process)
                self._mourn(process)
        except BaseException:
            self._settle(
                out=HeliographError(Code.MODEL_UNAVAILABLE, "The model's worker cannot be started.")
            )
            raise

    def _mourn(self, process: ModelProcess) -> None:
        died = process.end()
        shared = process.shared()
        if not self._closing:
            why = process.verdict.detail if process.verdict else printable(process.said())
            log.warning("model worker %d ended (%d): %s", process.pid, died, why)
            self._count(shared=shared)
        process.close()

    def _count(self, *, shared: bool) -> None:
        """Count a death, and put the model in quarantine after too many."""
        limits = self._order.limits
        now = time.monotonic()
        self._deaths = [one for one in self._deaths if now - one[0] < limits.window_seconds]
        self._deaths.append((now, shared))
        weight = sum(1.0 / _SHARED if known_not else 1.0 for _, known_not in self._deaths)
        if weight >= limits.crashes:
            self._settle(
                out=HeliographError(
                    Code.MODEL_UNAVAILABLE,
                    f"The model is in quarantine: it ended its worker {len(self._deaths)} times "
                    f"within {limits.window_seconds:g} s. Load it anew to try again.",
                )
            )

    def _settle(
        self, process: ModelProcess | None = None, *, out: HeliographError | None = None
    ) -> None:
        with self._turn:
            self._process = process
            self._out = out or self._out
            self._turn.notify_all()

    def close(self) -> None:
        """See `Runner.close`: ends the worker and gives back all that it had."""
        with self._turn:
            self._closing = True
            process = self._process
            self._turn.notify_all()
        if process is not None:
            process.kill()
        self._keeper.join()
        self._settle()


def open_hosted(
    path: Path,
    plan: Plan,
    limits: GuestLimits | None = None,
    *,
    readable: Sequence[Path] = (),
    unsafe: bool = False,
) -> Runner:
    """Open a model in a worker process of its own, behind the wall.

    Args:
        path: the model's main file or folder.
        plan: engine, threads and instances.
        limits: what the worker may take; by default `GuestLimits()`.
        readable: further files of the model that its engine reads, e.g. an IR's weights.
        unsafe: whether the operator allows formats that can carry a program.

    Raises:
        HeliographError: see `HostRunner`.
    """
    return HostRunner(
        path, plan, limits=limits or GuestLimits(), readable=readable, opener=Opener(unsafe=unsafe)
    )
