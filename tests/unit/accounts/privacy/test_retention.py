"""T-PRIV-1: after its term a picture is nowhere on the disk; a hold is stronger than a term."""

from __future__ import annotations

from pathlib import Path

from heliograph.accounts.privacy.retention import Shelf
from heliograph.accounts.privacy.service import Privacy
from heliograph.audit.values import Filter
from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act
from heliograph.places import Account, Residents, places
from heliograph.storage.database import Database
from heliograph.storage.objects import place
from support.privacy import PICTURE, Town


def test_what_is_past_its_term_is_not_on_the_disk(database: Database, tmp_path: Path) -> None:
    town = Town(database, tmp_path / "home")
    me = town.person()
    until = town.clock() + 30 * 86_400_000
    refs = [town.vault.put(None, me, "pictures", PICTURE, until) for _ in range(2)]
    database.write(lambda connection: town.vault.hold(connection, refs[1]))

    def clear(before_ms: int) -> int:
        assert before_ms == town.clock() - 30 * 86_400_000
        return town.vault.sweep().expired

    def full(before_ms: int) -> int:
        raise HeliographError(Code.STORAGE_FULL, f"older than {before_ms}")

    shelves = (Shelf("pictures", 30, "you asked for it", clear), Shelf("other", 1, "", full))
    privacy = Privacy(town.parts, shelves)
    assert privacy.sweep().lines[1].deleted == 0
    objects = {path.name for path in (town.home / "blobs").rglob("blob_*")}
    assert objects == set(refs)
    town.clock.days(30)
    report = privacy.sweep()
    assert [(one.shelf, one.deleted, one.failed) for one in report.lines] == [
        ("exports", 0, False),
        ("pictures", 1, False),
        ("other", 0, True),
    ]
    assert "pictures     30 days          1 deleted" in report.printed()
    assert "failed" in report.printed().splitlines()[-1]
    assert not any(PICTURE[:40] in data for _, data in town.everywhere())
    assert not (town.home / "blobs" / place(refs[0])).exists()
    assert town.vault.get(refs[1], me, "pictures") == PICTURE, "the hold is stronger"
    assert privacy.retention.reports(1) == [report]
    swept = town.audit.find(Filter(act=Act.RETENTION_SWEPT))[0]
    assert (swept.facts["deleted"], swept.facts["failed"]) == (1, 1)


def test_two_places_of_one_name_are_a_bug(database: Database, tmp_path: Path) -> None:
    town = Town(database, tmp_path / "home")
    assert isinstance(town.parts.account, Account)
    assert isinstance(town.parts.subjects, Residents)
    names = [one.name for one in places(town.audit, town.vault, town.clock)]
    assert len(names) == len(set(names))
