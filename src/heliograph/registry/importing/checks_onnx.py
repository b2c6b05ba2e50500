"""Is an ONNX file safe to hand to an engine? Asked of its description, without an engine.

Covered: which operation domains are named; local functions that call themselves or grow without
measure; graphs within graphs; weights whose declared size is not what their bytes hold; constants
that a few bytes make enormous (`ConstantOfShape`, `Expand`, `Tile` and their like, also through
arithmetic on constants); names that could not be served; weights kept in other files: only plain
files right beside the model. Not covered: what a well-formed graph computes, and faults of an
engine; for those a model runs in a process of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from heliograph.core.errors import Code, HeliographError
from heliograph.registry.importing.bounds import Bounds
from heliograph.registry.importing.names import check_names, printable
from heliograph.registry.importing.onnx_file import Constant, Function, Graph, Node, OnnxFile

DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
"""Operations of these are in every ONNX Runtime; others would need a library to be loaded."""

_FORBIDDEN = {
    ("com.microsoft", "EPContext"): "reads a compiled engine from a file it names",
    ("com.microsoft", "PyOp"): "runs Python",
    ("com.microsoft", "ExternalTensor"): "reads a file it names",
}
_MOST_NODES = 1_000_000
_DEEPEST_CALLS = 64
_MARKER = "_ORT_MEM_ADDR_"
_BITS = {
    1: 32,
    2: 8,
    3: 8,
    4: 16,
    5: 16,
    6: 32,
    7: 64,
    9: 8,
    10: 16,
    11: 64,
    12: 32,
    13: 64,
    14: 64,
    15: 128,
    16: 16,
    17: 8,
    18: 8,
    19: 8,
    20: 8,
    21: 4,
    22: 4,
    23: 4,
    24: 8,
    25: 2,
    26: 2,
}
"""Bits of an element, by `TensorProto.DataType`."""
_STRING = 8
_WIDTHS = {4: 4, 10: 8}
"""Bytes of an element of `float_data` and `double_data`; the other typed fields are varints."""

SizeOf = Callable[[str], int]
"""Bytes of a file that lies beside the model; raises `model_external_data` for any other name."""


def check_onnx(model: OnnxFile, size_of: SizeOf) -> None:
    """Refuse what must not reach an engine.

    Args:
        model: as read by `onnx_file.read_onnx`.
        size_of: tells the size of a weights file that the model names.

    Raises:
        HeliographError: `model_op_forbidden`, `model_resource_limit`, `model_external_data` or
            `model_invalid`.
    """
    check_names(
        [one.name for one in model.real_inputs()], [one.name for one in model.graph.outputs]
    )
    _domains(model)
    _functions(model.functions, model.graph)
    for body in (model.graph, *(Graph(nodes=one.nodes) for one in model.functions)):
        Bounds().graph(body)
    for graph in _graphs(model):
        for constant in graph.constants:
            _constant(constant, size_of)
        for node in graph.nodes:
            for attribute in node.attributes.values():
                for constant in attribute.tensors:
                    _constant(constant, size_of)


def outside_files(model: OnnxFile) -> list[str]:
    """The names of the files in which the model keeps weights, in order, none twice.

    Raises:
        HeliographError: `model_external_data` for a name that is not a plain file name.
    """
    found: dict[str, None] = {}
    for graph in _graphs(model):
        inside = [
            one for node in graph.nodes for a in node.attributes.values() for one in a.tensors
        ]
        for constant in (*graph.constants, *inside):
            if constant.external or constant.outside:
                found[_location(constant)[0]] = None
    return list(found)


def _graphs(model: OnnxFile) -> Iterator[Graph]:
    """The main graph, every graph within, and each local function's body as one."""
    waiting = [model.graph, *(Graph(nodes=one.nodes) for one in model.functions)]
    while waiting:
        graph = waiting.pop()
        yield graph
        for node in graph.nodes:
            for attribute in node.attributes.values():
                waiting += attribute.graphs


def _domains(model: OnnxFile) -> None:
    local = {(one.domain, one.name) for one in model.functions}
    for domain, name in local:
        if domain in DOMAINS:
            raise HeliographError(
                Code.MODEL_OP_FORBIDDEN,
                f"The model brings its own function {printable(name)} under the standard domain "
                f"{domain or 'ai.onnx'!r}.",
            )
    for graph in _graphs(model):
        for node in graph.nodes:
            if (node.domain, node.op) in local or not node.op:
                continue
            if node.domain not in DOMAINS:
                raise HeliographError(
                    Code.MODEL_OP_FORBIDDEN,
                    f"The operation {printable(node.op)} is of {printable(node.domain)}: it would "
                    f"need a library; only ai.onnx, ai.onnx.ml and com.microsoft are allowed.",
                )
            why = _FORBIDDEN.get((node.domain, node.op))
            if why:
                raise HeliographError(
                    Code.MODEL_OP_FORBIDDEN, f"The operation {node.op!r} is not allowed: it {why}."
                )


_Key = tuple[str, str, str]


def _functions(functions: list[Function], graph: Graph) -> None:
    """Refuse functions that call themselves, and calls that unfold to too many nodes."""
    bodies = {_key(one.domain, one.name, one.overload): one.nodes for one in functions}
    if len(bodies) != len(functions):
        raise HeliographError(Code.MODEL_INVALID, "Two local functions have the same name.")
    unfolding = _Unfolding(bodies)
    unfolding.nodes(graph.nodes)
    for key in bodies:
        unfolding.function(key)


def _key(domain: str, name: str, overload: str) -> _Key:
    return domain, name, overload


class _Unfolding:
    """How many nodes there are once every function is unfolded.

    Args:
        bodies: each function's nodes.
    """

    def __init__(self, bodies: dict[_Key, list[Node]]) -> None:
        self._bodies = bodies
        self._sizes: dict[_Key, int] = {}
        self._open: set[_Key] = set()

    def nodes(self, nodes: list[Node]) -> int:
        total = 0
        for node in nodes:
            total += 1
            key = _key(node.domain, node.op, node.overload)
            if key in self._bodies:
                total += self.function(key)
            for attribute in node.attributes.values():
                total += sum(self.nodes(one.nodes) for one in attribute.graphs)
        if total > _MOST_NODES:
            raise HeliographError(
                Code.MODEL_RESOURCE_LIMIT,
                f"With its functions unfolded the model has more than {_MOST_NODES:,} nodes.",
            )
        return total

    def function(self, key: _Key) -> int:
        if key in self._sizes:
            return self._sizes[key]
        if key in self._open or len(self._open) >= _DEEPEST_CALLS:
            raise HeliographError(
                Code.MODEL_OP_FORBIDDEN,
                f"The model's function {printable(key[1])} calls itself, or calls go deeper than "
                f"{_DEEPEST_CALLS}.",
            )
        self._open.add(key)
        self._sizes[key] = self.nodes(self._bodies[key])
        self._open.discard(key)
        return self._sizes[key]


def _constant(constant: Constant, size_of: SizeOf) -> None:
    """Hold a weight's declared size against its bytes."""
    if any(size < 0 for size in constant.dims):
        raise _wrong_size(constant, "a negative size")
    count = math.prod(constant.dims)
    if constant.dtype == _STRING:
        if count != constant.strings or constant.external or constant.outside:
            raise _wrong_size(constant, f"{constant.strings} strings")
        return
    bits = _BITS.get(constant.dtype)
    if bits is None:
        raise HeliographError(
            Code.MODEL_INVALID,
            f"The weight {printable(constant.name)} is of an unknown type, {constant.dtype}.",
        )
    need = (count * bits + 7) // 8
    if constant.external or constant.outside:
        _outside(constant, need, size_of)
        return
    held = len(constant.raw) if constant.raw is not None else None
    if held is not None and constant.typed:
        raise _wrong_size(constant, "its bytes in two places")
    if held is None:
        numbers = sum(_count(number, part) for number, p in constant.typed.items() for part in p)
        # Complex numbers and packed 4-bit ones hold two, or half, an element each.
        each = {14: 2, 15: 2}.get(constant.dtype, 1)
        expected = need if bits < 8 else count * each
        if numbers != expected:
            raise _wrong_size(constant, f"{numbers:,} numbers")
    elif held != need:
        raise _wrong_size(constant, f"{held:,} bytes")


def _count(number: int, part: memoryview) -> int:
    width = _WIDTHS.get(number)
    if width:
        return len(part) // width
    # A varint ends with the one byte whose top bit is clear.
    return int(np.count_nonzero(np.frombuffer(part, np.uint8) < 0x80))


def _outside(constant: Constant, need: int, size_of: SizeOf) -> None:
    """A weight in a file beside the model: the piece must lie within that file."""
    location, offset, length = _location(constant)
    held = size_of(location)
    length = need if length is None else length
    if length != need or offset < 0 or offset + length > held:
        raise HeliographError(
            Code.MODEL_EXTERNAL_DATA,
            f"The weight {printable(constant.name)} needs {need:,} bytes, but its place in "
            f"{location!r} is {length:,} bytes from {offset:,} on of {held:,}.",
        )


def _location(constant: Constant) -> tuple[str, int, int | None]:
    keys = [key for key, _ in constant.external]
    said = dict(constant.external)
    location = said.get("location", "")
    if len(keys) != len(said) or not set(said) <= {"location", "offset", "length", "checksum"}:
        raise _no_location(constant, "its entries are not location, offset and length, once each")
    if _MARKER in location:
        raise _no_location(constant, "it is an address in memory")
    if not location or location in {".", ".."} or set(location) & set("/\\:\0"):
        raise _no_location(constant, "it is no plain file name beside the model")
    if len(location) > 255 or not location.isprintable() or location != location.strip():
        raise _no_location(constant, "it is no plain file name beside the model")
    try:
        numbers = [int(said[key]) if said.get(key) else None for key in ("offset", "length")]
    except ValueError as error:
        raise _no_location(constant, "its offset or length is no number") from error
    return location, numbers[0] or 0, numbers[1]


def _no_location(constant: Constant, why: str) -> HeliographError:
    return HeliographError(
        Code.MODEL_EXTERNAL_DATA,
        f"The weight {printable(constant.name)} is kept in another file, and {why}. Put that file "
        f"right beside the model, or save the model as one file.",
    )


def _wrong_size(constant: Constant, held: str) -> HeliographError:
    return HeliographError(
        Code.MODEL_INVALID,
        f"The weight {printable(constant.name)} is declared as {constant.dims[:8]} of type "
        f"{constant.dtype}, but holds {held}.",
    )
