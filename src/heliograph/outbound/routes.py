"""Ways to an address: straight to what the guard has pinned, or through the operator's proxy.

A port that is closed, filtered or refused fails with the same words and after the same time.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from base64 import b64encode
from contextlib import suppress
from ipaddress import ip_address
from typing import Protocol
from urllib.parse import unquote, urlsplit

from heliograph.core.errors import Code, HeliographError
from heliograph.outbound.addresses import Address
from heliograph.outbound.guard import Guard, Pinned
from heliograph.outbound.targets import Policy, Target

log = logging.getLogger("heliograph.outbound")
_MOST_ADDRESSES = 3
_PROXY_HEAD = 8 << 10
_PROXY_VARIABLES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY")


class Route(Protocol):
    """A way to an address."""

    async def find(self, url: str, policy: Policy) -> Pinned:
        """Hold a URL against the guard; raises as `Guard.pin` does."""
        ...

    async def open(self, pinned: Pinned, seconds: float) -> socket.socket:
        """Connect, to what has been found and to nothing else.

        Args:
            pinned: what `find` gave.
            seconds: for the connection; a failure is told when they are over.

        Raises:
            HeliographError: `upstream_fetch_failed`.
        """
        ...


class Direct:
    """Straight to one of the pinned addresses; who answers there must be it."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        for name in _PROXY_VARIABLES:
            if os.environ.get(name):
                log.warning("%s is set, but not followed; the setting is fetch.proxy", name)
                break

    async def find(self, url: str, policy: Policy) -> Pinned:
        """See `Route.find`."""
        return await self._guard.pin(url, policy)

    async def open(self, pinned: Pinned, seconds: float) -> socket.socket:
        """See `Route.open`."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + seconds
        some = pinned.addresses[:_MOST_ADDRESSES]
        for left, address in zip(range(len(some), 0, -1), some, strict=True):
            with suppress(OSError):
                async with asyncio.timeout((ends - loop.time()) / left):
                    return await _connect(address, pinned.target.port)
        await asyncio.sleep(ends - loop.time())
        raise _unreachable()


class Proxied:
    """Through a proxy that is asked for the host by its name.

    The guard reads the URL; which addresses the name leads to is then the proxy's to know, and to
    keep within bounds.

    Args:
        guard: reads URLs.
        proxy: `http://[user:password@]host:port`.

    Raises:
        HeliographError: `validation`.
    """

    def __init__(self, guard: Guard, proxy: str) -> None:
        self._guard = guard
        parts = urlsplit(proxy)
        if parts.scheme != "http" or not parts.hostname or not parts.port:
            raise HeliographError(Code.VALIDATION, "A proxy is given as http://host:port.")
        self._where = (parts.hostname, parts.port)
        named = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}".encode()
        self._credentials = b64encode(named).decode("ascii") if parts.username else ""
        log.warning(
            "addresses are fetched through the proxy %s:%d; it alone keeps them out of the house",
            *self._where,
        )

    async def find(self, url: str, policy: Policy) -> Pinned:
        """See `Route.find`; there are no addresses."""
        return Pinned(self._guard.look(url, policy), ())

    async def open(self, pinned: Pinned, seconds: float) -> socket.socket:
        """See `Route.open`."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + seconds
        with suppress(OSError):
            async with asyncio.timeout_at(ends):
                return await self._tunnel(pinned.target)
        await asyncio.sleep(ends - loop.time())
        raise _unreachable()

    async def _tunnel(self, target: Target) -> socket.socket:
        loop = asyncio.get_running_loop()
        host, port = self._where
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        sock = await _connect(ip_address(found[0][4][0]), port)
        try:
            await loop.sock_sendall(sock, self._wish(target))
            said = b""
            while b"\r\n\r\n" not in said:
                more = await loop.sock_recv(sock, 1024)
                said += more
                if not more or len(said) > _PROXY_HEAD:
                    break
            _check_tunnel(said)
        except BaseException:
            sock.close()
            raise
        return sock

    def _wish(self, target: Target) -> bytes:
        host = f"[{target.host}]" if ":" in target.host else target.host
        lines = [f"CONNECT {host}:{target.port} HTTP/1.1", f"Host: {host}:{target.port}"]
        if self._credentials:
            lines.append(f"Proxy-Authorization: Basic {self._credentials}")
        return "\r\n".join([*lines, "", ""]).encode("ascii")


async def _connect(address: Address, port: int) -> socket.socket:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)  # noqa: FBT003 - the socket's own signature
        await asyncio.get_running_loop().sock_connect(sock, (str(address), port))
        check_peer(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


def check_peer(sock: socket.socket, address: Address) -> None:
    """Whatever stands between, a library or a rule of the system: it must be whom we meant.

    Raises:
        ConnectionError: somebody else has answered.
    """
    if ip_address(sock.getpeername()[0]) != address:
        raise ConnectionError("somebody else has answered")


def _check_tunnel(said: bytes) -> None:
    if said[:9] not in {b"HTTP/1.1 ", b"HTTP/1.0 "} or said[9:12] != b"200":
        raise ConnectionError("the proxy has refused")


def failed(why: str) -> HeliographError:
    """The error of an address that was asked in vain."""
    return HeliographError(Code.UPSTREAM_FETCH_FAILED, f"The address cannot be fetched: {why}.")


def _unreachable() -> HeliographError:
    return failed("its host cannot be reached")
