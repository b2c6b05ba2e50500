"""What lies in a watched place: which files are whose, and that only plain ones are copied."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph.core.errors import Code, HeliographError
from heliograph.registry.importing import places
from heliograph.registry.importing.places import (
    Entry,
    LocalPlace,
    Moved,
    Sighting,
    check_place,
    fetch,
    group,
)
from heliograph.settings import read_settings
from support.watched import put

SECRET = b"not yours"


def seen(*paths: str, size: int = 1) -> list[Sighting]:
    return group([Entry(path, size, "m") for path in paths])


def refusal(one: Sighting) -> HeliographError:
    with pytest.raises(HeliographError) as failed:
        one.check()
    return failed.value


# --- which files are whose -----------------------------------------------------------------------


def test_the_layouts_of_others_are_understood() -> None:
    found = seen(
        "served/1700000000/saved_model.pb",
        "served/1700000000/variables/variables.index",
        "triton/config.pbtxt",
        "triton/labels.txt",
        "triton/1/model.onnx",
        "triton/003/model.savedmodel/saved_model.pb",
        "ours/2/model.toml",
    )
    assert [(one.key, one.folders) for one in found] == [
        ("ours/2", ("2",)),
        ("served/1700000000", ("1700000000",)),
        ("triton/1", ("1",)),
        ("triton/3", ("003",)),
    ]
    assert [one.path for one in found[2].beside] == ["triton/config.pbtxt", "triton/labels.txt"]
    for one in found:
        one.check()


@pytest.mark.parametrize(
    "path",
    [
        "README.md",
        "model.onnx",
        "net/model.onnx",
        "net/latest/model.onnx",
        "net/1",
        "net/\u0661/model.onnx",
        ".git/1/a",
        "net/.tmp/1",
        "net/1/.model.onnx.part",
        "net/-1/model.onnx",
    ],
)
def test_what_is_no_version_is_nobodys(path: str) -> None:
    assert seen(path) == []


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("Net/1/a", Code.VALIDATION),
        ("a..b/1/a", Code.VALIDATION),
        ("con/1/a", Code.VALIDATION),
        ("net/0/a", Code.VALIDATION),
        ("net/" + "9" * 19 + "/a", Code.VALIDATION),
        ("net/" + "9" * 9000 + "/a", Code.VALIDATION),
        ("net/1/../../a", Code.MODEL_INVALID),
        ("net/1/./a", Code.MODEL_INVALID),
        ("net/1//a", Code.MODEL_INVALID),
        ("net/1/a\\b", Code.MODEL_INVALID),
        ("net/1/a\nb", Code.MODEL_INVALID),
        ("net/1/" + "a" * 300, Code.MODEL_INVALID),
    ],
)
def test_names_and_paths_that_cannot_be_are_refused(path: str, code: Code) -> None:
    (one,) = seen(path)
    assert refusal(one).code is code


def test_two_folders_of_one_number_are_refused() -> None:
    (one,) = seen("net/1/a", "net/01/a")
    assert "01, 1" in refusal(one).detail


def test_a_file_that_is_a_folder_too_is_refused() -> None:
    (one,) = seen("net/1/a", "net/1/a/b")
    assert refusal(one).code is Code.MODEL_INVALID


def test_too_much_is_refused_before_anything_is_read() -> None:
    (large,) = seen("net/1/a", size=17 << 30)
    (many,) = seen(*(f"net/1/{number}" for number in range(10_001)))
    assert refusal(large).code is Code.MODEL_RESOURCE_LIMIT
    assert refusal(many).code is Code.MODEL_RESOURCE_LIMIT


_PARTS = st.sampled_from(["a", "b", "1", "2", "02", "0", ".", "..", ".x", "labels.txt", "m.onnx"])
_PATHS = st.lists(_PARTS, min_size=1, max_size=4).map("/".join)


@given(st.lists(st.builds(Entry, _PATHS, st.integers(0, 9), st.just("m"), st.booleans())))
def test_every_file_is_of_one_version_at_most(entries: list[Entry]) -> None:
    found = group(entries)
    assert len({one.key for one in found}) == len(found)
    owned = [entry for one in found for entry in one.files]
    assert sorted(map(repr, owned)) == sorted(
        repr(one) for one in entries if any(one in each.files for each in found)
    )
    for one in found:
        assert {entry.path.split("/")[0] for entry in (*one.files, *one.beside)} == {one.name}


@given(st.lists(st.builds(Entry, _PATHS, st.integers(0, 9), st.sampled_from("xy")), max_size=6))
def test_fingerprints_tell_contents_apart_whatever_their_order(entries: list[Entry]) -> None:
    there = {one.key: one.mark for one in group(entries)}
    assert there == {one.key: one.mark for one in group(reversed(entries))} or len(
        {one.path for one in entries}
    ) < len(entries)
    other = group([Entry(one.path, one.size + 1, one.mark) for one in entries])
    assert all(one.mark != there[one.key] for one in other)


# --- a folder ------------------------------------------------------------------------------------


def copied(root: Path, target: Path) -> Path:
    """The one version there, copied."""
    place = LocalPlace(root)
    (one,) = group(place.look())
    one.check()
    target.mkdir()
    return fetch(place, one, target)


def test_a_version_is_copied_with_what_lies_beside_it(tmp_path: Path) -> None:
    files = {
        "net/1/model.onnx": b"m",
        "net/1/deep/er/w.bin": b"w",
        "net/labels.txt": b"a\n",
        "net/other.onnx": b"o",
        "net/1/.hidden": b"h",
    }
    put(tmp_path / "place", files)
    folder = copied(tmp_path / "place", tmp_path / "target")
    there = {
        str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*") if one.is_file()
    }
    assert there == {"1/model.onnx": b"m", "1/deep/er/w.bin": b"w", "labels.txt": b"a\n"}


@pytest.mark.parametrize(
    "link",
    ["net", "net/1", "net/1/model.onnx", "net/1/more", "net/labels.txt"],
)
def test_links_are_refused_wherever_they_are(tmp_path: Path, link: str) -> None:
    place, outside = tmp_path / "place", tmp_path / "outside"
    put(outside, {"1/model.onnx": SECRET, "model.onnx": SECRET})
    put(place, {"net/1/model.bin": b"m"})
    path = place / link
    if path.exists():
        path.rename(tmp_path / "away")
    path.symlink_to(outside if path.suffix == "" else outside / "model.onnx")
    (one,) = group(LocalPlace(place).look())
    assert refusal(one).code in {Code.MODEL_EXTERNAL_DATA, Code.VALIDATION}
    assert all(SECRET not in entry.path.encode() for entry in one.files)


def test_hard_links_and_pipes_are_refused(tmp_path: Path) -> None:
    place = tmp_path / "place"
    put(tmp_path, {"secret": SECRET})
    put(place, {"net/1/model.onnx": b"m"})
    (place / "net" / "1" / "w.bin").hardlink_to(tmp_path / "secret")
    with pytest.raises(HeliographError) as failed:
        copied(place, tmp_path / "target")
    assert failed.value.code is Code.MODEL_EXTERNAL_DATA
    (place / "net" / "1" / "w.bin").unlink()
    os.mkfifo(place / "net" / "1" / "w.bin")
    with pytest.raises(HeliographError) as failed:
        copied(place, tmp_path / "other")
    assert failed.value.code is Code.MODEL_EXTERNAL_DATA


@pytest.mark.parametrize("what", ["net", "net/1", "net/1/model.onnx"])
def test_what_is_exchanged_for_a_link_after_the_look_is_not_followed(
    tmp_path: Path, what: str
) -> None:
    root, outside = tmp_path / "place", tmp_path / "outside"
    put(outside, {"1/model.onnx": SECRET, "model.onnx": SECRET})
    put(root, {"net/1/model.onnx": b"m"})
    place = LocalPlace(root)
    (one,) = group(place.look())
    (root / what).rename(tmp_path / "away")
    (root / what).symlink_to(outside if what != "net/1/model.onnx" else outside / "model.onnx")
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(HeliographError) as failed:
        fetch(place, one, target)
    assert failed.value.code is Code.MODEL_EXTERNAL_DATA
    assert not any(one.read_bytes() == SECRET for one in target.rglob("*") if one.is_file())


@pytest.mark.parametrize("how", ["longer", "other", "gone", "older"])
def test_what_changes_after_the_look_is_not_taken(tmp_path: Path, how: str) -> None:
    root = tmp_path / "place"
    put(root, {"net/1/model.onnx": b"model"})
    place, file = LocalPlace(root), root / "net" / "1" / "model.onnx"
    (one,) = group(place.look())
    about = file.stat()
    if how == "gone":
        file.unlink()
    else:
        file.write_bytes(b"model and more" if how == "longer" else b"MODEL")
    if how == "older":
        # Even if somebody sets the time of the last write back.
        os.utime(file, ns=(about.st_atime_ns, about.st_mtime_ns))
    (tmp_path / "target").mkdir()
    with pytest.raises(Moved):
        fetch(place, one, tmp_path / "target")


def test_a_folder_that_cannot_be_read_is_not_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(HeliographError) as failed:
        LocalPlace(tmp_path / "none").look()
    assert failed.value.code is Code.NOT_FOUND


def test_depth_is_limited(tmp_path: Path) -> None:
    deep = tmp_path / "place" / "net" / "1" / "/".join("d" * 60)
    deep.mkdir(parents=True)
    (one,) = group(LocalPlace(tmp_path / "place").look())
    assert refusal(one).code is Code.MODEL_EXTERNAL_DATA


def test_the_number_of_files_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, {f"net/1/{number}": b"" for number in range(5)})
    monkeypatch.setattr(places, "MOST_ENTRIES", 4)
    with pytest.raises(HeliographError) as failed:
        LocalPlace(tmp_path).look()
    assert failed.value.code is Code.MODEL_RESOURCE_LIMIT


# --- the setting ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "watch",
    ["ftp://host/models", "s3://", "s3:///prefix", "s3://UPPER/a", "s3://a", "s3://bucket/a?b=c"],
)
def test_a_setting_that_names_no_place_stops_the_start(tmp_path: Path, watch: str) -> None:
    with pytest.raises(HeliographError) as failed:
        read_settings(tmp_path, {"registry": {"watch": watch}})
    assert failed.value.code is Code.VALIDATION
    assert "registry.watch" in failed.value.detail


@pytest.mark.parametrize("below", ["home", "home/models", "home/models/a", "."])
def test_what_is_served_cannot_be_watched(tmp_path: Path, below: str) -> None:
    with pytest.raises(HeliographError) as failed:
        check_place(str(tmp_path / below), tmp_path / "home")
    assert failed.value.code is Code.VALIDATION
    check_place(str(tmp_path / "elsewhere"), tmp_path / "home")
