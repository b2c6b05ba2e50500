"""An index of pictures: a vector each, and which are nearest to another; exact, in memory.

The file is a NumPy archive of two arrays, without pickled objects: `vectors`, and `about`, which is
the names, the labels and the model as JSON, in bytes. A million pictures of 1280
numbers are 5 GB and a search among them one product of a matrix and a vector.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from heliograph.core.errors import Code, HeliographError


class Neighbour(NamedTuple):
    """One picture of an index.

    Attributes:
        row: which; `name` and `label` are the index's.
        name: what the picture is called.
        label: what it is an example of.
        score: cosine of the angle between the two vectors, -1 to 1; 1 for the same direction.
    """

    row: int
    name: str
    label: str
    score: float


class _About(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: Literal[1]
    model: str
    digest: str
    names: tuple[str, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Index:
    """Vectors of pictures and what they are called.

    Attributes:
        vectors: float32 [n, d], each of length 1.
        names: n names, e.g. the files' paths.
        labels: n labels: what each is an example of.
        model: the model that made the vectors; its vectors only can be compared.
        digest: of exactly that model.

    Raises:
        HeliographError: `bad_shape` if the parts do not fit together.
    """

    vectors: NDArray[np.float32]
    names: tuple[str, ...]
    labels: tuple[str, ...]
    model: str = ""
    digest: str = ""

    def __post_init__(self) -> None:
        """Hold each part against the number of names."""
        many, vectors = len(self.names), self.vectors
        if vectors.ndim != 2 or vectors.shape[0] != many or vectors.dtype != np.float32:
            raise HeliographError(
                Code.BAD_SHAPE,
                f"Index.vectors: expected float32 [{many}, d], got {vectors.dtype} "
                f"{list(vectors.shape)}.",
            )
        if len(self.labels) != many:
            raise HeliographError(
                Code.BAD_SHAPE, f"Index.labels: expected {many}, got {len(self.labels)}."
            )

    def nearest(self, vector: NDArray[np.float32], many: int) -> list[Neighbour]:
        """The pictures whose vectors point most nearly the same way.

        Args:
            vector: float32 [d], of length 1.
            many: at most this many.

        Returns:
            Best first; of equal ones the earlier row first.

        Raises:
            HeliographError: `bad_shape` if the vector has another length.
        """
        if vector.shape != self.vectors.shape[1:]:
            raise HeliographError(
                Code.BAD_SHAPE,
                f"The index holds vectors of {self.vectors.shape[1]} numbers; one of "
                f"{list(vector.shape)} came. Was it made by another model?",
            )
        scores = (self.vectors @ vector).clip(-1, 1)
        best = _highest(scores, many)
        return [
            Neighbour(row, self.names[row], self.labels[row], score)
            for row, score in zip(best.tolist(), scores[best].tolist(), strict=True)
        ]

    def save(self, path: Path) -> None:
        """Write the index; the same index gives the same bytes."""
        about = msgspec.json.encode(_About(1, self.model, self.digest, self.names, self.labels))
        with path.open("wb") as file:
            np.savez(
                file,
                vectors=self.vectors,
                about=np.frombuffer(about, np.uint8),
            )

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read an index.

        Raises:
            HeliographError: `not_found` if there is no such file, `validation` if it is no index of
                ours.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                about = msgspec.json.decode(file["about"].tobytes(), type=_About)
                vectors = np.asarray(file["vectors"])
        except FileNotFoundError as error:
            raise HeliographError(
                Code.NOT_FOUND, f"There is no index {path.name!r}; make it: heliograph index."
            ) from error
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise HeliographError(
                Code.VALIDATION,
                f"{path.name!r} is not an index of this version of Heliograph. Make it anew: "
                "heliograph index.",
            ) from error
        return cls(vectors, about.names, about.labels, about.model, about.digest)


def _highest(scores: NDArray[np.float32], many: int) -> NDArray[np.intp]:
    """The indices of the `many` highest scores, best first, of equal ones the lower first."""
    if many >= scores.size:
        return np.argsort(-scores, kind="stable")
    least = np.partition(scores, -many)[-many]
    chosen = np.flatnonzero(scores >= least)
    return chosen[np.argsort(-scores[chosen], kind="stable")][:many]
