"""Following the repository and deciding: nothing that answers makes way for what does not."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from heliograph.core.errors import Code, HeliographError
from heliograph.registry.catalog import Catalog
from heliograph.registry.releases import Change, Release, Shadow
from heliograph.registry.repository import Repository
from support.toys import Toy, Works, answers, catalog, look, states, until, write


@pytest.fixture
def works() -> Works:
    return Works()


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """A repository with two versions of `a`."""
    write(tmp_path, "a", 1)
    write(tmp_path, "a", 2)
    return tmp_path


def refused(work: Callable[[], object]) -> HeliographError:
    with pytest.raises(HeliographError) as failed:
        work()
    return failed.value


def in_background(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


# --- what comes ----------------------------------------------------------------------------------


def test_a_new_version_answers_when_it_is_loaded_and_not_before(
    tmp_path: Path, works: Works
) -> None:
    write(tmp_path, "a", 1)
    found = catalog(tmp_path, works=works)
    gate = works.hold("a@2")
    write(tmp_path, "a", 2)
    found.refresh()
    following = in_background(found.refresh)
    assert works.begun["a@2"].wait(20)
    assert answers(found) == "a@1"
    assert states(found) == {"1": "ready", "2": "loading"}
    assert not found.why_not_ready()
    gate.set()
    following.join(20)
    assert answers(found) == "a@2"
    until(lambda: states(found) == {"1": "unloaded", "2": "ready"})


def test_a_promotion_decided_elsewhere_loads_before_it_is_in_force(two: Path, works: Works) -> None:
    Repository([two]).write("a", Release(aliases={"stable": "1"}))
    found = catalog(two, works=works)
    assert states(found) == {"1": "ready", "2": "unloaded"}
    gate = works.hold("a@2")
    Repository([two]).write("a", Release(aliases={"stable": "2"}, history=("1",)))
    following = in_background(found.refresh)
    assert works.begun["a@2"].wait(20)
    assert answers(found) == "a@1"
    assert found.product("a").release.aliases == {"stable": "1"}
    gate.set()
    following.join(20)
    assert answers(found) == "a@2"


def test_a_release_that_names_a_broken_version_is_not_followed_until_it_is_mended(
    two: Path, works: Works, caplog: pytest.LogCaptureFixture
) -> None:
    Repository([two]).write("a", Release(aliases={"stable": "1"}))
    found = catalog(two, works=works)
    works.broken.add("a@2")
    Repository([two]).write("a", Release(aliases={"stable": "2"}))
    look(found)
    assert answers(found) == "a@1"
    assert "its release is not followed: version 2 did not load: a@2 is broken." in caplog.text
    assert not found.why_not_ready()
    works.broken.clear()
    (two / "a" / "2" / "notes.txt").write_text("mended")
    look(found)
    assert answers(found) == "a@2"


def test_a_broken_version_leaves_the_one_before_it_answering_also_after_a_restart(
    two: Path, works: Works
) -> None:
    works.broken.add("a@2")
    found = catalog(two, works=works)
    assert answers(found) == "a@1"
    assert found.product("a").shelves["2"].reason == "a@2 is broken."
    assert not found.why_not_ready()
    assert found.default("classification") is found.find("a")


def test_weights_that_come_later_are_tried_again(tmp_path: Path) -> None:
    def load(package: Any) -> None:
        if not (Path(package.folder) / "model.onnx").exists():
            raise HeliographError(Code.MODEL_UNAVAILABLE, "The model file is missing.")

    (write(tmp_path, "a", 1) / "model.onnx").touch()
    found = catalog(tmp_path, works=load)
    late = write(tmp_path, "a", 2)
    look(found)
    assert states(found) == {"1": "ready", "2": "failed"}
    look(found)
    (late / "model.onnx").touch()
    look(found)
    assert answers(found) == "a@2"


def test_a_folder_that_is_being_copied_is_let_be(tmp_path: Path) -> None:
    write(tmp_path, "a", 1)
    found = catalog(tmp_path)
    made = write(tmp_path, "a", 2)
    for size in range(3):
        (made / "model.onnx").write_bytes(b"x" * size)
        found.refresh()
        assert states(found) == {"1": "ready"}
    found.refresh()
    assert answers(found) == "a@2"


def test_who_decides_takes_what_lies_there_at_once(tmp_path: Path) -> None:
    write(tmp_path, "a", 1)
    found = catalog(tmp_path)
    write(tmp_path, "a", 2)
    found.promote("a", "2", "test")
    assert answers(found) == "a@2"


def test_a_version_that_is_changed_in_its_place_is_loaded_before_it_replaces_itself(
    tmp_path: Path, works: Works
) -> None:
    write(tmp_path, "a", 1, title="old")
    found = catalog(tmp_path, works=works)
    old = found.find("a")
    works.broken.add("a@1")
    shutil.rmtree(tmp_path / "a" / "1")
    write(tmp_path, "a", 1, title="new")
    look(found)
    assert found.find("a") is old, "the new one is broken"
    works.broken.clear()
    gate = works.hold("a@1")
    (tmp_path / "a" / "1" / "more").touch()
    found.refresh()
    following = in_background(found.refresh)
    assert works.begun["a@1"].wait(20)
    assert found.find("a") is old, "the new one is loading"
    gate.set()
    following.join(20)
    assert found.find("a").package.title == "new"
    until(lambda: old.state == "unloaded")


def test_what_is_damaged_while_it_serves_stays_as_it_was(
    two: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Repository([two]).write("a", Release(aliases={"stable": "1", "canary": "2"}))
    found = catalog(two)
    (two / "a" / "release.json").write_text('{"aliases": {"stable"')
    (two / "a" / "2" / "model.toml").write_text("name = ")
    for _ in range(3):
        look(found)
    assert answers(found) == "a@1"
    assert answers(found, version="canary") == "a@2"
    assert caplog.text.count("a/release.json") == 1, "told once, not at every look"
    assert refused(lambda: catalog(two)).code is Code.MODEL_INVALID


def test_labels_that_cannot_be_read_stop_no_look(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def make(package: Any) -> Toy:
        package.read_labels()
        if package.version == 3:
            raise HeliographError(Code.MODEL_INVALID, "Its index is not there.")
        return Toy(package, str)

    write(tmp_path, "a", 1)
    found = Catalog(Repository([tmp_path]), make)
    found.load_all()
    (write(tmp_path, "a", 2) / "labels.txt").write_bytes(b"\xff\xfe\xfa")
    write(tmp_path, "a", 3)
    write(tmp_path, "b", 1)
    look(found)
    assert answers(found) == "a@1"
    assert answers(found, "b") == "b@1"
    assert "a/2 is not served: a: its labels cannot be read as UTF-8" in caplog.text
    assert found.problems("a")["3"] == "Its index is not there."


def test_a_model_that_comes_broken_does_not_take_readiness_from_the_others(
    tmp_path: Path, works: Works
) -> None:
    write(tmp_path, "a", 1)
    found = catalog(tmp_path, works=works)
    works.broken.add("b@1")
    write(tmp_path, "b", 1)
    look(found)
    assert refused(lambda: found.find("b")).code is Code.MODEL_UNAVAILABLE
    assert not found.why_not_ready()
    assert "failed to load: b" in catalog(tmp_path, works=works).why_not_ready()


# --- what goes -----------------------------------------------------------------------------------


def test_files_of_a_version_that_is_named_may_go_while_it_answers(two: Path) -> None:
    found = catalog(two)
    found.promote("a", "1", "test")
    shutil.rmtree(two / "a" / "1")
    look(found)
    assert answers(found) == "a@1"
    assert refused(lambda: catalog(two)).detail.startswith("a/release.json: There is no version")
    found.promote("a", "2", "test")
    look(found)
    assert answers(found) == "a@2"
    error = refused(lambda: found.rollback("a", "test"))
    assert error.code is Code.CONFLICT, "version 1 is no more, and 2 is what answers"


def test_a_version_and_a_model_that_are_removed_are_gone(two: Path) -> None:
    write(two, "b", 1)
    found = catalog(two)
    last, other = found.find("a"), found.find("b")
    shutil.rmtree(two / "a" / "2")
    shutil.rmtree(two / "b")
    look(found)
    assert answers(found) == "a@1"
    assert refused(lambda: found.find("b")).code is Code.NOT_FOUND
    assert found.shadow("b") is None
    until(lambda: last.state == other.state == "unloaded")


def test_who_comes_back_in_time_stays_and_leaves_anew(two: Path) -> None:
    found = catalog(two, linger=0.4)
    found.promote("a", "1", "test")
    second = found.product("a").shelves["2"].model
    time.sleep(0.25)
    found.promote("a", "2", "back")
    time.sleep(0.25)
    assert second.state == "ready"
    found.promote("a", "1", "again")
    left = time.monotonic()
    until(lambda: second.state == "unloaded")
    assert time.monotonic() - left > 0.35, "the first leaving must not end the second one early"


def test_closing_leaves_nobody_to_be_unloaded(two: Path) -> None:
    found = catalog(two, linger=0.1)
    found.promote("a", "1", "test")
    found.close()
    found.promote("a", "2", "test")
    time.sleep(0.3)
    assert states(found) == {"1": "ready", "2": "ready"}


# --- deciding ------------------------------------------------------------------------------------


def test_two_who_decide_at_once_both_count_and_who_looked_too_early_is_told(
    two: Path, works: Works
) -> None:
    write(two, "a", 3)
    found = catalog(two, works=works)
    other = catalog(two)
    found.promote("a", "1", "begin")
    seen = found.product("a").release.etag

    def meanwhile() -> None:
        other.amend("a", Change(aliases={"old": "3"}))

    works.during["a@2"] = meanwhile
    found.promote("a", "2", "both")
    assert found.product("a").release.aliases == {"stable": "2", "old": "3"}
    error = refused(lambda: found.promote("a", "1", "late", match=seen))
    assert error.code is Code.CONFLICT
    assert "GET /api/v1/models/a/release" in error.detail
    assert answers(found) == "a@2"
    now = found.product("a").release.etag
    assert found.decide("a", Release(aliases={"stable": "3"}), match=now).aliases["stable"] == "3"


def test_what_came_while_one_decided_is_not_overlooked(two: Path, works: Works) -> None:
    found = catalog(two, works=works)
    works.during["a@1"] = lambda: write(two, "b", 1)
    found.promote("a", "1", "test")
    look(found)
    assert answers(found, "b") == "b@1"


def test_a_promotion_that_does_not_load_changes_nothing(two: Path, works: Works) -> None:
    found = catalog(two, works=works)
    found.promote("a", "1", "test")
    works.broken.add("a@2")
    shutil.rmtree(two / "a" / "2")
    write(two, "a", 2, title="broken")
    before = (two / "a" / "release.json").read_bytes()
    assert refused(lambda: found.promote("a", "2", "test")).code is Code.MODEL_INVALID
    assert (two / "a" / "release.json").read_bytes() == before
    assert answers(found) == "a@1"


def test_promoting_the_new_one_of_a_split_can_be_rolled_back(two: Path) -> None:
    found = catalog(two)
    found.promote("a", "1", "test")
    for share in (0.0001, 1e9):
        found.amend("a", Change(split={"1": 1, "2": share}))
        found.promote("a", "2", "test")
        assert found.product("a").release.history[-1] == "1"
        found.rollback("a", "test")
        assert answers(found) == "a@1"


@pytest.mark.parametrize(
    "change", [Change(split={"1": 90, "2": 10}), Change(shadow=Shadow(version="2"))]
)
def test_a_trial_pins_the_version_that_answered_before(two: Path, change: Change) -> None:
    found = catalog(two)
    found.unload("a", "2")
    assert answers(found) == "a@1"
    found.load("a", "2")
    found.decide("a", Release())
    found.unload("a", "2")
    found.amend("a", change)
    assert found.product("a").release.aliases["stable"] == "1"


def test_taking_a_split_back_gives_all_calls_to_the_version_before(tmp_path: Path) -> None:
    write(tmp_path, "a", 1)
    found = catalog(tmp_path)
    found.amend("a", Change(aliases={"stable": "1"}))
    write(tmp_path, "a", 2)
    found.amend("a", Change(aliases={"stable": None}, split={"1": 90, "2": 10}))
    found.rollback("a", "test")
    assert {answers(found) for _ in range(50)} == {"a@1"}


def test_unloading_what_answers_brings_the_one_before_it_first(two: Path, works: Works) -> None:
    found = catalog(two, works=works)
    gate = works.hold("a@1")
    unloading = in_background(lambda: found.unload("a", "2"))
    assert works.begun["a@1"].wait(20)
    assert answers(found) == "a@2"
    gate.set()
    unloading.join(20)
    assert answers(found) == "a@1"
    assert states(found) == {"1": "ready", "2": "unloaded"}


def test_all_of_a_model_out_of_service_and_in_it_again(two: Path) -> None:
    found = catalog(two)
    found.unload("a")
    assert states(found) == {"1": "unloaded", "2": "unloaded"}
    assert refused(lambda: found.find("a")).code is Code.MODEL_UNAVAILABLE
    assert refused(lambda: found.default("classification")).code is Code.MODEL_UNAVAILABLE
    assert not found.why_not_ready(), "what is out of service is not missed"
    look(found)
    assert states(found) == {"1": "unloaded", "2": "unloaded"}
    found.load("a")
    assert answers(found) == "a@2"


def test_a_version_that_was_loaded_stays_and_other_workers_load_it_too(two: Path) -> None:
    found, other = catalog(two), catalog(two)
    found.load("a", "1")
    for each in (found, other):
        look(each)
        assert answers(each, version="1") == "a@1"
        assert answers(each) == "a@2"
    found.unload("a", "1")
    look(other)
    until(lambda: states(other) == {"1": "unloaded", "2": "ready"})
    assert refused(lambda: other.find("a", "1")).code is Code.MODEL_UNAVAILABLE


def test_loading_again_what_failed_puts_it_into_service(two: Path, works: Works) -> None:
    works.broken.add("a@2")
    found = catalog(two, works=works)
    works.broken.clear()
    found.load("a", "2")
    assert answers(found) == "a@2"
    until(lambda: states(found) == {"1": "unloaded", "2": "ready"})


def test_versions_of_different_tasks_share_no_calls(tmp_path: Path) -> None:
    write(tmp_path, "a", 1)
    write(tmp_path, "a", 2, task="tensors", input=None, output=None)
    found = catalog(tmp_path)
    for change in (Change(split={"1": 1, "2": 1}), Change(shadow=Shadow(version="1"))):
        error = refused(lambda given=change: found.amend("a", given))
        assert error.code is Code.VALIDATION
        assert "different tasks" in error.detail


def test_the_default_of_a_task_does_not_change_because_it_is_broken(
    tmp_path: Path, works: Works
) -> None:
    works.broken.add("a@1")
    write(tmp_path, "a", 1)
    write(tmp_path, "b", 1)
    found = catalog(tmp_path, works=works)
    assert refused(lambda: found.default("classification")).code is Code.MODEL_UNAVAILABLE


def test_own_versions_stand_beside_built_in_ones(tmp_path: Path) -> None:
    built_in, own = tmp_path / "built-in", tmp_path / "own"
    write(built_in, "a", 1)
    found = catalog(built_in, own)
    found.amend("a", Change(aliases={"old": "1"}))
    assert (own / "a" / "release.json").exists()
    write(own, "a", 2)
    look(found)
    assert (answers(found), answers(found, version="old")) == ("a@2", "a@1")


def test_calls_go_on_while_versions_come_and_go(two: Path) -> None:
    """Threads that call all the time, a watcher, and operators in two processes' places."""
    found, other = catalog(two, linger=0.2), catalog(two, linger=0.2)
    found.promote("a", "1", "begin")
    other.refresh()
    lost: list[HeliographError] = []
    stop = threading.Event()

    def call(where: Catalog[Toy]) -> None:
        while not stop.is_set():
            try:
                model = where.find("a")
                model.resident.take()
                model.resident.give()
                time.sleep(0.001)
            except HeliographError as error:
                lost.append(error)

    def watch(where: Catalog[Toy]) -> None:
        while not stop.wait(0.003):
            where.refresh()

    threads = [in_background(lambda one=one: call(one)) for one in (found, other) for _ in range(2)]
    threads += [in_background(lambda one=one: watch(one)) for one in (found, other)]
    ends = time.monotonic() + 3.0
    turns = 0
    while time.monotonic() < ends:
        who = (found, other)[turns % 2]
        turns += 1
        who.promote("a", str(turns % 2 + 1), "swap")
        time.sleep(0.08 * (turns % 5))
    stop.set()
    for one in threads:
        one.join(20)
    assert lost == []
    assert turns >= 5
