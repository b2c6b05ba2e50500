"""What is sealed opens as it was, in its own place only, and as a whole or not at all."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliograph.storage.envelope import (
    CHUNK,
    WRAPPED,
    Binding,
    Damaged,
    decrypt,
    encrypt,
    new_key,
    sealed_size,
    unwrap,
    wrap,
)

PLACE = Binding("evidence", "ws_1", "blob_1", 3)
SEALED_CHUNK = CHUNK + 16
SIZES = st.sampled_from(
    [0, 1, 15, 16, 17, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 5, 3 * CHUNK]
)
bindings = st.builds(
    Binding, st.text(max_size=4), st.text(max_size=4), st.text(max_size=4), st.integers(1, 3)
)


def text_of(size: int) -> bytes:
    return bytes(index * 7 % 251 for index in range(251)) * (size // 251 + 1)


def sealed(key: bytes, plain: bytes, place: Binding = PLACE) -> bytes:
    return b"".join(encrypt(key, place, [plain]))


def opened(key: bytes, data: bytes, place: Binding = PLACE) -> bytes:
    return b"".join(decrypt(key, place, [data]))


@settings(max_examples=60, deadline=None)
@given(SIZES, st.lists(st.integers(1, CHUNK), max_size=6), st.lists(st.integers(1, CHUNK)))
def test_a_stream_opens_as_it_was_however_it_is_cut(
    size: int, cuts: list[int], others: list[int]
) -> None:
    plain, key = text_of(size)[:size], new_key()
    made = b"".join(encrypt(key, PLACE, pieces(plain, cuts)))
    assert made == sealed(key, plain)
    assert len(made) == sealed_size(size)
    assert b"".join(decrypt(key, PLACE, pieces(made, others))) == plain


def pieces(data: bytes, sizes: list[int]) -> list[bytes]:
    found: list[bytes] = []
    for size in sizes:
        found.append(data[:size])
        data = data[size:]
    return [*found, data]


@settings(max_examples=60, deadline=None)
@given(SIZES, st.data())
def test_a_stream_that_is_cut_short_or_longer_does_not_open(size: int, data: st.DataObject) -> None:
    key = new_key()
    made = sealed(key, text_of(size)[:size])
    short = data.draw(st.integers(0, len(made) - 1))
    with pytest.raises(Damaged):
        opened(key, made[:short])
    with pytest.raises(Damaged):
        opened(key, made + data.draw(st.binary(min_size=1, max_size=40)))


@settings(max_examples=60, deadline=None)
@given(SIZES, st.data())
def test_no_bit_can_be_changed(size: int, data: st.DataObject) -> None:
    key = new_key()
    made = bytearray(sealed(key, text_of(size)[:size]))
    made[data.draw(st.integers(0, len(made) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(Damaged):
        opened(key, bytes(made))


@pytest.mark.parametrize(
    "order",
    [[1, 0, 2], [0, 2], [0, 1], [0, 1, 1, 2], [0, 0, 1, 2], [0, 1, 2, 2], [2], [0, 1, 2, 0], []],
)
def test_chunks_cannot_be_moved_left_out_or_doubled(order: list[int]) -> None:
    key = new_key()
    made = sealed(key, text_of(2 * CHUNK + 9)[: 2 * CHUNK + 9])
    chunks = [made[start : start + SEALED_CHUNK] for start in range(0, len(made), SEALED_CHUNK)]
    assert opened(key, b"".join(chunks))
    with pytest.raises(Damaged):
        opened(key, b"".join(chunks[index] for index in order))


def test_an_empty_last_chunk_after_a_full_one_is_no_second_sealing() -> None:
    key = new_key()
    data = PLACE.data("stream")
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    cipher = AESGCM(key)
    full = cipher.encrypt(bytes(12), bytes(CHUNK), data)
    empty = cipher.encrypt((1).to_bytes(11, "big") + b"\1", b"", data)
    with pytest.raises(Damaged):
        opened(key, full + empty)


@settings(max_examples=200, deadline=None)
@given(bindings, bindings)
def test_only_the_same_place_opens(one: Binding, other: Binding) -> None:
    key, secret = new_key(), new_key()
    wrapped, stream = wrap(key, secret, one), sealed(secret, b"plain", one)
    assert len(wrapped) == WRAPPED
    if one == other:
        assert unwrap(key, wrapped, other) == secret
        assert opened(secret, stream, other) == b"plain"
    else:
        with pytest.raises(Damaged):
            unwrap(key, wrapped, other)
        with pytest.raises(Damaged):
            opened(secret, stream, other)


def test_a_wrapped_key_is_no_stream_and_a_stream_no_wrapped_key() -> None:
    key = new_key()
    stream = sealed(key, b"x" * 32)
    with pytest.raises(Damaged):
        unwrap(key, bytes(12) + stream, PLACE)
    with pytest.raises(Damaged):
        opened(key, wrap(key, b"x" * 32, PLACE)[12:])


@given(st.binary(max_size=80))
def test_rubbish_does_not_open(data: bytes) -> None:
    with pytest.raises(Damaged):
        unwrap(bytes(32), data, PLACE)
    with pytest.raises(Damaged):
        opened(bytes(32), data)


def test_nonces_are_not_repeated() -> None:
    key = new_key()
    assert len({wrap(key, b"", PLACE)[:12] for _ in range(10_000)}) == 10_000
