"""Webhook signatures as the Standard Webhooks specification 1.0.0 has them.

    webhook-id: msg_…                    the same for each try
    webhook-timestamp: 1614265330        of this try, seconds since 1970
    webhook-signature: v1,BASE64 [v1,…]  HMAC-SHA256 of `id.timestamp.body`, for each valid secret

A secret is `whsec_` and Base64. Receivers check with `heliograph.client.webhooks`, or any library
of the specification.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Sequence

PREFIX = "whsec_"
_BYTES = 32


def new_secret() -> str:
    """A secret of 256 random bits, as its receiver is shown it."""
    return PREFIX + base64.b64encode(os.urandom(_BYTES)).decode()


def signed(secrets: Sequence[str], message: str, now_ms: int, body: bytes) -> dict[str, str]:
    """The headers of one try.

    Args:
        secrets: every one that is valid now, the newest first.
        message: the message's id.
        now_ms: the time of this try.
        body: exactly as it is sent.
    """
    seconds = str(now_ms // 1000)
    return {
        "content-type": "application/json",
        "webhook-id": message,
        "webhook-timestamp": seconds,
        "webhook-signature": " ".join(_sign(one, message, seconds, body) for one in secrets),
    }


def _sign(secret: str, message: str, seconds: str, body: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    said = f"{message}.{seconds}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, said, hashlib.sha256).digest()).decode()
