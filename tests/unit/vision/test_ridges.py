"""Thinning: crests stay, slopes go, and strips do not show."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from heliograph.vision import ridges


def ridge(degrees: float, size: int = 81, width: float = 3.0) -> NDArray[np.float32]:
    """A straight ridge through the middle, its crest a third of a pixel beside it."""
    y, x = np.mgrid[:size, :size] - size // 2
    angle = np.radians(degrees)
    away = x * np.cos(angle) + y * np.sin(angle) - 1 / 3
    return (200 * np.exp(-(away**2) / (2 * width**2))).astype(np.float32)


@pytest.mark.parametrize("degrees", [0, 17, 45, 80, 90, 135])
def test_a_ridge_becomes_a_line_along_its_crest(degrees: float) -> None:
    wide = ridge(degrees)
    thin = ridges.thinned(wide)
    assert set(np.unique(thin)) <= {0.0, *np.unique(wide)}
    core = thin[10:-10, 10:-10]
    assert 55 <= (core > 0).sum() <= 130  # 61 pixels across, more along a diagonal in steps
    assert core[core > 0].min() > 185


def test_flat_ground_has_no_crest() -> None:
    assert not ridges.thinned(np.full((40, 50), 7, np.float32))[2:-2, 2:-2].any()


def test_strips_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).random((150, 60), np.float32)
    whole = ridges.thinned(noise)
    monkeypatch.setattr(ridges, "_STRIP", 32)
    assert np.array_equal(ridges.thinned(noise), whole)
