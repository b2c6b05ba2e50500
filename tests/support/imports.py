"""Bringing hostile models in, for tests: what must hold after each refusal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from heliograph.core.errors import Code, HeliographError
from heliograph.registry.importing.bringing import Brought, look
from heliograph.registry.importing.package import discard


def bring(source: Path, **more: Any) -> Brought:
    """Look at a source; on success the workshop is removed, too."""
    home = source.parent / "home"
    brought = look(source, home, **more)
    discard(brought.home)
    return brought


def refused(source: Path, code: Code, *words: str, **more: Any) -> str:
    with pytest.raises(HeliographError) as failed:
        bring(source, **more)
    assert failed.value.code is code, failed.value
    for word in words:
        assert word in failed.value.detail
    assert str(source.parent) not in failed.value.detail
    left = source.parent / "home" / "models"
    assert not left.exists() or not list(left.iterdir()), "nothing stays behind a refusal"
    return failed.value.detail


def outcome(source: Path) -> Code | None:
    """How an import ends: None where the model is taken."""
    try:
        bring(source)
    except HeliographError as error:
        return error.code
    return None


def put(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def part(number: int, data: bytes) -> bytes:
    """A protobuf field of bytes."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
