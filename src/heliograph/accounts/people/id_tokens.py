"""Verifying the ID tokens of an OpenID provider: signed JSON in one form, by a fixed list.

Covered: compact form only; `RS256`, `ES256`, `EdDSA`, each with its own kind of key; no header that
brings or names a key (`jwk`, `jku`, `x5u`, `x5c`), none that changes the rules (`crit`, `b64`,
`zip`); base64url without padding; `kid` compared and never used as a name of anything; `iss`,
`aud`, `azp`, `exp`, `nbf`, `iat`, `nonce`. Not covered: encrypted tokens; they are refused.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

_KINDS = {"RS256": "RSA", "ES256": "EC", "EdDSA": "OKP"}
_CURVES = {"ES256": "P-256", "EdDSA": "Ed25519"}
_READERS = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
_HEADERS = {"alg", "kid", "typ", "x5t", "x5t#S256"}
_PART = re.compile(r"[A-Za-z0-9_-]+")
_LONGEST = 16 << 10
_LEEWAY_SECONDS = 60
_LEAST_RSA_BITS = 2048
_LONGEST_SUBJECT = 255


class BadToken(ValueError):  # noqa: N818 - said of the token, not of us
    """A token that proves nothing; the reason is for the log."""


class UnknownKey(BadToken):
    """A token signed with a key that the provider's list does not have: it may be a new one."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What a token must say.

    Attributes:
        issuer: `iss`.
        client: our id there, in `aud`.
        nonce: of the log-in that it answers.
        now: seconds since 1970.
    """

    issuer: str
    client: str
    nonce: str
    now: int


class _List(jws.JWSRegistry):
    """The fixed list. `EdDSA`, by now out of fashion as a name (RFC 9864), is Ed25519 here."""

    def get_alg(self, name: str) -> Any:
        """One of the list, and no other."""
        if name not in _KINDS:
            raise BadToken("not an algorithm of the list")
        return self.algorithms[name]


_LIST = _List(algorithms=list(_KINDS))


def verify(token: str, keys: Sequence[Mapping[str, Any]], expected: Expected) -> dict[str, Any]:
    """The claims of a token that the provider signed for this very log-in.

    Args:
        token: as it came.
        keys: the provider's, of its JWKS.
        expected: what it must say.

    Raises:
        BadToken: in all other cases.
    """
    parts = token.split(".") if len(token) <= _LONGEST else []
    if len(parts) != 3 or not all(_PART.fullmatch(part) for part in parts):
        raise BadToken("not three parts of base64url, each with something in it")
    header = _header(parts[0])
    key = _key(keys, header)
    try:
        signed = jws.deserialize_compact(token, key, [header["alg"]], _LIST)
        claims = msgspec.json.decode(signed.payload or b"")
    except (JoseError, ValueError) as error:
        raise BadToken(f"signature or body: {error}") from error
    if not isinstance(claims, dict):
        raise BadToken("the body is not an object")
    _check(cast("dict[str, Any]", claims), expected)
    return cast("dict[str, Any]", claims)


def _header(part: str) -> dict[str, str]:
    try:
        raw = jws.extract_compact(f"{part}.e30.AA".encode()).headers()
    except (JoseError, ValueError) as error:
        raise BadToken(f"header: {error}") from error
    if not set(raw) <= _HEADERS or not all(isinstance(value, str) for value in raw.values()):
        raise BadToken("the header has something that it may not have")
    header = cast("dict[str, str]", raw)
    if header.get("alg") not in _KINDS:
        raise BadToken("not an algorithm of the list")
    if header.get("typ", "JWT").upper() != "JWT":
        raise BadToken("another type of token")
    return header


def _key(keys: Sequence[Mapping[str, Any]], header: Mapping[str, str]) -> RSAKey | ECKey | OKPKey:
    """The one key of the list that this header can mean."""
    alg = header["alg"]
    fitting = [one for one in keys if _fits(one, alg)]
    if "kid" in header:
        fitting = [one for one in fitting if one.get("kid") == header["kid"]]
    if len(fitting) != 1:
        raise UnknownKey(f"{len(fitting)} keys fit")
    public = {
        name: value
        for name, value in fitting[0].items()
        if name in {"kty", "n", "e", "crv", "x", "y"}
    }
    try:
        key = _READERS[_KINDS[alg]].import_key(public)
    except (JoseError, ValueError, KeyError) as error:
        raise BadToken(f"the provider's key: {error}") from error
    if isinstance(key, RSAKey) and key.raw_value.key_size < _LEAST_RSA_BITS:
        raise BadToken("the provider's key is too short")
    return key


def _fits(key: Mapping[str, Any], alg: str) -> bool:
    return (
        key.get("kty") == _KINDS[alg]
        and key.get("use", "sig") == "sig"
        and key.get("alg", alg) == alg
        and (alg not in _CURVES or key.get("crv") == _CURVES[alg])
    )


def _check(claims: Mapping[str, Any], expected: Expected) -> None:
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    nonce, subject = claims.get("nonce"), claims.get("sub")
    if claims.get("iss") != expected.issuer:
        raise BadToken("another issuer")
    if expected.client not in audiences:
        raise BadToken("made for somebody else")
    if claims.get("azp", expected.client) != expected.client or (
        len(audiences) > 1 and "azp" not in claims
    ):
        raise BadToken("another party was authorised")
    if not isinstance(nonce, str) or not hmac.compare_digest(
        nonce.encode(), expected.nonce.encode()
    ):
        raise BadToken("the answer to another log-in")
    if not isinstance(subject, str) or not 0 < len(subject) <= _LONGEST_SUBJECT:
        raise BadToken("no subject")
    if _seconds(claims, "exp") + _LEEWAY_SECONDS <= expected.now:
        raise BadToken("expired")
    if _seconds(claims, "iat") - _LEEWAY_SECONDS > expected.now:
        raise BadToken("issued in the future")
    if "nbf" in claims and _seconds(claims, "nbf") - _LEEWAY_SECONDS > expected.now:
        raise BadToken("not valid yet")


def _seconds(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadToken(f"{name} is not a time")
    return value
