"""Hosts outside the house for tests, on loopback: what they say is scripted to the byte."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address, ip_address

from heliograph.outbound.addresses import Address, is_public
from heliograph.outbound.guard import Guard

Says = bytes | Callable[[socket.socket], None]
OUTSIDE = "127.0.0.9"
"""The loopback address that tests take for a public one."""


@dataclass(slots=True)
class Site:
    """A host that listens.

    Attributes:
        port: of TCP.
        says: by path, what it sends before it closes the connection; bytes, or a function of the
            connection; change it as you like.
        heard: heads and bodies of the requests so far.
        visits: connections so far, also those that said nothing.
    """

    port: int
    says: dict[str, Says] = field(default_factory=dict[str, Says])
    heard: list[bytes] = field(default_factory=list[bytes])
    visits: int = 0

    def paths(self) -> list[str]:
        """What was asked for, in order."""
        return [one.split(b" ")[1].decode() for one in self.heard]


@contextmanager
def listening(
    host: str = OUTSIDE, port: int = 0, tls: ssl.SSLContext | None = None
) -> Generator[Site]:
    """A site on an address of this machine until the block ends."""
    server = socket.create_server((host, port), backlog=64)
    site = Site(int(server.getsockname()[1]))
    threads: list[threading.Thread] = []

    def wait() -> None:
        while True:
            try:
                came, _ = server.accept()
            except OSError:
                return
            site.visits += 1
            threads.append(threading.Thread(target=_serve, args=(site, came, tls), daemon=True))
            threads[-1].start()

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    try:
        yield site
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        for one in (waiting, *threads):
            one.join(10)
            assert not one.is_alive(), "a connection of a test was never closed"


def _serve(site: Site, came: socket.socket, tls: ssl.SSLContext | None) -> None:
    came.settimeout(8)
    # A client that hangs up, or trusts us not, is what half the tests are about.
    with contextlib.suppress(OSError), came:
        sock = tls.wrap_socket(came, server_side=True) if tls else came
        with sock:
            request = _request(sock)
            if not request:
                return
            site.heard.append(request)
            path = request.split(b" ")[1].partition(b"?")[0].decode()
            said = site.says.get(path, reply(404, b"nothing here"))
            if callable(said):
                said(sock)
            else:
                sock.sendall(said)


def _request(sock: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(1 << 16)
        if not more:
            return data
        data += more
        if data.startswith(b"\x16"):  # TLS, where none is spoken
            return b""
    head, _, body = data.partition(b"\r\n\r\n")
    _, _, rest = head.lower().partition(b"content-length:")
    while len(body) < int(rest.split(b"\r\n")[0] or 0):
        body += sock.recv(1 << 16)
    return head + b"\r\n\r\n" + body


def reply(status: int, body: bytes = b"", *lines: str) -> bytes:
    """A whole answer."""
    return opening(status, f"Content-Length: {len(body)}", *lines) + body


def opening(status: int, *lines: str) -> bytes:
    """The head of an answer."""
    return "\r\n".join([f"HTTP/1.1 {status} Said", *lines, "", ""]).encode("latin-1")


def moved(place: str, status: int = 302) -> bytes:
    """A redirect."""
    return reply(status, b"", f"Location: {place}")


class Names:
    """A resolver that knows some names, and what it was asked."""

    def __init__(self, known: Mapping[str, str]) -> None:
        self.known = known
        self.asked: list[str] = []

    async def __call__(self, name: str) -> Sequence[Address]:
        self.asked.append(name)
        return [ip_address(one) for one in self.known.get(name, "").split()]


def let_in(address: Address) -> bool:
    """The real table, but for the one address that stands for the internet."""
    return address == IPv4Address(OUTSIDE) or is_public(address)


def guard(names: Names, *ours: str) -> Guard:
    """The guard, with its own names, over the real table."""
    return Guard(frozenset(ours), resolver=names, public=let_in)
