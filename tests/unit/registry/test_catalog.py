"""The catalog: defaults, states, and what is said while a model is not there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from heliograph.core.errors import Code, HeliographError
from heliograph.registry.catalog import Catalog
from heliograph.registry.repository import Repository, find_packages
from heliograph.registry.values import ModelPackage, read_package
from heliograph.runtimes.identity import IdentityRunner
from heliograph.serving.resident import Copies, Resident
from support import models


class Toy:
    """A model that is loaded by calling something."""

    def __init__(self, package: ModelPackage, work: Callable[[ModelPackage], object]) -> None:
        self.package = package
        self._resident = Resident(lambda: Copies(self._open(work)))

    def _open(self, work: Callable[[ModelPackage], object]) -> IdentityRunner:
        work(self.package)
        return IdentityRunner()

    def __eq__(self, other: object) -> bool:
        return f"{self.package.name}@{self.package.version}" == other

    __hash__ = object.__hash__

    @property
    def state(self) -> str:
        return self._resident.state

    @property
    def reason(self) -> str:
        return self._resident.reason

    @property
    def takes_calls(self) -> bool:
        return self._resident.takes_calls

    def refusal(self) -> HeliographError:
        return self._resident.refusal()

    def load(self) -> None:
        self._resident.load()

    def unload(self) -> None:
        self._resident.unload()


def package(tmp_path: Path, name: str, *, default: bool = False) -> ModelPackage:
    folder = models.write_card(tmp_path / name, models.card(name, default=default))
    return read_package(folder)


def catalog_of(folder: Path, work: Callable[[ModelPackage], object] = str) -> Catalog[Toy]:
    return Catalog(Repository([folder]), lambda one: Toy(one, work))


def refusal(found: Catalog[Toy], name: str, version: str = "") -> HeliographError:
    with pytest.raises(HeliographError) as failed:
        found.find(name, version)
    return failed.value


def test_the_default_of_a_task_is_the_marked_one_else_the_first_by_name(tmp_path: Path) -> None:
    names = ("c", "a", "b")
    for one in names:
        package(tmp_path / "marked", one, default=one == "b")
        package(tmp_path / "plain", one)
    found = catalog_of(tmp_path / "marked")
    found.load_all()
    assert found.default("classification") == "b@1"
    found = catalog_of(tmp_path / "plain")
    found.load_all()
    assert found.default("classification") == "a@1"


def test_a_task_without_a_model_and_no_task_at_all(tmp_path: Path) -> None:
    package(tmp_path, "a")
    found = catalog_of(tmp_path)
    for task, says in (("detection", "No model for detection"), ("x" * 99, "no task")):
        with pytest.raises(HeliographError, match=says) as failed:
            found.default(task)
        assert failed.value.code is Code.NOT_FOUND
        assert len(failed.value.detail) < 120


@pytest.mark.parametrize(("name", "version"), [("b", ""), ("a", "2"), ("", ""), ("a", "01")])
def test_no_such_model_or_version(tmp_path: Path, name: str, version: str) -> None:
    package(tmp_path, "a")
    found = catalog_of(tmp_path)
    found.load_all()
    assert refusal(found, name, version).code is Code.NOT_FOUND
    assert found.find("a", "1") == "a@1"


def test_while_it_loads_a_model_is_unavailable_for_a_moment(tmp_path: Path) -> None:
    gate = threading.Event()

    def load(one: ModelPackage) -> str:
        assert gate.wait(20)
        return one.name

    package(tmp_path, "a")
    found = catalog_of(tmp_path, load)
    found.load_in_background()
    error = refusal(found, "a")
    assert (error.code, error.retry_after) == (Code.MODEL_UNAVAILABLE, 1.0)
    assert "still loading" in error.detail
    assert found.why_not_ready() == "loading a"
    gate.set()
    while found.why_not_ready():
        pass
    assert found.find("a") == "a@1"


def test_a_model_that_fails_says_why_and_hurts_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def load(one: ModelPackage) -> str:
        if one.name == "bad":
            raise HeliographError(Code.MODEL_INVALID, "The file is not the pinned one.")
        if one.name == "worse":
            raise ZeroDivisionError("a secret of ours")
        return one.name

    for one in ("bad", "good", "worse"):
        package(tmp_path, one)
    found = catalog_of(tmp_path, load)
    found.load_all()
    assert found.find("good") == "good@1"
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
