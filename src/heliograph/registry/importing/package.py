"""Writing a package: `models/NAME/VERSION/model.toml` and its files, all at once or not at all.

A package is made in a folder whose name begins with a dot, which no server looks at, and appears
under its own name by one rename. It is never changed afterwards; the same content again makes no
second version.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from heliograph.core.errors import Code, HeliographError
from heliograph.core.ids import is_name
from heliograph.registry.importing.files import remove, sha256
from heliograph.registry.importing.names import DEVICES
from heliograph.registry.importing.values import Evidence, Inferred, Staged
from heliograph.registry.values import ModelPackage, read_package

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_FOLDER_MODE = 0o755


@dataclass(frozen=True, slots=True)
class Made:
    """A package that was written.

    Attributes:
        package: as it is read back.
        fresh: false where the same content was there already, and nothing was written.
    """

    package: ModelPackage
    fresh: bool


def workshop(home: Path) -> Path:
    """A fresh folder beside the models, on the same file system, that no server looks at.

    It is a data folder of its own: `models/` in it holds what is being made, so that a model is
    tried by the same path that will serve it.
    """
    try:
        (home / "models").mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=".importing-", dir=home / "models"))
    except OSError as error:
        raise HeliographError(
            Code.STORAGE_FULL, f"Nothing can be written to the data folder: {error.strerror}."
        ) from error


def suggest_name(text: str) -> str:
    """A model's name made of a file's: lower case, other characters as hyphens."""
    name = re.sub(r"[^a-z0-9._-]+", "-", text.lower())
    name = re.sub(r"\.{2,}", ".", name).strip("-._")[:63]
    return name or "model"


def check_name(name: str) -> str:
    """The name, if a model may have it.

    Raises:
        HeliographError: `validation`.
    """
    if not is_name(name) or name.split(".", maxsplit=1)[0] in DEVICES:
        raise HeliographError(
            Code.VALIDATION,
            f"A model cannot be named {name[:70]!a}: names match [a-z0-9][a-z0-9._-]{{0,62}}, "
            f"without '..' and devices' names. Choose one with --name.",
        )
    return name


def draft_package(
    staged: Staged, evidence: Evidence, inferred: Inferred, *, name: str, about: Mapping[str, str]
) -> ModelPackage:
    """Write `model.toml` and the labels beside a staged model, as version 1.

    Args:
        staged: the model's files.
        evidence: what is known about it.
        inferred: what it is served as.
        name: the model's name.
        about: `title`, `description`, `licence` and `provenance` where they are known.

    Raises:
        HeliographError: `model_invalid`, naming the field.
    """
    table = _table(staged, evidence, inferred, name, about)
    if inferred.labels:
        (staged.folder / "labels.txt").write_text("\n".join(inferred.labels) + "\n", "utf-8")
    (staged.folder / "model.toml").write_text(toml(table), "utf-8")
    return read_package(staged.folder)


def publish(
    folder: Path,
    home: Path,
    *,
    again: bool = False,
    seal: Callable[[Path], object] = lambda _: None,
) -> Made:
    """Give a drafted package the next version number and put it in its place.

    Args:
        folder: the draft.
        home: the data folder.
        again: make a version although the same content is there already.
        seal: called with the finished folder before it appears, to sign it.

    Raises:
        HeliographError: `storage_full`, or `validation` where the name is taken by a package alone.
    """
    draft = read_package(folder)
    place = home / "models" / draft.name
    _refuse_alone(place, draft)
    for _, package in _versions(place):
        if not again and _same(package, draft):
            return Made(package, fresh=False)
    return Made(_place(folder, place, draft, seal), fresh=True)


def publish_as(folder: Path, home: Path, number: int) -> Made:
    """Put a drafted package in its place under a number that was given with it.

    Args:
        folder: the draft.
        home: the data folder.
        number: its version.

    Raises:
        HeliographError: as `publish`, and `conflict` where other content has that number.
    """
    draft = read_package(folder)
    there = standing(draft, home, number)
    if there is not None:
        return Made(there, fresh=False)
    place = home / "models" / draft.name
    return Made(_place(folder, place, draft, lambda _: None, number), fresh=True)


def standing(draft: ModelPackage, home: Path, number: int) -> ModelPackage | None:
    """The version that has this number already, which is the same as the draft; None if none has.

    Raises:
        HeliographError: `conflict` where it is another one, `validation` as `publish`.
    """
    place = home / "models" / draft.name
    _refuse_alone(place, draft)
    if not (place / str(number) / "model.toml").exists():
        return None
    there = read_package(place / str(number))
    if not _same(there, draft):
        raise _taken(draft.name, number)
    return there


def _refuse_alone(place: Path, draft: ModelPackage) -> None:
    if (place / "model.toml").exists():
        raise HeliographError(
            Code.VALIDATION,
            f"models/{draft.name} is a package alone, without versions. Move its files into "
            f"models/{draft.name}/{read_package(place).version} first, or choose another --name.",
        )


def _taken(name: str, number: int) -> HeliographError:
    return HeliographError(
        Code.CONFLICT,
        f"Version {number} of {name} is there already, with other content; versions never change. "
        f"Give this one the next number.",
    )


def _place(
    folder: Path,
    place: Path,
    draft: ModelPackage,
    seal: Callable[[Path], object],
    given: int = 0,
) -> ModelPackage:
    try:
        place.mkdir(parents=True, exist_ok=True)
        number = given or max((one for one, _ in _numbered(place)), default=0) + 1
        while True:
            _number(folder, number)
            seal(folder)
            _settle(folder)
            target = place / str(number)
            try:
                # A rename onto a folder that is not empty fails: of two imports one moves on.
                folder.rename(target)
            except OSError:
                if not target.exists():
                    raise
                if given:
                    raise _taken(draft.name, given) from None
                number += 1
                continue
            return read_package(target)
    except OSError as error:
        raise HeliographError(
            Code.STORAGE_FULL, f"The package {draft.name!r} cannot be written: {error.strerror}."
        ) from error


def _number(folder: Path, number: int) -> None:
    """Write the version into a draft that has another one."""
    if read_package(folder).version == number:
        return
    text = (folder / "model.toml").read_text("utf-8")
    text = re.sub(r"(?m)^version = \d+$", f"version = {number}", text, count=1)
    (folder / "model.toml").write_text(text, "utf-8")


def _settle(folder: Path) -> None:
    """Files read-only for everybody and on the disk before the name appears."""
    for base, _, names in os.walk(folder):
        Path(base).chmod(_FOLDER_MODE)
        for name in names:
            path = Path(base, name)
            if name != "model.toml":
                path.chmod(0o444)
            with path.open("rb") as file:
                os.fsync(file.fileno())


def discard(folder: Path) -> None:
    """Remove a workshop."""
    remove(folder)


def _numbered(place: Path) -> list[tuple[int, Path]]:
    found = [(int(one.name), one) for one in place.iterdir() if re.fullmatch(r"\d{1,18}", one.name)]
    return sorted(found)


def _versions(place: Path) -> list[tuple[int, ModelPackage]]:
    if not place.is_dir():
        return []
    there = [(number, one) for number, one in _numbered(place) if (one / "model.toml").is_file()]
    return [(number, read_package(one)) for number, one in there]


def _same(one: ModelPackage, other: ModelPackage) -> bool:
    """Whether two packages are the same but for their number."""
    plain = [
        msgspec.structs.replace(each, version=1, folder="", provenance="", title="")
        for each in (one, other)
    ]
    return plain[0] == plain[1] and one.read_labels() == other.read_labels()


def _table(
    staged: Staged, evidence: Evidence, inferred: Inferred, name: str, about: Mapping[str, str]
) -> dict[str, Any]:
    parts = {one: sha256(staged.folder / one) for one in staged.parts}
    if staged.main.is_dir():
        digest = hashlib.sha256("".join(parts[one] for one in sorted(parts)).encode()).hexdigest()
    else:
        digest = sha256(staged.main)
    weights: dict[str, Any] = {"file": staged.file, "sha256": digest}
    if evidence.facts.recipe:
        weights["recipe"] = evidence.facts.recipe
    if parts:
        weights["parts"] = parts
    table: dict[str, Any] = {"name": name, "version": 1, "title": about.get("title") or name}
    table["task"] = inferred.task
    for key in ("description", "licence", "provenance"):
        if about.get(key):
            table[key] = about[key]
    table |= {"engine": evidence.facts.engine, "foreign": True}
    if inferred.labels:
        table["labels"] = "labels.txt"
    table["weights"] = weights
    if inferred.task != "tensors":
        table |= {"input": dict(inferred.input), "output": dict(inferred.output)}
    return table


def toml(table: Mapping[str, Any]) -> str:
    """A table of plain values and tables as TOML.

    Strings are written as JSON's are, which TOML's basic strings hold but for DEL.
    """
    plain = [
        f"{_key(key)} = {_value(value)}" for key, value in table.items() if not _is_table(value)
    ]
    text = "\n".join(plain) + "\n"
    for key, value in table.items():
        if _is_table(value):
            text += _section(_key(key), value)
    return text


def _section(title: str, table: Mapping[str, Any]) -> str:
    text = f"\n[{title}]\n"
    text += "".join(
        f"{_key(key)} = {_value(value)}\n" for key, value in table.items() if not _is_table(value)
    )
    for key, value in table.items():
        if _is_table(value):
            text += _section(f"{title}.{_key(key)}", value)
    return text


def _is_table(value: object) -> bool:
    return isinstance(value, Mapping)


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _value(key)


def _value(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value)
