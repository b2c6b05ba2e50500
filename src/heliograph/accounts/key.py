"""The administrator key and the two gates: one that asks for it, one that is open."""

from __future__ import annotations

import hmac
import os
import secrets
import tempfile
from pathlib import Path

from heliograph.core.call import Caller, Credentials
from heliograph.core.errors import Code, HeliographError
from heliograph.core.permissions import EVERY, Permission

_PREFIX = "hg_admin_"
_SHORTEST = 16


def admin_key(home: Path) -> tuple[str, bool]:
    """The key in `home/admin.key`, made at the first start with mode 0600.

    Returns:
        The key, and whether it was made just now.

    Raises:
        HeliographError: `validation` if the file holds no key.
    """
    path = home / "admin.key"
    if path.exists():
        return _read(path), False
    key = _PREFIX + secrets.token_urlsafe(32)
    handle, scratch = tempfile.mkstemp(prefix=".admin.key-", dir=home)  # mode 0600
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(key + "\n")
            file.flush()
            os.fsync(file.fileno())
        # Linked when it is whole and on disk: nobody ever reads half a key, after a power cut
        # neither, and of several processes that start at once one makes it and the others read
        # that one.
        os.link(scratch, path)
    except FileExistsError:
        return _read(path), False
    finally:
        Path(scratch).unlink()
    return key, True


def _read(path: Path) -> str:
    key = path.read_bytes().strip()
    # An empty or shortened file must never become a key that anybody can guess.
    if len(key) < _SHORTEST or not key.isascii():
        raise HeliographError(
            Code.VALIDATION,
            "admin.key holds no key: it is shorter than 16 characters or not ASCII. Delete it and "
            "start again for a new one.",
        )
    return key.decode("ascii")


class KeyGate:
    """Lets in whoever holds the administrator key."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()
        self._caller = Caller("admin", operator=True, permissions=EVERY)

    def check(self, credentials: Credentials, needs: Permission, model: str = "") -> Caller:
        """See `serving.values.Gate`; compares in constant time."""
        del needs, model
        if not hmac.compare_digest(credentials.key.encode(errors="replace"), self._key):
            raise HeliographError(
                Code.UNAUTHENTICATED,
                "Send the key as 'Authorization: Bearer KEY'. The first administrator key lies in "
                "admin.key in the server's data folder.",
            )
        return self._caller

    def agreed(self, caller: Caller, purpose: str) -> None:
        """See `serving.values.Gate`; whoever runs the server answers for it."""
        del caller, purpose


class OpenGate:
    """Lets everybody in: for `--open`, which is loopback only, and for the command line."""

    def __init__(self) -> None:
        self._caller = Caller("anyone", operator=True, permissions=EVERY)

    def check(self, credentials: Credentials, needs: Permission, model: str = "") -> Caller:
        """See `serving.values.Gate`."""
        del credentials, needs, model
        return self._caller

    def agreed(self, caller: Caller, purpose: str) -> None:
        """See `serving.values.Gate`; nobody is asked."""
        del caller, purpose
