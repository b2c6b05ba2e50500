"""Gradient-boosted trees and forests as ONNX: one `TreeEnsemble` node and the link after it.

`recipes/xgboost.py` and `recipes/lightgbm.py` read their libraries' own files into a `Forest`; here
it is checked and written. No library of trees is needed to convert or to serve.
"""

# onnx's helpers are partly untyped.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Link: TypeAlias = Literal["identity", "logistic", "softmax", "exp", "log1pexp", "square", "step"]
Kind: TypeAlias = Literal["regression", "binary", "multiclass", "multilabel"]

_OPSET, _ML_OPSET, _IR_VERSION = 17, 5, 10
_MODES = {"<=": 0, "<": 1}
_SUM = 1


@dataclass(frozen=True, slots=True)
class Tree:
    """One tree; node 0 is its root.

    Attributes:
        features: which feature each node looks at.
        splits: what it is compared with.
        left: the node that follows where the comparison holds; `~leaf` for a leaf.
        right: the node that follows otherwise; likewise.
        missing_left: whether a missing value (NaN) goes left.
        leaves: the values of the leaves. A tree of no nodes has one.
        target: which output it adds to.
    """

    features: Sequence[int]
    splits: Sequence[float]
    left: Sequence[int]
    right: Sequence[int]
    missing_left: Sequence[bool]
    leaves: Sequence[float]
    target: int = 0


@dataclass(frozen=True, slots=True)
class Forest:
    """Trees whose leaves are summed, and what becomes of the sum.

    Attributes:
        trees: in any order.
        features: how many there are.
        base: what each output starts from.
        comparison: a value goes left if it is `<` or `<=` the split.
        dtype: `float32` or `float64`: of the features, the splits and the answers.
        kind: what the answers are.
        link: from the sum to the answer.
    """

    trees: Sequence[Tree]
    features: int
    base: Sequence[float]
    comparison: Literal["<", "<="]
    dtype: Literal["float32", "float64"]
    kind: Kind
    link: Link


def save_onnx(forest: Forest, target: Path) -> None:
    """Write a forest; the same forest gives the same bytes.

    Args:
        forest: what to write.
        target: the `.onnx` file. Input `features` [N, features], NaN where a value is missing.
            A regression answers `prediction` [N, outputs]; a classifier `probabilities`
            [N, classes], each row summing to 1, and `label` int64 [N], the class of the greatest.
            Several labels at once have `probabilities` [N, labels] only.

    Raises:
        ValueError: a tree is not one: a node is missing, is met twice or looks at no feature.
    """
    from onnx import TensorProto, checker, helper

    for number, tree in enumerate(forest.trees):
        _check(tree, number, forest)
    element = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}[forest.dtype]
    graph = _Graph([], [], np.dtype(forest.dtype))
    graph.nodes.append(_ensemble(forest, element))
    total = graph.add("Add", ["trees", graph.constant("base", forest.base)], "total")
    answers = _answers(graph, forest, total)
    columns = 2 if forest.kind == "binary" else len(forest.base)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "trees",
            [helper.make_tensor_value_info("features", element, ["N", forest.features])],
            [
                helper.make_tensor_value_info(name, TensorProto.INT64, ["N"])
                if name == "label"
                else helper.make_tensor_value_info(name, element, ["N", columns])
                for name in answers
            ],
            graph.constants,
        ),
        producer_name="heliograph",
        ir_version=_IR_VERSION,
        opset_imports=[
            helper.make_opsetid("", _OPSET),
            helper.make_opsetid("ai.onnx.ml", _ML_OPSET),
        ],
    )
    checker.check_model(model)
    target.write_bytes(model.SerializeToString(deterministic=True))


def _check(tree: Tree, number: int, forest: Forest) -> None:
    count = len(tree.features)
    sides = (tree.splits, tree.left, tree.right, tree.missing_left)
    if any(len(one) != count for one in sides) or len(tree.leaves) != count + 1:
        raise ValueError(f"tree {number} does not have one leaf more than nodes")
    if not 0 <= tree.target < len(forest.base):
        raise ValueError(f"tree {number} adds to output {tree.target}, which is not there")
    if any(not 0 <= one < forest.features for one in tree.features):
        raise ValueError(f"tree {number} looks at a feature that is not there")
    # Every node and leaf is met once from the root: so there is no loop, and nothing is left over.
    met = sorted([*tree.left, *tree.right, *([0] if count else [~0])])
    if met != list(range(~count, count)) or not _reaches(tree, count):
        raise ValueError(f"tree {number} is not a tree")


def _reaches(tree: Tree, count: int) -> bool:
    waiting, seen = [0] if count else [], 0
    while waiting:
        node = waiting.pop()
        seen += 1
        waiting += [one for one in (tree.left[node], tree.right[node]) if one >= 0]
    return seen == count


def _ensemble(forest: Forest, element: int) -> Any:
    """All trees in one node: their nodes and leaves in long rows, one after another."""
    from onnx import helper

    roots: list[int] = []
    rows: dict[str, list[int]] = {
        name: []
        for name in ("features", "left", "left_leaf", "right", "right_leaf", "missing", "targets")
    }
    splits: list[float] = []
    leaves: list[float] = []
    for tree in forest.trees:
        first, leaf = len(splits), len(leaves)
        roots.append(first)
        # A tree that is one leaf is a node whose both sides are that leaf.
        alone = not tree.features
        rows["features"] += [0] if alone else tree.features
        splits += [0.0] if alone else tree.splits
        rows["missing"] += [0] if alone else map(int, tree.missing_left)
        for side, after in (("left", tree.left), ("right", tree.right)):
            goes = [~0] if alone else after
            rows[side] += [first + one if one >= 0 else leaf + ~one for one in goes]
            rows[f"{side}_leaf"] += [int(one < 0) for one in goes]
        leaves += tree.leaves
        rows["targets"] += [tree.target] * len(tree.leaves)
    modes = [_MODES[forest.comparison]] * len(splits)
    return helper.make_node(
        "TreeEnsemble",
        ["features"],
        ["trees"],
        domain="ai.onnx.ml",
        aggregate_function=_SUM,
        post_transform=0,
        n_targets=len(forest.base),
        tree_roots=roots,
        nodes_modes=helper.make_tensor("modes", 2, [len(modes)], bytes(modes), raw=True),
        nodes_featureids=rows["features"],
        nodes_splits=_numbers("splits", splits, element, forest.dtype),
        nodes_truenodeids=rows["left"],
        nodes_trueleafs=rows["left_leaf"],
        nodes_falsenodeids=rows["right"],
        nodes_falseleafs=rows["right_leaf"],
        nodes_missing_value_tracks_true=rows["missing"],
        leaf_targetids=rows["targets"],
        leaf_weights=_numbers("leaves", leaves, element, forest.dtype),
    )


def _numbers(name: str, values: Sequence[float], element: int, dtype: str) -> Any:
    from onnx import helper

    raw = np.array(values, dtype).tobytes()
    return helper.make_tensor(name, element, [len(values)], raw, raw=True)


@dataclass(slots=True)
class _Graph:
    nodes: list[Any]
    constants: list[Any]
    dtype: np.dtype[Any]

    def add(self, op: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, value: float | Sequence[float] | NDArray[Any]) -> str:
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.array(value, self.dtype), name))
        return name


def _answers(graph: _Graph, forest: Forest, total: str) -> list[str]:
    """Add the link and what is told of it; the names of the outputs."""
    if forest.kind == "regression":
        _link(graph, forest.link, total, "prediction")
        return ["prediction"]
    if forest.kind == "multilabel":
        _link(graph, forest.link, total, "probabilities")
        return ["probabilities"]
    if forest.kind == "binary":
        chance = _link(graph, forest.link, total, "chance")
        other = graph.add("Sub", [graph.constant("one", 1.0), chance], "other")
        graph.add("Concat", [other, chance], "probabilities", axis=1)
    else:
        _link(graph, forest.link, total, "probabilities")
    graph.add("ArgMax", ["probabilities"], "label", axis=1, keepdims=0)
    return ["probabilities", "label"]


def _link(graph: _Graph, link: Link, total: str, output: str) -> str:
    match link:
        case "identity":
            return graph.add("Identity", [total], output)
        case "logistic":
            return graph.add("Sigmoid", [total], output)
        case "softmax":
            return graph.add("Softmax", [total], output, axis=1)
        case "exp":
            return graph.add("Exp", [total], output)
        case "log1pexp":
            # ONNX Runtime has no Softplus of float64.
            power = graph.add("Exp", [total], "power")
            return graph.add(
                "Log", [graph.add("Add", [power, graph.constant("one", 1.0)], "more")], output
            )
        case "square":
            size = graph.add("Abs", [total], "size")
            return graph.add("Mul", [total, size], output)
        case "step":
            over = graph.add("Greater", [total, graph.constant("nothing", 0.0)], "over")
            return graph.add("Cast", [over], output, to=_element(graph.dtype))


def _element(dtype: np.dtype[Any]) -> int:
    from onnx import helper

    return helper.np_dtype_to_tensor_dtype(dtype)
