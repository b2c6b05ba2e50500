"""Short-lived tokens for phones and browsers: signed by the server, for a key, with less than it.

An app's own server asks for one with its key and hands it to the phone, which never sees the key.
The form is `hgt_PAYLOAD.SIGNATURE`, both base64url: JSON and HMAC-SHA256. It is not a JWT on
purpose: there is one algorithm, one key and nothing to negotiate.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets

import msgspec

from heliograph.core.clock import Clock

PREFIX = "hgt_"
LONGEST_SECONDS = 24 * 3600
_MOST = 2048


class Claims(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a token says.

    Attributes:
        key: id of the key it was made for: what that may not, it may not.
        expires: seconds since 1970.
        models: names of models it may call, `*` and `?` as in a shell; empty for the key's.
        origin: the value of `Origin` that must come with it; empty for none.
        nonce: makes each token another one.
    """

    key: str
    expires: int
    models: tuple[str, ...] = ()
    origin: str = ""
    nonce: str = ""


class Tokens:
    """Makes and reads tokens.

    Args:
        secret: what signs them, 32 bytes.
        clock: tells the time.
    """

    def __init__(self, secret: bytes, clock: Clock) -> None:
        self._secret = secret
        self._clock = clock

    def make(
        self, key: str, seconds: int, models: tuple[str, ...] = (), origin: str = ""
    ) -> tuple[str, Claims]:
        """A token for a key that lives for so many seconds."""
        expires = self._clock() // 1000 + seconds
        claims = Claims(key, expires, models, origin, secrets.token_urlsafe(9))
        payload = _encode(msgspec.json.encode(claims))
        return f"{PREFIX}{payload}.{self._sign(payload)}", claims

    def read(self, text: str) -> Claims | None:
        """What a token says; None unless we made it and it lives."""
        payload, _, signature = text.removeprefix(PREFIX).partition(".")
        if len(text) > _MOST or not text.isascii():
            return None
        # First the signature: nothing is parsed that we did not write.
        if not hmac.compare_digest(self._sign(payload), signature):
            return None
        try:
            claims = msgspec.json.decode(_decode(payload), type=Claims)
        except (msgspec.DecodeError, binascii.Error, ValueError):
            return None
        return claims if claims.expires > self._clock() // 1000 else None

    def _sign(self, payload: str) -> str:
        return _encode(hmac.digest(self._secret, payload.encode(), hashlib.sha256))


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
