"""A house with prices and invoices, over a real database, with a clock one can turn."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from heliograph.billing.invoices.desk import Desk
from heliograph.billing.invoices.service import InvoiceService
from heliograph.billing.invoices.store import plans_in_use
from heliograph.billing.invoices.values import Month
from heliograph.billing.prices.service import PriceService
from heliograph.billing.prices.sheet import read_sheet
from heliograph.billing.prices.values import PriceBook
from heliograph.core.call import Caller
from heliograph.core.events import Event
from heliograph.core.notices import Notice
from heliograph.storage.database import Database
from support import usage

AUGUST = Month(2026, 8)
SHEET = """
currency = "EUR"
default_plan = "free"
terms = "Payable within 14 days."
seller = {name="Sun Ltd", address=["1 Long Lane"], country="DE", tax_id="DE1"}

[[rates]]
meter = "run_ms"
price = "0.0000021"

[[rates]]
meter = "images"
free = 10
tiers = [{up_to = 100, price = "0.01"}, {price = "0.005"}]

[[rates]]
meter = "images"
model = "reader"
kind = "volume"
tiers = [{up_to = 50, price = "0.02"}, {price = "0.01"}]

[[rates]]
meter = "gb_in"
price = "0.05"

[[rates]]
meter = "gb_out"
price = "0.08"

[[rates]]
meter = "busy_seconds"
price = "0.0001"

[[rates]]
meter = "idle_seconds"
price = "0.00002"

[[rates]]
meter = "gb_days"
price = "0.001"

[[taxes]]
name = "VAT"
rate = 1900
countries = ["", "DE"]

[[licences]]
name = "Licence of reader"
model = "reader"
monthly = "5.00"

[plans.free]
title = "Free"

[plans.team]
title = "Team"
monthly = "49.00"
included = {images = 31}
discounts = {usage = 1000}

[plans.firm]
title = "Firm"
monthly = "200.00"
minimum = "300.00"
fees = [{name = "Support", monthly = "31.00"}]
"""


@dataclass
class Clock:
    """A clock that stands still until it is set."""

    now: int

    def __call__(self) -> int:
        return self.now


@dataclass
class House:
    """Prices and invoices."""

    database: Database
    clock: Clock
    events: list[Event] = field(default_factory=list[Event])
    notices: list[Notice] = field(default_factory=list[Notice])
    members: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])

    def __post_init__(self) -> None:
        self.prices = PriceService(self.database, self.clock, self.record, plans_in_use)
        desk = Desk(
            self.database,
            self.clock,
            self.record,
            self.notify,
            self.prices.shelf,
            usage.Reader(),
            lambda person, workspace: (person, workspace) in self.members,
        )
        self.invoices = InvoiceService(desk)

    def record(self, connection: Connection, event: Event) -> None:
        del connection
        self.events.append(event)

    def notify(self, connection: Connection, notice: Notice) -> None:
        del connection
        self.notices.append(notice)

    def publish(self, sheet: str = SHEET, valid_from: str = "") -> PriceBook:
        """Publish a sheet of TOML."""
        head = f'valid_from = "{valid_from}"\n' if valid_from else ""
        return self.prices.publish(read_sheet(head + sheet), "admin")

    def answer(self, *rows: dict[str, Any]) -> None:
        """Add rows to the ledger."""
        self.database.write(lambda c: usage.answered(c, rows))

    def close(self, month: Month = AUGUST, after_ms: int = 4 * 86_400_000) -> None:
        """Close a month, some days after its end."""
        self.clock.now = max(self.clock.now, month.to_ms + after_ms)
        closed = self.invoices.closing.close(month, "admin")
        assert (closed.state, closed.failed) == ("final", {}), closed

    def invoice(self, workspace: str, month: Month = AUGUST) -> dict[str, Any]:
        """The invoice of a month."""
        return self.invoices.document(workspace, str(month))


def operator(workspace: str = "ws_1", person: str = "") -> Caller:
    """Who runs the server, for a workspace."""
    return Caller(person or "admin", workspace, person=person, operator=True)


def house(database: Database, *, sheet: str | None = SHEET) -> House:
    """A house whose first price book holds since the beginning of August 2026."""
    database.write(usage.prepare)
    made = House(database, Clock(AUGUST.from_ms - 5_000))
    if sheet is not None:
        made.publish(sheet)
    made.clock.now = AUGUST.from_ms
    return made
