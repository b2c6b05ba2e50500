"""Laws of releases: shares are kept, sticky callers stay, going back undoes, files are whole."""

from __future__ import annotations

import math
import random
import tempfile
import threading
from pathlib import Path

import msgspec
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from heliograph.registry import releases
from heliograph.registry.releases import Change, Release, Shadow
from heliograph.registry.repository import Repository

VERSIONS = [str(one) for one in range(1, 8)]
versions = st.sampled_from(VERSIONS)
several = st.lists(versions, min_size=1, unique=True)
weights = st.floats(0.01, 100.0)
splits = st.dictionaries(versions, weights, min_size=1, max_size=5)
aliases = st.dictionaries(st.sampled_from(["stable", "canary", "mine"]), versions)
decided = st.builds(
    Release,
    aliases=aliases,
    split=st.one_of(st.just({}), splits),
    history=st.lists(versions, max_size=5).map(tuple),
)


@given(split=splits, seed=st.integers(0, 2**32))
@settings(max_examples=50)
def test_shares_are_those_of_the_weights(split: dict[str, float], seed: int) -> None:
    release, draws = Release(split=split), 4000
    state = random.getstate()
    random.seed(seed)
    try:
        drawn = [releases.choose(release, VERSIONS) for _ in range(draws)]
    finally:
        random.setstate(state)
    _fit(release, drawn)


@given(split=splits, salt=st.text(max_size=8))
@settings(max_examples=50)
def test_shares_of_sticky_callers_are_those_of_the_weights(
    split: dict[str, float], salt: str
) -> None:
    release = Release(split=split)
    _fit(release, [releases.choose(release, VERSIONS, f"{salt}{one}") for one in range(4000)])


def _fit(release: Release, drawn: list[str]) -> None:
    """Chi-square: how far the counts are from what they should be; 1 in 10^9 by chance."""
    expected = {
        name: share * len(drawn) for name, share in releases.shares(release, VERSIONS).items()
    }
    assert math.isclose(sum(expected.values()), len(drawn))
    assert set(drawn) <= set(expected)
    distance = sum((drawn.count(name) - count) ** 2 / count for name, count in expected.items())
    # A count far below one makes the statistic heavy-tailed: allow for it.
    assert distance < 60 + sum(1 / count for count in expected.values())


@given(release=decided, ready=several, sticky=st.text(max_size=20))
def test_a_version_that_is_not_there_is_named_only_if_the_release_names_no_other(
    release: Release, ready: list[str], sticky: str
) -> None:
    chosen = releases.choose(release, ready, sticky)
    if not release.split and "stable" not in release.aliases:
        assert chosen in ready
    elif not set(release.split) & set(ready):
        assert chosen in release.named()
    elif release.split:
        assert chosen in ready


@given(split=splits, ready=several, sticky=st.text(min_size=1))
def test_a_sticky_caller_keeps_its_version(
    split: dict[str, float], ready: list[str], sticky: str
) -> None:
    release = Release(split=split)
    backwards = Release(split=dict(reversed(split.items())))
    chosen = {releases.choose(release, ready, sticky) for _ in range(5)}
    assert chosen == {releases.choose(backwards, list(reversed(ready)), sticky)}


@given(
    low=st.floats(0.0, 1.0),
    more=st.floats(0.0, 1.0),
    sticky=st.text(min_size=1),
    flip=st.booleans(),
)
def test_who_has_the_new_version_keeps_it_when_its_share_grows(
    low: float, more: float, sticky: str, flip: bool
) -> None:
    old, new = ("1", "2") if flip else ("2", "1")
    high = min(1.0, low + more)
    assume(0 < low < 1)
    few = releases.choose(Release(split={old: 1 - low, new: low}), VERSIONS, sticky)
    many = releases.choose(Release(split={old: 1 - high, new: high}), VERSIONS, sticky)
    assert not (few == new and many == old)


def answering(release: Release) -> str:
    return release.aliases.get("stable") or releases.latest(VERSIONS)


@given(release=decided, version=versions)
def test_going_back_undoes_a_promotion(release: Release, version: str) -> None:
    before = answering(release)
    assume(version != before)
    up = releases.promote(release, version, before, "up")
    assert answering(up) == version
    back = releases.rollback(up, VERSIONS, "back")
    assert answering(back) == before
    assert back.history == release.history[-19:]
    assert not back.split


@given(first=versions, steps=st.lists(versions, max_size=8))
def test_going_back_as_often_as_forth_ends_where_it_began(first: str, steps: list[str]) -> None:
    release = Release(aliases={"stable": first})
    path: list[str] = []
    for step in steps:
        if step != answering(release):
            path.append(answering(release))
            release = releases.promote(release, step, answering(release), "")
    for before in reversed(path):
        release = releases.rollback(release, VERSIONS, "")
        assert answering(release) == before


@given(release=decided, version=versions, share=weights)
def test_taking_a_trial_back_leaves_who_answered(
    release: Release, version: str, share: float
) -> None:
    before = releases.incumbent(release, VERSIONS)
    change = Change(split={before: 1.0, version: share})
    tried = releases.pinned(releases.amend(release, change, before), before)
    assume(version != before)
    assert answering(releases.rollback(tried, VERSIONS, "")) == before
    assert answering(releases.take_back(tried, VERSIONS, "")) == before


@given(releases_=st.lists(decided, min_size=2, max_size=4, unique_by=lambda one: one.etag))
@settings(max_examples=10, deadline=None)
def test_a_reader_sees_one_release_or_another_and_nothing_between(releases_: list[Release]) -> None:

    with tempfile.TemporaryDirectory() as folder:
        repository = Repository([Path(folder)])
        repository.write("a", releases_[0])
        etags = {one.etag for one in releases_}
        stop = threading.Event()
        seen: set[str] = set()
        wrong: list[object] = []

        def read() -> None:
            while not stop.is_set():
                listing = Repository([Path(folder)]).scan()
                wrong.extend(listing.problems.values())
                seen.add(listing.releases["a"].etag)
                seen.add(repository.release("a").etag)

        reader = threading.Thread(target=read)
        reader.start()
        for turn in range(40):
            with repository.turn("a"):
                repository.write("a", releases_[turn % len(releases_)])
        stop.set()
        reader.join()
        assert not wrong
        assert seen <= etags
        assert {one.name for one in Path(folder, "a").iterdir()} == {"release.json", ".turn"}


@given(release=decided, shadow=st.one_of(st.none(), st.builds(Shadow, version=versions)))
def test_a_release_is_read_back_as_it_was_written(release: Release, shadow: Shadow | None) -> None:

    made = msgspec.structs.replace(release, shadow=shadow)
    with tempfile.TemporaryDirectory() as folder:
        repository = Repository([Path(folder)])
        repository.write("a", made)
        assert repository.release("a") == made
        assert repository.release("a").etag == made.etag
