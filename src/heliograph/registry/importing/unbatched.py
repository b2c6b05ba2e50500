"""Giving an ONNX model of one picture, [3, height, width], the batch axis that every runner feeds.

Detectron2's and some of torchvision's exports take a picture without one. The file is copied field
by field with a `Squeeze` before everything else; nothing in it is rebuilt or re-read by a library.
"""

from __future__ import annotations

from heliograph.registry.importing.protobuf import Budget, Field, fields, text

_ADDED = "heliograph_batch"


def with_batch_axis(data: memoryview, name: str) -> bytes:
    """The model with its input `name` [3, h, w] turned into [1, 3, h, w].

    Args:
        data: a checked ONNX file.
        name: its one input.

    Raises:
        HeliographError: `model_invalid` if the bytes are no protobuf.
    """
    budget = Budget()
    parts = [
        _length(7, _graph(one.data, name, budget)) if one.number == 7 else _same(one)
        for one in fields(data, budget)
    ]
    return b"".join(parts)


def _graph(data: memoryview, name: str, budget: Budget) -> bytes:
    """The graph: the caller still feeds `name`, its nodes read the squeezed value instead."""
    squeeze = _length(1, name.encode()) + _length(2, _ADDED.encode()) + _length(4, b"Squeeze")
    parts = [_length(1, squeeze)]
    for one in fields(data, budget):
        if one.number == 1:
            parts.append(_length(1, _renamed(one.data, name, budget)))
        elif one.number == 11 and _name(one.data, budget) == name:
            parts.append(_length(11, _batched(one.data, budget)))
        else:
            parts.append(_same(one))
    return b"".join(parts)


def _renamed(node: memoryview, name: str, budget: Budget) -> bytes:
    """A node, and the graphs within it, that read the squeezed value instead of `name`."""
    parts: list[bytes] = []
    for one in fields(node, budget):
        if one.number == 1 and text(one.data) == name:
            parts.append(_length(1, _ADDED.encode()))
        elif one.number == 5:
            inner = [
                _length(part.number, _inner(part.data, name, budget))
                if part.number in {6, 11}
                else _same(part)
                for part in fields(one.data, budget)
            ]
            parts.append(_length(5, b"".join(inner)))
        else:
            parts.append(_same(one))
    return b"".join(parts)


def _inner(graph: memoryview, name: str, budget: Budget) -> bytes:
    return b"".join(
        _length(1, _renamed(one.data, name, budget)) if one.number == 1 else _same(one)
        for one in fields(graph, budget)
    )


def _batched(value: memoryview, budget: Budget) -> bytes:
    """The ValueInfoProto with an axis of 1 before the others."""
    parts: list[bytes] = []
    for one in fields(value, budget):
        if one.number != 2:
            parts.append(_same(one))
            continue
        kinds: list[bytes] = []
        for kind in fields(one.data, budget):
            inner = [
                _length(2, _length(1, b"\x08\x01") + bytes(part.data))
                if part.number == 2
                else _same(part)
                for part in fields(kind.data, budget)
            ]
            kinds.append(_length(kind.number, b"".join(inner)))
        parts.append(_length(2, b"".join(kinds)))
    return b"".join(parts)


def _name(value: memoryview, budget: Budget) -> str:
    return next((text(one.data) for one in fields(value, budget) if one.number == 1), "")


def _same(one: Field) -> bytes:
    """A field as it was."""
    if one.wire == 0:
        return _varint(one.number << 3) + _varint(one.value)
    if one.wire == 2:
        return _length(one.number, bytes(one.data))
    return _varint(one.number << 3 | one.wire) + bytes(one.data)


def _length(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
