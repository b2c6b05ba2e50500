"""Judging a new version by how it does: the gates of a release, and when they close.

A split's new version is held against the stable one by what calls came to; a shadow by how often it
disagreed. What is counted here is this process's share of the traffic; any worker's verdict counts.
"""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from dataclasses import dataclass, field

import numpy as np

from heliograph.core.call import Comparison, Usage
from heliograph.core.errors import Code
from heliograph.registry.releases import Gates, Release

_KEPT = 1000
# Faults of the model; a caller's bad picture says nothing about a version.
_FAULTS = {Code.MODEL_CRASHED, Code.INFERENCE_TIMEOUT, Code.INTERNAL, Code.MODEL_UNAVAILABLE}


@dataclass(slots=True)
class Tally:
    """What was seen of one version lately.

    Attributes:
        faults: for each of the last calls, whether the model was at fault.
        run_ms: for each of the last calls that were answered, its run time.
        differs: for each of the last comparisons as a shadow, whether it disagreed.
    """

    faults: deque[bool] = field(default_factory=lambda: deque[bool](maxlen=_KEPT))
    run_ms: deque[float] = field(default_factory=lambda: deque[float](maxlen=_KEPT))
    differs: deque[bool] = field(default_factory=lambda: deque[bool](maxlen=_KEPT))

    @property
    def error_rate(self) -> float:
        """Faults per call, 0-1."""
        return sum(self.faults) / len(self.faults) if self.faults else 0.0

    @property
    def disagreement(self) -> float:
        """Disagreements per comparison, 0-1."""
        return sum(self.differs) / len(self.differs) if self.differs else 0.0

    @property
    def slow_ms(self) -> float:
        """95th percentile of run time in milliseconds; 0 before the first call."""
        return float(np.percentile(list(self.run_ms), 95)) if self.run_ms else 0.0


class Judge:
    """Counts what versions do and says when one should go."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._tallies: defaultdict[tuple[str, str], Tally] = defaultdict(Tally)

    def record(self, usage: Usage) -> None:
        """Count a call."""
        with self._turn:
            tally = self._tallies[usage.model, usage.version]
            tally.faults.append(usage.outcome in _FAULTS)
            if usage.outcome == "ok":
                tally.run_ms.append(usage.timings.get("run", 0.0))

    def compare(self, comparison: Comparison) -> None:
        """Count a shadow's answer."""
        if comparison.outcome == "skipped":
            return
        with self._turn:
            tally = self._tallies[comparison.model, comparison.shadow]
            tally.differs.append(not comparison.agrees)

    def tally(self, model: str, version: str) -> Tally:
        """What was seen of a version."""
        with self._turn:
            return self._tallies[model, version]

    def forget(self, model: str) -> None:
        """Begin anew: what was seen under an earlier release says nothing about the next one."""
        with self._turn:
            for key in [one for one in self._tallies if one[0] == model]:
                del self._tallies[key]

    def verdict(self, model: str, release: Release, stable: str) -> str:
        """Why the new version of a model must go; empty while it may stay.

        Args:
            model: its name.
            release: has the gates, the split and the shadow.
            stable: the incumbent, see `releases.incumbent`.
        """
        if release.gates is None:
            return ""
        rivals = {release.resolve(one) for one in release.split} - {stable}
        with self._turn:
            old = self._tallies[model, stable]
            for version in sorted(rivals):
                reason = _held(release.gates, self._tallies[model, version], old)
                if reason:
                    return f"version {version} was taken back: {reason}"
            if release.shadow:
                shadow = release.resolve(release.shadow.version)
                reason = _alike(release.gates, self._tallies[model, shadow])
                if reason:
                    return f"shadow {shadow} was ended: {reason}"
        return ""


def _held(gates: Gates, new: Tally, old: Tally) -> str:
    """Why a version of a split must go."""
    if len(new.faults) < gates.calls:
        return ""
    if gates.errors is not None and new.error_rate > gates.errors:
        return f"{new.error_rate:.1%} of its calls failed, the gate is {gates.errors:.1%}"
    if gates.slower is not None and old.run_ms and new.slow_ms > gates.slower * old.slow_ms:
        return (
            f"its 95th percentile of run time is {new.slow_ms:.1f} ms, more than {gates.slower:g} "
            f"times the stable version's {old.slow_ms:.1f} ms"
        )
    return ""


def _alike(gates: Gates, shadow: Tally) -> str:
    """Why a shadow need not go on."""
    if gates.disagree is None or len(shadow.differs) < gates.calls:
        return ""
    if shadow.disagreement > gates.disagree:
        return (
            f"it disagreed in {shadow.disagreement:.1%} of {len(shadow.differs)} calls, the gate "
            f"is {gates.disagree:.1%}"
        )
    return ""
