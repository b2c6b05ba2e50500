"""Which TensorFlow operations a served graph may hold: a SavedModel is a program.

Covered: reading and writing files, Python, datasets, sockets, summaries and printing to files, in
every function of the graph and every node that its signatures or initialisers reach. An operation
with an effect is on a list or it is refused; one without is refused where its name says that it
reads something. Not covered: what an allowed operation does with hostile numbers (the wall of
`runtimes/host.py` is for that). The functions that TensorFlow's own saver adds are left out unless
something else calls them: loading a model does not run them.
"""

# TensorFlow ships no types, and is an extra: the types may be checked where it is not installed.
# pyright: reportMissingImports=false, reportMissingModuleSource=false
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tensorflow.python.framework import op_def_registry

from heliograph.core.errors import Code, HeliographError

_EFFECTS = frozenset(
    (
        *("_Arg", "_Retval", "AnonymousHashTable", "Assert", "AssignAddVariableOp"),
        *("AssignSubVariableOp", "AssignVariableOp", "Case", "CheckNumerics"),
        *("CheckNumericsV2", "DeepCopy", "DestroyResourceOp", "DisableCopyOnRead", "Empty"),
        *("GuaranteeConst", "HashTable", "HashTableV2", "If", "InitializeTableV2"),
        *("LookupTableFindV2", "LookupTableImportV2", "LookupTableInsertV2"),
        *("LookupTableSizeV2", "Multinomial", "MutableDenseHashTableV2", "MutableHashTableV2"),
        *("RandomGamma", "RandomPoissonV2", "RandomShuffle", "RandomStandardNormal"),
        *("RandomUniform", "RandomUniformInt", "ReadVariableOp", "ResourceGather"),
        *("ResourceGatherNd", "ResourceStridedSliceAssign", "StatefulPartitionedCall"),
        *("StatefulStandardNormalV2", "StatefulTruncatedNormal", "StatefulUniform"),
        *("StatefulUniformInt", "StackPopV2", "StackPushV2", "StackV2", "StackCloseV2"),
        *("TensorArray", "TensorArrayCloseV3", "TensorArrayConcatV3", "TensorArrayGatherV3"),
        *("TensorArrayReadV3", "TensorArrayScatterV3", "TensorArraySizeV3"),
        *("TensorArraySplitV3", "TensorArrayV3", "TensorArrayWriteV3", "TruncatedNormal"),
        *("VarHandleOp", "VarIsInitializedOp", "Variable", "VariableShape", "VariableV2"),
        *("While",),
    )
)
_READS = re.compile(
    r"File|PyFunc|Restore|Save|Reader|Dataset|Rpc|Send|Recv|Debug|Print|Socket|Record|Iterator"
    r"|Checkpoint|Snapshot|TPU|Tpu|^Xla(Custom|Launch|Call)|Sharded"
)
_SAVER = re.compile(r"__inference_+traced_(save|restore)_\d+")


def check_saved_model(meta_graph: Any) -> None:
    """Check one meta graph of a SavedModel.

    Args:
        meta_graph: a `MetaGraphDef`.

    Raises:
        HeliographError: `model_op_forbidden`, naming the operation.
    """
    graph = meta_graph.graph_def
    nodes = {node.name: node for node in graph.node}
    functions = {one.signature.name: one.node_def for one in graph.library.function}
    outputs = (
        one.name for signature in meta_graph.signature_def.values()
        for one in signature.outputs.values()
    )  # fmt: skip
    first = (
        value
        for key in ("saved_model_main_op", "legacy_init_op", "saved_model_initializers")
        for value in meta_graph.collection_def[key].node_list.value
        if key in meta_graph.collection_def
    )
    reached = list(_reached([*outputs, *first], nodes))
    own = [name for name in functions if not _SAVER.fullmatch(name)]
    _check([*reached, *_called([*own, *_functions(reached)], functions)])


def check_graph(graph: Any) -> None:
    """Check a frozen graph, a `GraphDef`: every node and function; raises as above."""
    _check([*graph.node, *(node for one in graph.library.function for node in one.node_def)])


def _check(nodes: Iterable[Any]) -> None:
    for op in sorted({node.op for node in nodes}):
        known = op_def_registry.get(op)
        if known is None or _READS.search(op) or (known.is_stateful and op not in _EFFECTS):
            raise HeliographError(
                Code.MODEL_OP_FORBIDDEN,
                f"The graph holds the operation {op[:80]!r}, which a served model may not use: it "
                "is unknown here or reaches outside the model.",
            )


def _reached(names: Iterable[str], nodes: Mapping[str, Any]) -> Iterator[Any]:
    """The nodes that these tensors are computed from."""
    waiting, seen = list(names), set[str]()
    while waiting:
        name = waiting.pop().removeprefix("^").partition(":")[0]
        if name in nodes and name not in seen:
            seen.add(name)
            yield nodes[name]
            waiting += nodes[name].input


def _called(names: Iterable[str], functions: Mapping[str, Any]) -> Iterator[Any]:
    """The nodes of these functions and of all that they call."""
    waiting, seen = list(names), set[str]()
    while waiting:
        name = waiting.pop()
        if name in functions and name not in seen:
            seen.add(name)
            yield from functions[name]
            waiting += _functions(functions[name])


def _functions(nodes: Iterable[Any]) -> list[str]:
    """Every function that a node names in an attribute; its operation may be one, too."""
    found: list[str] = []
    for node in nodes:
        found.append(node.op)
        for value in node.attr.values():
            found += [value.func.name, *(one.name for one in value.list.func)]
    return [name for name in found if name]
