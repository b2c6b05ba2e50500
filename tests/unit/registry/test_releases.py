"""The rules of releases: what a decision makes of the one before, and what is refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from heliograph.core.errors import Code, HeliographError
from heliograph.registry import releases
from heliograph.registry.releases import Change, Gates, Release, Shadow

VERSIONS = ["1", "2", "10"]


def test_without_a_decision_the_highest_number_answers() -> None:
    assert releases.choose(Release(), VERSIONS) == "10"
    assert releases.choose(Release(), []) == ""
    assert releases.shares(Release(), VERSIONS) == {"10": 1.0}
    assert releases.shares(Release(), []) == {}


def test_the_stable_version_answers_even_while_it_cannot() -> None:
    pinned = Release(aliases={"stable": "2"})
    assert releases.choose(pinned, ["1", "10"]) == "2", "no other version steps in for it"


def test_of_a_split_only_those_answer_that_can() -> None:
    split = Release(split={"1": 1, "2": 1, "canary": 2}, aliases={"canary": "2"})
    assert releases.shares(split, VERSIONS) == {"1": 0.25, "2": 0.75}
    assert releases.shares(split, ["1"]) == {"1": 1.0}
    assert {releases.choose(split, ["2"]) for _ in range(50)} == {"2"}
    assert {releases.choose(split, []) for _ in range(100)} == {"1", "2"}
    kept = Release(split={"1": 0, "2": 1})
    assert {releases.choose(kept, ["1"]) for _ in range(50)} == {"2"}, "a share of nothing is none"


def test_promotion_ends_the_trial_and_remembers_who_answered() -> None:
    trial = Release(
        aliases={"stable": "1", "canary": "2", "mine": "1"},
        split={"stable": 9, "canary": 1},
        shadow=Shadow(version="2"),
        unloaded=("2", "10"),
    )
    made = releases.promote(trial, "2", "1", "good")
    assert made.aliases == {"stable": "2", "mine": "1"}
    assert (made.split, made.shadow, made.unloaded) == ({}, None, ("10",))
    assert (made.history, made.reason) == (("1",), "good")
    other = msgspec.structs.replace(trial, shadow=Shadow(version="10"), unloaded=("*",))
    made = releases.promote(other, "2", "2", "")
    assert made.shadow == Shadow(version="10")
    assert (made.unloaded, made.history) == ((), ())


def test_history_is_bounded() -> None:
    made = Release()
    for number in range(100):
        made = releases.promote(made, str(number + 1), str(number), "")
    assert len(made.history) == 20
    assert made.history[-1] == "99"


def test_going_back_takes_a_split_back_first() -> None:
    trial = Release(aliases={"stable": "1", "canary": "2"}, split={"1": 1, "2": 9}, history=("10",))
    made = releases.rollback(trial, VERSIONS, "bad")
    assert (made.aliases, made.split, made.history) == ({"stable": "1"}, {}, ("10",))
    made = releases.rollback(made, VERSIONS, "worse")
    assert (made.aliases, made.history) == ({"stable": "10"}, ())


def test_going_back_passes_over_what_is_gone_and_takes_back_into_service() -> None:
    made = Release(
        aliases={"stable": "10"},
        history=("2", "1", "5", "10"),
        unloaded=("1", "2"),
        shadow=Shadow(version="1"),
    )
    back = releases.rollback(made, VERSIONS, "")
    assert (back.aliases["stable"], back.history, back.unloaded) == ("1", ("2",), ("2",))
    assert back.shadow is None, "a version is no shadow of itself"
    with pytest.raises(HeliographError) as failed:
        releases.rollback(Release(history=("7",)), VERSIONS, "")
    assert failed.value.code is Code.CONFLICT


def test_a_change_leaves_the_rest_alone() -> None:
    was = Release(
        aliases={"stable": "1", "old": "1"}, split={"1": 1}, gates=Gates(), reason="before"
    )
    made = releases.amend(was, Change(aliases={"new": "2", "old": None, "never": None}), "1")
    assert made.aliases == {"stable": "1", "new": "2"}
    assert (made.split, made.gates, made.reason) == ({"1": 1}, Gates(), "")
    made = releases.amend(made, Change(split=None, gates=None, shadow=Shadow(version="2")), "1")
    assert (made.split, made.gates, made.shadow) == ({}, None, Shadow(version="2"))
    assert releases.amend(made, Change(shadow=None), "1").shadow is None
    made = releases.amend(made, Change(aliases={"newer": "new"}), "1")
    assert made.aliases["newer"] == "2", "an alias names a version, never another alias"


def test_naming_another_stable_version_is_a_promotion() -> None:
    was = Release(aliases={"stable": "1", "canary": "2"}, split={"1": 1, "2": 1})
    made = releases.amend(was, Change(aliases={"stable": "canary"}, reason="why"), "1")
    assert (made.aliases, made.split) == ({"stable": "2"}, {})
    assert (made.history, made.reason) == (("1",), "why")
    assert releases.amend(made, Change(aliases={"stable": None}), "2").aliases == {}


def test_a_trial_pins_who_answered() -> None:
    split = Release(split={"1": 1, "2": 1})
    assert releases.pinned(split, "1").aliases == {"stable": "1"}
    assert releases.pinned(split, "").aliases == {}
    assert releases.pinned(Release(shadow=Shadow(version="2")), "1").aliases == {"stable": "1"}
    kept = Release(aliases={"stable": "2"}, split={"1": 1, "2": 1})
    assert releases.pinned(kept, "1") is kept
    alone = Release(split={"1": 0, "2": 1})
    assert releases.pinned(alone, "1") is alone


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"aliases": {"1": "2"}}, "An alias is a name"),
        ({"aliases": {"a b": "2"}}, "An alias is a name"),
        ({"aliases": {"x" * 64: "2"}}, "An alias is a name"),
        ({"aliases": {"stable": "7"}}, "There is no version '7'; there are 1, 2, 10."),
        ({"aliases": {"stable": "mine", "mine": "1"}}, "There is no version 'mine'"),
        ({"split": {"canary": 1.0}}, "There is no version 'canary'"),
        ({"split": {"1": 0.0, "2": 0.0}}, "sum to more than 0"),
        ({"split": {"1": -1.0, "2": 2.0}}, "are 0 or more"),
        ({"split": {"1": float("inf")}}, "are 0 or more"),
        ({"split": {"1": float("nan")}}, "are 0 or more"),
        ({"shadow": Shadow(version="7")}, "There is no version '7'"),
        ({"shadow": Shadow(version="1"), "aliases": {"stable": "1"}}, "only another one"),
    ],
)
def test_a_release_that_cannot_be(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(HeliographError) as failed:
        releases.check(Release(**wrong), VERSIONS)
    assert failed.value.code is Code.VALIDATION
    assert says in failed.value.detail


def test_the_etag_tells_releases_apart_and_nothing_else() -> None:
    one = Release(aliases={"stable": "1", "canary": "2"})
    assert one.etag == Release(aliases={"canary": "2", "stable": "1"}).etag
    others = [Release(), Release(aliases={"stable": "1"}), Release(split={"1": 1})]
    assert len({one.etag, *(each.etag for each in others)}) == 4
