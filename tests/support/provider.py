"""A small OpenID provider on loopback: discovery, keys, a log-in page that always says yes, tokens.

It checks what a provider checks (client, secret, redirect address, code good once, PKCE), and signs
what it is told to.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey

CLIENT, SECRET = "heliograph", "a secret of the client"
Sign = Callable[[dict[str, Any]], str]


class Provider:
    """What it knows.

    Attributes:
        issuer: its address.
        person: who is logged in there: the claims about them.
        keys: its keys by algorithm.
        sign: how an ID token is made of claims.
        change: what is done to the claims before.
        codes: given out and not yet used.
        asked: how often its keys were read.
    """

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self.person: dict[str, Any] = {
            "sub": "subject-1",
            "email": "ada@example.org",
            "email_verified": True,
        }
        self.keys: dict[str, RSAKey | ECKey | OKPKey] = {
            "RS256": RSAKey.generate_key(2048, {"kid": "one"}),
            "ES256": ECKey.generate_key("P-256", {"kid": "two"}),
            "EdDSA": OKPKey.generate_key("Ed25519", {"kid": "three"}),
        }
        self.sign: Sign = self.signed
        self.change: dict[str, Any] = {}
        self.codes: dict[str, dict[str, str]] = {}
        self.asked = 0

    def signed(self, claims: dict[str, Any], alg: str = "RS256") -> str:
        """A proper token."""
        key = self.keys[alg]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # EdDSA has a newer name
            return jwt.encode({"alg": alg, "kid": key.kid}, claims, key, algorithms=[alg])

    def document(self) -> dict[str, Any]:
        """What it says of itself."""
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "response_types_supported": ["code"],
        }

    def jwks(self) -> dict[str, Any]:
        """Its public keys."""
        self.asked += 1
        return {"keys": [key.as_dict(private=False) for key in self.keys.values()]}

    def authorize(self, query: dict[str, str]) -> str:
        """Where the browser goes back to."""
        assert query["response_type"] == "code"
        assert query["client_id"] == CLIENT
        assert query["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(16)
        self.codes[code] = query
        back = {"code": code, "state": query["state"], "iss": self.issuer}
        return f"{query['redirect_uri']}?{urlencode(back)}"

    def token(self, form: dict[str, str]) -> dict[str, Any] | None:
        """Tokens for a code; None if anything does not fit."""
        query = self.codes.pop(form.get("code", ""), None)
        verifier = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(verifier).rstrip(b"=").decode()
        right = query is not None and (
            form["client_id"] == CLIENT
            and form["client_secret"] == SECRET
            and form["redirect_uri"] == query["redirect_uri"]
            and challenge == query["code_challenge"]
        )
        if not right or query is None:
            return None
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT,
            "iat": now,
            "exp": now + 300,
            "nonce": query["nonce"],
            **self.person,
            **self.change,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        return {"access_token": "x", "token_type": "Bearer", "id_token": self.sign(claims)}


@contextmanager
def provider() -> Generator[Provider]:
    """One that runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if parts.path == "/.well-known/openid-configuration":
                self._send(200, made.document())
            elif parts.path == "/keys":
                self._send(200, made.jwks())
            elif parts.path == "/authorize":
                self.send_response(302)
                self.send_header("location", made.authorize(dict(parse_qsl(parts.query))))
                self.end_headers()
            else:
                self._send(404, {})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            said = made.token({name: values[0] for name, values in parse_qs(body).items()})
            self._send(200 if said else 400, said or {"error": "invalid_grant"})

        def _send(self, status: int, body: dict[str, Any]) -> None:
            raw = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = Provider(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
