"""Is an OpenVINO model (IR) safe? Its XML is read with expat, without entities or a DOCTYPE.

Covered: operation sets other than OpenVINO's own (they would need a library), constants that reach
past the weights or hold other than they declare, depth and number of elements. Not covered: what a
well-formed graph computes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from xml.parsers import expat

from heliograph.core.errors import Code, HeliographError
from heliograph.registry.importing.bounds import MOST_ELEMENTS
from heliograph.registry.importing.files import mapped
from heliograph.registry.importing.names import printable
from heliograph.registry.importing.values import Staged

_MOST_ELEMENTS = 5_000_000
_LARGEST_XML = 512 << 20
_DEEPEST = 64
_OPSET = re.compile(r"opset([1-9]|1\d)|")
_BITS = {
    "f32": 32,
    "f16": 16,
    "bf16": 16,
    "f64": 64,
    "i64": 64,
    "i32": 32,
    "i16": 16,
    "i8": 8,
    "u64": 64,
    "u32": 32,
    "u16": 16,
    "u8": 8,
    "boolean": 8,
    "bool": 8,
    "i4": 4,
    "u4": 4,
    "u1": 1,
    "u2": 2,
    "u3": 3,
    "u6": 6,
    "nf4": 4,
    "f8e4m3": 8,
    "f8e5m2": 8,
    "f8e8m0": 8,
    "f4e2m1": 4,
}


def check(staged: Staged) -> None:
    """Refuse an IR that lies or reaches outside.

    Raises:
        HeliographError: `model_invalid`, `model_op_forbidden`, `model_resource_limit` or
            `model_external_data`.
    """
    held = (staged.folder / "model.bin").stat().st_size
    with mapped(staged.main) as data:
        if len(data) > _LARGEST_XML:
            raise HeliographError(
                Code.MODEL_RESOURCE_LIMIT, f"The .xml has {len(data):,} bytes; 512 MiB are allowed."
            )
        _Walk(held).read(bytes(data))


class _Walk:
    """One pass over the elements.

    Args:
        held: bytes of the weights file.
    """

    def __init__(self, held: int) -> None:
        self._held, self._depth, self._many, self._layer = held, 0, 0, ""

    def read(self, data: bytes) -> None:
        parser = expat.ParserCreate()
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.StartDoctypeDeclHandler = self._doctype
        try:
            parser.Parse(data, True)  # noqa: FBT003 - expat's own signature
        except expat.ExpatError as error:
            raise HeliographError(Code.MODEL_INVALID, "The .xml is not well-formed.") from error

    def _doctype(self, *_: object) -> None:
        raise HeliographError(Code.MODEL_INVALID, "The .xml has a DOCTYPE, which no IR has.")

    def _end(self, _: str) -> None:
        self._depth -= 1

    def _start(self, tag: str, about: Mapping[str, str]) -> None:
        self._depth += 1
        self._many += 1
        if self._depth > _DEEPEST or self._many > _MOST_ELEMENTS:
            raise HeliographError(
                Code.MODEL_RESOURCE_LIMIT, "The .xml is nested too deeply or has too many elements."
            )
        if tag == "layer":
            self._layer = about.get("name", "")
            opset = about.get("version", "")
            if not _OPSET.fullmatch(opset):
                raise HeliographError(
                    Code.MODEL_OP_FORBIDDEN,
                    f"The layer {printable(self._layer)} is of the operation set "
                    f"{printable(opset)}, which would need a library of its own.",
                )
        elif tag == "data" and "offset" in about:
            self._constant(about)

    def _constant(self, about: Mapping[str, str]) -> None:
        try:
            offset, size = int(about["offset"]), int(about["size"])
            shape = [int(one) for one in about.get("shape", "").split(",") if one.strip()]
        except (KeyError, ValueError) as error:
            raise self._wrong("has no readable place") from error
        if offset < 0 or size < 0 or offset + size > self._held:
            raise HeliographError(
                Code.MODEL_EXTERNAL_DATA,
                f"The constant {printable(self._layer)} lies at {offset:,} to {offset + size:,} of "
                f"weights of {self._held:,} bytes.",
            )
        if any(one < 0 for one in shape) or math.prod(shape) > MOST_ELEMENTS * 8:
            raise self._wrong(f"is declared as {shape[:8]}")
        bits = _BITS.get(about.get("element_type", ""))
        if bits and (math.prod(shape) * bits + 7) // 8 != size:
            raise self._wrong(
                f"is declared as {shape[:8]} of {about['element_type']}, but holds {size:,} bytes"
            )

    def _wrong(self, why: str) -> HeliographError:
        return HeliographError(Code.MODEL_INVALID, f"The constant {printable(self._layer)} {why}.")
