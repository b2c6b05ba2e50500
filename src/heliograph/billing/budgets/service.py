"""Use cases of budgets: setting them, telling when they are reached, stopping hard ones.

    put    the budget, and word to every process that its limits have changed   one transaction
    look   what is spent, by the folded ledger ─► each share noted once ─► a hook, and mails

A share is told by whoever notes it first: the note's row is its own lock, over every process. Calls
know nothing of all this, but for hard budgets: those are limits on `cost` a month, which the gate
gives to its callers and which hold exactly where answers are booked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from heliograph.billing.budgets import store
from heliograph.billing.budgets.values import (
    MOST_AMOUNT,
    MOST_BUDGETS,
    Budget,
    check_shares,
    reached,
)
from heliograph.billing.invoices.values import Month
from heliograph.core.call import Limit
from heliograph.core.clock import Clock
from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act, Event
from heliograph.core.money import written
from heliograph.core.notices import Hook, Mail
from heliograph.storage.database import Database, Notify, Record

_NEW_MS = 60_000
Spent = Callable[[Month, Sequence[str]], Mapping[tuple[str, str], int]]
"""What workspaces have cost in a month, by workspace and key, in millionths."""


class Around(NamedTuple):
    """What budgets ask of the house.

    Attributes:
        spent: what has been spent.
        currency: code of ISO 4217.
        owners: mail addresses of those who answer for a workspace's money.
        owns: whether a key is a workspace's.
        touch: tells every process that limits have changed.
        seed: sees to it that a limit's counter of this month shows no less than was spent, where a
            hard budget is set within a month.
    """

    spent: Spent
    currency: Callable[[], str]
    owners: Callable[[Connection, str], Iterable[str]]
    owns: Callable[[Connection, str, str], bool]
    touch: Callable[[Connection], None]
    seed: Callable[[Connection, Limit, int], None]


def limit(budget: Budget) -> Limit:
    """A hard budget as the limit that it is."""
    return Limit(budget.holder, "cost", "month", budget.amount)


def limits(connection: Connection) -> list[Limit]:
    """Those of every hard budget, for the gate: the tighter of two on the same counter holds."""
    return [limit(one) for one in store.hard(connection)]


class Budgets:
    """The budgets of this house.

    Args:
        database: where they are kept.
        clock: tells the time.
        record: takes audit events.
        notify: takes what is to be told.
        around: what they ask of the house.
    """

    def __init__(
        self, database: Database, clock: Clock, record: Record, notify: Notify, around: Around
    ) -> None:
        self._database = database
        self._clock = clock
        self._record = record
        self._notify = notify
        self._around = around

    @property
    def currency(self) -> str:
        """Code of ISO 4217 that amounts are in."""
        return self._around.currency()

    def of(self, workspace: str) -> list[tuple[Budget, int]]:
        """The budgets of a workspace, and what is spent of each in this month."""
        with self._database.read() as connection:
            found = store.of(connection, workspace)
        spent = self._around.spent(Month.of(self._clock()), [workspace]) if found else {}
        return [(one, _part(one, spent)) for one in found]

    def put(
        self,
        workspace: str,
        key: str,
        amount: int,
        shares: Sequence[int],
        actor: str,
        *,
        hard: bool,
    ) -> None:
        """Set a budget, in place of the one that was there.

        Raises:
            HeliographError: `validation`, or `not_found` for a key that is not the workspace's.
        """
        if not 0 <= amount <= MOST_AMOUNT:
            raise HeliographError(
                Code.VALIDATION, f"A budget is from 0 to {written(MOST_AMOUNT, 6)}."
            )
        now = self._clock()
        budget = Budget(workspace, key, amount, check_shares(shares), hard, now)
        spent = _part(budget, self._around.spent(Month.of(now), [workspace])) if hard else 0

        def work(connection: Connection) -> None:
            if key and not self._around.owns(connection, workspace, key):
                raise HeliographError(Code.NOT_FOUND, f"There is no key {key[:60]!r}.")
            before = {one.key for one in store.of(connection, workspace)}
            if len(before | {key}) > MOST_BUDGETS:
                raise HeliographError(
                    Code.VALIDATION, f"A workspace may have {MOST_BUDGETS} budgets."
                )
            store.put(connection, budget)
            if hard:
                self._around.seed(connection, limit(budget), spent)
            self._told(connection, workspace, key, actor, amount, hard=hard)

        self._database.write(work)

    def drop(self, workspace: str, key: str, actor: str) -> None:
        """Take a budget away.

        Raises:
            HeliographError: `not_found`.
        """

        def work(connection: Connection) -> None:
            if not store.drop(connection, workspace, key):
                raise HeliographError(Code.NOT_FOUND, "There is no such budget.")
            self._told(connection, workspace, key, actor, -1, hard=False)

        self._database.write(work)

    def look(self) -> int:
        """Tell of every share that has been reached and not been told of.

        Returns:
            How many were told by this look.

        Raises:
            HeliographError: `db_unavailable`, `storage_full`.
        """
        now = self._clock()
        month = Month.of(now)
        with self._database.read() as connection:
            budgets = store.every(connection)
            told = store.told(connection, str(month)) if budgets else set()
        if not budgets:
            return 0
        spent = self._around.spent(month, sorted({one.workspace for one in budgets}))
        count = 0
        for one in budgets:
            part = _part(one, spent)
            if one.hard and 0 <= now - one.changed_ms < _NEW_MS:
                self._seed(one, part)
            for share in reached(one, part):
                if (one.workspace, one.key, one.amount, share) not in told:
                    count += self._tell(one, month, share, part, now)
        return count

    def _seed(self, budget: Budget, spent: int) -> None:
        # Calls that were booked before every process knew of the budget have counted for nothing.
        self._database.write(lambda connection: self._around.seed(connection, limit(budget), spent))

    def _tell(self, budget: Budget, month: Month, share: int, spent: int, now: int) -> bool:
        currency = self.currency
        body = {
            "workspace": budget.workspace,
            "key": budget.key,
            "month": str(month),
            "threshold": share,
            "spent": written(spent, 6),
            "amount": written(budget.amount, 6),
            "currency": currency,
            "hard": budget.hard,
        }
        facts = {
            "share": f"{share} %",
            "budget": f"for {budget.key or 'everything'} in {month}",
            "spent": f"{body['spent']} {currency}",
            "limit": f"{body['amount']} {currency}",
        }

        def work(connection: Connection) -> bool:
            if not store.reach(connection, budget, str(month), share, spent, now):
                return False
            self._notify(connection, Hook(budget.workspace, "budget.reached", body))
            for address in self._around.owners(connection, budget.workspace):
                self._notify(connection, Mail(address, "budget_reached", facts))
            return True

        return self._database.write(work)

    def _told(
        self,
        connection: Connection,
        workspace: str,
        key: str,
        actor: str,
        amount: int,
        *,
        hard: bool,
    ) -> None:
        self._around.touch(connection)
        facts: dict[str, str | int | bool] = {"amount": amount, "hard": hard}
        self._record(
            connection, Event(Act.BUDGET_CHANGED, actor, workspace, key or workspace, facts)
        )


def _part(budget: Budget, spent: Mapping[tuple[str, str], int]) -> int:
    if budget.key:
        return spent.get((budget.workspace, budget.key), 0)
    return sum(cost for (workspace, _), cost in spent.items() if workspace == budget.workspace)
