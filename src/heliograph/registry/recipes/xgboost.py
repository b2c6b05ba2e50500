"""XGBoost: a model saved as JSON or UBJSON becomes ONNX, without XGBoost.

Covered: `gbtree` and `dart` boosters, every built-in objective, missing values, several classes or
targets (one tree for each), models that early stopping cut short: of these only the rounds up to
the best one are kept, as XGBoost's own scikit-learn interface does. Refused by name: categorical
splits, trees whose leaves are vectors, linear boosters.

Source of the layout: "Introduction to Model IO" in XGBoost's documentation and its JSON schema.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from heliograph.registry.recipes import ubjson
from heliograph.registry.recipes.trees import Forest, Kind, Link, Tree, save_onnx

_LOGISTIC = {"binary:logistic", "reg:logistic"}
_EXP = {"count:poisson", "reg:gamma", "reg:tweedie", "survival:cox", "survival:aft"}
_SOFTMAX = {"multi:softprob", "multi:softmax"}
_PLAIN = {
    *("reg:squarederror", "reg:linear", "reg:squaredlogerror", "reg:pseudohubererror"),
    *("reg:absoluteerror", "reg:quantileerror", "binary:logitraw"),
    *("rank:pairwise", "rank:ndcg", "rank:map"),
}


def build(source: Path, target: Path) -> None:
    """Write the model as ONNX.

    Args:
        source: `.json` or `.ubj`, as `Booster.save_model` writes it.
        target: the `.onnx` file; see `trees.save_onnx`. The features are float32.

    Raises:
        ValueError: the file is no XGBoost model, or one of a kind that is refused.
    """
    save_onnx(read_forest(source.read_bytes(), source.name), target)


def read_forest(data: bytes, name: str) -> Forest:
    """Read a model; raises `ValueError` as `build` does."""
    try:
        said = json.loads(data) if data[1:].lstrip()[:1] == b'"' else ubjson.loads(data)
        return _forest(said["learner"])
    except (KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{name} is not a model that XGBoost saved ({error!r:.80})") from error


def _forest(learner: Any) -> Forest:
    objective = str(learner["objective"]["name"])
    parameters = learner["learner_model_param"]
    booster = learner["gradient_booster"]
    if booster["name"] not in {"gbtree", "dart"}:
        raise ValueError(f"booster {booster['name']!r} is not served; gbtree and dart are")
    weights = booster.get("weight_drop")
    model = booster.get("gbtree", booster)["model"]
    outputs = max(int(parameters["num_class"]), int(parameters.get("num_target", 1)), 1)
    kept = _kept(learner, model, outputs)
    groups = [int(one) for one in model["tree_info"][:kept]]
    scales = [float(one) for one in weights[:kept]] if weights else [1.0] * kept
    link, kind = _objective(objective, outputs)
    scores = [_margin(objective, one) for one in _scores(parameters["base_score"])]
    return Forest(
        trees=[
            _tree(tree, number, group, scale)
            for number, (tree, group, scale) in enumerate(
                zip(model["trees"][:kept], groups, scales, strict=True)
            )
        ],
        features=int(parameters["num_feature"]),
        base=scores * outputs if len(scores) == 1 else scores,
        comparison="<",
        dtype="float32",
        kind=kind,
        link=link,
    )


def _kept(learner: Any, model: Any, outputs: int) -> int:
    """How many trees count: all, or those up to the round that early stopping found best."""
    best = learner.get("attributes", {}).get("best_iteration")
    if best is None:
        return len(model["trees"])
    rounds = model.get("iteration_indptr")
    if rounds:
        return int(rounds[int(best) + 1])
    parallel = int(model["gbtree_model_param"].get("num_parallel_tree", 1) or 1)
    return (int(best) + 1) * outputs * parallel


def _objective(name: str, outputs: int) -> tuple[Link, Kind]:
    if name in _SOFTMAX:
        return "softmax", "multiclass"
    if name == "binary:logistic":
        return "logistic", "binary" if outputs == 1 else "multilabel"
    if name in _LOGISTIC:
        return "logistic", "regression"
    if name in _EXP:
        return "exp", "regression"
    if name == "binary:hinge":
        return "step", "regression"
    if name in _PLAIN:
        return "identity", "regression"
    raise ValueError(f"objective {name!r} is not known, so neither is what its sums mean")


def _scores(said: Any) -> list[float]:
    """One number, or since XGBoost 3.1 a list of them in the text."""
    text = str(said).strip("[]")
    return [float(one) for one in text.split(",")]


def _margin(objective: str, score: float) -> float:
    """The base score lies on the answer's side of the link; the sum starts on the other side."""
    if objective in _LOGISTIC:
        return math.log(score / (1 - score))
    return math.log(score) if objective in _EXP else score


def _tree(said: Any, number: int, group: int, scale: float) -> Tree:
    if int(said["tree_param"].get("size_leaf_vector", 1) or 1) > 1:
        raise ValueError(f"tree {number} has vectors for leaves (multi_output_tree), not served")
    if any(said.get("split_type", [])):
        raise ValueError(f"tree {number} splits by categories, not served: encode them first")
    left, right = said["left_children"], said["right_children"]
    # Pruned nodes stay in the file, unreachable: what counts is what the root leads to.
    nodes: list[int] = []
    leaves: list[int] = []
    waiting = [0]
    while waiting:
        node = waiting.pop()
        if left[node] < 0:
            leaves.append(node)
        else:
            nodes.append(node)
            waiting += [left[node], right[node]]
        if len(nodes) + len(leaves) > len(left):
            raise ValueError(f"tree {number} is not a tree")
    place = {node: at for at, node in enumerate(nodes)} | {
        leaf: ~at for at, leaf in enumerate(leaves)
    }
    splits = said["split_conditions"]
    return Tree(
        features=[int(said["split_indices"][one]) for one in nodes],
        splits=[float(splits[one]) for one in nodes],
        left=[place[left[one]] for one in nodes],
        right=[place[right[one]] for one in nodes],
        missing_left=[bool(said["default_left"][one]) for one in nodes],
        leaves=[float(splits[one]) * scale for one in leaves],
        target=group,
    )
