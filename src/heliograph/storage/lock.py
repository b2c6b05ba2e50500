"""Locking a backup: with a passphrase, or for the holder of a private key.

    HELIOGRAPH-BACKUP 1, and a line's end
    {"by":"passphrase","salt":…,"key":…} or {"by":"recipient","sender":…,"key":…}, and one
    the archive, sealed in chunks under a key of its own; the two lines are bound to it

A passphrase also shows that the archive is ours; a recipient's public key does not: whoever has it
can make an archive for the recipient.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Protocol

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from heliograph.core.errors import Code, HeliographError
from heliograph.storage.envelope import (
    KEY_BYTES,
    Binding,
    Damaged,
    Encryptor,
    decrypt,
    new_key,
    unwrap,
    wrap,
)

MAGIC = b"HELIOGRAPH-BACKUP 1\n"
_LONGEST_HEAD = 4096
_PIECE = 1 << 20
_SHORTEST = 12
_BOUND = Binding("backup", "", "key")


class _Head(msgspec.Struct, forbid_unknown_fields=True):
    by: str
    key: str
    salt: str = ""
    sender: str = ""


class Lock(Protocol):
    """What locks or unlocks an archive."""

    def head(self, key: bytes) -> dict[str, str]:
        """The archive's key, locked, and what else must be known to unlock it."""
        ...

    def key(self, head: _Head) -> bytes:
        """The archive's key.

        Raises:
            Damaged: it is not locked by this.
        """
        ...


class Passphrase:
    """A passphrase; what it unlocks costs whoever guesses 128 MiB and half a second a guess.

    Args:
        words: at least 12 characters.

    Raises:
        HeliographError: `validation` if it is shorter.
    """

    def __init__(self, words: str) -> None:
        if len(words) < _SHORTEST:
            raise HeliographError(
                Code.VALIDATION, f"A passphrase of at least {_SHORTEST} characters is needed."
            )
        self._words = words.encode()

    def head(self, key: bytes) -> dict[str, str]:
        """See `Lock`."""
        salt = os.urandom(16)
        wrapped = wrap(self._stretched(salt), key, _BOUND)
        return {"by": "passphrase", "salt": _text(salt), "key": _text(wrapped)}

    def key(self, head: _Head) -> bytes:
        """See `Lock`."""
        if head.by != "passphrase":
            raise Damaged("the backup is not locked with a passphrase")
        return unwrap(self._stretched(_bytes(head.salt)), _bytes(head.key), _BOUND)

    def _stretched(self, salt: bytes) -> bytes:
        # The cost is ours and not the file's: a file cannot ask for all the memory.
        return Scrypt(salt=salt, length=KEY_BYTES, n=1 << 17, r=8, p=1).derive(self._words)


class Recipient:
    """An X25519 key: the public half locks, the private half unlocks.

    Args:
        pem: a file with either half, as `openssl genpkey -algorithm X25519` makes them.

    Raises:
        HeliographError: `validation` if it holds no such key.
    """

    def __init__(self, pem: Path) -> None:
        self._private: X25519PrivateKey | None = None
        try:
            raw = pem.read_bytes()
            loaded: Any
            if b"PRIVATE KEY" in raw:
                loaded = load_pem_private_key(raw, None)
                self._private, public = loaded, loaded.public_key()
            else:
                public = load_pem_public_key(raw)
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise _no_key(pem) from error
        if not isinstance(public, X25519PublicKey):
            raise _no_key(pem)
        self._public = public

    def head(self, key: bytes) -> dict[str, str]:
        """See `Lock`."""
        once = X25519PrivateKey.generate()
        sender = once.public_key().public_bytes_raw()
        wrapped = wrap(self._shared(once.exchange(self._public), sender), key, _BOUND)
        return {"by": "recipient", "sender": _text(sender), "key": _text(wrapped)}

    def key(self, head: _Head) -> bytes:
        """See `Lock`."""
        if head.by != "recipient" or self._private is None:
            raise Damaged("the backup is not locked for a private key that is given")
        sender = _bytes(head.sender)
        try:
            common = self._private.exchange(X25519PublicKey.from_public_bytes(sender))
        except ValueError as error:
            raise Damaged("the sender's key is none") from error
        return unwrap(self._shared(common, sender), _bytes(head.key), _BOUND)

    def _shared(self, common: bytes, sender: bytes) -> bytes:
        salt = sender + self._public.public_bytes_raw()
        return HKDF(hashes.SHA256(), KEY_BYTES, salt, b"heliograph backup").derive(common)


class Locking:
    """A file that is written once, locked on its way.

    Args:
        file: where to.
        lock: with what; None leaves it open.
    """

    def __init__(self, file: IO[bytes], lock: Lock | None) -> None:
        self._file = file
        self._sealing: Encryptor | None = None
        if lock is not None:
            key = new_key()
            head = MAGIC + msgspec.json.encode(lock.head(key)) + b"\n"
            file.write(head)
            self._sealing = Encryptor(key, _whole(head))

    def write(self, data: bytes) -> int:
        """As of any file."""
        self._file.write(data if self._sealing is None else self._sealing.update(bytes(data)))
        return len(data)

    def flush(self) -> None:
        """As of any file."""

    def finish(self) -> None:
        """Write the rest and wait for the disk."""
        if self._sealing is not None:
            self._file.write(self._sealing.finish())
        self._file.flush()
        os.fsync(self._file.fileno())


def is_locked(file: IO[bytes]) -> bool:
    """Whether a file is a locked backup; it is left at its beginning."""
    found = file.read(len(MAGIC)) == MAGIC
    file.seek(0)
    return found


def unlock(file: IO[bytes], lock: Lock) -> Iterator[bytes]:
    """What a locked file holds; that nothing is missing is known at the end.

    Raises:
        Damaged: it is not locked by this, or was changed or cut short.
    """
    lines = [file.readline(_LONGEST_HEAD) for _ in range(2)]
    try:
        head = msgspec.json.decode(lines[1], type=_Head)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Damaged("the head of the backup is damaged") from error
    pieces = iter(lambda: file.read(_PIECE), b"")
    return decrypt(lock.key(head), _whole(b"".join(lines)), pieces)


def _whole(head: bytes) -> Binding:
    return Binding("backup", "", hashlib.sha256(head).hexdigest())


def _no_key(pem: Path) -> HeliographError:
    return HeliographError(
        Code.VALIDATION,
        f"{pem.name!r} holds no X25519 key without a password: openssl genpkey -algorithm X25519.",
    )


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise Damaged("the head of the backup is damaged") from error
