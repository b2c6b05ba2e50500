"""What was exported comes back as it was, as a stranger's, under a number of its new house."""

from __future__ import annotations

import zipfile
from pathlib import Path

import msgspec
import pytest

from heliograph.core.errors import Code, HeliographError
from heliograph.registry.importing.package import publish
from heliograph.registry.importing.retaking import retake
from heliograph.registry.values import ModelPackage
from support import models


def zipped(folder: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)
    return target


def taken(source: Path, tmp_path: Path, name: str = "") -> ModelPackage:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    adopted = retake(source, scratch, name=name)
    assert adopted is not None
    return publish(Path(adopted.package.folder), tmp_path / "new").package


@pytest.mark.parametrize("as_zip", [False, True])
@pytest.mark.parametrize("name", ["", "tint"])
def test_it_comes_back_as_it_was(tmp_path: Path, as_zip: bool, name: str) -> None:
    old = models.colour_package(tmp_path / "old", version=7)
    (tmp_path / "new" / "models").mkdir(parents=True)
    source = Path(old.folder)
    made = taken(zipped(source, tmp_path / "colour.zip") if as_zip else source, tmp_path, name)
    assert (made.name, made.version, made.foreign) == (name or "colour", 1, True)
    same = msgspec.structs.replace(made, name=old.name, version=7, foreign=False, folder=old.folder)
    assert same == old
    assert made.read_labels() == old.read_labels()
    assert Path(made.folder, "model.onnx").read_bytes() == (source / "model.onnx").read_bytes()


def test_a_model_without_a_card_is_none(tmp_path: Path) -> None:
    file = models.mean_colour(tmp_path / "model.onnx")
    assert retake(file, tmp_path / "a") is None
    assert retake(zipped(tmp_path, tmp_path.parent / "bare.zip"), tmp_path / "b") is None


def test_a_card_that_leads_outside_is_refused(tmp_path: Path) -> None:
    weights = {"file": "model.onnx", "sha256": "0" * 64, "source": "pypi:thing==1/model.onnx"}
    folder = models.write_card(tmp_path / "colour", models.card(weights=weights))
    with pytest.raises(HeliographError, match="lead outside") as failed:
        retake(folder, tmp_path / "scratch")
    assert failed.value.code is Code.MODEL_EXTERNAL_DATA
