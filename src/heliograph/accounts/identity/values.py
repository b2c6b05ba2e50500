"""Levels, states and policies of identity; the pure rules that the service obeys.

    none ─submit─► pending ─approve─► verified ─lapse─► expired
                    ▲  │ └──reject──► rejected ─appeal─► pending
                    │  └──lapse────► expired
                    └──change── verified

One check is one row of this machine. A person has reached the highest level of which they have a
verified check that has not run out.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from heliograph.core.errors import Code, HeliographError

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
_OWNERS = frozenset({"admin", "command"})
_MOST_TEXT = 2000


class Level(StrEnum):
    """How well a person is known; each one is worth more than those before it."""

    OFF = "off"
    EMAIL = "email"
    PHONE = "phone"
    REAL_NAME = "real_name"

    @property
    def rank(self) -> int:
        """0 for `off` up to 3 for `real_name`."""
        return list(Level).index(self)


class State(StrEnum):
    """Where a check stands; `none` is that of a person who has made none."""

    NONE = "none"
    PENDING = "pending"
    VERIFIED = "verified"
    REJECTED = "rejected"
    EXPIRED = "expired"


Move = Literal["submit", "approve", "reject", "lapse", "change", "appeal"]
_MOVES: dict[tuple[State, Move], State] = {
    (State.NONE, "submit"): State.PENDING,
    (State.PENDING, "approve"): State.VERIFIED,
    (State.PENDING, "reject"): State.REJECTED,
    (State.PENDING, "lapse"): State.EXPIRED,
    (State.VERIFIED, "lapse"): State.EXPIRED,
    (State.VERIFIED, "change"): State.PENDING,
    (State.REJECTED, "appeal"): State.PENDING,
}


def after(state: State, move: Move) -> State:
    """The state that a move leads to.

    Raises:
        HeliographError: `conflict` if there is no such move from there.
    """
    if (state, move) not in _MOVES:
        raise HeliographError(
            Code.CONFLICT, f"The check is {state}; {move!r} is not possible from there."
        )
    return _MOVES[state, move]


class Feature(StrEnum):
    """The closed list of what a policy may ask an identity for (added to, never renamed)."""

    CALL_MODELS = "call_models"
    CREATE_KEYS = "create_keys"
    PUBLIC_SHARING = "public_sharing"
    PUBLISH_MODELS = "publish_models"
    RAISE_QUOTA = "raise_quota"


@dataclass(frozen=True, slots=True)
class Policy:
    """Which level an installation asks for; asks for nothing where it says nothing.

    Attributes:
        features: the level that a feature needs.
        roles: the level that a role needs for every feature, by its name.
        quotas: by meter (`calls`, `images`, …), pairs of an amount and the level needed above it.
    """

    features: Mapping[Feature, Level] = field(default_factory=dict[Feature, Level])
    roles: Mapping[str, Level] = field(default_factory=dict[str, Level])
    quotas: Mapping[str, tuple[tuple[int, Level], ...]] = field(
        default_factory=dict[str, tuple[tuple[int, Level], ...]]
    )

    def required(self, feature: Feature, role: str = "") -> Level:
        """The level that `feature` needs from somebody with `role`."""
        asked = (self.features.get(feature, Level.OFF), self.roles.get(role, Level.OFF))
        return max(asked, key=lambda level: level.rank)

    def required_for(self, meter: str, most: int) -> Level:
        """The level that a quota of `most` units of `meter` needs."""
        above = [level for bound, level in self.quotas.get(meter, ()) if most > bound]
        return max(above, key=lambda level: level.rank, default=Level.OFF)


@dataclass(frozen=True, slots=True)
class Terms:
    """How long things last, in milliseconds.

    Attributes:
        dispute: document pictures are kept so long after a decision, for an appeal.
        review: a reviewer who has taken a check has so long for it.
        pending: a check that nobody decides runs out after this.
        valid: how long a verified check lasts, by level; for ever where none is given.
        code: how long a code that was sent may be typed in.
    """

    dispute: int = 30 * DAY_MS
    review: int = 2 * HOUR_MS
    pending: int = 60 * DAY_MS
    valid: Mapping[Level, int] = field(default_factory=lambda: {Level.REAL_NAME: 730 * DAY_MS})
    code: int = 600_000


@dataclass(frozen=True, slots=True)
class Claims:
    """Who a person says they are. Never written to the database or a log, only to the vault.

    Attributes:
        name: as in the document.
        number: of the document; for the level `phone` the number of the phone.
    """

    name: str
    number: str


@dataclass(frozen=True, slots=True)
class Check:
    """One examination of one person for one level.

    Attributes:
        id: `idc_…`; `person` the applicant.
        provider: who examines.
        turn: counts up whenever it has to be examined afresh (a change of name, an appeal).
        reviewer: who has taken it; `taken_ms` when; empty and 0 if nobody has.
        duplicate: somebody else has the same name and number.
        verdict: what an external provider said: `passed`, `failed` or empty.
        appealed: this turn is an appeal.
        claimed: the person has said in this turn who they are.
        reason: of the last decision, for the applicant.
        until_ms: when it runs out; 0 for never.
    """

    id: str
    person: str
    level: Level
    provider: str
    state: State
    turn: int
    created_ms: int
    reviewer: str
    taken_ms: int
    duplicate: bool
    verdict: str
    appealed: bool
    claimed: bool
    reason: str
    decided_ms: int
    until_ms: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """Something that a person showed: a picture of a document, or their claims.

    Attributes:
        id: `idev_…`; `check` and `turn` what it was shown for.
        kind: `picture` or `claims`.
        ref: where it lies in the vault.
        gone_ms: when it was destroyed; 0 while it is there.
    """

    id: str
    check: str
    turn: int
    kind: str
    ref: str
    created_ms: int
    gone_ms: int


@dataclass(frozen=True, slots=True)
class Standing:
    """How well a person is known now.

    Attributes:
        level: the highest that they have reached.
        state: that of their latest check; `none` without one.
        checks: the latest first.
    """

    level: Level
    state: State
    checks: tuple[Check, ...]


def same(one: str, other: str) -> bool:
    """Whether two actors may be one human: whoever has the machine has the administrator key."""
    return one == other or {one, other} <= _OWNERS


def fingerprint(secret: bytes, claims: Claims) -> str:
    """What two checks of one human have in common; says nothing without the secret.

    Case, width, accents' encoding, punctuation and the order of the names make no difference.
    """
    words = sorted(_words(claims.name))
    text = "\x1f".join([*words, "".join(_words(claims.number))])
    return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()


def _words(text: str) -> list[str]:
    plain = unicodedata.normalize("NFKC", text).casefold()
    return re.findall(r"[^\W_]+", plain)


def checked_text(text: str, what: str, most: int = _MOST_TEXT) -> str:
    """Text that people wrote, fit to be kept: data, never markup.

    Raises:
        HeliographError: `validation` if it is empty, too long or holds control characters.
    """
    plain = unicodedata.normalize("NFC", text.replace("\r\n", "\n")).strip()
    if not plain or len(plain) > most:
        raise HeliographError(Code.VALIDATION, f"{what} is 1 to {most} characters.")
    if any(unicodedata.category(sign) in {"Cc", "Cs"} and sign not in "\n\t" for sign in plain):
        raise HeliographError(Code.VALIDATION, f"{what} may not hold control characters.")
    return plain
