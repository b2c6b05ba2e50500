"""The key that signs checkpoints: made once, in the data folder, and known by its public half.

`audit/key` is private, mode 0600; `audit/key.pub` is for everybody who wants to verify. Both are
written as signed notes have them (C2SP signed-note, Ed25519).
"""

from __future__ import annotations

import base64
import os
import secrets
import tempfile
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from heliograph.audit.verifier import BadNote, Key, key_mark
from heliograph.core.errors import Code, HeliographError

_PRIVATE = "PRIVATE+KEY+"


class Signer:
    """Signs notes.

    Args:
        name: the log's, as notes and the public key carry it.
        seed: the private key's 32 bytes.
    """

    def __init__(self, name: str, seed: bytes) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        public = self._private.public_key().public_bytes_raw()
        self.key = Key(name, key_mark(name, public), public)

    @property
    def public(self) -> str:
        """The public key as one line."""
        told = base64.b64encode(b"\x01" + self.key.public).decode()
        return f"{self.key.name}+{self.key.mark.hex()}+{told}"

    def sign(self, text: str) -> str:
        """A note of `text`, whose last character is a line's end."""
        signature = base64.b64encode(self.key.mark + self._private.sign(text.encode())).decode()
        return f"{text}\n\N{EM DASH} {self.key.name} {signature}\n"

    @classmethod
    def read(cls, text: str) -> Signer:
        """A private key as `audit/key` holds it.

        Raises:
            BadNote: it is none.
        """
        name, mark, told = [*text.strip().removeprefix(_PRIVATE).split("+", 2), "", ""][:3]
        try:
            seed = base64.b64decode(told, validate=True)
        except ValueError as error:
            raise BadNote("This is no private key.") from error
        if not text.startswith(_PRIVATE) or seed[:1] != b"\x01" or len(seed) != 33:
            raise BadNote("This is no private key.")
        signer = cls(name, seed[1:])
        if signer.key.mark.hex() != mark:
            raise BadNote("The private key is damaged.")
        return signer


def open_signer(folder: Path, *, signed_before: bool) -> Signer:
    """The signer of a data folder, made at the first start.

    Args:
        folder: `audit` in the data folder; it exists.
        signed_before: there are checkpoints, so that there must be a key.

    Raises:
        HeliographError: `validation` if the key is lost or damaged.
    """
    path = folder / "key"
    if not path.exists():
        if signed_before:
            raise HeliographError(
                Code.VALIDATION,
                "There are audit checkpoints, but audit/key is gone from the data folder. Bring it "
                "back from a backup; or keep the folder audit somewhere safe, take it out of the "
                "data folder, and the next start begins new checkpoints with a new key.",
            )
        name, seed = f"heliograph/audit/{secrets.token_hex(8)}", secrets.token_bytes(32)
        made = Signer(name, seed)
        told = base64.b64encode(b"\x01" + seed).decode()
        # The public key first: of a crash between the two nothing is left that was signed.
        _write(folder / "key.pub", made.public, 0o644)
        _write(path, f"{_PRIVATE}{name}+{made.key.mark.hex()}+{told}", 0o600)
    try:
        signer = Signer.read(path.read_text("ascii"))
    except (BadNote, UnicodeDecodeError) as error:
        raise HeliographError(
            Code.VALIDATION,
            "audit/key in the data folder is damaged. Bring it back from a backup.",
        ) from error
    if not (folder / "key.pub").exists():
        _write(folder / "key.pub", signer.public, 0o644)
    return signer


def _write(path: Path, line: str, mode: int) -> None:
    """Write a small file whole or not at all."""
    handle, scratch = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())
    Path(scratch).chmod(mode)
    Path(scratch).replace(path)


def signed(public: bytes, message: bytes, signature: bytes) -> bool:
    """As `verifier.signed_by`, some thirty times as quick."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
