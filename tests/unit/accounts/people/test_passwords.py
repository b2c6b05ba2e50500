"""Which passwords are taken, and what is kept of them."""

from __future__ import annotations

import threading

import pytest

from heliograph.accounts.people import passwords
from heliograph.accounts.people.passwords import Cost, Passwords, common
from heliograph.core.errors import Code, HeliographError
from support.people import QUICK

ABOUT = ("maria.lopez@example.org", "María López")


@pytest.mark.parametrize(
    "password",
    [
        *("x7#kQ2p!", "p" * 8 + "qrs", "a" * 64, "z" * 128, " leading space", "trailing space "),
        *(
            "🦦🦦🦦🦦🦦🦦🦦🦦",
            "correct horse battery staple",
            "\uff57\uff49\uff44\uff45 letters",
            "heliograph over the hills",
        ),
    ],
)
def test_what_people_choose_is_taken_as_typed(password: str) -> None:
    """B136."""
    made = Passwords(QUICK)
    made.check(password, ABOUT)
    kept = made.hash(password)
    assert made.matches(kept, password)
    assert not made.matches(kept, password.strip() + "!")
    assert not made.matches(kept, password[:-1])


@pytest.mark.parametrize(
    "password",
    [
        *("", "7 chars", "x" * 129, "x" * 1_000_000, "a\ud800bcdefgh"),
        *(
            "password",
            "PASSWORD",
            "Football",
            "qwertyuiop",
            "\uff50\uff41\uff53\uff53\uff57\uff4f\uff52\uff44",
        ),
        *("heliograph", "Heliograph1", "maria.lopez", "lopez2026", "example.org", "lopezlopez"),
    ],
)
def test_short_long_common_and_obvious_ones_are_refused(password: str) -> None:
    """B136."""
    with pytest.raises(HeliographError) as refused:
        Passwords(QUICK).check(password, ABOUT)
    assert refused.value.code is Code.VALIDATION
    assert "lopez" not in refused.value.detail


def test_the_list_is_that_of_the_three_thousand_most_common() -> None:
    assert len(common()) == 3000
    assert all(len(one) >= passwords.SHORTEST and one == one.casefold() for one in common())
    assert {"password", "12345678", "trustno1"} <= common()
    for one in list(common())[:200]:
        with pytest.raises(HeliographError):
            Passwords(QUICK).check(one)


def test_a_long_password_costs_nothing_and_nobody_matches_nothing() -> None:
    made = Passwords(QUICK)
    kept = made.hash("a long password")
    assert not made.matches(kept, "x" * 10_000_000)
    assert not made.matches("", "nobody has this password")
    assert not made.matches("not a hash", "a long password")


def test_a_hash_of_another_cost_is_stale() -> None:
    kept = Passwords(QUICK).hash("a long password")
    assert Passwords(Cost(2, 8, 1)).stale(kept)
    assert not Passwords(QUICK).stale(kept)
    assert Passwords(Cost(2, 8, 1)).matches(kept, "a long password")


def test_the_default_cost_is_that_of_the_standard() -> None:
    kept = Passwords().hash("a long password")
    assert kept.startswith("$argon2id$v=19$m=65536,t=3,p=4$")


def test_only_so_many_hash_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """B136: memory stays bounded however many come."""
    monkeypatch.setattr(passwords, "_WAIT_SECONDS", 0.05)
    made = Passwords(Cost(12, 64 * 1024, 1))
    refused: list[Code] = []

    def one() -> None:
        try:
            made.hash("a long password")
        except HeliographError as error:
            refused.append(error.code)

    threads = [threading.Thread(target=one) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused
    assert set(refused) == {Code.OVERLOADED}
    assert made.hash("a long password")
