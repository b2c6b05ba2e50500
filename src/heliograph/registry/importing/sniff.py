"""What a file or folder is, by its content alone; a name that says otherwise is refused.

Nothing is loaded or executed: magic numbers, the outermost structure of a file, and for pickles
`pickletools`, which only reads opcodes.
"""

from __future__ import annotations

import bz2
import io
import json
import lzma
import pickletools
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from heliograph.core.errors import Code, HeliographError
from heliograph.registry.importing.files import mapped
from heliograph.registry.importing.protobuf import Budget, fields
from heliograph.registry.importing.values import TITLES, Format
from heliograph.registry.importing.zips import open_zip

_HEAD = 1 << 16
_SUFFIXES: dict[str, set[Format]] = {
    ".h5": {Format.H5},
    ".hdf5": {Format.H5},
    ".joblib": {Format.PICKLE},
    ".keras": {Format.KERAS},
    ".onnx": {Format.ONNX},
    ".pb": {Format.FROZEN_GRAPH, Format.SAVED_MODEL},
    ".pickle": {Format.PICKLE},
    ".pkl": {Format.PICKLE},
    ".pt": {Format.TORCH_PICKLE, Format.TORCHSCRIPT, Format.PT2},
    ".pt2": {Format.PT2},
    ".pth": {Format.TORCH_PICKLE, Format.TORCHSCRIPT},
    ".safetensors": {Format.SAFETENSORS},
    ".skops": {Format.SKOPS},
    ".tflite": {Format.TFLITE},
    ".ubj": {Format.XGBOOST},
    ".xml": {Format.OPENVINO},
    ".zip": {Format.ZIP},
}
_FOREIGN = {
    b"GGUF": "a GGUF language model",
    b"\x7fELF": "a program",
    b"MZ": "a program",
    b"#!": "a script",
    b"\x93NUMPY": "a NumPy array",
    b"\xff\xd8\xff": "a JPEG picture",
    b"\x89PNG": "a PNG picture",
}
_ONNX_FIELDS = {1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26}
_PACKED: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": lambda head: zlib.decompressobj(31).decompress(head, _HEAD),
    b"x\x01": lambda head: zlib.decompressobj().decompress(head, _HEAD),
    b"x\x5e": lambda head: zlib.decompressobj().decompress(head, _HEAD),
    b"x\x9c": lambda head: zlib.decompressobj().decompress(head, _HEAD),
    b"x\xda": lambda head: zlib.decompressobj().decompress(head, _HEAD),
    b"BZh": lambda head: bz2.BZ2Decompressor().decompress(head, _HEAD),
    b"\xfd7zXZ": lambda head: lzma.LZMADecompressor(memlimit=1 << 28).decompress(head, _HEAD),
    b"]\x00\x00": lambda head: lzma.LZMADecompressor(memlimit=1 << 28).decompress(head, _HEAD),
}


def sniff_file(path: Path) -> Format:
    """What one file is.

    Raises:
        HeliographError: `model_format` if it is no model, or not what its name says;
            `model_invalid` where it is broken.
    """
    with mapped(path) as data:
        found = _by_content(path, data)
    said = _SUFFIXES.get(path.suffix.lower())
    if found is None:
        raise HeliographError(
            Code.MODEL_FORMAT,
            f"{path.name!r} is no model that is known here; taken are ONNX, OpenVINO IR, TFLite, "
            f"SavedModel, frozen graphs, .keras, .pt2, XGBoost and LightGBM.",
        )
    if said is not None and found not in said:
        raise HeliographError(
            Code.MODEL_FORMAT,
            f"{path.name!r} is named as {' or '.join(sorted(TITLES[one] for one in said))}, but "
            f"its content is {TITLES[found]}.",
        )
    return found


def _by_content(path: Path, data: memoryview) -> Format | None:
    head = bytes(data[:_HEAD])
    if head[4:8] == b"TFL3":
        return Format.TFLITE
    if b"\x89HDF\r\n\x1a\n" in {head[at : at + 8] for at in (0, 512, 1024, 2048)}:
        return Format.H5
    if head[:4] in {b"PK\x03\x04", b"PK\x05\x06"}:
        return _zip(path)
    for magic, what in _FOREIGN.items():
        if head.startswith(magic):
            raise HeliographError(Code.MODEL_FORMAT, f"{path.name!r} is {what}, not a model.")
    for magic, unpack in _PACKED.items():
        if head.startswith(magic):
            return _compressed(path, head, unpack)
    if _is_safetensors(data, head):
        return Format.SAFETENSORS
    # Text comes first: a few words of it can pass for the opcodes of a pickle of protocol 0.
    found = _text(head)
    if found is None and is_pickle(head):
        found = Format.PICKLE
    return found or _protobuf(data)


def _compressed(path: Path, head: bytes, unpack: Callable[[bytes], bytes]) -> Format | None:
    try:
        inner = unpack(head)
    except (OSError, EOFError, zlib.error, lzma.LZMAError):
        return None
    if is_pickle(inner):
        return Format.PICKLE
    raise HeliographError(
        Code.MODEL_FORMAT, f"{path.name!r} is compressed; unpack it and import what is in it."
    )


def is_pickle(head: bytes) -> bool:
    """Whether the bytes begin as a pickle of any protocol; opcodes are read, none is executed."""
    if head[:1] == b"\x80" and len(head) > 1 and head[1] <= 5:
        return True
    # Protocols 0 and 1 have no magic: a few opcodes must parse, and one must be of a kind that
    # text or a protobuf would not begin with.
    many = 0
    try:
        for many, (code, _, _) in enumerate(pickletools.genops(io.BytesIO(head)), start=1):
            if code.name in {"STOP", "GLOBAL", "INST", "REDUCE"} and many > 1:
                return True
            if many > 256:
                return True
    except Exception:  # noqa: BLE001 - pickletools raises many kinds; all say "no pickle"
        return False
    return False


def _is_safetensors(data: memoryview, head: bytes) -> bool:
    length = int.from_bytes(head[:8], "little")
    return head[8:9] == b"{" and 2 <= length <= max(len(data) - 8, 0)


def _text(head: bytes) -> Format | None:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith((b"<?xml", b"<net")):
        return Format.OPENVINO if b"<net" in head else None
    if start.startswith((b"tree\n", b"tree\r\n")):
        return Format.LIGHTGBM if b"version=" in head[:200] else None
    if start.startswith(b"{L") and b"learner" in head[:64]:
        return Format.XGBOOST
    if start.startswith(b"{") and b'"learner"' in head:
        return Format.XGBOOST
    return None


def _protobuf(data: memoryview) -> Format | None:
    """ONNX, SavedModel and GraphDef have no magic: their outermost fields tell them apart."""
    kinds: dict[int, int] = {}
    try:
        for one in fields(data, Budget(200_000)):
            if kinds.setdefault(one.number, one.wire) != one.wire:
                return None
    except HeliographError as error:
        # A broken file that began as one is still told as what it began as.
        if error.code is not Code.MODEL_INVALID or not kinds:
            return None
    if kinds.get(7) == 2 and kinds.get(1, 0) == 0 and set(kinds) <= _ONNX_FIELDS:
        return Format.ONNX
    if kinds.get(1) == 0 and kinds.get(2) == 2 and set(kinds) <= {1, 2}:
        return Format.SAVED_MODEL
    if kinds.get(1) == 2 and set(kinds) <= {1, 2, 3, 4, 5}:
        return Format.FROZEN_GRAPH
    return None


def _zip(path: Path) -> Format:
    with open_zip(path) as archive:
        names = [one.filename for one in archive.infolist()]
        inner = {name.partition("/")[2] for name in names} | set(names)
        if {"serialized_exported_program.json"} & inner or (
            "archive_format" in inner and any(one.startswith("models/") for one in inner)
        ):
            return Format.PT2
        if "constants.pkl" in inner and any(one.startswith("code/") for one in inner):
            return Format.TORCHSCRIPT
        if "data.pkl" in inner:
            return Format.TORCH_PICKLE
        if "config.json" in names and "metadata.json" in names:
            return Format.KERAS
        if "schema.json" in names:
            return Format.SKOPS
        for one in archive.infolist():
            with archive.open(one) as file:
                if is_pickle(file.read(4096)):
                    return Format.PICKLE
    return Format.ZIP


def read_json(path: Path, most: int = 8 << 20) -> dict[str, Any]:
    """A JSON object beside a model; empty where there is none or it is no object.

    Raises:
        HeliographError: `model_invalid` for one that is too large or broken.
    """
    try:
        if not path.is_file():
            return {}
        if path.stat().st_size > most:
            raise HeliographError(
                Code.MODEL_INVALID, f"{path.name!r} is larger than {most >> 20} MiB."
            )
        made = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise HeliographError(Code.MODEL_INVALID, f"{path.name!r} is not valid JSON.") from error
    return made if isinstance(made, dict) else {}
