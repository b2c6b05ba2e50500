"""The addresses of prices and invoices: forms, permissions, bodies."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from heliograph.core.call import Caller
from heliograph.core.errors import Code, HeliographError
from heliograph.core.permissions import EVERY, Permission
from heliograph.edge.http import invoices, prices
from heliograph.edge.http.doors import Asked, Door, Reply, read_struct
from heliograph.storage.database import Database
from support import usage
from support.invoices import AUGUST, House, house, operator

OWNER = Caller("usr_2", "ws_1", person="usr_2", permissions=EVERY)


@pytest.fixture
def one(database: Database) -> House:
    made = house(database)
    made.answer(*(usage.answer("ws_1", AUGUST.from_ms) for _ in range(20)))
    return made


def ask(
    one: House,
    method: str,
    path: str,
    body: dict[str, Any] | None = None,
    by: Caller | None = None,
    accept: str = "",
    **said: Any,
) -> Any:
    """What a door says, as JSON values; bytes where it says bytes."""
    doors = [*invoices.doors(one.invoices), *prices.doors(one.prices)]
    parts = path.split("/")
    for door in doors:
        shape = door.path.removeprefix("/api/v1/").split("/")
        fits = all(a == b or b.startswith("{") for a, b in zip(parts, shape, strict=False))
        if door.method == method and len(shape) == len(parts) and fits:
            return opened(door, dict(zip(shape, parts, strict=True)), body, by, accept, said)
    raise AssertionError(path)


def opened(
    door: Door,
    names: dict[str, str],
    body: dict[str, Any] | None,
    by: Caller | None,
    accept: str,
    said: dict[str, Any],
) -> Any:
    query = msgspec.convert(said, door.query, strict=False) if door.query else None
    taken: Any = None
    if door.takes is not None:
        assert issubclass(door.takes, msgspec.Struct)
        taken = read_struct(json.dumps(body).encode(), door.takes)
    path = {name.strip("{}"): value for name, value in names.items()}
    asked = Asked(by or operator(), path, query, taken, headers={"accept": accept})
    given = door.use(asked)
    if isinstance(given, Reply):
        return given
    return msgspec.json.decode(msgspec.json.encode(given))


def refused(*args: Any, **more: Any) -> Code:
    with pytest.raises(HeliographError) as error:
        ask(*args, **more)
    return error.value.code


def test_the_way_of_an_invoice_through_the_doors(one: House) -> None:
    assert ask(one, "PUT", "buyer", {"name": "Moon", "country": "DE"}, OWNER)["name"] == "Moon"
    assert ask(one, "GET", "buyer", by=OWNER)["country"] == "DE"
    assert ask(one, "PUT", "plan", {"plan": "team"})["plan"] == "team"
    assert ask(one, "GET", "plan", by=OWNER)["valid_from"] == "2026-08-01T00:00:00Z"
    line = ask(one, "POST", "lines", {"name": "Set-up", "price": "1.50", "quantity": 2})
    assert (line.status, line.body.amount) == (201, 300)
    credit = {"amount": "1.00", "kind": "paid", "memo": "x"}
    assert ask(one, "POST", "credits", credit).body.balance == 100
    one.clock.now = AUGUST.to_ms
    closed = ask(one, "POST", "invoices/close", {"month": "2026-08"})
    assert (closed["state"], closed["drafted"]) == ("grace", 1)
    closed = ask(one, "POST", "invoices/close", {"month": "2026-08", "early": True})
    assert (closed["state"], closed["finalised"]) == ("final", 1)
    listed = ask(one, "GET", "invoices", by=OWNER)["invoices"]
    assert [one["number"] for one in listed] == ["INV-2026-000001"]
    for name in (listed[0]["id"], "INV-2026-000001", "2026-08"):
        shown = ask(one, "GET", f"invoices/{name}", by=OWNER)
        assert json.loads(shown.body)["buyer"]["name"] == "Moon"
        assert listed[0]["digest"] in shown.headers["etag"]
    note = ask(one, "POST", "invoices/2026-08/credit-notes", {"reason": "x"})
    assert (note.status, json.loads(note.body)["kind"]) == (201, "credit_note")
    more = {"reason": "x", "lines": [{"line": 3, "amount": "1.00"}]}
    assert json.loads(ask(one, "POST", "invoices/2026-08/debit-notes", more).body)["net"] == 100
    assert len(ask(one, "GET", "invoices/2026-08/notes", by=OWNER)) == 2
    moved = ask(one, "GET", "credits", by=OWNER)["movements"]
    assert [one["amount"] for one in moved] == [-100, 100]


@pytest.mark.parametrize(
    ("accept", "asked", "media"),
    [
        ("", "", "application/json"),
        ("text/csv", "", "text/csv; charset=utf-8"),
        ("text/html, application/pdf;q=0.9", "", "application/pdf"),
        ("application/pdf", "csv", "text/csv; charset=utf-8"),
    ],
)
def test_forms_by_accept_and_by_name(one: House, accept: str, asked: str, media: str) -> None:
    shown = ask(one, "GET", "invoices/2026-08", accept=accept, format=asked)
    assert shown.media == media
    assert shown.headers["content-disposition"].startswith('inline; filename="2026-08-draft.')


def test_owners_read_and_operators_write(one: House) -> None:
    every = [*invoices.doors(one.invoices), *prices.doors(one.prices)]
    for door in every:
        reading = door.method == "GET"
        assert door.needs in (
            {Permission.BILLING_READ}
            if reading
            else {Permission.BILLING_WRITE, Permission.PRICES_WRITE}
        )
    bodies: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "invoices/close", {"month": "2026-08"}),
        ("POST", "invoices/2026-08/credit-notes", {"reason": "x"}),
        ("POST", "invoices/2026-08/debit-notes", {"reason": "x"}),
        ("POST", "credits", {"amount": "1", "kind": "goodwill", "memo": "x"}),
        ("POST", "lines", {"name": "x", "price": "1"}),
        ("PUT", "plan", {"plan": "team"}),
        ("PUT", "prices", {"currency": "EUR"}),
    ]
    for method, path, body in bodies:
        assert refused(one, method, path, body, OWNER) == Code.FORBIDDEN
    assert refused(one, "GET", "invoices", by=OWNER, all=True) == Code.FORBIDDEN


@pytest.mark.parametrize("body", [{"reason": "x", "total": 1}, {"reason": "x", "workspace": "w"}])
def test_no_field_that_is_not_known(one: House, body: dict[str, Any]) -> None:
    path = "invoices/2026-08/credit-notes"
    assert refused(one, "POST", path, body) == Code.UNKNOWN_FIELD


def test_an_operator_names_the_workspace(one: House) -> None:
    nobody = Caller("admin", operator=True, permissions=EVERY)
    assert refused(one, "GET", "invoices/2026-08", by=nobody) == Code.VALIDATION
    assert refused(one, "GET", "invoices", by=nobody) == Code.VALIDATION
    assert refused(one, "POST", "lines", {"name": "x", "price": "1"}, nobody) == Code.VALIDATION
    assert ask(one, "GET", "invoices", by=nobody, all=True) == {"invoices": []}


def test_prices_are_told_as_they_were_written(one: House) -> None:
    shown = ask(one, "GET", "prices", by=OWNER)
    assert (shown["version"], shown["valid_from"]) == (1, "2026-08-01T00:00:00Z")
    assert shown["sheet"]["rates"][0]["price"] == "0.0000021"
    again = ask(one, "PUT", "prices", shown["sheet"])
    assert (again["version"], again["digest"]) == (2, shown["digest"])
    assert refused(one, "GET", "prices", version=9) == Code.NOT_FOUND


def test_no_prices_no_book(database: Database) -> None:
    one = house(database, sheet=None)
    assert refused(one, "GET", "prices", by=OWNER) == Code.NOT_FOUND
    assert refused(one, "POST", "lines", {"name": "x", "price": "1"}) == Code.CONFLICT
