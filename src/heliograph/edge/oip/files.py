"""Files that a load request brings: they become the next version of the model, by the importer.

Everything `heliograph import` refuses is refused here, too. Versions never change: files for a
number that is there must be the same ones, and a new number must be the next.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from heliograph.core.errors import Code, HeliographError
from heliograph.registry.catalog import Product
from heliograph.registry.importing.bringing import decide, look
from heliograph.registry.importing.draft import Answers
from heliograph.registry.importing.package import discard, publish, workshop
from heliograph.serving.values import Model

_PART = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}"
_PATH = re.compile(rf"([1-9][0-9]{{0,8}})/({_PART}(?:/{_PART}){{0,4}})")
_MOST_FILES = 256


def bring(home: Path, name: str, files: Mapping[str, bytes], product: Product[Model] | None) -> str:
    """Make a version of a model of these files.

    Args:
        home: the data folder.
        name: the model's.
        files: bytes by `VERSION/PATH`, all of one version.
        product: the model as it is; None if there is none of that name.

    Returns:
        The version.

    Raises:
        HeliographError: why the files are refused.
    """
    version, inside = _one_version(files)
    if product is not None and version in product.shelves:
        weights = product.shelves[version].package.weights
        digests = {hashlib.sha256(data).hexdigest() for data in inside.values()}
        if weights is not None and weights.sha256 in digests:
            return version
        raise HeliographError(
            Code.CONFLICT, f"version {version} is there already, and versions never change"
        )
    following = str(max(map(int, product.versions), default=0) + 1) if product else "1"
    if version != following:
        raise HeliographError(Code.VALIDATION, f"the next version of it is {following}")
    scratch = workshop(home)
    try:
        for path, data in inside.items():
            target = scratch / "given" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        return _publish(scratch / "given", home, name)
    finally:
        discard(scratch)


def _publish(source: Path, home: Path, name: str) -> str:
    brought = look(source, home)
    try:
        answers, told = Answers(task="tensors"), "a load request"
        brought = decide(brought, answers, name=name, source=told, about={})
        if brought.package is None:
            raise HeliographError(
                Code.MODEL_INVALID, "it needs answers: bring it in with 'heliograph import'"
            )
        return str(publish(brought.staged.folder, home, again=True).package.version)
    finally:
        discard(brought.home)


def _one_version(files: Mapping[str, bytes]) -> tuple[str, dict[str, bytes]]:
    if len(files) > _MOST_FILES:
        raise HeliographError(Code.TOO_LARGE, f"at most {_MOST_FILES} files are taken")
    inside: dict[str, bytes] = {}
    versions: set[str] = set()
    for path, data in files.items():
        match = _PATH.fullmatch(path)
        if match is None or ".." in path:
            raise HeliographError(
                Code.VALIDATION, f"'{path[:80]}' is no path such as '1/model.onnx'"
            )
        versions.add(match[1])
        inside[match[2]] = data
    if len(versions) != 1:
        raise HeliographError(Code.VALIDATION, "the files of one version are taken at a time")
    return versions.pop(), inside
