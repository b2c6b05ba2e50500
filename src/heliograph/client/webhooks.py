"""Webhooks at the receiver: is this message really from the server, and is it new?

    receiver = Receiver("whsec_…")
    event = receiver.receive(headers, body)      # or WebhookError: answer 401 and do nothing
    if event.id not in done: …                   # the same id may come again: keep what is done

Signatures are those of the Standard Webhooks specification 1.0.0.

Covered: a wrong or missing signature, a changed body, a time that is not now, a message that
somebody recorded and sends again.
Not covered: our own second try. It has the same `id` and a newer time, and is meant to come.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import msgspec

from heliograph.client.errors import ClientError

_TOLERANCE = 300.0
_REMEMBERED = 100_000


class WebhookError(ClientError):
    """The message is not to be believed; answer 401."""


@dataclass(frozen=True, slots=True)
class WebhookEvent:
    """What happened.

    Attributes:
        id: the message's; the same each time it is sent.
        kind: `invoice.finalised` and so on.
        timestamp: when it happened, ISO 8601 in UTC.
        data: what is told of it.
        sent: when this try was signed, in seconds since 1970.
    """

    id: str
    kind: str
    timestamp: str
    data: dict[str, Any]
    sent: int


def verify(
    secret: str | Iterable[str],
    headers: Mapping[str, str],
    body: bytes,
    now: float | None = None,
    *,
    tolerance: float = _TOLERANCE,
) -> WebhookEvent:
    """Check a message and read it. A recorded message passes within the tolerance: `Receiver`.

    Args:
        secret: `whsec_…`; several while they are changed.
        headers: of the request, in any case of letters.
        body: of the request, byte for byte.
        now: seconds since 1970; this moment if None.
        tolerance: how many seconds the message's time and ours may lie apart.

    Raises:
        WebhookError: it is not to be believed.
        ValueError: the secret is none.
    """
    secrets = [secret] if isinstance(secret, str) else list(secret)
    said = {name.lower(): value for name, value in headers.items()}
    message, seconds, signatures = (
        said.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature")
    )
    if not (message and signatures and seconds.isascii() and seconds.isdigit()):
        raise WebhookError("webhook-id, webhook-timestamp or webhook-signature is missing.")
    if len(seconds) > 12 or abs((time.time() if now is None else now) - int(seconds)) > tolerance:
        raise WebhookError("The message's time is not now. Is this machine's clock right?")
    signed = f"{message}.{seconds}.".encode("utf-8", "surrogateescape") + body
    right = [_signature(one, signed) for one in secrets]
    if not _any_equal(right, signatures.split(" ")):
        raise WebhookError("The signature is not right. Is the secret this webhook's?")
    return _read(message, int(seconds), body)


class Receiver:
    """Checks messages and remembers those of the last minutes, so that none can be sent again.

    It remembers within its process. With several, keep the ids of what was done in a database; that
    is needed anyway, since a message can come twice.

    Args:
        secret: `whsec_…`; several while they are changed.
        tolerance: how many seconds a message's time and ours may lie apart.
    """

    def __init__(self, secret: str | Iterable[str], *, tolerance: float = _TOLERANCE) -> None:
        self._secrets = [secret] if isinstance(secret, str) else list(secret)
        self._tolerance = tolerance
        self._seen: OrderedDict[tuple[str, int], float] = OrderedDict()
        self._lock = threading.Lock()

    def receive(
        self, headers: Mapping[str, str], body: bytes, now: float | None = None
    ) -> WebhookEvent:
        """Check a message and read it; see `verify`.

        Raises:
            WebhookError: it is not to be believed, or exactly this try was received before.
        """
        moment = time.time() if now is None else now
        event = verify(self._secrets, headers, body, moment, tolerance=self._tolerance)
        with self._lock:
            self._forget(moment)
            if (event.id, event.sent) in self._seen:
                raise WebhookError("This message was received before: somebody sends it again.")
            self._seen[event.id, event.sent] = moment + 2 * self._tolerance
        return event

    def _forget(self, now: float) -> None:
        # What is too old to pass `verify` need not be remembered.
        while self._seen and (
            next(iter(self._seen.values())) < now or len(self._seen) >= _REMEMBERED
        ):
            self._seen.popitem(last=False)


def _signature(secret: str, signed: bytes) -> bytes:
    try:
        key = base64.b64decode(secret.strip().removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("A webhook's secret is whsec_ and Base64.") from error
    if not key:
        raise ValueError("A webhook's secret is whsec_ and Base64; this one is empty.")
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest())


def _any_equal(right: list[bytes], said: list[str]) -> bool:
    """Whether one of the signatures is one of ours; the time it takes tells nothing."""
    found = False
    for one in said[:16]:
        version, _, value = one.partition(",")
        if version == "v1":
            for own in right:
                found |= hmac.compare_digest(own, value.encode("utf-8", "surrogateescape"))
    return found


def _read(message: str, sent: int, body: bytes) -> WebhookEvent:
    try:
        said: Any = msgspec.json.decode(body)
        data = cast("dict[str, Any]", said.get("data") or {})
        return WebhookEvent(
            message, str(said.get("type", "")), str(said.get("timestamp", "")), data, sent
        )
    except (msgspec.DecodeError, UnicodeDecodeError, AttributeError) as error:
        raise WebhookError("The body is signed, but it is not an event.") from error
