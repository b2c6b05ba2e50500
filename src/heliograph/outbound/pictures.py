"""Pictures by address: fetched within a call's time and the size of a picture.

The bytes are what the sender says they are to nobody: the decoder looks at them as at any others.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from heliograph.core.errors import Code, HeliographError
from heliograph.outbound.exchange import Bounds, Question
from heliograph.outbound.fetch import Courier, good
from heliograph.outbound.targets import Policy

_AT_ONCE = 32
_ACCEPT: Final = {"Accept": "image/*"}


class Pictures:
    """Fetches pictures from hosts of the operator's choice.

    Args:
        courier: asks.
        policy: which hosts.
        most: bytes of the largest picture.
        seconds: longest fetch.
        at_once: most fetches in progress, half of them for one caller; each may hold a picture in
            memory.
    """

    def __init__(
        self,
        courier: Courier,
        policy: Policy,
        *,
        most: int,
        seconds: float,
        at_once: int = _AT_ONCE,
    ) -> None:
        self._courier, self._policy = courier, policy
        self._most, self._seconds = most, seconds
        self._at_once = at_once
        self._busy = Counter[str]()

    async def fetch(self, url: str, seconds: float, holder: str) -> bytes:
        """The file at an address, in the server's event loop.

        Args:
            url: as the caller gave it.
            seconds: that the call has left.
            holder: whose call it is, by id: slow hosts of one workspace stop no other.

        Raises:
            HeliographError: `url_not_allowed`, `upstream_fetch_failed`, `fetch_timeout`,
                `too_large`, or `overloaded` while too many are being fetched.
        """
        if self._busy.total() >= self._at_once or self._busy[holder] * 2 >= self._at_once:
            raise HeliographError(
                Code.OVERLOADED,
                "Too many pictures are being fetched. Try again, or send the picture itself.",
                retry_after=1.0,
            )
        self._busy[holder] += 1
        try:
            bounds = Bounds(self._most, min(seconds, self._seconds))
            asked = Question(headers=_ACCEPT)
            return good(await self._courier.ask(url, asked, self._policy, bounds)).body
        finally:
            self._busy[holder] -= 1
            if not self._busy[holder]:
                del self._busy[holder]


class NoPictures:
    """Fetches nothing: what the server does until its operator says where from."""

    async def fetch(self, url: str, seconds: float, holder: str) -> bytes:
        """See `Pictures.fetch`.

        Raises:
            HeliographError: `unsupported`.
        """
        del url, seconds, holder
        raise HeliographError(
            Code.UNSUPPORTED,
            "Pictures by URL are not offered: the operator has named no hosts (setting "
            "fetch.allow). Send the picture as 'image'.",
        )
