"""JPEG bytes -> tensor, twice: our way and the documented way; no imports from Heliograph.

Both give the same thing: shorter side resized to 256, the 224 x 224 pixels of the centre,
`(pixel - 127) / 128`, float32 [3, 224, 224], RGB. They differ only in cost:

* `decode`: libjpeg-turbo scales by 1/2, 1/4 or 1/8 in the DCT domain to the smallest size whose
  shorter side still has 256 pixels, the crop is cut before it is resized, OpenCV resizes.
* `pillow_decode`: what the peers' own image examples do: Pillow decodes every pixel, then resizes
  (bilinear with antialiasing, as torchvision's `Resize` does), then crops.
"""

import io
from collections.abc import Callable
from typing import TypeAlias

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

Tensor: TypeAlias = NDArray[np.float32]

COVER, SIDE = 256, 224
MEAN, STD = 127.0, 128.0
# As EfficientNet-Lite's reference and Heliograph's package of it resize.
RESIZE = cv2.INTER_CUBIC

# Every server here brings its own threads or processes; OpenCV's pool would fight them.
cv2.setNumThreads(1)


def decode(jpeg: bytes) -> Tensor:
    """Decode at the smallest sufficient DCT scale, cut, resize, normalise."""
    height, width = (int(side) for side in simplejpeg.decode_jpeg_header(jpeg)[:2])
    # Not 5/8 and the like: only powers of two have fast inverse transforms.
    scale = next((s for s in (8, 4, 2) if min(height, width) // s >= COVER), 1)
    pixels = simplejpeg.decode_jpeg(
        jpeg, "RGB", min_height=-(-height // scale), min_width=-(-width // scale), min_factor=scale
    )
    height, width = pixels.shape[:2]
    side = round(min(height, width) * SIDE / COVER)
    top, left = (height - side) // 2, (width - side) // 2
    cut = pixels[top : top + side, left : left + side]
    return _normalise(np.asarray(cv2.resize(cut, (SIDE, SIDE), interpolation=RESIZE), np.uint8))


def pillow_decode(jpeg: bytes) -> Tensor:
    """Decode every pixel with Pillow, resize, crop, normalise."""
    return from_image(Image.open(io.BytesIO(jpeg)))


def from_image(image: Image.Image) -> Tensor:
    """Prepare an open Pillow image, for servers that hand one over."""
    image = image.convert("RGB")
    ratio = COVER / min(image.size)
    width, height = round(image.width * ratio), round(image.height * ratio)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - SIDE) // 2, (height - SIDE) // 2
    return _normalise(np.asarray(image.crop((left, top, left + SIDE, top + SIDE))))


def _normalise(pixels: NDArray[np.uint8]) -> Tensor:
    tensor = np.empty((3, SIDE, SIDE), np.float32)
    tensor[...] = pixels.transpose(2, 0, 1)
    tensor -= MEAN
    tensor *= 1 / STD
    return tensor


DECODERS: dict[str, Callable[[bytes], Tensor]] = {
    "our-decoder": decode,
    "documented": pillow_decode,
}
