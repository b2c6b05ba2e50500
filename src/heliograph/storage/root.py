"""Where the root key is: outside the database and every backup, and the key of all other keys.

    HELIOGRAPH_KMS_COMMAND   a program that wraps and unwraps: a KMS, an HSM, Vault's transit
    HELIOGRAPH_ROOT_KEY      one or more keys, with commas
    HOME/keys/root           one or more keys, a line each; made when the first key is needed

The first that there is wraps; all that there are unwrap, so that one may take another's place:
`heliograph rotate-keys --root`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import logging
import os
import shlex
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from heliograph.core.errors import Code, HeliographError
from heliograph.storage.envelope import KEY_BYTES, Binding, Damaged, new_key, unwrap, wrap

log = logging.getLogger("heliograph.storage")
COMMAND = "HELIOGRAPH_KMS_COMMAND"
KEYS = "HELIOGRAPH_ROOT_KEY"
FILE = Path("keys") / "root"
_PREFIX = "hgroot_"
_PATIENCE = 30.0
_LONGEST = 16 << 10


class Root(Protocol):
    """What wraps the keys of the ring."""

    @property
    def name(self) -> str:
        """What is recorded beside the keys that it wrapped; no secret."""
        ...

    def wrap(self, key: bytes, binding: Binding) -> bytes:
        """Seal a key.

        Raises:
            HeliographError: `db_unavailable` if it cannot now.
        """
        ...

    def unwrap(self, wrapped: bytes, binding: Binding) -> bytes:
        """What `wrap` sealed.

        Raises:
            Damaged: it was changed, or is another's.
            HeliographError: `db_unavailable` if it cannot now.
        """
        ...


class KeyRoot:
    """A root key that this process holds.

    Args:
        key: 32 bytes.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.name = "key:" + hashlib.sha256(b"heliograph root name" + key).hexdigest()[:16]

    @property
    def text(self) -> str:
        """The key as it stands in a file."""
        return _PREFIX + base64.urlsafe_b64encode(self._key).decode().rstrip("=")

    def wrap(self, key: bytes, binding: Binding) -> bytes:
        """See `Root`."""
        return wrap(self._key, key, binding)

    def unwrap(self, wrapped: bytes, binding: Binding) -> bytes:
        """See `Root`."""
        return unwrap(self._key, wrapped, binding)


class CommandRoot:
    """A program of the operator's that holds the root key, or asks who does.

    It is called as `COMMAND wrap` and `COMMAND unwrap`, gets one line of base64 on its standard
    input and prints one line: for `wrap` any text of its own, for `unwrap` the base64 again.

    Args:
        command: the program and its first arguments, as on a command line; no shell reads it.
    """

    name = "command"

    def __init__(self, command: str) -> None:
        self._command = shlex.split(command)

    def wrap(self, key: bytes, binding: Binding) -> bytes:
        """See `Root`."""
        # Not every KMS binds a context: ours goes in with the key and is looked at afterwards.
        secret = base64.b64encode(key + binding.data("kms"))
        return self._ask("wrap", secret)

    def unwrap(self, wrapped: bytes, binding: Binding) -> bytes:
        """See `Root`."""
        try:
            said = base64.b64decode(self._ask("unwrap", wrapped), validate=True)
        except binascii.Error as error:
            raise Damaged("the KMS command did not print base64") from error
        if len(said) != KEY_BYTES + 32 or said[KEY_BYTES:] != binding.data("kms"):
            raise Damaged("the KMS command unwrapped another key")
        return said[:KEY_BYTES]

    def _ask(self, verb: str, line: bytes) -> bytes:
        try:
            done = subprocess.run(  # noqa: S603 - the operator's own program, and no shell
                [*self._command, verb],
                input=line + b"\n",
                capture_output=True,
                timeout=_PATIENCE,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise _silent() from error
        said = done.stdout.strip()
        if done.returncode or not 0 < len(said) <= _LONGEST or b"\n" in said:
            log.error("the KMS command failed (%s): %.200r", done.returncode, done.stderr)
            raise _silent()
        return said


def _silent() -> HeliographError:
    return HeliographError(
        Code.DB_UNAVAILABLE,
        "The key ring is locked: the KMS command failed. The log has what it said.",
        retry_after=5.0,
    )


class Roots:
    """Every root key that this process may use, the first of them for wrapping.

    Args:
        home: the data folder.
        environ: the environment.

    Raises:
        HeliographError: `validation` for a key that is none, or a file that others may read.
    """

    def __init__(self, home: Path, environ: Mapping[str, str] | None = None) -> None:
        said = os.environ if environ is None else environ
        self.file = home / FILE
        self._given: list[Root] = []
        if command := said.get(COMMAND):
            self._given.append(CommandRoot(command))
        self._given += [_key(one, KEYS) for one in said.get(KEYS, "").split(",") if one.strip()]
        self._known: list[Root] = []
        self.reload()

    def reload(self) -> None:
        """Read the file again: another process may have put a new key in it.

        Raises:
            HeliographError: as the constructor.
        """
        self._known = [*self._given, *self.in_file()]

    def first(self) -> Root | None:
        """The one that wraps; None where there is none yet."""
        return self._known[0] if self._known else None

    def named(self, name: str) -> Root | None:
        """The one of that name, looked for in the file once more if it is not known."""
        for again in (False, True):
            if again:
                self.reload()
            for one in self._known:
                if one.name == name:
                    return one
        return None

    @property
    def by_file(self) -> bool:
        """Whether the key that wraps is the file's: what we can renew ourselves."""
        return not self._given

    def in_file(self) -> list[KeyRoot]:
        """The keys of the file, the first of them for wrapping.

        Raises:
            HeliographError: as the constructor.
        """
        try:
            with self.file.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                text = file.read(_LONGEST).decode("ascii", "replace")
        except FileNotFoundError:
            return []
        if mode & 0o077:
            raise HeliographError(
                Code.VALIDATION, "keys/root may be read by others: chmod 600 it, and renew the key."
            )
        keys = [_key(line, "keys/root") for line in text.splitlines() if line.strip()]
        if not keys:
            # Never a new key in its place: what the lost one wrapped would be lost unnoticed.
            raise HeliographError(
                Code.VALIDATION, "keys/root holds no key. Put back the one that was there."
            )
        return keys

    def make(self) -> None:
        """Make the file with a new key unless there is one; of several processes one does."""
        self._save([KeyRoot(new_key())], replace=False)
        self.reload()

    def renew(self) -> None:
        """Put a new key before those of the file."""
        self._save([KeyRoot(new_key()), *self.in_file()], replace=True)
        self.reload()

    def forget(self, names: set[str]) -> None:
        """Take keys out of the file; what they wrapped cannot be opened any more."""
        left = [one for one in self.in_file() if one.name not in names]
        if left:
            self._save(left, replace=True)
        self.reload()

    def _save(self, keys: list[KeyRoot], *, replace: bool) -> None:
        folder = self.file.parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, scratch = tempfile.mkstemp(prefix=".root-", dir=folder)  # mode 0600
        try:
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.writelines(one.text + "\n" for one in keys)
                file.flush()
                os.fsync(file.fileno())
            if replace:
                Path(scratch).replace(self.file)
            else:
                os.link(scratch, self.file)
        except FileExistsError:
            return
        except OSError as error:
            raise HeliographError(
                Code.STORAGE_FULL, "keys/root cannot be written into the data folder."
            ) from error
        finally:
            Path(scratch).unlink(missing_ok=True)
        sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _key(text: str, where: str) -> KeyRoot:
    said = text.strip().removeprefix(_PREFIX)
    try:
        key = base64.b64decode(said + "=" * (-len(said) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise HeliographError(
            Code.VALIDATION, f"{where} holds something that is no key: 32 bytes as base64."
        )
    return KeyRoot(key)
