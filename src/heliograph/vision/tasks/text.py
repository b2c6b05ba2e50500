"""Text: what is written in a picture, line by line, and where.

Three models read a picture: one finds the quads of lines (`text-boxes`), one tells which of them
lie upside down (a classifier), one reads each line (`ctc`). Each is a model of its own; the chain
of the three is `vision/tasks/reading.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from heliograph.core.errors import Code, HeliographError
from heliograph.vision import ctc, draw, quads
from heliograph.vision.geometry import Placement
from heliograph.vision.picture import Pixels
from heliograph.vision.quads import Quads
from heliograph.vision.tasks.base import Decoder, Options, Raw, Task, output
from heliograph.vision.tasks.classification import activate
from heliograph.vision.tasks.detection import box_of

_LEAST_SIDE = 3


class TextOptions(Options, frozen=True):
    """What a caller may ask.

    Attributes:
        top_k: at most this many lines; of more, those with the highest scores.
        min_score: only lines with at least this score, 0-1.
    """

    top_k: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1000
    min_score: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class TextLines:
    """Lines of text of one picture, in reading order.

    Attributes:
        texts: n lines; empty where a model only finds lines and does not read them.
        scores: float32 [n], 0-1: how sure the reader is, on average over the line's characters;
            of a line that was found but not read, how sure the finder is.
        quads: float32 [n, 4, 2], see `vision/quads.py`; in pixels of the upright picture, in it.

    Raises:
        HeliographError: `bad_shape` if the parts do not fit together.
    """

    texts: tuple[str, ...]
    scores: NDArray[np.float32]
    quads: Quads

    def __post_init__(self) -> None:
        """Hold each part against the number of lines."""
        many = len(self.texts)
        for name, array, shape in (
            ("scores", self.scores, (many,)),
            ("quads", self.quads, (many, 4, 2)),
        ):
            if array.shape != shape or array.dtype != np.float32:
                raise HeliographError(
                    Code.BAD_SHAPE,
                    f"TextLines.{name}: expected float32 {list(shape)}, "
                    f"got {array.dtype} {list(array.shape)}.",
                )

    @property
    def text(self) -> str:
        """All lines in reading order, one a line."""
        return "\n".join(self.texts)

    def predictions(self) -> list[dict[str, Any]]:
        """`[{"text", "score", "box": {…}, "quad": [{"x", "y"}, …]}]` in reading order.

        The quad's four corners run clockwise from the upper left as the text reads; pixels to two
        decimals.
        """
        return [
            {
                "text": text,
                "score": round(score, 6),
                "box": box_of(box),
                "quad": [{"x": round(x, 2), "y": round(y, 2)} for x, y in corners],
            }
            for text, score, box, corners in zip(
                self.texts,
                self.scores.tolist(),
                quads.boxes(self.quads).tolist(),
                self.quads.tolist(),
                strict=True,
            )
        ]

    def draw(self, pixels: Pixels) -> Pixels:
        """Outline each line and write what was read beside it."""
        return draw.lines(pixels, self.quads, self.texts)


def restore(predictions: list[dict[str, Any]]) -> TextLines:
    """Read `TextLines` back from its JSON form."""
    corners = [[(one["x"], one["y"]) for one in line["quad"]] for line in predictions]
    return TextLines(
        tuple(str(line["text"]) for line in predictions),
        np.array([line["score"] for line in predictions], np.float32),
        np.array(corners, np.float32).reshape(-1, 4, 2),
    )


def arranged(texts: Sequence[str], scores: NDArray[np.float32], corners: Quads) -> TextLines:
    """Lines in any order -> `TextLines` in reading order."""
    order = quads.reading_order(corners)
    return TextLines(tuple(texts[one] for one in order), scores[order], corners[order])


class TextBoxes(Decoder, frozen=True, tag="text-boxes"):
    """Finds lines in a map that says of each pixel how likely it is inside a line (DBNet).

    Source: Liao et al., "Real-time Scene Text Detection with Differentiable Binarization", 2020;
    thresholds as PP-OCRv4 is published with.

    Attributes:
        output: the output's name; empty means the only one. Shape [1, height, width], 0-1.
        threshold: a pixel from this probability on belongs to a line.
        box_threshold: a line whose pixels' mean probability is below this is dropped.
        unclip: how far the found region is grown, see `quads.unclip`: the network learns shrunken
            ones.
        dilate: widen the found regions by a pixel to the right and below first, so that gaps close.
        most: at most this many regions are looked at, the largest first.
    """

    output: str = ""
    threshold: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.3
    box_threshold: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.5
    unclip: Annotated[float, msgspec.Meta(ge=0, le=10)] = 1.6
    dilate: bool = True
    most: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 1000

    def decode(
        self, raw: Raw, placement: Placement, labels: Sequence[str], options: Any
    ) -> TextLines:
        """See `Decoder.decode`; the lines found are not read, their texts are empty."""
        del labels
        corners, scores = self.find(raw, placement)
        best = np.sort(np.argsort(-scores, kind="stable")[: options.top_k])
        best = best[scores[best] >= options.min_score]
        return arranged([""] * len(best), scores[best], corners[best])

    def find(self, raw: Raw, placement: Placement) -> tuple[Quads, NDArray[np.float32]]:
        """Every line found: float32 [n, 4, 2] in pixels of the picture and in it, float32 [n]."""
        chances = output(raw, self.output, 3)
        if chances.shape[0] != 1 or not chances.size:
            raise HeliographError(
                Code.BAD_SHAPE,
                f"Output {self.output!r}: expected [1, height, width] per picture, "
                f"got {list(chances.shape)}.",
            )
        chances = np.ascontiguousarray(np.nan_to_num(chances[0], nan=0, posinf=0, neginf=0))
        found: list[Quads] = []
        scores: list[float] = []
        for region in self._regions(chances):
            corners = quads.rectangle(region)
            if min(quads.size(corners)) < _LEAST_SIDE:
                continue
            score = _mean_inside(chances, corners)
            if score >= self.box_threshold:
                found.append(quads.unclip(corners, self.unclip))
                scores.append(score)
        inside = np.array(found, np.float32).reshape(-1, 4, 2)
        # Cells of the map are not pixels of the input where the network halves its resolution.
        across = placement.input.width / chances.shape[1]
        down = placement.input.height / chances.shape[0]
        corners = placement.points(inside[..., 0] * across, inside[..., 1] * down)
        corners = np.clip(corners, 0, np.array(placement.size, np.float32))
        big = [min(quads.size(one)) >= _LEAST_SIDE for one in corners]
        return corners[big], np.minimum(np.array(scores, np.float32), 1)[big]

    def _regions(self, chances: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """The outlines of connected regions, float32 [n, 2], the largest first."""
        mask = (chances > self.threshold).astype(np.uint8)
        if self.dilate:
            mask = np.asarray(cv2.dilate(mask, np.ones((2, 2), np.uint8)), np.uint8)
        if not mask.any():
            return []
        outlines, nested = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
        # Of the two levels, the second holds the edges of holes: a hole is no line.
        outer = [
            np.asarray(outline, np.float32).reshape(-1, 2)
            for outline, (_, _, _, parent) in zip(
                outlines, np.asarray(nested).reshape(-1, 4).tolist(), strict=True
            )
            if parent == -1
        ]
        if len(outer) > self.most:
            outer.sort(key=lambda one: -float(np.ptp(one, axis=0).prod()))
        return outer[: self.most]


def _mean_inside(values: NDArray[np.float32], corners: Quads) -> float:
    """The mean of values [h, w] inside a quad."""
    low = np.floor(corners.min(axis=0)).astype(int)
    high = np.ceil(corners.max(axis=0)).astype(int)
    left, top = np.maximum(low, 0)
    right, bottom = np.minimum(high + 1, values.shape[::-1])
    area = values[top:bottom, left:right]
    if not area.size:
        return 0.0
    mask = np.zeros(area.shape, np.uint8)
    cv2.fillPoly(mask, [(corners - (left, top)).astype(np.int32)], (1,))
    return float(cv2.mean(area, mask)[0])


class Read(NamedTuple):
    """A line that was read: the text and the mean score of its characters, 0-1."""

    text: str
    score: float


class Ctc(Decoder, frozen=True, tag="ctc"):
    """Reads a picture of one line (CRNN, SVTR and other networks with a CTC head).

    The labels are the characters; that of the blank is never written.

    Attributes:
        output: the output's name; empty means the only one. Shape [steps, characters].
        blank: the class that stands for no character.
        activation: `softmax` for logits, `none` where the model ends in one.
    """

    output: str = ""
    blank: Annotated[int, msgspec.Meta(ge=0)] = 0
    activation: Annotated[str, msgspec.Meta(pattern="^(none|softmax)$")] = "none"

    def decode(
        self, raw: Raw, placement: Placement, labels: Sequence[str], options: Any
    ) -> TextLines:
        """See `Decoder.decode`; the whole picture is the line, an empty one is left out."""
        read = self.read(raw, labels)
        if not read.text or read.score < options.min_score:
            return TextLines((), np.zeros(0, np.float32), np.zeros((0, 4, 2), np.float32))
        wide, high = placement.size
        whole = np.array([[[0, 0], [wide, 0], [wide, high], [0, high]]], np.float32)
        return TextLines((read.text,), np.array([read.score], np.float32), whole)

    def read(self, raw: Raw, labels: Sequence[str]) -> Read:
        """What one line says, without blanks around it; an empty text has the score 0."""
        scores = output(raw, self.output, 2)
        if scores.shape[1] != len(labels):
            raise HeliographError(
                Code.BAD_SHAPE,
                f"The model tells {scores.shape[1]} characters apart; {len(labels)} have names.",
            )
        scores = np.nan_to_num(activate(scores, self.activation), nan=0, posinf=0, neginf=0)
        path = ctc.greedy(scores, self.blank)
        text = "".join(str(labels[int(one)]) for one in path.classes).strip()
        return Read(text, min(1.0, float(path.scores.mean())) if text else 0.0)


class Agreement(NamedTuple):
    """How well lines were found, each 0-1."""

    precision: float
    recall: float
    hmean: float


def found(answer: Quads, truth: Quads, least: float = 0.5) -> Agreement:
    """Compare quads with the true ones: each true one is found by at most one that overlaps it.

    Source: ICDAR 2015 Robust Reading, task 4.1: intersection over union of at least 0.5, pairs one
    to one. Unlike there, no region is marked "do not care".

    Args:
        answer: float32 [n, 4, 2].
        truth: float32 [m, 4, 2].
        least: overlap from which a true line counts as found.
    """
    near = [
        [column for column, other in enumerate(truth) if quads.overlap(one, other) >= least]
        for one in answer
    ]
    hits = _most_pairs(near)
    precision = hits / len(answer) if len(answer) else float(not len(truth))
    recall = hits / len(truth) if len(truth) else float(not len(answer))
    both = precision + recall
    return Agreement(precision, recall, 2 * precision * recall / both if both else 0.0)


def _most_pairs(near: Sequence[Sequence[int]]) -> int:
    """The most pairs that can be made one to one, by augmenting paths (Kuhn's algorithm).

    Args:
        near: for each of ours, which of theirs it may be paired with.
    """
    taken: dict[int, int] = {}

    def pair(one: int, tried: set[int]) -> bool:
        for other in near[one]:
            if other not in tried:
                tried.add(other)
                if other not in taken or pair(taken[other], tried):
                    taken[other] = one
                    return True
        return False

    return sum(pair(one, set()) for one in range(len(near)))


def edits(one: str, other: str) -> int:
    """Levenshtein distance: the fewest characters to insert, delete or replace."""
    row = list(range(len(other) + 1))
    for at, sign in enumerate(one, 1):
        corner, row[0] = row[0], at
        for column, against in enumerate(other, 1):
            corner, row[column] = (
                row[column],
                min(row[column] + 1, row[column - 1] + 1, corner + (sign != against)),
            )
    return row[-1]


def character_error_rate(answers: Sequence[str], truth: Sequence[str]) -> float:
    """Edits per true character; 0 is perfect, above 1 is possible."""
    wrong = sum(edits(one, true) for one, true in zip(answers, truth, strict=True))
    length = sum(map(len, truth))
    return wrong / length if length else float(wrong > 0)


def word_accuracy(answers: Sequence[str], truth: Sequence[str]) -> float:
    """The share of lines read without any mistake, 0-1; letter case counts."""
    right = sum(one == true for one, true in zip(answers, truth, strict=True))
    return right / len(truth) if truth else 0.0


TASK = Task("text", "read", TextOptions, restore)
