"""The ring and the vault as features ask for them: one purpose, the house's own tenant.

A feature that seals for one purpose only need not know of purposes and tenants: it gets a `Seal`
for small values, or a `Drawer` for files.
"""

from __future__ import annotations

from heliograph.core.errors import Code, HeliographError
from heliograph.storage.blobs import Vault
from heliograph.storage.keyring import Ring


class Seal:
    """Seals small values of one purpose.

    Args:
        ring: the key ring.
        purpose: what they are for.
        tenant: whose they are; empty for the house's own.
    """

    def __init__(self, ring: Ring, purpose: str, tenant: str = "") -> None:
        self._ring = ring
        self._purpose = purpose
        self._tenant = tenant

    def encrypt(self, plain: bytes, about: str) -> bytes:
        """Seal; see `Ring.seal`."""
        return self._ring.seal(self._purpose, self._tenant, plain, about)

    def decrypt(self, sealed: bytes, about: str) -> bytes:
        """Open; see `Ring.open`."""
        return self._ring.open(self._purpose, self._tenant, sealed, about)


class Drawer:
    """Keeps files of one purpose, each of which is shredded alone.

    Args:
        vault: where.
        purpose: what they are for.
    """

    def __init__(self, vault: Vault, purpose: str) -> None:
        self._vault = vault
        self._purpose = purpose

    def put(self, purpose: str, data: bytes) -> str:
        """Store a file; see `Vault.put`."""
        if purpose != self._purpose:
            raise AssertionError(f"a drawer of {self._purpose} got {purpose}; this is a bug")
        return self._vault.put(None, "", purpose, data)

    def get(self, ref: str) -> bytes:
        """A file; see `Vault.get`."""
        return self._vault.get(ref, "", self._purpose)

    def shred(self, ref: str) -> None:
        """Shred a file; nothing happens if it is already.

        Raises:
            HeliographError: `conflict` if it is held.
        """
        try:
            self._vault.shred(ref)
        except HeliographError as error:
            if error.code != Code.NOT_FOUND:
                raise
