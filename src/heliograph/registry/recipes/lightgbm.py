"""LightGBM: a model saved as text becomes ONNX, without LightGBM.

Covered: every built-in objective, missing values as LightGBM treats them, several classes, random
forests (averaged) and DART (LightGBM writes its leaves weighted). `save_model` keeps the rounds up
to the best one of its own accord. Refused by name: categorical splits, linear trees, and
`zero_as_missing` where a zero goes another way than its size says.

Source of the layout: `GBDT::SaveModelToString` and `Tree::ToString` in LightGBM 4.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from heliograph.registry.recipes.trees import Forest, Kind, Link, Tree, save_onnx

_CATEGORICAL, _DEFAULT_LEFT = 1, 2
_AS_ZERO, _ZERO = 0, 1
_LINKS: dict[str, Link] = {
    **dict.fromkeys(
        ("regression", "regression_l1", "huber", "fair", "quantile", "mape"), "identity"
    ),
    **dict.fromkeys(("lambdarank", "rank_xendcg", ""), "identity"),
    **dict.fromkeys(("poisson", "gamma", "tweedie"), "exp"),
    **dict.fromkeys(("binary", "multiclassova", "cross_entropy"), "logistic"),
    "cross_entropy_lambda": "log1pexp",
    "multiclass": "softmax",
}
_KINDS: dict[str, Kind] = {
    "binary": "binary",
    "multiclass": "multiclass",
    "multiclassova": "multilabel",
}


def build(source: Path, target: Path) -> None:
    """Write the model as ONNX.

    Args:
        source: the text that `Booster.save_model` writes.
        target: the `.onnx` file; see `trees.save_onnx`. The features are float64, as LightGBM's
            own are: its splits lie between neighbouring float32 numbers.

    Raises:
        ValueError: the file is no LightGBM model, or one of a kind that is refused.
    """
    save_onnx(read_forest(source.read_text("utf-8"), source.name), target)


def read_forest(text: str, name: str) -> Forest:
    """Read a model; raises `ValueError` as `build` does."""
    try:
        return _forest(text)
    except (KeyError, IndexError) as error:
        raise ValueError(f"{name} is not a model that LightGBM saved ({error!r:.80})") from error


def _forest(text: str) -> Forest:
    head, *sections = text.partition("\nend of trees")[0].split("\nTree=")
    said = dict(_pairs(head))
    if "version" not in said or not head.startswith("tree"):
        raise KeyError("version")
    objective, *details = said.get("objective", "").split()
    options = {key: value for key, _, value in (one.partition(":") for one in details)}
    if objective not in _LINKS:
        raise ValueError(f"objective {objective!r} is not known, so neither is what its sums mean")
    each = int(said["num_tree_per_iteration"])
    # A forest's trees are averaged; the slope of a sigmoid is a factor of its sum.
    scale = float(options.get("sigmoid", 1.0))
    if "average_output" in said:
        scale /= max(1, len(sections) // each)
    link = "square" if "sqrt" in options else _LINKS[objective]
    return Forest(
        trees=[
            _tree(dict(_pairs(f"Tree={one}")), number, number % each, scale)
            for number, one in enumerate(sections)
        ],
        features=int(said["max_feature_idx"]) + 1,
        base=[0.0] * each,
        comparison="<=",
        dtype="float64",
        kind=_KINDS.get(objective, "regression"),
        link=link,
    )


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        key, _, value = line.partition("=")
        yield key, value


def _tree(said: dict[str, str], number: int, target: int, scale: float) -> Tree:
    if int(said["num_cat"]):
        raise ValueError(f"tree {number} splits by categories, not served: encode them first")
    if said.get("is_linear", "0") != "0":
        raise ValueError(f"tree {number} has linear leaves, not served")
    leaves = [float(one) * scale for one in said["leaf_value"].split()]
    if int(said["num_leaves"]) == 1:
        return Tree([], [], [], [], [], leaves, target)
    splits = [float(one) for one in said["threshold"].split()]
    decisions = [int(one) for one in said["decision_type"].split()]
    return Tree(
        features=[int(one) for one in said["split_feature"].split()],
        splits=splits,
        left=[int(one) for one in said["left_child"].split()],
        right=[int(one) for one in said["right_child"].split()],
        missing_left=[
            _missing_left(how, split, number) for how, split in zip(decisions, splits, strict=True)
        ],
        leaves=leaves,
        target=target,
    )


def _missing_left(decision: int, split: float, number: int) -> bool:
    """Where a missing value goes at a node."""
    if decision & _CATEGORICAL:
        raise ValueError(f"tree {number} splits by categories, not served: encode them first")
    default_left = bool(decision & _DEFAULT_LEFT)
    missing = decision >> 2 & 3
    if missing == _AS_ZERO:
        # Trained without any: LightGBM takes it for 0.
        return split >= 0.0
    if missing == _ZERO and default_left != (split >= 0.0):
        raise ValueError(f"tree {number} sends zeros another way than their size (zero_as_missing)")
    return default_left
