"""What every use case of invoices has before it: stores, the time, and who may do what to whom."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from heliograph.billing.invoices.values import UsageReader
from heliograph.billing.prices.values import PriceBook, Shelf
from heliograph.core.call import Caller
from heliograph.core.clock import Clock
from heliograph.core.errors import Code, HeliographError
from heliograph.storage.database import Database, Notify, Record

Belongs = Callable[[str, str], bool]
"""Whether a person (first) is a member of a workspace (second)."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What the use cases share.

    Attributes:
        database: where documents and the journal are kept.
        clock: the time of day.
        record: writes to the audit log.
        notify: tells programs of workspaces.
        shelf: gives every price book there is now.
        reader: where usage comes from.
        belongs: whether a person is a member of a workspace.
    """

    database: Database
    clock: Clock
    record: Record
    notify: Notify
    shelf: Callable[[], Shelf]
    reader: UsageReader
    belongs: Belongs

    def book(self) -> PriceBook:
        """The price book in force now.

        Raises:
            HeliographError: `conflict` while no prices are set.
        """
        book = self.shelf().at(self.clock())
        if not book.version:
            raise HeliographError(
                Code.CONFLICT, "No prices are in force yet; publish a price sheet first."
            )
        return book

    def allow(self, by: Caller, workspace: str) -> None:
        """Let only those change what a workspace owes who run the server and are not part of it.

        Raises:
            HeliographError: `forbidden`; `validation` if no workspace is named.
        """
        if not by.operator:
            raise HeliographError(Code.FORBIDDEN, "Only those who run this server may do that.")
        if not workspace:
            raise HeliographError(
                Code.VALIDATION, "Name the workspace in the header Heliograph-Workspace."
            )
        if by.person and self.belongs(by.person, workspace):
            raise HeliographError(
                Code.FORBIDDEN,
                "You are a member of this workspace; somebody who is not has to do that.",
            )
