"""The administrator key and the two gates: one that asks for it, one that is open."""

from __future__ import annotations

import hmac
import os
import secrets
from pathlib import Path

from heliograph.core.call import Caller
from heliograph.core.errors import Code, HeliographError


def admin_key(home: Path) -> tuple[str, bool]:
    """The key in `home/admin.key`, made at the first start with mode 0600.

    Returns:
        The key, and whether it was made just now.
    """
    path = home / "admin.key"
    try:
        # O_EXCL: of several workers that start at once one makes the key, the others read it.
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text("ascii").strip(), False
    key = "hg_admin_" + secrets.token_urlsafe(32)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(key + "\n")
    return key, True


class KeyGate:
    """Lets in whoever holds the administrator key."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()
        self._caller = Caller("admin")

    def check(self, credentials: str) -> Caller:
        """See `serving.values.Gate`; compares in constant time."""
        if not hmac.compare_digest(credentials.encode(errors="replace"), self._key):
            raise HeliographError(
                Code.UNAUTHENTICATED,
                "Send the key as 'Authorization: Bearer KEY'. The first administrator key lies in "
                "admin.key in the server's data folder.",
            )
        return self._caller


class OpenGate:
    """Lets everybody in: for `--open`, which is loopback only, and for the command line."""

    def __init__(self) -> None:
        self._caller = Caller("anyone")

    def check(self, credentials: str) -> Caller:
        """See `serving.values.Gate`."""
        del credentials
        return self._caller
