"""Pipelines: a declared tree of models and image operations, answered for as one model.

A step takes the outcome of an earlier one and is of one of three kinds:

    feature   pictures -> pictures       image operations (`ops`), or cutting out what was found
    model     pictures -> predictions    another model in service
    rules     predictions -> predictions what the application makes of them: keep, rename, count

The first model step is the root: its predictions are the answer. What later steps find about a
piece cut out of it hangs below the prediction that the piece belongs to, under the step's name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import msgspec
import numpy as np

from heliograph.core.errors import Code, HeliographError
from heliograph.vision import draw, pipeline
from heliograph.vision.picture import Picture, Pixels
from heliograph.vision.tasks.base import Options, Task
from heliograph.vision.tasks.chain import Chain, StageOf
from heliograph.vision.tasks.detection import corners_of

_MOST_PIECES = 256
_Name = Annotated[str, msgspec.Meta(pattern="^[a-z][a-z0-9_]{0,39}$")]
_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Prediction = dict[str, Any]


class PipelineOptions(Options, frozen=True):
    """What a caller may ask.

    Attributes:
        top_k: at most this many predictions, best first.
        min_score: only predictions with at least this score, 0-1.
    """

    top_k: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100
    min_score: _Share = 0.0


@dataclass(frozen=True, slots=True)
class Findings:
    """What a pipeline found.

    Attributes:
        found: predictions of the root step; what later steps say of one is in it, by step name.
    """

    found: tuple[Prediction, ...]

    def predictions(self) -> list[Prediction]:
        """The predictions, as the root step's task has them, with what later steps add."""
        return list(self.found)

    def draw(self, pixels: Pixels) -> Pixels:
        """Draw each box with its label and the best label of every step below it."""
        boxed = [one for one in self.found if "box" in one]
        others = [_words(one) for one in self.found if "box" not in one]
        if boxed:
            corners = np.array([corners_of(one["box"]) for one in boxed], np.float32)
            classes = [int(one.get("class_id", 0)) for one in boxed]
            pixels = draw.boxes(pixels, corners, [_words(one) for one in boxed], classes)
        return draw.caption(pixels, others[:5]) if others else pixels


def _words(one: Prediction) -> str:
    """A prediction and the best of what hangs below it, in a line."""
    said = str(one.get("label") or one.get("text") or "")
    below = [value[0] for value in one.values() if isinstance(value, list) and value]
    parts = [_words(each) for each in below if isinstance(each, dict)]
    score = f" {one['score']:.0%}" if "score" in one and not parts else ""
    return " · ".join([said + score, *filter(None, parts)])


def restore(predictions: list[Prediction]) -> Findings:
    """Read `Findings` back from its JSON form."""
    return Findings(tuple(predictions))


class Condition(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a prediction must be; everything that is given must hold.

    Attributes:
        label: one of these.
        min_score: at least this, 0-1.
        min_area: its box covers at least this share of the picture, 0-1.
        below: by step name: something that hangs below it there is as described.
    """

    label: tuple[str, ...] = ()
    min_score: _Share = 0.0
    min_area: _Share = 0.0
    below: dict[str, Condition] = {}

    def holds(self, one: Prediction, area: float) -> bool:
        """Whether a prediction is so.

        Args:
            one: the prediction.
            area: of the picture, in square pixels.
        """
        box = one.get("box")
        covered = box["width"] * box["height"] / area if box else 1.0
        return (
            (not self.label or one.get("label") in self.label)
            and one.get("score", 1.0) >= self.min_score
            and covered >= self.min_area
            and all(
                any(condition.holds(each, area) for each in one.get(name, ()))
                for name, condition in self.below.items()
            )
        )


class Alarm(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A prediction that is made of how many others there are.

    Attributes:
        label: what it says.
        when: what is counted.
        at_least: how many there must be.
    """

    label: str
    when: Condition
    at_least: Annotated[int, msgspec.Meta(ge=1)] = 1


class _Step(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind"
):
    name: _Name
    of: str = ""


class Feature(_Step, frozen=True, tag="feature"):
    """Pictures to pictures.

    Attributes:
        name: under which later steps take its outcome.
        of: the step whose outcome it takes; empty for the picture itself.
        ops: image operations as `/process` has them; they must leave the size as it is.
        cut: cut out what was found: `of` must be a step that makes predictions with boxes.
        margin: for `cut`: grow each box by this share of its sides.
        where: for `cut`: only these.
    """

    ops: str = ""
    cut: bool = False
    margin: _Share = 0.0
    where: Condition = Condition()


class Ask(_Step, frozen=True, tag="model"):
    """Pictures to predictions.

    Attributes:
        name: under which its predictions hang below those of the root.
        of: a feature step; empty for the picture itself.
        model: `name` or `name@version` of a model in service.
        options: of the model's task, as text.
    """

    model: str
    options: dict[str, str] = {}


class Rules(_Step, frozen=True, tag="rules"):
    """Predictions to predictions; done in the order of these fields.

    Attributes:
        name: under which later steps take its outcome.
        of: always the root.
        keep: those for which any of these holds stay; empty for all.
        take: name of a step: its best label below a prediction becomes the prediction's own.
        rename: new label by label.
        alarms: further predictions, at the end.
    """

    keep: tuple[Condition, ...] = ()
    take: str = ""
    rename: dict[str, str] = {}
    alarms: tuple[Alarm, ...] = ()


@dataclass(frozen=True, slots=True)
class _Piece:
    """A picture on its way: its pixels and the prediction it was cut out for, if it was."""

    pixels: Pixels
    owner: Prediction | None = None


class Steps(Chain, frozen=True, tag="steps"):
    """A pipeline, step by step.

    Attributes:
        steps: done in their order, each of one of three kinds: feature, model, rules.
    """

    steps: Annotated[tuple[Feature | Ask | Rules, ...], msgspec.Meta(min_length=1, max_length=32)]

    def __post_init__(self) -> None:
        """Refuse steps that cannot be walked; msgspec tells the reason with the field."""
        known: dict[str, str] = {"": "pictures"}
        for step in self.steps:
            makes = "pictures" if isinstance(step, Feature) else "predictions"
            takes = "predictions" if isinstance(step, Rules) else "pictures"
            if isinstance(step, Feature) and step.cut:
                takes = "predictions"
            if isinstance(step, Rules):
                if "predictions" not in known.values():
                    raise ValueError(f"step {step.name!r}: rules need a model step before them")
            elif known.get(step.of) != takes:
                raise ValueError(f"step {step.name!r}: of = {step.of!r} must be a step of {takes}")
            if step.name in known:
                raise ValueError(f"step {step.name!r} is there twice")
            if isinstance(step, Feature) and step.ops:
                try:
                    pipeline.parse(step.ops)
                except HeliographError as error:
                    raise ValueError(f"step {step.name!r}: {error.detail}") from error
            known[step.name] = makes
        if "predictions" not in known.values():
            raise ValueError("a pipeline needs a model step")

    def models(self) -> tuple[str, ...]:
        """See `Chain.models`."""
        return tuple(step.model for step in self.steps if isinstance(step, Ask))

    def walk(self, picture: Picture, stage: StageOf, options: Any) -> Findings:
        """See `Chain.walk`."""
        walk = _Walk(picture, stage)
        for step in self.steps:
            walk.take(step)
        found = [one for one in walk.root if one.get("score", 1.0) >= options.min_score]
        return Findings(tuple(found[: options.top_k]))


class _Walk:
    """One picture's way through the steps."""

    def __init__(self, picture: Picture, stage: StageOf) -> None:
        self._stage = stage
        self._area = float(picture.size.width * picture.size.height)
        self._pieces: dict[str, list[_Piece]] = {"": [_Piece(picture.pixels)]}
        self._made: dict[str, list[Prediction]] = {}
        self._root_name = ""
        self.root: list[Prediction] = []

    def take(self, step: Feature | Ask | Rules) -> None:
        """Do one step."""
        if isinstance(step, Feature):
            self._pieces[step.name] = self._cut(step) if step.cut else self._pieces[step.of]
            if step.ops:
                self._pieces[step.name] = [_work(step, one) for one in self._pieces[step.name]]
        elif isinstance(step, Ask):
            self._ask(step)
        else:
            self.root = self._apply(step, self.root)
            self._made[step.name] = self.root

    def _cut(self, step: Feature) -> list[_Piece]:
        pixels = self._pieces[""][0].pixels
        wanted = [
            one
            for one in self._made[step.of]
            if any(one is each for each in self.root) and step.where.holds(one, self._area)
        ]
        cuts = [(one, _inside(pixels, one, step.margin)) for one in wanted[:_MOST_PIECES]]
        return [_Piece(cut, one) for one, cut in cuts if cut.size]

    def _ask(self, step: Ask) -> None:
        pieces = self._pieces[step.of]
        stage = self._stage(step.model)
        options = msgspec.convert(step.options, stage.options, strict=False)
        results = stage.results([one.pixels for one in pieces], options)
        made = self._made[step.name] = []
        for piece, result in zip(pieces, results, strict=True):
            predictions = result.predictions()
            made += predictions
            if piece.owner is not None:
                piece.owner[step.name] = predictions
            elif not self._root_name:
                self._root_name = step.name
                self.root = predictions
            else:
                # A second opinion on the whole picture stands beside the first.
                self.root.append({"label": step.name, step.name: predictions})

    def _apply(self, step: Rules, found: Sequence[Prediction]) -> list[Prediction]:
        kept = [
            one
            for one in found
            if not step.keep or any(each.holds(one, self._area) for each in step.keep)
        ]
        for one in kept:
            below = one.get(step.take)
            if step.take and isinstance(below, list) and below:
                one["label"] = below[0].get("label", one.get("label"))
                one["score"] = below[0].get("score", one.get("score"))
            if one.get("label") in step.rename:
                one["label"] = step.rename[one["label"]]
        for alarm in step.alarms:
            many = sum(alarm.when.holds(one, self._area) for one in kept)
            if many >= alarm.at_least:
                kept.append({"label": alarm.label, "score": 1.0, "count": many})
        return kept


def _work(step: Feature, piece: _Piece) -> _Piece:
    made, _ = pipeline.run(piece.pixels, pipeline.parse(step.ops), pipeline.MAX_PIXELS)
    if made.shape != piece.pixels.shape:
        raise HeliographError(
            Code.BAD_SHAPE,
            f"Step {step.name!r} changed the picture's size from {piece.pixels.shape[1]} x "
            f"{piece.pixels.shape[0]} to {made.shape[1]} x {made.shape[0]}: boxes found after it "
            "would not fit the caller's picture. Leave resizing and cropping to the models.",
        )
    return replace(piece, pixels=made)


def _inside(pixels: Pixels, one: Mapping[str, Any], margin: float) -> Pixels:
    """The pixels of a prediction's box, grown by `margin`, as far as they are in the picture."""
    if "box" not in one:
        raise HeliographError(
            Code.BAD_SHAPE, "Only predictions with boxes can be cut out; these have none."
        )
    left, top, right, bottom = corners_of(one["box"])
    wide, high = (right - left) * margin, (bottom - top) * margin
    height, width = pixels.shape[:2]
    rows = slice(max(0, round(top - high)), min(height, round(bottom + high)))
    columns = slice(max(0, round(left - wide)), min(width, round(right + wide)))
    return np.ascontiguousarray(pixels[rows, columns])


TASK = Task("pipeline", "pipeline", PipelineOptions, restore)
