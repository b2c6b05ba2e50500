"""From what an operator typed to the model that is meant: a file, or the one inside a folder.

Folders are told by what lies in them: a SavedModel, a Triton repository (`config.pbtxt`,
`1/model.onnx`), a Hugging Face checkout, an Azure Custom Vision export, or simply one model file.
"""

from __future__ import annotations

from pathlib import Path

from heliograph.core.errors import Code, HeliographError
from heliograph.registry.importing.sniff import sniff_file
from heliograph.registry.importing.values import Format, Found
from heliograph.registry.importing.zips import unpack

_MODELS = {
    ".h5", ".joblib", ".keras", ".onnx", ".pb", ".pickle", ".pkl", ".pt", ".pt2", ".pth",
    ".safetensors", ".skops", ".tflite", ".ubj", ".xml",
}  # fmt: skip
_PLACES = ("", "onnx", "openvino", "tflite", "saved_model", "model.savedmodel", "variables")
_BETTER = (
    "model.onnx", "model.xml", "model.pt2", "model.tflite", "saved_model", "model.savedmodel",
    "model.keras",
)  # fmt: skip
_WORSE = (".safetensors", ".pt", ".pth", ".pkl", ".joblib", ".h5")


def find_model(source: Path, scratch: Path) -> Found:
    """The model that a path means.

    Args:
        source: a file or a folder.
        scratch: an empty folder of ours, for what has to be unpacked.

    Raises:
        HeliographError: `not_found`, `model_format`, or `validation` where it could be several.
    """
    if source.is_dir():
        return _in_folder(source)
    if not source.exists():
        raise HeliographError(Code.NOT_FOUND, f"There is no file or folder {source.name!r}.")
    kind = sniff_file(source)
    if kind is Format.ZIP:
        unpack(source, scratch)
        return _in_folder(_single(scratch))
    if kind is Format.SAVED_MODEL:
        return Found(kind, source.resolve().parent, source.resolve().parent)
    return Found(kind, source.resolve(), None)


def _single(folder: Path) -> Path:
    """Archives often hold one folder that holds everything."""
    inside = list(folder.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else folder


def _in_folder(folder: Path) -> Found:
    if (folder / "saved_model.pb").exists():
        return Found(Format.SAVED_MODEL, folder, folder)
    versions = [one for one in folder.iterdir() if one.is_dir() and one.name.isdigit()]
    if versions and ((folder / "config.pbtxt").exists() or not _models(folder)):
        latest = max(versions, key=lambda one: int(one.name))
        found = _in_folder(latest)
        return Found(found.format, found.main, folder, f"version {latest.name} of the folder")
    return _best(folder)


def _models(folder: Path) -> list[Path]:
    found: list[Path] = []
    for place in _PLACES:
        inside = folder / place
        if not inside.is_dir():
            continue
        if place and (inside / "saved_model.pb").exists():
            found.append(inside)
        found += sorted(
            one for one in inside.iterdir() if one.suffix.lower() in _MODELS and one.is_file()
        )
    return found


def _best(folder: Path) -> Found:
    found = _models(folder)
    # Weights beside a network are the same model once more, in a form that needs its code.
    networks = [one for one in found if not one.name.endswith(_WORSE)]
    chosen = networks or found
    for name in _BETTER:
        named = [one for one in chosen if one.name == name]
        if named:
            chosen = named
            break
    if not chosen:
        raise HeliographError(
            Code.MODEL_FORMAT,
            f"In the folder {folder.name!r} there is no model: expected an .onnx, .xml, .tflite, "
            f".pb, .keras or .pt2 file, or a saved_model.pb.",
        )
    if len(chosen) > 1:
        names = ", ".join(str(one.relative_to(folder)) for one in chosen[:8])
        raise HeliographError(
            Code.VALIDATION, f"Several models lie in {folder.name!r}: {names}. Name the one meant."
        )
    one = chosen[0]
    kind = Format.SAVED_MODEL if one.is_dir() else sniff_file(one)
    others = len(found) - 1
    note = f"{one.name} in the folder" + (f", of {others + 1} model files" if others else "")
    return Found(kind, one, folder, note)
