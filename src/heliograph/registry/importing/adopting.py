"""From a version's folder that somebody else made to a draft that can be served.

A model is drafted as `heliograph import` does it off a terminal, but asks nobody: what nothing
says is served as plain tensors. A package of ours is taken as it is, after the same checks, as a
stranger's: `foreign`, with all its files in it.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from heliograph.core.errors import Code, HeliographError
from heliograph.registry.importing.bringing import decide, look
from heliograph.registry.importing.draft import Answers
from heliograph.registry.importing.files import copy_plain, plain_files
from heliograph.registry.importing.sniff import sniff_file
from heliograph.registry.importing.staging import check, refuse_format
from heliograph.registry.importing.values import TITLES, Format, Staged
from heliograph.registry.values import ModelPackage, read_package


@dataclass(frozen=True, slots=True)
class Adopted:
    """A draft of what lay in a folder.

    Attributes:
        package: as it will be served, but for its number.
        home: a data folder with only this package in it, to try it in.
        what: what it is, in words.
        open: what could not be inferred, so that it is served as plain tensors; by option.
    """

    package: ModelPackage
    home: Path
    what: str
    open: tuple[str, ...] = ()


def adopt(
    folder: Path, version: str, scratch: Path, *, source: str, allow: Collection[Format] = ()
) -> Adopted:
    """Draft what lies in a folder.

    Args:
        folder: a model's, with one version in it, whose name is to be the model's.
        version: the name of the version's folder in it.
        scratch: a folder of ours.
        source: what the model's provenance says.
        allow: unsafe formats that the operator allows.

    Raises:
        HeliographError: why it is refused.
    """
    if (folder / version / "model.toml").exists():
        return _package(folder, version, scratch, allow)
    brought = look(folder, scratch, allow=allow)
    decided = decide(brought, Answers(), name=folder.name, source=source, about={})
    questions = tuple(one.field for one in decided.inferred.questions)
    if questions:
        plain = Answers(task="tensors")
        decided = decide(brought, plain, name=folder.name, source=source, about={})
    if decided.package is None:
        raise AssertionError("plain tensors ask nothing, but nothing was drafted; this is a bug")
    return Adopted(decided.package, decided.home, TITLES[decided.found.format], questions)


def _package(folder: Path, version: str, scratch: Path, allow: Collection[Format]) -> Adopted:
    given = read_package(folder / version)
    if (given.name, given.version) != (folder.name, int(version)):
        raise HeliographError(
            Code.MODEL_INVALID,
            f"model.toml: {given.name!r} version {given.version} lies in a folder named "
            f"{folder.name}/{version}.",
        )
    if given.requires or (given.weights and (given.weights.source or given.weights.recipe)):
        raise HeliographError(
            Code.MODEL_EXTERNAL_DATA,
            "model.toml: `source`, `recipe` and `requires` lead outside the package; a package "
            "that is brought in has all its files in it.",
        )
    target = scratch / "models" / given.name / str(given.version)
    for path in plain_files(folder / version):
        copy_plain(folder / version / path, target / path, links=False)
    if given.weights:
        _check(target, given, allow)
    if not given.foreign:
        _make_foreign(target / "model.toml")
    return Adopted(read_package(target), scratch, "a package")


def _check(folder: Path, package: ModelPackage, allow: Collection[Format]) -> None:
    """Hold the package's model against the checks of its format."""
    if package.weights is None:
        return
    main = folder / package.weights.file
    kind = Format.SAVED_MODEL if main.is_dir() else sniff_file(main)
    refuse_format(kind, allow)
    check(Staged(kind, folder, package.weights.file, tuple(package.weights.parts)))


def _make_foreign(card: Path) -> None:
    """Say that a package is a stranger's; a signature that covered another text goes."""
    text = card.read_text("utf-8")
    said = re.sub(r"(?m)^foreign[ \t]*=[ \t]*false[ \t]*$", "foreign = true", text, count=1)
    # What stands before the first table belongs to the whole.
    card.write_text(said if said != text else f"foreign = true\n{text}", "utf-8")
    (card.parent / "model.sig").unlink(missing_ok=True)
    if not read_package(card.parent).foreign:
        raise HeliographError(
            Code.MODEL_INVALID, "model.toml: a package that is brought in says foreign = true."
        )
