"""The one guard of everything that leaves the house for an address that somebody gave us.

    text -> parsed once, refused where two parsers could differ, rebuilt from its parts
         -> scheme and port of the policy, no user name, an ASCII host or a plain literal
         -> listed, or any public host, as the operator said
         -> resolved once; every address public by our own table (`addresses.py`)
         -> the addresses, to which and to no other a connection is made (`exchange.py`)

Redirects come here again, each from the top. No remote data widens a policy: it is a frozen value
of the operator's. An inner host and one that does not exist are refused in the same words, so that
nobody learns our inner names.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import ip_address

from heliograph.core.errors import Code, HeliographError
from heliograph.outbound.addresses import Address, is_public
from heliograph.outbound.targets import Policy, Target, parse, refused

log = logging.getLogger("heliograph.outbound")
Resolver = Callable[[str], Awaitable[Sequence[Address]]]
"""All addresses of a name, by one question; empty if it has none; raises OSError."""

_MOST_RECORDS = 32
_RESOLVE_SECONDS = 5.0
_resolving = ThreadPoolExecutor(8, "resolve")


@dataclass(frozen=True, slots=True)
class Pinned:
    """A target and the addresses that it may be reached at; nobody resolves it again."""

    target: Target
    addresses: tuple[Address, ...]


class Guard:
    """Says where we may connect to.

    Args:
        ours: names of this house, which are never asked: a call must not call us.
        resolver: the system's by default; tests bring a DNS server of their own.
        public: which addresses may be reached; for tests alone, no setting leads here.
    """

    def __init__(
        self,
        ours: frozenset[str] = frozenset(),
        *,
        resolver: Resolver | None = None,
        public: Callable[[Address], bool] = is_public,
    ) -> None:
        self._ours = frozenset(one.lower().rstrip(".") for one in ours)
        self._resolver = resolver or by_system
        self._public = public

    async def pin(self, url: str, policy: Policy) -> Pinned:
        """Take a URL apart, hold it against the policy and find its addresses.

        Raises:
            HeliographError: `url_not_allowed`, `fetch_timeout` (its name), or
                `upstream_fetch_failed` (no name server answered).
        """
        target = self.look(url, policy)
        found = [target.literal] if target.literal else await self._resolve(target.host)
        return Pinned(target, self._checked(target, found))

    def look(self, url: str, policy: Policy) -> Target:
        """Take a URL apart and hold it against the policy; its name is not resolved.

        Enough only where somebody else resolves it and keeps it out of our network: a proxy.

        Raises:
            HeliographError: `url_not_allowed`.
        """
        target = parse(url, policy)
        if target.host in self._ours:
            raise refused("it leads to this server itself")
        if not policy.admits(target.host):
            raise refused("the operator of this server has not listed its host")
        if target.literal:
            self._checked(target, [target.literal])
        return target

    def _checked(self, target: Target, found: Sequence[Address]) -> tuple[Address, ...]:
        strangers = [one for one in found if not self._public(one)]
        if not found or strangers or len(found) > _MOST_RECORDS:
            log.info("%s is not fetched: %d addresses, %s", target.host, len(found), strangers[:3])
            raise refused("its host has no public address, or not only such")
        return tuple(dict.fromkeys(found))

    async def _resolve(self, name: str) -> Sequence[Address]:
        try:
            async with asyncio.timeout(_RESOLVE_SECONDS):
                return await self._resolver(name)
        except TimeoutError as error:
            raise HeliographError(
                Code.FETCH_TIMEOUT, "The host's name was not resolved in time."
            ) from error
        except OSError as error:
            raise HeliographError(
                Code.UPSTREAM_FETCH_FAILED, "The host's name could not be resolved."
            ) from error


async def by_system(name: str) -> Sequence[Address]:
    """Ask the system's resolver, once, in threads that nothing else waits for."""
    loop = asyncio.get_running_loop()
    # The closing dot keeps the machine's search list out: it is the public name that is meant.
    question = (f"{name}.", None, 0, socket.SOCK_STREAM)
    try:
        found = await loop.run_in_executor(_resolving, lambda: socket.getaddrinfo(*question))
    except socket.gaierror as error:
        if error.errno in {socket.EAI_NONAME, socket.EAI_NODATA}:
            return []
        raise
    return [ip_address(str(where[0])) for *_, where in found]
