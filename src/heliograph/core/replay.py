"""Answers that are given again: what a request with an `Idempotency-Key` holds or gets."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to answer the request with this key, once; the scope says whose key it is."""

    scope: str
    key: str


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer as it went out: status, headers, body."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
