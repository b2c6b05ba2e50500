"""What a key is, and how it is written: `hg_ID_SECRET_CRC`.

A prefix that scanners of leaked secrets can look for, a public id to find it by, 190 random bits,
and a checksum, so that a mistyped key is told from a wrong one without asking anybody (the form is
the one that GitHub described for its tokens in 2021). A secret with that much randomness may be
kept as a plain hash (ASVS 6.5.2).
"""

from __future__ import annotations

import hashlib
import secrets
import string
import zlib
from dataclasses import dataclass, field

from heliograph.core.call import Limit
from heliograph.core.permissions import Permission

PREFIX = "hg"
_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_ID, _SECRET, _CRC = 16, 32, 6


@dataclass(frozen=True, slots=True)
class Key:
    """An API key, without its secret.

    Attributes:
        id: `key_…`.
        workspace: whose calls are made with it.
        name: what its owner calls it.
        digest: SHA-256 of the secret.
        scopes: what it may do.
        models: names of models it may call, `*` and `?` as in a shell; empty for all.
        addresses: networks (CIDR) that calls must come from; empty for any.
        origins: values of `Origin` that browsers must send; empty: only calls without one, or any.
        limits: what it is held to, besides its workspace's limits.
        created_ms: when it was made; `created_by` whom.
        expires_ms: when it ends; 0 for never.
        revoked_ms: when it was ended; 0 if it was not.
        exposed_ms: when it was seen where keys must not be, in an address; 0 if it was not.
    """

    id: str
    workspace: str
    name: str
    digest: bytes
    scopes: frozenset[Permission]
    models: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    limits: tuple[Limit, ...] = field(default=())
    created_ms: int = 0
    created_by: str = ""
    expires_ms: int = 0
    revoked_ms: int = 0
    exposed_ms: int = 0

    def valid(self, now_ms: int) -> bool:
        """Whether it opens anything now."""
        ended = self.revoked_ms and self.revoked_ms <= now_ms
        return not ended and not (self.expires_ms and self.expires_ms <= now_ms)


def make() -> tuple[str, str, bytes]:
    """A new key.

    Returns:
        Its id, its text, which is shown once, and what is kept of its secret.
    """
    public, secret = _random(_ID), _random(_SECRET)
    head = f"{PREFIX}_{public}_{secret}"
    return f"key_{public}", f"{head}_{_checksum(head)}", digest(secret)


def read(text: str) -> tuple[str, str] | None:
    """The id and the secret of a key; None if it cannot be one of ours."""
    head, _, crc = text.rpartition("_")
    prefix, public, secret = [*head.split("_"), "", "", ""][:3]
    whole = prefix == PREFIX and len(public) == _ID and len(secret) == _SECRET
    if not whole or not text.isascii() or crc != _checksum(head):
        return None
    return f"key_{public}", secret


def digest(secret: str) -> bytes:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode()).digest()


def _random(length: int) -> str:
    return "".join([secrets.choice(_DIGITS) for _ in range(length)])


def _checksum(head: str) -> str:
    left, digits = zlib.crc32(head.encode()), ""
    for _ in range(_CRC):
        left, at = divmod(left, len(_DIGITS))
        digits = _DIGITS[at] + digits
    return digits
