"""Where a pair lies: read whole, watched cheaply, written so that nobody sees half of it."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from heliograph.edge.tls.values import Pair, parse_pair, refused

_OTHERS = 0o007
_MOST_BYTES = 1 << 20
Stamp = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Files:
    """The files of a pair; the key may stand in the certificate's own.

    Attributes:
        certificate: with its chain, PEM.
        key: PEM, readable by nobody else.
    """

    certificate: Path
    key: Path

    def stamp(self) -> Stamp:
        """What differs once a file is another one; empty parts for files that are not there."""
        return tuple(_stamp(one) for one in (self.certificate, self.key))

    def read(self) -> Pair:
        """The pair as it lies there now.

        Raises:
            HeliographError: `validation`: not there, not readable, readable by everybody, or not
                a pair.
        """
        if self.key.exists() and self.key.stat().st_mode & _OTHERS:
            raise refused(
                f"Everybody on this machine can read the key {self.key.name}. Take it back with "
                f"chmod o= and replace the key: somebody may have it."
            )
        return parse_pair(_read(self.certificate), _read(self.key))


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        told = path.stat()
    except OSError:
        return 0, 0, 0
    return told.st_mtime_ns, told.st_ino, told.st_size


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            found = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise refused(f"{path.name} cannot be read: {error.strerror}.") from error
    if len(found) > _MOST_BYTES:
        raise refused(f"{path.name} is larger than any certificate.")
    return found


def write_secret(path: Path, data: bytes, *, replace: bool = True) -> None:
    """Write a file of mode 0600, whole or not at all, and see it onto the disk.

    Args:
        path: its folder exists.
        data: all of it.
        replace: what lies there; without, what somebody else has written first stays.

    Raises:
        OSError: no space, no permission; what lay there lies there still.
    """
    handle, scratch = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            Path(scratch).replace(path)
            return
        try:
            os.link(scratch, path)
        except FileExistsError:
            return
    finally:
        Path(scratch).unlink(missing_ok=True)
