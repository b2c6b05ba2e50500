from __future__ import annotations

import csv
import io
import json
from typing import Any

import msgspec
import pytest

from heliograph.billing.invoices.values import Month, Span
from heliograph.billing.usage.folding import Folder
from heliograph.billing.usage.service import Usage
from heliograph.billing.usage.values import MOST_DAYS, By, read_by, read_span, read_time
from heliograph.core.call import Caller
from heliograph.core.errors import Code, HeliographError
from heliograph.edge.http import usage as usage_http
from heliograph.edge.http.doors import Asked, Reply
from heliograph.storage.database import Database
from support.clock import START, Turned
from support.usage import answer, answered

AUGUST = 1_785_542_400_000
HOUR = 3_600_000


@pytest.fixture
def usage(database: Database) -> Usage:
    return Usage(database, Turned(), lambda: "EUR")


def put(database: Database, *rows: dict[str, Any]) -> None:
    database.write(lambda connection: answered(connection, list(rows)))


def ask(usage: Usage, path: str, workspace: str = "ws_a", call: str = "", **query: Any) -> Any:
    door = next(one for one in usage_http.doors(usage) if one.path == path)
    made = msgspec.convert(query, door.query, strict=False) if door.query else None
    return door.use(Asked(Caller("key_1", workspace), {"call": call}, made))


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2026-08-01", AUGUST),
        ("2026-08-01T00:00", AUGUST),
        ("2026-08-01T00:00:00Z", AUGUST),
        ("2026-08-01T00:00:00.250Z", AUGUST + 250),
        ("2026-08-01T02:00:00+02:00", AUGUST),
        ("2026-08-01T02:00:00 02:00", AUGUST),
        ("2026-08-01T02:00:00+0200", AUGUST),
        ("2026-07-31 23:30:00-00:30", AUGUST),
        ("1785542400000", AUGUST),
        ("0", 0),
    ],
)
def test_times(text: str, ms: int) -> None:
    assert read_time(text, "from") == ms


@pytest.mark.parametrize(
    "text",
    ["", "now", "2026-13-01", "2026-02-30", "20260801", "2026-W31-1", "2026-08-01T25:00", "-5",
     "1e12", "1969-12-31", "9999-12-31", "9" * 15, "\u0662026-08-01", "2026-08-01x",
     "2026-08-01T00:00:00+99:00", "2026-08-01T00:00Z\n"],
)  # fmt: skip
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(HeliographError) as failed:
        read_time(text, "from")
    assert failed.value.code is Code.VALIDATION


def test_a_span_is_this_month_unless_told() -> None:
    month = Month.of(START)
    assert read_span("", "", START) == Span(month.from_ms, month.to_ms)
    assert read_span("2026-08-01", "2026-08-01", START) == Span(AUGUST, AUGUST)


@pytest.mark.parametrize(("from_", "to"), [("2026-08-02", "2026-08-01"), ("2020-01-01", "")])
def test_a_span_is_bounded(from_: str, to: str) -> None:
    with pytest.raises(HeliographError) as failed:
        read_span(from_, to, START)
    assert failed.value.code is Code.VALIDATION
    assert MOST_DAYS > 3 * 365


@pytest.mark.parametrize(
    ("text", "code"),
    [("colour", Code.UNKNOWN_FILTER), ("day,", Code.UNKNOWN_FILTER), ("day,day", Code.VALIDATION),
     ("DAY", Code.UNKNOWN_FILTER), ("day;drop table ledger", Code.UNKNOWN_FILTER)],
)  # fmt: skip
def test_groups_are_a_closed_list(text: str, code: Code) -> None:
    with pytest.raises(HeliographError) as failed:
        read_by(text)
    assert failed.value.code is code


def plain(value: object) -> object:
    """What a reader of the JSON sees."""
    return json.loads(msgspec.json.encode(value))


def test_groups() -> None:
    assert read_by("") == ()
    assert read_by("day, model") == (By.DAY, By.MODEL)


def test_the_door_tells_exact_sums(database: Database, usage: Usage) -> None:
    put(
        database,
        answer("ws_a", AUGUST, pixels=307_200, run_us=1, cost=1),
        answer("ws_a", AUGUST + HOUR, pixels=2**44 + 1, run_us=999_999, cost=2**50 + 1),
        answer("ws_a", AUGUST + 24 * HOUR, model="classes", cost=7),
        answer("ws_b", AUGUST, cost=1_000_000),
    )
    Folder(database).fold()
    found = ask(
        usage, "/api/v1/usage", **{"from": "2026-08-01", "to": "2026-08-02"}, group_by="day,model"
    )
    totals = json.loads(msgspec.json.encode(found.totals), parse_float=str)
    assert totals["calls"] == 2
    assert totals["megapixels"] == "17592186.351617"
    assert totals["run_ms"] == 1000
    assert totals["cost"] == "1125899906.842626"
    assert found.currency == "EUR"
    assert [one.by for one in found.groups] == [{"day": "2026-08-01", "model": "detector"}]
    months = ask(
        usage, "/api/v1/usage", **{"from": "2026-07-01", "to": "2026-10-01"}, group_by="month"
    )
    assert [(one.by, plain(one.calls)) for one in months.groups] == [({"month": "2026-08"}, 3)]


def test_nobody_is_charted_but_the_caller(database: Database, usage: Usage) -> None:
    put(database, answer("ws_b", START))
    assert plain(ask(usage, "/api/v1/usage").totals.calls) == 0
    assert plain(ask(usage, "/api/v1/usage", workspace="").totals.calls) == 0


def test_too_many_groups_are_refused(
    database: Database, usage: Usage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("heliograph.billing.usage.service.MOST_GROUPS", 2)
    put(database, *(answer("ws_a", START, key=f"key_{n}") for n in range(3)))
    with pytest.raises(HeliographError) as failed:
        ask(usage, "/api/v1/usage", group_by="key")
    assert failed.value.code is Code.VALIDATION
    assert ask(usage, "/api/v1/usage").totals.calls == 3


def test_calls_come_page_by_page(database: Database, usage: Usage) -> None:
    rows = [answer("ws_a", START + n // 3) for n in range(10)]
    put(database, *rows[5:], *rows[:5], answer("ws_b", START))
    seen: list[str] = []
    after = ""
    while True:
        page = ask(usage, "/api/v1/usage/calls", limit="4", after=after)
        seen += [one.id for one in page.calls]
        after = page.after
        if not after:
            break
    assert sorted(seen) == sorted(one["id"] for one in rows)
    assert len(seen) == len(set(seen))
    at = {one["id"]: one["at_ms"] for one in rows}
    assert [at[one] for one in seen] == sorted(at.values())


def test_one_call_is_told_to_its_owner_only(database: Database, usage: Usage) -> None:
    mine, other = answer("ws_a", START, run_us=12_345), answer("ws_b", START)
    put(database, mine, other)
    card = ask(usage, "/api/v1/usage/calls/{call}", call=mine["id"])
    assert card.result_sha256 == mine["result_digest"]
    assert plain(card.run_ms) == 12.345
    assert "SHA-256" in card.retention
    for call in (other["id"], "pred_0", "' OR 1=1 --"):
        with pytest.raises(HeliographError) as failed:
            ask(usage, "/api/v1/usage/calls/{call}", call=call)
        assert failed.value.code is Code.NOT_FOUND
    with pytest.raises(HeliographError) as failed:
        ask(usage, "/api/v1/usage/calls", after=other["id"])
    assert failed.value.code is Code.NOT_FOUND


@pytest.mark.parametrize(
    "evil", ["=cmd|'/c calc'!A1", "+1", "-1", "@x", "\t=", '"=1', "\r=1", "\n=1", "\uff1d1"]
)
def test_no_cell_is_a_formula(database: Database, usage: Usage, evil: str) -> None:
    put(database, answer("ws_a", START, model=evil, idempotency=evil, cost=-5))
    for path, query in (("/api/v1/usage", {"group_by": "model"}), ("/api/v1/usage/calls", {})):
        reply = ask(usage, path, format="csv", **query)
        assert isinstance(reply, Reply)
        text = reply.body.decode()
        row = next(csv.DictReader(io.StringIO(text, newline="")))
        assert row["model"] == "'" + evil
        assert row["currency"] == "EUR"
