"""Process: a picture through a pipeline of filters, in the order the caller wrote them.

There is no model behind this task: the runner of its built-in "model" hands the picture through,
and the work is done where other tasks turn raw outputs into answers. The language of `ops` is told
in `vision/pipeline.py`.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from heliograph.vision import pipeline
from heliograph.vision.decode import Limits, decode
from heliograph.vision.encode import Encoded, Encoding
from heliograph.vision.filters import luma
from heliograph.vision.geometry import Placement
from heliograph.vision.picture import Pixels
from heliograph.vision.steps import LONGEST
from heliograph.vision.tasks.base import Decoder, Options, Raw, Task, whole_picture


class ProcessOptions(Options, frozen=True):
    """What a caller may ask.

    Attributes:
        ops: the pipeline, e.g. `grayscale,resize:320x240,png`; read at once, so that a mistake is
            told before the picture is sent.
    """

    ops: Annotated[str, msgspec.Meta(min_length=1, max_length=pipeline.MAX_TEXT)]

    def __post_init__(self) -> None:
        """Refuse what cannot be parsed."""
        pipeline.parse(self.ops)


@dataclass(frozen=True, slots=True)
class Processed:
    """The picture that came out of a pipeline.

    Attributes:
        pixels: uint8 [h, w, 3] RGB.
        encoding: how it is to be written.
        file: the encoded file where the picture came as one (at a client); else made when asked.
    """

    pixels: Pixels
    encoding: Encoding
    file: bytes = b""

    def predictions(self) -> list[dict[str, Any]]:
        """`[{"image", "format", "width", "height"}]`; `image` is the file in base64."""
        height, width = self.pixels.shape[:2]
        return [
            {
                "image": base64.b64encode(self.encode().data).decode("ascii"),
                "format": self.encoding.format,
                "width": width,
                "height": height,
            }
        ]

    def draw(self, pixels: Pixels) -> Pixels:
        """The answer is a picture already: the processed one, whatever it was made from."""
        del pixels
        return self.pixels

    def picture(self) -> Pixels:
        """See `Pictured.picture`."""
        return self.pixels

    def encode(self) -> Encoded:
        """See `Pictured.encode`."""
        if self.file:
            return Encoded(self.file, self.encoding.media_type)
        return self.encoding.encode(self.pixels)


def restore(predictions: list[dict[str, Any]]) -> Processed:
    """Read `Processed` back from its JSON form; the file stays as it came."""
    file = base64.b64decode(predictions[0]["image"], validate=True)
    return Processed(decode_file(file), Encoding(predictions[0]["format"]), file)


def decode_file(file: bytes) -> Pixels:
    """Decode an answer: larger files and sides than a caller may send."""
    return decode(file, Limits(bytes=1 << 30, side=LONGEST)).pixels


class Pipeline(Decoder, frozen=True, tag="pipeline"):
    """Runs the caller's pipeline on the output `picture`, uint8 [h, w, 3], the whole picture.

    Attributes:
        max_pixels: of each result.
    """

    max_pixels: Annotated[int, msgspec.Meta(ge=1)] = pipeline.MAX_PIXELS

    def decode(
        self, raw: Raw, placement: Placement, labels: Sequence[str], options: Any
    ) -> Processed:
        """See `Decoder.decode`; also `validation` if a step cannot be done on this picture."""
        del placement, labels
        steps = pipeline.parse(options.ops)
        return Processed(*pipeline.run(whole_picture(raw), steps, self.max_pixels))


def psnr(answer: Pixels, truth: Pixels) -> float:
    """Peak signal-to-noise ratio in dB; infinite for equal pictures.

    Args:
        answer: uint8 [h, w, 3].
        truth: the same shape.
    """
    error = float(np.mean(np.square(answer.astype(np.float64) - truth)))
    return 10 * float(np.log10(255**2 / error)) if error else float("inf")


def ssim(answer: Pixels, truth: Pixels) -> float:
    """Structural similarity of the luma, 1 for equal pictures.

    Source: Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to
    structural similarity", 2004: Gaussian window of 11 pixels, sigma 1.5, K1 0.01, K2 0.03.

    Args:
        answer: uint8 [h, w, 3].
        truth: the same shape.
    """
    one, other = luma(answer).astype(np.float64), luma(truth).astype(np.float64)
    mean_one, mean_other = _window(one), _window(other)
    spread_one = _window(one * one) - mean_one**2
    spread_other = _window(other * other) - mean_other**2
    common = _window(one * other) - mean_one * mean_other
    first, second = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    alike = (2 * mean_one * mean_other + first) * (2 * common + second)
    apart = (mean_one**2 + mean_other**2 + first) * (spread_one + spread_other + second)
    return float(np.mean(alike / apart))


def _window(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(cv2.GaussianBlur(values, (11, 11), 1.5), np.float64)


TASK = Task("process", "process", ProcessOptions, restore, pictured=True)
