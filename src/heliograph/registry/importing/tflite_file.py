"""A TensorFlow Lite file as plain values, read without an engine.

Field numbers are those of `schema.fbs` (version 3) and `metadata_schema.fbs` of TensorFlow Lite.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from heliograph.registry.importing.companions import clean
from heliograph.registry.importing.flatbuffer import Table
from heliograph.registry.importing.zips import open_zip

CUSTOM = 32
TYPES = {
    0: "float32",
    1: "float16",
    2: "int32",
    3: "uint8",
    4: "int64",
    5: "object",
    6: "bool",
    7: "int16",
    9: "int8",
    10: "float64",
    12: "uint64",
    15: "uint32",
    16: "uint16",
}
_LARGEST_LABELS = 8 << 20


@dataclass(frozen=True, slots=True)
class LiteTensor:
    """One tensor of the first graph.

    Attributes:
        name: as the file says.
        kind: number in `TensorType`.
        shape: sizes, -1 where free.
        buffer: which buffer holds its values; 0 for none.
        quantised: scale and zero point where it has one of each.
        sparse: it is stored sparsely.
    """

    name: str
    kind: int
    shape: tuple[int, ...]
    buffer: int
    quantised: tuple[float, float] | None
    sparse: bool


@dataclass(slots=True)
class LiteFile:
    """The parts of a file that matter before it is loaded."""

    customs: list[str] = field(default_factory=list[str])
    tensors: list[LiteTensor] = field(default_factory=list[LiteTensor])
    inputs: list[int] = field(default_factory=list[int])
    outputs: list[int] = field(default_factory=list[int])
    buffers: list[int] = field(default_factory=list[int])
    """Bytes of each buffer."""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


def read_lite(data: memoryview) -> LiteFile:
    """Read a file.

    Raises:
        HeliographError: `model_invalid` where an offset leads outside.
    """
    model, made = Table.root(data), LiteFile()
    for one in model.tables(1):
        code = max(one.number(0, "<b"), one.number(3, "<i"))
        if code == CUSTOM:
            made.customs.append(one.text(1))
    buffers = model.tables(4)
    made.buffers = [_size(one, data) for one in buffers]
    for number, graph in enumerate(model.tables(2)):
        tensors = [_tensor(one) for one in graph.tables(0)]
        made.tensors += tensors
        if not number:
            made.inputs = [int(one) for one in graph.numbers(1, "<i")]
            made.outputs = [int(one) for one in graph.numbers(2, "<i")]
    for one in model.tables(6):
        which = one.number(1, "<I")
        if one.text(0) == "TFLITE_METADATA" and which < len(buffers):
            _metadata(buffers[which].bytes(0), made)
    return made


def _size(buffer: Table, data: memoryview) -> int:
    offset, size = buffer.number(1, "<Q"), buffer.number(2, "<Q")
    if offset > 1:
        # Large models keep their weights behind the FlatBuffer.
        return size if offset + size <= len(data) else -1
    return len(buffer.bytes(0))


def _tensor(one: Table) -> LiteTensor:
    shape = one.numbers(7, "<i") or one.numbers(0, "<i")
    quantised = None
    quantisation = one.table(4)
    if quantisation is not None:
        scales, zeros = quantisation.numbers(2, "<f"), quantisation.numbers(3, "<q")
        if len(scales) == 1 and len(zeros) <= 1:
            quantised = (scales[0], zeros[0] if zeros else 0.0)
    return LiteTensor(
        one.text(3),
        one.number(1, "<b"),
        tuple(map(int, shape)),
        one.number(2, "<I"),
        quantised,
        one.table(6) is not None,
    )


def _metadata(data: memoryview, made: LiteFile) -> None:
    """The normalisation that TFLite's metadata names for the first input."""
    for graph in Table.root(data).tables(3)[:1]:
        for tensor in graph.tables(2)[:1]:
            for unit in tensor.tables(4):
                options = unit.table(1)
                if unit.number(0, "<B") == 1 and options is not None:
                    made.mean = tuple(options.numbers(0, "<f"))
                    made.std = tuple(options.numbers(1, "<f"))


def packed_labels(path: Path) -> tuple[str, ...]:
    """The labels of a model with associated files: a zip behind the FlatBuffer.

    Raises:
        HeliographError: where that zip is hostile.
    """
    if not zipfile.is_zipfile(path):
        return ()
    with open_zip(path) as archive:
        for one in archive.infolist():
            if one.filename.endswith(".txt") and one.file_size <= _LARGEST_LABELS:
                lines = archive.read(one).decode("utf-8", "replace").splitlines()
                return clean(lines)
    return ()
