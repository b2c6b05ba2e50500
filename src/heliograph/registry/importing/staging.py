"""Copying a model into a folder of ours, and holding the copy against every check.

What is checked is what will be served: the copy is made first, of plain files only, and nobody else
writes there. `refuse_format` is asked before that.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection
from pathlib import Path

from heliograph.core.errors import Code, HeliographError
from heliograph.registry.importing.checks_onnx import check_onnx, outside_files
from heliograph.registry.importing.converting import RECIPES, convert
from heliograph.registry.importing.files import copy_plain, mapped, plain_files
from heliograph.registry.importing.onnx_file import read_onnx
from heliograph.registry.importing.values import TITLES, Format, Found, Staged

_UNSAFE: dict[Format, str] = {
    Format.PICKLE: "Opening one runs whatever its author wrote. Export the model to ONNX, or save "
    "it with skops, XGBoost's or LightGBM's own format.",
    Format.TORCH_PICKLE: "Opening one runs whatever its author wrote. Export the model with "
    "torch.export (.pt2) or to ONNX.",
    Format.H5: "Keras does not keep such files from running code. Save the model as .keras, a "
    "SavedModel or ONNX.",
    Format.TORCHSCRIPT: "It is a program. Export the model with torch.export (.pt2) or to ONNX, or "
    "allow it with --allow torchscript: it then runs behind a wall.",
}
ALLOWABLE = frozenset({Format.TORCHSCRIPT})
"""Formats refused unless an operator allows them; the other unsafe ones always are."""

_LARGEST_PROTOBUF = 2_000_000_000

_NAMES: dict[Format, str] = {
    Format.FROZEN_GRAPH: "model.pb",
    Format.KERAS: "model.keras",
    Format.ONNX: "model.onnx",
    Format.OPENVINO: "model.xml",
    Format.PT2: "model.pt2",
    Format.SAFETENSORS: "model.safetensors",
    Format.SAVED_MODEL: "model",
    Format.TFLITE: "model.tflite",
    Format.TORCHSCRIPT: "model.pt",
}


def refuse_format(kind: Format, allow: Collection[Format] = ()) -> None:
    """Refuse formats that can carry a program, by what they are: no scanner can call one good.

    Raises:
        HeliographError: `unsafe_format`, or `unsupported` for weights without a network.
    """
    if kind in _UNSAFE and not (kind in ALLOWABLE and kind in allow):
        raise HeliographError(
            Code.UNSAFE_FORMAT, f"This is {TITLES[kind]}, and is not opened. {_UNSAFE[kind]}"
        )
    if kind is Format.SAFETENSORS:
        raise HeliographError(
            Code.UNSUPPORTED,
            "A safetensors file holds weights without their network. Export the model to ONNX or "
            "with torch.export (.pt2).",
        )
    if kind is Format.ZIP:
        raise HeliographError(Code.MODEL_FORMAT, "In the archive there is no model known here.")


def stage(found: Found, folder: Path, allow: Collection[Format] = ()) -> Staged:
    """Copy a model and check the copy.

    Args:
        found: the model where it lies.
        folder: an empty folder of ours.
        allow: unsafe formats that the operator allows.

    Raises:
        HeliographError: `unsafe_format`, `model_external_data`, `model_op_forbidden`,
            `model_resource_limit`, `model_invalid`, `storage_full`.
    """
    refuse_format(found.format, allow)
    if found.format in RECIPES:
        copy_plain(found.main, folder.parent / "original")
        convert(found.format, folder.parent / "original", folder / "model.onnx")
        (folder.parent / "original").unlink()
        staged = Staged(Format.ONNX, folder, "model.onnx")
        check(staged)
        return staged
    name = _NAMES[found.format]
    if found.format is Format.SAVED_MODEL:
        parts = _copy_saved_model(found.main, folder, name)
    else:
        _small_enough(found)
        copy_plain(found.main, folder / name)
        parts = _copy_parts(found, folder, name)
    staged = Staged(found.format, folder, name, parts)
    check(staged)
    return staged


def _small_enough(found: Found) -> None:
    """Look at the size before anything is copied: no protobuf can be larger than this."""
    if found.format in {Format.ONNX, Format.FROZEN_GRAPH}:
        size = found.main.stat().st_size
        if size > _LARGEST_PROTOBUF:
            raise HeliographError(
                Code.MODEL_RESOURCE_LIMIT,
                f"{found.main.name!r} has {size:,} bytes; {_LARGEST_PROTOBUF:,} are allowed. Save "
                f"its weights in a file beside it (external data).",
            )


def _copy_parts(found: Found, folder: Path, name: str) -> tuple[str, ...]:
    """The files that the main file needs beside it."""
    beside = found.main.parent
    if found.format is Format.ONNX:
        with mapped(folder / name) as data:
            parts = outside_files(read_onnx(data))
        for part in parts:
            copy_plain(beside / part, folder / part, links=False)
        return tuple(parts)
    if found.format is Format.OPENVINO:
        weights = found.main.with_suffix(".bin")
        if not weights.exists():
            raise HeliographError(
                Code.MODEL_EXTERNAL_DATA,
                f"The weights of {found.main.name!r} are missing: expected {weights.name!r} "
                f"beside it.",
            )
        copy_plain(weights, folder / "model.bin", links=False)
        return ("model.bin",)
    if found.format is Format.TORCHSCRIPT:
        # The file does not tell its tensors; runtimes/torch.py reads them from there.
        if not (beside / "signature.json").exists():
            raise HeliographError(
                Code.MODEL_INVALID,
                "TorchScript does not tell its tensors: put a signature.json beside it "
                "(docs/howto/import-a-model.md shows one).",
            )
        copy_plain(beside / "signature.json", folder / "signature.json", links=False)
        return ("signature.json",)
    return ()


_SAVED = {"saved_model.pb", "fingerprint.pb"}


def _copy_saved_model(source: Path, folder: Path, name: str) -> tuple[str, ...]:
    parts: list[str] = []
    for path in plain_files(source):
        if str(path) in _SAVED or path.parts[0] in {"variables", "assets"}:
            copy_plain(source / path, folder / name / path, links=False)
            parts.append(f"{name}/{path}")
    return tuple(parts)


def check(staged: Staged) -> None:
    """Hold a copy against the checks of its format.

    Raises:
        HeliographError: see `stage`.
    """
    if staged.format is Format.ONNX:
        with mapped(staged.main) as data:
            check_onnx(read_onnx(data), lambda name: _size(staged, name))
        return
    module = _CHECKS.get(staged.format)
    if module:
        importlib.import_module(f"heliograph.registry.importing.{module}").check(staged)


def _size(staged: Staged, name: str) -> int:
    if name not in staged.parts:
        raise HeliographError(
            Code.MODEL_EXTERNAL_DATA, f"The model's weights file {name!r} is not beside it."
        )
    return (staged.folder / name).stat().st_size


_CHECKS: dict[Format, str] = {
    Format.FROZEN_GRAPH: "checks_tensorflow",
    Format.KERAS: "checks_keras",
    Format.OPENVINO: "checks_openvino",
    Format.PT2: "checks_torch",
    Format.SAFETENSORS: "checks_safetensors",
    Format.SAVED_MODEL: "checks_tensorflow",
    Format.TFLITE: "checks_tflite",
    Format.TORCHSCRIPT: "checks_torch",
}
"""The module that checks a format; each has `check(staged)`."""
