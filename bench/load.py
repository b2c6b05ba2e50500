"""Load: a closed loop (wrk, or our own where it is missing) and an open loop for overload.

The generator shares the cores with the server under test, as it does for every server here, so it
must be cheap: wrk sends one prebuilt buffer; our own generator is asyncio protocols on raw sockets.

*Closed loop*: so many connections, each sending its next request when its last was answered.
*Open loop*: requests leave on a fixed schedule whatever the server does; latency counts from the
intended time, so that a stalled server cannot hide its queue.
"""

import asyncio
import json
import shutil
import subprocess
import tempfile
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from bench.measure import percentile

_LUA = Path(__file__).with_name("wrk.lua")
_HEAD_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Request:
    """A prebuilt POST.

    Attributes:
        path: on the server.
        headers: beside Host and Content-Length.
        body: ready to send.
    """

    path: str
    headers: dict[str, str]
    body: bytes

    def wire(self, port: int) -> bytes:
        """The whole request as bytes."""
        lines = [f"POST {self.path} HTTP/1.1", f"Host: 127.0.0.1:{port}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join(lines).encode() + _HEAD_END + self.body


class Closed(TypedDict):
    """What a closed loop found; `per_second` counts only the answers with status 200."""

    per_second: float
    p50_ms: float
    p99_ms: float
    requests: int
    bad_status: int
    broken: int
    generator: str


class Open(TypedDict):
    """What an open loop found."""

    offered_per_second: float
    seconds: float
    sent: int
    good_per_second: float
    good_p50_ms: float
    good_p99_ms: float
    refused: int
    refused_p50_ms: float
    refused_p99_ms: float
    refused_with_retry_after: int
    statuses: dict[str, int]
    broken: int
    late_p99_ms: float


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer, as far as load needs it."""

    status: int
    retry_after: bool
    body: bytes


@dataclass(slots=True)
class _Job:
    """A request on its way; `due` is when it should have left."""

    due: float
    sent: float = 0.0
    done: float = 0.0
    reply: Reply | None = None


def closed(port: int, request: Request, connections: int, seconds: float) -> Closed:
    """Run a closed loop, by wrk where there is one."""
    if shutil.which("wrk"):
        return _wrk(port, request, connections, seconds)
    return asyncio.run(_closed(port, request, connections, seconds))


def _wrk(port: int, request: Request, connections: int, seconds: float) -> Closed:
    # Everything wrk needs is in the arguments; a whole number of seconds is all it takes.
    with tempfile.NamedTemporaryFile() as body:
        body.write(request.body)
        body.flush()
        headers = [text for pair in request.headers.items() for text in pair]
        command = ["wrk", "--threads", "1", "--connections", str(connections)]
        command += ["--duration", f"{max(1, round(seconds))}s", "--timeout", "30s"]
        command += ["--script", str(_LUA), f"http://127.0.0.1:{port}{request.path}"]
        command += ["--", body.name, *headers]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return Closed(
        per_second=(found["requests"] - found["bad_status"]) / found["seconds"],
        p50_ms=found["p50_ms"],
        p99_ms=found["p99_ms"],
        requests=found["requests"],
        bad_status=found["bad_status"],
        broken=found["broken"],
        generator="wrk",
    )


class _Connection(asyncio.Protocol):
    """One keep-alive connection; one request at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.answer: asyncio.Future[Reply] | None = None
        self._head: bytes = b""
        self._buffer = bytearray()
        self._missing = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def send(self, wire: bytes) -> "asyncio.Future[Reply]":
        """Send a request; the future answers, or raises ConnectionError."""
        self._head, self._missing = b"", -1
        self._buffer.clear()
        self.answer = asyncio.get_running_loop().create_future()
        if self.transport is None or self.transport.is_closing():
            self.answer.set_exception(ConnectionResetError())
        else:
            self.transport.write(wire)
        return self.answer

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._head:
            end = self._buffer.find(_HEAD_END)
            if end < 0:
                return
            self._head = bytes(self._buffer[:end]).lower()
            del self._buffer[: end + 4]
            length = _header(self._head, b"content-length")
            self._missing = int(length) if length else -1
        chunked_end = self._missing < 0 and self._buffer.endswith(b"0\r\n\r\n")
        if chunked_end or 0 <= self._missing <= len(self._buffer):
            self._finish()

    def _finish(self) -> None:
        assert self.transport is not None
        # A server that answers before it has read everything leaves nothing to reuse.
        if self.transport.get_write_buffer_size() or _header(self._head, b"connection") == b"close":
            self.transport.abort()
        if self.answer and not self.answer.done():
            status = int(self._head.split(b" ", 2)[1])
            retry = bool(_header(self._head, b"retry-after"))
            self.answer.set_result(Reply(status, retry, bytes(self._buffer)))

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if self.answer and not self.answer.done():
            if self._head and self._missing < 0:
                self._finish()
            else:
                self.answer.set_exception(ConnectionResetError())

    @property
    def open(self) -> bool:
        """Whether another request can be sent."""
        return self.transport is not None and not self.transport.is_closing()


def _header(head: bytes, name: bytes) -> bytes:
    at = head.find(b"\r\n" + name + b":")
    if at < 0:
        return b""
    end = head.find(b"\r\n", at + 2)
    return head[at + len(name) + 3 : end if end >= 0 else None].strip()


async def _connect(port: int) -> _Connection:
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(_Connection, "127.0.0.1", port)
    return connection


async def ask(port: int, request: Request, patience: float = 30.0) -> Reply:
    """Send one request on a fresh connection.

    Raises:
        OSError: nobody there, or cut off.
        TimeoutError: no answer in time.
    """
    async with asyncio.timeout(patience):
        connection = await _connect(port)
        try:
            return await connection.send(request.wire(port))
        finally:
            if connection.transport:
                connection.transport.abort()


async def _closed(port: int, request: Request, connections: int, seconds: float) -> Closed:
    wire = request.wire(port)
    times: list[float] = []
    bad = broken = 0
    begin = time.perf_counter()
    end = begin + seconds

    async def client() -> None:
        nonlocal bad, broken
        connection = await _connect(port)
        while time.perf_counter() < end:
            before = time.perf_counter()
            try:
                if not connection.open:
                    connection = await _connect(port)
                reply = await connection.send(wire)
            except OSError:
                broken += 1
                await asyncio.sleep(0.01)
                continue
            if time.perf_counter() <= end:
                bad += reply.status != 200
                times.append((time.perf_counter() - before) * 1e3)

    await asyncio.gather(*(client() for _ in range(connections)))
    times.sort()
    return Closed(
        per_second=(len(times) - bad) / seconds,
        p50_ms=percentile(times, 50),
        p99_ms=percentile(times, 99),
        requests=len(times),
        bad_status=bad,
        broken=broken,
        generator="asyncio",
    )


@dataclass(slots=True)
class _Pool:
    """Connections for the open loop: reuse a free one, else open one, else wait."""

    port: int
    most: int
    free: deque[_Connection] = field(default_factory=deque[_Connection])
    slots: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self.slots = asyncio.Semaphore(self.most)

    async def take(self) -> _Connection:
        await self.slots.acquire()
        while self.free:
            connection = self.free.pop()
            if connection.open:
                return connection
        try:
            return await _connect(self.port)
        except OSError:
            self.slots.release()
            raise

    def give(self, connection: _Connection) -> None:
        if connection.open:
            self.free.append(connection)
        self.slots.release()


def overload(
    port: int, request: Request, per_second: float, seconds: float, connections: int = 256
) -> Open:
    """Offer `per_second` requests on a fixed schedule for `seconds`."""
    return asyncio.run(open_loop(port, request, per_second, seconds, connections))


async def open_loop(
    port: int, request: Request, per_second: float, seconds: float, connections: int
) -> Open:
    """As `overload`, in an event loop that may send other loads as well."""
    wire, pool = request.wire(port), _Pool(port, connections)
    jobs: list[_Job] = []

    async def one(job: _Job) -> None:
        try:
            connection = await pool.take()
        except OSError:
            job.done = time.perf_counter()
            return
        try:
            job.sent = time.perf_counter()
            job.reply = await connection.send(wire)
        except OSError:
            pass
        finally:
            job.done = time.perf_counter()
            pool.give(connection)

    begin = time.perf_counter()
    running: set[asyncio.Task[None]] = set()
    for number in range(round(per_second * seconds)):
        due = begin + number / per_second
        wait = due - time.perf_counter()
        # Sleeping is coarse; whatever is due by now leaves now.
        await asyncio.sleep(max(0.0, wait))
        jobs.append(_Job(due))
        task = asyncio.create_task(one(jobs[-1]))
        running.add(task)
        task.add_done_callback(running.discard)
    end = begin + seconds
    if running:
        await asyncio.wait(running, timeout=30.0)
    return _summary(jobs, per_second, seconds, end)


def _summary(jobs: list[_Job], per_second: float, seconds: float, end: float) -> Open:
    good: list[float] = []
    refused: list[float] = []
    statuses: dict[str, int] = {}
    in_time = retry = 0
    for job in jobs:
        if job.reply is None:
            continue
        statuses[str(job.reply.status)] = statuses.get(str(job.reply.status), 0) + 1
        took = (job.done - job.due) * 1e3
        if job.reply.status == 200:
            good.append(took)
            in_time += job.done <= end
        else:
            refused.append(took)
            retry += job.reply.retry_after
    good.sort()
    refused.sort()
    late = sorted((job.sent - job.due) * 1e3 for job in jobs if job.sent)
    return Open(
        offered_per_second=per_second,
        seconds=seconds,
        sent=len(jobs),
        good_per_second=in_time / seconds,
        good_p50_ms=percentile(good, 50),
        good_p99_ms=percentile(good, 99),
        refused=len(refused),
        refused_p50_ms=percentile(refused, 50),
        refused_p99_ms=percentile(refused, 99),
        refused_with_retry_after=retry,
        statuses=statuses,
        broken=sum(job.reply is None for job in jobs),
        late_p99_ms=percentile(late, 99),
    )
