"""A server as a running process tree: start, wait for the first answer, weigh, stop.

A tree is found by its parents, its session and a mark in the environment, because some servers
(Ray) detach their children. Only processes found so are ever signalled.
"""

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.load import Request, ask
from bench.servers import Server, filled

_POLL, _PATIENCE, _GRACE, _ORPHANS = 0.010, 60.0, 6.0, 0.5
_MARK = "BENCH_MARK"


class StartError(Exception):
    """The server never answered; the message says what it printed last."""


@dataclass(slots=True)
class Running:
    """A server that answers.

    Attributes:
        port: on 127.0.0.1.
        first_answer: seconds from the start of the process to the first answer with status 200.
        top: the best class of that answer.
        command: as in the table of servers, so without paths of this machine.
    """

    port: int
    process: subprocess.Popen[bytes]
    mark: str
    first_answer: float = 0.0
    top: str = ""
    command: list[str] = field(default_factory=list[str])

    def ask(self, server: Server, request: Request) -> str:
        """The best class for one request.

        Raises:
            StartError: it did not answer with status 200.
        """
        reply = asyncio.run(ask(self.port, request))
        if reply.status != 200:
            raise StartError(f"status {reply.status}: {reply.body[:200].decode(errors='replace')}")
        return server.top(json.loads(_unchunked(reply.body)))

    def pss(self) -> int:
        """Proportional set size of the whole tree, in bytes."""
        return sum(_pss(pid) for pid in tree(self.process.pid, self.mark))

    def cpu(self) -> float:
        """Processor seconds that the living tree has used so far."""
        return sum(_cpu(pid) for pid in tree(self.process.pid, self.mark))

    def processes(self) -> int:
        """How many processes the tree has."""
        return len(tree(self.process.pid, self.mark))


@contextmanager
def running(
    server: Server, python: Path, environment: dict[str, str], home: Path, first: Request
) -> Generator[Running]:
    """Start a server, wait for its first answer to `first`, and stop it at the end.

    Args:
        server: which.
        python: the interpreter of its environment.
        environment: variables beside its own.
        home: a folder that it finds again at its next start, as in daily use.
        first: asked until it is answered.

    Raises:
        StartError: it ended, or did not answer in time.
    """
    mark, port = uuid.uuid4().hex, _free_port()
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as scratch:
        log = Path(scratch, "log.txt")
        command, own = filled(server, python, port, home)
        variables = {**os.environ, **environment, **own}
        variables |= {"BENCH_PORT": str(port), _MARK: mark, "TMPDIR": scratch}
        with log.open("wb") as output:
            begin = time.perf_counter()
            process = subprocess.Popen(
                command,
                cwd=server.folder,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        found = Running(port, process, mark, command=list(server.command))
        try:
            answer = asyncio.run(_first_answer(process, port, first, begin))
            found.first_answer = time.perf_counter() - begin
            found.top = server.top(json.loads(answer))
        except StartError as error:
            tail = log.read_text(errors="replace")[-600:].strip()
            raise StartError(f"{error}; its log ends: {tail}") from None
        else:
            yield found
        finally:
            _stop(process, mark)


async def _first_answer(
    process: subprocess.Popen[bytes], port: int, first: Request, begin: float
) -> bytes:
    last = "no answer"
    while time.perf_counter() - begin < _PATIENCE:
        if process.poll() is not None:
            last = f"it ended with status {process.returncode}"
            break
        try:
            reply = await ask(port, first, patience=_PATIENCE)
        except (OSError, TimeoutError):
            await asyncio.sleep(_POLL)
            continue
        if reply.status == 200:
            return _unchunked(reply.body)
        last = f"status {reply.status}: {reply.body[:200].decode(errors='replace')}"
        await asyncio.sleep(_POLL)
    raise StartError(last)


def _unchunked(body: bytes) -> bytes:
    return body[body.find(b"{") : body.rfind(b"}") + 1]


def tree(root: int, mark: str) -> set[int]:
    """The process, its session, its descendants, and whoever carries the mark."""
    parents: dict[int, int] = {}
    found = {root}
    needle = f"{_MARK}={mark}".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            after = (entry / "stat").read_text().rpartition(")")[2].split()
            marked = needle in (entry / "environ").read_bytes()
        except OSError:
            continue
        parents[int(entry.name)] = int(after[1])
        if marked or int(after[3]) == root:
            found.add(int(entry.name))
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return {pid for pid in found if pid in parents}


def _pss(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def _cpu(pid: int) -> float:
    try:
        after = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(after[11]) + int(after[12])) / os.sysconf("SC_CLK_TCK")


def _stop(process: subprocess.Popen[bytes], mark: str) -> None:
    """Ask politely, then end whatever is left of the tree."""
    everyone = tree(process.pid, mark)
    process.send_signal(signal.SIGTERM)
    end = time.monotonic() + _GRACE
    while time.monotonic() < end and process.poll() is None:
        everyone |= tree(process.pid, mark)
        time.sleep(0.05)
    # Some leave their children behind: no use in waiting long for those.
    end = time.monotonic() + _ORPHANS
    while time.monotonic() < end and _alive(everyone := everyone | tree(process.pid, mark)):
        time.sleep(0.05)
    for pid in _alive(everyone):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()


def _alive(pids: set[int]) -> set[int]:
    alive: set[int] = set()
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state != "Z":
            alive.add(pid)
    return alive


def _free_port() -> int:
    """A port that is free together with the two after it, which some servers take as well.

    Below the range from which the system takes ports for clients, so that no connection of the
    last turn still holds one.
    """
    while True:
        first = random.randrange(18_000, 30_000)
        if all(_free(port) for port in range(first, first + 3)):
            return first


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
