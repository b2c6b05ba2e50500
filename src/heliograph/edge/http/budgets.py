"""Budgets of a workspace and its keys: `/api/v1/budgets`."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from heliograph.billing.budgets.service import Budgets
from heliograph.billing.budgets.values import MOST_SHARES, SHARES, reached
from heliograph.core.errors import Code
from heliograph.core.money import exact, written
from heliograph.core.permissions import Permission
from heliograph.edge.http.doors import Asked, Door

_TAG = "Budgets"
_Key = Annotated[str, Meta(max_length=80)]


class NewBudget(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A budget to be set, in place of the one for the same key.

    Attributes:
        amount: for each month of UTC, in the currency's unit: `"50"`, `"12.5"`.
        key: id of the API key that it is for; empty for everything that the workspace uses.
        thresholds: percentages at which owners and webhooks are told, each once a month.
        hard: calls are refused when the amount is reached.
    """

    amount: Annotated[str, Meta(min_length=1, max_length=40)]
    key: _Key = ""
    thresholds: Annotated[
        list[Annotated[int, Meta(ge=1, le=1000)]], Meta(max_length=MOST_SHARES)
    ] = msgspec.field(default_factory=lambda: list(SHARES))
    hard: bool = False


class BudgetAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which budget.

    Attributes:
        for_key: id of the API key that it is for; empty for the workspace's own.
    """

    for_key: _Key = ""


class BudgetCard(msgspec.Struct, frozen=True, kw_only=True):
    """A budget, and what is spent of it.

    Attributes:
        key: that it is for; empty for everything.
        amount: for each month, a decimal number in a text.
        spent: in this month; a few seconds old.
        currency: of both.
        thresholds: percentages.
        reached: those of them that are reached.
        hard: whether calls are refused when the amount is reached.
        changed_ms: when it was set, in milliseconds since 1970.
    """

    key: str
    amount: str
    spent: str
    currency: str
    thresholds: list[int]
    reached: list[int]
    hard: bool
    changed_ms: int


class BudgetList(msgspec.Struct, frozen=True, kw_only=True):
    """The budgets of the workspace.

    Attributes:
        budgets: all of them, the workspace's own first.
    """

    budgets: list[BudgetCard]


def doors(budgets: Budgets) -> list[Door]:
    """The addresses; an owner sets them."""
    use = _Use(budgets)
    read, write, at = Permission.BILLING_READ, Permission.BUDGETS_WRITE, "/api/v1/budgets"
    return [
        Door("GET", at, read, use.index, "The workspace's budgets, and what is spent", _TAG,
             gives=BudgetList),
        Door("PUT", at, write, use.put, "Set a budget", _TAG, takes=NewBudget, gives=BudgetList,
             codes=(Code.NOT_FOUND, Code.VALIDATION)),
        Door("DELETE", at, write, use.drop, "Take a budget away", _TAG, query=BudgetAsked,
             codes=(Code.NOT_FOUND, Code.UNKNOWN_FILTER), status=204),
    ]  # fmt: skip


class _Use:
    """The use cases behind the addresses."""

    def __init__(self, budgets: Budgets) -> None:
        self._budgets = budgets

    def index(self, asked: Asked) -> BudgetList:
        """All of them."""
        currency = self._budgets.currency
        return BudgetList(
            budgets=[
                BudgetCard(
                    key=one.key,
                    amount=written(one.amount, 6),
                    spent=written(spent, 6),
                    currency=currency,
                    thresholds=list(one.shares),
                    reached=reached(one, spent),
                    hard=one.hard,
                    changed_ms=one.changed_ms,
                )
                for one, spent in self._budgets.of(asked.caller.workspace)
            ]
        )

    def put(self, asked: Asked) -> BudgetList:
        """Set one."""
        said: NewBudget = asked.body
        caller, amount = asked.caller, exact(said.amount, 6, "amount")
        self._budgets.put(
            caller.workspace, said.key, amount, said.thresholds, caller.name, hard=said.hard
        )
        return self.index(asked)

    def drop(self, asked: Asked) -> None:
        """Take one away."""
        self._budgets.drop(asked.caller.workspace, asked.query.for_key, asked.caller.name)
