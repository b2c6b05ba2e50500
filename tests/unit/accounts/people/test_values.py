"""What addresses, names and languages may be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from heliograph.accounts.people.values import check_locale, check_mail, check_name, fold
from heliograph.core.errors import Code, HeliographError


@pytest.mark.parametrize(
    "mail",
    [
        *("a@b", "maria@example.org", "o'hara+news@sub.example.co.uk", "x_y.z-1@ex-ample.org"),
        *("渡辺@example.jp", "jörg@bücher.example"),
    ],
)
def test_addresses_are_taken_as_they_are(mail: str) -> None:
    assert check_mail(mail) == mail


@pytest.mark.parametrize(
    "mail",
    [
        *("", "a", "@", "a@", "@b", "a b@c", "a@b@c", "a@b c", "<a@b>", "a@-b", "a@b..c", ".a@b"),
        *("a@b\n", "a@b\r\nBcc: c@d", "a\n@b", "a@b\x00", "a@b,c@d", "a＠b", "a@b＠c", "a@b\u202e"),  # noqa: RUF001
        *("x" * 65 + "@b", "a@" + "b." * 126 + "b"),
    ],
)
def test_what_is_no_address_is_refused(mail: str) -> None:
    """B158."""
    with pytest.raises(HeliographError) as refused:
        check_mail(mail)
    assert refused.value.code is Code.VALIDATION


@given(some.text(max_size=40))
def test_folding_twice_is_folding_once(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(some.text(max_size=300))
def test_a_checked_address_can_stand_in_a_header(text: str) -> None:
    for candidate in (text, f"{text}@example.org", f"a@{text}"):
        try:
            check_mail(candidate)
        except HeliographError:
            continue
        assert candidate.isprintable()
        assert not set(candidate) & set(' \r\n<>,;:"()[]\\')
        assert candidate.count("@") == fold(candidate).count("@") == 1


@pytest.mark.parametrize("name", ["", "Maria", "Dr. O'Hara", "می‌خواهم", "👩‍👩‍👧"])
def test_names_are_taken_as_they_are(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name", ["a\nb", "\u202eadmin", "x" * 81, " a", "a\x07", "\ud800", "a\u2028"]
)
def test_names_that_look_like_others_are_refused(name: str) -> None:
    with pytest.raises(HeliographError):
        check_name(name)


def test_a_locale_is_a_tag() -> None:
    assert check_locale("pt-BR") == "pt-BR"
    for bad in ("", "english", "../x", "EN", "en_US"):
        with pytest.raises(HeliographError):
            check_locale(bad)
