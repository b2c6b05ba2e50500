"""What one connection may ask of the server, and what a request's head must be.

Pure: `wire.py` calls `check_head` for each head, before the application sees anything of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from heliograph.core.errors import Code, HeliographError

OTHERS = (b"/v1/", b"/v2/")
"""Where other protocols than our own are spoken, with tensors in bodies."""
_ONCE = (b"authorization", b"content-encoding", b"content-type", b"transfer-encoding")


@dataclass(frozen=True, slots=True)
class WireLimits:
    """What one connection may ask of the server.

    Attributes:
        head_bytes: request line and headers together.
        headers: number of headers.
        head_seconds: from the first byte of a request to the end of its headers.
        body_bytes: largest body.
        tensor_bytes: largest body of the protocols that carry tensors (`OTHERS`).
        body_rate: least bytes per second of a body, measured over `body_window` seconds.
        body_window: seconds.
        bodies_bytes: unfinished bodies of all connections of a process together.
        chunks: most chunks of a chunked body.
        connections: most connections open at once.
        read_seconds: in which a client must take some of its answer.
        linger_seconds: how long a refused client may go on sending, so that it reads the refusal.
    """

    head_bytes: int = 16 << 10
    headers: int = 100
    head_seconds: float = 10.0
    body_bytes: int = 21 << 20
    tensor_bytes: int = 64 << 20
    body_rate: float = 1024.0
    body_window: float = 5.0
    bodies_bytes: int = 512 << 20
    chunks: int = 65_536
    connections: int = 2048
    read_seconds: float = 60.0
    linger_seconds: float = 1.0

    def most(self, target: bytes) -> int:
        """The largest body that a target takes."""
        return self.tensor_bytes if target.startswith(OTHERS) else self.body_bytes


class RequestHead(NamedTuple):
    """A parsed request line and headers.

    Attributes:
        method: as sent.
        target: likewise.
        version: of HTTP, such as `1.1`.
        headers: names in lower case, and values.
        upgrade: whether the parser takes it for a change of protocol.
        size: about the bytes of it all.
    """

    method: bytes
    target: bytes
    version: str
    headers: Sequence[tuple[bytes, bytes]]
    upgrade: bool
    size: int


def check_head(head: RequestHead, limits: WireLimits) -> bool:
    """Hold a head against the limits and against what can be understood in two ways.

    Returns:
        Whether the length of the body is declared (or the body comes in chunks, if at all).

    Raises:
        HeliographError: `headers_too_large`, `method_not_allowed`, `bad_request`, `bad_host`,
            `bad_header` or `too_large`.
    """
    if head.size > limits.head_bytes:
        raise head_too_large(limits)
    if head.method == b"CONNECT":
        raise HeliographError(Code.METHOD_NOT_ALLOWED, "This server is no proxy.")
    if not head.target.startswith(b"/"):
        raise HeliographError(
            Code.BAD_REQUEST, "The request target must be a path that begins with '/'."
        )
    names = [name for name, _ in head.headers]
    hosts = names.count(b"host")
    if hosts != 1:
        raise HeliographError(Code.BAD_HOST, f"Exactly one Host header is needed, got {hosts}.")
    for name in _ONCE:
        if names.count(name) > 1:
            raise HeliographError(Code.BAD_HEADER, f"The header {name.decode()} stands twice.")
    if head.upgrade and b"upgrade" in names:
        raise no_upgrade()
    _check_coding(head)
    length = next((int(value) for name, value in head.headers if name == b"content-length"), None)
    most = limits.most(head.target)
    if length is not None and length > most:
        raise body_too_large(most)
    return length is not None


def _check_coding(head: RequestHead) -> None:
    for name, value in head.headers:
        if name == b"transfer-encoding" and (value.lower() != b"chunked" or head.version == "1.0"):
            raise HeliographError(
                Code.BAD_HEADER, "The only transfer coding taken is 'chunked', in HTTP/1.1."
            )


def head_too_large(limits: WireLimits) -> HeliographError:
    """The error of a request line and headers beyond the limit."""
    return HeliographError(
        Code.HEADERS_TOO_LARGE,
        f"The request line and headers may be {limits.head_bytes} bytes together.",
    )


def body_too_large(most: int) -> HeliographError:
    """The error of a body beyond the limit, declared or seen."""
    return HeliographError(
        Code.TOO_LARGE, f"The body may be at most {most} bytes. Scale the picture down."
    )


def malformed() -> HeliographError:
    """The error of bytes that are not HTTP."""
    return HeliographError(Code.BAD_HEADER, "This is not a valid HTTP/1.1 request.")


def no_upgrade() -> HeliographError:
    """The error of a request to change the protocol."""
    return HeliographError(Code.BAD_REQUEST, "This address speaks HTTP/1.1 only; no upgrade.")
