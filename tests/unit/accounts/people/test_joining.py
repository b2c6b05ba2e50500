"""Becoming a person, and coming back: registration, links, invitations."""

from __future__ import annotations

from dataclasses import replace

import pytest

from heliograph.accounts.people.joining import Applicant
from heliograph.accounts.people.values import Registration
from heliograph.core.errors import Code, HeliographError
from heliograph.storage.database import Database
from support.people import HERE, MAIL, PASSWORD, build

ME = Applicant(MAIL, "Maria")


def test_somebody_registers_proves_the_address_and_is_in(database: Database) -> None:
    house = build(database)
    house.people.joining.register(ME, PASSWORD, HERE)
    link = house.link("verify")
    with pytest.raises(HeliographError) as refused:
        house.enter()
    assert refused.value.code is Code.FORBIDDEN
    person = house.people.joining.verify(link, PASSWORD)
    assert (person.state, person.mail, person.name) == ("active", MAIL, "Maria")
    opened = house.enter()
    signed = house.people.sessions.lookup(opened.token)
    assert signed is not None
    assert (signed.person, signed.operator) == (person.id, False)
    assert house.acts() == [
        "user:registered", "session:refused", "user:verified", "session:opened",
    ]  # fmt: skip


@pytest.mark.parametrize("registration", ["closed", "invited"])
def test_nobody_registers_where_that_is_not_meant(
    database: Database, registration: Registration
) -> None:
    """T-CFG-3."""
    house = build(database, registration=registration)
    with pytest.raises(HeliographError) as refused:
        house.people.joining.register(ME, PASSWORD, HERE)
    house.settle()
    assert refused.value.code is Code.FORBIDDEN
    assert not house.mails
    assert house.people.listed() == []


def test_with_approval_the_operator_has_the_last_word(database: Database) -> None:
    house = build(database, registration="approval")
    house.people.joining.register(ME, PASSWORD, HERE)
    person = house.people.joining.verify(house.link("verify"), PASSWORD)
    assert person.state == "pending"
    with pytest.raises(HeliographError) as refused:
        house.enter()
    assert refused.value.code is Code.FORBIDDEN
    assert house.people.restore(person.id, "admin").state == "active"
    house.enter()


def test_approval_before_the_proof_waits_for_the_proof(database: Database) -> None:
    house = build(database, registration="approval")
    house.people.joining.register(ME, PASSWORD, HERE)
    link = house.link("verify")
    waiting = house.people.listed()[0]
    assert house.people.restore(waiting.id, "admin").state == "pending"
    assert house.people.joining.verify(link, PASSWORD).state == "active"


def test_an_address_that_is_known_gets_a_mail_and_stays(database: Database) -> None:
    house = build(database)
    house.person()
    house.mails.clear()
    house.people.joining.register(Applicant("MARIA@Example.ORG", "Eve"), "another long one", HERE)
    house.settle()
    assert [mail.template for mail in house.mails] == ["security_notice"]
    assert house.mails[0].to == MAIL
    assert [one.name for one in house.people.listed()] == ["Maria"]
    house.enter()


def test_who_registers_anothers_address_gets_nothing_when_the_owner_follows_the_link(
    database: Database,
) -> None:
    house = build(database)
    house.people.joining.register(ME, "the thief's own words", HERE)
    stolen = house.link("verify")
    with pytest.raises(HeliographError) as refused:
        house.people.joining.verify(stolen, PASSWORD)
    assert refused.value.code is Code.BAD_REQUEST
    house.people.joining.register(ME, PASSWORD, HERE)
    mine = house.link("verify")
    with pytest.raises(HeliographError):
        house.people.joining.verify(stolen, "the thief's own words")
    house.people.joining.verify(mine, PASSWORD)
    house.enter()


def test_a_link_is_good_once_and_ten_minutes(database: Database) -> None:
    """B142."""
    house = build(database)
    house.person()
    joining = house.people.joining
    for spoil in ("used", "late", "guessed"):
        joining.forgot(MAIL, HERE)
        link = house.link("reset")
        if spoil == "used":
            joining.reset(link, "a new one to remember", HERE)
        elif spoil == "late":
            house.clock.turn(601)
        else:
            link = link[:-1] + ("A" if link[-1] != "A" else "B")
        with pytest.raises(HeliographError) as refused:
            joining.reset(link, PASSWORD, HERE)
        assert refused.value.code is Code.BAD_REQUEST
        house.clock.turn(3600)
    joining.forgot(MAIL, HERE)
    link = house.link("reset")
    house.clock.turn(599)
    joining.reset(link, PASSWORD, HERE)


def test_a_link_is_worth_nothing_once_the_address_has_changed(database: Database) -> None:
    """B142."""
    house = build(database)
    house.person()
    token = house.enter().token
    house.people.joining.forgot(MAIL, HERE)
    reset = house.link("reset")
    house.people.joining.change_mail(token, "new@example.org")
    change = house.link("verify")
    assert house.mails[-1].to == "new@example.org"
    person = house.people.joining.verify(change)
    assert person.mail == "new@example.org"
    assert [(mail.template, mail.to) for mail in house.mails[-1:]] == [("changed_mail", MAIL)]
    for link in (reset, change):
        with pytest.raises(HeliographError) as refused:
            house.people.joining.reset(link, PASSWORD, HERE)
        assert refused.value.code is Code.BAD_REQUEST
    house.enter("new@example.org")
    with pytest.raises(HeliographError):
        house.enter(MAIL)


def test_a_link_for_one_thing_does_not_do_another(database: Database) -> None:
    house = build(database)
    house.people.joining.register(ME, PASSWORD, HERE)
    link = house.link("verify")
    with pytest.raises(HeliographError) as refused:
        house.people.joining.reset(link, PASSWORD, HERE)
    assert refused.value.code is Code.BAD_REQUEST
    house.people.joining.verify(link, PASSWORD)


def test_an_address_that_was_taken_meanwhile_is_not_taken_over(database: Database) -> None:
    house = build(database)
    house.person()
    token = house.enter().token
    house.people.joining.change_mail(token, "new@example.org")
    link = house.link("verify")
    house.person("new@example.org")
    with pytest.raises(HeliographError) as refused:
        house.people.joining.verify(link)
    assert refused.value.code is Code.BAD_REQUEST
    house.people.joining.change_mail(token, "NEW@example.org")
    house.settle()
    assert house.mails[-1].template == "security_notice"
    assert house.mails[-1].to == "new@example.org"


def test_a_reset_ends_every_session_and_the_old_password(database: Database) -> None:
    house = build(database)
    house.person()
    token = house.enter().token
    house.people.joining.forgot(MAIL, HERE)
    house.people.joining.reset(house.link("reset"), "another long password", HERE)
    assert house.people.sessions.lookup(token) is None
    with pytest.raises(HeliographError):
        house.enter()
    house.enter(password="another long password")


def test_only_a_few_mails_go_to_one_address(database: Database) -> None:
    house = build(database)
    house.person()
    house.mails.clear()
    for last in range(12):
        house.people.joining.forgot(MAIL, replace(HERE, address=f"192.0.2.{last}"))
    house.settle()
    assert len(house.mails) == 4


def test_invited_people_choose_a_password_and_twins_are_refused(database: Database) -> None:
    """B158: spellings of one address are one person."""
    house = build(database, registration="closed")
    invite = house.people.joining.invite
    made = invite(ME, "admin")
    assert made.person.state == "pending"
    assert house.link("invite") == made.link.partition("#")[2]
    for twin in ("MARIA@EXAMPLE.ORG", "ｍaria@example.org", "maria@example.ORG"):  # noqa: RUF001
        with pytest.raises(HeliographError) as refused:
            invite(Applicant(twin), "admin")
        assert refused.value.code is Code.NAME_TAKEN
    with pytest.raises(HeliographError) as refused:
        invite(Applicant("other@example.org"), "usr_1", by_operator=False)
    assert refused.value.code is Code.FORBIDDEN


def test_who_never_proves_the_address_is_forgotten(database: Database) -> None:
    house = build(database)
    house.person("kept@example.org")
    house.people.joining.invite(Applicant("invited@example.org"), "admin")
    house.people.joining.register(ME, PASSWORD, HERE)
    house.settle()
    house.clock.turn(6 * 86400)
    house.people.sweep()
    assert len(house.people.listed()) == 3
    house.clock.turn(2 * 86400)
    house.people.sweep()
    assert {one.mail for one in house.people.listed()} == {
        "kept@example.org", "invited@example.org",
    }  # fmt: skip
