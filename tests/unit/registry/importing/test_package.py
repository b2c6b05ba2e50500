"""Packages are written whole or not at all, numbered, never changed, and found by a repository."""

from __future__ import annotations

import hashlib
import threading
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph.core.errors import Code, HeliographError
from heliograph.core.ids import is_name
from heliograph.registry.importing.bringing import Brought, decide, look
from heliograph.registry.importing.draft import Answers
from heliograph.registry.importing.package import Made, discard, publish, suggest_name, toml
from heliograph.registry.repository import Repository
from heliograph.registry.values import read_package
from support import foreign, models


def drafted(home: Path, source: Path, name: str = "m", **more: str) -> Brought:
    return decide(look(source, home), Answers(task="tensors"), name=name, source="m", about=more)


def published(home: Path, source: Path, *, again: bool = False, **more: str) -> Made:
    brought = drafted(home, source, **more)
    try:
        return publish(brought.staged.folder, home, again=again)
    finally:
        discard(brought.home)


def test_versions_count_and_the_same_content_makes_none(tmp_path: Path) -> None:
    home = tmp_path / "home"
    one = foreign.add(tmp_path / "add.onnx")
    other = models.save(foreign.classifier(), tmp_path / "other.onnx")
    assert [
        (made.package.version, made.fresh)
        for made in (
            published(home, one),
            published(home, one),
            published(home, other),
            published(home, one, again=True),
            published(home, one, licence="MIT"),
        )
    ] == [(1, True), (1, False), (2, True), (3, True), (4, True)]
    listing = Repository([home / "models"]).scan()
    assert listing.problems == {}
    assert list(listing.packages["m"]) == ["1", "2", "3", "4"]
    left = [one.name for one in (home / "models").iterdir()]
    assert left == ["m"], "no workshop stays behind"


def test_files_are_pinned_and_read_only(tmp_path: Path) -> None:
    package = published(tmp_path / "home", foreign.add(tmp_path / "add.onnx")).package
    folder = Path(package.folder)
    assert package.weights is not None
    assert (folder / "model.onnx").stat().st_mode & 0o222 == 0
    assert read_package(folder) == package
    digest = hashlib.sha256((tmp_path / "add.onnx").read_bytes()).hexdigest()
    assert package.weights.sha256 == digest


def test_parts_are_pinned_too(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(16))
    source = models.save(foreign.outside("w.bin"), tmp_path / "m.onnx")
    weights = published(tmp_path / "home", source).package.weights
    assert weights is not None
    assert list(weights.parts) == ["w.bin"]


def test_a_package_alone_is_not_overrun(tmp_path: Path) -> None:
    home = tmp_path / "home"
    models.colour_package(home, "m")
    with pytest.raises(HeliographError) as failed:
        published(home, foreign.add(tmp_path / "add.onnx"))
    assert failed.value.code is Code.VALIDATION
    assert "models/m/1" in failed.value.detail


def test_imports_at_the_same_moment_get_numbers_of_their_own(tmp_path: Path) -> None:
    home = tmp_path / "home"
    sources = [
        models.save(foreign.classifier(classes), tmp_path / f"{classes}.onnx")
        for classes in range(2, 8)
    ]
    brought = [drafted(home, one) for one in sources]
    found: list[int] = []

    def run(one: Brought) -> None:
        found.append(publish(one.staged.folder, home).package.version)

    threads = [threading.Thread(target=run, args=(one,)) for one in brought]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one in brought:
        discard(one.home)
    assert sorted(found) == [1, 2, 3, 4, 5, 6]
    listing = Repository([home / "models"]).scan()
    assert listing.problems == {}


def test_a_package_appears_at_once(tmp_path: Path) -> None:
    """While it is made, a repository that looks sees nothing of it."""
    home = tmp_path / "home"
    brought = drafted(home, foreign.add(tmp_path / "add.onnx"))
    assert Repository([home / "models"]).scan().packages == {}
    publish(brought.staged.folder, home)
    discard(brought.home)
    assert list(Repository([home / "models"]).scan().packages) == ["m"]


@given(st.text(max_size=100))
def test_a_suggested_name_can_always_be_one(text: str) -> None:
    assert is_name(suggest_name(text))


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
_PLAIN = st.one_of(_TEXT, st.integers(-(2**40), 2**40), st.booleans(), st.lists(_TEXT, max_size=3))


@given(st.dictionaries(_TEXT, st.one_of(_PLAIN, st.dictionaries(_TEXT, _PLAIN, max_size=3))))
def test_what_is_written_as_toml_reads_back(table: dict[str, object]) -> None:
    assert tomllib.loads(toml(table)) == table
