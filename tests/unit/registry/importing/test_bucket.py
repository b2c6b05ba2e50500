"""A bucket is listed and read as a folder is; an object is taken only as it was listed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from heliograph.core.errors import Code, HeliographError
from heliograph.registry.importing.places import Moved, Sighting, fetch, group
from support.bucket import Store, storing

pytest.importorskip("obstore")
from heliograph.registry.importing.bucket import Bucket


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    with storing() as made:
        for name, value in made.environ.items():
            monkeypatch.setenv(name, value)
        yield made


def only(place: Bucket) -> Sighting:
    (one,) = group(place.look())
    one.check()
    return one


def test_what_lies_below_a_prefix_is_copied_whole(store: Store, tmp_path: Path) -> None:
    store.page = 2
    large = bytes(range(256)) * (9 << 12)
    store.objects |= {
        "team/net/1/model.onnx": large,
        "team/net/1/": b"",
        "team/net/1/variables/": b"",
        "team/net/1/variables/é 1": b"v",
        "team/net/labels.txt": b"a\n",
        "teammate/net/1/model.onnx": b"not ours",
        "other": b"",
    }
    place = Bucket("s3://models/team/")
    folder = fetch(place, only(place), tmp_path)
    there = {
        str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*") if one.is_file()
    }
    assert there == {"1/model.onnx": large, "1/variables/é 1": b"v", "labels.txt": b"a\n"}
    pieces = [one for one in store.heard if one == "GET /models/team/net/1/model.onnx"]
    assert len(pieces) == 2, "8 MiB and the rest"


def test_the_content_alone_makes_the_fingerprint(store: Store) -> None:
    store.objects["net/1/model.onnx"] = b"model"
    place = Bucket("s3://models")
    first = only(place)
    store.objects["net/1/model.onnx"] = b"MODEL"
    assert only(place).fingerprint != first.fingerprint
    store.objects["net/1/model.onnx"] = b"model"
    assert only(place).fingerprint == first.fingerprint


@pytest.mark.parametrize("now", [b"MODEL", b"model and more", None])
def test_an_object_that_changes_after_the_look_is_not_taken(
    store: Store, tmp_path: Path, now: bytes | None
) -> None:
    store.objects["net/1/model.onnx"] = b"model"
    place = Bucket("s3://models")
    one = only(place)
    del store.objects["net/1/model.onnx"]
    if now:
        store.objects["net/1/model.onnx"] = now
    with pytest.raises(Moved):
        fetch(place, one, tmp_path)


def test_what_the_store_says_becomes_a_code_and_no_text_of_its_own(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(address: str = "s3://models") -> HeliographError:
        with pytest.raises(HeliographError) as failed:
            Bucket(address).look()
        assert "http" not in failed.value.detail
        return failed.value

    assert told("s3://nobodys").code is Code.NOT_FOUND
    store.objects["net//1/a"] = b"a"
    assert told().code is Code.MODEL_INVALID
    store.sick = 403
    assert told().code is Code.FORBIDDEN
    store.sick = 500
    assert told().code is Code.MODEL_UNAVAILABLE
    monkeypatch.setenv("AWS_ALLOW_HTTP", "false")
    assert told().code is Code.MODEL_UNAVAILABLE
