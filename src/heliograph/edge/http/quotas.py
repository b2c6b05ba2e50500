"""Limits of a workspace, and what is used of them: `/api/v1/quotas`."""

from __future__ import annotations

from typing import Annotated

import msgspec

from heliograph.accounts.quotas.service import Quotas
from heliograph.accounts.quotas.values import MEGA, window
from heliograph.core.call import Limit
from heliograph.core.clock import Clock
from heliograph.core.errors import Code
from heliograph.core.permissions import Permission
from heliograph.edge.http.doors import Asked, Door


class NewQuota(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A limit to be set, in place of the one on the same meter and period.

    Attributes:
        meter: `calls`, `images`, `megapixels`, or `cost` in millionths of the currency's unit.
        period: `second`, `minute`, `hour`, `day` or `month`, in UTC.
        most: the bound.
    """

    meter: str
    period: str
    most: Annotated[int, msgspec.Meta(ge=0, le=10**15)]


class QuotaCard(msgspec.Struct, frozen=True, kw_only=True):
    """A limit, and what is used of it.

    Attributes:
        meter: what is counted.
        period: the stretch of time.
        most: the bound.
        used: what is used of it in the present stretch; parts of a megapixel are left out.
        resets_ms: when the next stretch begins, in milliseconds since 1970.
    """

    meter: str
    period: str
    most: int
    used: int
    resets_ms: int


class QuotaList(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of the workspace.

    Attributes:
        quotas: all of them; a workspace without any may use as much as it likes.
    """

    quotas: list[QuotaCard]


def doors(quotas: Quotas, clock: Clock) -> list[Door]:
    """The addresses; setting limits is the operator's."""
    use = _Use(quotas, clock)
    read, write = Permission.QUOTAS_READ, Permission.QUOTAS_WRITE
    return [
        Door("GET", "/api/v1/quotas", read, use.index, "The workspace's limits, and what is used",
             "quotas", gives=QuotaList),
        Door("PUT", "/api/v1/quotas", write, use.put, "Set a limit of the workspace", "quotas",
             takes=NewQuota, gives=QuotaList),
        Door("DELETE", "/api/v1/quotas/{meter}/{period}", write, use.drop, "Take a limit away",
             "quotas", codes=(Code.NOT_FOUND,), status=204),
    ]  # fmt: skip


class _Use:
    """The use cases behind the addresses."""

    def __init__(self, quotas: Quotas, clock: Clock) -> None:
        self._quotas = quotas
        self._clock = clock

    def index(self, asked: Asked) -> QuotaList:
        """Every limit with its use."""
        limits, now = self._quotas.of(asked.caller.workspace), self._clock()
        used = self._quotas.used(limits, now)
        return QuotaList(
            quotas=[
                QuotaCard(
                    meter=one.meter,
                    period=one.period,
                    most=one.most,
                    used=part // (MEGA if one.meter == "megapixels" else 1),
                    resets_ms=window(one.period, now).end_ms,
                )
                for one, part in zip(limits, used, strict=True)
            ]
        )

    def put(self, asked: Asked) -> QuotaList:
        """Set one."""
        said, caller = asked.body, asked.caller
        limit = Limit(caller.workspace, said.meter, said.period, said.most)
        self._quotas.put(limit, caller.name)
        return self.index(asked)

    def drop(self, asked: Asked) -> None:
        """Take one away."""
        caller, path = asked.caller, asked.path
        self._quotas.drop(caller.workspace, path["meter"], path["period"], caller.name)
