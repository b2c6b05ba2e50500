"""Everything that can go wrong with a call, under one base: `ClientError`.

    ClientError
    ├── ApiError           the server answered, and said no
    ├── UnreachableError   nobody answered
    ├── OutOfTimeError     nothing came within the call's `timeout`
    └── BadReplyError      something answered, but not a Heliograph server

A picture that cannot be read raises what reading it raised: `FileNotFoundError`, `TypeError`.
"""

from __future__ import annotations


class ClientError(Exception):
    """The base of every error that a call raises."""


class ApiError(ClientError):
    """The server's refusal (its RFC 9457 problem).

    Attributes:
        code: from the server's closed list, e.g. `image_corrupt`; `http_STATUS` where something
            between here and the server answered in its stead.
        status: the HTTP status.
        detail: what was expected, what came, what to do.
        request_id: quote it when asking for help; may be empty.
        retry_after: seconds after which the call may succeed; None if the server named none.
    """

    def __init__(
        self,
        code: str,
        status: int,
        detail: str,
        request_id: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(code, status, detail, request_id, retry_after)
        self.code = code
        self.status = status
        self.detail = detail
        self.request_id = request_id
        self.retry_after = retry_after
        if code == "unauthenticated":
            self.add_note("Pass it as Client(key=…) or set HELIOGRAPH_KEY.")

    def __str__(self) -> str:
        quote = f" ({self.request_id})" if self.request_id else ""
        return f"[{self.code}] {self.detail}{quote}"


class UnreachableError(ClientError, ConnectionError):
    """No connection, or one that broke before the answer was whole."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(address, reason)
        self.address = address
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"No answer from {self.address} ({self.reason}). Is the server running? "
            "Start one with: heliograph serve. Another address: Client('http://…') or "
            "HELIOGRAPH_ADDRESS."
        )


class OutOfTimeError(ClientError, TimeoutError):
    """The call's `timeout` passed, retries included."""

    def __init__(self, address: str, seconds: float) -> None:
        super().__init__(address, seconds)
        self.address = address
        self.seconds = seconds

    def __str__(self) -> str:
        return (
            f"No whole answer from {self.address} within {self.seconds:g} seconds. "
            "Give it longer with Client(timeout=…), or send a smaller picture."
        )


class BadReplyError(ClientError):
    """The answer is not one that this client understands."""
