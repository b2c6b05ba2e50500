"""Reading a whole picture with three models: find lines, turn them, read them.

    picture -> finder      quads of lines                      once
    quads   -> crop        a small picture each, lying
    crops   -> director    which lie upside down; turned       in batches
    crops   -> recogniser  text and score                      in batches
    lines   -> order       as one reads them

The chain knows models only as `Stage`s: what to feed, how to run, how to read the answer. A batch
holds lines of one tensor shape only, so that what a line says never depends on its neighbours.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from heliograph.vision import quads
from heliograph.vision.geometry import Placement
from heliograph.vision.picture import Picture, Pixels, Size
from heliograph.vision.prepare import InputSpec, prepare
from heliograph.vision.quads import Quads
from heliograph.vision.tasks.base import Decoder, Raw
from heliograph.vision.tasks.classification import ClassificationOptions, Scores
from heliograph.vision.tasks.text import Ctc, Read, TextBoxes, TextLines, TextOptions, arranged

D = TypeVar("D", bound=Decoder)

Run = Callable[[NDArray[Any]], Mapping[str, NDArray[Any]]]
"""Tensors of one shape with a batch axis -> the model's outputs by name, with the batch axis."""

_STRIP, _SCRAP, _FRAME = 4, 128, 4

UPSIDE_DOWN = "180"
"""The label by which a direction classifier says that a line lies upside down."""


@dataclass(frozen=True, slots=True)
class Stage(Generic[D]):
    """One of the models.

    Attributes:
        input: what it wants to be fed.
        decoder: how its answer is read.
        run: runs it.
        labels: by class id.
        batch: most pictures in one run.
    """

    input: InputSpec
    decoder: D
    run: Run
    labels: Sequence[str] = ()
    batch: int = 1

    def answers(self, pictures: Sequence[Pixels]) -> Iterator[tuple[int, Raw, Placement]]:
        """Run every picture; yields its index, its outputs and its placement, in any order."""
        of_shape: dict[tuple[int, ...], list[int]] = defaultdict(list)
        tensors: list[NDArray[Any]] = []
        placements: list[Placement] = []
        for at, pixels in enumerate(pictures):
            tensor, placement = prepare(Picture(pixels, _size(pixels), ""), self.input)
            of_shape[tensor.shape].append(at)
            tensors.append(tensor)
            placements.append(placement)
        for alike in of_shape.values():
            for start in range(0, len(alike), self.batch):
                batch = alike[start : start + self.batch]
                outputs = self.run(np.stack([tensors[at] for at in batch]))
                for row, at in enumerate(batch):
                    yield at, {name: one[row] for name, one in outputs.items()}, placements[at]


@dataclass(frozen=True, slots=True)
class Reader:
    """The chain.

    Attributes:
        finder: of lines.
        recogniser: of a line's text.
        director: of lines that lie upside down; None where none do.
        sure: score from which the director is believed, 0-1.
    """

    finder: Stage[TextBoxes]
    recogniser: Stage[Ctc]
    director: Stage[Scores] | None = None
    sure: float = 0.9

    def read(self, picture: Picture, options: TextOptions) -> TextLines:
        """Read a picture; best decoded at its full size, as small text needs every pixel.

        Lines without a character are left out.

        Raises:
            HeliographError: `bad_shape` if a model's outputs are not what its decoder expects.
        """
        pixels = picture.pixels
        corners = self.turn(pixels, self.find(pixels))
        lines = self.recognise(pixels, corners)
        scores = np.array([line.score for line in lines], np.float32)
        best = np.argsort(-scores, kind="stable")[: options.top_k].tolist()
        kept = [at for at in sorted(best) if _wanted(lines[at], options)]
        scale = np.array(picture.size, np.float32) / np.array(_size(pixels), np.float32)
        places = (corners[kept] * scale).astype(np.float32)
        return arranged([lines[at].text for at in kept], scores[kept], places)

    def find(self, pixels: Pixels) -> Quads:
        """Every line as a lying quad, float32 [n, 4, 2], in these pixels, uint8 [h, w, 3]."""
        framed, left, top = _framed(pixels)
        tensor, placement = prepare(Picture(framed, _size(framed), ""), self.finder.input)
        outputs = self.finder.run(tensor[None])
        raw = {name: one[0] for name, one in outputs.items()}
        corners, _ = self.finder.decoder.find(raw, placement)
        bound = np.array(_size(pixels), np.float32)
        corners = np.clip(corners - np.array([left, top], np.float32), 0, bound)
        return np.array([quads.along(one) for one in corners], np.float32).reshape(-1, 4, 2)

    def turn(self, pixels: Pixels, corners: Quads) -> Quads:
        """Give every quad whose text lies upside down half a turn."""
        if self.director is None:
            return corners
        turned = corners.copy()
        first = ClassificationOptions(top_k=1)
        for at, raw, placement in self.director.answers(_crops(pixels, corners)):
            classes = self.director.decoder.decode(raw, placement, self.director.labels, first)
            said = zip(classes.labels, classes.scores, strict=True)
            if any(label == UPSIDE_DOWN and score > self.sure for label, score in said):
                turned[at] = quads.half_turn(corners[at])
        return turned

    def recognise(self, pixels: Pixels, corners: Quads) -> list[Read]:
        """What each quad says."""
        read = [Read("", 0.0)] * len(corners)
        for at, raw, _ in self.recogniser.answers(_crops(pixels, corners)):
            read[at] = self.recogniser.decoder.read(raw, self.recogniser.labels)
        return read


def _size(pixels: Pixels) -> Size:
    return Size(pixels.shape[1], pixels.shape[0])


def _crops(pixels: Pixels, corners: Quads) -> list[Pixels]:
    return [quads.crop(pixels, one) for one in corners]


def _framed(pixels: Pixels) -> tuple[Pixels, int, int]:
    """A strip or scrap with a frame of its edge's own colour; its width on the left and on top.

    What is all text is not found as it is: of 120 drawn strips, 0.83 were read without mistake,
    with the frame 0.96.
    """
    wide, high = _size(pixels)
    least = max(wide, high) / _STRIP
    if min(wide, high) >= max(least, _SCRAP):
        return pixels, 0, 0
    across, down = (max(0, round(least - side) // 2) + _FRAME for side in (wide, high))
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    colour = [float(one) for one in np.median(edge, axis=0)]
    framed = cv2.copyMakeBorder(
        pixels, down, down, across, across, cv2.BORDER_CONSTANT, value=colour
    )
    return np.asarray(framed, np.uint8), across, down


def _wanted(line: Read, options: TextOptions) -> bool:
    return bool(line.text) and line.score >= options.min_score
