"""The folders that models lie in: reading them, noticing changes, writing releases.

    FOLDER/NAME/model.toml               a package alone; its `version` counts
    FOLDER/NAME/VERSION/model.toml       several versions
    FOLDER/NAME/release.json             what was decided about them (see `releases.py`)

A later folder's version replaces the same version of an earlier folder, and stands beside others.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import tempfile
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from heliograph.core.errors import Code, HeliographError
from heliograph.registry.releases import Release
from heliograph.registry.sources import absent
from heliograph.registry.values import ModelPackage, read_package

log = logging.getLogger("heliograph.registry")
_RELEASE = "release.json"
_NUMBER = re.compile(r"0*[1-9][0-9]{0,17}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Listing:
    """What lies in a repository at one moment.

    Attributes:
        packages: by name and version.
        marks: by name and version: changes with the files of a package.
        releases: by name, where there is one.
        problems: why a folder or a release is not served: by model, or `model/version`.
        moving: likewise, folders that somebody is still writing in; look again soon.
    """

    packages: dict[str, dict[str, ModelPackage]] = field(
        default_factory=dict[str, dict[str, ModelPackage]]
    )
    marks: dict[str, dict[str, int]] = field(default_factory=dict[str, dict[str, int]])
    releases: dict[str, Release] = field(default_factory=dict[str, Release])
    problems: dict[str, HeliographError] = field(default_factory=dict[str, HeliographError])
    moving: set[str] = field(default_factory=set[str])

    def unread(self, name: str, version: str) -> bool:
        """Whether something lies there that could not be read now."""
        return any(
            key in self.problems or key in self.moving
            for key in (f"{name}/{version}", f"{name}/{name}")
        )

    def fatal(self) -> Iterator[HeliographError]:
        """The problems that leave a model without a version, or without its release."""
        for place, problem in self.problems.items():
            name, _, version = place.partition("/")
            if not version.isdigit() or name not in self.packages:
                yield problem


class Repository:
    """Model packages in folders.

    Args:
        folders: the last one is ours to write in.
        only: names to look at; empty for all.
    """

    def __init__(self, folders: Iterable[Path], only: Iterable[str] = ()) -> None:
        self._folders = tuple(folders)
        self._only = frozenset(only)
        self._marks: dict[str, int] = {}

    def scan(self, *, patient: bool = False) -> Listing:
        """Read everything; what is wrong is listed, not raised.

        Args:
            patient: leave folders out that have changed since the last look: somebody is copying.
        """
        listing = Listing()
        for folder in self._folders:
            for place in self._places(folder):
                self._read(place, listing, patient=patient)
        self._leave_out(listing)
        for name, versions in listing.packages.items():
            listing.packages[name] = dict(sorted(versions.items(), key=lambda one: int(one[0])))
        return listing

    def _leave_out(self, listing: Listing) -> None:
        """Built-in models that come from packages nobody installed are not there, unless named."""
        ours = {str(one.parent) for folder in self._folders[:-1] for one in folder.glob("*/*")}
        for name, versions in list(listing.packages.items()):
            latest = list(versions.values())[-1]
            how = absent(latest) if latest.folder in ours and name not in self._only else ""
            if how:
                log.info("%s is not served; to have it: %s", name, how)
                del listing.packages[name]

    def stamp(self) -> int:
        """A number that changes when anything changes that `scan` or a loading would see."""
        seen: list[object] = []
        # The built-in folder is part of the installed program: it does not change.
        for place in self._places(self._folders[-1]):
            seen.append(_about(place / _RELEASE))
            seen += [(str(toml), _mark(toml.parent)) for toml in _tomls(place)]
        return hash(tuple(seen))

    def release(self, name: str) -> Release:
        """What is decided about a model now; nothing in particular where no file says so.

        Raises:
            HeliographError: `model_invalid` if the file is damaged.
        """
        return _read_release(self._folders[-1] / name) or Release()

    @contextlib.contextmanager
    def turn(self, name: str) -> Generator[None]:
        """Hold the right to write a model's release, against other processes too.

        Raises:
            HeliographError: `storage_full` if nothing can be written there.
        """
        folder = self._folders[-1] / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = (folder / ".turn").open("ab")
        except OSError as error:
            raise _unwritable(name, error) from error
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def write(self, name: str, release: Release) -> None:
        """Keep what was decided about a model; readers see the old or the new, nothing between.

        Raises:
            HeliographError: `storage_full` if it cannot be written.
        """
        folder = self._folders[-1] / name
        made = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=folder, prefix=".release-", delete=False) as file:
                made = Path(file.name)
                file.write(msgspec.json.format(msgspec.json.encode(release)))
                file.flush()
                os.fsync(file.fileno())
            made.replace(folder / _RELEASE)
        except OSError as error:
            if made:
                made.unlink(missing_ok=True)
            raise _unwritable(name, error) from error

    def _places(self, folder: Path) -> list[Path]:
        """Folders of models; those that begin with a dot are being written."""
        try:
            there = sorted(one for one in folder.iterdir() if one.is_dir() and one.name[0] != ".")
        except OSError:
            return []
        return [one for one in there if not self._only or one.name in self._only]

    def _read(self, place: Path, listing: Listing, *, patient: bool) -> None:
        """Read one model's folder into the listing."""
        watched = place.parent == self._folders[-1]
        for toml in _tomls(place):
            key = f"{place.name}/{toml.parent.name}"
            mark = _mark(toml.parent) if watched else 0
            before, self._marks[key] = self._marks.get(key), mark
            if watched and patient and before != mark:
                listing.moving.add(key)
                continue
            try:
                package = _read_version(toml.parent, place)
            except HeliographError as error:
                listing.problems[key] = error
                continue
            version = str(package.version)
            listing.packages.setdefault(package.name, {})[version] = package
            listing.marks.setdefault(package.name, {})[version] = mark
        try:
            release = _read_release(place)
        except HeliographError as error:
            listing.problems[place.name] = error
        else:
            if release is not None:
                listing.releases[place.name] = release


def _unwritable(name: str, error: OSError) -> HeliographError:
    return HeliographError(
        Code.STORAGE_FULL, f"The release of {name!r} cannot be written: {error.strerror}."
    )


def _tomls(place: Path) -> list[Path]:
    """The `model.toml` of every version of one model."""
    if (place / "model.toml").is_file():
        return [place / "model.toml"]
    try:
        numbered = [one for one in place.iterdir() if _NUMBER.fullmatch(one.name)]
    except OSError:
        return []
    return sorted(one / "model.toml" for one in numbered if (one / "model.toml").is_file())


def _about(file: Path) -> tuple[str, int, int]:
    try:
        stat = file.stat()
    except OSError:
        return str(file), 0, 0
    return str(file), stat.st_mtime_ns, stat.st_size


def _mark(folder: Path) -> int:
    """A number that changes with the files of a package."""
    seen = [
        _about(Path(base, name))
        for base, _, names in os.walk(folder)
        for name in names
        if name[0] != "." and name != _RELEASE
    ]
    return hash(tuple(sorted(seen)))


def _read_version(folder: Path, place: Path) -> ModelPackage:
    package = read_package(folder)
    if folder != place and (str(package.version), package.name) != (folder.name, place.name):
        raise HeliographError(
            Code.MODEL_INVALID,
            f"{place.name}/{folder.name}/model.toml: {package.name!r} version {package.version} "
            f"lies in a folder named {place.name}/{folder.name}",
        )
    return package


def _read_release(place: Path) -> Release | None:
    try:
        return msgspec.json.decode((place / _RELEASE).read_bytes(), type=Release)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise HeliographError(Code.MODEL_INVALID, f"{place.name}/{_RELEASE}: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise HeliographError(
            Code.MODEL_INVALID, f"{place.name}/{_RELEASE}: it cannot be read"
        ) from error


def find_packages(folders: Iterable[Path]) -> dict[str, ModelPackage]:
    """The latest version of every model in the folders, by name.

    Raises:
        HeliographError: `model_invalid` for the first model that has no version to serve.
    """
    listing = Repository(folders).scan()
    for problem in listing.fatal():
        raise problem
    return {name: list(versions.values())[-1] for name, versions in listing.packages.items()}
