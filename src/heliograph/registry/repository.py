"""The folders that models lie in: reading them, noticing changes, writing releases.

    FOLDER/NAME/model.toml               a package alone; its `version` counts
    FOLDER/NAME/VERSION/model.toml       several versions
    FOLDER/NAME/release.json             what was decided about them (see `releases.py`)

A later folder's model replaces one of the same name in an earlier folder.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from heliograph.core.errors import Code, HeliographError
from heliograph.registry.releases import Release
from heliograph.registry.values import ModelPackage, read_package

log = logging.getLogger("heliograph.registry")
_RELEASE = "release.json"


@dataclass(frozen=True, slots=True)
class Listing:
    """What lies in a repository at one moment.

    Attributes:
        packages: by name and version.
        releases: by name, where there is one.
        problems: why a folder is not served, by its name.
    """

    packages: dict[str, dict[str, ModelPackage]] = field(
        default_factory=dict[str, dict[str, ModelPackage]]
    )
    releases: dict[str, Release] = field(default_factory=dict[str, Release])
    problems: dict[str, HeliographError] = field(default_factory=dict[str, HeliographError])


class Repository:
    """Model packages in folders.

    Args:
        folders: the last one is ours to write in.
        only: names to look at; empty for all.
    """

    def __init__(self, folders: Iterable[Path], only: Iterable[str] = ()) -> None:
        self._folders = tuple(folders)
        self._only = frozenset(only)

    def scan(self) -> Listing:
        """Read everything; what is wrong is listed, not raised."""
        listing = Listing()
        for folder in self._folders:
            for place in _places(folder):
                if not self._only or place.name in self._only:
                    _read(place, listing)
        return listing

    def stamp(self) -> int:
        """A number that changes when anything changes that `scan` would see."""
        seen: list[tuple[str, int, int]] = []
        for file in self._files():
            with contextlib.suppress(OSError):
                stat = file.stat()
                seen.append((str(file), stat.st_mtime_ns, stat.st_size))
        return hash(tuple(seen))

    def _files(self) -> Iterator[Path]:
        # The built-in folder is part of the installed program: it does not change.
        for place in _places(self._folders[-1]):
            yield place / _RELEASE
            yield from _tomls(place)

    def write(self, name: str, release: Release) -> None:
        """Keep what was decided about a model; readers see the old or the new, nothing between.

        Raises:
            HeliographError: `storage_full` if it cannot be written.
        """
        folder = self._folders[-1] / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
                file.write(msgspec.json.format(msgspec.json.encode(release)))
                file.flush()
                os.fsync(file.fileno())
            Path(file.name).replace(folder / _RELEASE)
        except OSError as error:
            raise HeliographError(
                Code.STORAGE_FULL, f"The release of {name!r} cannot be written: {error.strerror}."
            ) from error


def _places(folder: Path) -> list[Path]:
    """Folders of models; those that begin with a dot are being written."""
    if not folder.is_dir():
        return []
    return sorted(one for one in folder.iterdir() if one.is_dir() and one.name[0] != ".")


def _tomls(place: Path) -> list[Path]:
    """The `model.toml` of every version of one model."""
    if (place / "model.toml").is_file():
        return [place / "model.toml"]
    numbered = [one for one in place.iterdir() if one.name.isdigit() and int(one.name)]
    return sorted(one / "model.toml" for one in numbered if (one / "model.toml").is_file())


def _read(place: Path, listing: Listing) -> None:
    """Read one model's folder into the listing."""
    versions: dict[str, ModelPackage] = {}
    for toml in _tomls(place):
        try:
            package = read_package(toml.parent)
            if toml.parent != place and str(package.version) != toml.parent.name:
                raise HeliographError(  # noqa: TRY301 - one way of listing problems
                    Code.MODEL_INVALID,
                    f"{place.name}/{toml.parent.name}/model.toml: version {package.version} lies "
                    f"in a folder named {toml.parent.name}",
                )
        except HeliographError as error:
            listing.problems[f"{place.name}/{toml.parent.name}"] = error
        else:
            versions[str(package.version)] = package
    if versions:
        name = next(iter(versions.values())).name
        listing.packages[name] = dict(sorted(versions.items(), key=lambda one: int(one[0])))
    with contextlib.suppress(FileNotFoundError):
        try:
            written = (place / _RELEASE).read_bytes()
            listing.releases[place.name] = msgspec.json.decode(written, type=Release)
        except msgspec.DecodeError as error:
            listing.problems[place.name] = HeliographError(
                Code.MODEL_INVALID, f"{place.name}/{_RELEASE}: {error}"
            )


def find_packages(folders: Iterable[Path]) -> dict[str, ModelPackage]:
    """The latest version of every model in the folders, by name.

    Raises:
        HeliographError: `model_invalid` for the first package that is wrong.
    """
    listing = Repository(folders).scan()
    for problem in listing.problems.values():
        raise problem
    return {name: list(versions.values())[-1] for name, versions in listing.packages.items()}
