"""Bytes -> Picture: one file decoded within limits, upright, in RGB.

Covered: limits before work (bytes, pixels, sides, frames, metadata are all checked from the header
before a pixel is decoded; a file that tells its decoder another size than us is refused); damaged
and truncated files are refused, never half shown; each decode has a fresh buffer, so that no piece
of one picture can appear in another; library messages never reach the caller. Not covered: a
memory-corrupting bug inside a decoder; that is for the walls around decode processes.

JPEG goes through libjpeg-turbo (`simplejpeg`), scaled in the DCT domain by 1/2, 1/4 or 1/8 to the
smallest size that still covers what the model needs; the rest through Pillow with an allow-list of
one format per call. The choice and its table: `docs/decisions/0003-decoders.md`.

Conversions (golden pictures in `tests/goldens`):
    CMYK and YCCK: to RGB as Pillow does (inverted Adobe data included), without colour management.
    16 bits per channel: the high byte. Grey: three equal channels. Palette: its colours.
    Alpha: composed over white. ICC profiles: ignored (pixels are taken as sRGB). Animations: the
    first frame. Arithmetic-coded, lossless and 12-bit JPEG: `unsupported_media`.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
)

from heliograph.core.errors import Code, HeliographError
from heliograph.vision import exif
from heliograph.vision.header import (
    Header,
    corrupt,
    png_pixels_only,
    read_header,
    sniff,
    tiff_frames,
)
from heliograph.vision.picture import Picture, Pixels, Size

# Asked for a format that it does not know yet, Pillow would import all its forty plugins.
PLUGINS = (BmpImagePlugin, GifImagePlugin, JpegImagePlugin, PngImagePlugin, WebPImagePlugin)
_STRIP_ROWS = 256


@dataclass(frozen=True, slots=True)
class Limits:
    """What a picture may cost before it is decoded.

    Attributes:
        bytes: largest file, in bytes.
        pixels: largest width x height.
        side: largest width or height, in pixels.
        frames: most frames in an animation (only the first is used).
        metadata: most bytes of EXIF, XMP, ICC and text.
        extra_formats: also take HEIC, AVIF and TIFF (needs the `formats` extra).
    """

    bytes: int = 20 << 20
    pixels: int = 40_000_000
    side: int = 12_000
    frames: int = 64
    metadata: int = 4 << 20
    extra_formats: bool = False


Need = Callable[[Size], Size | None]
"""Of an upright picture's size, the least size that will be used; None for all of it."""


def check(header: Header, limits: Limits) -> None:
    """Hold a header against the limits; costs nothing, decodes nothing.

    Raises:
        HeliographError: `image_too_large`, `too_many_frames` or `metadata_too_large`.
    """
    width, height = header.width, header.height
    if width * height > limits.pixels or max(width, height) > limits.side:
        raise HeliographError(
            Code.IMAGE_TOO_LARGE,
            f"The picture is {width} x {height} pixels; at most {limits.pixels} pixels and "
            f"{limits.side} on a side are taken. Scale it down.",
        )
    if header.frames > limits.frames:
        raise HeliographError(
            Code.TOO_MANY_FRAMES,
            f"The picture has more than {limits.frames} frames. Send one frame of it.",
        )
    if header.metadata > limits.metadata:
        raise HeliographError(
            Code.METADATA_TOO_LARGE,
            f"The picture carries {header.metadata} bytes of metadata; at most {limits.metadata} "
            "are taken. Save it without EXIF, XMP and colour profiles.",
        )


def decode(
    data: bytes, limits: Limits | None = None, need: Need | None = None, *, exact: bool = False
) -> Picture:
    """Decode one picture file.

    Args:
        data: the whole file.
        limits: refuse beyond these, before decoding; the defaults if None.
        need: says what will be used; a JPEG is decoded at 1/2, 1/4 or 1/8 if that still covers it.
            None keeps every pixel.
        exact: decode at full size whatever `need` says.

    Returns:
        The upright picture, uint8 RGB.

    Raises:
        HeliographError: `empty_file`, `unsupported_media`, `image_corrupt`, `too_large`,
            `image_too_large`, `too_many_frames`, `metadata_too_large`.
    """
    limits = limits or Limits()
    if len(data) > limits.bytes:
        raise HeliographError(
            Code.TOO_LARGE, f"The picture is {len(data)} bytes; at most {limits.bytes} are taken."
        )
    name = sniff(data)
    if limits.extra_formats and name in {"heic", "avif", "tiff"}:
        return _extra(data, limits, name)
    header = read_header(data)
    check(header, limits)
    if header.format == "jpeg" and header.baseline:
        return _jpeg(data, header, None if exact else need)
    if header.format == "png" and header.metadata:
        data = png_pixels_only(data)
    pixels = _pillow(data, header)
    return Picture(exif.upright(pixels, header.orientation), Size(*header.upright), header.format)


def _jpeg(data: bytes, header: Header, need: Need | None) -> Picture:
    scale = _scale(header, need) if need else 1
    height, width = -(-header.height // scale), -(-header.width // scale)
    try:
        # strict: a warning of libjpeg (premature end, corrupt data) is an error here.
        pixels: Pixels = simplejpeg.decode_jpeg(
            data, "RGB", min_height=height, min_width=width, min_factor=scale, strict=True
        )
    except ValueError as error:
        raise corrupt("its JPEG data cannot be decoded") from error
    if pixels.shape != (height, width, 3):
        raise corrupt("its JPEG data is not of the declared size")
    return Picture(exif.upright(pixels, header.orientation), Size(*header.upright), "jpeg", scale)


def _scale(header: Header, need: Need) -> int:
    """By how much the decoder may scale down: 1, 2, 4 or 8."""
    size = Size(*header.upright)
    least = need(size)
    if least is None:
        return 1
    # Only 1/2, 1/4, 1/8 have fast inverse transforms; 5/8 and the like cost more than full size.
    for scale in (8, 4, 2):
        if size.width // scale >= least.width and size.height // scale >= least.height:
            return scale
    return 1


def _pillow(data: bytes, header: Header) -> Pixels:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=[header.format.upper()]) as image:
                _check_size(image, header)
                return _to_rgb(image)
    except HeliographError:
        raise
    except Exception as error:  # Pillow's plugins raise nearly every built-in exception
        raise corrupt(f"its {header.format.upper()} data cannot be decoded") from error


def _check_size(image: Image.Image, header: Header) -> None:
    """Of two sizes in one file the limits were held against ours, and the decoder takes its own."""
    if image.size != (header.width, header.height):
        raise corrupt("it declares two sizes")


def _to_rgb(image: Image.Image) -> Pixels:
    """All pixels, a strip of rows at a time: what a conversion needs besides stays small."""
    image.load()
    width, height = image.size
    pixels = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, _STRIP_ROWS):
        bottom = min(height, top + _STRIP_ROWS)
        pixels[top:bottom] = _strip_to_rgb(image.crop((0, top, width, bottom)))
    return pixels


def _strip_to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode in {"I;16", "I;16B", "I;16L", "I"}:
        deep = np.asarray(image).astype(np.int64)
        return np.clip(deep >> 8, 0, 255).astype(np.uint8)[:, :, None]
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        image.alpha_composite(rgba)
    return np.asarray(image.convert("RGB"))


def _extra(data: bytes, limits: Limits, name: str) -> Picture:
    if name == "heic":
        try:
            import pillow_heif
        except ImportError as error:
            raise HeliographError(
                Code.UNSUPPORTED_MEDIA,
                "HEIC is switched on but its library is not installed: "
                "pip install 'heliograph[formats]'.",
            ) from error
        pillow_heif.register_heif_opener()
    plugin = "HEIF" if name == "heic" else name.upper()
    try:
        with Image.open(io.BytesIO(data), formats=[plugin]) as image:
            # HEIC and TIFF come upright from their libraries; AVIF says how it lies.
            turned = int(image.getexif().get(0x0112, 1)) if name == "avif" else 1
            turned = turned if 1 <= turned <= 8 else 1
            frames = tiff_frames(data) if name == "tiff" else int(getattr(image, "n_frames", 1))
            header = Header(name, image.width, image.height, frames, 0, turned)
            check(header, limits)
            pixels = _to_rgb(image)
    except HeliographError:
        raise
    except Exception as error:
        raise corrupt(f"its {name.upper()} data cannot be decoded") from error
    return Picture(exif.upright(pixels, turned), Size(*header.upright), name)
