"""An audit log in an empty database, with a clock that a test can turn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from heliograph.audit.service import Audit
from heliograph.core.events import Act, Event
from heliograph.storage.database import Database
from support.audited import ALICE, BOB, KEY, SPACE, Turned


@pytest.fixture
def clock() -> Turned:
    return Turned()


@pytest.fixture
def audit(database: Database, clock: Turned, tmp_path: Path) -> Audit:
    return Audit(database, clock, tmp_path / "audit", tmp_path / "elsewhere")


@pytest.fixture
def fill(audit: Audit, clock: Turned) -> Callable[[int], None]:
    """Writes so many different events, a second apart."""

    def write(count: int) -> None:
        for number in range(count):
            clock.ms += 1000
            actor = (ALICE, BOB, "system")[number % 3]
            facts: dict[str, str | int | bool] = {"number": number, "member": BOB}
            audit.record(Event(Act.KEY_CREATED, actor, SPACE, KEY, facts))

    return write
