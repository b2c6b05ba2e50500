"""What goes out and what comes back, without doing either: requests, replies, refusals.

    picture --pictures--> bytes --questions--> Request --retry + sync|aio--> Reply --> Prediction

Both clients are thin around this: they read files, wait and hold sockets; everything that decides
anything is in plain functions on values.
"""

from __future__ import annotations

import email.utils
import ipaddress
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TypedDict
from urllib.parse import urlsplit

import httpx
import msgspec

from heliograph.client.errors import (
    ApiError,
    BadReplyError,
    ClientError,
    OutOfTimeError,
    UnreachableError,
)

ADDRESS = "http://127.0.0.1:8000"
_CONNECT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, relative to a `Target`."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP response; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpSettings(TypedDict):
    """What both httpx clients are made with."""

    headers: dict[str, str]
    trust_env: bool
    follow_redirects: bool


@dataclass(frozen=True, slots=True)
class Target:
    """Which server, and as whom.

    Attributes:
        address: `http://` or `https://`, a host, maybe a port and a path; no slash at the end.
        key: empty for none.
    """

    address: str
    key: str = field(default="", repr=False)

    @classmethod
    def choose(cls, address: str | None, key: str | None) -> Target:
        """Take what was given, else `HELIOGRAPH_ADDRESS` and `HELIOGRAPH_KEY`, else the defaults.

        The default key of a server on this machine is the administrator key of this user's own
        data folder, if there is one; it is never sent to another machine.

        Raises:
            ValueError: the address or the key cannot be one.
        """
        chosen = (address or os.environ.get("HELIOGRAPH_ADDRESS") or ADDRESS).strip().rstrip("/")
        try:
            parts = urlsplit(chosen)
            fit = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        except ValueError:
            fit = False
        if not fit or "?" in chosen or "#" in chosen:
            raise ValueError(f"Expected an address such as {ADDRESS}; got {chosen!r}.")
        # A key read from a file ends in a line break.
        host = urlsplit(chosen).hostname or ""
        secret = (_default_key(host) if key is None else key).strip()
        if not secret.isascii() or not secret.isprintable() or " " in secret:
            raise ValueError("The key holds a character that no key has; was it pasted whole?")
        return cls(chosen, secret)

    def http(self) -> HttpSettings:
        """Settings for an httpx client."""
        agent = f"heliograph/{version('heliograph')}"
        headers = {"accept": "application/json", "user-agent": agent}
        if self.key:
            headers["authorization"] = f"Bearer {self.key}"
        # A company's proxy cannot reach this very machine, and a redirect would take the key along.
        return {
            "headers": headers,
            "trust_env": not _is_loopback(urlsplit(self.address).hostname or ""),
            "follow_redirects": False,
        }


def patience(left: float) -> dict[str, float]:
    """Limits of one attempt for `httpx.Timeout`, in seconds, where `left` is all there is."""
    # A dead host says nothing; five seconds of silence leave time to try again.
    return {"timeout": left, "connect": min(left, _CONNECT_SECONDS)}


def failure(error: Exception, address: str, seconds: float) -> ClientError:
    """The error for an attempt that httpx or the clock ended.

    Args:
        error: what was raised.
        address: the server's.
        seconds: how long the attempt could last.
    """
    made: ClientError
    if isinstance(error, httpx.ConnectTimeout):
        made = UnreachableError(address, "it does not take the connection")
    elif isinstance(error, httpx.TimeoutException | TimeoutError):
        made = OutOfTimeError(address, seconds)
    elif isinstance(error, httpx.DecodingError):
        made = BadReplyError("The answer's Content-Encoding is broken; is a proxy in between?")
    else:
        made = UnreachableError(address, str(error) or type(error).__name__)
    made.__cause__ = error
    return made


class _Problem(msgspec.Struct, frozen=True):
    """The parts of a problem document that are read; others are let be."""

    code: str
    detail: str = ""
    title: str = ""
    request_id: str = ""
    retry_after: float | None = None


def refusal(reply: Reply) -> ClientError | None:
    """The error that a reply stands for; None for a good one."""
    if 200 <= reply.status < 300:
        return None
    if reply.status < 400:
        return BadReplyError(
            f"The address answered {reply.status} (a redirect to "
            f"{reply.headers.get('location', 'nowhere')[:200]}). Use the server's own address."
        )
    header = retry_after(reply.headers.get("retry-after", ""))
    try:
        problem = msgspec.json.decode(reply.body, type=_Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ApiError(
            f"http_{reply.status}",
            reply.status,
            f"The address answered {reply.status} in words that are not Heliograph's. "
            "Is there a proxy in between, or another server at this address?",
            reply.headers.get("x-request-id", ""),
            header,
        )
    # The body's figure is exact, the header's rounded up to whole seconds.
    asked = problem.retry_after if problem.retry_after is not None else header
    detail = problem.detail or problem.title
    return ApiError(problem.code, reply.status, detail, problem.request_id, asked)


def retry_after(header: str, now: float | None = None) -> float | None:
    """Seconds of a `Retry-After` header in either of its forms (RFC 9110, 10.2.3), else None.

    Args:
        header: its value, e.g. `2` or `Fri, 31 Dec 1999 23:59:59 GMT`.
        now: seconds since 1970; this moment if None.
    """
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        when = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, when.timestamp() - (time.time() if now is None else now))


def _default_key(host: str) -> str:
    said = os.environ.get("HELIOGRAPH_KEY")
    if said is not None or not _is_loopback(host):
        return said or ""
    home = Path(os.environ.get("HELIOGRAPH_HOME") or "~/.heliograph").expanduser()
    try:
        return (home / "admin.key").read_text("ascii")
    except (OSError, UnicodeDecodeError):
        return ""


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
