"""Whatever a worker says, the server reads within its arena, or says that it is nonsense."""

from __future__ import annotations

import math
import os

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from numpy.typing import NDArray

from heliograph.runtimes.channel import (
    DTYPES,
    Arena,
    Layout,
    Nonsense,
    Slot,
    check,
    pack_strings,
    read,
    understand,
    unpack_strings,
)

NUMBERS = st.one_of(
    st.integers(-2, 70), st.sampled_from([1 << 12, 1 << 31, 1 << 62, 1 << 63, (1 << 64) - 1])
)
SLOTS = st.builds(
    Slot,
    st.just("y"),
    st.sampled_from([*sorted(DTYPES), "object", "V8", "float128", "M8[s]", "\x00"]),
    st.lists(NUMBERS, max_size=4).map(tuple) | st.just((0,) * 40),
    st.integers(-1, 80).map(lambda one: one * 64) | NUMBERS,
    NUMBERS,
)


def arena(size: int, content: bytes = b"") -> Arena:
    descriptor = Arena.make(size)
    made = Arena(descriptor)
    os.close(descriptor)
    made.map[: len(content)] = content
    return made


@given(SLOTS, st.binary(max_size=512))
def test_a_slot_is_read_inside_its_arena_or_is_nonsense(slot: Slot, content: bytes) -> None:
    held = arena(1 << 12, content)
    try:
        check(slot, held.size)
        found = read(held, slot, copy=True)
    except Nonsense:
        return
    finally:
        held.close()
    assert found.shape == slot.shape
    assert slot.start + slot.size <= 1 << 12
    if slot.dtype != "object":
        assert found.nbytes == slot.size


@given(st.binary(max_size=400))
def test_any_bytes_are_a_message_or_nonsense(body: bytes) -> None:
    try:
        said = understand(body)
    except Nonsense:
        return
    assert msgspec.msgpack.encode(said)


@given(st.lists(st.binary(max_size=40), max_size=12))
def test_byte_strings_come_back(words: list[bytes]) -> None:
    packed = np.empty(len(words), object)
    packed[:] = words
    assert list(unpack_strings(pack_strings(packed), (len(words),))) == words


@given(st.binary(max_size=200), st.lists(st.integers(0, 8), max_size=3).map(tuple))
def test_any_bytes_are_byte_strings_or_nonsense(body: bytes, shape: tuple[int, ...]) -> None:
    try:
        found = unpack_strings(body, shape)
    except Nonsense:
        return
    assert found.shape == shape
    assert sum(map(len, found.ravel())) + 4 * math.prod(shape) == len(body)


@given(
    st.dictionaries(
        st.text(max_size=8),
        arrays_of.arrays(
            st.sampled_from(sorted(DTYPES)), arrays_of.array_shapes(min_dims=0, min_side=0)
        ),
        max_size=5,
    )
)
def test_what_is_laid_out_is_read_again(given_arrays: dict[str, NDArray[np.generic]]) -> None:
    layout = Layout(given_arrays)
    held = arena(layout.size)
    layout.write(held, given_arrays)
    ends = 0
    for slot in layout.slots:
        check(slot, held.size)
        assert slot.start >= ends, "tensors must not overlap"
        ends = slot.start + slot.size
        found = read(held, slot, copy=True)
        np.testing.assert_array_equal(found, given_arrays[slot.name])
    assert layout.suits(given_arrays)
    held.close()
