"""People and their sessions as values, and the rules on what they may be called."""

from __future__ import annotations

import hashlib
import re
import secrets
import unicodedata
from dataclasses import dataclass
from typing import Literal, Protocol

from heliograph.core.errors import Code, HeliographError

State = Literal["pending", "active", "suspended", "erased"]
Strength = Literal["password", "totp", "passkey", "oidc"]
Registration = Literal["closed", "invited", "approval", "open"]
Purpose = Literal["verify", "reset", "change", "invite"]

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
LINK_MS = 10 * MINUTE_MS
"""How long a link in a mail holds."""
IDLE_MS = 12 * HOUR_MS
ABSOLUTE_MS = 7 * DAY_MS
FRESH_MS = 10 * MINUTE_MS
"""How long after a log-in a person may change what the log-in rests on."""
DEVICE_MS = 180 * DAY_MS

_LONGEST_MAIL = 254
_LONGEST_LOCAL = 64
_LONGEST_NAME = 80
_JOINERS = {"\u200c", "\u200d"}
"""Invisible, but Persian and many Indian names are misspelt without them."""
_LOCAL = re.compile(r"[\w!#$%&'*+/=?^`{|}~-]+(\.[\w!#$%&'*+/=?^`{|}~-]+)*")
_DOMAIN = re.compile(r"[^\W_]([\w-]{0,61}[^\W_])?(\.[^\W_]([\w-]{0,61}[^\W_])?)*")
_LOCALE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}")


class Seal(Protocol):
    """Encrypts small secrets, so that a stolen database says nothing."""

    def encrypt(self, plain: bytes, about: str) -> bytes:
        """Encrypt `plain`; it opens again only with the same `about`."""
        ...

    def decrypt(self, sealed: bytes, about: str) -> bytes:
        """What was sealed; raises HeliographError if it was not, or about something else."""
        ...


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who may log in.

    Attributes:
        id: `usr_…`.
        mail: the address as it was given; empty once erased.
        name: as it is shown.
        state: `pending` until the address is verified and, where the operator wants to see
            everybody first, approved.
        approved: whether anything but the address is missing.
        operator: runs this server.
        verified_ms: when the address was proved; 0 if it was not.
        locale: language of mails and pages, e.g. `en` or `pt-BR`.
    """

    id: str
    mail: str
    name: str
    state: State
    approved: bool
    operator: bool
    verified_ms: int
    created_ms: int
    changed_ms: int
    locale: str


@dataclass(frozen=True, slots=True)
class Visit:
    """Where somebody comes from.

    Attributes:
        address: without its port.
        agent: what the program calls itself, shortened.
        device: the token that an earlier log-in left in this browser; empty if none did.
    """

    address: str = ""
    agent: str = ""
    device: str = ""


@dataclass(frozen=True, slots=True)
class Session:
    """A stretch of time in which a token stands for a person.

    Attributes:
        id: `ses_…`, which opens nothing.
        person: whose.
        signed_ms: when the person last proved who they are.
        seen_ms: when it was last used, to a minute.
        expires_ms: the end, however much it is used.
        address: where it was opened; `agent` with which program.
        strength: what the person proved themselves with.
    """

    id: str
    person: str
    created_ms: int
    signed_ms: int
    seen_ms: int
    expires_ms: int
    address: str
    agent: str
    strength: Strength


@dataclass(frozen=True, slots=True)
class Signed:
    """What a session's token stands for, as the gate wants to know it."""

    session: Session
    operator: bool

    @property
    def person(self) -> str:
        """The person's id."""
        return self.session.person


@dataclass(frozen=True, slots=True)
class Opened:
    """A session that was just opened, with what only the browser keeps.

    Attributes:
        session: the session.
        token: opens it; told this once.
        device: marks the browser as known; empty if it was.
    """

    session: Session
    token: str
    device: str = ""


@dataclass(frozen=True, slots=True)
class Half:
    """A right password that is not enough.

    Attributes:
        ticket: to be brought with the code.
        needs: what would complete it: `totp`, `recovery`, `passkey`.
    """

    ticket: str
    needs: tuple[str, ...]


def new_secret() -> str:
    """256 random bits, for a cookie or a link."""
    return secrets.token_urlsafe(32)


def digest(secret: str) -> bytes:
    """What is kept of a random secret: it has bits enough for a plain hash."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def fold(text: str) -> str:
    """The form in which two spellings of one address are the same."""
    once = unicodedata.normalize("NFKC", text).casefold()
    return unicodedata.normalize("NFKC", once)


def check_mail(text: str) -> str:
    """An address that can be written to, as it was given.

    Raises:
        HeliographError: `validation`.
    """
    # The folded form decides who is the same: it must be an address too, with one @ as well.
    for form in (text, fold(text)):
        local, _, domain = form.rpartition("@")
        fits = len(form) <= _LONGEST_MAIL and len(local) <= _LONGEST_LOCAL
        if not (fits and _LOCAL.fullmatch(local) and _DOMAIN.fullmatch(domain)):
            raise HeliographError(
                Code.VALIDATION,
                "mail is an address such as name@example.org, of at most 254 characters.",
            )
    return text


def check_name(text: str) -> str:
    """A name that can be shown in a line, as it was given.

    Raises:
        HeliographError: `validation`.
    """
    # Controls, line ends and marks that turn the writing direction make a name look like another.
    odd = any(
        unicodedata.category(one) in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
        for one in text
        if one not in _JOINERS
    )
    if odd or len(text) > _LONGEST_NAME or text != text.strip():
        raise HeliographError(
            Code.VALIDATION,
            "name is at most 80 visible characters, without line ends and outer spaces.",
        )
    return text


def check_locale(text: str) -> str:
    """A language tag such as `en` or `pt-BR`.

    Raises:
        HeliographError: `validation`.
    """
    if not _LOCALE.fullmatch(text):
        raise HeliographError(Code.VALIDATION, "locale is a language tag such as en or pt-BR.")
    return text
