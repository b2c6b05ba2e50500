"""A package as a folder or a zip that another server takes: its files as they are, verified."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import zipfile
from pathlib import Path

from heliograph.core.errors import Code, HeliographError
from heliograph.registry.importing.files import copy_plain, plain_files
from heliograph.registry.values import ModelPackage, Weights

# The same package makes the same zip: entries carry no time but the first that a zip can tell.
_TIME = (1980, 1, 1, 0, 0, 0)
_MODE = 0o644 << 16


def export_package(package: ModelPackage, target: Path) -> list[str]:
    """Write a package's files to a new folder, or to a new zip if the name ends in `.zip`.

    A model file that comes from elsewhere (`source` in `[weights]`) is named, not copied.

    Args:
        package: which.
        target: what is made; it appears whole or not at all.

    Returns:
        The names of the files.

    Raises:
        HeliographError: `conflict` if the target is there already, `model_invalid` if a file is not
            the pinned one, `model_external_data` for a link among the files, `storage_full`.
    """
    if target.exists():
        raise HeliographError(
            Code.CONFLICT, f"{target.name!r} is there already; choose another name or remove it."
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".export-", dir=target.parent) as scratch:
            made = Path(scratch, package.name)
            names = _copy(package, made)
            if target.suffix.lower() == ".zip":
                _zip(made, names, Path(scratch, "made.zip")).rename(target)
            else:
                made.rename(target)
    except OSError as error:
        raise HeliographError(
            Code.STORAGE_FULL, f"{target.name!r} cannot be written: {error.strerror}."
        ) from error
    return names


def _copy(package: ModelPackage, made: Path) -> list[str]:
    """Every file of the package, each read once: what is checked is what is copied."""
    folder = Path(package.folder)
    found = {
        str(name): copy_plain(folder / name, made / name, links=False)
        for name in plain_files(folder)
        if _belongs(name, package)
    }
    if package.weights and not package.weights.source:
        _verify(package.weights, found)
    return sorted(found)


def _belongs(name: Path, package: ModelPackage) -> bool:
    """Not what lies beside a package alone: its release, hidden files, numbered versions."""
    alone = Path(package.folder).name == package.name
    beside = alone and (name.parts[0] == "release.json" or name.parts[0].isdigit())
    return not beside and not any(part[0] == "." for part in name.parts)


def _verify(weights: Weights, found: dict[str, str]) -> None:
    pinned = dict(weights.parts)
    if weights.file in found:
        pinned[weights.file] = weights.sha256
    else:  # a folder: its digest is that of its parts
        digests = "".join(found.get(part, "") for part in sorted(weights.parts))
        if hashlib.sha256(digests.encode()).hexdigest() != weights.sha256:
            raise _not_pinned(weights.file)
    for name, digest in pinned.items():
        if found.get(name) != digest:
            raise _not_pinned(name)


def _not_pinned(name: str) -> HeliographError:
    return HeliographError(
        Code.MODEL_INVALID, f"The file {name!r} is missing or not the pinned one; nothing is made."
    )


def _zip(folder: Path, names: list[str], path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            entry = zipfile.ZipInfo(name, _TIME)
            entry.external_attr = _MODE
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.file_size = (folder / name).stat().st_size
            with (folder / name).open("rb") as given, archive.open(entry, "w") as kept:
                shutil.copyfileobj(given, kept, 1 << 20)
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return path
