"""One OpenID provider: what it says of itself, its keys, and whom it says it sent back.

Its addresses are read over TLS (plain HTTP on loopback only). Its keys are kept for an hour, and
read again, once a minute at most, for a token that was signed with a new one.
"""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar
from urllib.parse import urlencode, urlsplit

import msgspec

from heliograph.accounts.people import id_tokens
from heliograph.accounts.people.ground import Ground
from heliograph.accounts.people.values import HOUR_MS, MINUTE_MS
from heliograph.core.errors import Code, HeliographError

S = TypeVar("S", bound=msgspec.Struct)
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class Fetch(Protocol):
    """Reads an address, with whatever guard the server has for that."""

    def __call__(self, url: str, form: Mapping[str, str] | None = None) -> bytes:
        """The body of a good answer to GET, or to POST of a form.

        Raises:
            HeliographError: if it cannot be had.
        """
        ...


@dataclass(frozen=True, slots=True)
class Provider:
    """An OpenID provider as the operator set it up.

    Attributes:
        name: in addresses, e.g. `company`.
        issuer: its address; everything else of it is found from there.
        client: our id there; `secret` goes with it, empty for a public client.
        create: let in whoever the provider sends, where registration is not closed to them.
        scopes: what is asked for.
    """

    name: str
    issuer: str
    client: str
    secret: str = ""
    create: bool = False
    scopes: str = "openid email profile"


class Flow(msgspec.Struct, frozen=True):
    """What is remembered between the two halves of a log-in."""

    provider: str
    nonce: str
    verifier: str
    state: str


class _Discovery(msgspec.Struct, frozen=True):
    """What we read of a provider's own description."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str


class _Tokens(msgspec.Struct, frozen=True):
    id_token: str


class _Keys(msgspec.Struct, frozen=True):
    keys: list[dict[str, Any]]


class Door:
    """One provider: its addresses and its keys, read when they are first needed."""

    def __init__(self, provider: Provider, fetch: Fetch, ground: Ground) -> None:
        self.provider = provider
        self._fetch = fetch
        self._ground = ground
        self._lock = threading.Lock()
        self._known: _Discovery | None = None
        self._keys: list[dict[str, Any]] = []
        self._read_ms = 0

    def address(self, flow: Flow) -> str:
        """Where the browser goes."""
        known = self._discover()
        query = {
            "response_type": "code",
            "client_id": self.provider.client,
            "redirect_uri": self._back(),
            "scope": self.provider.scopes,
            "state": flow.state,
            "nonce": flow.nonce,
            "code_challenge": _challenge(flow.verifier),
            "code_challenge_method": "S256",
        }
        joint = "&" if urlsplit(known.authorization_endpoint).query else "?"
        return f"{known.authorization_endpoint}{joint}{urlencode(query)}"

    def claims(self, flow: Flow, code: str, issuer: str) -> dict[str, Any]:
        """What the provider says of whom it sent back.

        Raises:
            BadToken: if it proves nothing.
            HeliographError: `upstream_fetch_failed`.
        """
        if issuer and issuer != self.provider.issuer:
            raise id_tokens.BadToken("another issuer answered")
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._back(),
            "client_id": self.provider.client,
            "code_verifier": flow.verifier,
        }
        if self.provider.secret:
            form["client_secret"] = self.provider.secret
        said = self._read(self._discover().token_endpoint, _Tokens, form)
        now = self._ground.clock()
        expected = id_tokens.Expected(
            self.provider.issuer, self.provider.client, flow.nonce, now // 1000
        )
        try:
            return id_tokens.verify(said.id_token, self._jwks(HOUR_MS), expected)
        except id_tokens.UnknownKey:
            # Keys change: once a minute the list is read again for one that is not in it.
            return id_tokens.verify(said.id_token, self._jwks(MINUTE_MS), expected)

    def _back(self) -> str:
        return f"{self._ground.base}/api/v1/sessions/oidc/{self.provider.name}/callback"

    def _discover(self) -> _Discovery:
        with self._lock:
            if self._known is None:
                base = self.provider.issuer.rstrip("/")
                found = self._read(f"{base}/.well-known/openid-configuration", _Discovery)
                if found.issuer != self.provider.issuer:
                    raise _no_provider()
                self._known = found
            return self._known

    def _jwks(self, age_ms: int) -> list[dict[str, Any]]:
        """The provider's keys, read anew if they were read longer ago."""
        address = self._discover().jwks_uri
        with self._lock:
            now = self._ground.clock()
            if not self._keys or now - self._read_ms >= age_ms:
                self._keys = self._read(address, _Keys).keys
                self._read_ms = now
            return self._keys

    def _read(self, url: str, kind: type[S], form: Mapping[str, str] | None = None) -> S:
        parts = urlsplit(url)
        if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
            raise _no_provider()
        try:
            return msgspec.json.decode(self._fetch(url, form), type=kind)
        except msgspec.MsgspecError as error:
            raise _no_provider() from error


def _challenge(verifier: str) -> str:
    hashed = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(hashed).rstrip(b"=").decode()


def _no_provider() -> HeliographError:
    return HeliographError(Code.UPSTREAM_FETCH_FAILED, "The provider gave no proper answer.")
