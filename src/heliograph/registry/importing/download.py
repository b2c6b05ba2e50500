"""Downloading: bounded, resumable, to named hosts only."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self
from urllib.parse import urljoin, urlsplit

import httpx

from heliograph.core.errors import Code, HeliographError
from heliograph.registry.importing.files import LARGEST

Told = Callable[[str, int, int], None]
"""Told the progress: a file's name, bytes so far, all bytes (0 for unknown)."""

_LARGEST_JSON = 8 << 20
_HOPS = 5
_TRIES = 5


class Wanted(Protocol):
    """What is known of a file beforehand."""

    @property
    def path(self) -> str:
        """Its name, for messages."""
        ...

    @property
    def size(self) -> int:
        """Bytes; 0 for unknown."""
        ...

    @property
    def sha256(self) -> str:
        """Empty for unknown."""
        ...


@dataclass(frozen=True, slots=True)
class Reach:
    """Where a download may go.

    Attributes:
        host: the host that was named; it alone gets the token.
        others: further hosts, with every host below them, from `HELIOGRAPH_IMPORT_HOSTS`.
        token: sent as a bearer token; empty for none.
    """

    host: str
    others: tuple[str, ...] = ()
    token: str = ""

    @classmethod
    def of(cls, address: str, token: str = "") -> Self:
        """The reach of an address that an operator named."""
        more = os.environ.get("HELIOGRAPH_IMPORT_HOSTS", "")
        others = tuple(one.strip().lower() for one in more.split(",") if one.strip())
        return cls((urlsplit(address).hostname or "").lower(), others, token)

    def check(self, address: str) -> str:
        """The host of an address, if it may be asked.

        Raises:
            HeliographError: `validation` for anything but https (http on this machine),
                `forbidden` for a host that was not named.
        """
        parts = urlsplit(address)
        host = (parts.hostname or "").lower()
        if parts.scheme != "https" and not (parts.scheme == "http" and _is_local(host)):
            raise HeliographError(
                Code.VALIDATION, f"Only https addresses are fetched, not {parts.scheme[:20]!r}."
            )
        if parts.username or parts.password:
            raise HeliographError(Code.VALIDATION, "The address carries a password; use HF_TOKEN.")
        # A host below the one that was named is the same people's: cdn.hub.example of hub.example.
        for one in (self.host, *self.others):
            if host == one or (not _is_local(one) and host.endswith(f".{one}")):
                return host
        raise HeliographError(
            Code.FORBIDDEN,
            f"The download leads to another host, {host[:100]!r}. If that is right, name it in "
            f"HELIOGRAPH_IMPORT_HOSTS.",
        )


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Download:
    """A client for one import; close it.

    Args:
        reach: where it may go.
        cache: where unfinished files wait for a later run.
        pause: seconds before the second try of a broken download; doubles each time.
    """

    def __init__(self, reach: Reach, *, cache: Path, pause: float = 0.5) -> None:
        self._reach, self._cache, self._pause = reach, cache, pause
        self._client = httpx.Client(timeout=httpx.Timeout(30.0), follow_redirects=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()

    def json(self, address: str) -> dict[str, Any]:
        """A JSON object of at most 8 MiB."""
        body = bytearray()
        with self._open(address, {}) as reply:
            for block in reply.iter_bytes():
                body += block
                if len(body) > _LARGEST_JSON:
                    raise HeliographError(
                        Code.MODEL_RESOURCE_LIMIT, "The hub's description is larger than 8 MiB."
                    )
        try:
            made = json.loads(bytes(body))
        except (ValueError, RecursionError) as error:
            raise HeliographError(Code.MODEL_INVALID, "The hub's answer is not JSON.") from error
        if not isinstance(made, dict):
            raise HeliographError(Code.MODEL_INVALID, "The hub's answer is no JSON object.")
        return made

    def file(self, address: str, target: Path, wanted: Wanted, told: Told) -> None:
        """Fetch one file whole, going on where an earlier try stopped."""
        if wanted.size > LARGEST:
            raise _too_large(wanted)
        self._cache.mkdir(parents=True, exist_ok=True)
        part = self._cache / (hashlib.sha256(address.encode()).hexdigest()[:32] + ".part")
        for attempt in range(_TRIES):
            try:
                self._rest(address, part, wanted, told)
                break
            except httpx.HTTPError as error:
                if attempt == _TRIES - 1:
                    raise HeliographError(
                        Code.MODEL_UNAVAILABLE,
                        f"Fetching {wanted.path!r} broke off; the same command goes on where it "
                        f"stopped.",
                    ) from error
                time.sleep(self._pause * 2**attempt)
        self._verify(part, wanted)
        part.replace(target)

    def _rest(self, address: str, part: Path, wanted: Wanted, told: Told) -> None:
        have = part.stat().st_size if part.exists() else 0
        if wanted.size and have == wanted.size:
            return
        headers = {"Range": f"bytes={have}-"} if have else {}
        with self._open(address, headers) as reply:
            if reply.status_code != 206:
                # The server sends all of it: begin again.
                have = 0
            size = _whole_size(reply, have) or wanted.size
            if size > LARGEST:
                raise _too_large(wanted)
            with part.open("ab" if have else "wb") as file:
                # As they come: a block that is waited for would be lost when the line breaks.
                for block in reply.iter_bytes():
                    file.write(block)
                    have += len(block)
                    if have > (size or LARGEST):
                        raise _too_large(wanted)
                    told(wanted.path, have, size)
            if size and have < size:
                raise httpx.ReadError("the connection closed before the end")

    def _verify(self, part: Path, wanted: Wanted) -> None:
        with part.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        size = part.stat().st_size
        if (wanted.size and size != wanted.size) or (wanted.sha256 and found != wanted.sha256):
            part.unlink()
            raise HeliographError(
                Code.MODEL_INVALID,
                f"{wanted.path!r} is not what the hub announced: {size:,} bytes, SHA-256 {found}.",
            )

    def _open(self, address: str, headers: dict[str, str]) -> _Reply:
        """A reply, after the redirects that are allowed."""
        for _ in range(_HOPS):
            host = self._reach.check(address)
            own = dict(headers)
            # `identity`: a compressed body could be a bomb, and its bytes could not be resumed.
            own["Accept-Encoding"] = "identity"
            if self._reach.token and host == self._reach.host:
                own["Authorization"] = f"Bearer {self._reach.token}"
            request = self._client.build_request("GET", address, headers=own)
            try:
                reply = self._client.send(request, stream=True)
            except httpx.ConnectError as error:
                raise HeliographError(
                    Code.MODEL_UNAVAILABLE, f"The host {host!r} cannot be reached."
                ) from error
            if reply.is_redirect:
                address = urljoin(address, reply.headers.get("Location", ""))
                reply.close()
                continue
            if reply.status_code not in {200, 206}:
                reply.close()
                raise _refused(reply.status_code)
            return _Reply(reply)
        raise HeliographError(Code.MODEL_UNAVAILABLE, f"More than {_HOPS} redirects.")


class _Reply:
    """An open reply that closes with its `with`."""

    def __init__(self, reply: httpx.Response) -> None:
        self._reply = reply
        self.status_code = reply.status_code
        self.headers = reply.headers
        self.iter_bytes = reply.iter_raw

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._reply.close()


def _whole_size(reply: _Reply, have: int) -> int:
    with suppress(ValueError):
        return have + int(reply.headers.get("Content-Length", ""))
    return 0


def _refused(status: int) -> HeliographError:
    if status in {401, 403}:
        return HeliographError(
            Code.FORBIDDEN,
            "The hub does not give this model to you; set HF_TOKEN to a valid token.",
        )
    if status == 404:
        return HeliographError(Code.NOT_FOUND, "The hub has no such model, revision or file.")
    return HeliographError(Code.MODEL_UNAVAILABLE, f"The hub answered with status {status}.")


def _too_large(wanted: Wanted) -> HeliographError:
    return HeliographError(
        Code.MODEL_RESOURCE_LIMIT,
        f"{wanted.path!r} is larger than announced, or than {LARGEST:,} bytes.",
    )
