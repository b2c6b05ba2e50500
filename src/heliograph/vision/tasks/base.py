"""What every task file offers: a Task, its options, decoders and result.

A task is one file of this folder. It holds the frozen result type, the decoders that models of the
task use, the drawing onto the picture and the score. `tasks/__init__.py` lists them in one place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import msgspec
import numpy as np
from numpy.typing import NDArray

from heliograph.core.errors import Code, HeliographError
from heliograph.vision.encode import Encoded
from heliograph.vision.geometry import Placement
from heliograph.vision.picture import Pixels

Raw = Mapping[str, NDArray[Any]]
"""One item's output arrays by name, without the batch axis."""


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a caller may ask of a task; each task has its own, unknown names are refused."""


class Result(Protocol):
    """An answer: typed values in pixels of the upright picture, no vendor types."""

    def predictions(self) -> list[dict[str, Any]]:
        """The JSON form: a list of plain objects, best first."""
        ...

    def draw(self, pixels: Pixels) -> Pixels:
        """Draw the answer onto full-size upright pixels (uint8 [h, w, 3]); a new array."""
        ...


@runtime_checkable
class Pictured(Result, Protocol):
    """An answer that is itself a picture: the results of tasks whose `pictured` is true."""

    def picture(self) -> Pixels:
        """The answer's pixels, uint8 RGB [h, w, 3], for a format of the edge's choosing."""
        ...

    def encode(self) -> Encoded:
        """The answer as the file it asked to be, with its media type."""
        ...


class Decoder(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="decoder"
):
    """How a model's raw outputs become a result: the `[output]` table of a `model.toml`.

    Attributes:
        batched: whether the model's outputs have a batch axis; where they have none, it runs one
            picture at a time.
        runs: whether it runs models itself (a chain of them, or one of them tile by tile) instead
            of reading the arrays of one run.
    """

    batched: ClassVar[bool] = True
    runs: ClassVar[bool] = False

    def decode(self, raw: Raw, placement: Placement, labels: Sequence[str], options: Any) -> Result:
        """Turn one item's raw outputs into a result.

        Args:
            raw: output arrays by name, without the batch axis.
            placement: from the model's input back to the picture.
            labels: name of each class id.
            options: the task's own `Options`.

        Raises:
            HeliographError: `bad_shape` if the model's outputs are not what the decoder expects.
        """
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Task:
    """One task: its name, its options and how its answers are read back by a client.

    Attributes:
        name: e.g. `detection`.
        verb: the last part of its address, e.g. `detect` in `/api/v1/detect`.
        options: its Options type.
        restore: predictions as JSON gave them -> Result (what a client does).
        pictured: the answer itself is a picture: PNG unless the caller asks for JSON.
    """

    name: str
    verb: str
    options: type[Options]
    restore: Callable[[list[dict[str, Any]]], Result]
    pictured: bool = False


def label_of(labels: Sequence[str], class_id: int) -> str:
    """The name of a class, or its number where the model has no name for it."""
    return (labels[class_id] if 0 <= class_id < len(labels) else "") or str(class_id)


def output(raw: Raw, name: str, dims: int) -> NDArray[np.float32]:
    """Pick one output and check its rank.

    Args:
        raw: the outputs of one item.
        name: which one; empty means the only one.
        dims: the rank it must have without the batch axis.

    Raises:
        HeliographError: `bad_shape`, saying what was expected and what came.
    """
    if not name and len(raw) == 1:
        name = next(iter(raw))
    if name not in raw:
        raise HeliographError(
            Code.BAD_SHAPE, f"The model has no output {name!r}; it has {sorted(raw)}."
        )
    array = raw[name]
    if array.ndim != dims:
        raise HeliographError(
            Code.BAD_SHAPE,
            f"Output {name!r}: expected {dims} dimensions per picture, got shape {array.shape}.",
        )
    return array.astype(np.float32, copy=False)


def whole_picture(raw: Raw) -> Pixels:
    """The output `picture` of a model that hands the whole picture through, uint8 [h, w, 3].

    Raises:
        HeliographError: `bad_shape`, saying what was expected and what came.
    """
    picture = raw.get("picture")
    if (
        picture is None
        or picture.dtype != np.uint8
        or picture.shape[2:] != (3,)
        or not picture.size
    ):
        came = sorted(raw) if picture is None else f"{picture.dtype} {picture.shape}"
        raise HeliographError(
            Code.BAD_SHAPE, f"Expected an output 'picture', uint8 [h, w, 3]; got {came}."
        )
    return picture
