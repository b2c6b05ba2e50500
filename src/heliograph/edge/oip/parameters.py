"""Parameters of requests, inputs and outputs: which names the protocol keeps for itself."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from heliograph.core.errors import Code, HeliographError
from heliograph.edge.oip.values import Parameter, Region

FINAL = "triton_enable_empty_final_response"
_PREFIX = "triton_"
_REGION, _OFFSET, _SIZE = (
    "shared_memory_region",
    "shared_memory_offset",
    "shared_memory_byte_size",
)
_UINT64 = 1 << 64


def check_parameters(given: Mapping[str, Any]) -> None:
    """Hold a request's parameters against the rules.

    Raises:
        HeliographError: `validation`; a reserved name, or a value that is no text, number or truth.
    """
    for name, value in given.items():
        if name.startswith(_PREFIX) and name != FINAL:
            raise HeliographError(
                Code.VALIDATION,
                f"parameter keys starting with '{_PREFIX}' are reserved for Triton usage; "
                f"'{name[:60]}' came",
            )
        if not isinstance(value, bool | int | float | str):
            raise HeliographError(
                Code.VALIDATION,
                f"parameter '{name[:60]}' has invalid type. It should be either 'int', 'bool', "
                "'double', or 'string'.",
            )


def classes(given: Mapping[str, Parameter]) -> int:
    """How many classes an output shall name instead of itself; 0 for none."""
    return _count(given, "classification")


def region(given: Mapping[str, Parameter]) -> Region | None:
    """The shared memory that an input lies in or an output goes to; None for none."""
    name = given.get(_REGION)
    if name is None:
        return None
    if not isinstance(name, str):
        raise HeliographError(Code.VALIDATION, f"'{_REGION}' must be a name")
    return Region(name, _count(given, _OFFSET), _count(given, _SIZE))


def deadline(given: Mapping[str, Parameter], now: float | None = None) -> float | None:
    """When a request with `timeout` (microseconds) runs out, by `time.perf_counter`; else None."""
    microseconds = _count(given, "timeout")
    if not microseconds:
        return None
    return (time.perf_counter() if now is None else now) + microseconds / 1e6


def sequence_of(given: Mapping[str, Parameter]) -> tuple[int | str, bool, bool] | None:
    """Id, start and end of the sequence that a request belongs to; None if to none."""
    which = given.get("sequence_id", 0)
    if isinstance(which, bool | float) or (isinstance(which, int) and not 0 <= which < _UINT64):
        raise HeliographError(
            Code.VALIDATION, "'sequence_id' must be an unsigned number of 64 bits or a text"
        )
    if not which:
        return None
    return which, given.get("sequence_start") is True, given.get("sequence_end") is True


def _count(given: Mapping[str, Parameter], name: str) -> int:
    value = given.get(name, 0)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _UINT64:
        raise HeliographError(Code.VALIDATION, f"parameter '{name}' must be a number of 0 or more")
    return value
