"""Asking a certificate authority for a certificate, by ACME (RFC 8555) with `http-01`.

Loaded only where `tls.acme` is set. Covered: every address is https and looked at by a guard, no
redirect, no proxy of the environment; nonces that are refused are fetched anew. Not covered:
directories that want an external account, wildcard names (those need DNS).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, cast

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from heliograph.edge.tls.challenges import Challenges
from heliograph.edge.tls.files import write_secret
from heliograph.edge.tls.values import is_address

try:
    import requests
    from acme import challenges, client, crypto_util, errors, messages
    from josepy.errors import DeserializationError
    from josepy.jwa import ES256
    from josepy.jwk import JWK, JWKEC
except ImportError as error:  # pragma: no cover - the extra is installed where tests run
    raise ImportError("tls.acme needs the extra: pip install heliograph[acme]") from error

_AGENT = "heliograph"
_NONCES = 12
_SECONDS = 20
_PATIENCE = timedelta(seconds=90)
Allowed = Callable[[str], None]
"""Raises what it likes for an address that may not be asked."""


class AcmeError(Exception):
    """The directory gave no certificate; the message says why, for the log."""


@dataclass(frozen=True, slots=True)
class Directory:
    """Whom to ask, and how.

    Attributes:
        url: of the directory; https.
        mail: where the authority may write to; empty for nowhere.
        ca: certificates that the directory's own is checked against; None for the usual ones.
    """

    url: str
    mail: str = ""
    ca: Path | None = None


class _Network(client.ClientNetwork):
    """The library's network with a guard before each request and more patience with nonces."""

    def __init__(self, key: JWK, directory: Directory, allowed: Allowed) -> None:
        super().__init__(key, alg=ES256, user_agent=_AGENT, timeout=_SECONDS)
        self.session.trust_env = False
        self.verify_ssl = str(directory.ca) if directory.ca else True  # type: ignore[assignment]
        self._allowed = allowed

    def _send_request(self, method: str, url: str, *args: Any, **kwargs: Any) -> requests.Response:
        if not url.startswith("https://"):
            raise AcmeError("the directory names an address that is not https")
        self._allowed(url)
        return super()._send_request(method, url, *args, allow_redirects=False, **kwargs)

    def post(self, *args: Any, **kwargs: Any) -> requests.Response:
        """Post; a nonce that is refused is no error of anybody's (RFC 8555, 6.5)."""
        for left in reversed(range(_NONCES)):
            try:
                return self._post_once(*args, **kwargs)
            except messages.Error as error:
                if error.code != "badNonce" or not left:
                    raise
        raise AssertionError("This is a bug: the loop above returns or raises.")


class Authority:
    """One account with one directory.

    Args:
        directory: whom to ask.
        folder: where the account lies.
        challenges: where answers are laid for the authority to see.
        allowed: looks at each address before it is asked.
    """

    def __init__(
        self, directory: Directory, folder: Path, answers: Challenges, allowed: Allowed
    ) -> None:
        self._directory = directory
        self._account = folder / "account.json"
        self._answers = answers
        self._allowed = allowed

    def issue(self, names: Sequence[str]) -> bytes:
        """A fresh key and a certificate for these names, in one PEM file.

        Raises:
            AcmeError: there will be none now.
        """
        try:
            asked, key = self._open()
            return self._order(asked, key, names)
        except (errors.Error, messages.Error, requests.RequestException, ValueError) as error:
            raise AcmeError(_reason(error)) from error

    def renewal(self, chain: bytes) -> tuple[int | None, int]:
        """When the authority wants a certificate renewed (ARI), and when to ask again; both in ms.

        The first is None where it says nothing of that.

        Raises:
            AcmeError: it does not answer.
        """
        try:
            asked, _ = self._open()
            when, again = asked.renewal_time(chain)
        except (errors.Error, messages.Error, requests.RequestException, ValueError) as error:
            raise AcmeError(_reason(error)) from error
        return (None if when is None else _ms(when)), _ms(again)

    def _order(self, asked: client.ClientV2, key: JWK, names: Sequence[str]) -> bytes:
        private = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
        request = crypto_util.make_csr(
            private,
            domains=[one for one in names if not is_address(one)],
            ipaddrs=[ip_address(one) for one in names if is_address(one)],
        )
        order: Any = asked.new_order(request)
        laid: list[str] = []
        try:
            for one in order.authorizations:
                if one.body.status != messages.STATUS_VALID:
                    laid += [self._answer(asked, key, one)]
            deadline = datetime.now() + _PATIENCE  # noqa: DTZ005 - as the library wants it
            order = asked.poll_and_finalize(order, deadline)
        finally:
            for token in laid:
                self._answers.take_away(token)
        return private + order.fullchain_pem.encode()

    def _answer(self, asked: client.ClientV2, key: JWK, one: messages.AuthorizationResource) -> str:
        offered: Any = one.body.challenges
        for challenge in offered:
            if isinstance(challenge.chall, challenges.HTTP01):
                token = challenge.chall.encode("token")
                response, said = challenge.response_and_validation(key)
                self._answers.lay(token, said)
                asked.answer_challenge(challenge, response)
                return token
        raise AcmeError(f"no http-01 is offered for {one.body.identifier.value}")

    def _open(self) -> tuple[client.ClientV2, JWK]:
        """The directory, with our account."""
        kept = self._read_account()
        key = kept[0] if kept else JWKEC(key=ec.generate_private_key(ec.SECP256R1()))
        network = _Network(key, self._directory, self._allowed)
        directory = client.ClientV2.get_directory(self._directory.url, network)
        asked = client.ClientV2(directory, network)
        if kept and self._known(asked, kept[1]):
            return asked, key
        if asked.external_account_required():
            raise AcmeError("the directory wants an external account, which is not supported")
        wanted = messages.NewRegistration.from_data(
            email=self._directory.mail or None, terms_of_service_agreed=True
        )
        try:
            account = asked.new_account(wanted)
        except errors.ConflictError as error:  # the key has an account, we have lost its address
            account = messages.RegistrationResource(body=wanted, uri=error.location)
            network.account = account
        self._write_account(key, account.uri)
        return asked, key

    def _known(self, asked: client.ClientV2, uri: str) -> bool:
        """Whether the directory still knows the account; if not, a new one is made."""
        account = messages.RegistrationResource(body=messages.Registration(), uri=uri)
        try:
            asked.query_registration(account)
        except messages.Error as error:
            if error.code != "accountDoesNotExist":
                raise
            asked.net.account = None
            return False
        return True

    def _read_account(self) -> tuple[JWK, str] | None:
        try:
            held = json.loads(self._account.read_bytes())
            if held["directory"] != self._directory.url:
                return None
            return cast("JWK", JWKEC.from_json(held["key"])), str(held["uri"])
        except (OSError, ValueError, KeyError, TypeError, DeserializationError):
            return None

    def _write_account(self, key: JWK, uri: str) -> None:
        held = {"directory": self._directory.url, "key": key.to_json(), "uri": uri}
        write_secret(self._account, json.dumps(held).encode())


def _reason(error: Exception) -> str:
    """In a line: whom it was, what they said."""
    if isinstance(error, errors.ValidationError):
        failed: Any = error.failed_authzrs
        said = [
            f"{one.body.identifier.value}: {challenge.error.detail}"
            for one in failed
            for challenge in one.body.challenges
            if challenge.error is not None
        ]
        return "the names were not confirmed: " + "; ".join(said)[:500]
    if isinstance(error, errors.TimeoutError):
        return "the directory was not done in time"
    return f"{type(error).__name__}: {error}"[:500]


def _ms(at: datetime) -> int:
    # The library's own times are naive and local, those of the directory are aware.
    return round((at if at.tzinfo else at.astimezone(UTC)).timestamp() * 1000)
