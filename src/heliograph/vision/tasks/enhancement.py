"""Enhancement: a better picture of the same thing: larger, cleaner, brighter.

Scores of enhanced pictures against true ones are `psnr` and `ssim` of `tasks/process.py`.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import cv2
import msgspec
import numpy as np

from heliograph.core.errors import Code, HeliographError
from heliograph.vision import tiles
from heliograph.vision.encode import Encoded, Encoding
from heliograph.vision.filters import luma
from heliograph.vision.geometry import Placement
from heliograph.vision.picture import Picture, Pixels, Size
from heliograph.vision.prepare import InputSpec, prepare
from heliograph.vision.tasks.base import Decoder, Options, Raw, Task, output, whole_picture
from heliograph.vision.tasks.process import decode_file

_Channels = Annotated[tuple[float, ...], msgspec.Meta(min_length=1, max_length=3)]


class EnhancementOptions(Options, frozen=True):
    """What a caller may ask: nothing but the common things; a model does one thing."""


@dataclass(frozen=True, slots=True)
class Enhanced:
    """The picture that came out.

    Attributes:
        pixels: uint8 [h, w, 3] RGB.
        scale: how many times as wide as the picture it was made of.
    """

    pixels: Pixels
    scale: float

    def predictions(self) -> list[dict[str, Any]]:
        """`[{"image", "format", "width", "height", "scale"}]`; `image`: PNG in base64."""
        height, width = self.pixels.shape[:2]
        return [
            {
                "image": base64.b64encode(self.encode().data).decode("ascii"),
                "format": "png",
                "width": width,
                "height": height,
                "scale": round(self.scale, 6),
            }
        ]

    def draw(self, pixels: Pixels) -> Pixels:
        """The answer is a picture already: the better one."""
        del pixels
        return self.pixels

    def picture(self) -> Pixels:
        """See `Pictured.picture`."""
        return self.pixels

    def encode(self) -> Encoded:
        """See `Pictured.encode`: a PNG, which takes nothing away again."""
        return Encoding("png").encode(self.pixels)


def restore(predictions: list[dict[str, Any]]) -> Enhanced:
    """Read `Enhanced` back from its JSON form."""
    file = base64.b64decode(predictions[0]["image"], validate=True)
    return Enhanced(decode_file(file), float(predictions[0]["scale"]))


class PictureOutput(Decoder, frozen=True, tag="picture"):
    """A model whose output is a picture, as large as its input or a whole number of times larger.

    A model of a fixed size is run over overlapping tiles (`vision/tiles.py`); one of any size sees
    the whole picture, unless `tile` says otherwise. A model of brightness alone (one channel, such
    as SRCNN, ESPCN and FSRCNN) changes nothing but the brightness: its colours come from the
    picture, enlarged bicubically (Shi et al., "Real-Time Single Image and Video Super-Resolution
    Using an Efficient Sub-Pixel Convolutional Neural Network", 2016).

    Attributes:
        output: the output's name; empty means the only one. Shape [c, h, w], or [h, w, c] for
            `NHWC`; c is 3 or 1 (luma, ITU-R BT.601 over the full range 0-255).
        layout: `NCHW` or `NHWC`.
        channels: `RGB` or `BGR`, where there are three.
        mean: per channel or one for all; `pixel = value * std + mean`, cut off at 0 and 255.
        std: likewise; 255 where the model gives 0-1, 1 where it gives 0-255.
        tile: pixels on a side of a tile, for a model of any size; 0: the whole picture at once.
        overlap: of neighbouring tiles, in pixels of the picture: four times as far as the model
            looks, or as much as one is ready to pay for.
        multiple: for a model of any size whose sides must be multiples of something: of this; the
            picture is mirrored at its edges and the addition cut off again.
        max_pixels: of the answer.
    """

    runs: ClassVar[bool] = True
    output: str = ""
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    channels: Literal["RGB", "BGR"] = "RGB"
    mean: _Channels = (0.0,)
    std: _Channels = (255.0,)
    tile: Annotated[int, msgspec.Meta(ge=0, le=8192)] = 0
    overlap: Annotated[int, msgspec.Meta(ge=0, le=1024)] = 32
    multiple: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 1
    max_pixels: Annotated[int, msgspec.Meta(ge=1)] = 64_000_000

    def piecewise(self, pixels: Pixels, spec: InputSpec, run: tiles.Run) -> Raw:
        """See `tiles.Tiled.piecewise`."""
        tile = self._tile(pixels, spec)
        free = msgspec.structs.replace(
            spec, width=0, height=0, step=1, shortest=0, longest=0, fit="stretch"
        )

        def work(cut: Pixels) -> tiles.Worked:
            tensor, _ = prepare(Picture(cut, tile, ""), free)
            return self._colours(run(tensor), cut)

        # Half a tile is the most that can be shared if there is to be any progress.
        overlap = min(self.overlap, min(tile) // 2)
        made = tiles.through(pixels, tile, overlap, work, max_pixels=self.max_pixels)
        return {"picture": made}

    def _tile(self, pixels: Pixels, spec: InputSpec) -> Size:
        """How large a piece the model is given."""
        height, width = pixels.shape[:2]
        if not (spec.width and spec.height) and self.tile:
            width, height = min(width, self.tile), min(height, self.tile)
        up = [-(-side // self.multiple) * self.multiple for side in (width, height)]
        return Size(spec.width or up[0], spec.height or up[1])

    @np.errstate(all="ignore")
    def _colours(self, raw: Raw, cut: Pixels | None) -> tiles.Worked:
        """One run's output as float32 RGB [h, w, 3], 0-255; `cut`: what was put in."""
        given = output(raw, self.output, 3)
        values = given.transpose(1, 2, 0) if self.layout == "NCHW" else given
        down, across, depth = values.shape
        if depth not in {1, 3} or (depth == 1 and cut is None) or not values.size:
            raise HeliographError(
                Code.BAD_SHAPE,
                f"Output {self.output!r}: expected three channels, or brightness with the picture "
                f"at hand, as {self.layout}; got {list(given.shape)}.",
            )
        values = values * np.array(self.std, np.float32) + np.array(self.mean, np.float32)
        values = np.nan_to_num(values).clip(0, 255)
        if depth == 1 and cut is not None:
            same = cut.shape[:2] == (down, across)
            large = cut if same else cv2.resize(cut, (across, down), interpolation=cv2.INTER_CUBIC)
            large = np.asarray(large, np.uint8)
            # Y of YCbCr stands in R, G and B alike: to exchange it is to add the difference.
            return large.astype(np.float32) + (values - luma(large)[:, :, None])
        return values[:, :, ::-1] if self.channels == "BGR" else values

    def decode(
        self, raw: Raw, placement: Placement, labels: Sequence[str], options: Any
    ) -> Enhanced:
        """See `Decoder.decode`; `raw` is what `piecewise` gives, or one run over the picture."""
        del labels, options
        if "picture" in raw and raw["picture"].dtype == np.uint8:
            made = whole_picture(raw)
        else:
            if placement.input != placement.size:
                raise HeliographError(
                    Code.BAD_SHAPE,
                    f"The model saw {placement.input.width} x {placement.input.height} pixels of a "
                    f"picture of {placement.size.width} x {placement.size.height}; it has to be "
                    "run tile by tile.",
                )
            made = np.rint(self._colours(raw, None)).astype(np.uint8)
        return Enhanced(np.ascontiguousarray(made), made.shape[1] / placement.size.width)


TASK = Task("enhancement", "enhance", EnhancementOptions, restore, pictured=True)
