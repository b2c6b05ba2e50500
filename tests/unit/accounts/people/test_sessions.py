"""Sessions: how long they last, who sees them, what ends them."""

from __future__ import annotations

import pytest
from pyotp.totp import TOTP

from heliograph.accounts.people import store
from heliograph.accounts.people.values import Visit
from heliograph.core.errors import Code, HeliographError
from heliograph.storage.database import Database
from support.people import HERE, MAIL, PASSWORD, build

HOUR = 3600


def test_a_session_ends_when_it_is_not_used_and_after_a_week(database: Database) -> None:
    house = build(database)
    house.person()
    sessions = house.people.sessions
    idle, used = house.enter().token, house.enter().token
    for _ in range(16):
        house.clock.turn(11 * HOUR)
        found = sessions.lookup(used)
        house.settle()
        if found is None:
            break
    assert sessions.lookup(idle) is None
    assert 167 * HOUR < (house.clock.ms - house.people.listed()[0].created_ms) / 1000 < 180 * HOUR
    assert sessions.mine(house.people.listed()[0].id) == []


def test_twelve_hours_is_the_limit(database: Database) -> None:
    house = build(database)
    house.person()
    token = house.enter().token
    house.clock.turn(12 * HOUR - 1)
    assert house.people.sessions.lookup(token)
    house.settle()
    house.clock.turn(12 * HOUR)
    assert house.people.sessions.lookup(token) is None


def test_a_token_is_random_and_only_its_hash_is_kept(database: Database) -> None:
    house = build(database)
    house.person()
    tokens = {house.enter().token for _ in range(3)}
    assert len(tokens) == 3
    assert all(len(token) == 43 for token in tokens)
    with database.read() as connection:
        kept = repr(connection.execute(store.SESSIONS.select()).all())
    assert not any(token in kept for token in tokens)
    for wrong in ("", "x", "ses_1", next(iter(tokens))[:-1], "\ud800", "x" * 100_000):
        assert house.people.sessions.lookup(wrong) is None


def test_one_sees_and_ends_ones_own_sessions_only(database: Database) -> None:
    house = build(database)
    maria = house.person()
    mallory = house.person("mallory@example.org", "mallory's own words")
    mine = [house.enter().session.id for _ in range(2)]
    sessions = house.people.sessions
    assert [one.id for one in sessions.mine(maria)] == mine
    with pytest.raises(HeliographError) as refused:
        sessions.close(mallory, mine[0])
    assert refused.value.code is Code.NOT_FOUND
    sessions.close(maria, mine[0])
    assert [one.id for one in sessions.mine(maria)] == mine[1:]
    assert house.acts()[-1] == "session:closed"


def test_all_others_end_at_once(database: Database) -> None:
    house = build(database)
    house.person()
    others, kept = [house.enter().token for _ in range(3)], house.enter().token
    signed = house.people.sessions.signed(kept)
    assert house.people.sessions.close_others(signed) == 3
    assert [house.people.sessions.lookup(token) for token in others] == [None] * 3
    assert house.people.sessions.lookup(kept)


def test_a_person_has_fifty_at_most(database: Database) -> None:
    house = build(database)
    person = house.person()
    device = house.enter().device
    tokens = [house.enter(visit=Visit(device=device)).token for _ in range(52)]
    assert len(house.people.sessions.mine(person)) == 50
    assert house.people.sessions.lookup(tokens[0]) is None
    assert house.people.sessions.lookup(tokens[-1])


def test_what_a_log_in_rests_on_is_changed_after_a_fresh_one_only(database: Database) -> None:
    house = build(database)
    house.person()
    token = house.enter().token
    house.clock.turn(601)
    people = house.people
    for change in (
        lambda: people.change_password(token, PASSWORD, "another long one", HERE),
        lambda: people.joining.change_mail(token, "new@example.org"),
        lambda: people.totp.enrol(token, MAIL),
        lambda: people.totp.renew_recovery(token),
        lambda: people.passkeys.begin_adding(token, people.listed()[0]),
    ):
        with pytest.raises(HeliographError) as refused:
            change()
        assert refused.value.code is Code.FORBIDDEN
        assert "Log in again" in refused.value.detail


def test_a_changed_password_ends_every_session(database: Database) -> None:
    house = build(database)
    house.person()
    other, token = house.enter().token, house.enter().token
    change = house.people.change_password
    with pytest.raises(HeliographError) as refused:
        change(token, "not the present one", "another long one", HERE)
    assert refused.value.code is Code.UNAUTHENTICATED
    with pytest.raises(HeliographError) as refused:
        change(token, PASSWORD, "password", HERE)
    assert refused.value.code is Code.VALIDATION
    opened = change(token, PASSWORD, "another long one", HERE)
    assert [house.people.sessions.lookup(one) for one in (other, token)] == [None] * 2
    assert house.people.sessions.lookup(opened.token)
    house.enter(password="another long one")
    assert house.acts().count("password:changed") == 2, "the first by the invitation"


def test_the_present_password_cannot_be_guessed_with_a_stolen_session(database: Database) -> None:
    house = build(database)
    house.person()
    token = house.enter().token
    codes: list[Code] = []
    for _ in range(10):
        with pytest.raises(HeliographError) as refused:
            house.people.change_password(token, "not the present one", "another long one", HERE)
        codes.append(refused.value.code)
    assert codes == [Code.UNAUTHENTICATED] * 6 + [Code.RATE_LIMITED] * 4


def test_who_becomes_an_operator_logs_in_again(database: Database) -> None:
    house = build(database)
    person = house.person()
    token = house.enter().token
    house.people.set_operator(person, "admin", operator=True)
    assert house.people.sessions.lookup(token) is None
    signed = house.people.sessions.signed(house.enter().token)
    assert signed.operator


def test_the_sweep_removes_what_has_ended(database: Database) -> None:
    house = build(database)
    house.person()
    house.enter()
    house.people.joining.forgot(MAIL, HERE)
    house.settle()
    house.clock.turn(200 * 24 * HOUR)
    house.people.sweep()
    with database.read() as connection:
        for table in (store.SESSIONS, store.DEVICES, store.ATTEMPTS, store.MAIL_TOKENS):
            assert connection.execute(table.select()).all() == [], table.name


def test_an_erased_person_leaves_an_id_and_nothing_else(database: Database) -> None:
    house = build(database)
    person = house.person()
    token = house.enter().token
    house.people.joining.forgot(MAIL, HERE)
    house.settle()
    house.people.remove(person, "admin")
    assert house.people.sessions.lookup(token) is None
    left = house.people.get(person)
    assert (left.mail, left.name, left.state, left.operator) == ("", "", "erased", False)
    with database.read() as connection:
        for table in (store.PEOPLE, store.ATTEMPTS, *store._OF_A_PERSON):
            for row in connection.execute(table.select()):
                assert "maria" not in repr(row).casefold(), table.name
    for act in (house.people.suspend, house.people.restore, house.people.remove):
        with pytest.raises(HeliographError) as refused:
            act(person, "admin")
        assert refused.value.code is Code.CONFLICT
    assert house.person() != person, "the address is free again"
    assert house.acts().count("user:erased") == 1


def test_an_operator_cannot_shut_themselves_out(database: Database) -> None:
    house = build(database)
    person = house.person(operator=True)
    for act in (house.people.suspend, house.people.remove):
        with pytest.raises(HeliographError) as refused:
            act(person, person)
        assert refused.value.code is Code.CONFLICT


def test_a_reset_link_by_hand_can_take_lost_factors_away(database: Database) -> None:
    house = build(database)
    person = house.person()
    token = house.enter().token
    secret = house.people.totp.enrol(token, MAIL).secret
    house.people.totp.confirm(token, TOTP(secret).at(house.clock.ms // 1000))
    assert house.people.factors(person) == ("totp", "recovery")
    link = house.people.reset_link(person, "command", factors=True)
    house.people.joining.reset(link.partition("#")[2], "another long one", HERE)
    house.enter(password="another long one")
    assert house.people.factors(person) == ()


def test_a_page_of_people_follows_the_one_before(database: Database) -> None:
    house = build(database)
    ids = [house.person(f"p{each}@example.org") for each in range(5)]
    people = house.people
    assert [one.id for one in people.listed(limit=2)] == ids[:2]
    assert [one.id for one in people.listed(after=ids[1], limit=9)] == ids[2:]
    assert [one.id for one in people.listed(mail="P3@EXAMPLE.org")] == [ids[3]]
    assert people.listed(state="suspended") == []


def test_one_may_change_ones_name_and_language(database: Database) -> None:
    house = build(database)
    person = house.person()
    made = house.people.amend(person, name="Maria L.", locale="es")
    assert (made.name, made.locale) == ("Maria L.", "es")
    assert house.people.amend(person).name == "Maria L."
    for bad in ({"name": "a\nb"}, {"locale": "x" * 40}):
        with pytest.raises(HeliographError):
            house.people.amend(person, **bad)
    with pytest.raises(HeliographError) as refused:
        house.people.amend("usr_nobody", name="x")
    assert refused.value.code is Code.NOT_FOUND
