"""What both encodings of the protocol, REST and gRPC, are read into and written from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from heliograph.edge.oip.datatypes import Array

Parameter = bool | int | float | str


@dataclass(frozen=True, slots=True)
class Region:
    """A part of registered shared memory.

    Attributes:
        name: the region's; `offset` and `size` in bytes within it.
    """

    name: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Given:
    """An input as sent.

    Attributes:
        name: the tensor's; `datatype` and `shape` as the client says.
        array: its elements; None where they lie in shared memory.
        region: where they lie then.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    array: Array | None
    region: Region | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """An output that was asked for.

    Attributes:
        name: the tensor's.
        binary: raw bytes instead of JSON; gRPC knows nothing else.
        classes: the so many best classes instead of the tensor itself; 0 for the tensor.
        region: shared memory to write it to.
    """

    name: str
    binary: bool = False
    classes: int = 0
    region: Region | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """One inference request.

    Attributes:
        id: the client's own, echoed; empty for none.
        inputs: as sent, in order.
        outputs: as asked for, in order; empty for all.
        binary: outputs nobody named go as raw bytes.
        parameters: of the request, as sent.
    """

    id: str
    inputs: tuple[Given, ...]
    outputs: tuple[Wanted, ...]
    binary: bool = False
    parameters: Mapping[str, Parameter] = field(default_factory=dict[str, Parameter])


@dataclass(frozen=True, slots=True)
class Told:
    """An output of an answer.

    Attributes:
        name: the tensor's; `datatype` and `shape` as told.
        array: its elements; None where they were written to shared memory.
        binary: raw bytes instead of JSON.
        region: where they were written.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    array: Array | None
    binary: bool
    region: Region | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """One inference answer.

    Attributes:
        id: the client's own.
        model: name; `version` likewise.
        outputs: in order.
        parameters: of the answer.
    """

    id: str
    model: str
    version: str
    outputs: tuple[Told, ...]
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
