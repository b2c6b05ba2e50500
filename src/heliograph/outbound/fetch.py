"""Asking addresses that somebody gave us: pictures, and messages to other people's programs.

Each hop passes the guard from the top, goes to the addresses that the guard has pinned and to no
other, and carries its credentials no further than to the origin that they were meant for.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from urllib.parse import quote, urljoin

from heliograph.core.errors import Code, HeliographError
from heliograph.outbound.exchange import Bounds, Kept, Question, Reply, exchange
from heliograph.outbound.guard import Guard
from heliograph.outbound.routes import Direct, Proxied, Route, failed
from heliograph.outbound.targets import Policy

_HOPS = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LOCATION_SAFE = "!#$%&'()*+,-./:;=?@[]_~\\"


class Courier:
    """Asks addresses behind one guard; may be shared by all threads and loops.

    Args:
        guard: says where we may connect to.
        tls: whom to trust; by default the system's authorities.
        hops: most redirects of one question.
        proxy: of the operator's, `http://host:port`; empty to go straight.
    """

    def __init__(
        self,
        guard: Guard | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        hops: int = _HOPS,
        proxy: str = "",
    ) -> None:
        guard = guard or Guard()
        self._route: Route = Proxied(guard, proxy) if proxy else Direct(guard)
        self._given = tls
        self._hops = hops

    async def ask(self, url: str, question: Question, policy: Policy, bounds: Bounds) -> Reply:
        """Ask and follow redirects, in an event loop.

        A question other than GET is not repeated elsewhere: its redirect is the answer.

        Raises:
            HeliographError: `url_not_allowed`, `upstream_fetch_failed`, `fetch_timeout` or
                `too_large`.
        """
        seconds = max(0.0, bounds.seconds)
        try:
            async with asyncio.timeout(seconds):
                return await self._follow(url, question, policy, bounds)
        except TimeoutError as error:
            raise HeliographError(
                Code.FETCH_TIMEOUT,
                f"The address did not answer within {seconds:.3g} seconds.",
            ) from error

    async def _follow(self, url: str, question: Question, policy: Policy, bounds: Bounds) -> Reply:
        for _ in range(self._hops + 1):
            pinned = await self._route.find(url, policy)
            sock = await self._route.open(pinned, bounds.connect)
            target, secure = pinned.target, pinned.target.scheme == "https"
            reply = await exchange(target, sock, question, bounds, self._tls if secure else None)
            if reply.status not in _REDIRECTS or question.method != "GET":
                return reply
            url = _next(reply)
            # From now on everything goes where somebody else has sent us.
            if not url.startswith(target.origin + "/"):
                question = replace(question, headers={})
            if secure:
                policy = replace(policy, schemes=policy.schemes - {"http"})
        raise HeliographError(
            Code.URL_NOT_ALLOWED,
            f"The address is not fetched: it redirects more than {self._hops} times.",
        )

    def send(self, url: str, question: Question, policy: Policy, bounds: Bounds) -> Reply:
        """As `ask`, in a thread without an event loop."""
        return asyncio.run(self.ask(url, question, policy, bounds))

    def get(
        self,
        url: str,
        policy: Policy,
        bounds: Bounds,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Fetch an address, in a thread without an event loop.

        Raises:
            HeliographError: as `ask`; `upstream_fetch_failed` for any status but 200.
        """
        return good(self.send(url, Question(headers=headers or {}), policy, bounds))

    def post(
        self, url: str, body: bytes, headers: Mapping[str, str], policy: Policy, seconds: float
    ) -> int:
        """Bring a message, in a thread without an event loop.

        Args:
            url: where to.
            body: of the message.
            headers: further ones, its content type among them.
            policy: which addresses may be asked.
            seconds: for all of it.

        Returns:
            The status; redirects are not followed. The answer's body is not read.

        Raises:
            HeliographError: as `ask`.
        """
        question = Question("POST", headers, body, Kept.NONE)
        return self.send(url, question, policy, Bounds(0, seconds)).status

    def check(self, url: str, policy: Policy) -> None:
        """Hold an address against the guard now, in a thread without an event loop.

        For when an address is set, so that its owner hears at once; and for those whose library
        makes its connections itself, where nothing pins what is true now.

        Raises:
            HeliographError: `url_not_allowed`, `fetch_timeout` (its name), or
                `upstream_fetch_failed` (no name server answered).
        """
        asyncio.run(self._route.find(url, policy))

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return self._given or _trusting()


def good(reply: Reply) -> Reply:
    """The reply, if its status is 200.

    Raises:
        HeliographError: `upstream_fetch_failed`, with the status.
    """
    if reply.status != 200:
        raise failed(f"it answers with status {reply.status}")
    return reply


def _next(reply: Reply) -> str:
    """Where a redirect leads, as text: the guard takes it apart from the top."""
    place = reply.headers.get("location", "")
    if not place:
        raise failed("it redirects to nowhere")
    # Header bytes beyond ASCII are UTF-8 by custom; the stroke stays, to be refused.
    return urljoin(reply.url, quote(place.encode("latin-1"), safe=_LOCATION_SAFE))


def _trusting() -> ssl.SSLContext:
    """The system's authorities; where it has none, those that came with Python's packages."""
    paths = ssl.get_default_verify_paths()
    system = paths.cafile or (paths.capath and any(Path(paths.capath).iterdir()))
    if system:
        return ssl.create_default_context()
    import certifi

    return ssl.create_default_context(cafile=certifi.where())
