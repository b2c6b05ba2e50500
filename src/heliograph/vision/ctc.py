"""Reading a sequence out of a network trained with connectionist temporal classification (CTC)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Path(NamedTuple):
    """The best path through a sequence, without repeats and blanks.

    Attributes:
        classes: int64 [k].
        scores: float32 [k]: of each class, the one it has where it first stands, as PP-OCR's
            published thresholds expect.
        steps: int64 [k]: where in the sequence each class first stands.
    """

    classes: NDArray[np.int64]
    scores: NDArray[np.float32]
    steps: NDArray[np.int64]


def greedy(scores: NDArray[np.float32], blank: int = 0) -> Path:
    """The class with the highest score at each step; runs become one, blanks fall out.

    Source: Graves, Fernández, Gomez and Schmidhuber, "Connectionist Temporal Classification", 2006,
    best path decoding.

    Args:
        scores: float32 [steps, classes], at least one class.
        blank: the class that stands for nothing; two equal classes with a blank between are two.
    """
    best = scores.argmax(axis=1).astype(np.int64)
    changes = np.ones(len(best), np.bool_)
    changes[1:] = best[1:] != best[:-1]
    starts = np.flatnonzero(changes).astype(np.int64)
    starts = starts[best[starts] != blank]
    return Path(best[starts], scores[starts, best[starts]], starts)
