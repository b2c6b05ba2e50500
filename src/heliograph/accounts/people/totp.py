"""Codes of six digits from a person's own device (TOTP, RFC 6238), and the codes for its loss.

Covered: a secret that is sealed in the database; one step of clock error either way; every step
spent once, so that a code that was seen is worth nothing; recovery codes of 80 bits, each once.
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import NamedTuple

from pyotp import random_base32
from pyotp.totp import TOTP
from sqlalchemy import Connection

from heliograph.accounts.people import store_factors, throttle
from heliograph.accounts.people.ground import Ground
from heliograph.accounts.people.sessions import Sessions
from heliograph.accounts.people.values import Opened, Person, Seal, digest
from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act

STEP_SECONDS = 30
_CODE = re.compile(r"[0-9]{6}")
_CODES = 10
_NAME = "Heliograph"


class Key(NamedTuple):
    """A person's secret as it is kept, and as codes are made of it; empty if there is none."""

    sealed: bytes
    plain: str


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What the person's device needs, told once.

    Attributes:
        secret: in base32, for typing.
        uri: `otpauth://…`, for a QR code.
    """

    secret: str
    uri: str


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A factor that counts from now on.

    Attributes:
        opened: the session with its new token.
        recovery: codes for the day when the device is lost; empty if there are some already.
    """

    opened: Opened
    recovery: tuple[str, ...]


class Totp:
    """Enrolling, confirming, using and removing."""

    def __init__(self, ground: Ground, sessions: Sessions, seal: Seal) -> None:
        self._ground = ground
        self._sessions = sessions
        self._seal = seal

    def enrol(self, token: str, mail: str) -> Enrolment:
        """Begin: the secret counts when a first code has confirmed it.

        Raises:
            HeliographError: those of `Sessions.fresh`; `conflict` if there is one already.
        """
        signed = self._sessions.fresh(token)
        secret = random_base32()
        sealed = self._seal.encrypt(secret.encode(), _about(signed.person))

        def work(connection: Connection) -> None:
            if not store_factors.put_totp(connection, signed.person, sealed):
                raise HeliographError(
                    Code.CONFLICT, "There is a code generator already; remove that one first."
                )

        self._ground.database.write(work)
        uri = TOTP(secret).provisioning_uri(name=mail, issuer_name=_NAME)
        return Enrolment(secret, uri)

    def confirm(self, token: str, code: str) -> Confirmed:
        """Make it count.

        Raises:
            HeliographError: those of `Sessions.fresh`; `validation` for a wrong code;
                `conflict` if nothing waits to be confirmed; `rate_limited`.
        """
        signed = self._sessions.fresh(token)
        key = self.key(signed.person)

        def work(connection: Connection) -> Confirmed | HeliographError:
            now = self._ground.clock()
            counted = throttle.at_factor(signed.person, None)
            wait = throttle.enter(connection, counted, now)
            if wait:
                return throttle.refusal(wait)
            row = store_factors.totp(connection, signed.person)
            if row is None or row.confirmed_ms:
                return HeliographError(Code.CONFLICT, "There is no code generator to confirm.")
            if not self._spend(connection, signed.person, key, code):
                return HeliographError(
                    Code.VALIDATION, "This is not the code. Is the clock of your device right?"
                )
            throttle.forgive(connection, counted)
            store_factors.confirm_totp(connection, signed.person, now)
            self._ground.tell(connection, Act.FACTOR_ADDED, signed.person, kind="totp")
            opened = self._sessions.rotate(connection, signed)
            return Confirmed(opened, first_recovery(connection, signed.person))

        return self._ground.write(work)

    def remove(self, token: str, person: Person) -> Opened:
        """Remove it.

        Raises:
            HeliographError: those of `Sessions.fresh`; `not_found`.
        """
        signed = self._sessions.fresh(token)

        def work(connection: Connection) -> Opened:
            if not store_factors.drop_totp(connection, signed.person):
                raise HeliographError(Code.NOT_FOUND, "You have no code generator.")
            drop_idle_recovery(connection, signed.person)
            self._ground.tell(connection, Act.FACTOR_REMOVED, signed.person, kind="totp")
            self._ground.warn(connection, person, "the code generator was removed")
            return self._sessions.rotate(connection, signed)

        return self._ground.database.write(work)

    def renew_recovery(self, token: str) -> Confirmed:
        """Make new recovery codes; the old ones are worth nothing then.

        Raises:
            HeliographError: those of `Sessions.fresh`; `conflict` without a factor.
        """
        signed = self._sessions.fresh(token)

        def work(connection: Connection) -> Confirmed:
            if not _has_factor(connection, signed.person):
                raise HeliographError(
                    Code.CONFLICT, "Recovery codes replace a code generator or passkey; add one."
                )
            codes = _new_recovery(connection, signed.person)
            self._ground.tell(connection, Act.FACTOR_ADDED, signed.person, kind="recovery")
            return Confirmed(self._sessions.rotate(connection, signed), codes)

        return self._ground.database.write(work)

    def key(self, person: str) -> Key:
        """A person's secret, unsealed: before the transaction, which must not wait for that."""
        with self._ground.database.read() as connection:
            row = store_factors.totp(connection, person)
        if row is None:
            return Key(b"", "")
        return Key(row.secret, self._seal.decrypt(row.secret, _about(person)).decode())

    def accept(self, connection: Connection, person: Person, key: Key, code: str) -> bool:
        """Spend a code of either kind; False if it is wrong or spent."""
        if _CODE.fullmatch(code):
            row = store_factors.totp(connection, person.id)
            confirmed = row is not None and row.confirmed_ms > 0
            return confirmed and self._spend(connection, person.id, key, code)
        used = store_factors.use_recovery(connection, person.id, digest(_plain(code)))
        if used:
            left = store_factors.recovery_left(connection, person.id)
            what = f"a recovery code was used, {left} are left"
            self._ground.warn(connection, person, what)
        return used

    def _spend(self, connection: Connection, person: str, key: Key, code: str) -> bool:
        step = matching_step(key.plain, code, self._ground.clock()) if key.plain else 0
        return step > 0 and store_factors.use_step(connection, person, key.sealed, step)


def matching_step(secret: str, code: str, now: int) -> int:
    """Which time step, of the present one and its neighbours, a code belongs to; 0 for none."""
    present = now // (1000 * STEP_SECONDS)
    made = TOTP(secret)
    found = 0
    for step in (present - 1, present, present + 1):
        if hmac.compare_digest(made.generate_otp(step), code):
            found = step
    return found


def first_recovery(connection: Connection, person: str) -> tuple[str, ...]:
    """Recovery codes, unless there are some."""
    if store_factors.recovery_left(connection, person):
        return ()
    return _new_recovery(connection, person)


def drop_idle_recovery(connection: Connection, person: str) -> None:
    """Without a factor, there is nothing for a recovery code to replace."""
    if not _has_factor(connection, person):
        store_factors.set_recovery(connection, person, ())


def _has_factor(connection: Connection, person: str) -> bool:
    row = store_factors.totp(connection, person)
    return bool(row and row.confirmed_ms) or bool(store_factors.passkeys(connection, person))


def _new_recovery(connection: Connection, person: str) -> tuple[str, ...]:
    codes = [base64.b32encode(secrets.token_bytes(10)).decode().lower() for _ in range(_CODES)]
    store_factors.set_recovery(connection, person, [digest(code) for code in codes])
    return tuple("-".join(code[at : at + 4] for at in range(0, 16, 4)) for code in codes)


def _plain(code: str) -> str:
    return code.replace("-", "").replace(" ", "").lower()


def _about(person: str) -> str:
    return f"totp:{person}"
