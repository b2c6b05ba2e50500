"""Classification: which of the known classes a picture shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from heliograph.vision import draw
from heliograph.vision.geometry import Placement
from heliograph.vision.picture import Pixels
from heliograph.vision.tasks.base import Decoder, Options, Raw, Task, label_of, output

# Every score that a model can mean is above this; what was left out is below.
_LEAST = -1e30


class ClassificationOptions(Options, frozen=True):
    """What a caller may ask.

    Attributes:
        top_k: at most this many classes, best first.
        min_score: only classes with at least this score, 0-1.
    """

    top_k: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 5
    min_score: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0


@dataclass(frozen=True, slots=True)
class Classes:
    """Classes of one picture, best first.

    Attributes:
        class_ids: int [n].
        scores: float [n], 0-1.
        labels: n names.
    """

    class_ids: tuple[int, ...]
    scores: tuple[float, ...]
    labels: tuple[str, ...]

    def predictions(self) -> list[dict[str, Any]]:
        """`[{"label", "score", "class_id"}]`, best first."""
        return [
            {"label": label, "score": round(score, 6), "class_id": class_id}
            for label, score, class_id in zip(self.labels, self.scores, self.class_ids, strict=True)
        ]

    def draw(self, pixels: Pixels) -> Pixels:
        """Write the best classes into the upper left corner."""
        lines = [
            f"{label} {score:.0%}" for label, score in zip(self.labels, self.scores, strict=True)
        ]
        return draw.caption(pixels, lines[:5])


def restore(predictions: list[dict[str, Any]]) -> Classes:
    """Read `Classes` back from its JSON form."""
    return Classes(
        tuple(int(one["class_id"]) for one in predictions),
        tuple(float(one["score"]) for one in predictions),
        tuple(str(one["label"]) for one in predictions),
    )


class Scores(Decoder, frozen=True, tag="scores"):
    """One score per class.

    Attributes:
        output: the output's name; empty means the only one. Shape [classes].
        activation: `softmax` or `sigmoid` for logits; `none` where the model ends in one.
        scale: for quantised outputs: score = (value - zero_point) * scale.
        zero_point: likewise.
        first_class: lower class ids are dropped (1 where class 0 is a background); a class id is
            always the index of its score and of its line in the labels file.
    """

    output: str = ""
    activation: Literal["none", "softmax", "sigmoid"] = "none"
    scale: float = 1.0
    zero_point: float = 0.0
    first_class: int = 0

    def decode(
        self, raw: Raw, placement: Placement, labels: Sequence[str], options: Any
    ) -> Classes:
        """See `Decoder.decode`."""
        del placement
        values = output(raw, self.output, 1)
        if self.scale != 1.0 or self.zero_point:
            values = (values - self.zero_point) * self.scale
        scores = activate(values, self.activation)
        best = [
            (score, class_id)
            for score, class_id in _best(scores, self.first_class, options.top_k)
            if score >= options.min_score
        ]
        return Classes(
            tuple([class_id for _, class_id in best]),
            tuple([score for score, _ in best]),
            tuple([label_of(labels, class_id) for _, class_id in best]),
        )


def _best(scores: NDArray[np.float32], first: int, many: int) -> list[tuple[float, int]]:
    """The `many` highest scores from class `first` on, with their classes, best first.

    Among equals the lower class comes first. Scores that are no numbers are left out.
    """
    if first or not math.isfinite(scores.sum()):
        scores = np.where(np.isfinite(scores), scores, -np.inf)
        scores[:first] = -np.inf
    least = -math.inf
    if many < scores.size:
        least = np.partition(scores, -many)[-many]
    chosen = np.flatnonzero(scores >= max(least, _LEAST))
    pairs = sorted(zip((-scores[chosen]).tolist(), chosen.tolist(), strict=True))
    return [(-score, class_id) for score, class_id in pairs[:many]]


def activate(values: NDArray[np.float32], how: str) -> NDArray[np.float32]:
    """Logits to scores along the last axis: `softmax`, `sigmoid` or `none`."""
    if how == "softmax":
        grown = np.exp(values - values.max(axis=-1, keepdims=True))
        return (grown / grown.sum(axis=-1, keepdims=True)).astype(np.float32)
    if how == "sigmoid":
        # tanh form: no overflow for large negative values.
        return (0.5 * (np.tanh(0.5 * values) + 1.0)).astype(np.float32)
    return values


def accuracy(answers: Sequence[Classes], truth: Sequence[int], k: int = 1) -> float:
    """Top-k accuracy, 0-1: the share of pictures whose true class is among the k best."""
    hits = sum(true in one.class_ids[:k] for one, true in zip(answers, truth, strict=True))
    return hits / len(truth) if truth else 0.0


TASK = Task("classification", "classify", ClassificationOptions, restore)
