"""Edges: where a picture's brightness changes, as a picture of lines."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from heliograph.vision import gradients
from heliograph.vision.encode import Encoded, Encoding
from heliograph.vision.filters import spread
from heliograph.vision.geometry import Placement
from heliograph.vision.gradients import Method
from heliograph.vision.picture import Pixels
from heliograph.vision.tasks.base import Decoder, Options, Raw, Task, whole_picture
from heliograph.vision.tasks.process import decode_file

_EDGE = 128
_INK = (0, 255, 140)


class EdgesOptions(Options, frozen=True):
    """What a caller may ask; see `gradients.strength`.

    Attributes:
        method: `canny` (thin lines), `sobel` or `scharr` (strength of the gradient).
        low: for `canny`, 0-255: gradient from which a pixel continues an edge; left out: from the
            picture's median.
        high: for `canny`, 0-255: gradient from which a pixel starts an edge; likewise.
        blur: sigma in pixels of a Gaussian before; 0 leaves it out.
    """

    method: Method = "canny"
    low: Annotated[float, msgspec.Meta(ge=0, le=255)] | None = None
    high: Annotated[float, msgspec.Meta(ge=0, le=255)] | None = None
    blur: Annotated[float, msgspec.Meta(ge=0, le=10)] = 0.0

    def __post_init__(self) -> None:
        """Hold that the thresholds are in order."""
        gradients.check(self.low, self.high)


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
        pixels = whole_picture(raw)
        return Edges(
            gradients.strength(pixels, options.method, options.low, options.high, options.blur)
        )


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
