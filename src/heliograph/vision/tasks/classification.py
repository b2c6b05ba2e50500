"""Classification: which of the known classes a picture shows."""

from __future__ import annotations

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
        values = (output(raw, self.output, 1) - self.zero_point) * self.scale
        scores = activate(values, self.activation)
        # A model that yields NaN has no opinion; its classes come last and are dropped.
        scores = np.nan_to_num(scores, nan=-1.0, posinf=1.0, neginf=-1.0)
        scores[: self.first_class] = -1.0
        many = min(options.top_k, scores.size)
        # A stable order among equal scores: lower class ids first.
        best = np.argsort(-scores, kind="stable")[:many]
        ids = tuple(int(one) for one in best if scores[one] >= max(options.min_score, 0.0))
        return Classes(
            ids,
            tuple(float(scores[one]) for one in ids),
            tuple(label_of(labels, one) for one in ids),
        )


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
