from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, func, select

from heliograph.accounts.quotas import store as quotas
from heliograph.billing.budgets import store
from heliograph.billing.budgets.service import Around, Budgets, limits
from heliograph.billing.budgets.values import Budget, reached
from heliograph.billing.ledger.store import LEDGER
from heliograph.billing.usage import store as usage_store
from heliograph.billing.usage.folding import Folder
from heliograph.billing.usage.service import Usage
from heliograph.core.call import Caller, Limit
from heliograph.core.errors import Code, HeliographError
from heliograph.core.notices import Hook, Mail, Notice
from heliograph.edge.http import budgets as budgets_http
from heliograph.edge.http.doors import Asked
from heliograph.notices.templates import write
from heliograph.storage.database import Database
from support.clock import Turned
from support.record import Recorded
from support.usage import HAPPENED, answer, answered

_OWN = HAPPENED.metadata


class Told:
    """Keeps notices in the database: those of an undone transaction are undone too."""

    def __init__(self) -> None:
        self.bodies: list[Notice] = []

    def __call__(self, connection: Connection, notice: Notice) -> None:
        self.bodies.append(notice)
        what = "hook" if isinstance(notice, Hook) else "mail"
        subject = str(notice.body["threshold"]) if isinstance(notice, Hook) else notice.to
        connection.execute(HAPPENED.insert().values(what=what, subject=subject))


class Place:
    """Budgets over real usage."""

    def __init__(self, database: Database) -> None:
        database.write(_OWN.create_all)
        self.database = database
        self.clock = Turned()
        self.told = Told()
        self.record = Recorded()
        self.touched = 0
        self.seeded: list[tuple[Limit, int]] = []
        self.usage = Usage(database, self.clock, lambda: "EUR")
        self.folder = Folder(database)
        self.budgets = self.another()

    def another(self) -> Budgets:
        """As another process has them."""
        around = Around(
            self.usage.spent, lambda: "EUR", self.owners, self.owns, self.touch, self.seed
        )
        return Budgets(self.database, self.clock, self.record, self.told, around)

    def owners(self, connection: Connection, workspace: str) -> Iterable[str]:
        del connection
        return [f"owner@{workspace}.example"]

    def owns(self, connection: Connection, workspace: str, key: str) -> bool:
        del connection
        return key.startswith(f"key_{workspace}")

    def touch(self, connection: Connection) -> None:
        del connection
        self.touched += 1

    def seed(self, connection: Connection, limit: Limit, used: int) -> None:
        del connection
        self.seeded.append((limit, used))

    def spend(self, cost: int, key: str = "key_ws_a", workspace: str = "ws_a") -> None:
        row = answer(workspace, self.clock(), key=key, cost=cost)
        self.database.write(lambda connection: answered(connection, [row]))

    def look(self) -> int:
        self.folder.fold()
        return self.budgets.look()

    def happened(self, what: str) -> list[str]:
        with self.database.read() as connection:
            asked = select(HAPPENED.c.subject).where(HAPPENED.c.what == what)
            return sorted(connection.execute(asked).scalars(), key=lambda one: (len(one), one))


@pytest.fixture
def place(database: Database) -> Place:
    return Place(database)


def test_each_share_is_told_once_a_month(place: Place) -> None:
    place.budgets.put("ws_a", "", 100, [50, 80, 100], "usr_1", hard=False)
    place.spend(49)
    assert place.look() == 0
    place.spend(1)
    assert (place.look(), place.look()) == (1, 0)
    place.spend(70)
    assert (place.look(), place.look()) == (2, 0)
    assert place.happened("hook") == ["50", "80", "100"]
    assert len(place.happened("mail")) == 3
    place.clock.forward(days=31)
    assert place.look() == 0
    place.spend(200)
    assert place.look() == 3


def test_what_is_told_fits_the_letter(place: Place) -> None:
    place.budgets.put("ws_a", "key_ws_a", 2_500_000, [80], "usr_1", hard=True)
    place.spend(2_000_000)
    place.look()
    hook, mail = place.told.bodies
    assert isinstance(hook, Hook)
    assert hook.kind == "budget.reached"
    assert hook.body["spent"] == "2.000000"
    assert hook.body["amount"] == "2.500000"
    assert isinstance(mail, Mail)
    letter = write(mail.to, mail.template, mail.facts, "https://example.org")
    assert "2.000000 EUR" in letter.text
    assert "80 %" in letter.subject


def test_a_key_has_its_own_budget(place: Place) -> None:
    place.budgets.put("ws_a", "key_ws_a1", 10, [100], "usr_1", hard=False)
    place.spend(50, key="key_ws_a2")
    place.spend(50, key="key_ws_a1", workspace="ws_b")
    assert place.look() == 0
    place.spend(10, key="key_ws_a1")
    assert place.look() == 1


def test_another_amount_is_told_anew(place: Place) -> None:
    place.budgets.put("ws_a", "", 10, [100], "usr_1", hard=False)
    place.spend(10)
    assert place.look() == 1
    place.budgets.put("ws_a", "", 20, [100], "usr_1", hard=False)
    assert place.look() == 0
    place.spend(10)
    assert place.look() == 1
    place.budgets.put("ws_a", "", 10, [100], "usr_1", hard=False)
    assert place.look() == 0


def test_processes_that_look_at_once_tell_once(place: Place) -> None:
    place.budgets.put("ws_a", "", 10, list(range(10, 101, 10)), "usr_1", hard=False)
    place.spend(10)
    place.folder.fold()
    threads = [threading.Thread(target=place.another().look) for _ in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert place.happened("hook") == [str(one) for one in range(10, 101, 10)]
    assert len(place.happened("mail")) == 10


@given(
    costs=st.lists(st.integers(0, 60), max_size=8),
    looks=st.lists(st.integers(0, 2), min_size=8, max_size=8),
    shares=st.lists(st.integers(1, 200), max_size=4, unique=True),
)
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_law_what_is_told_is_what_was_reached(
    place: Place, costs: list[int], looks: list[int], shares: list[int]
) -> None:
    tables = (store.BUDGETS, store.BUDGETS_REACHED, HAPPENED, LEDGER, usage_store.HOURS,
              usage_store.MONTHS, usage_store.MARKS)  # fmt: skip

    def clear(connection: Connection) -> None:
        for table in tables:
            connection.execute(delete(table))

    place.database.write(clear)
    place.budgets.put("ws_a", "", 100, shares, "usr_1", hard=False)
    for cost, times in zip(costs, looks, strict=False):
        place.spend(cost)
        for _ in range(times):
            place.look()
    place.look()
    spent = sum(costs)
    expected = [str(one) for one in sorted(shares) if spent * 100 >= 100 * one and spent]
    assert place.happened("hook") == expected


def test_a_notice_that_fails_is_told_later(place: Place) -> None:
    place.budgets.put("ws_a", "", 10, [100], "usr_1", hard=False)
    place.spend(10)
    place.folder.fold()

    def broken(connection: Connection, notice: Notice) -> None:
        del connection, notice
        raise HeliographError(Code.STORAGE_FULL, "There is no room.")

    whole, place.budgets._notify = place.budgets._notify, broken
    with pytest.raises(HeliographError):
        place.budgets.look()
    place.budgets._notify = whole
    assert place.budgets.look() == 1
    assert place.happened("hook") == ["100"]


def test_a_hard_budget_is_a_limit(place: Place) -> None:
    place.spend(30)
    place.folder.fold()
    place.budgets.put("ws_a", "", 100, [], "usr_1", hard=True)
    place.budgets.put("ws_a", "key_ws_a", 50, [], "usr_1", hard=False)
    expected = Limit("ws_a", "cost", "month", 100)
    with place.database.read() as connection:
        assert limits(connection) == [expected]
    assert place.seeded == [(expected, 30)]
    assert place.touched == 2
    assert place.record.acts == ["budget:changed"] * 2
    place.spend(5)
    place.look()
    assert place.seeded[-1] == (expected, 35)
    place.budgets.drop("ws_a", "", "usr_1")
    with place.database.read() as connection:
        assert limits(connection) == []


def test_no_hard_budget_touches_the_operators_quota(place: Place) -> None:
    quota = Limit("ws_a", "cost", "month", 10)
    place.database.write(lambda connection: quotas.put(connection, quota))
    place.budgets.put("ws_a", "", 1000, [], "usr_1", hard=True)
    place.budgets.drop("ws_a", "", "usr_1")
    with place.database.read() as connection:
        assert quotas.of(connection, "ws_a") == [quota]


@pytest.mark.parametrize(
    ("key", "amount", "shares", "code"),
    [("key_ws_b", 10, [50], Code.NOT_FOUND), ("", -1, [50], Code.VALIDATION),
     ("", 10**16, [50], Code.VALIDATION), ("", 10, [0], Code.VALIDATION),
     ("", 10, list(range(1, 12)), Code.VALIDATION)],
)  # fmt: skip
def test_what_means_nothing_is_refused(
    place: Place, key: str, amount: int, shares: list[int], code: Code
) -> None:
    with pytest.raises(HeliographError) as failed:
        place.budgets.put("ws_a", key, amount, shares, "usr_1", hard=False)
    assert failed.value.code is code
    with place.database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(store.BUDGETS)) == 0


def test_shares_are_reached_exactly() -> None:
    budget = Budget("ws_a", "", 3, (33, 34, 100), hard=False, changed_ms=0)
    assert reached(budget, 1) == [33]
    assert reached(budget, 2) == [33, 34]
    assert reached(budget._replace(amount=0), 0) == []
    assert reached(budget._replace(amount=0), 1) == [33, 34, 100]


def test_the_doors(place: Place) -> None:
    by_method = {one.method: one for one in budgets_http.doors(place.budgets)}

    def ask(method: Any, workspace: str = "ws_a", **said: Any) -> Any:
        door, caller = by_method[method], Caller("usr_1", workspace)
        kind = door.takes if method == "PUT" else door.query
        made = msgspec.convert(said, kind) if kind else None
        return door.use(Asked(caller, query=made, body=made))

    place.spend(6_000_000)
    place.folder.fold()
    card = ask("PUT", amount="12.5", thresholds=[40, 80]).budgets[0]
    assert (card.amount, card.spent, card.reached) == ("12.500000", "6.000000", [40])
    assert ask("GET", workspace="ws_b").budgets == []
    with pytest.raises(HeliographError) as failed:
        ask("DELETE", workspace="ws_b")
    assert failed.value.code is Code.NOT_FOUND
    ask("DELETE")
    assert ask("GET").budgets == []
    with pytest.raises(HeliographError) as failed:
        ask("PUT", amount="1.0000001")
    assert failed.value.code is Code.VALIDATION
