"""Budgets: an amount for a month, and the shares of it at which people are told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from heliograph.core.errors import Code, HeliographError

SHARES = (50, 80, 100)
MOST_SHARES = 10
MOST_BUDGETS = 200
MOST_AMOUNT = 10**15
"""A thousand million units of the currency, in millionths."""


class Budget(NamedTuple):
    """What a workspace, or one of its keys, means to spend in each month of UTC.

    Attributes:
        workspace: whose.
        key: id of one of its keys; empty for all that the workspace uses.
        amount: in millionths of the currency's unit.
        shares: percentages at which somebody is told; ascending.
        hard: calls are refused when the amount is reached.
        changed_ms: when it was set.
    """

    workspace: str
    key: str
    amount: int
    shares: tuple[int, ...]
    hard: bool
    changed_ms: int

    @property
    def holder(self) -> str:
        """The id that its limit holds for."""
        return self.key or self.workspace


def check_shares(shares: Sequence[int]) -> tuple[int, ...]:
    """Percentages of a budget, in order.

    Raises:
        HeliographError: `validation`.
    """
    if len(shares) > MOST_SHARES or not all(1 <= one <= 1000 for one in shares):
        raise HeliographError(
            Code.VALIDATION, f"thresholds are at most {MOST_SHARES} percentages from 1 to 1000."
        )
    return tuple(sorted(set(shares)))


def reached(budget: Budget, spent: int) -> list[int]:
    """The shares that so much spending has reached; a budget of nothing has with the first bit."""
    return [one for one in budget.shares if spent * 100 >= budget.amount * one and spent > 0]
