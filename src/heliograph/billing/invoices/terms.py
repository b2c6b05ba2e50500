"""What a workspace has agreed to: its plan, how it is addressed, one-off lines, prepaid credit."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection

from heliograph.billing.invoices import store
from heliograph.billing.invoices.desk import Desk
from heliograph.billing.invoices.document import canonical
from heliograph.billing.invoices.journal import store as journal
from heliograph.billing.invoices.journal.values import Account, of_grant
from heliograph.billing.invoices.making import read_buyer
from heliograph.billing.invoices.values import Month, moment
from heliograph.billing.prices.sheet import PartySheet, money
from heliograph.billing.prices.values import Party
from heliograph.core.call import Caller
from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act, Event
from heliograph.core.ids import new_id
from heliograph.core.money import MOST_MINOR, exact

_SOURCES = {"paid": Account.CASH, "goodwill": Account.GOODWILL}
_AHEAD_MS = 366 * 86_400_000


class Agreed(NamedTuple):
    """The plan of a workspace.

    Attributes:
        plan: name; empty for the default of the price book.
        from_ms: since when; 0 for ever.
    """

    plan: str
    from_ms: int


class Terms:
    """Keeps them.

    Args:
        desk: what it works with.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def plan(self, workspace: str) -> Agreed:
        """What holds for a workspace now."""
        with self._desk.database.read() as connection:
            known = store.plans(connection, self._desk.clock() + 1, [workspace])
        entries = known.get(workspace, [])
        return Agreed(entries[-1][1], entries[-1][0]) if entries else Agreed("", 0)

    def change_plan(self, by: Caller, plan: str, from_ms: int | None = None) -> Agreed:
        """From a time on, the workspace that the caller acts for keeps to another plan.

        Args:
            by: who; an operator who is no member of the workspace.
            plan: of the price book in force; empty for its default.
            from_ms: now if left out; not in a month that is sealed, at most a year ahead.

        Raises:
            HeliographError: `forbidden`, `validation`, `conflict`.
        """
        self._desk.allow(by, by.workspace)
        now = self._desk.clock()
        start = now if from_ms is None else from_ms
        if plan and plan not in self._desk.book().plans:
            raise HeliographError(Code.VALIDATION, f"The prices in force have no plan {plan!r}.")
        if start > now + _AHEAD_MS:
            raise HeliographError(Code.VALIDATION, "A plan can be agreed to a year ahead.")

        def work(connection: Connection) -> Agreed:
            store.lock(connection)
            last = store.last_seal(connection)
            if last and start < last.month.to_ms:
                raise HeliographError(
                    Code.CONFLICT,
                    f"{last.month} is closed; a plan can change from {moment(last.month.to_ms)}.",
                )
            store.add_plan(connection, by.workspace, plan, start, now, by.name)
            facts = {"plan": plan, "from_ms": start}
            self._desk.record(
                connection, Event(Act.PLAN_CHANGED, by.name, by.workspace, by.workspace, facts)
            )
            return Agreed(plan, start)

        return self._desk.database.write(work)

    def buyer(self, workspace: str) -> Party:
        """How a workspace is addressed on its invoices."""
        with self._desk.database.read() as connection:
            found = store.buyers(connection, [workspace]).get(workspace)
        return read_buyer(found[1] if found else "")

    def set_buyer(self, by: Caller, details: PartySheet) -> Party:
        """Address the caller's workspace so from now on; final invoices stay as they are.

        Raises:
            HeliographError: `validation` if the caller acts for no workspace.
        """
        if not by.workspace:
            raise HeliographError(
                Code.VALIDATION, "Name the workspace in the header Heliograph-Workspace."
            )
        text = canonical(msgspec.to_builtins(details))

        def work(connection: Connection) -> Party:
            store.lock(connection)
            store.add_buyer(connection, by.workspace, self._desk.clock(), by.name, text)
            self._desk.record(
                connection, Event(Act.BUYER_CHANGED, by.name, by.workspace, by.workspace)
            )
            return read_buyer(text)

        return self._desk.database.write(work)

    def add_line(
        self, by: Caller, name: str, price: str, quantity: int = 1, month: Month | None = None
    ) -> store.Extra:
        """Put a one-off line on the next invoice of the workspace that the caller acts for.

        Args:
            by: who; an operator who is no member of the workspace.
            name: as it stands on the invoice.
            price: of one, decimal text in the currency, above 0.
            quantity: how many, above 0.
            month: on whose invoice; the running month's if left out.

        Raises:
            HeliographError: `forbidden`, `validation`, `conflict` for a month that is sealed.
        """
        self._desk.allow(by, by.workspace)
        book, now = self._desk.book(), self._desk.clock()
        minor = money(price, book.exponent, "price", least=1)
        if quantity < 1 or minor * quantity > MOST_MINOR:
            raise HeliographError(
                Code.VALIDATION, "A quantity is above 0, and the amount below 2^53 minor units."
            )
        line = store.Extra(
            id=new_id("line"),
            workspace=by.workspace,
            month=str(month or Month.of(now)),
            name=name,
            quantity=quantity,
            price=minor,
            currency=book.currency,
            at_ms=now,
            actor=by.name,
            invoice="",
        )

        def work(connection: Connection) -> store.Extra:
            store.lock(connection)
            if store.find_seal(connection, month or Month.of(now)):
                raise HeliographError(Code.CONFLICT, f"{line.month} is closed.")
            store.add_line(connection, line)
            facts = {"amount": minor * quantity, "currency": book.currency, "month": line.month}
            self._desk.record(
                connection, Event(Act.LINE_ADDED, by.name, by.workspace, line.id, facts)
            )
            return line

        return self._desk.database.write(work)

    def credit(self, by: Caller, amount: str, kind: str, memo: str) -> int:
        """Grant prepaid credit to the workspace that the caller acts for, or take some back.

        Args:
            by: who; an operator who is no member of the workspace.
            amount: decimal text in the currency; negative to take back; not 0.
            kind: `paid` beforehand, or `goodwill`.
            memo: why.

        Returns:
            The credit that there is now, in minor units.

        Raises:
            HeliographError: `forbidden`, `validation`, `conflict` where less is left than is to be
                taken back.
        """
        self._desk.allow(by, by.workspace)
        book, now = self._desk.book(), self._desk.clock()
        minor = exact(amount, book.exponent, "amount: an amount")
        if not 0 < abs(minor) <= MOST_MINOR:
            raise HeliographError(
                Code.VALIDATION, "amount: it is not 0, and below 2^53 minor units."
            )
        sides = of_grant(minor, _SOURCES[kind])
        entry = journal.Entry(new_id("ent"), now, by.workspace, book.currency, "", memo, sides)

        def work(connection: Connection) -> int:
            store.lock(connection)
            known = journal.balances(connection, book.currency, [by.workspace])
            if known.get(by.workspace, 0) + minor > MOST_MINOR:
                raise HeliographError(Code.VALIDATION, "amount: the credit would be too large.")
            journal.post(connection, [entry])
            facts = {"amount": minor, "currency": book.currency, "kind": kind}
            self._desk.record(
                connection, Event(Act.CREDIT_GRANTED, by.name, by.workspace, entry.id, facts)
            )
            return journal.balances(connection, book.currency, [by.workspace])[by.workspace]

        return self._desk.database.write(work)

    def credits(self, workspace: str, after: int, limit: int) -> tuple[int, list[dict[str, Any]]]:
        """A workspace's prepaid credit in the present currency, and what moved it, newest first."""
        currency = self._desk.shelf().at(self._desk.clock()).currency
        with self._desk.database.read() as connection:
            balance = journal.balances(connection, currency, [workspace]).get(workspace, 0)
            return balance, journal.movements(connection, workspace, after, limit)
