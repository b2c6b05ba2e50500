"""Picture -> tensor: what a model wants to be fed, and feeding it.

`InputSpec` is the `[input]` table of a `model.toml`. The arithmetic is always
`tensor = (pixel - mean) / std` in float32, per channel, after resizing uint8 pixels.
"""

from __future__ import annotations

import functools
from typing import Annotated, Literal

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from heliograph.vision.geometry import Fit, Placement, Sides, least, place
from heliograph.vision.picture import Picture, Pixels, Size

# Threads belong to the lanes; OpenCV's own pool would fight them for the same cores.
cv2.setNumThreads(1)

Resample = Literal["nearest", "bilinear", "bilinear-corner", "bicubic", "area", "lanczos"]
"""How pixels are resized. `bilinear-corner` is TensorFlow 1's (`align_corners=False`, no half-pixel
centres); `area` averages, as PIL's antialiased filters nearly do; the others are OpenCV's."""

_FILTERS: dict[str, int] = {
    "nearest": cv2.INTER_NEAREST,
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
    "lanczos": cv2.INTER_LANCZOS4,
}
_ChannelValues = Annotated[tuple[float, ...], msgspec.Meta(min_length=1, max_length=3)]


class InputSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a model wants to be fed.

    Attributes:
        name: the input tensor's name; empty means the model's only input.
        width: pixels; 0 where it follows the picture: as it is, unless the three below say else.
        height: pixels; 0 likewise.
        step: sides that follow the picture are multiples of this.
        shortest: least of them in pixels, 0 for none, see `geometry.Sides`.
        longest: most of them in pixels, 0 for none.
        layout: `NCHW` or `NHWC`.
        dtype: `float32` or `uint8`.
        channels: `RGB`, `BGR` or `GRAY` (ITU-R BT.601 luma).
        fit: `stretch`, `contain`, `crop` or `height`, see `geometry.Fit`.
        crop_fraction: for `crop`, see `geometry.place`.
        centred: for `contain`: padding on both sides.
        pad: for `contain` and `height`: the padding's pixel value, 0-255.
        resample: see `Resample`.
        scaled_decode: let the JPEG decoder scale down to what this input needs. Off for models that
            find small things and were published with a resize that does not average: there it
            moves boxes (docs/decisions/0003-decoders.md).
        mean: per channel or one for all, on the 0-255 scale.
        std: likewise; `tensor = (pixel - mean) / std`.
    """

    name: str = ""
    width: Annotated[int, msgspec.Meta(ge=0, le=8192)] = 0
    height: Annotated[int, msgspec.Meta(ge=0, le=8192)] = 0
    step: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 1
    shortest: Annotated[int, msgspec.Meta(ge=0, le=8192)] = 0
    longest: Annotated[int, msgspec.Meta(ge=0, le=8192)] = 0
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    dtype: Literal["float32", "uint8"] = "float32"
    channels: Literal["RGB", "BGR", "GRAY"] = "RGB"
    fit: Fit = "stretch"
    crop_fraction: Annotated[float, msgspec.Meta(gt=0, le=1)] = 1.0
    centred: bool = True
    pad: Annotated[int, msgspec.Meta(ge=0, le=255)] = 0
    resample: Resample = "bilinear"
    scaled_decode: bool = True
    mean: _ChannelValues = (0.0,)
    std: _ChannelValues = (1.0,)

    def __post_init__(self) -> None:
        """Refuse an input whose size nothing bounds: a picture of 12000 x 1 would be enlarged."""
        one_free = (self.width == 0) != (self.height == 0)
        if (self.shortest or one_free) and not self.longest:
            raise ValueError("a side that is 0 and may be enlarged needs `longest`")
        if self.longest and self.longest < max(self.shortest, self.step):
            raise ValueError("`longest` must be at least `shortest` and at least `step`")

    @property
    def sides(self) -> Sides:
        """How large this input is for pictures of different sizes."""
        return Sides(self.width, self.height, self.step, self.shortest, self.longest)

    def placement(self, size: Size) -> Placement:
        """Where an upright picture of `size` lies in this input."""
        target = self.sides.of(size, self.fit)
        return place(size, target, self.fit, crop_fraction=self.crop_fraction, centred=self.centred)

    def need(self, size: Size) -> Size | None:
        """The least decoded size that covers this input for a picture of `size`; None = all."""
        bounded = (self.width and self.height) or self.longest
        if not (bounded and self.scaled_decode):
            return None
        return least(self.placement(size))


def prepare(picture: Picture, spec: InputSpec) -> tuple[NDArray[np.generic], Placement]:
    """Make the tensor for one picture.

    Returns:
        The tensor without its batch axis ([C, H, W] or [H, W, C], `spec.dtype`), and the placement
        that leads from its pixels back to the picture's.
    """
    placement = spec.placement(picture.size)
    pixels = _fit(picture, placement, spec)
    if spec.channels == "GRAY":
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[:, :, None]
    elif spec.channels == "BGR":
        pixels = pixels[:, :, ::-1]
    if spec.layout == "NCHW":
        pixels = pixels.transpose(2, 0, 1)
    if spec.dtype == "uint8":
        return np.ascontiguousarray(pixels), placement
    tensor = np.empty(pixels.shape, np.float32)
    tensor[...] = pixels
    scale, shift = _scaling(spec.mean, spec.std, spec.layout)
    tensor *= scale
    tensor -= shift
    return tensor, placement


@functools.lru_cache(maxsize=256)
def _scaling(
    mean: tuple[float, ...], std: tuple[float, ...], layout: str
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """`(pixel - mean) / std` as one factor and one term, shaped for the layout."""
    shape = (-1, 1, 1) if layout == "NCHW" else (1, 1, -1)
    scale = np.reciprocal(np.array(std, np.float32)).reshape(shape)
    return scale, np.array(mean, np.float32).reshape(shape) * scale


def _fit(picture: Picture, placement: Placement, spec: InputSpec) -> Pixels:
    """Cut the source out of the (perhaps scaled) picture and resize it onto the target."""
    height, width = picture.pixels.shape[:2]
    across, down = width / picture.size.width, height / picture.size.height
    source, target = placement.source, placement.target
    left, top = round(source.x * across), round(source.y * down)
    right = max(left + 1, min(width, round((source.x + source.width) * across)))
    bottom = max(top + 1, min(height, round((source.y + source.height) * down)))
    cut = picture.pixels[top:bottom, left:right]
    sized = resize(cut, Size(int(target.width), int(target.height)), spec.resample)
    if spec.fit not in {"contain", "height"} or sized.shape[:2] == placement.input[::-1]:
        return sized
    canvas = np.full((placement.input.height, placement.input.width, 3), spec.pad, np.uint8)
    y, x = int(target.y), int(target.x)
    canvas[y : y + sized.shape[0], x : x + sized.shape[1]] = sized
    return canvas


def resize(pixels: Pixels, size: Size, resample: Resample) -> Pixels:
    """Resize uint8 [h, w, c] pixels to `size`; unchanged if they have it already."""
    height, width = pixels.shape[:2]
    if (width, height) == size:
        return pixels
    if resample == "bilinear-corner":
        matrix = np.array([[width / size.width, 0, 0], [0, height / size.height, 0]], np.float64)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        turned = cv2.warpAffine(pixels, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    else:
        turned = cv2.resize(pixels, size, interpolation=_FILTERS[resample])
    return np.asarray(turned, np.uint8)
