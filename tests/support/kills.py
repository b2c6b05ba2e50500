"""Kills a server again and again over one data folder, while a client calls: what F-02 asks for.

    start, armed ─► ask once more what was left open ─► new calls ─► it ends ─► checker ─► start …

Each start is the recovery from the end before it. The next server is armed already while it
recovers, so that an end may fall into that, too.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import NamedTuple

import httpx

from heliograph.accounts.workspaces.values import DEFAULT
from heliograph.storage.database import FILE
from support.checker import Violation, check
from support.ledgerload import (
    PROTOCOLS,
    Door,
    Load,
    fired,
    introduce,
    opened,
    serving,
)
from support.server import Server

EDGE = ("booked.claimed", "booked.acted", "books.before_post", "books.after_post")
"""Steps of the ledger's path that each protocol's edge takes."""
WRITING = (
    "books.appended",
    "books.settled",
    "writer.worked",
    "writer.before_commit",
    "writer.after_commit",
)
"""Steps that they share, in the writer's thread."""
SITES = (*EDGE, *WRITING)
_MOST = 60
_LEAD_SECONDS = 5.5


class End(NamedTuple):
    """How one server ended.

    Attributes:
        site: where; `random` for a kill from outside.
        starting: it ended before it was ready.
        lost: calls of which nobody knows what was done.
        violations: what the checker found afterwards.
    """

    site: str
    starting: bool
    lost: int
    violations: list[Violation]


class Kills:
    """One data folder and its client.

    Args:
        folder: an empty one.
        seed: of the client.
    """

    def __init__(self, folder: Path, seed: int = 0) -> None:
        self.home = folder / "home"
        self.load = Load(folder / "log", DEFAULT, seed)
        self.count = 0
        with serving(self.home, "first") as server:
            introduce(self.load, server)
            began = time.monotonic()
            with opened(server) as door:
                self.load.ask(door, self.load.question(PROTOCOLS[0], keyed=True))
                # Until the prices are in force.
                time.sleep(max(0.0, _LEAD_SECONDS - (time.monotonic() - began)))
                told = self.load.ask(door, self.load.question(PROTOCOLS[0], keyed=True))
        assert told.cost == "0.002000 EUR", told

    def at(
        self, site: str, times: int, protocols: Sequence[str] = PROTOCOLS, threads: int = 1
    ) -> End:
        """Serve and call until the server reaches a site for the n-th time and ends."""
        name, before = self._next(), self._lost()
        try:
            with self._serving(name, f"{site}={times}") as (server, door):
                call_until_dead(self.load, door, server, protocols, threads)
                server.process.wait(10)
        except AssertionError:
            if fired(self.home, name) != [site]:
                raise
            return End(site, starting=True, lost=self._lost() - before, violations=self.check())
        assert fired(self.home, name) == [site], f"{site}={times} was never reached"
        return End(site, starting=False, lost=self._lost() - before, violations=self.check())

    def anywhen(self, chance: Random, workers: int = 1, threads: int = 3) -> End:
        """Serve and call, and kill at a random moment: of several workers one first, then all."""
        name, before = self._next(), self._lost()
        with self._serving(name, "", workers) as (server, door):
            stop = threading.Event()
            pool = [
                threading.Thread(
                    target=call_until_dead, args=(self.load, door, server, PROTOCOLS, 1, stop)
                )
                for _ in range(threads)
            ]
            for one in pool:
                one.start()
            if workers > 1:
                time.sleep(chance.uniform(0.02, 0.5))
                os.kill(chance.choice(processes(server.process.pid)), signal.SIGKILL)
            time.sleep(chance.uniform(0.02, 0.8))
            below = processes(server.process.pid)
            server.process.kill()
            for pid in below:
                os.kill(pid, signal.SIGKILL)
            server.process.wait(10)
            stop.set()
            for one in pool:
                one.join(30)
        return End("random", starting=False, lost=self._lost() - before, violations=self.check())

    def given_up(self, chance: Random, protocol: str, calls: int = 15) -> End:
        """A client that waits for no answer longer than a moment, and asks again with patience."""
        before = self._lost()
        with self._serving(self._next(), "") as (server, door):
            for _ in range(calls):
                with opened(server, chance.uniform(0.001, 0.02)) as hasty:
                    self.load.ask(hasty, self.load.question(protocol, keyed=True))
            lost = self._lost() - before
            self.load.again(door)
        return End("given up", starting=False, lost=lost, violations=self.check())

    def settle(self) -> list[Violation]:
        """A last server, undisturbed: everything that was left open is answered."""
        with self._serving(self._next(), "") as (server, door):
            self.load.again(door)
            assert not self.load.lost, self.load.lost
            tell_usage(self.load, server)
        return self.check()

    def check(self) -> list[Violation]:
        """What the checker says now."""
        return check(self.load.log, self.home / FILE)

    @contextmanager
    def _serving(self, name: str, faults: str, workers: int = 1) -> Generator[tuple[Server, Door]]:
        options = ("--workers", str(workers)) if workers > 1 else ()
        with serving(self.home, name, *options, faults=faults) as server, opened(server) as door:
            self.load.again(door)
            yield server, door

    def _next(self) -> str:
        self.count += 1
        return f"server-{self.count}"

    def _lost(self) -> int:
        return sum(found.unknown for _, found in self.load.outcomes)


def call_until_dead(
    load: Load,
    door: Door,
    server: Server,
    protocols: Sequence[str] = PROTOCOLS,
    threads: int = 1,
    stop: threading.Event | None = None,
) -> None:
    """Call over a protocol after the other, with a key and without, until the server ends."""

    def work() -> None:
        for at in range(_MOST):
            load.ask(door, load.question(protocols[at % len(protocols)], keyed=at % 3 != 2))
            if server.process.poll() is not None or (stop and stop.is_set()):
                return

    pool = [threading.Thread(target=work) for _ in range(threads - 1)]
    for one in pool:
        one.start()
    work()
    for one in pool:
        one.join()


def processes(parent: int) -> list[int]:
    """The workers of a server that has several."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text("ascii").split()
    return [
        int(one) for one in children if b"spawn_main" in Path(f"/proc/{one}/cmdline").read_bytes()
    ]


def tell_usage(load: Load, server: Server) -> None:
    """Write down what the usage API tells."""
    with httpx.Client(trust_env=False, headers=server.headers, timeout=20.0) as http:
        reply = http.get(f"{server.address}/api/v1/usage")
    assert reply.is_success, (reply.text, server.log()[-4000:])
    told = reply.json()
    totals = {name: told["totals"][name] for name in ("calls", "images", "bytes_in", "bytes_out")}
    load.note(
        "usage",
        workspace=load.workspace,
        from_ms=told["from_ms"],
        to_ms=told["to_ms"],
        totals=totals,
    )
