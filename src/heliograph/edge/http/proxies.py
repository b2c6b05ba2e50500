"""Whom a request is from where a proxy stands in front: believed only of proxies that are named.

`X-Forwarded-For` is read from its end, past every address that is a proxy of ours: what stands
before that anybody can have written. `X-Forwarded-Proto` is what the last of them says.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from functools import lru_cache

from heliograph.core.exposure import Network

_MOST = 32


class Proxies:
    """The proxies in front of this server.

    Args:
        trusted: their addresses and networks.
    """

    def __init__(self, trusted: Sequence[Network]) -> None:
        self._trusted = tuple(trusted)
        self.include = lru_cache(1024)(self._include)

    def _include(self, address: str) -> bool:
        """Whether an address is a proxy's."""
        found = _address(address)
        return found is not None and any(found in one for one in self._trusted)

    def sender(self, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """The address that the request came from, as far as it can be believed; else empty."""
        said = b",".join(value for name, value in headers if name == b"x-forwarded-for")
        found = ""
        for one in reversed(said.decode("latin-1").split(",")[-_MOST:]):
            address = _address(_bare(one.strip()))
            if address is None:
                break
            found = str(address)
            if not self.include(found):
                break
        return found

    @staticmethod
    def scheme(headers: Iterable[tuple[bytes, bytes]]) -> str:
        """`http` or `https`, as the last proxy says; else empty."""
        said = [value for name, value in headers if name == b"x-forwarded-proto"]
        last = said[-1].rpartition(b",")[2].strip().lower() if said else b""
        return last.decode() if last in {b"http", b"https"} else ""


def _bare(said: str) -> str:
    """An address without the port that some proxies write."""
    if said.startswith("["):
        return said[1:].partition("]")[0]
    return said.partition(":")[0] if said.count(":") == 1 else said


def _address(said: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(said)
    except ValueError:
        return None
    mapped = getattr(found, "ipv4_mapped", None)
    return mapped or found
