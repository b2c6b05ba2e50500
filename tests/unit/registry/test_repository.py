"""The repository: what is read, what is told, and what is noticed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from heliograph.core.errors import Code, HeliographError
from heliograph.registry.releases import Release
from heliograph.registry.repository import Repository, find_packages
from support import models
from support.toys import write


def test_versions_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for version in (10, 9, 1):
        write(tmp_path, "a", version)
    models.write_card(tmp_path / "b", models.card("b", version=3))
    found = Repository([tmp_path]).scan()
    assert {name: list(one) for name, one in found.packages.items()} == {
        "a": ["1", "9", "10"],
        "b": ["3"],
    }
    assert find_packages([tmp_path])["a"].version == 10


@pytest.mark.parametrize("name", ["²", "٣", "0", "-1", "v2", "1.5", "9" * 30, ".5"])
def test_folders_that_are_no_versions_are_passed_over(tmp_path: Path, name: str) -> None:
    write(tmp_path, "a", 1)
    models.write_card(tmp_path / "a" / name, models.card("a"))
    found = Repository([tmp_path]).scan()
    assert list(found.packages["a"]) == ["1"]
    assert not found.problems


@pytest.mark.parametrize(
    ("table", "says"),
    [(models.card("a", version=7), "'a' version 7 lies in"), (models.card("b", version=2), "'b'")],
)
def test_a_version_in_a_folder_of_another_name(
    tmp_path: Path, table: dict[str, object], says: str
) -> None:
    write(tmp_path, "a", 1)
    models.write_card(tmp_path / "a" / "2", table)
    found = Repository([tmp_path]).scan()
    assert list(found.packages["a"]) == ["1"]
    assert says in found.problems["a/2"].detail
    assert not list(found.fatal()), "version 1 can be served"


def test_what_leaves_a_model_with_nothing_is_fatal(tmp_path: Path) -> None:
    (write(tmp_path, "a", 1) / "model.toml").write_text("name = ")
    models.write_card(tmp_path / "b", models.card("b", task="magic"))
    write(tmp_path, "c", 1)
    (tmp_path / "c" / "release.json").write_text("{}x")
    write(tmp_path, "d", 1)
    (tmp_path / "d" / "release.json").mkdir()
    found = Repository([tmp_path]).scan()
    assert sorted(found.problems) == ["a/1", "b/b", "c", "d"]
    assert len(list(found.fatal())) == 4
    with pytest.raises(HeliographError) as failed:
        find_packages([tmp_path])
    assert failed.value.code is Code.MODEL_INVALID


@pytest.mark.parametrize(
    "release",
    [
        {"aliases": {"stable": 1}},
        {"stable": "1"},
        {"split": {"1": -1}},
        {"shadow": {"version": "1", "share": 2}},
        {"gates": {"errors": 0}},
    ],
)
def test_a_release_with_a_wrong_field_is_named(tmp_path: Path, release: object) -> None:
    write(tmp_path, "a", 1)
    (tmp_path / "a" / "release.json").write_text(json.dumps(release))
    found = Repository([tmp_path]).scan()
    assert found.problems["a"].detail.startswith("a/release.json: ")
    with pytest.raises(HeliographError):
        Repository([tmp_path]).release("a")


def test_every_change_that_matters_changes_the_stamp(tmp_path: Path) -> None:
    made = write(tmp_path, "a", 1)
    repository = Repository([tmp_path])
    stamps = [repository.stamp()]
    assert repository.stamp() == stamps[0]
    for change in (
        lambda: repository.write("a", Release(reason="one")),
        lambda: (made / "model.onnx").write_bytes(b"x"),
        lambda: (made / "deep").mkdir() or (made / "deep" / "part").write_bytes(b"y"),
        lambda: (made / "deep" / "part").write_bytes(b"yy"),
        lambda: write(tmp_path, "a", 2),
        (made / "model.onnx").unlink,
        (tmp_path / "a" / "release.json").unlink,
    ):
        change()
        stamps.append(repository.stamp())
    assert len(set(stamps)) == len(stamps)
    with repository.turn("a"):
        (made / ".hidden").touch()
    assert repository.stamp() == stamps[-1]


def test_only_the_named_models(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path, name, 1)
    repository = Repository([tmp_path], ["b"])
    before = repository.stamp()
    write(tmp_path, "a", 2)
    assert list(repository.scan().packages) == ["b"]
    assert repository.stamp() == before


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file where a folder should be")
    repository = Repository([tmp_path / "models"])
    with pytest.raises(HeliographError) as failed:
        repository.write("a", Release())
    assert failed.value.code is Code.STORAGE_FULL
    assert str(tmp_path) not in failed.value.detail
    with pytest.raises(HeliographError) as failed, repository.turn("a"):
        pass
    assert failed.value.code is Code.STORAGE_FULL


def test_a_release_that_cannot_be_put_in_place_leaves_nothing_lying(tmp_path: Path) -> None:
    (tmp_path / "a" / "release.json" / "x").mkdir(parents=True)
    with pytest.raises(HeliographError):
        Repository([tmp_path]).write("a", Release())
    assert [one.name for one in (tmp_path / "a").iterdir()] == ["release.json"]
