"""A process that closes months and is killed at one site in each: for tests of recovery.

    python close_months.py URL HOME SITE=COUNT…

Every site gets the next month. A child of its own closes it and must die there; a second one
finishes. What was seen is printed as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from heliograph.billing.invoices import closing
from heliograph.billing.invoices.desk import Desk
from heliograph.billing.invoices.service import InvoiceService
from heliograph.billing.invoices.values import Month
from heliograph.billing.prices.service import PriceService
from heliograph.core import faults
from heliograph.storage.database import open_database
from support.invoices import AUGUST, Clock
from support.usage import Happenings, Reader

DAY_MS = 86_400_000


def nobody(person: str, workspace: str) -> bool:
    del person, workspace
    return False


def close(url: str, home: Path, month: Month) -> None:
    database = open_database(url, home)
    happened = Happenings()
    clock = Clock(month.to_ms + 4 * DAY_MS)
    prices = PriceService(database, clock, happened.record)
    desk = Desk(
        database,
        clock,
        happened.record,
        happened.notify,
        prices.shelf,
        Reader(),
        nobody,
    )
    InvoiceService(desk).closing.close(month, "system")
    database.close()


def in_a_child(url: str, home: Path, month: Month, site: str) -> int:
    """Close in a process of its own; how it ended."""
    child = os.fork()
    if not child:
        if site:
            name, _, count = site.partition("=")
            faults._LEFT[name] = int(count)
        try:
            close(url, home, month)
        except BaseException as error:  # noqa: BLE001 - a child must not go on as its parent
            print(error, file=sys.stderr)
            os._exit(3)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> None:
    url, home, *sites = sys.argv[1:]
    closing.LOT = 3
    month, seen = AUGUST, list[tuple[str, int, int]]()
    for site in sites:
        died = in_a_child(url, Path(home), month, site)
        seen.append((site, died, in_a_child(url, Path(home), month, "")))
        month = month.next()
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
