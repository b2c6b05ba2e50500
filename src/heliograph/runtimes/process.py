"""One model worker as the server sees it: start its process, talk to it, end it.

The server's half of `runtimes/guest.py`. It believes a worker nothing that it has not checked, and
every wait for it has an end. What to do about a worker that died is `runtimes/host.py`'s business.
"""

from __future__ import annotations

import json
import logging
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from heliograph.core.errors import Code, HeliographError
from heliograph.runtimes import wall
from heliograph.runtimes.base import Plan, Tensor
from heliograph.runtimes.channel import (
    Absent,
    Arena,
    Failed,
    Gone,
    Here,
    Loaded,
    Nonsense,
    Said,
    Walled,
    understand,
)
from heliograph.runtimes.exchange import Channel, printable, refusal

log = logging.getLogger("heliograph")

_SLICE_MS = 250
"""How often a worker's memory is looked at, and whether anybody still wants it."""

_SAID_BYTES = 64 << 10
_STARTS_IN = 30.0
_PASSED_ON = ("CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "NVIDIA_VISIBLE_DEVICES", "TZ")
_OUT_OF_MEMORY = re.compile(r"bad_alloc|MemoryError|out of memory", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class GuestLimits:
    """What a model worker may take.

    Attributes:
        memory_bytes: private memory of its process.
        run_seconds: one run; longer ones end the worker.
        load_seconds: starting and opening the model.
        output_bytes: all outputs of one run.
        scratch_bytes: its own temporary files, in memory; 0 for none.
        crashes: that many crashes or hangs within `window_seconds` put the model in quarantine.
        window_seconds: see `crashes`.
        require: parts of the wall (`wall.PARTS`) without which nothing is opened.
        accelerator: whether it may use a GPU's devices; not tried on one yet.
    """

    memory_bytes: int = 4 << 30
    run_seconds: float = 30.0
    load_seconds: float = 60.0
    output_bytes: int = 256 << 20
    scratch_bytes: int = 0
    crashes: int = 3
    window_seconds: float = 300.0
    require: tuple[str, ...] = wall.ESSENTIAL
    accelerator: bool = False


@dataclass(frozen=True, slots=True)
class Opener:
    """The function that opens a model inside the worker: `(path, plan) -> Runner`.

    Attributes:
        module: its module.
        name: its name there.
        folder: where the module lies if Python does not know it anyway.
        unsafe: whether the operator allows formats that can carry a program.
    """

    module: str = "heliograph.runtimes.engines"
    name: str = "open_runner"
    folder: str = ""
    unsafe: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """Which model, and how.

    Attributes:
        path: its main file.
        plan: how it runs.
        limits: what it may take.
        readable: everything of it that may be read.
        opener: what opens it.
    """

    path: Path
    plan: Plan
    limits: GuestLimits
    readable: tuple[Path, ...]
    opener: Opener

    def written(self, sockets: list[int]) -> str:
        """As the worker reads it."""
        return json.dumps({
            "path": str(self.path),
            "plan": asdict(self.plan),
            "readable": [*map(str, self.readable), *filter(None, [self.opener.folder])],
            "module": self.opener.module,
            "opener": self.opener.name,
            "folder": self.opener.folder,
            "unsafe": self.opener.unsafe,
            "sockets": sockets,
            "parent": os.getpid(),
            "memory_bytes": self.limits.memory_bytes,
            "scratch_bytes": self.limits.scratch_bytes,
            "accelerator": self.limits.accelerator,
            "require": list(self.limits.require),
        })  # fmt: skip


class ModelProcess:
    """A running worker.

    Start it from a thread that lives as long as it shall: the kernel ends a worker with the thread
    that started it.

    Args:
        order: which model, and how.
    """

    def __init__(self, order: Order) -> None:
        self.order = order
        self.inputs: tuple[Tensor, ...] = ()
        self.outputs: tuple[Tensor, ...] = ()
        self.platform = ""
        self.wall: wall.Report = {}
        self.verdict: HeliographError | None = None
        """Why the server ended it; None if it died by itself."""
        self._suspects = 0
        self._culprit_known = False
        self._turn = threading.Condition()
        # A file with an end: what a worker prints cannot fill a disk, and nobody must read along.
        self._said = Arena.make(_SAID_BYTES)
        pairs = [
            socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            for _ in range(order.plan.instances)
        ]
        theirs = [one.fileno() for _, one in pairs]
        try:
            self._process = subprocess.Popen(  # noqa: S603 - this very Python
                [
                    sys.executable,
                    "-I",
                    "-B",
                    "-m",
                    "heliograph.runtimes.guest",
                    order.written(theirs),
                ],
                stdin=subprocess.DEVNULL,
                stdout=self._said,
                stderr=self._said,
                pass_fds=theirs,
                cwd="/",
                env=_environment(order.plan),
            )
        except OSError:
            os.close(self._said)
            for one, _ in pairs:
                one.close()
            raise
        finally:
            for _, one in pairs:
                one.close()
        self._pidfd = os.pidfd_open(self._process.pid)
        limits = order.limits
        self.channels = [
            Channel(ours, limits.run_seconds, limits.output_bytes) for ours, _ in pairs
        ]
        self._free = list(self.channels)
        self._shut = False
        self._busy = 0
        self._closed = False
        self.ended = False
        """Whether it is known to have ended, or has been told to."""

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def load(self, given_up: Callable[[], bool]) -> None:
        """Wait until the model is open.

        Args:
            given_up: whether nobody wants it any more.

        Raises:
            HeliographError: it is not; the process has been ended and closed.
        """
        try:
            self._load(given_up)
        except (Gone, Nonsense, TimeoutError, HeliographError) as error:
            told = self._why_not_loaded(error)
            self.close()
            raise told from error

    def _load(self, given_up: Callable[[], bool]) -> None:
        limits = self.order.limits
        said = self._hear(0, _STARTS_IN, given_up)
        if not isinstance(said, Walled):
            raise Nonsense("something before its wall")
        self.wall = said.parts
        lacking = wall.missing(said.parts, limits.require)
        if lacking:
            raise HeliographError(
                Code.UNSUPPORTED,
                f"This machine cannot wall a model in: it lacks {', '.join(lacking)}.",
            )
        said = self._hear(0, limits.load_seconds, given_up)
        if isinstance(said, Failed):
            raise refusal(said, loading=True)
        if not isinstance(said, Loaded):
            raise Nonsense("something else than a model")
        self.inputs = tuple(Tensor(*one) for one in said.inputs)
        self.outputs = tuple(Tensor(*one) for one in said.outputs)
        self.platform = printable(said.platform)[:80]
        for at, channel in enumerate(self.channels):
            here = self._hear(at, _STARTS_IN, given_up)
            if not isinstance(here, Here):
                raise Nonsense("no thread that serves")
            # Of its own threads only: this number is used on the server's authority.
            if Path(f"/proc/{self.pid}/task/{here.thread}").exists():
                channel.thread = here.thread

    def _hear(self, at: int, seconds: float, given_up: Callable[[], bool]) -> Said:
        """The next message on a line while loading, with an eye on memory."""
        line = self.channels[at].line
        ends = time.monotonic() + seconds
        poll = select.poll()
        poll.register(line.sock, select.POLLIN)
        while not poll.poll(_SLICE_MS):
            self.look()
            if self.verdict is not None:
                raise self.verdict
            if given_up():
                raise HeliographError(Code.MODEL_UNAVAILABLE, "The model was unloaded.")
            if time.monotonic() > ends:
                raise TimeoutError
        return understand(line.hear(0))

    def _why_not_loaded(self, error: Exception) -> HeliographError:
        if isinstance(error, HeliographError):
            return error
        if isinstance(error, TimeoutError):
            return HeliographError(
                Code.MODEL_RESOURCE_LIMIT,
                f"The model took longer than {self.order.limits.load_seconds:g} s to load.",
            )
        died = self.end()
        # A kill that is not ours is the kernel's, for want of memory.
        if isinstance(error, Gone) and (
            died == -signal.SIGKILL or _OUT_OF_MEMORY.search(self.said())
        ):
            return HeliographError(
                Code.MODEL_RESOURCE_LIMIT, "The model asked for more memory than it may have."
            )
        log.warning("a model worker ended (%s) while loading: %s", died, printable(self.said()))
        return HeliographError(
            Code.MODEL_CRASHED_ON_LOAD, "The model ended its worker while it was loaded."
        )

    def take(self, seconds: float, *, alone: bool = False) -> list[Channel]:
        """A free channel, or all of them, which keeps everybody else out.

        Raises:
            Absent: the process has ended.
            TimeoutError: none became free.
        """
        count = len(self.channels) if alone else 1
        with self._turn:
            if alone:
                # Nobody new is let in, or all would never be free at once.
                self._shut = True
            elif self._free and not self._shut and not self.ended:
                self._busy += 1
                return [self._free.pop()]
            try:
                came = self._turn.wait_for(
                    lambda: self.ended or (len(self._free) >= count and (alone or not self._shut)),
                    seconds,
                )
            finally:
                if alone:
                    self._shut = False
            if self.ended:
                raise Absent
            if not came:
                self._turn.notify_all()
                raise TimeoutError
            taken, self._free = self._free[-count:], self._free[:-count]
            self._busy += 1
            return taken

    def give(self, taken: list[Channel]) -> None:
        """Put channels back."""
        with self._turn:
            self._busy -= 1
            if self._closed:
                for channel in taken:
                    channel.close()
            else:
                self._free += taken
                self._turn.notify_all()

    def look(self) -> None:
        """End it if it has more memory than it may: what the limit of its own did not hold."""
        if _status(self.pid, "RssAnon") > self.order.limits.memory_bytes:
            self.condemn(
                HeliographError(
                    Code.MODEL_RESOURCE_LIMIT, "The model took more memory than it may have."
                ),
                known=False,
            )

    def wait(self, seconds: float) -> bool:
        """Whether it ended within this time."""
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return bool(poll.poll(seconds * 1000.0))

    def condemn(self, why: HeliographError, *, known: bool = True) -> HeliographError:
        """End it for this reason, unless it was ended before; the reason.

        Args:
            why: what the culprit is told.
            known: whether the culprit is known: then all others are innocent.
        """
        with self._turn:
            if self.verdict is None and not self.ended:
                self.verdict, self._culprit_known = why, known
            self._end()
        self.kill()
        return why

    def judge(self) -> HeliographError | None:
        """What a call is told that was in it when it ended; None if it may well be innocent."""
        if self._culprit_known or self.shared():
            return None
        return self.verdict or HeliographError(
            Code.MODEL_CRASHED, "The model ended its worker on this input."
        )

    def shared(self) -> bool:
        """Once it has ended: whether several calls may be why."""
        with self._turn:
            self._end()
            return self._suspects > 1

    def _end(self) -> None:
        """Let nobody in any more, and note who was in it."""
        if not self.ended:
            self.ended = True
            self._suspects = 0 if self._culprit_known else self._busy
            self._turn.notify_all()

    def kill(self) -> None:
        """End it now."""
        # Held against `end`, or the number could be another process's by now.
        with self._turn:
            if self._process.returncode is None:
                self._process.kill()

    def end(self) -> int:
        """Make sure that it has ended; its exit code, negative for a signal."""
        if not self.wait(0.05):
            self.kill()
        return self._process.wait()

    def close(self) -> None:
        """End it and give everything back. Calls that are in it hear that it is gone."""
        self.end()
        with self._turn:
            if self._closed:
                return
            self._end()
            self._closed = True
            idle, self._free = self._free, []
        for channel in idle:
            channel.close()
        os.close(self._pidfd)
        os.close(self._said)

    def said(self) -> str:
        """The first 64 KiB of what it printed."""
        return os.pread(self._said, _SAID_BYTES, 0).rstrip(b"\0").decode("utf-8", "replace")

    def memory_bytes(self) -> int:
        """What ending it would give back, shared pages by their share."""
        try:
            rollup = Path(f"/proc/{self.pid}/smaps_rollup").read_text("ascii")
        except OSError:
            return _status(self.pid, "RssAnon")
        found = re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
        return int(found[1]) << 10 if found else 0


def _environment(plan: Plan) -> dict[str, str]:
    """All that a worker's environment has."""
    threads = str(plan.threads)
    own = {
        "HOME": str(wall.SCRATCH),
        "LANG": "C.UTF-8",
        "MKL_NUM_THREADS": threads,
        "OMP_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "TMPDIR": str(wall.SCRATCH),
        "USER": "guest",
    }
    return own | {name: os.environ[name] for name in _PASSED_ON if name in os.environ}


def _status(pid: int, field: str) -> int:
    """Bytes that the kernel's status of a process gives; 0 once it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text("ascii", "replace")
    except OSError:
        return 0
    found = re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) << 10 if found else 0
