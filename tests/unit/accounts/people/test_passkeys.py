"""Passkeys, with an authenticator in software."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from heliograph.accounts.people.values import Visit
from heliograph.core.errors import Code, HeliographError
from heliograph.storage.database import Database
from support.authenticator import PRESENT, Authenticator
from support.people import HERE, MAIL, PASSWORD, House, build

ORIGIN, PARTY = "https://house.test", "house.test"


def holding(house: House, mail: str = MAIL) -> tuple[Authenticator, str]:
    """Somebody's authenticator with a passkey in it, and the session that added it."""
    person = house.people.by_mail(mail) or house.people.get(house.person(mail))
    token = house.enter(mail).token
    made = Authenticator(ORIGIN, PARTY)
    begun = house.people.passkeys.begin_adding(token, person)
    done = house.people.passkeys.add(token, begun.ceremony, "laptop", made.create(begun.options))
    assert house.people.sessions.lookup(token) is None, "the session got a new token"
    return made, done.opened.token


def test_a_passkey_is_all_that_a_log_in_takes(database: Database) -> None:
    house = build(database)
    held, token = holding(house)
    assert [one.name for one in house.people.passkeys.listed(house.people.listed()[0].id)] == [
        "laptop"
    ]
    begun = house.people.passkeys.begin_using(HERE)
    assert begun.options["userVerification"] == "required"
    assert begun.options["allowCredentials"] == [], "nobody learns who has which"
    opened = house.people.passkeys.use(begun.ceremony, held.get(begun.options), HERE)
    assert opened.session.strength == "passkey"
    assert house.people.sessions.lookup(token)
    assert house.acts().count("factor:added") == 1


def test_with_a_passkey_the_password_is_not_enough(database: Database) -> None:
    house = build(database)
    holding(house)
    made = house.people.login.password(MAIL, PASSWORD, HERE)
    assert getattr(made, "needs", ()) == ("passkey", "recovery")


def other_origin(held: Authenticator) -> None:
    held.origin = "https://house.test.evil.example"


def plain_origin(held: Authenticator) -> None:
    held.origin = "http://house.test"


def other_party(held: Authenticator) -> None:
    held.party = "evil.example"


def unverified(held: Authenticator) -> None:
    held.flags = PRESENT


def absent(held: Authenticator) -> None:
    held.flags = 0


def other_key(held: Authenticator) -> None:
    held.key = Authenticator(ORIGIN, PARTY).key


def other_handle(held: Authenticator) -> None:
    held.handle = b"usr_somebody_else"


def unknown(held: Authenticator) -> None:
    held.credential = bytes(32)


SPOILED: list[Callable[[Authenticator], None]] = [
    *(other_origin, plain_origin, other_party, unverified, absent, other_key, other_handle, unknown)
]


@pytest.mark.parametrize("spoil", SPOILED)
def test_a_wrong_answer_opens_nothing_and_is_written_down(
    database: Database, spoil: Callable[[Authenticator], None]
) -> None:
    """B143."""
    house = build(database)
    held, _ = holding(house)
    spoil(held)
    begun = house.people.passkeys.begin_using(HERE)
    before = len(house.events)
    with pytest.raises(HeliographError) as refused:
        house.people.passkeys.use(begun.ceremony, held.get(begun.options), HERE)
    assert refused.value.code is Code.UNAUTHENTICATED
    assert [str(event.act) for event in house.events[before:]] == ["session:refused"]


@pytest.mark.parametrize("spoil", [other_origin, plain_origin, other_party, unverified])
def test_a_wrong_answer_adds_nothing(
    database: Database, spoil: Callable[[Authenticator], None]
) -> None:
    """B143."""
    house = build(database)
    person = house.people.get(house.person())
    token = house.enter().token
    begun = house.people.passkeys.begin_adding(token, person)
    held = Authenticator(ORIGIN, PARTY)
    spoil(held)
    with pytest.raises(HeliographError) as refused:
        house.people.passkeys.add(token, begun.ceremony, "", held.create(begun.options))
    assert refused.value.code is Code.UNAUTHENTICATED
    assert house.people.passkeys.listed(person.id) == []
    assert house.acts()[-1] == "session:refused"


def test_a_challenge_is_answered_once_and_in_time(database: Database) -> None:
    """B143: replay."""
    house = build(database)
    held, _ = holding(house)
    passkeys = house.people.passkeys
    first, second, late = (passkeys.begin_using(HERE) for _ in range(3))
    answer = held.get(first.options)
    passkeys.use(first.ceremony, answer, HERE)
    for ceremony, said in (
        (first.ceremony, answer),
        (first.ceremony, held.get(first.options)),
        (second.ceremony, answer),
        (second.ceremony, held.get(second.options)),
        ("made up", held.get(second.options)),
    ):
        with pytest.raises(HeliographError) as refused:
            passkeys.use(ceremony, said, HERE)
        assert refused.value.code is Code.UNAUTHENTICATED
        assert house.acts()[-1] == "session:refused"
    house.clock.turn(301)
    with pytest.raises(HeliographError):
        passkeys.use(late.ceremony, held.get(late.options), HERE)


def test_a_count_that_goes_back_is_a_copy(database: Database) -> None:
    """B143."""
    house = build(database)
    held, _ = holding(house)
    passkeys = house.people.passkeys
    held.counter = 40
    begun = passkeys.begin_using(HERE)
    passkeys.use(begun.ceremony, held.get(begun.options), HERE)
    for counter in (40, 2, -1):
        held.counter = counter
        begun = passkeys.begin_using(HERE)
        with pytest.raises(HeliographError) as refused:
            passkeys.use(begun.ceremony, held.get(begun.options), HERE)
        held.counter = max(held.counter, 0)
        assert refused.value.code is Code.UNAUTHENTICATED
        assert house.events[-1].facts == {"reason": "sign_count"}
        assert house.mails[-1].template == "security_notice"


def test_a_wrong_signature_does_not_cry_copy(database: Database) -> None:
    house = build(database)
    held, _ = holding(house)
    held.counter = 40
    begun = house.people.passkeys.begin_using(HERE)
    house.people.passkeys.use(begun.ceremony, held.get(begun.options), HERE)
    house.mails.clear()
    held.counter = 1
    other_key(held)
    begun = house.people.passkeys.begin_using(HERE)
    with pytest.raises(HeliographError):
        house.people.passkeys.use(begun.ceremony, held.get(begun.options), HERE)
    assert house.events[-1].facts == {"reason": "passkey"}
    assert not house.mails


def test_authenticators_that_do_not_count_are_taken(database: Database) -> None:
    house = build(database)
    held, _ = holding(house)
    for _ in range(2):
        held.counter = -1
        begun = house.people.passkeys.begin_using(HERE)
        house.people.passkeys.use(begun.ceremony, held.get(begun.options), HERE)


def test_a_challenge_for_one_person_adds_nothing_to_another(database: Database) -> None:
    house = build(database)
    maria, mallory = house.person(), house.person("mallory@example.org")
    begun = house.people.passkeys.begin_adding(house.enter().token, house.people.get(maria))
    held = Authenticator(ORIGIN, PARTY)
    theirs = house.enter("mallory@example.org").token
    with pytest.raises(HeliographError) as refused:
        house.people.passkeys.add(theirs, begun.ceremony, "", held.create(begun.options))
    assert refused.value.code is Code.UNAUTHENTICATED
    assert house.people.passkeys.listed(mallory) == []


def test_anothers_credential_is_not_taken_over(database: Database) -> None:
    house = build(database)
    held, _ = holding(house)
    mallory = house.people.get(house.person("mallory@example.org"))
    token = house.enter("mallory@example.org").token
    begun = house.people.passkeys.begin_adding(token, mallory)
    thief = Authenticator(ORIGIN, PARTY, credential=held.credential)
    with pytest.raises(HeliographError) as refused:
        house.people.passkeys.add(token, begun.ceremony, "", thief.create(begun.options))
    assert refused.value.code is Code.CONFLICT


def test_a_removed_passkey_opens_nothing(database: Database) -> None:
    house = build(database)
    held, token = holding(house)
    person = house.people.listed()[0]
    passkeys = house.people.passkeys
    (one,) = passkeys.listed(person.id)
    other = house.person("mallory@example.org")
    theirs = house.enter("mallory@example.org").token
    with pytest.raises(HeliographError) as refused:
        passkeys.remove(theirs, house.people.get(other), one.id)
    assert refused.value.code is Code.NOT_FOUND
    passkeys.remove(token, person, one.id)
    begun = passkeys.begin_using(HERE)
    with pytest.raises(HeliographError):
        passkeys.use(begun.ceremony, held.get(begun.options), HERE)
    house.enter()
    assert house.people.factors(person.id) == ()
    assert "factor:removed" in house.acts()


def test_a_suspended_person_has_no_passkey(database: Database) -> None:
    house = build(database)
    held, _ = holding(house)
    house.people.suspend(house.people.listed()[0].id, "admin")
    begun = house.people.passkeys.begin_using(HERE)
    with pytest.raises(HeliographError) as refused:
        house.people.passkeys.use(begun.ceremony, held.get(begun.options), HERE)
    assert refused.value.code is Code.SUSPENDED


@pytest.mark.parametrize(
    "rubbish",
    [{}, {"id": 1}, {"rawId": "é"}, {"rawId": None, "response": []}, {"id": "x" * 20_000}],
)
def test_rubbish_is_refused_and_counted(database: Database, rubbish: dict[str, object]) -> None:
    house = build(database)
    holding(house)
    visit = Visit("198.51.100.9")
    codes: set[Code] = set()
    ceremony = house.people.passkeys.begin_using(visit).ceremony
    for _ in range(40):
        with pytest.raises(HeliographError) as refused:
            house.people.passkeys.use(ceremony, rubbish, visit)
        codes.add(refused.value.code)
    assert codes == {Code.UNAUTHENTICATED, Code.RATE_LIMITED}
