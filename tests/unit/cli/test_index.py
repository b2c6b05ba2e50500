"""`heliograph index` and `heliograph nearest`, with a real model of three numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from heliograph.cli.index import index, nearest
from heliograph.core.errors import Code, HeliographError
from heliograph.vision.index import Index
from support import models, pictures


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A data folder with a model that embeds by mean colour, and one that classifies by it."""
    folder = tmp_path / "home"
    output = {"decoder": "embedding"}
    models.colour_package(folder, "point", task="embedding", output=output, labels=None)
    models.colour_package(folder)
    return folder


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Two reds and a blue, in folders of their names, a green beside them."""
    folder = tmp_path / "album"
    for name, colour in (
        ("red/1.png", pictures.RED),
        ("red/2.png", (200, 60, 60)),
        ("blue/1.png", pictures.BLUE),
        ("green.png", pictures.GREEN),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(pictures.plain(colour))
    return folder


def run(command: Any, *words: object) -> Result:
    return CliRunner().invoke(command, [str(word) for word in words])


def make(home: Path, album: Path, model: str = "point") -> tuple[Result, Path]:
    target = home.parent / "made.npz"
    return run(index, album, "-m", model, "-o", target, "--home", home), target


def test_an_index_names_pictures_by_path_and_labels_them_by_folder(home: Path, album: Path) -> None:
    done, target = make(home, album)
    assert done.exit_code == 0, done.output
    assert "4 pictures" in done.output
    made = Index.load(target)
    assert made.model == "point"
    assert dict(zip(made.names, made.labels, strict=True)) == {
        "blue/1.png": "blue",
        "green.png": "green",
        "red/1.png": "red",
        "red/2.png": "red",
    }


def test_the_nearest_pictures_are_found(home: Path, album: Path) -> None:
    _, target = make(home, album)
    asked = home.parent / "asked.png"
    asked.write_bytes(pictures.plain((240, 30, 30)))
    done = run(nearest, target, asked, "-k", 2, "--json", "--home", home)
    assert done.exit_code == 0, done.output
    (row,) = json.loads(done.stdout)
    assert [one["label"] for one in row["nearest"]] == ["red", "red"]
    assert row["nearest"][0]["name"] == "red/1.png"
    assert row["nearest"][0]["score"] > 0.99
    told = run(nearest, target, asked, album / "blue", "-k", 1, "--home", home)
    assert told.output.count("1.000") >= 1
    assert "blue/1.png" in told.output


def test_what_is_no_picture_is_told_and_left_out(home: Path, album: Path) -> None:
    (album / "red" / "3.png").write_bytes(b"no picture")
    done, target = make(home, album)
    assert done.exit_code == 1
    assert "3.png: [unsupported_media]" in done.stderr
    assert "1 left out" in done.output
    assert len(Index.load(target).names) == 4
    asked = run(nearest, target, album / "red" / "3.png", "--home", home)
    assert asked.exit_code == 1
    assert "[unsupported_media]" in asked.stderr


@pytest.mark.parametrize(("model", "code"), [("colour", Code.VALIDATION), ("none", Code.NOT_FOUND)])
def test_only_a_model_that_embeds_will_do(home: Path, album: Path, model: str, code: Code) -> None:
    done, target = make(home, album, model)
    assert isinstance(done.exception, HeliographError)
    assert done.exception.code is code
    assert not target.exists()


def test_vectors_of_another_version_are_refused(home: Path, album: Path) -> None:
    _, target = make(home, album)
    toml = home / "models" / "point" / "model.toml"
    toml.write_text(toml.read_text("utf-8").replace("version = 1", "version = 2"), "utf-8")
    done = run(nearest, target, album / "green.png", "--home", home)
    assert isinstance(done.exception, HeliographError)
    assert done.exception.code is Code.VALIDATION
    assert "another version" in done.exception.detail


def test_an_empty_folder_is_a_mistake(home: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = run(index, tmp_path / "empty", "-m", "point", "--home", home)
    assert done.exit_code == 2
