"""The catalog: defaults, states, and what is said while a model is not there."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from heliograph.core.errors import Code, HeliographError
from heliograph.registry.catalog import Catalog, find_packages
from heliograph.registry.values import ModelPackage, read_package
from support import models


def package(tmp_path: Path, name: str, *, default: bool = False) -> ModelPackage:
    folder = models.write_card(tmp_path / name, models.card(name, default=default))
    return read_package(folder)


def catalog_of(*packages: ModelPackage) -> Catalog[str]:
    return Catalog({one.name: one for one in packages}, lambda one: f"model {one.name}")


def refusal(found: Catalog[str], name: str, version: str = "") -> HeliographError:
    with pytest.raises(HeliographError) as failed:
        found.find(name, version)
    return failed.value


def test_the_default_of_a_task_is_the_marked_one_else_the_first_by_name(tmp_path: Path) -> None:
    names = ("c", "a", "b")
    found = catalog_of(*(package(tmp_path, one, default=one == "b") for one in names))
    found.load_all()
    assert found.default("classification") == "model b"
    found = catalog_of(*(package(tmp_path, one) for one in names))
    found.load_all()
    assert found.default("classification") == "model a"


def test_a_task_without_a_model_and_no_task_at_all(tmp_path: Path) -> None:
    found = catalog_of(package(tmp_path, "a"))
    for task, says in (("detection", "No model for detection"), ("x" * 99, "no task")):
        with pytest.raises(HeliographError, match=says) as failed:
            found.default(task)
        assert failed.value.code is Code.NOT_FOUND
        assert len(failed.value.detail) < 120


@pytest.mark.parametrize(("name", "version"), [("b", ""), ("a", "2"), ("", ""), ("a", "01")])
def test_no_such_model_or_version(tmp_path: Path, name: str, version: str) -> None:
    found = catalog_of(package(tmp_path, "a"))
    found.load_all()
    assert refusal(found, name, version).code is Code.NOT_FOUND
    assert found.find("a", "1") == "model a"


def test_while_it_loads_a_model_is_unavailable_for_a_moment(tmp_path: Path) -> None:
    gate = threading.Event()

    def load(one: ModelPackage) -> str:
        assert gate.wait(20)
        return one.name

    found = Catalog({"a": package(tmp_path, "a")}, load)
    found.load_in_background()
    error = refusal(found, "a")
    assert (error.code, error.retry_after) == (Code.MODEL_UNAVAILABLE, 1.0)
    assert "still loading" in error.detail
    assert found.why_not_ready() == "loading a"
    gate.set()
    while found.why_not_ready():
        pass
    assert found.find("a") == "a"


def test_a_model_that_fails_says_why_and_hurts_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def load(one: ModelPackage) -> str:
        if one.name == "bad":
            raise HeliographError(Code.MODEL_INVALID, "The file is not the pinned one.")
        if one.name == "worse":
            raise ZeroDivisionError("a secret of ours")
        return one.name

    names = ("bad", "good", "worse")
    found = Catalog({one: package(tmp_path, one) for one in names}, load)
    found.load_all()
    assert found.find("good") == "good"
    assert found.why_not_ready() == "failed to load: bad, worse"
    error = refusal(found, "bad")
    assert (error.code, error.retry_after) == (Code.MODEL_UNAVAILABLE, None)
    assert "not the pinned one" in error.detail
    assert "secret" not in refusal(found, "worse").detail
    assert "a secret of ours" in caplog.text, "the operator sees it"
    assert [one.state for one in found.shelves] == ["failed", "ready", "failed"]


def test_a_later_folder_replaces_a_package_of_an_earlier_one(tmp_path: Path) -> None:
    package(tmp_path / "one", "a")
    package(tmp_path / "one", "b")
    package(tmp_path / "two", "b", default=True)
    (tmp_path / "two" / "no-package").mkdir()
    found = find_packages([tmp_path / "one", tmp_path / "two", tmp_path / "absent"])
    assert sorted(found) == ["a", "b"]
    assert found["b"].default
