"""The journal: every movement of money as two sides that are equal, per currency.

    account      its balance says                         grows on the side
    receivable   what workspaces owe                      debit
    cash         what they paid in beforehand             debit
    goodwill     what was given to them                   debit
    prepaid      what they may still use                  credit
    revenue      what was earned, without taxes           credit
    tax          what is owed to the tax office           credit

Rows are added and never changed; a mistake is righted by an entry the other way round.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple


class Account(StrEnum):
    """The closed list of accounts."""

    CASH = "cash"
    GOODWILL = "goodwill"
    PREPAID = "prepaid"
    RECEIVABLE = "receivable"
    REVENUE = "revenue"
    TAX = "tax"


class Side(NamedTuple):
    """One side of an entry, in minor units; one of the two is 0, neither is negative."""

    account: Account
    debit: int
    credit: int


def debit(account: Account, amount: int) -> Side:
    """On the debit side; a negative amount stands on the other side."""
    return Side(account, max(amount, 0), max(-amount, 0))


def credit(account: Account, amount: int) -> Side:
    """On the credit side; a negative amount stands on the other side."""
    return debit(account, -amount)


def balanced(sides: Sequence[Side]) -> tuple[Side, ...]:
    """The sides of an entry without empty ones; it is a bug if they are not equal."""
    difference = sum(side.debit - side.credit for side in sides)
    assert not difference, f"an entry is off by {difference}. This is a bug."
    return tuple(side for side in sides if side.debit or side.credit)


def of_invoice(net: int, tax: int, used: int) -> tuple[Side, ...]:
    """An invoice: owed in full, less the prepaid credit that was used for it."""
    return balanced(
        [
            debit(Account.RECEIVABLE, net + tax),
            credit(Account.REVENUE, net),
            credit(Account.TAX, tax),
            debit(Account.PREPAID, used),
            credit(Account.RECEIVABLE, used),
        ]
    )


def of_note(net: int, tax: int, against: Account) -> tuple[Side, ...]:
    """A debit note, or with negative sums a credit note, for `receivable` or `prepaid`."""
    return balanced(
        [debit(against, net + tax), credit(Account.REVENUE, net), credit(Account.TAX, tax)]
    )


def of_grant(amount: int, source: Account) -> tuple[Side, ...]:
    """Credit that was paid for (`cash`) or given (`goodwill`); negative: taken back."""
    return balanced([debit(source, amount), credit(Account.PREPAID, amount)])
