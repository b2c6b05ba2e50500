"""Passwords: which are taken, and the slow hash that is kept of them.

Covered: argon2id, the second choice of RFC 9106 (64 MiB, three passes); passwords as typed, never
cut; the 3,000 most common and the obvious ones refused; the memory of many log-ins at once bounded;
the same work whether or not there is such a person. Not covered: whether a password has leaked
elsewhere, which would mean asking somebody about it.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from heliograph.accounts.people.values import fold
from heliograph.core.errors import Code, HeliographError

SHORTEST = 8
LONGEST = 128
_AT_ONCE = 2
_WAIT_SECONDS = 10.0
_OWN_LEAST = 6
_CONTEXT_LEAST = 4


@dataclass(frozen=True, slots=True)
class Cost:
    """What one hash takes.

    Attributes:
        passes: over the memory.
        memory_kib: of memory.
        lanes: that fill it at the same time.
    """

    passes: int = 3
    memory_kib: int = 64 * 1024
    lanes: int = 4


class Passwords:
    """Checks, hashes and compares passwords.

    Args:
        cost: of a hash; a stored one of another cost is made anew when its password is next used.
    """

    def __init__(self, cost: Cost | None = None) -> None:
        cost = cost or Cost()
        self._hasher = PasswordHasher(
            time_cost=cost.passes, memory_cost=cost.memory_kib, parallelism=cost.lanes
        )
        self._seats = threading.BoundedSemaphore(_AT_ONCE)
        self._nobodys = self._hasher.hash("nobody has this password")

    def check(self, password: str, context: Iterable[str] = ()) -> None:
        """Refuse a new password that is too short, too long, common or obvious.

        Args:
            password: as typed.
            context: words that are known of the person: address, name.

        Raises:
            HeliographError: `validation`.
        """
        if not SHORTEST <= len(password) <= LONGEST or not _encodes(password):
            raise HeliographError(
                Code.VALIDATION,
                f"password is {SHORTEST} to {LONGEST} characters; {len(password)} came.",
            )
        folded = fold(password)
        rest = folded
        for word in sorted(_words(context), key=len, reverse=True):
            rest = rest.replace(word, "")
        if password.casefold() in common() or folded in common() or len(rest) < _own(folded, rest):
            raise HeliographError(
                Code.VALIDATION,
                "This password is among the first that are guessed. Take several words that have "
                "nothing to do with you or this service.",
            )

    def hash(self, password: str) -> str:
        """The hash to keep; takes some 50 ms of all cores.

        Raises:
            HeliographError: `overloaded` if too many others are at it.
        """
        with self._seat():
            return self._hasher.hash(password)

    def matches(self, kept: str, password: str) -> bool:
        """Whether a password is the one of a hash; takes as long if `kept` is empty.

        Raises:
            HeliographError: `overloaded` if too many others are at it.
        """
        if len(password) > LONGEST or not _encodes(password):
            return False
        with self._seat():
            try:
                return self._hasher.verify(kept or self._nobodys, password) and bool(kept)
            except (VerificationError, InvalidHashError):
                return False

    def stale(self, kept: str) -> bool:
        """Whether a hash was made at another cost than today's."""
        return self._hasher.check_needs_rehash(kept)

    @contextmanager
    def _seat(self) -> Generator[None]:
        if not self._seats.acquire(timeout=_WAIT_SECONDS):
            raise HeliographError(
                Code.OVERLOADED, "Too many people log in at this moment.", retry_after=2.0
            )
        try:
            yield
        finally:
            self._seats.release()


@cache
def common() -> frozenset[str]:
    """The most common passwords, in lower case."""
    text = files(__package__ or "").joinpath("common_passwords.txt").read_text("ascii")
    return frozenset(text.partition("\n----\n\n")[2].split("\n")) - {""}


def _own(folded: str, rest: str) -> int:
    """How many characters must be left when the known words are taken away."""
    return _OWN_LEAST if rest != folded else 0


def _words(context: Iterable[str]) -> set[str]:
    words = {"heliograph"}
    for one in context:
        words.update(re.split(r"[^\w]+|_", fold(one)))
        words.add(fold(one))
    return {word for word in words if len(word) >= _CONTEXT_LEAST}


def _encodes(password: str) -> bool:
    try:
        password.encode()
    except UnicodeEncodeError:
        return False
    return True
