"""Passkeys (WebAuthn): adding them, and logging in with one and nothing else.

    begin ──► a challenge, good once, for five minutes ──► the authenticator signs it ──► finish

Covered: origin, relying party, challenge, user verification and signature by `webauthn`; a
challenge good for one answer, right or wrong; a count that does not go up (two of the key) refused
and told to the person and the audit log. Not covered: attestation; any maker's authenticator is
taken.
"""

from __future__ import annotations

import base64
import functools
import json
import logging
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from sqlalchemy import Connection, Row

from heliograph.accounts.people import store, store_factors, store_sessions, throttle
from heliograph.accounts.people.ground import Ground
from heliograph.accounts.people.sessions import Sessions
from heliograph.accounts.people.totp import Confirmed, drop_idle_recovery, first_recovery
from heliograph.accounts.people.values import (
    MINUTE_MS,
    Opened,
    Person,
    Visit,
    check_name,
    digest,
    new_secret,
)
from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act
from heliograph.core.ids import new_id

log = logging.getLogger("heliograph.accounts")
_CHALLENGE_MS = 5 * MINUTE_MS
_MOST = 20
_ADDING = "passkey-add"
_USING = "passkey-use"


@functools.cache
def _library() -> Any:
    """`webauthn`, once somebody needs it: it takes a tenth of a second to import."""
    import webauthn

    return webauthn


class Begun(NamedTuple):
    """A ceremony that waits for the authenticator.

    Attributes:
        ceremony: to be brought with its answer.
        options: for `navigator.credentials.create` or `.get`, in WebAuthn's own JSON.
    """

    ceremony: str
    options: dict[str, Any]


class Passkey(NamedTuple):
    """A passkey as its person sees it."""

    id: str
    name: str
    created_ms: int
    used_ms: int


class Passkeys:
    """The two ceremonies, and the list."""

    def __init__(self, ground: Ground, sessions: Sessions) -> None:
        self._ground = ground
        self._sessions = sessions
        parts = urlsplit(ground.base)
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._party = parts.hostname or "localhost"

    def begin_adding(self, token: str, person: Person) -> Begun:
        """What the authenticator needs to make a passkey.

        Raises:
            HeliographError: those of `Sessions.fresh`; `conflict` if there are too many.
        """
        signed = self._sessions.fresh(token)
        with self._ground.database.read() as connection:
            there = store_factors.passkeys(connection, signed.person)
        if len(there) >= _MOST:
            raise HeliographError(Code.CONFLICT, f"You have {_MOST} passkeys; remove one first.")
        webauthn = _library()
        structs = webauthn.helpers.structs
        options = webauthn.generate_registration_options(
            rp_id=self._party,
            rp_name="Heliograph",
            user_id=person.id.encode(),
            user_name=person.mail,
            user_display_name=person.name or person.mail,
            exclude_credentials=[
                structs.PublicKeyCredentialDescriptor(id=row.credential) for row in there
            ],
            authenticator_selection=structs.AuthenticatorSelectionCriteria(
                resident_key=structs.ResidentKeyRequirement.REQUIRED,
                user_verification=structs.UserVerificationRequirement.REQUIRED,
            ),
        )
        shown = json.loads(webauthn.options_to_json(options))
        return self._begin(_ADDING, signed.person, options.challenge, shown)

    def add(self, token: str, ceremony: str, name: str, credential: Mapping[str, Any]) -> Confirmed:
        """Keep the passkey that the authenticator made.

        Raises:
            HeliographError: those of `Sessions.fresh`; `unauthenticated` if it does not answer the
                challenge; `validation` for a bad name; `conflict` if it is known.
        """
        signed = self._sessions.fresh(token)
        check_name(name)
        challenge, whose = self._challenge(_ADDING, ceremony)
        try:
            made = _library().verify_registration_response(
                credential=dict(credential),
                expected_challenge=challenge,
                expected_rp_id=self._party,
                expected_origin=self._origin,
                require_user_verification=True,
            )
        except Exception as error:  # the library has a dozen kinds, and its parsers more
            raise self._refuse(whose, "passkey", error) from error
        if whose != signed.person:
            raise self._refuse(signed.person, "passkey", None)
        now = self._ground.clock()

        def work(connection: Connection) -> Confirmed:
            # Another person's passkey under this id stays theirs.
            if store_factors.passkey(connection, made.credential_id):
                raise HeliographError(Code.CONFLICT, "This passkey is known already.")
            store_factors.add_passkey(
                connection,
                id=new_id("pk"),
                person=signed.person,
                credential=made.credential_id,
                public_key=made.credential_public_key,
                sign_count=made.sign_count,
                name=name,
                created_ms=now,
                used_ms=0,
            )
            self._ground.tell(connection, Act.FACTOR_ADDED, signed.person, kind="passkey")
            opened = self._sessions.rotate(connection, signed)
            return Confirmed(opened, first_recovery(connection, signed.person))

        return self._ground.database.write(work)

    def begin_using(self, visit: Visit) -> Begun:
        """What the authenticator needs to log somebody in; the same for everybody.

        Raises:
            HeliographError: `rate_limited`.
        """
        webauthn = _library()
        required = webauthn.helpers.structs.UserVerificationRequirement.REQUIRED
        options = webauthn.generate_authentication_options(
            rp_id=self._party, user_verification=required
        )
        counted = (throttle.Counted(throttle.ASKING, throttle.network(visit.address)),)

        def work(connection: Connection) -> HeliographError | None:
            wait = throttle.enter(connection, counted, self._ground.clock())
            return throttle.refusal(wait) if wait else None

        self._ground.write(work)
        shown = json.loads(webauthn.options_to_json(options))
        return self._begin(_USING, "", options.challenge, shown)

    def use(self, ceremony: str, credential: Mapping[str, Any], visit: Visit) -> Opened:
        """Log in with a passkey.

        Raises:
            HeliographError: `unauthenticated`; `suspended`.
        """
        counted = (throttle.Counted(throttle.ADDRESS, throttle.network(visit.address)),)
        challenge, _ = self._challenge(_USING, ceremony, counted)
        row = self._find(credential)
        try:
            if row is None:
                raise LookupError("no such passkey")  # noqa: TRY301 - answered as all others
            _check_handle(credential, row.person)
            answer = _library().verify_authentication_response(
                credential=dict(credential),
                expected_challenge=challenge,
                expected_rp_id=self._party,
                expected_origin=self._origin,
                credential_public_key=row.public_key,
                # Looked at below: not before the signature shows that it is the authenticator's.
                credential_current_sign_count=0,
                require_user_verification=True,
            )
        except Exception as error:
            raise self._refuse(row.person if row else "", "passkey", error) from error

        def work(connection: Connection) -> Opened | HeliographError:
            throttle.forgive(connection, counted)
            return self._enter(connection, row, answer.new_sign_count, visit)

        return self._ground.write(work)

    def listed(self, person: str) -> list[Passkey]:
        """A person's passkeys, oldest first."""
        with self._ground.database.read() as connection:
            rows = store_factors.passkeys(connection, person)
        return [Passkey(row.id, row.name, row.created_ms, row.used_ms) for row in rows]

    def remove(self, token: str, person: Person, passkey: str) -> Opened:
        """Remove a passkey.

        Raises:
            HeliographError: those of `Sessions.fresh`; `not_found`.
        """
        signed = self._sessions.fresh(token)

        def work(connection: Connection) -> Opened:
            if not store_factors.drop_passkey(connection, passkey, signed.person):
                raise HeliographError(Code.NOT_FOUND, "You have no passkey with this id.")
            drop_idle_recovery(connection, signed.person)
            self._ground.tell(connection, Act.FACTOR_REMOVED, signed.person, kind="passkey")
            self._ground.warn(connection, person, "a passkey was removed")
            return self._sessions.rotate(connection, signed)

        return self._ground.database.write(work)

    def _enter(
        self, connection: Connection, row: Row[Any], count: int, visit: Visit
    ) -> Opened | HeliographError:
        """The signature is right: is the count, and may the person?"""
        person = store.find(connection, row.person, lock=True)
        assert person is not None
        if not store_factors.use_passkey(connection, row.id, count, self._ground.clock()):
            self._ground.tell(connection, Act.SESSION_REFUSED, person.id, reason="sign_count")
            self._ground.warn(connection, person, "a passkey was refused: there are two of it")
            return _wrong()
        if person.state != "active":
            self._ground.tell(connection, Act.SESSION_REFUSED, person.id, reason=person.state)
            return HeliographError(Code.SUSPENDED, "This account may not log in now.")
        return self._sessions.open(connection, person, "passkey", visit)

    def _begin(self, kind: str, person: str, challenge: bytes, options: dict[str, Any]) -> Begun:
        ceremony = new_secret()
        until = self._ground.clock() + _CHALLENGE_MS
        data = base64.b64encode(challenge).decode()
        self._ground.database.write(
            lambda c: store_sessions.begin(c, digest(ceremony), kind, person, data, until)
        )
        return Begun(ceremony, options)

    def _challenge(
        self, kind: str, ceremony: str, counted: tuple[throttle.Counted, ...] = ()
    ) -> tuple[bytes, str]:
        """The challenge of a ceremony and whose it is; it is spent by asking."""
        hashed = digest(ceremony)

        def work(connection: Connection) -> tuple[bytes, str] | HeliographError:
            now = self._ground.clock()
            wait = throttle.enter(connection, counted, now) if counted else 0
            if wait:
                return throttle.refusal(wait)
            row = store_sessions.ceremony(connection, hashed, kind, now)
            if row is None or not store_sessions.end(connection, hashed):
                self._ground.tell(
                    connection, Act.SESSION_REFUSED, "", actor="anyone", reason="challenge"
                )
                return HeliographError(
                    Code.UNAUTHENTICATED, "This challenge was answered or has run out. Begin again."
                )
            return base64.b64decode(row.data), row.person

        return self._ground.write(work)

    def _find(self, credential: Mapping[str, Any]) -> Row[Any] | None:
        raw = _bytes(credential.get("rawId"))
        with self._ground.database.read() as connection:
            return store_factors.passkey(connection, raw)

    def _refuse(self, person: str, reason: str, error: Exception | None) -> HeliographError:
        log.info("a passkey was refused: %s", error)
        self._ground.database.write(
            lambda c: self._ground.tell(
                c, Act.SESSION_REFUSED, person, actor=person or "anyone", reason=reason
            )
        )
        return _wrong()


def _check_handle(credential: Mapping[str, Any], person: str) -> None:
    """The authenticator's own note of whose passkey it is, if it has one, must agree with ours."""
    response = credential.get("response")
    handle = response.get("userHandle") if isinstance(response, dict) else None
    if handle and _bytes(handle) != person.encode():
        raise LookupError("another person's handle")


def _bytes(said: object) -> bytes:
    """Base64url without padding; nothing if it is not that."""
    try:
        return _library().base64url_to_bytes(said) if isinstance(said, str) else b""
    except ValueError:
        return b""


def _wrong() -> HeliographError:
    return HeliographError(Code.UNAUTHENTICATED, "This passkey does not open anything here.")
