"""Small statistics: of latencies, of rounds."""

import math
from collections.abc import Sequence
from statistics import median
from typing import TypedDict


class Spread(TypedDict):
    """The rounds of one figure."""

    median: float
    low: float
    high: float
    rounds: list[float]


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile of sorted values; 0 of none."""
    if not ordered:
        return 0.0
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def spread(rounds: Sequence[float]) -> Spread:
    """Median, least and greatest, beside every round."""
    return Spread(median=median(rounds), low=min(rounds), high=max(rounds), rounds=list(rounds))
