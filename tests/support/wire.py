"""A raw HTTP client for hostile tests: bytes out, what came back in, nothing mended on the way."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

from heliograph.core.errors import TABLE, Code

HEAD_END = b"\r\n\r\n"
SEEN: set[str] = set()
"""Every error code that a raw client of this session was answered with."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One response as it came.

    Attributes:
        status: 0 if the connection was closed without one.
        headers: names in lower case.
        body: all of it.
        seconds: from the last byte sent to the last byte read.
    """

    status: int
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    seconds: float = 0.0

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of a problem, after a look at its shape; empty for a success."""
        if self.status < 400:
            return ""
        return check_problem(self)


def check_problem(reply: Reply) -> str:
    """Hold that an error has the one shape, and return its code."""
    assert reply.headers.get("content-type") == "application/problem+json", reply
    said = reply.json
    assert set(said) - {"retry_after"} == {
        "type",
        "title",
        "status",
        "code",
        "detail",
        "request_id",
    }, said
    code = Code(said["code"])
    row = TABLE[code]
    assert (said["status"], said["title"]) == (row.status, row.title), said
    assert reply.status == row.status, reply
    assert said["type"].endswith(f"#{code}"), said
    assert reply.headers["x-request-id"] == said["request_id"], reply
    assert reply.headers["x-content-type-options"] == "nosniff", reply
    assert ("retry_after" in said) == ("retry-after" in reply.headers), reply
    SEEN.add(str(code))
    return str(code)


class Listening(Protocol):
    """Anything that listens on a port of this machine."""

    @property
    def port(self) -> int: ...


class Wire:
    """One connection to a server; `with` closes it."""

    def __init__(self, server: Listening, *, seconds: float = 20.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=seconds)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._left = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send, as far as the server takes it: one that has closed is an answer too."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(data)

    def drip(self, pieces: list[bytes], pause: float) -> bool:
        """Send piece by piece until the server says something; whether it did."""
        for piece in pieces:
            self.send(piece)
            if select.select([self.socket], [], [], pause)[0]:
                return True
        return False

    def read(self, method: str = "POST") -> Reply:
        """The next response; interim ones (100) come as they are."""
        began = time.monotonic()
        head = self._until_head()
        if not head:
            return Reply(0, seconds=time.monotonic() - began)
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ")[1])
        headers = dict[str, str]()
        for line in lines[1:]:
            name, _, value = line.partition(":")
            assert name.lower() not in headers, f"two {name} in {head!r}"
            headers[name.lower()] = value.strip()
        length = 0 if status == 100 or method == "HEAD" else int(headers.get("content-length", 0))
        while len(self._left) < length:
            more = self._more()
            assert more, f"the body was cut: {len(self._left)} of {length} bytes"
        body, self._left = self._left[:length], self._left[length:]
        return Reply(status, headers, body, time.monotonic() - began)

    def closed(self) -> bool:
        """Whether the server closes and says nothing more."""
        return not self._left and not self._more()

    def _until_head(self) -> bytes:
        while HEAD_END not in self._left:
            if not self._more():
                assert not self._left, f"half a response: {self._left!r}"
                return b""
        head, _, self._left = self._left.partition(HEAD_END)
        return head

    def _more(self) -> bytes:
        try:
            data = self.socket.recv(1 << 16)
        except ConnectionResetError:
            return b""
        self._left += data
        return data


def head(
    method: str = "POST",
    target: str = "/api/v1/edges?format=json",
    *lines: str | bytes,
    host: str | None = "127.0.0.1",
    key: str = "",
) -> bytes:
    """A request line and headers, ended; `lines` are sent as they are."""
    said: list[str | bytes] = [f"{method} {target} HTTP/1.1"]
    if host is not None:
        said.append(f"Host: {host}")
    if key:
        said.append(f"Authorization: Bearer {key}")
    said += lines
    return b"\r\n".join(x if isinstance(x, bytes) else x.encode("latin-1") for x in said) + HEAD_END


def post(
    body: bytes, target: str = "/api/v1/edges?format=json", *lines: str | bytes, key: str = ""
) -> bytes:
    """A whole POST with its length."""
    return head("POST", target, *lines, f"Content-Length: {len(body)}", key=key) + body


def ask(server: Listening, request: bytes, *, method: str = "POST") -> Reply:
    """Send a request on a fresh connection; the response."""
    with Wire(server) as wire:
        wire.send(request)
        return wire.read(method)


def memory_mb(pid: int, name: str = "VmRSS") -> float:
    """Resident memory of a process in MiB; `VmHWM` for its peak since `forget_peak`."""
    lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024


def forget_peak(pid: int) -> None:
    """Begin a new peak of resident memory."""
    Path(f"/proc/{pid}/clear_refs").write_text("5", "ascii")


def open_files(pid: int) -> int:
    """How many file descriptors a process holds."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    parts = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")
