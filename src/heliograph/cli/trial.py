"""Trying a model before it is accepted: one picture (or empty tensors) through the serving path."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from heliograph.accounts.key import OpenGate
from heliograph.app import App, build
from heliograph.core.errors import Code, HeliographError
from heliograph.registry.values import ModelPackage
from heliograph.runtimes.base import Tensor
from heliograph.serving.values import Head
from heliograph.settings import read_settings

_MOST_ELEMENTS = 1 << 24
_SHOWN = 5


def try_package(
    home: Path, package: ModelPackage, picture: Path | None, *, like: Path | None = None
) -> dict[str, Any]:
    """Load a package and ask it once, by the path that will serve it.

    Args:
        home: a data folder with the package in it.
        package: which.
        picture: a file to ask about; None for a drawn one.
        like: the data folder whose settings count, by default `home`.

    Returns:
        What was asked and answered: `asked`, `predictions` or `outputs`, `timings_ms`.

    Raises:
        HeliographError: why it does not load or does not answer.
    """
    # A package is signed after it was tried, and the trusted keys are not in its folder's home.
    few: dict[str, dict[str, Any]] = {
        "serving": {"instances": 1, "deadline": 120.0},
        "registry": {"trust": "any", "load": "start"},
    }
    settings = msgspec.structs.replace(read_settings(like or home, few), home=home)
    app = build(settings, gate=OpenGate(), only=[package.name])
    try:
        app.catalog.load(package.name)
        if package.input is None:
            return _ask_tensors(app, package)
        return _ask_picture(app, package, picture)
    finally:
        app.close()


def _ask_picture(app: App, package: ModelPackage, picture: Path | None) -> dict[str, Any]:
    body = picture.read_bytes() if picture else drawn()
    answer = app.path.answer(app.path.enter(Head(model=package.name, form="json")), body)
    return {
        "asked": picture.name if picture else "a drawn picture",
        "predictions": answer.result.predictions(),
        "timings_ms": answer.timings.rounded(),
    }


def _ask_tensors(app: App, package: ModelPackage) -> dict[str, Any]:
    entry = app.path.enter(Head(model=package.name, tensors=True))
    signature = entry.model.signature
    try:
        feeds = {one.name: _zeros(one) for one in signature.inputs}
        size = sum(one.nbytes for one in feeds.values())
        found = app.path.submit_tensors(entry, feeds, size).result(120.0)
    except HeliographError as error:
        if error.code not in {Code.BAD_SHAPE, Code.MODEL_CRASHED, Code.UNSUPPORTED}:
            raise
        # Zeros are no sensible input for every model: token ids, sizes and the like. It loads.
        return {"asked": "nothing: it loads, but not every model takes zeros", "outputs": {}}
    return {
        "asked": "zeros",
        "outputs": {name: _told(array) for name, array in found.arrays.items()},
        "timings_ms": found.timings.rounded(),
    }


def _zeros(tensor: Tensor) -> NDArray[Any]:
    shape = tuple(max(1, size) for size in tensor.shape)
    if math.prod(shape) > _MOST_ELEMENTS:
        raise HeliographError(Code.UNSUPPORTED, "The input is too large to be tried with zeros.")
    if tensor.dtype == "object":
        return np.full(shape, b"", object)
    return np.zeros(shape, "float32" if tensor.dtype == "bfloat16" else tensor.dtype)


def _told(array: NDArray[Any]) -> dict[str, Any]:
    first = array.ravel()[:_SHOWN].tolist()
    return {"dtype": str(array.dtype), "shape": list(array.shape), "first": list(map(str, first))}


def drawn(width: int = 640, height: int = 480) -> bytes:
    """A PNG of a landscape with a house: something to look at where no photo was given."""
    rows = np.linspace(0.0, 1.0, height)[:, None, None]
    sky = np.array([110, 170, 235]) * (1 - rows) + np.array([215, 232, 250]) * rows
    pixels = np.broadcast_to(sky, (height, width, 3)).astype(np.uint8).copy()
    picture = Image.fromarray(pixels)
    pen = ImageDraw.Draw(picture)
    pen.rectangle((0, height * 0.65, width, height), fill=(86, 140, 66))
    pen.ellipse((width * 0.75, height * 0.08, width * 0.88, height * 0.25), fill=(250, 214, 80))
    left, right, top, low = width * 0.25, width * 0.55, height * 0.42, height * 0.78
    pen.rectangle((left, top, right, low), fill=(176, 92, 70))
    pen.polygon(
        ((left - 20, top), ((left + right) / 2, height * 0.22), (right + 20, top)),
        fill=(96, 48, 44),
    )
    pen.rectangle((width * 0.37, height * 0.58, width * 0.43, low), fill=(70, 46, 30))
    for x in (0.28, 0.46):
        window = (width * x, height * 0.48, width * (x + 0.06), height * 0.56)
        pen.rectangle(window, fill=(220, 236, 250), outline=(60, 40, 30), width=3)
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()
