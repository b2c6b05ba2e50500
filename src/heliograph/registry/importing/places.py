"""A place that is watched: what lies in it at one moment, and copies of it.

    PLACE/NAME/VERSION/…     the files of one version, as TensorFlow Serving and Triton lay them
    PLACE/NAME/labels.txt    what speaks of every version: labels, configurations, a model card

A place lists its `Entry`s; they are grouped into `Sighting`s, of which some are copied.

Covered: links, devices and hard links are refused, and no folder on the way to a file may be one,
not even one that is exchanged while it is read; numbers and sizes are limited before anything is
copied; a file that changes while it is copied is noticed. Not covered: what the files say; that is
what an import checks.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from heliograph.core.errors import Code, HeliographError
from heliograph.core.ids import is_name
from heliograph.registry.importing.files import LARGEST
from heliograph.registry.importing.names import DEVICES, printable
from heliograph.registry.importing.package import suggest_name

MOST_ENTRIES = 100_000
"""Files of a whole place."""

_MOST_FILES = 10_000
_DEEPEST = 16
_LONGEST_NUMBER = 18
_NOTES = {".json", ".manifest", ".md", ".names", ".pbtxt", ".txt"}
S3 = "s3://"


@dataclass(frozen=True, slots=True)
class Entry:
    """A file where it lies.

    Attributes:
        path: from the place on, with `/`.
        size: bytes.
        mark: changes with its content.
        plain: no link, device or the like.
    """

    path: str
    size: int
    mark: str
    plain: bool = True


@dataclass(frozen=True, slots=True)
class Sighting:
    """One version of one model as it was seen in a place.

    Attributes:
        name: the model's folder.
        number: what the version's folder says.
        folders: that folder; several where they say the same number.
        files: of the version.
        beside: what lies beside the versions and speaks of them.
    """

    name: str
    number: int
    folders: tuple[str, ...]
    files: tuple[Entry, ...]
    beside: tuple[Entry, ...] = ()

    @property
    def key(self) -> str:
        """Its name for states and logs."""
        return f"{self.name}/{self.number}"

    @property
    def fingerprint(self) -> str:
        """Changes with the version's files."""
        return _digest(self.files)

    @property
    def mark(self) -> str:
        """Changes with everything that an import would see."""
        return _digest((*self.files, *self.beside))

    @property
    def size(self) -> int:
        """Bytes of everything that would be copied."""
        return sum(one.size for one in (*self.files, *self.beside))

    def check(self) -> None:
        """Refuse what needs no look inside.

        Raises:
            HeliographError: `validation` for a name or number that cannot be, `model_external_data`
                for links, `model_resource_limit`, `model_invalid` for a path that cannot be.
        """
        if not is_name(self.name) or self.name.split(".", maxsplit=1)[0] in DEVICES:
            raise HeliographError(
                Code.VALIDATION,
                f"A model cannot be named {printable(self.name)}: names match "
                f"[a-z0-9][a-z0-9._-]{{0,62}}, without '..' and devices' names. Rename its folder, "
                f"for example to {suggest_name(self.name)!r}.",
            )
        if not 1 <= self.number < 10**_LONGEST_NUMBER:
            raise HeliographError(
                Code.VALIDATION, f"Versions count from 1 to 18 digits, not {self.folders[0][:30]}."
            )
        if len(self.folders) > 1:
            raise HeliographError(
                Code.VALIDATION,
                f"Several folders are version {self.number}: {', '.join(self.folders[:4])}.",
            )
        if len(self.files) + len(self.beside) > _MOST_FILES or self.size > LARGEST:
            raise HeliographError(
                Code.MODEL_RESOURCE_LIMIT,
                f"It has {len(self.files):,} files of {self.size:,} bytes in all; {_MOST_FILES:,} "
                f"files and {LARGEST:,} bytes are allowed.",
            )
        for one in (*self.files, *self.beside):
            _check(one)
        folders = {str(above) for one in self.files for above in PurePosixPath(one.path).parents}
        for one in self.files:
            if one.path in folders:
                raise HeliographError(
                    Code.MODEL_INVALID, f"{printable(one.path)} is a file and a folder at once."
                )


def _check(entry: Entry) -> None:
    parts = entry.path.split("/")
    if not entry.plain:
        raise HeliographError(
            Code.MODEL_EXTERNAL_DATA,
            f"{printable(parts[-1])} in it is a link or a device, or lies too deep; only plain "
            f"files of their own go.",
        )
    whole = all(part and part not in {".", ".."} and len(part) <= 255 for part in parts)
    if not whole or "\\" in entry.path or not entry.path.isprintable():
        raise HeliographError(
            Code.MODEL_INVALID, f"{printable(entry.path)} is no path that a file may have here."
        )


def _digest(entries: Iterable[Entry]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for one in entries:
        line = f"{one.path}\0{one.size}\0{one.mark}\0{one.plain}\n"
        digest.update(line.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


class Moved(Exception):  # noqa: N818 - no error: somebody is writing there
    """What was seen is not there any more, or is another now."""


class Place(Protocol):
    """Somewhere that models are put."""

    def look(self) -> list[Entry]:
        """Every file there.

        Raises:
            HeliographError: why it cannot be told; then nothing is known.
        """
        ...

    def copy(self, entry: Entry, target: Path) -> None:
        """Copy one file, exactly as it was seen.

        Raises:
            Moved: it is another by now.
            HeliographError: why it cannot be copied.
        """
        ...


def group(entries: Iterable[Entry]) -> list[Sighting]:
    """The versions that files belong to.

    What begins with a dot is nobody's, and neither is what lies in no folder of a model.
    """
    versions: dict[tuple[str, int], list[Entry]] = {}
    folders: dict[tuple[str, int], set[str]] = {}
    beside: dict[str, list[Entry]] = {}
    for one in sorted(entries, key=lambda entry: entry.path):
        name, *rest = one.path.split("/")
        if any(part.startswith(".") and part not in {".", ".."} for part in (name, *rest)):
            continue
        if not rest and not one.plain:
            # A model's folder that is a link has no versions for us; it is told all the same.
            rest = ["0"]
        if rest and rest[0].isascii() and rest[0].isdigit() and (rest[1:] or not one.plain):
            key = (name, int(rest[0][: _LONGEST_NUMBER + 1]))
            versions.setdefault(key, []).append(one)
            folders.setdefault(key, set()).add(rest[0])
        elif len(rest) == 1 and Path(rest[0]).suffix in _NOTES:
            beside.setdefault(name, []).append(one)
    return [
        Sighting(
            name, number, tuple(sorted(folders[name, number])), tuple(files),
            tuple(beside.get(name, ())),
        )
        for (name, number), files in sorted(versions.items())
    ]  # fmt: skip


def fetch(
    place: Place, sighting: Sighting, folder: Path, stopped: Callable[[], bool] = lambda: False
) -> Path:
    """Copy a version, with what lies beside it, into a folder of ours.

    Args:
        place: where it was seen.
        sighting: which, checked.
        folder: an empty folder.
        stopped: whether to give up.

    Returns:
        The model's folder, with this version alone in it.

    Raises:
        Moved: it changes, or the server stops.
        HeliographError: `storage_full`, or why it cannot be read.
    """
    if sighting.size > shutil.disk_usage(folder).free:
        raise HeliographError(
            Code.STORAGE_FULL, f"There is no room for its {sighting.size:,} bytes."
        )
    for one in (*sighting.files, *sighting.beside):
        if stopped():
            raise Moved
        target = folder / one.path
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            place.copy(one, target)
        except OSError as error:
            raise HeliographError(
                Code.STORAGE_FULL, f"It cannot be copied into the data folder: {error.strerror}."
            ) from error
    return folder / sighting.name


class LocalPlace:
    """A folder on this machine.

    Args:
        root: which.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def look(self) -> list[Entry]:
        """See `Place`."""
        found: list[Entry] = []
        try:
            root = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise HeliographError(
                Code.NOT_FOUND, f"The watched folder cannot be opened: {error.strerror}."
            ) from error
        try:
            for base, folders, names, here in os.fwalk(".", dir_fd=root, onerror=_raise):
                below = "" if base == "." else base.removeprefix("./") + "/"
                deep = below.count("/") >= _DEEPEST
                found += [_seen(below + name, name, here) for name in names]
                for name in folders:
                    one = _seen(below + name, name, here)
                    if deep or not one.plain:
                        found.append(Entry(one.path, 0, one.mark, plain=False))
                folders[:] = [] if deep else [one for one in folders if one[0] != "."]
                if len(found) > MOST_ENTRIES:
                    raise too_many()
        except OSError as error:
            raise HeliographError(
                Code.NOT_FOUND, f"The watched folder cannot be read: {error.strerror}."
            ) from error
        finally:
            os.close(root)
        return found

    def copy(self, entry: Entry, target: Path) -> None:
        """See `Place`."""
        with os.fdopen(self._open(entry.path), "rb") as given:
            if _mark(os.fstat(given.fileno())) != entry.mark:
                raise Moved
            with target.open("xb") as made:
                left = entry.size
                while block := given.read(min(1 << 20, left + 1)):
                    left -= len(block)
                    if left < 0:
                        raise Moved
                    made.write(block)
            if left or _mark(os.fstat(given.fileno())) != entry.mark:
                raise Moved

    def _open(self, path: str) -> int:
        """A descriptor of a plain file, reached from folder to folder without following links."""
        folder = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        try:
            here = os.open(self._root, folder)
            for part in path.split("/")[:-1]:
                above = here
                try:
                    here = os.open(part, folder | os.O_NOFOLLOW, dir_fd=above)
                finally:
                    os.close(above)
            try:
                # Without O_NONBLOCK a FIFO would hold us for ever.
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                found = os.open(path.rpartition("/")[2], flags, dir_fd=here)
            finally:
                os.close(here)
        except FileNotFoundError as error:
            raise Moved from error
        except OSError as error:
            raise HeliographError(
                Code.MODEL_EXTERNAL_DATA,
                f"{printable(path)} cannot be opened as a plain file: {error.strerror}.",
            ) from error
        about = os.fstat(found)
        if not stat.S_ISREG(about.st_mode) or about.st_nlink > 1:
            os.close(found)
            raise HeliographError(
                Code.MODEL_EXTERNAL_DATA,
                f"{printable(path)} is no plain file, or has more than one name.",
            )
        return found


def _seen(path: str, name: str, folder: int) -> Entry:
    about = os.stat(name, dir_fd=folder, follow_symlinks=False)
    plain = stat.S_ISREG(about.st_mode) or stat.S_ISDIR(about.st_mode)
    return Entry(path, about.st_size, _mark(about), plain)


def _mark(about: os.stat_result) -> str:
    # The time of the last change, too: that of the last write can be set to anything.
    return f"{about.st_size} {about.st_mtime_ns} {about.st_ctime_ns}"


def _raise(error: OSError) -> None:
    # A folder that cannot be read is not an empty one.
    raise error


def too_many() -> HeliographError:
    """What a place with too much in it is told."""
    return HeliographError(
        Code.MODEL_RESOURCE_LIMIT,
        f"The watched place has more than {MOST_ENTRIES:,} files. Watch one with models alone.",
    )


def check_place(watch: str, home: Path) -> None:
    """Refuse a setting that names no place that could be watched.

    Raises:
        HeliographError: `validation`.
    """
    if watch.startswith(S3):
        from heliograph.registry.importing.bucket import check_address

        check_address(watch)
        return
    if "://" in watch:
        raise _unknown(f"{watch[:60]!r} is neither a folder nor s3://BUCKET/PREFIX")
    root, own = Path(watch).expanduser().resolve(), home.resolve()
    if root.is_relative_to(own / "models") or own.is_relative_to(root):
        raise _unknown("the models that are watched cannot lie where those that are served do")


def _unknown(why: str) -> HeliographError:
    return HeliographError(Code.VALIDATION, f"registry.watch: {why}.")


def open_place(watch: str) -> Place:
    """The place that a checked setting names.

    Raises:
        HeliographError: `model_unavailable` without the extra that it needs.
    """
    if watch.startswith(S3):
        from heliograph.registry.importing.bucket import Bucket

        return Bucket(watch)
    return LocalPlace(Path(watch).expanduser())
