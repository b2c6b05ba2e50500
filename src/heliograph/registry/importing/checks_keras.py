"""Is a `.keras` file safe? Its `config.json` may name classes, and a class may be code.

Covered: everything but Keras's own classes, layers that carry code (`Lambda` and its kin),
attempts to switch Keras's safe mode off, weights files that point to other files. A `.keras` file
is always opened with `safe_mode=True`; there is no option to say otherwise.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from typing import Any

from heliograph.core.errors import Code, HeliographError
from heliograph.registry.importing.names import printable
from heliograph.registry.importing.values import Staged
from heliograph.registry.importing.zips import open_zip

_LARGEST = 64 << 20
_KERAS = re.compile(r"(keras|builtins)(\.[A-Za-z0-9_.]+)?")
_CODE = {
    "Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "function",
    "__lambda__", "__function__",
}  # fmt: skip
_SWITCHES = ("enable_unsafe_deserialization", "safe_mode", "disable_safe")
_PARTS = {"config.json", "metadata.json", "model.weights.h5"}


def check(staged: Staged) -> None:
    """Refuse a file that names code.

    Raises:
        HeliographError: `unsafe_format`, `model_op_forbidden`, `model_invalid`,
            `model_resource_limit`.
    """
    with open_zip(staged.main) as archive:
        for one in archive.infolist():
            inside = one.filename.startswith("assets/") or one.is_dir()
            if one.filename not in _PARTS and not inside:
                raise HeliographError(
                    Code.MODEL_INVALID,
                    f"The .keras file holds {printable(one.filename)}, which no such file does.",
                )
        for value in _values(_config(archive)):
            _check_value(value)
        if "model.weights.h5" in archive.namelist():
            _weights(archive.read("model.weights.h5"))


def _config(archive: zipfile.ZipFile) -> Any:
    if archive.getinfo("config.json").file_size > _LARGEST:
        raise HeliographError(Code.MODEL_RESOURCE_LIMIT, "config.json is larger than 64 MiB.")
    try:
        return json.loads(archive.read("config.json"))
    except (ValueError, RecursionError) as error:
        raise HeliographError(Code.MODEL_INVALID, "config.json is not valid JSON.") from error


def _values(config: Any) -> Iterator[Any]:
    """Every object and string in the configuration, keys too; an explicit stack, no recursion."""
    waiting = [config]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield one
            waiting += one.values()
            yield from one
        elif isinstance(one, list):
            waiting += one
        elif isinstance(one, str):
            yield one


def _check_value(value: Any) -> None:
    if isinstance(value, str):
        if any(one in value for one in _SWITCHES):
            raise HeliographError(
                Code.UNSAFE_FORMAT,
                f"The configuration says {printable(value)}: it tries to switch Keras's safe mode "
                f"off, which stays on.",
            )
        return
    kind, module = value.get("class_name"), value.get("module")
    if isinstance(kind, str) and (kind in _CODE or kind.rpartition(">")[2] in _CODE):
        raise HeliographError(
            Code.UNSAFE_FORMAT,
            f"The model has a {kind[:60]!r} layer, which is code. Save it without, or export the "
            f"model to ONNX.",
        )
    if isinstance(module, str) and not _KERAS.fullmatch(module):
        raise HeliographError(
            Code.MODEL_OP_FORBIDDEN,
            f"The model has a class of the module {printable(module)}; only Keras's own are "
            f"allowed. Export the model to ONNX.",
        )
    registered = value.get("registered_name")
    if isinstance(registered, str) and ">" in registered and not registered.startswith("keras>"):
        raise HeliographError(
            Code.MODEL_OP_FORBIDDEN,
            f"The model has a class of its own, {printable(registered)}. Export it to ONNX.",
        )


def _weights(data: bytes) -> None:
    """Refuse weights that point outside: HDF5 knows links and raw data in other files."""
    try:
        import h5py  # pyright: ignore[reportMissingImports] - comes with the extra
    except ModuleNotFoundError as error:
        raise HeliographError(
            Code.MODEL_UNAVAILABLE,
            "Reading .keras files needs Keras: pip install 'heliograph[tensorflow]'.",
        ) from error

    def visit(group: Any, depth: int) -> None:
        for name in group:
            link = group.get(name, getlink=True)
            if isinstance(link, (h5py.ExternalLink, h5py.SoftLink)) or depth > 64:
                raise HeliographError(
                    Code.MODEL_EXTERNAL_DATA, "The weights point to another place; save them whole."
                )
            one = group[name]
            if isinstance(one, h5py.Group):
                visit(one, depth + 1)
            elif one.external or one.is_virtual:
                raise HeliographError(
                    Code.MODEL_EXTERNAL_DATA, "The weights lie in another file; save them whole."
                )
            elif one.nbytes > max(1 << 20, 200 * one.id.get_storage_size()):
                raise HeliographError(
                    Code.MODEL_RESOURCE_LIMIT,
                    f"A weight is declared with {one.nbytes:,} bytes and stored in "
                    f"{one.id.get_storage_size():,}.",
                )

    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            visit(file, 0)
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise HeliographError(Code.MODEL_INVALID, "model.weights.h5 is damaged.") from error
