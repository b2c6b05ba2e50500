"""What appears in a watched place is taken once it is whole, served, let go, and taken back."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliograph.core.errors import Code, HeliographError
from heliograph.registry.catalog import Catalog
from heliograph.registry.importing.finding import find_model
from heliograph.registry.importing.places import Entry, LocalPlace
from heliograph.registry.importing.values import Format
from heliograph.registry.importing.watching import Rules, Trial, Watcher
from heliograph.registry.values import ModelPackage, read_package
from support import foreign, models, toys, watched
from support.watched import put

LOG = "heliograph.registry"


class House:
    """A data folder, what is served from it, and a folder that is watched."""

    def __init__(self, root: Path) -> None:
        self.home, self.root = root / "home", root / "place"
        self.root.mkdir(exist_ok=True)
        self.catalog: Catalog[Any] = toys.catalog(self.home / "models")
        self.tried: list[str] = []
        self.watcher = self.watch()

    def watch(self, *, trial: Trial | None = None, rules: Rules | None = None) -> Watcher:
        """A new process, as it were, after the last one has ended."""
        if hasattr(self, "watcher"):
            self.watcher.close()
        self.watcher = Watcher(
            LocalPlace(self.root),
            str(self.root),
            self.home,
            self.catalog,
            trial or self._try,
            rules or Rules(),
        )
        return self.watcher

    def _try(self, home: Path, package: ModelPackage) -> None:
        assert read_package(home / "models" / package.name / str(package.version)) == package
        self.tried.append(package.name)

    def look(self, times: int = 3) -> None:
        for _ in range(times):
            self.watcher.look()
            toys.look(self.catalog)

    def served(self, name: str = "two") -> list[str]:
        product = self.catalog.products.get(name)
        if product is None:
            return []
        return [one for one in product.versions if product.release.serves(one)]

    def package(self, name: str = "two", version: int = 1) -> ModelPackage:
        return read_package(self.home / "models" / name / str(version))


def anything(home: Path, package: ModelPackage) -> None:
    """A trial that everything passes."""


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.watcher.close()


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, LOG)
    return caplog


def two(*versions: int) -> dict[str, bytes]:
    return {f"two/{one}/model.onnx": watched.model(one) for one in versions}


# --- what comes ----------------------------------------------------------------------------------


def test_a_version_is_taken_under_its_number_as_a_strangers(house: House) -> None:
    put(house.root, {"two/1700000000/model.onnx": watched.model(1)})
    house.look()
    assert house.served() == ["1700000000"]
    package = house.package(version=1700000000)
    assert (package.foreign, package.task, package.version) == (True, "tensors", 1700000000)
    assert "watched place" in package.provenance
    assert str(house.root) not in package.provenance
    assert house.tried == ["two"]
    assert [one.name for one in (house.home / "models").iterdir()] == ["two"]


def test_what_still_changes_is_let_be(house: House) -> None:
    whole = watched.model(1)
    for size in (10, 20, 30, len(whole)):
        put(house.root, {"two/1/model.onnx": whole[:size]})
        house.look(1)
        assert house.served() == []
    house.look(2)
    assert house.served() == ["1"]


def test_labels_beside_a_model_belong_to_it(house: House) -> None:
    put(house.root, {"net/labels.txt": b"left\nright\n", "net/config.pbtxt": b'name: "net"'})
    put(house.root, {"net/3/model.onnx": detector()})
    house.look()
    package = house.package("net", 3)
    assert package.task == "detection"
    assert package.read_labels() == ("left", "right")


def detector() -> bytes:
    notes = {"task": "detect", "stride": "32", "imgsz": "[64, 64]", "author": "Ultralytics"}
    return foreign.yolo_v8(notes=notes).SerializeToString(deterministic=True)


def test_what_nothing_tells_is_served_as_plain_tensors_and_said(
    house: House, log: pytest.LogCaptureFixture
) -> None:
    made = foreign.classifier(1000).SerializeToString(deterministic=True)
    put(house.root, {"net/1/model.onnx": made})
    house.look()
    assert house.package("net").task == "tensors"
    assert "watched net/1 is served as plain tensors: nothing says --scaling" in log.text


def test_tritons_savedmodel_folders_are_found(tmp_path: Path) -> None:
    put(tmp_path, {"net/config.pbtxt": b"", "net/1/model.savedmodel/saved_model.pb": b"\x08\x01"})
    found = find_model(tmp_path / "net", tmp_path)
    assert (found.format, found.main.name) == (Format.SAVED_MODEL, "model.savedmodel")
    assert found.around == tmp_path / "net"


# --- what is refused -----------------------------------------------------------------------------


def test_a_refusal_is_told_once_and_stops_nobody_else(
    house: House, log: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    marker = tmp_path / "pwned"
    put(house.root, {"bad/1/model.pkl": foreign.pickled(marker, 4), "Bad/1/model.onnx": b"x"})
    put(house.root, {"two/3/model.onnx": foreign.pickled(marker, 2), **two(1)})
    house.look(6)
    assert house.served() == ["1"]
    assert not marker.exists()
    told = [one.getMessage() for one in log.records if "refused" in one.getMessage()]
    assert sorted(one.partition(":")[0] for one in told) == [
        "watched Bad/1 is refused [validation]",
        "watched bad/1 is refused [unsafe_format]",
        "watched two/3 is refused [model_format]",
    ]
    put(house.root, {"two/3/model.onnx": watched.model(3)})
    house.look()
    assert house.served() == ["1", "3"], "what was put right is looked at again"


def test_what_fails_its_trial_is_not_kept(house: House, log: pytest.LogCaptureFixture) -> None:
    def trial(home: Path, package: ModelPackage) -> None:
        del home, package
        raise HeliographError(Code.MODEL_CRASHED_ON_LOAD, "It ended its worker.")

    house.watch(trial=trial)
    put(house.root, two(1))
    house.look()
    assert not list((house.home / "models").iterdir())
    assert log.text.count("[model_crashed_on_load]") == 1


def test_other_content_under_the_same_number_is_refused(
    house: House, log: pytest.LogCaptureFixture
) -> None:
    put(house.root, two(1))
    house.look()
    before = house.package()
    put(house.root, {"two/1/model.onnx": watched.model(2)})
    house.look(5)
    assert (house.package(), house.served()) == (before, ["1"])
    assert log.text.count("watched two/1 is refused [conflict]") == 1
    assert "versions never change" in log.text
    put(house.root, two(1))
    house.look()
    assert log.text.count("refused") == 1, "the old content is no news"


def test_a_number_that_somebody_else_has_given_is_not_overrun(
    house: House, log: pytest.LogCaptureFixture
) -> None:
    models.version_package(house.home, 1, "two")
    put(house.root, two(1))
    house.look()
    assert house.package().title == "Mean colour"
    assert "[conflict]" in log.text


def test_a_fault_of_ours_is_told_and_stops_nobody_else(
    house: House, log: pytest.LogCaptureFixture
) -> None:
    def trial(home: Path, package: ModelPackage) -> None:
        del home
        if package.name == "a":
            raise RuntimeError("a bug")

    house.watch(trial=trial)
    put(house.root, {"a/1/model.onnx": watched.model(1), **two(1)})
    house.look(6)
    assert house.served() == ["1"]
    assert log.text.count("watched a/1 cannot be imported") == 1, "tried again only after a while"


# --- what goes -----------------------------------------------------------------------------------


def test_a_version_that_goes_makes_way_and_comes_back(house: House) -> None:
    put(house.root, two(1, 2))
    house.look()
    assert toys.answers(house.catalog, "two") == "two@2"
    shutil.move(house.root / "two" / "2", house.root.parent / "away")
    house.look(1)
    assert house.served() == ["1", "2"], "one look is not enough"
    house.look(2)
    assert toys.answers(house.catalog, "two") == "two@1"
    assert "gone" in house.catalog.product("two").release.reason
    shutil.move(house.root.parent / "away", house.root / "two" / "2")
    house.look()
    assert toys.answers(house.catalog, "two") == "two@2"
    assert house.tried == ["two", "two"], "it is not imported again"


def test_the_model_goes_with_its_last_version(house: House) -> None:
    put(house.root, two(1))
    house.look()
    shutil.rmtree(house.root / "two")
    house.look()
    assert house.served() == []
    assert toys.states(house.catalog, "two") == {"1": "unloaded"}
    put(house.root, two(2))
    house.look()
    assert toys.answers(house.catalog, "two") == "two@2"
    assert house.served() == ["2"], "the first one is still gone"


def test_the_same_content_copied_anew_is_the_same_version(house: House) -> None:
    put(house.root, two(1, 2))
    house.look()
    shutil.rmtree(house.root / "two" / "2")
    house.look()
    put(house.root, two(2))
    house.look(4)
    assert house.served() == ["1", "2"]


def test_a_wrong_content_in_between_does_not_keep_a_version_out(house: House) -> None:
    put(house.root, two(1, 2))
    house.look()
    for data in (watched.model(3), watched.model(2)):
        shutil.rmtree(house.root / "two" / "2")
        house.look()
        assert house.served() == ["1"]
        put(house.root, {"two/2/model.onnx": data})
        house.look()
    assert house.served() == ["1", "2"]


def test_what_an_operator_took_out_stays_out(house: House) -> None:
    put(house.root, two(1, 2))
    house.look()
    house.catalog.unload("two", "2")
    shutil.move(house.root / "two" / "2", house.root.parent / "away")
    house.look()
    shutil.move(house.root.parent / "away", house.root / "two" / "2")
    house.look()
    assert house.served() == ["1"]


def test_a_place_that_cannot_be_read_has_lost_nothing(
    house: House, log: pytest.LogCaptureFixture
) -> None:
    put(house.root, two(1))
    house.look()
    house.root.rename(house.root.parent / "away")
    house.look(5)
    assert house.served() == ["1"]
    assert log.text.count("the watched place: [not_found]") == 1
    (house.root.parent / "away").rename(house.root)
    house.look()
    assert house.served() == ["1"]


def test_files_taken_from_the_data_folder_are_brought_again(house: House) -> None:
    put(house.root, two(1))
    house.look()
    shutil.rmtree(house.home / "models" / "two")
    toys.look(house.catalog)
    assert house.served() == []
    house.look()
    assert house.served() == ["1"]


# --- packages of ours ----------------------------------------------------------------------------


def colour(house: House, version: int = 4, **changes: Any) -> Path:
    """A package in the watched place."""
    made = models.version_package(house.root.parent / "maker", version, **changes)
    target = house.root / "colour" / str(version)
    shutil.copytree(made.folder, target)
    return target


def test_a_package_is_taken_as_it_is_but_as_a_strangers(house: House) -> None:
    place = colour(house)
    (place / "model.sig").write_bytes(b"of another text")
    given = read_package(place)
    house.look()
    package = house.package("colour", 4)
    assert (given.foreign, package.foreign) == (False, True)
    assert (package.output, package.input, package.weights) == (
        given.output, given.input, given.weights,
    )  # fmt: skip
    assert package.read_labels()[0] == "red 4"
    assert not Path(package.folder, "model.sig").exists()


def test_a_strangers_package_keeps_its_signature(house: House) -> None:
    place = colour(house, foreign=True)
    (place / "model.sig").write_bytes(b"a signature")
    house.look()
    for name in ("model.sig", "model.toml"):
        there = (house.home / "models" / "colour" / "4" / name).read_bytes()
        assert there == (place / name).read_bytes()


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ('name = "colour"', 'name = "other"', "model_invalid"),
        ("version = 4", "version = 5", "model_invalid"),
        ("[weights]", '[weights]\nsource = "pypi:a==1/b"', "model_external_data"),
        ("[weights]", '[weights]\nrecipe = "hed"', "model_external_data"),
        ("version = 4", 'version = 4\nrequires = ["a==1"]', "model_external_data"),
        ('"model.onnx"', '"../1/model.onnx"', "model_invalid"),
        ('"model.onnx"', '"none.onnx"', "model_invalid"),
        ("[weights]", "[weights", "model_invalid"),
    ],
    ids=["name", "version", "source", "recipe", "requires", "climbing", "missing", "broken"],
)
def test_packages_that_reach_outside_or_lie_are_refused(
    house: House, log: pytest.LogCaptureFixture, old: str, new: str, code: str
) -> None:
    place = colour(house)
    card = (place / "model.toml").read_text("utf-8")
    assert old in card
    (place / "model.toml").write_text(card.replace(old, new, 1), "utf-8")
    house.look()
    assert house.served("colour") == []
    assert f"watched colour/4 is refused [{code}]" in log.text


def test_a_packages_model_is_checked_as_any(house: House, log: pytest.LogCaptureFixture) -> None:
    place = colour(house)
    (place / "model.onnx").write_bytes(foreign.pickled(house.home / "pwned", 4))
    house.look()
    assert "watched colour/4 is refused [model_format]" in log.text


def test_where_only_signed_models_are_served_a_bare_one_is_refused(
    house: House, log: pytest.LogCaptureFixture
) -> None:
    house.watch(rules=Rules(signed=True))
    put(house.root, two(1))
    house.look()
    assert house.served() == []
    assert "watched two/1 is refused [model_signature]" in log.text


def test_where_only_signed_models_are_served_a_signed_package_is_taken(house: House) -> None:
    pytest.importorskip("model_signing")
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    from heliograph.registry.signing import sign

    key = ec.generate_private_key(ec.SECP256R1())
    private = house.root.parent / "key.pem"
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    private.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    (house.home / "trust").mkdir(parents=True)
    public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    (house.home / "trust" / "ours.pub").write_bytes(public)
    sign(colour(house, foreign=True), private)
    colour(house, 5, foreign=True)
    house.watch(rules=Rules(signed=True))
    house.look()
    assert house.served("colour") == ["4"]


# --- restarts and other processes ----------------------------------------------------------------


def test_a_restart_asks_nothing_twice(house: House, log: pytest.LogCaptureFixture) -> None:
    put(house.root, {"bad/1/model.pkl": b"\x80\x04N.", **two(1, 2)})
    house.look()
    shutil.rmtree(house.root / "two" / "2")
    log.clear()
    house.watch()
    house.look()
    assert house.served() == ["1"], "it went while nobody looked"
    assert [one.getMessage() for one in log.records if "watched" in one.getMessage()] == [
        "two: version 2 is gone from the watched place",
        "watched two/2 is gone; it is out of service",
    ]
    assert house.tried == ["two", "two"]


def test_other_rules_ask_again_what_was_refused(
    house: House, log: pytest.LogCaptureFixture
) -> None:
    put(house.root, {"bad/1/model.pkl": b"\x80\x04N."})
    house.look()
    house.watch(rules=Rules(allow=frozenset({Format.TORCHSCRIPT})))
    house.look()
    assert log.text.count("watched bad/1 is refused [unsafe_format]") == 2


def test_a_state_that_is_lost_or_broken_is_made_anew(house: House) -> None:
    put(house.root, two(1))
    house.look()
    for text in (None, b"", b"{", b'{"versions": 3}', b"\xff"):
        state = house.home / "watched.json"
        state.unlink()
        if text is not None:
            state.write_bytes(text)
        house.watch()
        house.look()
        assert house.served() == ["1"]
        assert b"two/1" in state.read_bytes()


def test_of_two_processes_one_looks(house: House) -> None:
    first = house.watcher
    first.look()
    second = Watcher(LocalPlace(house.root), "place", house.home, house.catalog, anything, Rules())
    put(house.root, two(1))
    for _ in range(4):
        second.look()
    toys.look(house.catalog)
    assert house.served() == []
    first.close()
    for _ in range(3):
        second.look()
    toys.look(house.catalog)
    assert house.served() == ["1"], "it takes over"
    second.close()


def test_what_a_killed_process_left_behind_is_cleared_away(house: House) -> None:
    left = house.home / "models" / ".watching-abc" / "given"
    left.mkdir(parents=True)
    others = house.home / "models" / ".importing-abc"
    others.mkdir()
    house.look(1)
    assert not left.parent.exists()
    assert others.exists(), "a command may be at work there"


def test_only_named_models_are_looked_at(house: House) -> None:
    house.watch(rules=Rules(only=frozenset({"two"})))
    put(house.root, {"other/1/model.pkl": b"\x80\x04N.", **two(1)})
    house.look()
    assert house.served() == ["1"]


def test_a_stop_leaves_things_as_they_are(house: House) -> None:
    put(house.root, two(1))
    stopping = Watcher(
        LocalPlace(house.root), str(house.root), house.home, house.catalog,
        anything, Rules(), lambda: True,
    )  # fmt: skip
    for _ in range(4):
        stopping.look()
    stopping.close()
    assert not list((house.home / "models").glob("*"))


class Fickle:
    """A place whose files cannot be had for a while."""

    def __init__(self, place: LocalPlace) -> None:
        self._place = place
        self.wrong: HeliographError | None = None
        self.asked = 0

    def look(self) -> list[Entry]:
        return self._place.look()

    def copy(self, entry: Entry, target: Path) -> None:
        self.asked += 1
        if self.wrong:
            raise self.wrong
        self._place.copy(entry, target)


def test_what_fails_for_the_moment_is_tried_again_after_a_while(
    house: House, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Fickle(LocalPlace(house.root))
    place.wrong = HeliographError(Code.MODEL_UNAVAILABLE, "not now")
    house.watcher.place = place
    put(house.root, two(1))
    house.look(6)
    assert (place.asked, log.text.count("[model_unavailable]")) == (1, 1)
    from heliograph.registry.importing import watching

    now = watching.time.monotonic()
    monkeypatch.setattr(watching.time, "monotonic", lambda: now + 61)
    house.look(2)
    assert (place.asked, log.text.count("[model_unavailable]")) == (2, 1)
    place.wrong = None
    monkeypatch.setattr(watching.time, "monotonic", lambda: now + 200)
    house.look(2)
    assert house.served() == ["1"]


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "other", "drop", "look", "restart"]), st.sampled_from([1, 2])
    ),
    max_size=8,
)


@settings(max_examples=25, deadline=None)
@given(_STEPS)
def test_whatever_happened_what_lies_there_as_it_was_taken_is_served(
    steps: list[tuple[str, int]],
) -> None:
    """After some looks: a version is served if its files are those that its number first had."""
    with tempfile.TemporaryDirectory() as folder:
        house = House(Path(folder))
        first: dict[int, bytes] = {}
        there: dict[int, bytes] = {}

        def look() -> None:
            house.look()
            for version, data in there.items():
                first.setdefault(version, data)

        for what, version in steps:
            place = house.root / "two" / str(version)
            if what in {"put", "other"}:
                there[version] = watched.model(version if what == "put" else 3)
                put(place, {"model.onnx": there[version]})
            elif what == "drop":
                there.pop(version, None)
                shutil.rmtree(place, ignore_errors=True)
            elif what == "restart":
                house.watch()
            else:
                look()
        look()
        served = set(house.served())
        right = {str(one) for one, data in there.items() if data == first[one]}
        assert right <= served
        assert served - right <= {str(one) for one in there}, "what is gone is not served"
        house.watcher.close()
