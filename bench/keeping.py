"""Heliograph with accounts on, for measuring: a data folder with prices, workspaces and keys."""

import dataclasses
import shutil
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.load import Request
from bench.servers import Server, heliograph
from heliograph.accounts.keys.service import Wishes
from heliograph.core.permissions import EVERY
from heliograph.house import open_house
from heliograph.settings import read_settings

_PRICES = """
currency = "EUR"
default_plan = "free"

[[rates]]
meter = "run_ms"
price = "0.0000021"

[[rates]]
meter = "images"
price = "0.0005"

[plans.free]
title = "Free"
"""


@contextmanager
def furnished(folder: Path, models: Path, shares: Sequence[str]) -> Generator[dict[str, str]]:
    """A data folder with one workspace and key for each name in `shares`, and prices in force."""
    from heliograph.billing.prices.sheet import read_sheet

    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(models, folder, ignore=shutil.ignore_patterns("*.db*", "audit", "keys"))
    house = open_house(read_settings(folder))
    keys: dict[str, str] = {}
    try:
        house.prices.publish(read_sheet(_PRICES), "command")
        for name in shares:
            place = house.workspaces.create(name, "command")
            _, keys[name] = house.keys.create(place.id, Wishes("bench"), "command", EVERY)
    finally:
        house.close()
    time.sleep(6.0)  # prices hold five seconds after they are handed in
    yield keys


def with_accounts() -> Server:
    """Heliograph as it is started by default: with its gate, ledger and audit log."""
    own = heliograph()
    return dataclasses.replace(own, command=tuple(one for one in own.command if one != "--open"))


def signed(request: Request, key: str) -> Request:
    """A request with a key."""
    return dataclasses.replace(
        request, headers={**request.headers, "Authorization": f"Bearer {key}"}
    )


PYTHON = Path(sys.executable)
