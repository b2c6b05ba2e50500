"""Codes of six digits, by e-mail and to phones: who types one in can read what is sent there.

Covered: a code lasts ten minutes, works once, and is guessed at five times at most; one a minute
and five a day are sent to a person; what is kept is a keyed hash. Not covered: a phone number that
has got a new owner since, which is why a number counts for less than a document.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import Any

from sqlalchemy import Connection

from heliograph.accounts.identity import store
from heliograph.accounts.identity.parts import Parts
from heliograph.accounts.identity.providers import Texter
from heliograph.accounts.identity.values import DAY_MS, Claims, Level, State, fingerprint
from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act
from heliograph.core.ids import new_id

_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}")
_TRIES = 5
_A_DAY = 5
_BETWEEN_MS = 60_000
_WRONG = "The code is wrong, used or too old. Ask for a new one."


class Codes:
    """Verification by codes.

    Args:
        parts: what identity needs of the house.
        texter: sends to phones; None where nobody does.
    """

    def __init__(self, parts: Parts, texter: Texter | None) -> None:
        self._parts = parts
        self._texter = texter

    def send(self, person: str, level: Level, number: str = "") -> None:
        """Send a code to the person's e-mail address, or to a phone.

        Args:
            person: who asks.
            level: `email` or `phone`.
            number: of the phone, international, e.g. `+4930123456`.

        Raises:
            HeliographError: `validation`, `unsupported` without a sender, `rate_limited`.
        """
        if level not in {Level.EMAIL, Level.PHONE}:
            raise HeliographError(Code.VALIDATION, "Codes are sent for email and phone.")
        if level is Level.PHONE and self._texter is None:
            raise HeliographError(Code.UNSUPPORTED, "This server sends no messages to phones.")
        if level is Level.PHONE and not _NUMBER.fullmatch(number):
            raise HeliographError(
                Code.VALIDATION, "A phone number is + and 7 to 15 digits, e.g. +4930123456."
            )
        code = f"{secrets.randbelow(1_000_000):06d}"
        self._parts.database.write(lambda c: self._keep(c, person, level, number, code))
        if level is Level.PHONE and self._texter:
            self._texter.send(number, f"{code} is your code. It lasts ten minutes.")

    def _keep(
        self, connection: Connection, person: str, level: Level, number: str, code: str
    ) -> None:
        now, before = self._parts.clock(), store.code(connection, person, level)
        today = now // DAY_MS
        sent = before.sent if before and before.day == today else 0
        if before and (sent >= _A_DAY or now < before.sent_ms + _BETWEEN_MS):
            wait = _BETWEEN_MS if sent < _A_DAY else DAY_MS - now % DAY_MS
            raise HeliographError(
                Code.RATE_LIMITED,
                f"A code a minute is sent, and {_A_DAY} a day.",
                retry_after=wait / 1000,
            )
        to = number or self._parts.people.mail(connection, person)
        if not to:
            raise HeliographError(Code.VALIDATION, "There is no address to send a code to.")
        values: dict[str, Any] = {"person": person, "level": level, "sent_ms": now, "day": today}
        mark = fingerprint(self._parts.secret, Claims("", number)) if number else ""
        kept = {"digest": self._digest(person, level, code), "fingerprint": mark}
        store.keep_code(connection, {**values, **kept, "sent": sent + 1, "tries": 0})
        if level is Level.EMAIL:
            self._parts.tell(connection, person, "identity_code", code=code)

    def confirm(self, person: str, level: Level, code: str) -> None:
        """Type a code in; the person has reached the level then.

        Raises:
            HeliographError: `validation` if it is not the one that was sent, or no longer good.
        """
        if not self._parts.database.write(lambda c: self._confirm(c, person, level, code)):
            # Raised only now, so that the try stays counted.
            raise HeliographError(Code.VALIDATION, _WRONG)

    def _confirm(self, connection: Connection, person: str, level: Level, code: str) -> bool:
        sent, now = store.code(connection, person, level), self._parts.clock()
        if sent is None or not sent.digest or sent.tries >= _TRIES:
            return False
        store.tried(connection, person, level)
        digest = self._digest(person, level, code)
        if now >= sent.sent_ms + self._parts.terms.code or not hmac.compare_digest(
            digest, sent.digest
        ):
            return False
        store.use_code(connection, person, level)
        self.attest(connection, person, level, "code", sent.fingerprint)
        return True

    def attest(
        self, connection: Connection, person: str, level: Level, method: str, mark: str
    ) -> None:
        """Write down a level that has been proven without a review."""
        now, valid = self._parts.clock(), self._parts.terms.valid.get(level, 0)
        for one in store.checks_of(connection, person, lock=True):
            if one.state is State.VERIFIED and one.level is level:
                store.change(connection, one.id, state=State.EXPIRED, reason="renewed")
        twin = bool(mark and store.twins(connection, person, mark))
        values: dict[str, Any] = {"id": new_id("idc"), "person": person, "level": level}
        when = {"created_ms": now, "turned_ms": now, "decided_ms": now}
        said = {"provider": method, "state": State.VERIFIED, "fingerprint": mark, "claimed": True}
        until = {"until_ms": now + valid if valid else 0, "duplicate": twin}
        store.add_check(connection, {**values, **when, **said, **until})
        facts = {"level": level.value, "outcome": "verified", "provider": method}
        self._parts.say(connection, Act.IDENTITY_DECIDED, person, values["id"], **facts)
        self._parts.hook(connection, person, level, State.VERIFIED)

    def _digest(self, person: str, level: Level, code: str) -> str:
        text = f"code\x1f{person}\x1f{level}\x1f{code}"
        return hmac.new(self._parts.secret, text.encode(), hashlib.sha256).hexdigest()
