"""Edges: where a picture's brightness changes, as a picture of lines.

Classical methods compute them from the picture (`gradient`), networks have learned what people draw
as an edge (`edge-map`). Both answer with the same picture of strengths.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from heliograph.core.errors import Code, HeliographError
from heliograph.vision import gradients
from heliograph.vision.encode import Encoded, Encoding
from heliograph.vision.filters import spread
from heliograph.vision.geometry import Placement
from heliograph.vision.gradients import Method
from heliograph.vision.picture import Pixels
from heliograph.vision.ridges import thinned
from heliograph.vision.tasks.base import Decoder, Options, Raw, Task, output, whole_picture
from heliograph.vision.tasks.classification import activate
from heliograph.vision.tasks.process import decode_file

_EDGE = 128
_INK = (0, 255, 140)


class EdgesOptions(Options, frozen=True):
    """What a caller may ask; see `gradients.strength` and `ridges.thinned`.

    The first four are of classical models, the last two of learned ones; asked of the other kind,
    they are refused.

    Attributes:
        method: `canny` (thin lines; what is done when left out), `sobel` or `scharr` (strength of
            the gradient).
        low: for `canny`, 0-255: gradient from which a pixel continues an edge; left out: from the
            picture's median.
        high: for `canny`, 0-255: gradient from which a pixel starts an edge; likewise.
        blur: sigma in pixels of a Gaussian before; 0 leaves it out.
        threshold: 0-255: pixels at least this strong become 255, the others 0; left out: strengths
            stay as they are.
        thin: leave of each edge only its crest, one pixel wide.
    """

    method: Method | None = None
    low: Annotated[float, msgspec.Meta(ge=0, le=255)] | None = None
    high: Annotated[float, msgspec.Meta(ge=0, le=255)] | None = None
    blur: Annotated[float, msgspec.Meta(ge=0, le=10)] = 0.0
    threshold: Annotated[float, msgspec.Meta(ge=0, le=255)] | None = None
    thin: bool = False

    def __post_init__(self) -> None:
        """Hold that the thresholds are in order."""
        gradients.check(self.low, self.high)

    def refuse(self, names: tuple[str, ...], instead: str) -> None:
        """Hold that none of these was asked for.

        Raises:
            HeliographError: `unknown_field`, naming the one that was and what there is instead.
        """
        plain = EdgesOptions()
        for name in names:
            if getattr(self, name) != getattr(plain, name):
                raise HeliographError(
                    Code.UNKNOWN_FIELD, f"This model has no option {name!r}; it has {instead}."
                )


@dataclass(frozen=True, slots=True)
class Edges:
    """How much of an edge each pixel is.

    Attributes:
        strength: uint8 [h, w], 0-255; 0 or 255 from `canny`.
    """

    strength: NDArray[np.uint8]

    @property
    def edge_fraction(self) -> float:
        """The share of pixels with at least half the full strength, 0-1."""
        return float(np.mean(self.strength >= _EDGE))

    def predictions(self) -> list[dict[str, Any]]:
        """`[{"image", "format", "width", "height", "edge_fraction"}]`; `image`: PNG in base64."""
        height, width = self.strength.shape
        return [
            {
                "image": base64.b64encode(self.encode().data).decode("ascii"),
                "format": "png",
                "width": width,
                "height": height,
                "edge_fraction": round(self.edge_fraction, 6),
            }
        ]

    def draw(self, pixels: Pixels) -> Pixels:
        """Lay the edges over the picture in a bright green, as strong as they are."""
        drawn, opacity = np.empty_like(pixels), self.strength.astype(np.uint16)
        # Channel by channel: a third of the memory for what lies between.
        for channel, ink in enumerate(_INK):
            drawn[:, :, channel] = (
                pixels[:, :, channel] * (255 - opacity) + ink * opacity + 127
            ) // 255
        return drawn

    def picture(self) -> Pixels:
        """See `Pictured.picture`: white on black, uint8 [h, w, 3]."""
        return spread(self.strength)

    def encode(self) -> Encoded:
        """See `Pictured.encode`: a grey PNG, a third of the size of a coloured one."""
        return Encoding("png").encode(self.strength)


def restore(predictions: list[dict[str, Any]]) -> Edges:
    """Read `Edges` back from its JSON form."""
    pixels = decode_file(base64.b64decode(predictions[0]["image"], validate=True))
    return Edges(np.ascontiguousarray(pixels[:, :, 0]))


class Gradient(Decoder, frozen=True, tag="gradient"):
    """Computes edges from the output `picture`, uint8 [h, w, 3], the whole picture."""

    def decode(self, raw: Raw, placement: Placement, labels: Sequence[str], options: Any) -> Edges:
        """See `Decoder.decode`."""
        del placement, labels
        options.refuse(("threshold", "thin"), "method, low, high and blur")
        pixels, method = whole_picture(raw), options.method or "canny"
        return Edges(gradients.strength(pixels, method, options.low, options.high, options.blur))


class EdgeMap(Decoder, frozen=True, tag="edge-map"):
    """Reads a network's map of edges, such as HED's, and lays it over the whole picture.

    Attributes:
        output: the output's name; empty means the only one. Shape [1, height, width].
        activation: `sigmoid` for logits, `none` where the model ends in one; then values are 0-1.
    """

    output: str = ""
    activation: Literal["none", "sigmoid"] = "none"

    def decode(self, raw: Raw, placement: Placement, labels: Sequence[str], options: Any) -> Edges:
        """See `Decoder.decode`; also `unknown_field` for options of classical methods."""
        del labels
        options.refuse(("method", "low", "high", "blur"), "threshold and thin")
        values = output(raw, self.output, 3)
        if values.shape[0] != 1 or not values.size:
            raise HeliographError(
                Code.BAD_SHAPE,
                f"Output {self.output!r}: expected [1, height, width] per picture, "
                f"got {list(values.shape)}.",
            )
        values = np.nan_to_num(activate(values[0], self.activation), nan=0, posinf=1, neginf=0)
        strength = _over_picture(np.clip(values, 0, 1) * np.float32(255), placement)
        if options.thin:
            strength = thinned(strength)
        if options.threshold is not None:
            # What thinning left out is no edge, however low the threshold.
            strong = (strength >= options.threshold) & ((strength > 0) | (not options.thin))
            return Edges(strong.astype(np.uint8) * np.uint8(255))
        return Edges(np.rint(strength).astype(np.uint8))


def _over_picture(values: NDArray[np.float32], placement: Placement) -> NDArray[np.float32]:
    """A map of a model's input -> float32 [h, w] of the picture; 0 where the model did not look."""
    down, across = values.shape[0] / placement.input.height, values.shape[1] / placement.input.width
    source, target, (width, height) = placement.source, placement.target, placement.size
    left, top = round(target.x * across), round(target.y * down)
    right = max(left + 1, round((target.x + target.width) * across))
    bottom = max(top + 1, round((target.y + target.height) * down))
    size = max(1, round(source.width)), max(1, round(source.height))
    cut = np.ascontiguousarray(values[top:bottom, left:right])
    grown = np.asarray(cv2.resize(cut, size, interpolation=cv2.INTER_LINEAR), np.float32)
    if size == (width, height):
        return grown
    whole, x, y = np.zeros((height, width), np.float32), int(source.x), int(source.y)
    part = whole[y : y + size[1], x : x + size[0]]
    part[...] = grown[: part.shape[0], : part.shape[1]]
    return whole


class Agreement(NamedTuple):
    """How well edges were found, each 0-1."""

    precision: float
    recall: float
    f1: float


def agreement(answer: Edges, truth: NDArray[np.bool_], tolerance: float = 0.0075) -> Agreement:
    """Compare edges with those a person drew.

    A pixel counts as found if the other side has an edge within the tolerance. The tolerance and F1
    are those of the Berkeley benchmark (Martin, Fowlkes and Malik, 2004); unlike there, pixels are
    not matched one to one, so a doubled line costs nothing.

    Args:
        answer: pixels of at least half strength count as edges.
        truth: bool [h, w].
        tolerance: as a fraction of the picture's diagonal.
    """
    found = answer.strength >= _EDGE
    reach = tolerance * float(np.hypot(*truth.shape))
    precision = _near(found, truth, reach)
    recall = _near(truth, found, reach)
    both = precision + recall
    return Agreement(precision, recall, 2 * precision * recall / both if both else 0.0)


def _near(ours: NDArray[np.bool_], theirs: NDArray[np.bool_], reach: float) -> float:
    """The share of our pixels with one of theirs within reach; of none, all are."""
    if not ours.any():
        return 1.0
    if not theirs.any():
        return 0.0
    distance = cv2.distanceTransform((~theirs).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return float(np.mean(np.asarray(distance)[ours] <= reach))


TASK = Task("edges", "edges", EdgesOptions, restore, pictured=True)
