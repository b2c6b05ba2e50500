"""A clock that a test can turn."""

from __future__ import annotations

START = 1_795_300_000_000
"""Some moment in November 2026."""


class Turned:
    """A `Clock` whose hands only a test moves."""

    def __init__(self, now_ms: int = START) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms

    def forward(self, *, seconds: float = 0, days: float = 0) -> None:
        self.now_ms += round((seconds + days * 86400) * 1000)
