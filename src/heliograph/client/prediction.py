"""Prediction: a server's answer about one picture, typed, and ready to be looked at."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec
from PIL import Image

from heliograph.client.errors import BadReplyError
from heliograph.core.errors import HeliographError
from heliograph.vision.decode import Limits, decode
from heliograph.vision.encode import Encoding, Format
from heliograph.vision.picture import Pixels, Size
from heliograph.vision.tasks import TASKS
from heliograph.vision.tasks.base import Result
from heliograph.vision.tasks.process import Processed

R_co = TypeVar("R_co", bound=Result, covariant=True)

_FORMATS: dict[str, Format] = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}
# The picture is the caller's own, and the server has taken it: nothing is left to guard.
_OWN = Limits(1 << 30, 1 << 30, 1 << 20, 1 << 20, 1 << 30, extra_formats=True)
_NOTEBOOK_SIDE = 1024
_NAMED, _ROWS = 3, 20


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Prediction(Generic[R_co]):
    """The answer about one picture.

    Attributes:
        id: of the call, `pred_…`; quote it when asking for help.
        model: the model's name.
        version: the model's version.
        task: e.g. `detection`.
        size: width and height of the upright picture; every coordinate is in its pixels.
        result: the typed answer: `Classes`, `Detections`, `Segments`, `Instances`, `Poses`,
            `Embedding`, `Edges`, `Enhanced` or `Processed`.
        predictions: the same as plain dicts, best first, as they came.
        timings_ms: milliseconds of each step in the server, and their `total`.
        picture: the file that was asked about; its path where `predict_many` was given one, so
            that the answers about a folder do not hold the folder.
    """

    id: str
    model: str
    version: str
    task: str
    size: Size
    result: R_co
    predictions: list[dict[str, Any]]
    timings_ms: Mapping[str, float]
    picture: bytes | Path = field(default=b"")

    def draw(self) -> Image.Image:
        """The picture with the answer drawn onto it; for `process` the processed picture.

        `numpy.asarray(prediction.draw())` gives the pixels, uint8 RGB [h, w, 3].
        """
        return Image.fromarray(self._drawn())

    def save(self, path: str | Path) -> Path:
        """Write the drawn picture.

        Args:
            path: ends in .png, .jpg, .jpeg or .webp; `~` is the home folder. A processed picture
                that came in that very format is written as it came.

        Returns:
            Where it was written.

        Raises:
            ValueError: another ending.
        """
        target = Path(path).expanduser()
        form = _FORMATS.get(target.suffix.lower())
        if form is None:
            raise ValueError(f"Expected an ending of {', '.join(_FORMATS)}; got {target.name!r}.")
        result = self.result
        if isinstance(result, Processed) and result.encoding.format == form:
            target.write_bytes(result.encode().data)
        else:
            target.write_bytes(Encoding(form).encode(self._drawn()).data)
        return target

    def _drawn(self) -> Pixels:
        if isinstance(self.result, Processed):
            return self.result.pixels
        data = self.picture if isinstance(self.picture, bytes) else self.picture.read_bytes()
        return self.result.draw(decode(data, _OWN).pixels)

    def __repr__(self) -> str:
        said = [_words(one) for one in self.predictions[:_NAMED]]
        more = len(self.predictions) - len(said)
        found = "; ".join([*said, f"and {more} more"] if more else said) or "nothing found"
        total = self.timings_ms.get("total", 0.0)
        return f"<{self.task} by {self.model}@{self.version} in {total:.1f} ms: {found}>"

    def _repr_png_(self) -> bytes:
        """For notebooks: the drawn picture, at most 1024 pixels on a side."""
        return self._shown("PNG")

    def _repr_html_(self) -> str:
        """For notebooks: the drawn picture and a table."""
        shown = base64.b64encode(self._shown("JPEG")).decode("ascii")
        total = self.timings_ms.get("total", 0.0)
        # Labels come from the model's maker: text, never markup.
        caption = html.escape(f"{self.task} · {self.model}@{self.version} · {total:.1f} ms")
        rows = "".join(
            f"<tr><td>{html.escape(_name(one))}</td><td>{_score(one)}</td></tr>"
            for one in self.predictions[:_ROWS]
        )
        return (
            f'<figure style="margin:0"><img style="max-width:100%" alt="{html.escape(repr(self))}" '
            f'src="data:image/jpeg;base64,{shown}"><figcaption>{caption}</figcaption></figure>'
            f"<table>{rows}</table>"
        )

    def _shown(self, form: str) -> bytes:
        image = self.draw()
        image.thumbnail((_NOTEBOOK_SIDE, _NOTEBOOK_SIDE))
        file = io.BytesIO()
        image.save(file, form)
        return file.getvalue()


class _Wire(msgspec.Struct, frozen=True):
    """The contract's prediction; members that this version does not know are let be."""

    id: str
    model: str
    version: str
    task: str
    image: dict[str, int]
    predictions: list[dict[str, Any]]
    timings_ms: dict[str, float]


def read_prediction(body: bytes, picture: bytes | Path) -> Prediction[Result]:
    """Read a prediction's JSON; `picture` is what was asked about.

    Raises:
        BadReplyError: this is no prediction.
    """
    try:
        said = msgspec.json.decode(body, type=_Wire)
        size = Size(said.image["width"], said.image["height"])
        result = TASKS[said.task].restore(said.predictions)
    except (ValueError, KeyError, IndexError, TypeError, HeliographError) as error:
        raise BadReplyError(
            "The answer is not a prediction that this version of the client reads. Is the address "
            "a Heliograph server's? If it is a newer one: pip install --upgrade heliograph."
        ) from error
    return Prediction(
        said.id, said.model, said.version, said.task, size, result,
        said.predictions, said.timings_ms, picture,
    )  # fmt: skip


def _name(one: dict[str, Any]) -> str:
    if "label" in one:
        return str(one["label"])
    if "dimensions" in one:
        return f"{one['dimensions']} numbers"
    return f"{one.get('width')} x {one.get('height')} {one.get('format', '')}".strip()


def _score(one: dict[str, Any]) -> str:
    score = one.get("score")
    return f"{score:.0%}" if isinstance(score, int | float) else ""


def _words(one: dict[str, Any]) -> str:
    return f"{_name(one)} {_score(one)}".strip()
