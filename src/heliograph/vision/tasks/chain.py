"""Chains: answers that several models make together.

A chain knows the models it asks as `Stage`s: what to feed, how to run, how to read the answer. The
serving side makes a stage of each model in service; here nobody knows where a model runs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from heliograph.vision.geometry import Placement
from heliograph.vision.picture import Picture, Pixels, Size
from heliograph.vision.prepare import InputSpec, prepare
from heliograph.vision.tasks.base import Decoder, Options, Raw, Result

D_co = TypeVar("D_co", bound=Decoder, covariant=True)

Run = Callable[[NDArray[Any]], Mapping[str, NDArray[Any]]]
"""Tensors of one shape with a batch axis -> the model's outputs by name, with the batch axis."""


@dataclass(frozen=True, slots=True)
class Stage(Generic[D_co]):
    """One of a chain's models.

    Attributes:
        input: what it wants to be fed.
        decoder: how its answer is read.
        run: runs it.
        labels: by class id.
        options: the options of its task.
        batch: most pictures in one run.
    """

    input: InputSpec
    decoder: D_co
    run: Run
    labels: Sequence[str] = ()
    options: type[Options] = Options
    batch: int = 1

    def answers(self, pictures: Sequence[Pixels]) -> Iterator[tuple[int, Raw, Placement]]:
        """Run every picture; yields its index, its outputs and its placement, in any order.

        A batch holds pictures of one tensor shape only, so that what is said of one never depends
        on its neighbours.
        """
        of_shape: dict[tuple[int, ...], list[int]] = defaultdict(list)
        tensors: list[NDArray[Any]] = []
        placements: list[Placement] = []
        for at, pixels in enumerate(pictures):
            tensor, placement = prepare(whole(pixels), self.input)
            of_shape[tensor.shape].append(at)
            tensors.append(tensor)
            placements.append(placement)
        size = self.batch if self.decoder.batched else 1
        for alike in of_shape.values():
            for start in range(0, len(alike), size):
                batch = alike[start : start + size]
                outputs = self.run(np.stack([tensors[at] for at in batch]))
                for row, at in enumerate(batch):
                    raw = outputs
                    if self.decoder.batched:
                        raw = {name: one[row] for name, one in outputs.items()}
                    yield at, raw, placements[at]

    def results(self, pictures: Sequence[Pixels], options: Options) -> list[Result]:
        """What the model says of each picture, in its pixels."""
        found: dict[int, Result] = {}
        for at, raw, placement in self.answers(pictures):
            found[at] = self.decoder.decode(raw, placement, self.labels, options)
        return [found[at] for at in range(len(pictures))]


def whole(pixels: Pixels) -> Picture:
    """Pixels as a picture of their own size."""
    return Picture(pixels, Size(pixels.shape[1], pixels.shape[0]), "")


StageOf = Callable[[str], Stage[Any]]
"""The stage of a model in service, by `name` or `name@version`."""


class Chain(Decoder, frozen=True):
    """A decoder that asks other models instead of reading arrays."""

    runs: ClassVar[bool] = True

    def models(self) -> tuple[str, ...]:
        """The models it asks, as `name` or `name@version`."""
        raise NotImplementedError

    def walk(self, picture: Picture, stage: StageOf, options: Any) -> Result:
        """Answer for a picture decoded at its full size.

        Args:
            picture: the caller's.
            stage: finds a model; raises `model_unavailable` or `not_found`.
            options: the task's own `Options`.

        Raises:
            HeliographError: what the models and their decoders raise.
        """
        raise NotImplementedError
