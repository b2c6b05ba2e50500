"""Packages that come back: what `heliograph export` wrote, or another house's, as a folder or zip.

Its `model.toml` says all that an import would ask. It is taken as a stranger's, as every package
that is brought in; its name may be changed, and it gets the next free number here.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from heliograph.registry.importing.adopting import Adopted, adopt
from heliograph.registry.importing.files import copy_plain, plain_files
from heliograph.registry.importing.package import check_name
from heliograph.registry.importing.values import Format
from heliograph.registry.importing.zips import open_zip, unpack
from heliograph.registry.values import read_package

_CARD = "model.toml"


def retake(
    source: Path, scratch: Path, *, name: str = "", allow: Collection[Format] = ()
) -> Adopted | None:
    """Draft a package as version 1 of a model; None if the source is no package.

    Args:
        source: a folder with a `model.toml` in it, or a zip of one.
        scratch: an empty folder of ours.
        name: the model's; empty for the one that it has.
        allow: unsafe formats that the operator allows.

    Raises:
        HeliographError: why it is refused.
    """
    folder = _unpacked(source, scratch / "unpacked")
    if folder is None:
        return None
    given = read_package(folder)
    chosen = check_name(name or given.name)
    copy = scratch / "given" / chosen / "1"
    for path in plain_files(folder):
        copy_plain(folder / path, copy / path, links=False)
    card = copy / _CARD
    text = re.sub(r"(?m)^name[ \t]*=.*$", f'name = "{chosen}"', card.read_text("utf-8"), count=1)
    text = re.sub(r"(?m)^version[ \t]*=[ \t]*\d+[ \t]*$\n", "", text, count=1)
    card.unlink()
    card.write_text(f"version = 1\n{text}", "utf-8")
    origin = f"{given.name} version {given.version}, exported"
    return adopt(copy.parent, "1", scratch / "home", source=origin, allow=allow)


def _unpacked(source: Path, target: Path) -> Path | None:
    if source.is_dir():
        return source if (source / _CARD).is_file() else None
    if source.suffix != ".zip" or not source.is_file():
        return None
    with open_zip(source) as archive:
        if _CARD not in archive.namelist():
            return None
    target.mkdir(parents=True)
    unpack(source, target)
    return target
