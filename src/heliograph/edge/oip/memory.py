"""System shared memory: tensors that a client on this machine leaves there instead of sending them.

Covered: only regions under a plain name in POSIX shared memory can be registered, never another
file; a client that cuts its region short gets an error (bytes are read and written as a file's, so
that the process is not killed, as a mapping's user would be); what was read cannot change under us.
Not covered: whoever may call can name any region that this process may open; the switch is off
unless an operator turns it on.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass

from heliograph.core.errors import Code, HeliographError
from heliograph.edge.oip.values import Region

FOLDER = "/dev/shm"  # noqa: S108 - it is the very thing
_KEY = re.compile(r"/?[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")
_MOST_REGIONS = 1024


@dataclass(frozen=True, slots=True)
class Registered:
    """One region.

    Attributes:
        name: by which requests speak of it.
        key: of the shared memory object.
        offset: where it begins there, in bytes; `byte_size` likewise.
        handle: its file descriptor.
    """

    name: str
    key: str
    offset: int
    byte_size: int
    handle: int


class SharedMemory:
    """The registered regions of one process.

    Args:
        on: whether it is offered at all.
    """

    def __init__(self, *, on: bool) -> None:
        self.on = on
        self._regions: dict[str, Registered] = {}

    def register(self, name: str, key: str, offset: int, byte_size: int) -> None:
        """Open a region.

        Raises:
            HeliographError: `unsupported` (switched off), `conflict` (the name is taken),
                `validation` (no such object, or it is too small).
        """
        self._check_on()
        if name in self._regions:
            raise HeliographError(
                Code.CONFLICT, f"shared memory region '{name[:80]}' already in manager"
            )
        if not name or len(self._regions) >= _MOST_REGIONS:
            raise HeliographError(
                Code.VALIDATION, f"a region needs a name, and at most {_MOST_REGIONS} are kept"
            )
        handle = _open(key)
        if not 0 < byte_size <= os.fstat(handle).st_size - offset or offset < 0:
            os.close(handle)
            raise HeliographError(
                Code.VALIDATION,
                f"failed to register shared memory region '{name[:80]}': invalid args",
            )
        self._regions[name] = Registered(name, key, offset, byte_size, handle)

    def unregister(self, name: str) -> None:
        """Forget a region, or all of them for an empty name; forgetting twice is no error."""
        self._check_on()
        for one in [name] if name else list(self._regions):
            gone = self._regions.pop(one, None)
            if gone is not None:
                os.close(gone.handle)

    def status(self, name: str) -> list[Registered]:
        """One region, or all of them for an empty name.

        Raises:
            HeliographError: `unsupported` or `not_found`.
        """
        self._check_on()
        if not name:
            return list(self._regions.values())
        return [self._find(name)]

    def read(self, region: Region) -> bytes:
        """A copy of the bytes of a part of a region."""
        found = self._part(region)
        data = os.pread(found.handle, region.size, found.offset + region.offset)
        if len(data) != region.size:
            raise _outside(region)
        return data

    def write(self, region: Region, data: bytes | memoryview) -> None:
        """Put bytes at the beginning of a part of a region.

        Raises:
            HeliographError: `bad_shape`; they are more than it has room for.
        """
        found = self._part(region)
        end = found.offset + region.offset + len(data)
        if len(data) > region.size:
            raise HeliographError(
                Code.BAD_SHAPE,
                f"shared memory size specified with the request for region '{region.name[:80]}' "
                f"({region.size} bytes) should be at least {len(data)} bytes to hold the results",
            )
        if end > os.fstat(found.handle).st_size:
            raise _outside(region)
        os.pwrite(found.handle, data, found.offset + region.offset)

    def close(self) -> None:
        """Forget every region."""
        if self.on:
            self.unregister("")

    def _part(self, region: Region) -> Registered:
        self._check_on()
        found = self._find(region.name)
        if region.offset + region.size > found.byte_size:
            raise _outside(region)
        return found

    def _find(self, name: str) -> Registered:
        found = self._regions.get(name)
        if found is None:
            raise HeliographError(
                Code.NOT_FOUND, f"Unable to find shared memory region: '{name[:80]}'"
            )
        return found

    def _check_on(self) -> None:
        if not self.on:
            raise HeliographError(
                Code.UNSUPPORTED,
                "shared memory is switched off on this server; its operator can switch it on with "
                "the setting oip.shared_memory",
            )


def _open(key: str) -> int:
    refused = HeliographError(Code.VALIDATION, f"Unable to open shared memory region: '{key[:80]}'")
    if not _KEY.fullmatch(key):
        raise refused
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        handle = os.open(f"{FOLDER}/{key.removeprefix('/')}", flags)
    except OSError as error:
        raise refused from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise refused
    return handle


def _outside(region: Region) -> HeliographError:
    return HeliographError(
        Code.BAD_SHAPE,
        f"Invalid offset + byte size for shared memory region: '{region.name[:80]}'",
    )
