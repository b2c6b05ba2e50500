"""An ONNX file as plain values: read by our own bounded walk, before any engine sees it.

Only what safety, the signature and recognition need is kept; weights stay where they are, as views
of the file. Field numbers are those of `onnx.proto` (IR version 13).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from heliograph.core.errors import Code, HeliographError
from heliograph.registry.importing.protobuf import (
    Budget,
    Field,
    fields,
    float_of,
    integers,
    signed,
    text,
)

DEEPEST = 32
_LONGEST_METADATA = 4 << 20


@dataclass(slots=True)
class Constant:
    """A TensorProto: what it declares, and where its bytes are.

    Attributes:
        name: empty for an attribute's tensor.
        dtype: number in `TensorProto.DataType`.
        dims: declared sizes.
        raw: `raw_data`.
        typed: the packed (or collected) bytes of `float_data` and its sisters, by field number.
        strings: how many `string_data` there are.
        external: key and value of each `external_data` entry, in order.
        outside: `data_location` says EXTERNAL.
    """

    name: str = ""
    dtype: int = 0
    dims: list[int] = field(default_factory=list[int])
    raw: memoryview | None = None
    typed: dict[int, list[memoryview]] = field(default_factory=dict[int, list[memoryview]])
    strings: int = 0
    external: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    outside: bool = False


@dataclass(slots=True)
class Attribute:
    """An AttributeProto."""

    name: str = ""
    number: int = 0
    real: float = 0.0
    text: bytes = b""
    numbers: list[int] = field(default_factory=list[int])
    tensors: list[Constant] = field(default_factory=list["Constant"])
    graphs: list[Graph] = field(default_factory=list["Graph"])


@dataclass(slots=True)
class Node:
    """A NodeProto."""

    op: str = ""
    domain: str = ""
    overload: str = ""
    inputs: list[str] = field(default_factory=list[str])
    outputs: list[str] = field(default_factory=list[str])
    attributes: dict[str, Attribute] = field(default_factory=dict[str, Attribute])


@dataclass(slots=True)
class Value:
    """A ValueInfoProto of a tensor; `dtype` 0 where it is a sequence, a map or optional.

    Attributes:
        name: the value's name.
        dtype: number in `TensorProto.DataType`.
        shape: sizes, -1 where free; None where not even the rank is known.
        symbols: the names of free sizes, `""` elsewhere.
    """

    name: str = ""
    dtype: int = 0
    shape: tuple[int, ...] | None = None
    symbols: tuple[str, ...] = ()


@dataclass(slots=True)
class Graph:
    """A GraphProto."""

    nodes: list[Node] = field(default_factory=list[Node])
    constants: list[Constant] = field(default_factory=list[Constant])
    inputs: list[Value] = field(default_factory=list[Value])
    outputs: list[Value] = field(default_factory=list[Value])
    depth: int = 0


@dataclass(slots=True)
class Function:
    """A FunctionProto: a local function of the model."""

    name: str = ""
    domain: str = ""
    overload: str = ""
    nodes: list[Node] = field(default_factory=list[Node])


@dataclass(slots=True)
class OnnxFile:
    """A ModelProto."""

    ir_version: int = 0
    producer: str = ""
    opsets: dict[str, int] = field(default_factory=dict[str, int])
    graph: Graph = field(default_factory=Graph)
    functions: list[Function] = field(default_factory=list[Function])
    metadata: dict[str, str] = field(default_factory=dict[str, str])

    def real_inputs(self) -> list[Value]:
        """The inputs a caller feeds: old files list their weights among the inputs, too."""
        held = {one.name for one in self.graph.constants}
        return [one for one in self.graph.inputs if one.name not in held]


def read_onnx(data: memoryview) -> OnnxFile:
    """Read a whole file.

    Raises:
        HeliographError: `model_invalid` or `model_resource_limit`.
    """
    model, budget = OnnxFile(), Budget()
    graphs = 0
    for one in fields(data, budget):
        if one.number == 1:
            model.ir_version = one.value
        elif one.number == 2:
            model.producer = text(one.data)
        elif one.number == 7:
            graphs += 1
            model.graph = _graph(one.data, budget, 0)
        elif one.number == 8:
            domain, version = _opset(one.data, budget)
            model.opsets[domain] = version
        elif one.number == 14:
            key, value = _pair(one.data, budget, _LONGEST_METADATA)
            model.metadata[key] = value
        elif one.number == 20:
            raise HeliographError(
                Code.MODEL_OP_FORBIDDEN, "The model carries a training graph; export it without."
            )
        elif one.number == 25:
            model.functions.append(_function(one.data, budget))
    if graphs != 1:
        raise HeliographError(
            Code.MODEL_INVALID, f"The file holds {graphs} graphs; an ONNX model holds exactly one."
        )
    return model


def _graph(data: memoryview, budget: Budget, depth: int) -> Graph:
    if depth > DEEPEST:
        raise HeliographError(
            Code.MODEL_RESOURCE_LIMIT,
            f"Graphs lie inside graphs deeper than {DEEPEST} levels; flatten the model.",
        )
    graph = Graph(depth=depth)
    for one in fields(data, budget):
        if one.number == 1:
            graph.nodes.append(_node(one.data, budget, depth))
        elif one.number == 5:
            graph.constants.append(_constant(one.data, budget))
        elif one.number == 11:
            graph.inputs.append(_value(one.data, budget))
        elif one.number == 12:
            graph.outputs.append(_value(one.data, budget))
        elif one.number == 15:
            graph.constants += _sparse(one.data, budget)
    return graph


def _node(data: memoryview, budget: Budget, depth: int) -> Node:
    node = Node()
    for one in fields(data, budget):
        if one.number == 1:
            node.inputs.append(text(one.data))
        elif one.number == 2:
            node.outputs.append(text(one.data))
        elif one.number == 4:
            node.op = text(one.data)
        elif one.number == 5:
            attribute = _attribute(one.data, budget, depth)
            if attribute.name in node.attributes:
                raise HeliographError(
                    Code.MODEL_INVALID,
                    f"A node {node.op[:60]!r} has its attribute {attribute.name[:60]!r} twice.",
                )
            node.attributes[attribute.name] = attribute
        elif one.number == 7:
            node.domain = text(one.data)
        elif one.number == 8:
            node.overload = text(one.data)
    return node


def _attribute(data: memoryview, budget: Budget, depth: int) -> Attribute:
    made = Attribute()
    for one in fields(data, budget):
        if one.number == 1:
            made.name = text(one.data)
        elif one.number == 2:
            made.real = float_of(one)
        elif one.number == 3:
            made.number = signed(one.value)
        elif one.number == 4:
            made.text = bytes(one.data[:4096])
        elif one.number in {5, 10}:
            made.tensors.append(_constant(one.data, budget))
        elif one.number in {6, 11}:
            made.graphs.append(_graph(one.data, budget, depth + 1))
        elif one.number == 8:
            made.numbers += integers(one)
        elif one.number in {22, 23}:
            made.tensors += _sparse(one.data, budget)
    return made


def _constant(data: memoryview, budget: Budget) -> Constant:
    made = Constant()
    for one in fields(data, budget):
        if one.number == 1:
            made.dims += integers(one)
        elif one.number == 2:
            made.dtype = one.value
        elif one.number == 3:
            raise HeliographError(Code.MODEL_INVALID, "A weight is stored in segments.")
        elif one.number == 8:
            made.name = text(one.data)
        else:
            _stored(made, one, budget)
    if len(made.dims) > 64:
        raise HeliographError(Code.MODEL_INVALID, f"A weight has {len(made.dims)} dimensions.")
    return made


def _stored(made: Constant, one: Field, budget: Budget) -> None:
    """The fields that hold a weight's values, or say where they are."""
    if one.number in {4, 5, 7, 10, 11}:
        made.typed.setdefault(one.number, []).append(_packed(one))
    elif one.number == 6:
        made.strings += 1
    elif one.number == 9:
        made.raw = one.data
    elif one.number == 13:
        made.external.append(_pair(one.data, budget, 4096))
    elif one.number == 14:
        made.outside = one.value == 1


def _packed(one: Field) -> memoryview:
    """A repeated number's bytes; one that is not packed is packed here."""
    if one.wire:
        return one.data
    value, out = one.value & ((1 << 64) - 1), bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return memoryview(bytes([*out, value]))


def _sparse(data: memoryview, budget: Budget) -> list[Constant]:
    """The values and the indices of a SparseTensorProto."""
    return [_constant(one.data, budget) for one in fields(data, budget) if one.number in {1, 2}]


def _function(data: memoryview, budget: Budget) -> Function:
    made = Function()
    for one in fields(data, budget):
        if one.number == 1:
            made.name = text(one.data)
        elif one.number == 7:
            made.nodes.append(_node(one.data, budget, 1))
        elif one.number == 10:
            made.domain = text(one.data)
        elif one.number == 11:
            # A default of an attribute may hold a graph, which is walked as any other.
            attribute = _attribute(one.data, budget, 1)
            made.nodes.append(Node(attributes={attribute.name: attribute}))
        elif one.number == 13:
            made.overload = text(one.data)
    return made


def _value(data: memoryview, budget: Budget) -> Value:
    made = Value()
    for one in fields(data, budget):
        if one.number == 1:
            made.name = text(one.data)
        elif one.number == 2:
            for kind in fields(one.data, budget):
                if kind.number == 1:
                    _tensor_type(made, kind.data, budget)
    return made


def _tensor_type(made: Value, data: memoryview, budget: Budget) -> None:
    for one in fields(data, budget):
        if one.number == 1:
            made.dtype = one.value
        elif one.number == 2:
            sizes: list[int] = []
            symbols: list[str] = []
            for dim in fields(one.data, budget):
                size, symbol = -1, ""
                for part in fields(dim.data, budget):
                    if part.number == 1:
                        size = signed(part.value)
                    elif part.number == 2:
                        symbol = text(part.data)
                sizes.append(size if size >= 0 else -1)
                symbols.append(symbol)
            made.shape, made.symbols = tuple(sizes), tuple(symbols)


def _opset(data: memoryview, budget: Budget) -> tuple[str, int]:
    domain, version = "", 0
    for one in fields(data, budget):
        if one.number == 1:
            domain = text(one.data)
        elif one.number == 2:
            version = signed(one.value)
    return domain, version


def _pair(data: memoryview, budget: Budget, longest: int) -> tuple[str, str]:
    """A StringStringEntryProto."""
    key = value = ""
    for one in fields(data, budget):
        if one.number == 1:
            key = text(one.data)
        elif one.number == 2:
            if len(one.data) > longest:
                raise HeliographError(
                    Code.MODEL_RESOURCE_LIMIT,
                    f"The metadata entry {key[:60]!r} has {len(one.data):,} bytes; "
                    f"{longest:,} are allowed.",
                )
            value = str(one.data, "utf-8", "replace")
    return key, value
