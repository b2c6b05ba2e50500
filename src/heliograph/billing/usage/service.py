"""Use cases of usage: sums and groups, the rows behind them, one of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from heliograph.billing.invoices.values import Month, Span
from heliograph.billing.usage import store
from heliograph.billing.usage.values import (
    MOST_GROUPS,
    TIMES,
    By,
    Group,
    Report,
    Sums,
    moment_of,
    read_span,
)
from heliograph.core.clock import Clock
from heliograph.core.errors import Code, HeliographError
from heliograph.storage.database import Database

Call = Mapping[str, Any]
"""A row of the ledger, by the names of `ledger.values.Row`."""


class Usage:
    """Questions about usage.

    Args:
        database: where the ledger is.
        clock: tells the time.
        currency: code of ISO 4217 that costs are in; `XXX` while no prices are set.
    """

    def __init__(self, database: Database, clock: Clock, currency: Callable[[], str]) -> None:
        self._database = database
        self._clock = clock
        self.currency = currency

    def span(self, from_: str, to: str) -> Span:
        """See `values.read_span`."""
        return read_span(from_, to, self._clock())

    def report(self, workspace: str, span: Span, by: Sequence[By] = ()) -> Report:
        """Totals and groups of a workspace's usage.

        Raises:
            HeliographError: `validation` if there would be more than `MOST_GROUPS` groups.
        """
        with self._database.read() as connection:
            store.one_view(connection)
            found = store.sums(connection, workspace, span, by, MOST_GROUPS + 1)
        if len(found) > MOST_GROUPS:
            raise HeliographError(
                Code.VALIDATION,
                f"There would be more than {MOST_GROUPS} groups; ask for a shorter span or fewer "
                "names in group_by.",
            )
        total = Sums()
        for _, sums in found:
            total = total.plus(sums)
        groups = [
            Group(
                tuple(
                    moment_of(kind, int(name)) if kind in TIMES else name
                    for kind, name in zip(by, names, strict=True)
                ),
                sums,
            )
            for names, sums in sorted(found)
        ]
        return Report(span, tuple(by), total, tuple(groups) if by else ())

    def calls(self, workspace: str, span: Span, after: str, limit: int) -> list[Call]:
        """Rows of the ledger, the oldest first.

        Args:
            workspace: whose.
            span: of their times.
            after: id of the last one seen; empty to begin.
            limit: most to be given.

        Raises:
            HeliographError: `not_found` if `after` is no call of this workspace.
        """
        with self._database.read() as connection:
            last = store.row(connection, workspace, after) if after else None
            if after and last is None:
                raise _missing(after)
            return [dict(one) for one in store.page(connection, workspace, span, last, limit)]

    def call(self, workspace: str, call: str) -> Call:
        """One row of the ledger.

        Raises:
            HeliographError: `not_found`, also for another workspace's.
        """
        with self._database.read() as connection:
            found = store.row(connection, workspace, call)
        if found is None:
            raise _missing(call)
        return dict(found)

    def spent(self, month: Month, workspaces: Sequence[str]) -> dict[tuple[str, str], int]:
        """What has been folded of a month's cost, by workspace and key, in millionths."""
        found: dict[tuple[str, str], int] = {}
        with self._database.read() as connection:
            for n in range(0, len(workspaces), 500):
                some = workspaces[n : n + 500]
                for workspace, key, cost in store.spent(connection, month, some):
                    found[workspace, key] = cost
        return found


def _missing(call: str) -> HeliographError:
    return HeliographError(Code.NOT_FOUND, f"There is no call {call[:60]!r} in this workspace.")
