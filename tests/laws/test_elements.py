"""bfloat16: our rounding is that of ml_dtypes, and what is a bfloat16 already comes back."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from heliograph.runtimes.elements import bytes_of, float32_of, halves_of, text_of

SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5)


@given(hnp.arrays(np.float32, SHAPES, elements=st.floats(width=32)))
def test_rounding_is_to_the_nearest_even(array: NDArray[np.float32]) -> None:
    with np.errstate(all="ignore"):
        expected = array.astype(ml_dtypes.bfloat16).astype(np.float32)
    found = float32_of(halves_of(array))
    assert found.shape == array.shape
    np.testing.assert_array_equal(found, expected)


@given(hnp.arrays(np.uint16, SHAPES))
def test_every_bfloat16_comes_back_to_the_bit(bits: NDArray[np.uint16]) -> None:
    numbers = float32_of(bits)
    back = halves_of(numbers)
    whole = ~np.isnan(numbers)
    np.testing.assert_array_equal(back[whole], bits[whole])
    assert np.isnan(float32_of(back)[~whole]).all()


@given(hnp.arrays(object, SHAPES, elements=st.text(st.characters(exclude_categories=["Cs"]))))
def test_text_comes_back_as_its_bytes(texts: NDArray[Any]) -> None:
    data = bytes_of(texts)
    assert data.shape == texts.shape
    assert all(isinstance(one, bytes) for one in data.flat)
    assert text_of("x", data).tolist() == texts.tolist()
