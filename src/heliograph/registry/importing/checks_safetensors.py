"""Is a safetensors file what it says? Its header is held against its length.

Source: the format's description in huggingface/safetensors: eight bytes of length, a JSON header,
then the tensors without gaps.
"""

from __future__ import annotations

import json
import math
from typing import Any

from heliograph.core.errors import Code, HeliographError
from heliograph.registry.importing.files import mapped
from heliograph.registry.importing.names import printable
from heliograph.registry.importing.values import Staged

LONGEST_HEADER = 100_000_000
_BITS = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "F8_E8M0": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "U16": 16,
    "I16": 16,
    "F16": 16,
    "BF16": 16,
    "U32": 32,
    "I32": 32,
    "F32": 32,
    "U64": 64,
    "I64": 64,
    "F64": 64,
    "C64": 64,
}


def check(staged: Staged) -> None:
    """Refuse a header that lies.

    Raises:
        HeliographError: `model_invalid` or `model_resource_limit`.
    """
    with mapped(staged.main) as data:
        length = int.from_bytes(data[:8], "little")
        if length > LONGEST_HEADER:
            raise HeliographError(
                Code.MODEL_RESOURCE_LIMIT,
                f"The header has {length:,} bytes; {LONGEST_HEADER:,} are allowed.",
            )
        if length > len(data) - 8:
            raise _invalid("its header reaches past its end")
        header = _header(bytes(data[8 : 8 + length]))
        _offsets(header, len(data) - 8 - length)


def _header(raw: bytes) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) != len(pairs):
            raise _invalid("a key stands twice in its header")
        return made

    try:
        header = json.loads(raw, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise _invalid("its header is not JSON") from error
    if not isinstance(header, dict):
        raise _invalid("its header is no JSON object")
    return header


def _offsets(header: dict[str, Any], held: int) -> None:
    places: list[tuple[int, int]] = []
    for name, about in header.items():
        if name == "__metadata__":
            continue
        try:
            begin, end = about["data_offsets"]
            shape, bits = about["shape"], _BITS[about["dtype"]]
            plain = all(type(one) is int and one >= 0 for one in (begin, end, *shape))
        except (KeyError, TypeError, ValueError) as error:
            raise _invalid(f"the tensor {printable(name)} is not described as one") from error
        if not plain or begin > end or end > held:
            raise _invalid(f"the tensor {printable(name)} lies outside the file")
        if (math.prod(shape) * bits + 7) // 8 != end - begin:
            raise _invalid(
                f"the tensor {printable(name)} is declared as {shape[:8]} of {about['dtype']}, but "
                f"holds {end - begin:,} bytes"
            )
        places.append((begin, end))
    at = 0
    for begin, end in sorted(places):
        if begin != at:
            raise _invalid("its tensors overlap or leave gaps")
        at = end
    if at != held:
        raise _invalid("there are bytes behind its last tensor")


def _invalid(why: str) -> HeliographError:
    return HeliographError(Code.MODEL_INVALID, f"The safetensors file is damaged: {why}.")
