"""A declared pipeline answers as one model: detect, cut out, classify, and rules on top."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from heliograph.core.errors import Code, HeliographError
from heliograph.registry.values import read_package
from heliograph.serving.values import Head
from support.serving import House, house

DOGS = """
name = "dogs"
task = "pipeline"
engine = "pipeline"

[input]

[output]
decoder = "steps"

[[output.steps]]
kind = "model"
name = "things"
model = "ssd-mobilenet-v2-coco"

[[output.steps]]
kind = "feature"
name = "cuts"
of = "things"
cut = true
margin = 0.05
where = {label = ["dog"], min_score = 0.6}
ops = "sharpen"

[[output.steps]]
kind = "model"
name = "breed"
of = "cuts"
model = "efficientnet-lite0"
options = {top_k = "3"}

[[output.steps]]
kind = "rules"
name = "answer"
keep = [{label = ["dog"], min_score = 0.6}]
alarms = [{label = "a pack", when = {label = ["dog"]}, at_least = 2}]
"""


def write(home: Path, toml: str) -> Path:
    folder = home / "models" / "dogs"
    folder.mkdir(parents=True)
    (folder / "model.toml").write_text(toml, "utf-8")
    return folder


def share_cache(home: Path, other: Path) -> None:
    """Converted built-in models are shared by all tests."""
    (home / "cache").mkdir(exist_ok=True)
    (other / "cache").symlink_to(home / "cache")


@pytest.fixture(scope="module")
def dogs(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    own = tmp_path_factory.mktemp("home")
    share_cache(home, own)
    write(own, DOGS)
    with house(own, "dogs", "ssd-mobilenet-v2-coco", "efficientnet-lite0") as wired:
        yield wired


def test_two_dogs_and_their_breeds(dogs: House, photos: Path) -> None:
    entry = dogs.app.path.enter(Head(model="dogs", form="jpeg"))
    answer = dogs.app.path.answer(entry, (photos / "pets.jpg").read_bytes())
    *found, pack = answer.result.predictions()
    assert [one["label"] for one in found] == ["dog", "dog"]
    assert (pack["label"], pack["count"]) == ("a pack", 2)
    for one in found:
        assert len(one["breed"]) == 3
        assert one["breed"][0]["score"] >= one["breed"][1]["score"]
        assert one["box"]["width"] > 50
    assert answer.drawn is not None
    (row,) = dogs.kept.rows
    assert (row.model, row.outcome, row.rows) == ("dogs", "ok", 1)


@pytest.mark.parametrize(
    ("was", "becomes", "says"),
    [
        ('of = "things"', 'of = "nothing"', "must be a step of predictions"),
        ('of = "cuts"', 'of = "things"', "must be a step of pictures"),
        ('name = "breed"', 'name = "things"', "is there twice"),
        ('ops = "sharpen"', 'ops = "sharpeen"', "is no verb"),
        ('kind = "model"', 'kind = "module"', "module"),
        ("min_score = 0.6", "min_scored = 0.6", "min_scored"),
    ],
)
def test_a_pipeline_that_cannot_be_walked_is_refused_by_name(
    tmp_path: Path, was: str, becomes: str, says: str
) -> None:
    assert was in DOGS
    with pytest.raises(HeliographError, match=says) as failed:
        read_package(write(tmp_path, DOGS.replace(was, becomes)))
    assert failed.value.code is Code.MODEL_INVALID


def test_a_model_that_is_not_there_is_named(home: Path, tmp_path: Path, photos: Path) -> None:
    share_cache(home, tmp_path)
    write(tmp_path, DOGS.replace("efficientnet-lite0", "efficientnet-lite9"))
    with house(tmp_path, "dogs") as wired:
        body = (photos / "pets.jpg").read_bytes()
        with pytest.raises(HeliographError, match="'dogs' asks 'efficientnet-lite9'") as failed:
            wired.ask("dogs", body)
        assert failed.value.code is Code.NOT_FOUND
        assert wired.kept.rows[-1].outcome == "not_found"
