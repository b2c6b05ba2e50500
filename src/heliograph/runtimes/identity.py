"""The runner of tasks that need no model: the picture goes through as it is.

Edges and image processing are pure functions of pixels and do their work in their decoder; with
this runner they take the same path as every model: a seat, a deadline, timings, a usage row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from heliograph.runtimes.base import Arrays, Tensor


class IdentityRunner:
    """Passes `picture`, uint8 [1, h, w, 3], through."""

    platform = "heliograph"
    inputs = (Tensor("picture", "uint8", (1, -1, -1, 3)),)
    outputs = inputs

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Arrays:
        """See `Runner.run`."""
        return dict(feeds)

    def memory(self) -> int:
        """See `Runner.memory`."""
        return 0

    def close(self) -> None:
        """See `Runner.close`."""
