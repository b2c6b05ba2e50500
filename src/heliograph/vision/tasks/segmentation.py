"""Segmentation: which class each pixel of a picture belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from heliograph.core.errors import Code, HeliographError
from heliograph.vision import draw, maps, rle
from heliograph.vision.encode import Encoded, indexed
from heliograph.vision.geometry import Placement
from heliograph.vision.picture import Pixels
from heliograph.vision.rle import Rle
from heliograph.vision.tasks.base import Decoder, Options, Raw, Task, label_of
from heliograph.vision.tasks.classification import activate

NOTHING = int(draw.NO_CLASS)
"""What a class map holds where no class is."""

ClassMap = NDArray[np.uint16]
"""uint16 [h, w]: the class id of each pixel, `NOTHING` where there is none."""

_MOST_CLASSES = 4096


class SegmentationOptions(Options, frozen=True):
    """What a caller may ask.

    Attributes:
        top_k: at most this many classes, the largest first.
        min_score: pixels whose class has a lower score, 0-1, belong to none; None: as the model was
            published (its decoder's own `threshold`).
        min_share: classes that cover a smaller part of the picture, 0-1, are left out.
        classes: only these, by label or class id, with commas between; left out: all.
        draw: how the answer looks as a picture: `overlay`: classes laid over the picture, with a
            legend; `map`: the class ids themselves, as a PNG whose palette shows their colours (16
            bits a pixel where an id is above 254; its highest value is no class).
    """

    top_k: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1000
    min_score: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    min_share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    classes: Annotated[str, msgspec.Meta(max_length=4000)] = ""
    draw: Literal["overlay", "map"] = "overlay"


@dataclass(frozen=True, slots=True)
class Segment:
    """Everything in a picture that is of one class.

    Attributes:
        class_id: its number.
        label: its name.
        mask: of the whole upright picture.
        score: the mean, 0-1, over the model's own cells of this class; None where it gives no
            scores, or the class is strongest only between cells.
    """

    class_id: int
    label: str
    mask: Rle
    score: float | None = None

    @property
    def area(self) -> int:
        """Pixels."""
        return self.mask.area

    @property
    def share(self) -> float:
        """The part of the picture that it covers, 0-1."""
        return self.area / max(1, self.mask.size.width * self.mask.size.height)


@dataclass(frozen=True, slots=True)
class Segments:
    """The classes of one picture, the largest first; no two share a pixel.

    Attributes:
        segments: one a class.
    """

    segments: tuple[Segment, ...]

    def class_map(self) -> ClassMap:
        """The class id of each pixel, uint16 [h, w]; [0, 0] where no class was found."""
        if not self.segments:
            return np.zeros((0, 0), np.uint16)
        size = self.segments[0].mask.size
        flat = np.full(size.width * size.height, NOTHING, np.uint16)
        for one in self.segments:
            edges = one.mask.edges
            for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
                flat[start:end] = one.class_id
        return np.ascontiguousarray(flat.reshape(size.width, size.height).T)

    def predictions(self) -> list[dict[str, Any]]:
        """`[{"label", "class_id", "score", "area", "share", "mask"}]`, the largest first.

        `score` only where the model gives one; `area` in pixels, `share` of the picture 0-1, `mask`
        COCO's compressed run lengths, see `rle.Rle.to_json`.
        """
        return [
            {"label": one.label, "class_id": one.class_id}
            | ({} if one.score is None else {"score": round(one.score, 6)})
            | {"area": one.area, "share": round(one.share, 6), "mask": one.mask.to_json()}
            for one in self.segments
        ]

    def draw(self, pixels: Pixels) -> Pixels:
        """Lay the classes over the picture, each in its colour, with a legend."""
        if not self.segments:
            return pixels.copy()
        ids = [one.class_id for one in self.segments]
        laid = draw.overlay(pixels, self.class_map())
        return draw.legend(laid, ids, [f"{one.label} {one.share:.1%}" for one in self.segments])


@dataclass(frozen=True, slots=True)
class SegmentsAsMap(Segments):
    """The same, for a caller who wants the class map as the picture (`draw=map`)."""

    def picture(self) -> Pixels:
        """See `Pictured.picture`: each class in its colour, black where none is."""
        return draw.palette_picture(self.class_map())

    def encode(self) -> Encoded:
        """See `Pictured.encode`: a PNG of class ids; 255 (or 65535) where no class is."""
        found = self.class_map()
        if max((one.class_id for one in self.segments), default=0) < 255:
            found = np.minimum(found, 255).astype(np.uint8)
        return indexed(found, draw.palette())


def restore(predictions: list[dict[str, Any]]) -> Segments:
    """Read `Segments` back from their JSON form."""
    return Segments(
        tuple(
            Segment(
                int(one["class_id"]),
                str(one["label"]),
                Rle.from_json(one["mask"]),
                float(one["score"]) if "score" in one else None,
            )
            for one in predictions
        )
    )


class ClassScores(Decoder, frozen=True, tag="class-scores"):
    """A score, logit or probability of each class at each cell of a map.

    The logits are interpolated to the picture's pixels and the highest wins, as torchvision, MMSeg
    and the Hugging Face processors do (`post_process_semantic_segmentation`); what the model says
    about padding is left out. A map with one channel is a foreground: its pixels are class 0 (or
    `first_class`) where the score reaches `threshold`.

    Attributes:
        output: the output's name; empty means the only one. Shape [classes, h, w], or [h, w,
            classes] for `NHWC`; [h, w] where there is one class. Any stride.
        layout: `NCHW` or `NHWC`.
        activation: `softmax` or `sigmoid` for logits; `none` where the model ends in one.
        first_class: lower class ids are background and left out; a class id is always the index of
            its channel and of its line in the labels file (with one channel: `first_class` itself).
        threshold: pixels whose class has a lower score belong to none.
        ignore: a class id that means "not labelled", left out, too; -1 for none.
    """

    output: str = ""
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    activation: Literal["none", "softmax", "sigmoid"] = "none"
    first_class: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 0
    threshold: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    ignore: Annotated[int, msgspec.Meta(ge=-1, lt=NOTHING)] = -1

    @np.errstate(all="ignore")
    def decode(
        self, raw: Raw, placement: Placement, labels: Sequence[str], options: Any
    ) -> Segments:
        """See `Decoder.decode`."""
        grid = self._grid(raw)
        where = maps.axes(placement, *grid.shape[:2])
        least = self.threshold if options.min_score is None else options.min_score
        if grid.shape[2] == 1:
            cells = activate(grid[:, :, 0], self.activation)
            best = np.full(cells.shape, self.first_class)
            sure = activate(maps.bilinear(grid[:, :, 0], where), self.activation)
            seen = np.full(sure.shape, self.first_class, np.uint16)
        else:
            cells = np.ascontiguousarray(activate(grid, self.activation).max(axis=-1))
            best = grid.argmax(axis=-1)
            # The class is exact; its score lies between those of the model's own cells.
            sure = maps.bilinear(cells, where)
            seen = maps.choose(grid, where)
            seen[seen < self.first_class] = NOTHING
        seen[(sure < least) | (seen == self.ignore)] = NOTHING
        means = _means(np.clip(cells, 0, 1), best, where, least)
        return _answer(_whole(seen, where, placement), labels, options, means)

    def _grid(self, raw: Raw) -> NDArray[np.float32]:
        """The maps, float32 [down, across, classes], finite."""
        values = _pick(raw, self.output).astype(np.float32, copy=False)
        if values.ndim == 2:
            values = values[:, :, None]
        elif values.ndim == 3 and self.layout == "NCHW":
            values = values.transpose(1, 2, 0)
        if values.ndim != 3 or not values.size or values.shape[2] > _MOST_CLASSES:
            raise _wrong(self.output, f"{self.layout} class scores", raw)
        return np.nan_to_num(np.ascontiguousarray(values), nan=-1e30, posinf=1e30, neginf=-1e30)


class ClassIds(Decoder, frozen=True, tag="class-ids"):
    """The class of each cell, which the model has chosen already.

    Attributes:
        output: the output's name; empty means the only one. Shape [h, w], [1, h, w] or [h, w, 1],
            whole numbers of any type: lines of the labels file, from 0. Any stride.
        first_class: lower class ids are background and left out.
        ignore: a class id that means "not labelled", left out, too; -1 for none.
    """

    output: str = ""
    first_class: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 0
    ignore: Annotated[int, msgspec.Meta(ge=-1, lt=NOTHING)] = 255

    @np.errstate(all="ignore")
    def decode(
        self, raw: Raw, placement: Placement, labels: Sequence[str], options: Any
    ) -> Segments:
        """See `Decoder.decode`."""
        values = _pick(raw, self.output)
        if values.ndim == 3 and 1 in {values.shape[0], values.shape[2]}:
            values = values[0] if values.shape[0] == 1 else values[:, :, 0]
        if values.ndim != 2 or not values.size:
            raise _wrong(self.output, "[h, w] class ids", raw)
        where = maps.axes(placement, *values.shape)
        chosen = maps.nearest(values, where)
        known = (chosen >= self.first_class) & (chosen < NOTHING) & (chosen != self.ignore)
        seen = np.full(chosen.shape, NOTHING, np.uint16)
        seen[known] = chosen[known].astype(np.uint16)
        return _answer(_whole(seen, where, placement), labels, options, {})


def _pick(raw: Raw, name: str) -> NDArray[Any]:
    """One output, whatever its rank."""
    if not name and len(raw) == 1:
        name = next(iter(raw))
    if name not in raw:
        raise HeliographError(
            Code.BAD_SHAPE, f"The model has no output {name!r}; it has {sorted(raw)}."
        )
    return raw[name]


def _wrong(name: str, expected: str, raw: Raw) -> HeliographError:
    shape = list(_pick(raw, name).shape)
    return HeliographError(
        Code.BAD_SHAPE, f"Output {name!r}: expected {expected} per picture, got {shape}."
    )


def _whole(seen: ClassMap, where: maps.Axes, placement: Placement) -> ClassMap:
    """The map of the whole picture, whose edges a `crop` has left out."""
    width, height = placement.size
    if seen.shape == (height, width):
        return seen
    whole = np.full((height, width), NOTHING, np.uint16)
    top, left = where.rows.first, where.columns.first
    room = whole[top : top + seen.shape[0], left : left + seen.shape[1]]
    room[...] = seen[: room.shape[0], : room.shape[1]]
    return whole


def _means(
    sure: NDArray[np.float32], best: NDArray[np.intp], where: maps.Axes, least: float
) -> dict[int, float]:
    """The mean score of each class over the cells that are its own."""
    inside = tuple(slice(side.low, side.high + 1) for side in where)
    scores, classes = sure[inside].ravel(), best[inside].ravel()
    counted = scores >= least
    counts = np.bincount(classes[counted])
    totals = np.bincount(classes[counted], weights=scores[counted])
    return {one: float(totals[one] / counts[one]) for one in np.flatnonzero(counts).tolist()}


def _answer(
    found: ClassMap,
    labels: Sequence[str],
    options: SegmentationOptions,
    scores: dict[int, float],
) -> Segments:
    """Keep the classes that were asked for, the largest first."""
    masks = rle.split(found)
    masks.pop(NOTHING, None)
    wanted = _wanted(options.classes, labels)
    least = options.min_share * found.size
    kept = [
        Segment(class_id, label_of(labels, class_id), mask, scores.get(class_id))
        for class_id, mask in masks.items()
        if (wanted is None or class_id in wanted) and mask.area >= least
    ]
    kept.sort(key=lambda one: -one.area)
    kind = SegmentsAsMap if options.draw == "map" else Segments
    return kind(tuple(kept[: options.top_k]))


def _wanted(text: str, labels: Sequence[str]) -> set[int] | None:
    """The class ids that a caller named; None for all.

    Raises:
        HeliographError: `validation` for a name that the model does not know.
    """
    names = [one.strip() for one in text.split(",") if one.strip()]
    if not names:
        return None
    known = {label: class_id for class_id, label in enumerate(labels)}
    for one in names:
        if one not in known and not one.isdecimal():
            raise HeliographError(
                Code.VALIDATION, f"classes: this model knows no class {one[:60]!r}; see its card."
            )
    return {known[one] if one in known else int(one) for one in names}


class Agreement(NamedTuple):
    """How well classes of pixels were found, each 0-1.

    Attributes:
        mean_iou: intersection over union, averaged over the classes that occur on either side.
        mean_dice: twice the intersection over the sum of both areas, averaged likewise.
        pixel_accuracy: the share of labelled pixels whose class was found.
        iou: of each class; NaN for classes that occur on neither side.
        confusion: int64 [classes, classes + 1]: pixels by true class (row) and answered class; the
            last column counts those that were given none.
    """

    mean_iou: float
    mean_dice: float
    pixel_accuracy: float
    iou: NDArray[np.float64]
    confusion: NDArray[np.int64]


def agreement(
    answers: Sequence[ClassMap], truth: Sequence[ClassMap], classes: int, *, ignore: int = NOTHING
) -> Agreement:
    """Compare class maps with true ones, over all pictures together.

    Source: Everingham et al., "The PASCAL Visual Object Classes Challenge: A Retrospective" (2015):
    pixels that the truth leaves unlabelled count nowhere.

    Args:
        answers: one map a picture.
        truth: one map a picture, of the same shape, in the same order.
        classes: how many there are; ids from 0.
        ignore: what the truth holds where it is not labelled, besides ids from `classes` up.
    """
    confusion = np.zeros((classes, classes + 1), np.int64)
    for answer, true in zip(answers, truth, strict=True):
        counted = (true != ignore) & (true < classes)
        rows = true[counted].astype(np.int64)
        columns = np.minimum(answer[counted].astype(np.int64), classes)
        cells = np.bincount(rows * (classes + 1) + columns, minlength=confusion.size)
        confusion += cells.reshape(confusion.shape)
    shared = np.diagonal(confusion).astype(np.float64)
    both = confusion.sum(axis=1) + confusion[:, :classes].sum(axis=0)
    with np.errstate(invalid="ignore"):
        of_class, dice = shared / (both - shared), 2 * shared / both
    if not both.any():
        return Agreement(0.0, 0.0, 0.0, of_class, confusion)
    right = float(shared.sum() / max(1, confusion.sum()))
    return Agreement(
        float(np.nanmean(of_class)), float(np.nanmean(dice)), right, of_class, confusion
    )


TASK = Task("segmentation", "segment", SegmentationOptions, restore)
