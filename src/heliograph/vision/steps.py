"""The steps a pipeline is made of: one frozen class a verb, each parameter typed and bounded.

`vision/pipeline.py` reads them from text and runs them; the reference page is generated from them.
A step says the size of its result (`size`) before it is asked to make it (`apply`), and about how
many nanoseconds a pixel it takes (`cost`, measured on one core), so that a pipeline that is too
large or too long is refused before it starts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, ClassVar

from msgspec import Meta, Struct
from msgspec.structs import astuple

from heliograph.core.errors import Code, HeliographError
from heliograph.vision import filters, gradients, ops
from heliograph.vision.encode import Encoding
from heliograph.vision.filters import ThresholdMethod
from heliograph.vision.gradients import Method
from heliograph.vision.ops import Direction, Fit, Resample
from heliograph.vision.picture import Pixels, Size

LONGEST = 16_383
"""No result has a longer side, in pixels: the most that WebP holds (RFC 9649)."""

Side = Annotated[int, Meta(ge=1, le=LONGEST, description="in pixels")]
FreeSide = Annotated[
    int, Meta(ge=0, le=LONGEST, description="in pixels; 0 or left out: follows from the other side")
]
Corner = Annotated[
    int, Meta(ge=0, le=LONGEST, description="left or upper edge in pixels; left out: centred")
]
Limit = Annotated[
    float, Meta(ge=0, le=255, description="for canny; left out: follows from the picture")
]
Filter = Annotated[Resample, Meta(description="auto: area to shrink, bicubic to enlarge")]
Background = Annotated[
    str, Meta(pattern="^[0-9a-f]{6}$", description="colour of the empty parts, as rrggbb")
]
Factor = Annotated[float, Meta(ge=0, le=10, description="1 changes nothing")]
Quality = Annotated[int, Meta(ge=1, le=100, description="larger is better and larger")]


class Step(Struct, frozen=True, forbid_unknown_fields=True, tag_field="verb", tag=str.lower):
    """One step; the base of all."""

    does: ClassVar[Callable[..., Pixels]]
    cost: ClassVar[int] = 5

    def size(self, size: Size) -> Size:
        """The size of the result for a picture of `size`.

        Raises:
            HeliographError: `validation` if the step cannot be done on such a picture.
        """
        return size

    def apply(self, pixels: Pixels) -> Pixels:
        """Do it: uint8 [h, w, 3] to uint8 [h', w', 3], the argument untouched."""
        return self.does(pixels, *astuple(self))


class Grayscale(Step, frozen=True):
    """Take the colour away (ITU-R BT.601 luma)."""

    does = staticmethod(filters.grayscale)


class Resize(Step, frozen=True):
    """Make the picture larger or smaller: `resize:320x240`, `resize:320`, `resize:x240:cover`."""

    cost = 20
    width: FreeSide = 0
    height: FreeSide = 0
    fit: Annotated[Fit, Meta(description="when both sides are given")] = "inside"
    resample: Filter = "auto"
    background: Background = "000000"

    def __post_init__(self) -> None:
        """Hold that at least one side is given."""
        if not (self.width or self.height):
            raise HeliographError(
                Code.VALIDATION,
                "resize expects a width, a height or both, e.g. resize:320x240 or resize:320; "
                "neither came.",
            )

    def size(self, size: Size) -> Size:
        """See `ops.resized`."""
        return ops.resized(size, self.width, self.height, self.fit)

    def apply(self, pixels: Pixels) -> Pixels:
        """See `ops.resize`."""
        how, background = self.resample, rgb(self.background)
        return ops.resize(
            pixels, self.width, self.height, self.fit, resample=how, background=background
        )


class Crop(Step, frozen=True, kw_only=True):
    """Cut out a rectangle: `crop:10:20:200x100` from x 10, y 20; `crop:200x100` from the middle."""

    x: Corner | None = None
    y: Corner | None = None
    width: Side
    height: Side

    def size(self, size: Size) -> Size:
        """The size asked for, if the rectangle lies within the picture."""
        x, y = self._corner(size)
        if x < 0 or y < 0 or x + self.width > size.width or y + self.height > size.height:
            raise HeliographError(
                Code.VALIDATION,
                f"crop expects a rectangle within the picture, which is {size.width} x "
                f"{size.height} at this step; {self.width} x {self.height} from {x}, {y} came.",
            )
        return Size(self.width, self.height)

    def apply(self, pixels: Pixels) -> Pixels:
        """See `ops.crop`."""
        return ops.crop(pixels, *self._corner(ops.size_of(pixels)), self.width, self.height)

    def _corner(self, size: Size) -> tuple[int, int]:
        return (
            (size.width - self.width) // 2 if self.x is None else self.x,
            (size.height - self.height) // 2 if self.y is None else self.y,
        )


class Rotate(Step, frozen=True):
    """Turn the picture; multiples of 90 lose nothing, other angles grow the canvas."""

    cost = 25
    angle: Annotated[float, Meta(ge=-360, le=360, description="degrees clockwise")]
    background: Background = "000000"

    def size(self, size: Size) -> Size:
        """See `ops.rotated`."""
        return ops.rotated(size, self.angle)

    def apply(self, pixels: Pixels) -> Pixels:
        """See `ops.rotate`."""
        return ops.rotate(pixels, self.angle, rgb(self.background))


class Flip(Step, frozen=True):
    """Mirror the picture."""

    does = staticmethod(ops.flip)
    direction: Annotated[Direction, Meta(description="horizontal swaps left and right")] = (
        "horizontal"
    )


class Blur(Step, frozen=True):
    """Blur by a Gaussian."""

    does = staticmethod(filters.blur)
    cost = 15
    sigma: Annotated[float, Meta(ge=0.1, le=250, description="standard deviation in pixels")] = 2.0


class Median(Step, frozen=True):
    """Take specks away: the median of the square around each pixel."""

    does = staticmethod(filters.median)
    cost = 70
    radius: Annotated[int, Meta(ge=1, le=15, description="in pixels")] = 1


class Sharpen(Step, frozen=True):
    """Sharpen by an unsharp mask."""

    does = staticmethod(filters.sharpen)
    cost = 20
    amount: Annotated[float, Meta(ge=0, le=10, description="0 changes nothing")] = 1.0
    radius: Annotated[float, Meta(ge=0.1, le=250, description="sigma of the mask in pixels")] = 1.0


class Denoise(Step, frozen=True):
    """Smooth noise and keep edges (bilateral filter)."""

    does = staticmethod(filters.denoise)
    cost = 120
    strength: Annotated[
        float, Meta(ge=0.1, le=60, description="the noise's standard deviation, on the 0-255 scale")
    ] = 10.0


class Equalize(Step, frozen=True):
    """Spread the brightness evenly over the whole range; hues stay."""

    does = staticmethod(filters.equalize)
    cost = 10


class Clahe(Step, frozen=True):
    """Equalise the brightness tile by tile, with a limit on contrast (CLAHE)."""

    does = staticmethod(filters.clahe)
    cost = 15
    clip: Annotated[float, Meta(ge=1, le=40, description="limit of the contrast")] = 2.0
    tiles: Annotated[int, Meta(ge=1, le=32, description="tiles per side")] = 8


class Brightness(Step, frozen=True):
    """Multiply every value."""

    does = staticmethod(filters.brightness)
    factor: Factor


class Contrast(Step, frozen=True):
    """Stretch values about mid-grey."""

    does = staticmethod(filters.contrast)
    factor: Factor


class Gamma(Step, frozen=True):
    """Lift (above 1) or deepen (below 1) the shadows."""

    does = staticmethod(filters.gamma)
    exponent: Annotated[float, Meta(ge=0.1, le=10, description="1 changes nothing")]


class Saturation(Step, frozen=True):
    """Make colours paler (below 1) or stronger (above 1)."""

    does = staticmethod(filters.saturation)
    factor: Factor


class Invert(Step, frozen=True):
    """Make the negative."""

    does = staticmethod(filters.invert)


class Posterize(Step, frozen=True):
    """Leave a few evenly spaced values per channel."""

    does = staticmethod(filters.posterize)
    levels: Annotated[int, Meta(ge=2, le=256, description="values per channel")] = 4


class Threshold(Step, frozen=True):
    """Black and white by luma: `threshold:128`, `threshold:otsu`, `threshold:adaptive`."""

    does = staticmethod(filters.threshold)
    cost = 10
    method: Annotated[ThresholdMethod, Meta(description="how the limit is found")] = "fixed"
    value: Annotated[int, Meta(ge=0, le=255, description="for fixed: white from here up")] = 128
    radius: Annotated[int, Meta(ge=1, le=127, description="for adaptive, in pixels")] = 15
    offset: Annotated[float, Meta(ge=-255, le=255, description="for adaptive")] = 5.0


class Edges(Step, frozen=True):
    """Edges, white on black: `edges`, `edges:canny:50:150`, `edges:sobel`."""

    cost = 25
    method: Annotated[Method, Meta(description="canny gives lines, the others strengths")] = "canny"
    low: Limit | None = None
    high: Limit | None = None
    blur: Annotated[float, Meta(ge=0, le=10, description="sigma of a Gaussian before; 0: none")] = (
        0.0
    )

    def __post_init__(self) -> None:
        """Hold that the thresholds are in order."""
        gradients.check(self.low, self.high)

    def apply(self, pixels: Pixels) -> Pixels:
        """See `gradients.strength`."""
        return filters.spread(
            gradients.strength(pixels, self.method, self.low, self.high, self.blur)
        )


class Encode(Step, frozen=True):
    """The last step: what the answer is written as. Pixels pass; encoding comes after the last."""

    cost = 0

    def apply(self, pixels: Pixels) -> Pixels:
        """Nothing to do yet."""
        return pixels

    @property
    def encoding(self) -> Encoding:
        """What the answer is written as."""
        raise NotImplementedError


class Png(Encode, frozen=True):
    """Answer with a PNG, lossless; what a pipeline without a format gives."""

    @property
    def encoding(self) -> Encoding:
        """What the answer is written as."""
        return Encoding("png")


class Jpeg(Encode, frozen=True):
    """Answer with a JPEG."""

    quality: Quality = 85

    @property
    def encoding(self) -> Encoding:
        """What the answer is written as."""
        return Encoding("jpeg", self.quality)


class Webp(Encode, frozen=True):
    """Answer with a WebP (lossy)."""

    quality: Quality = 80

    @property
    def encoding(self) -> Encoding:
        """What the answer is written as."""
        return Encoding("webp", self.quality)


def rgb(colour: str) -> tuple[int, int, int]:
    """`rrggbb` to red, green and blue, 0-255."""
    red, green, blue = bytes.fromhex(colour)
    return red, green, blue
