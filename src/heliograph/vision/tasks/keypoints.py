"""Keypoints: where the joints of the people in a picture are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from heliograph.core.errors import Code, HeliographError
from heliograph.vision import draw
from heliograph.vision.geometry import Placement
from heliograph.vision.picture import Pixels
from heliograph.vision.tasks.base import Decoder, Options, Raw, Task, output
from heliograph.vision.tasks.detection import box_of

COCO_POINTS = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)
"""The 17 points of COCO persons, in their order; left and right are the person's own."""

COCO_EDGES = (
    *((0, 1), (0, 2), (1, 3), (2, 4), (0, 5), (0, 6), (5, 6), (5, 7), (7, 9)),
    *((6, 8), (8, 10), (5, 11), (6, 12), (11, 12), (11, 13), (13, 15), (12, 14), (14, 16)),
)
"""Which of those points are joined by a line, as MoveNet's own pictures join them."""

_SIGMAS = (26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89)
COCO_SIGMAS = np.array(_SIGMAS, np.float64) / 1000
"""How far annotators differ on each point, relative to the person's size (COCO evaluation)."""


class KeypointsOptions(Options, frozen=True):
    """What a caller may ask.

    Attributes:
        top_k: at most this many people, best first.
        min_score: only people with at least this score, 0-1, and of those only such points. (A
            single-person model always answers; on pictures without people it scores lower.)
    """

    top_k: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 20
    min_score: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class Poses:
    """People of one picture, best first.

    Attributes:
        points: float32 [p, k, 2]: x, y in pixels of the upright picture, within it.
        scores: float32 [p, k], 0-1; 0 marks a point that was not found (its x, y mean nothing).
        person_scores: float32 [p], 0-1.
        names: k names.

    Raises:
        HeliographError: `bad_shape` if the parts do not fit together.
    """

    points: NDArray[np.float32]
    scores: NDArray[np.float32]
    person_scores: NDArray[np.float32]
    names: tuple[str, ...] = COCO_POINTS

    def __post_init__(self) -> None:
        """Hold each part against the number of people and of names."""
        people, many = len(self.person_scores), len(self.names)
        _expect("points", self.points, (people, many, 2))
        _expect("scores", self.scores, (people, many))
        _expect("person_scores", self.person_scores, (people,))

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """Which points are joined by a line; none for points that are not COCO's."""
        return COCO_EDGES if self.names == COCO_POINTS else ()

    @property
    def boxes(self) -> NDArray[np.float32]:
        """Float32 [p, 4]: left, top, right, bottom around the points found; 0 where none was."""
        found = (self.scores > 0)[:, :, None]
        low = np.where(found, self.points, np.inf).min(axis=1)
        high = np.where(found, self.points, -np.inf).max(axis=1)
        boxes = np.concatenate([low, high], axis=1)
        return np.where(np.isfinite(boxes), boxes, 0).astype(np.float32)

    def predictions(self) -> list[dict[str, Any]]:
        """`[{"label", "score", "box": {…}, "keypoints": [{"name", "x", "y", "score"}]}]`.

        People best first, the points found in the order of `names`, in pixels to two decimals.
        """
        return [
            {
                "label": "person",
                "score": round(score, 6),
                "box": box_of(box),
                "keypoints": [
                    {"name": name, "x": round(x, 2), "y": round(y, 2), "score": round(sure, 6)}
                    for name, (x, y), sure in zip(self.names, points, scores, strict=True)
                    if sure > 0
                ],
            }
            for score, box, points, scores in zip(
                self.person_scores.tolist(),
                self.boxes.tolist(),
                self.points.tolist(),
                self.scores.tolist(),
                strict=True,
            )
        ]

    def draw(self, pixels: Pixels) -> Pixels:
        """Draw the points found and the lines between them."""
        least = float(np.finfo(np.float32).tiny)
        return draw.poses(pixels, self.points, self.scores, self.edges, least)


def restore(predictions: list[dict[str, Any]]) -> Poses:
    """Read `Poses` back from its JSON form; points left out have score 0."""
    seen = dict.fromkeys(str(one["name"]) for person in predictions for one in person["keypoints"])
    names = COCO_POINTS if set(seen) <= set(COCO_POINTS) else tuple(seen)
    points = np.zeros((len(predictions), len(names), 2), np.float32)
    scores = np.zeros((len(predictions), len(names)), np.float32)
    for row, person in enumerate(predictions):
        for one in person["keypoints"]:
            at = row, names.index(str(one["name"]))
            points[at], scores[at] = (one["x"], one["y"]), one["score"]
    people = np.array([one["score"] for one in predictions], np.float32)
    return Poses(points, scores, people, names)


def _expect(name: str, array: NDArray[np.float32], shape: tuple[int, ...]) -> None:
    if array.shape != shape or array.dtype != np.float32:
        raise HeliographError(
            Code.BAD_SHAPE,
            f"Poses.{name}: expected float32 {list(shape)}, got {array.dtype} {list(array.shape)}.",
        )


class MoveNet(Decoder, frozen=True, tag="movenet"):
    """One person (MoveNet SinglePose Lightning and Thunder).

    Source: the model's page on TensorFlow Hub, `google/movenet/singlepose/lightning/4`. The model
    gives no score of the person; the mean of all its points' scores stands in.

    Attributes:
        output: the output's name; empty means the only one. Shape [1, 17, 3]: y, x as fractions of
            the input, score 0-1.
    """

    output: str = ""

    @np.errstate(all="ignore")
    def decode(self, raw: Raw, placement: Placement, labels: Sequence[str], options: Any) -> Poses:
        """See `Decoder.decode`; `labels` are the points' names, COCO's 17 where there are none."""
        values = output(raw, self.output, 3)
        if values.shape[2] != 3:
            raise _wrong(self.output, "[people, points, 3]", values.shape)
        size = placement.input
        points = placement.points(values[..., 1] * size.width, values[..., 0] * size.height)
        return _answer(points, values[..., 2], placement, labels, options)


class Heatmaps(Decoder, frozen=True, tag="heatmaps"):
    """One person, one map per point: its maximum, moved a quarter cell to the higher neighbour.

    Source: `lib/core/inference.py` (`get_final_preds`) of leoxiaobin/deep-high-resolution-net
    (HRNet, Simple Baselines): cell i of n lies at i / n of the input's side.

    Attributes:
        output: the output's name; empty means the only one. Shape [points, height, width], the
            maxima 0-1.
    """

    output: str = ""

    @np.errstate(all="ignore")
    def decode(self, raw: Raw, placement: Placement, labels: Sequence[str], options: Any) -> Poses:
        """See `Decoder.decode`; `labels` as for `MoveNet`."""
        maps = output(raw, self.output, 3)
        many, down, across = maps.shape
        if not maps.size:
            raise _wrong(self.output, "[points, height, width]", maps.shape)
        maps = np.where(np.isfinite(maps), maps, 0)
        rows, columns = np.divmod(maps.reshape(many, -1).argmax(axis=1), across)
        every = np.arange(many, dtype=np.intp)
        # The edge repeats, so that a maximum on it stays where it is along that side.
        padded = np.pad(maps, ((0, 0), (1, 1), (1, 1)), mode="edge")
        right = padded[every, rows + 1, columns + 2] - padded[every, rows + 1, columns]
        below = padded[every, rows + 2, columns + 1] - padded[every, rows, columns + 1]
        inside = (columns > 0) & (columns < across - 1) & (rows > 0) & (rows < down - 1)
        x = (columns + inside * np.sign(right) / 4) * placement.input.width / across
        y = (rows + inside * np.sign(below) / 4) * placement.input.height / down
        points = placement.points(x.astype(np.float32), y.astype(np.float32))
        return _answer(points[None], maps[every, rows, columns][None], placement, labels, options)


def _answer(
    points: NDArray[np.float32],
    scores: NDArray[np.float32],
    placement: Placement,
    labels: Sequence[str],
    options: KeypointsOptions,
) -> Poses:
    """Drop what is not a point, clip the rest to the picture, and put the best people first."""
    names = tuple(labels) or COCO_POINTS
    if scores.shape[1] != len(names):
        raise HeliographError(
            Code.BAD_SHAPE,
            f"The model gives {scores.shape[1]} points per person, but {len(names)} have names.",
        )
    sure = np.isfinite(points).all(axis=2) & np.isfinite(scores) & (scores > 0)
    scores = np.where(sure, np.clip(scores, 0, 1), np.float32(0))
    person_scores = scores.mean(axis=1)
    scores[scores < options.min_score] = 0
    points = np.clip(np.where(sure[:, :, None], points, 0), 0, np.array(placement.size, np.float32))
    best = np.argsort(-person_scores, kind="stable")
    best = best[(person_scores[best] >= options.min_score) & scores[best].any(axis=1)]
    best = best[: options.top_k]
    return Poses(points[best].astype(np.float32), scores[best], person_scores[best], names)


def _wrong(name: str, expected: str, shape: tuple[int, ...]) -> HeliographError:
    return HeliographError(
        Code.BAD_SHAPE, f"Output {name!r}: expected {expected} per picture, got {list(shape)}."
    )


class Person(NamedTuple):
    """One person that a picture really shows.

    Attributes:
        points: float32 [k, 2]: x, y in pixels of the upright picture.
        visible: bool [k]: which points are annotated.
        area: of the person, in square pixels, positive.
    """

    points: NDArray[np.float32]
    visible: NDArray[np.bool_]
    area: float


def similarity(points: NDArray[np.float32], true: Person) -> float:
    """Object keypoint similarity (OKS) of 17 found points with a person's own, 0-1.

    Source: `pycocotools/cocoeval.py` (`computeOks`).

    Args:
        points: float32 [17, 2]: x, y in pixels.
        true: the person; 0 if no point is annotated.
    """
    if not true.visible.any():
        return 0.0
    squares = ((points.astype(np.float64) - true.points) ** 2).sum(axis=1)
    falls = np.exp(-squares / (2 * true.area * (2 * COCO_SIGMAS) ** 2))
    return float(falls[true.visible].mean())


def mean_similarity(answers: Sequence[Poses], truth: Sequence[Sequence[Person]]) -> float:
    """Mean OKS over all true people, 0-1; a person nobody found counts 0.

    Args:
        answers: one per picture. Best first, each takes the free person it resembles most.
        truth: the people of each picture, in the same order.
    """
    total = 0.0
    for answer, people in zip(answers, truth, strict=True):
        free = list(people)
        for points in answer.points[: len(people)]:
            alike = [similarity(points, one) for one in free]
            best = int(np.argmax(alike))
            total += alike[best]
            del free[best]
    count = sum(len(people) for people in truth)
    return total / count if count else 0.0


TASK = Task("keypoints", "keypoints", KeypointsOptions, restore)
