"""Is a SavedModel or frozen graph safe? Asked of its nodes and functions, without TensorFlow.

A TensorFlow graph is a program: it can read and write files. Covered: every operation of the graph
and of every function. What TensorFlow's own saver adds, saving and restoring, is let be where
neither a signature nor the initialiser reaches it; what runs as a model is loaded may restore only.
Also declared sizes of constants, and enormous ones. Not covered: what allowed operations do with
hostile numbers. `runtimes/tfops.py` asks again, by a closed list, before TensorFlow loads.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from heliograph.core.errors import Code, HeliographError
from heliograph.registry.importing.bounds import MOST_ELEMENTS
from heliograph.registry.importing.files import mapped
from heliograph.registry.importing.names import printable
from heliograph.registry.importing.protobuf import Budget, fields, integers, signed, text
from heliograph.registry.importing.values import Format, Staged

_REACHES_OUT = re.compile(
    r"File|^Read(?!Variable)|^Write|PyFunc|^Eager|Restore|Save|Reader|Dataset|Rpc|^_?Send|^_?Recv"
    r"|Debug|^Print|^LogString|Socket|Record|Iterator|Checkpoint|Snapshot|^Xla(Custom|Launch|Call)"
    r"|Sharded|Summary|^Delete|^Remote|^Load|^Dynamic(Enqueue|Partitioner)?Tpu|Tpu|TPU|Barrier"
    r"|^FIFOQueue|Queue(Enqueue|Dequeue)|^MergeV2|^Collective|^Conditional?Accumulator|Abort"
    r"|^(Map)?(Un)?[Ss]tage|Grpc|Curl|Http|Ffmpeg|^DecodeVideo|^Encode(Wav|Proto)|^DecodeProto"
)
_RESTORES = frozenset({"RestoreV2", "Restore", "RestoreSlice"})
_SAVER = _RESTORES | {"SaveV2", "Save", "SaveSlices", "ShardedFilename", "MergeV2Checkpoints"}
_DEEPEST = 64
_SIZES = {1: 4, 2: 8, 3: 4, 4: 1, 5: 2, 6: 1, 9: 8, 10: 1, 14: 2, 17: 2, 19: 2, 22: 4, 23: 8}
"""Bytes of an element, by `DataType`, where it is fixed."""


@dataclass(slots=True)
class TfNode:
    """A NodeDef.

    Attributes:
        name: in its graph.
        op: the operation, or a function's name.
        inputs: names of what it takes, with `:index` and `^`.
        functions: functions that its attributes name.
        constants: for each tensor attribute its type, sizes and bytes of `tensor_content`.
    """

    name: str = ""
    op: str = ""
    inputs: list[str] = field(default_factory=list[str])
    functions: list[str] = field(default_factory=list[str])
    constants: list[tuple[int, list[int], int]] = field(
        default_factory=list[tuple[int, list[int], int]]
    )


@dataclass(slots=True)
class TfGraph:
    """A GraphDef with its functions, and the nodes that a SavedModel's signatures name.

    Attributes:
        nodes: of the graph itself.
        functions: nodes of each function by its name.
        roots: nodes that signatures and the initialiser name; all where there are none.
        restore: the node that TensorFlow runs as it loads the model; empty for none.
    """

    nodes: list[TfNode] = field(default_factory=list[TfNode])
    functions: dict[str, list[TfNode]] = field(default_factory=dict[str, list[TfNode]])
    roots: list[str] = field(default_factory=list[str])
    restore: str = ""


def check(staged: Staged) -> None:
    """Refuse a graph that reaches outside.

    Raises:
        HeliographError: `model_op_forbidden`, `model_resource_limit` or `model_invalid`.
    """
    saved = staged.format is Format.SAVED_MODEL
    with mapped(staged.main / "saved_model.pb" if saved else staged.main) as data:
        budget = Budget()
        graphs = _saved_model(data, budget) if saved else [read_graph(data, budget)]
        for graph in graphs:
            check_graph(graph)


def check_graph(graph: TfGraph) -> None:
    """Refuse operations that reach outside, and what is built to exhaust.

    Raises:
        HeliographError: see `check`.
    """
    for node in (*graph.nodes, *(one for body in graph.functions.values() for one in body)):
        _constants(node)
    done: set[str] = set()
    for node in _reached(graph, graph.roots or [one.name for one in graph.nodes]):
        _operation(node, graph, frozenset())
        _follow(node, graph, done, frozenset())
    restored: set[str] = set()
    for node in _reached(graph, [graph.restore]):
        _operation(node, graph, _RESTORES)
        _follow(node, graph, restored, _RESTORES)
    rest = (one for name, body in graph.functions.items() if name not in done for one in body)
    for node in (*graph.nodes, *rest):
        _operation(node, graph, _SAVER)


def _reached(graph: TfGraph, roots: list[str]) -> Iterator[TfNode]:
    """The nodes that run for these, from them backwards."""
    by_name = {one.name: one for one in graph.nodes}
    waiting, seen = list(roots), set[str]()
    while waiting:
        name = waiting.pop().removeprefix("^").partition(":")[0]
        node = by_name.get(name)
        if name in seen or node is None:
            continue
        seen.add(name)
        yield node
        waiting += node.inputs


def _follow(node: TfNode, graph: TfGraph, done: set[str], allowed: frozenset[str]) -> None:
    """Check the functions that a node calls, and those that they call."""
    waiting = [node]
    while waiting:
        one = waiting.pop()
        for name in (*one.functions, one.op):
            if name in graph.functions and name not in done:
                done.add(name)
                for inner in graph.functions[name]:
                    _operation(inner, graph, allowed)
                    waiting.append(inner)


def _operation(node: TfNode, graph: TfGraph, allowed: frozenset[str]) -> None:
    if node.op in graph.functions or node.op in allowed:
        return
    if _REACHES_OUT.search(node.op):
        raise HeliographError(
            Code.MODEL_OP_FORBIDDEN,
            f"The graph has the operation {printable(node.op)}, which reaches outside the model "
            f"(files, network, Python or training). Export the model for inference only.",
        )


def _constants(node: TfNode) -> None:
    for kind, dims, held in node.constants:
        count = math.prod(dims)
        if any(size < 0 for size in dims) or count > MOST_ELEMENTS:
            raise HeliographError(
                Code.MODEL_RESOURCE_LIMIT,
                f"The constant {printable(node.name)} is declared with {count:,} elements; "
                f"{MOST_ELEMENTS:,} are allowed.",
            )
        if held and kind in _SIZES and held != count * _SIZES[kind]:
            raise HeliographError(
                Code.MODEL_INVALID,
                f"The constant {printable(node.name)} is declared as {dims[:8]} of type {kind}, "
                f"but holds {held:,} bytes.",
            )


# --- reading -------------------------------------------------------------------------------------


def _saved_model(data: memoryview, budget: Budget) -> list[TfGraph]:
    graphs = [_meta_graph(one.data, budget) for one in fields(data, budget) if one.number == 2]
    if not graphs:
        raise HeliographError(Code.MODEL_INVALID, "The SavedModel holds no graph.")
    return graphs


def _meta_graph(data: memoryview, budget: Budget) -> TfGraph:
    graph, roots, restore = TfGraph(), list[str](), ""
    for one in fields(data, budget):
        if one.number == 2:
            graph = read_graph(one.data, budget)
        elif one.number == 5:
            roots += _signature(one.data, budget)
        elif one.number == 4:
            roots += _initialiser(one.data, budget)
        elif one.number == 3:
            names = [text(part.data) for part in fields(one.data, budget) if part.number == 3]
            restore = names[-1] if names else ""
    graph.roots, graph.restore = roots, restore
    return graph


def read_graph(data: memoryview, budget: Budget) -> TfGraph:
    """A GraphDef.

    Raises:
        HeliographError: `model_invalid` or `model_resource_limit`.
    """
    graph = TfGraph()
    for one in fields(data, budget):
        if one.number == 1:
            graph.nodes.append(_node(one.data, budget))
        elif one.number == 2:
            for part in fields(one.data, budget):
                if part.number == 1:
                    name, nodes = _function(part.data, budget)
                    graph.functions[name] = nodes
    return graph


def _function(data: memoryview, budget: Budget) -> tuple[str, list[TfNode]]:
    name, nodes = "", list[TfNode]()
    for one in fields(data, budget):
        if one.number == 1:
            name = next((text(p.data) for p in fields(one.data, budget) if p.number == 1), "")
        elif one.number == 3:
            nodes.append(_node(one.data, budget))
    return name, nodes


def _node(data: memoryview, budget: Budget) -> TfNode:
    node = TfNode()
    for one in fields(data, budget):
        if one.number == 1:
            node.name = text(one.data)
        elif one.number == 2:
            node.op = text(one.data)
        elif one.number == 3:
            node.inputs.append(text(one.data))
        elif one.number == 5:
            for part in fields(one.data, budget):
                if part.number == 2:
                    _attribute(part.data, node, budget, 0)
    return node


def _attribute(data: memoryview, node: TfNode, budget: Budget, depth: int) -> None:
    """An AttrValue: its tensors and functions, also in lists and in functions' attributes."""
    if depth > _DEEPEST:
        raise HeliographError(Code.MODEL_RESOURCE_LIMIT, "Attributes are nested too deeply.")
    for one in fields(data, budget):
        if one.number == 1:
            for part in fields(one.data, budget):
                if part.number == 8:
                    node.constants.append(_tensor(part.data, budget))
                elif part.number == 9:
                    _named(part.data, node, budget, depth + 1)
        elif one.number == 8:
            node.constants.append(_tensor(one.data, budget))
        elif one.number == 10:
            _named(one.data, node, budget, depth + 1)


def _named(data: memoryview, node: TfNode, budget: Budget, depth: int) -> None:
    """A NameAttrList: a function's name and its attributes."""
    for one in fields(data, budget):
        if one.number == 1:
            node.functions.append(text(one.data))
        elif one.number == 2:
            for part in fields(one.data, budget):
                if part.number == 2:
                    _attribute(part.data, node, budget, depth)


def _tensor(data: memoryview, budget: Budget) -> tuple[int, list[int], int]:
    kind, dims, held = 0, list[int](), 0
    for one in fields(data, budget):
        if one.number == 1:
            kind = one.value
        elif one.number == 2:
            for dim in fields(one.data, budget):
                if dim.number == 2:
                    sizes = [signed(p.value) for p in fields(dim.data, budget) if p.number == 1]
                    dims.append(sizes[-1] if sizes else 0)
        elif one.number == 4:
            held = len(one.data)
        elif one.number == 11 and one.wire == 2:
            # Reading them is what counts: numbers that are not there are told as damage.
            integers(one)
    return kind, dims, held


def _signature(data: memoryview, budget: Budget) -> Iterator[str]:
    """The nodes that an entry of `signature_def` names as outputs."""
    for entry in fields(data, budget):
        if entry.number != 2:
            continue
        for one in fields(entry.data, budget):
            if one.number == 2:
                yield from _tensor_names(one.data, budget)


def _tensor_names(data: memoryview, budget: Budget) -> Iterator[str]:
    """The names in one entry of a map of `TensorInfo`, also of sparse and composite ones."""
    for pair in fields(data, budget):
        if pair.number == 2:
            yield from _info_names(pair.data, budget, 0)


def _info_names(data: memoryview, budget: Budget, depth: int) -> Iterator[str]:
    if depth > _DEEPEST:
        raise HeliographError(Code.MODEL_RESOURCE_LIMIT, "A signature is nested too deeply.")
    for one in fields(data, budget):
        if one.number == 1:
            yield text(one.data)
        elif one.number == 4:
            yield from (text(part.data) for part in fields(one.data, budget) if part.wire == 2)
        elif one.number == 5:
            for part in fields(one.data, budget):
                if part.number == 2:
                    yield from _info_names(part.data, budget, depth + 1)


def _initialiser(data: memoryview, budget: Budget) -> list[str]:
    """The nodes of the collections that run when a model is loaded."""
    key, names = "", list[str]()
    for one in fields(data, budget):
        if one.number == 1:
            key = text(one.data)
        elif one.number == 2:
            for kind in fields(one.data, budget):
                if kind.number == 1:
                    names += [text(v.data) for v in fields(kind.data, budget) if v.number == 1]
    return names if "main_op" in key or "init_op" in key or "initializer" in key else []
