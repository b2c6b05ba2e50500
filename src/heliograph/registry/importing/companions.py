"""What lies beside a model and speaks of it: labels, configurations, manifests, model cards."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from heliograph.core.errors import Code, HeliographError
from heliograph.registry.importing.sniff import read_json
from heliograph.registry.importing.values import Companions, Found

MOST_LABELS = 100_000
_LARGEST = 8 << 20
_LABELS = (
    "labels.txt",
    "classes.txt",
    "class_names.txt",
    "labelmap.txt",
    "synset.txt",
    "names.txt",
)
_ITEM = re.compile(r"item\s*\{([^{}]*)\}")
_PBTXT = re.compile(r"(\w+)\s*:\s*(?:\"([^\"\n]*)\"|'([^'\n]*)'|(\d+))")
_LICENCE = re.compile(r"^license:\s*([A-Za-z0-9.+-]{1,40})\s*$", re.MULTILINE)


def read_companions(found: Found) -> Companions:
    """Read everything that belongs to a model.

    Args:
        found: the model where it lies.

    Raises:
        HeliographError: `model_invalid` for a file that is there but broken.
    """
    folders = _folders(found)
    names, source = _labels(folders, found)
    config: Mapping[str, Any] = {}
    preprocessor: Mapping[str, Any] = {}
    manifest: Mapping[str, Any] = {}
    licence = ""
    for folder in folders:
        config = config or read_json(folder / "config.json")
        preprocessor = preprocessor or read_json(folder / "preprocessor_config.json")
        manifest = manifest or read_json(folder / "cvexport.manifest")
        licence = licence or _licence(folder / "README.md")
    return Companions(names, source, config, preprocessor, manifest, licence)


def _folders(found: Found) -> list[Path]:
    """Where to look: the model's own folder first, then those around it."""
    if found.around is None:
        return []
    own = found.main if found.main.is_dir() else found.main.parent
    folders = [own, found.around]
    assets = own / "assets"
    return list(dict.fromkeys([*folders, assets] if assets.is_dir() else folders))


def _labels(folders: list[Path], found: Found) -> tuple[tuple[str, ...], str]:
    if found.main.is_file():
        for ending in (".labels.txt", ".labels", ".txt", ".names"):
            own = found.main.with_suffix(ending)
            if own != found.main and own.is_file():
                return read_labels(own), own.name
    for folder in folders:
        for name in _LABELS:
            if (folder / name).is_file():
                return read_labels(folder / name), name
        maps = sorted(folder.glob("*label_map*.pbtxt"))
        if maps:
            return read_labels(maps[0]), maps[0].name
    return (), ""


def read_labels(path: Path) -> tuple[str, ...]:
    """A labels file: one a line, or a TensorFlow Object Detection API label map (`.pbtxt`).

    A line of a label map with id 5 becomes line 5: the API's ids begin at 1, line 0 stays empty.

    Raises:
        HeliographError: `model_invalid` if it is no such file.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise _wrong(path, f"is larger than {_LARGEST >> 20} MiB")
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise _wrong(path, "cannot be read") from error
    except UnicodeDecodeError as error:
        raise _wrong(path, "is not UTF-8 text") from error
    names = _label_map(text) if path.suffix == ".pbtxt" else text.splitlines()
    while names and not names[-1].strip():
        names.pop()
    if len(names) > MOST_LABELS:
        raise _wrong(path, f"has {len(names):,} lines; {MOST_LABELS:,} are allowed")
    return clean(names)


def clean(names: list[str]) -> tuple[str, ...]:
    """Labels as they can be kept one a line: no line breaks or control characters in them."""
    return tuple(
        "".join(one if one.isprintable() else " " for one in name).strip()[:500] for name in names
    )


def _label_map(text: str) -> list[str]:
    names: dict[int, str] = {}
    for item in _ITEM.findall(text):
        said = {key: a or b or number for key, a, b, number in _PBTXT.findall(item)}
        number = int(said.get("id", "0")[:9])
        if number <= MOST_LABELS:
            names[number] = said.get("display_name") or said.get("name", "")
    return [names.get(one, "") for one in range(max(names, default=-1) + 1)]


def _licence(card: Path) -> str:
    """The licence in the front matter of a Hugging Face model card."""
    if not card.is_file() or card.stat().st_size > _LARGEST:
        return ""
    text = card.read_text("utf-8", "replace")
    if not text.startswith("---"):
        return ""
    match = _LICENCE.search(text[: text.find("\n---", 3)])
    return match[1] if match else ""


def _wrong(path: Path, why: str) -> HeliographError:
    return HeliographError(Code.MODEL_INVALID, f"The labels file {path.name!r} {why}.")
