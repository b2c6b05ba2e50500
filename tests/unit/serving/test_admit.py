"""Admission: seats, refusals before the body, options by name, one usage a ticket."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from heliograph.accounts.key import KeyGate
from heliograph.core.call import Credentials
from heliograph.core.errors import Code, HeliographError
from heliograph.serving.admit import Desk, Seats
from heliograph.serving.values import Head
from heliograph.vision.decode import Limits
from support import models, pictures
from support.serving import House, house


@pytest.fixture(scope="module")
def colour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    home = tmp_path_factory.mktemp("home")
    models.colour_package(home)
    with house(home, "colour", seats=2) as wired:
        yield wired


@pytest.fixture(autouse=True)
def clean(colour: House) -> Iterator[None]:
    colour.kept.rows.clear()
    yield
    assert colour.seats.taken == 0


def code_of(failed: pytest.ExceptionInfo[HeliographError]) -> Code:
    return failed.value.code


def test_more_threads_than_seats_get_exactly_as_many_as_there_are() -> None:
    seats = Seats(7)
    start, got = threading.Barrier(4), list[str]()

    def take() -> None:
        start.wait(5)
        for _ in range(50):
            try:
                seats.take()
            except HeliographError as error:
                got.append(str(error.code))
            else:
                got.append("")

    threads = [threading.Thread(target=take) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(10)
    assert got.count("") == seats.taken == 7
    assert got.count("overloaded") == 200 - 7
    for _ in range(7):
        seats.give_back()
    seats.look()
    assert seats.taken == 0


def test_looking_takes_no_seat() -> None:
    seats = Seats(1)
    seats.look()
    seats.look()
    seats.take()
    with pytest.raises(HeliographError) as failed:
        seats.look()
    assert code_of(failed) is Code.OVERLOADED


def test_a_full_house_refuses_at_the_head_and_at_the_seat(colour: House) -> None:
    entry = colour.enter("colour")
    first = colour.app.path._desk.seat(entry, pictures.plain())
    second = colour.app.path._desk.seat(entry, pictures.plain())
    with pytest.raises(HeliographError) as at_head:
        colour.enter("colour")
    with pytest.raises(HeliographError) as at_seat:
        colour.app.path._desk.seat(entry, pictures.plain())
    assert code_of(at_head) is code_of(at_seat) is Code.OVERLOADED
    assert colour.kept.rows == []
    with first, second:
        pass
    assert [row.outcome for row in colour.kept.rows] == ["ok", "ok"]


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        ({"colour": "red"}, Code.UNKNOWN_FIELD, "'colour'"),
        ({"a`b`c": "1"}, Code.UNKNOWN_FIELD, "option 'a"),
        ({"top_k": "0"}, Code.VALIDATION, "top_k"),
        ({"top_k": "1001"}, Code.VALIDATION, "top_k"),
        ({"top_k": "two"}, Code.VALIDATION, "top_k"),
        ({"top_k": "1.5"}, Code.VALIDATION, "top_k"),
        ({"top_k": ""}, Code.VALIDATION, "top_k"),
        ({"min_score": "-0.1"}, Code.VALIDATION, "min_score"),
        ({"min_score": "1.01"}, Code.VALIDATION, "min_score"),
        ({"min_score": "nan"}, Code.VALIDATION, "min_score"),
        ({"min_score": "inf"}, Code.VALIDATION, "min_score"),
        ({"min_score": "1e999"}, Code.VALIDATION, "min_score"),
    ],
)
def test_a_wrong_option_is_refused_by_name_at_the_head(
    colour: House, options: dict[str, str], code: Code, says: str
) -> None:
    with pytest.raises(HeliographError) as failed:
        colour.enter("colour", **options)
    assert code_of(failed) is code
    assert says in failed.value.detail
    assert "top_k" in failed.value.detail, "the refusal lists what there is"


def test_options_are_read_from_text(colour: House) -> None:
    answer = colour.app.path.answer(colour.enter("colour", top_k="2"), pictures.plain())
    assert len(answer.result.predictions()) == 2
    assert answer.result.predictions()[0]["label"] == "red"


@pytest.mark.parametrize(
    ("head", "code"),
    [
        (Head(model="nobody"), Code.NOT_FOUND),
        (Head(model="colour", version="2"), Code.NOT_FOUND),
        (Head(model="../colour"), Code.NOT_FOUND),
        (Head(task="detection"), Code.NOT_FOUND),
        (Head(task="telepathy"), Code.NOT_FOUND),
    ],
)
def test_what_is_not_served_is_not_found(colour: House, head: Head, code: Code) -> None:
    with pytest.raises(HeliographError) as failed:
        colour.app.path.enter(head)
    assert code_of(failed) is code


def test_who_may_not_call_learns_nothing_of_models_options_or_seats(colour: House) -> None:
    desk = Desk(
        gate=KeyGate("hg_admin_k"),
        catalog=colour.app.catalog,
        meter=colour.kept,
        seats=Seats(1),
        deadline=1.0,
        limits=Limits(),
    )
    desk.seats.take()
    for head in (
        Head(model="colour", credentials=Credentials("wrong")),
        Head(model="nobody"),
        Head(model="colour", options={"colour": "red"}),
    ):
        with pytest.raises(HeliographError) as failed:
            desk.enter(head)
        assert code_of(failed) is Code.UNAUTHENTICATED
    with pytest.raises(HeliographError) as failed:
        desk.enter(Head(model="nobody", credentials=Credentials("hg_admin_k")))
    assert code_of(failed) is Code.NOT_FOUND


@pytest.mark.parametrize(("size", "code"), [(0, Code.EMPTY_FILE), (101, Code.TOO_LARGE)])
def test_an_empty_or_too_large_body_takes_no_seat(colour: House, size: int, code: Code) -> None:
    desk = Desk(
        gate=colour.app.gate,
        catalog=colour.app.catalog,
        meter=colour.kept,
        seats=Seats(1),
        deadline=1.0,
        limits=Limits(bytes=100),
    )
    with pytest.raises(HeliographError) as failed:
        desk.seat(colour.enter("colour"), b"x" * size)
    assert code_of(failed) is code
    assert desk.seats.taken == 0
    assert colour.kept.rows == []


def test_an_unforeseen_error_in_a_ticket_is_one_internal_usage(colour: House) -> None:
    ticket = colour.app.path._desk.seat(colour.enter("colour"), b"12345")

    def fall() -> None:
        with ticket:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fall()
    (row,) = colour.kept.rows
    assert (row.outcome, row.bytes_in, row.caller.name) == ("internal", 5, "anyone")
    assert (row.model, row.version, row.id) == ("colour", "1", ticket.id)
