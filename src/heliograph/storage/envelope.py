"""Sealing bytes under a key: nothing here knows a database, a file or whose key it is.

    wrap      a key under a key: AES-256-GCM with a random nonce
    encrypt   anything under a key of its own, in chunks (STREAM of Hoang, Reyhanitabar, Rogaway and
              Vizár 2015, laid out as in age): the nonce counts the chunks and marks the last, so
              that a piece that is cut off, moved, doubled or missing does not open

Everything is bound to what it belongs to (`Binding`), which is not stored with it: what is opened
as another tenant's, another purpose's or another object's does not open.

Covered: reading and undetected changing of what is stored. Not covered: an old value put back in
the place of a newer one of the same binding, and how long a value is.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
CHUNK = 256 << 10
"""Bytes of plain text in a chunk; part of the format."""

_NONCE = 12
_TAG = 16
WRAPPED = _NONCE + KEY_BYTES + _TAG
"""Bytes of a wrapped key."""


class Damaged(Exception):  # noqa: N818 - it says what is, not what went wrong
    """What was stored is not what was sealed, or not for this place."""


@dataclass(frozen=True, slots=True)
class Binding:
    """What a sealed thing belongs to; all of it must be said again to open it.

    Attributes:
        purpose: what for, e.g. `evidence`.
        tenant: whose; empty for the house's own.
        subject: which object, by id.
        version: of the key or the object, where there are several.
    """

    purpose: str
    tenant: str
    subject: str
    version: int = 1

    def data(self, use: str) -> bytes:
        """The binding as bytes that no other binding and no other use has."""
        digest = hashlib.sha256()
        for part in ("heliograph 1", use, self.purpose, self.tenant, self.subject):
            raw = part.encode("utf-8", "surrogatepass")
            # Lengths first: ("ab", "c") is not ("a", "bc").
            digest.update(len(raw).to_bytes(8, "big") + raw)
        digest.update(self.version.to_bytes(8, "big"))
        return digest.digest()


def new_key() -> bytes:
    """A fresh 256-bit key."""
    return os.urandom(KEY_BYTES)


def wrap(key: bytes, secret: bytes, binding: Binding) -> bytes:
    """Seal a short secret, such as a key; at most 2**32 times under one key."""
    nonce = os.urandom(_NONCE)
    return nonce + AESGCM(key).encrypt(nonce, secret, binding.data("wrap"))


def unwrap(key: bytes, wrapped: bytes, binding: Binding) -> bytes:
    """What `wrap` sealed.

    Raises:
        Damaged: it was changed, or sealed for another place or under another key.
    """
    if len(wrapped) < _NONCE + _TAG:
        raise Damaged("a wrapped key is cut short")
    try:
        return AESGCM(key).decrypt(wrapped[:_NONCE], wrapped[_NONCE:], binding.data("wrap"))
    except InvalidTag as error:
        raise Damaged("a wrapped key does not open") from error


class Encryptor:
    """Seals a stream as its pieces come.

    Args:
        key: fresh, and never used for another stream: the nonces begin at nought.
        binding: what it belongs to.
    """

    def __init__(self, key: bytes, binding: Binding) -> None:
        self._cipher = AESGCM(key)
        self._data = binding.data("stream")
        self._held = bytearray()
        self._count = 0

    def update(self, piece: bytes) -> bytes:
        """Take a piece of the plain text; gives what can be stored by now."""
        self._held += piece
        # The last full chunk is kept back: it may be the end.
        whole = max(0, len(self._held) - 1) // CHUNK * CHUNK
        made = [
            self._chunk(bytes(self._held[start : start + CHUNK]), last=False)
            for start in range(0, whole, CHUNK)
        ]
        del self._held[:whole]
        return b"".join(made)

    def finish(self) -> bytes:
        """The rest; nothing may follow."""
        return self._chunk(bytes(self._held), last=True)

    def _chunk(self, plain: bytes, *, last: bool) -> bytes:
        self._count += 1
        return self._cipher.encrypt(_nonce(self._count - 1, last=last), plain, self._data)


def encrypt(key: bytes, binding: Binding, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Seal a stream; see `Encryptor`."""
    made = Encryptor(key, binding)
    for piece in pieces:
        if sealed := made.update(piece):
            yield sealed
    yield made.finish()


def decrypt(key: bytes, binding: Binding, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Open what `encrypt` sealed.

    A chunk that comes out is genuine; that nothing is missing is known only at the end. Act on the
    whole, or be ready to undo.

    Raises:
        Damaged: it was changed, cut short, reordered, or sealed for another place.
    """
    cipher, data = AESGCM(key), binding.data("stream")
    for count, (chunk, last) in enumerate(_chunks(pieces)):
        # An empty last chunk stands only where the whole is empty: one text, one sealing.
        if len(chunk) < _TAG or (count and len(chunk) == _TAG):
            raise Damaged("a sealed stream is cut short")
        try:
            yield cipher.decrypt(_nonce(count, last=last), chunk, data)
        except InvalidTag as error:
            raise Damaged(f"chunk {count} of a sealed stream does not open") from error


def sealed_size(size: int) -> int:
    """How many bytes a stream of `size` bytes has when it is sealed."""
    return size + _TAG * max(1, -(-size // CHUNK))


def _nonce(count: int, *, last: bool) -> bytes:
    return count.to_bytes(_NONCE - 1, "big") + bytes([last])


def _chunks(pieces: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Sealed chunks, and which is the last; one, empty, of nothing."""
    held, size = bytearray(), CHUNK + _TAG
    for piece in pieces:
        held += piece
        whole = max(0, len(held) - 1) // size * size
        for start in range(0, whole, size):
            yield bytes(held[start : start + size]), False
        del held[:whole]
    yield bytes(held), True
