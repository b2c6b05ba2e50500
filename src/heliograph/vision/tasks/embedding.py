"""Embedding: a picture as a point on a sphere, where pictures that are alike lie close together."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from heliograph.core.errors import Code, HeliographError
from heliograph.vision import draw
from heliograph.vision.geometry import Placement
from heliograph.vision.index import Index
from heliograph.vision.picture import Pixels
from heliograph.vision.tasks.base import Decoder, Options, Raw, Result, Task, output
from heliograph.vision.tasks.classification import Classes

Encoding = Literal["float", "base64"]
Pool = Literal["none", "first", "mean", "area"]
"""How a model's output becomes one vector. `none`: it is one. `first`: of tokens [n, d], the first
(the class token of a ViT). `mean`: of tokens, their mean. `area`: of a map [d, h, w], the mean over
its area."""


class EmbeddingOptions(Options, frozen=True):
    """What a caller may ask.

    Attributes:
        encoding: how the numbers are told in JSON: `float`: as a list; `base64`: 32-bit floats,
            lowest byte first, in base64, which is half as long.
    """

    encoding: Encoding = "float"


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """The vector of one picture.

    Attributes:
        vector: float32 [d], of length 1: the product of two is the cosine of their angle.
        encoding: how it is told in JSON.

    Raises:
        HeliographError: `bad_shape` if the vector is none.
    """

    vector: NDArray[np.float32]
    encoding: Encoding = "float"

    def __post_init__(self) -> None:
        """Hold the vector to its shape."""
        if self.vector.ndim != 1 or self.vector.dtype != np.float32:
            raise HeliographError(
                Code.BAD_SHAPE,
                f"Embedding.vector: expected float32 [d], got {self.vector.dtype} "
                f"{list(self.vector.shape)}.",
            )

    def predictions(self) -> list[dict[str, Any]]:
        """`[{"embedding", "dimensions"}]`: a list of numbers, or base64 of 32-bit floats.

        As numbers they have as many digits as give the very same floats back.
        """
        told: str | list[float]
        if self.encoding == "base64":
            told = base64.b64encode(self.vector.astype("<f4").tobytes()).decode("ascii")
        else:
            told = [float(str(one)) for one in self.vector]
        return [{"embedding": told, "dimensions": self.vector.size}]

    def draw(self, pixels: Pixels) -> Pixels:
        """Write how many numbers there are, and the first of them."""
        first = ", ".join(f"{one:.2f}" for one in self.vector[:4])
        return draw.caption(pixels, [f"{self.vector.size} numbers", f"{first}, …"])


def restore(predictions: list[dict[str, Any]]) -> Embedding:
    """Read `Embedding` back from its JSON form, whichever of the two."""
    told = predictions[0]["embedding"]
    if isinstance(told, str):
        data = base64.b64decode(told, validate=True)
        return Embedding(np.frombuffer(data, "<f4").astype(np.float32), "base64")
    return Embedding(np.array(told, np.float32))


class Vector(Decoder, frozen=True, tag="embedding"):
    """A model that gives features.

    Attributes:
        output: the output's name; empty means the only one. Shape [d], or by `pool` [n, d] or
            [d, h, w]; sides of 1 around a vector do not matter.
        pool: see `Pool`.
        layout: `NCHW` or `NHWC`, for `area`.
    """

    output: str = ""
    pool: Pool = "none"
    layout: Literal["NCHW", "NHWC"] = "NCHW"

    def decode(self, raw: Raw, placement: Placement, labels: Sequence[str], options: Any) -> Result:
        """See `Decoder.decode`."""
        del placement, labels
        return Embedding(self.vector(raw), options.encoding)

    @np.errstate(all="ignore")
    def vector(self, raw: Raw) -> NDArray[np.float32]:
        """One run's vector, float32 [d], of length 1.

        Raises:
            HeliographError: `bad_shape` if it is none, has no direction or is no number.
        """
        values = self._pooled(raw).astype(np.float64)
        length = float(np.sqrt(values @ values))
        if not 0 < length < np.inf:
            raise HeliographError(
                Code.BAD_SHAPE, "The model's features have no direction: all 0, or no numbers."
            )
        return (values / length).astype(np.float32)

    def _pooled(self, raw: Raw) -> NDArray[np.float32]:
        if self.pool == "none":
            name = self.output or next(iter(raw), "")
            values = output(raw, self.output, raw[name].ndim if name in raw else 1)
            if values.size and values.size == max(values.shape, default=0):
                return values.reshape(-1)
            expected = "one vector (or a `pool`)"
        else:
            values = output(raw, self.output, 3 if self.pool == "area" else 2)
            if values.size:
                return self._mean(values)
            expected = "features"
        raise HeliographError(
            Code.BAD_SHAPE,
            f"Output {self.output!r}: expected {expected} per picture, got {list(values.shape)}.",
        )

    def _mean(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.pool == "first":
            return values[0]
        if self.pool == "mean":
            return values.mean(axis=0)
        return values.mean(axis=(1, 2) if self.layout == "NCHW" else (0, 1))


class Nearest(Vector, frozen=True, kw_only=True, tag="nearest"):
    """What the nearest pictures of an index are examples of: a classifier without training.

    For packages of the task `classification`. A label's score is that of its nearest example: the
    cosine, 0 where it is negative. A class id is the label's place among the index's labels in
    alphabetical order.

    Attributes:
        index: the index's file in the package, made by `heliograph index`.
        output: see `embedding`, as `pool` and `layout`.
    """

    index: Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9][A-Za-z0-9._-]*$")]

    def opened(self, folder: Path) -> Decoder:
        """The decoder with its index read; see `Index.load` for what may be wrong with it."""
        return _Nearest(
            **{name: getattr(self, name) for name in self.__struct_fields__},
            examples=Index.load(folder / self.index),
        )

    def decode(self, raw: Raw, placement: Placement, labels: Sequence[str], options: Any) -> Result:
        """Nothing is near before the index is read: see `opened`."""
        del raw, placement, labels, options
        raise HeliographError(
            Code.INTERNAL, "A decoder with an index was used before it was opened. This is a bug."
        )


class _Nearest(Nearest, frozen=True, kw_only=True, tag="nearest-opened"):
    examples: Any

    def decode(self, raw: Raw, placement: Placement, labels: Sequence[str], options: Any) -> Result:
        del placement, labels
        found: Index = self.examples
        best: dict[str, float] = {}
        for one in found.nearest(self.vector(raw), len(found.names)):
            best.setdefault(one.label, max(0.0, one.score))
            if len(best) == options.top_k:
                break
        kept = {label: score for label, score in best.items() if score >= options.min_score}
        order = {label: number for number, label in enumerate(sorted(set(found.labels)))}
        return Classes(tuple(order[one] for one in kept), tuple(kept.values()), tuple(kept))


def recall_at(vectors: NDArray[np.float32], labels: Sequence[str], k: int) -> float:
    """Recall@k: the share of pictures with one of their own label among their k nearest, 0-1.

    Source: Song, Xiang, Jegelka and Savarese, "Deep Metric Learning via Lifted Structured Feature
    Embedding" (2016): every picture asks all the others.

    Args:
        vectors: float32 [n, d], each of length 1.
        labels: n labels.
        k: how many neighbours count.
    """
    if len(labels) < 2:
        return 0.0
    alike = vectors @ vectors.T
    np.fill_diagonal(alike, -np.inf)
    nearest = np.argsort(-alike, axis=1, kind="stable")[:, : min(k, len(labels) - 1)]
    kinds = np.unique(np.array(labels), return_inverse=True)[1]
    return float((kinds[nearest] == kinds[:, None]).any(axis=1).mean())


TASK = Task("embedding", "embed", EmbeddingOptions, restore)
