"""ModelInfer's messages on the wire, taken apart and put together around their tensors. Pure.

protobuf copies each tensor twice on its way in and twice on its way out. Here the few fields on
the top of the message are walked by hand: tensors stay where they are, and only what is left
(names, shapes, parameters; some hundred bytes) is given to protobuf.
"""

from __future__ import annotations

from collections.abc import Sequence

from heliograph.core.errors import Code, HeliographError

_RAW_INPUT = 7
_RAW_OUTPUT_TAG = bytes([6 << 3 | 2])
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_FIXED = {_FIXED64: 8, _FIXED32: 4}


def split_request(data: bytes) -> tuple[bytes, list[memoryview]]:
    """Take the entries of `raw_input_contents` out of a ModelInferRequest.

    Returns:
        The message without them, and them, in place.

    Raises:
        HeliographError: `bad_request`; the bytes are no message.
    """
    view = memoryview(data)
    raws: list[memoryview] = []
    rest: list[memoryview] = []
    at = kept = 0
    while at < len(data):
        begin = at
        key, at = _varint(data, at)
        kind = key & 7
        if kind == _LENGTH:
            length, at = _varint(data, at)
            begin_value, at = at, at + length
            if key >> 3 == _RAW_INPUT and at <= len(data):
                raws.append(view[begin_value:at])
                rest.append(view[kept:begin])
                kept = at
        elif kind == _VARINT:
            _, at = _varint(data, at)
        elif kind in _FIXED:
            at += _FIXED[kind]
        else:
            raise _malformed()
        if at > len(data):
            raise _malformed()
    if not raws:
        return data, raws
    rest.append(view[kept:])
    return b"".join(rest), raws


def join_response(head: bytes, raws: Sequence[bytes | memoryview]) -> bytes:
    """Put entries of `raw_output_contents` behind a ModelInferResponse without any."""
    parts: list[bytes | memoryview] = [head]
    for raw in raws:
        parts += (_RAW_OUTPUT_TAG, encode_varint(len(raw)), raw)
    return b"".join(parts)


def encode_varint(number: int) -> bytes:
    """A number of 0 or more in base 128, the lowest digits first."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number that begins at `at`, and where the next thing begins."""
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise _malformed()


def _malformed() -> HeliographError:
    return HeliographError(
        Code.BAD_REQUEST, "The bytes are not a valid inference.ModelInferRequest."
    )
