"""What an event may say, and what it must never hold: the last look before it is for ever.

Covered: acts outside the closed list, fields of the wrong form, floats, long texts, and whatever
looks like a key, a token, a password's hash, an e-mail address or a picture. Not covered: a secret
that looks like an ordinary word. An event that does not pass is a bug of ours; the act that wanted
to be recorded fails with it, since what is once in the chain cannot be taken out.
"""

from __future__ import annotations

import re

from heliograph.core.events import Act, Event

_ACT = re.compile(r"[a-z]+(_[a-z]+)*(:[a-z]+(_[a-z]+)*){1,2}")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/@*+-]*")
_ACTS = frozenset(Act)
_FACT = re.compile(r"[a-z]+(_[a-z]+)*")
_TEXT = re.compile(r"[\x20-\x7e]*")
_LARGEST = 2**53 - 1
"""Of a number in JSON (RFC 8785 takes no other)."""
LONGEST = 120
"""Characters of one text."""
MOST_FACTS = 16
_ID_WITHIN = re.compile(r".\b(usr_|ws_)[0-9a-f]{32}|\b(usr_|ws_)[0-9a-f]{32}.")
_SECRET_NAMES = {"authorization", "cookie", "email", "otp", "password", "secret", "token"}

_CANARIES: dict[str, re.Pattern[str]] = {
    "a key of ours": re.compile(r"hg_[A-Za-z0-9]", re.IGNORECASE),
    "a bearer token": re.compile(r"\b(bearer|basic)\s+\S", re.IGNORECASE),
    "a signed token": re.compile(r"\beyJ[A-Za-z0-9_-]{5,}"),
    "a password's hash": re.compile(r"\$(argon2|2[aby]|scrypt|pbkdf2)", re.IGNORECASE),
    "a private key": re.compile(r"-----BEGIN|PRIVATE\+KEY\+", re.IGNORECASE),
    "a one-time password": re.compile(r"otpauth:|\b[A-Z2-7]{26,}\b"),
    "an e-mail address": re.compile(r"[^\s@]@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}"),
    "a password in an address": re.compile(r"://[^/\s:@]+:[^/\s@]+@"),
    "a picture": re.compile(r"data:image|iVBORw0KGgo|/9j/4|R0lGOD[dl]h|UklGR[A-Za-z0-9+/]{3}"),
}
_RUN = re.compile(r"[A-Za-z0-9+/_=-]{28,}")
_KINDS = (re.compile(r"[A-Z]"), re.compile(r"[a-z]"), re.compile(r"[0-9]"))


def check(event: Event) -> None:
    """Refuse an event that may not be written.

    Raises:
        ValueError: says what is wrong, without repeating it. It is a bug.
    """
    if event.act not in _ACTS or not _ACT.fullmatch(event.act):
        raise _bug("an act outside the closed list")
    if not event.actor:
        raise _bug("no actor")
    for name in ("actor", "workspace", "subject"):
        value = getattr(event, name)
        if not isinstance(value, str) or (value and not _WORD.fullmatch(value)):
            raise _bug(f"{name} that is no id or word")
        _check_text(name, value)
    if len(event.facts) > MOST_FACTS:
        raise _bug(f"more than {MOST_FACTS} facts")
    for name, value in event.facts.items():
        _check_fact(name, value)


def _check_fact(name: str, value: object) -> None:
    if not _FACT.fullmatch(name) or len(name) > 40:
        raise _bug("a fact whose name is not of small letters and _")
    if name in _SECRET_NAMES:
        raise _bug(f"a fact called {name}")
    if isinstance(value, bool):
        return
    if isinstance(value, int):
        if abs(value) > _LARGEST:
            raise _bug(f"{name} beyond 2^53")
        return
    if not isinstance(value, str):
        raise _bug(f"{name} that is no text, whole number, true or false")
    _check_text(name, value)


def _check_text(name: str, value: str) -> None:
    if len(value) > LONGEST or not _TEXT.fullmatch(value):
        raise _bug(f"{name} longer than {LONGEST} characters, or of others than printable ASCII")
    if _ID_WITHIN.search(value):
        # Only what is an id as a whole gets a pseudonym.
        raise _bug(f"{name} that holds a person's or workspace's id among other words")
    secret = canary(value)
    if secret:
        raise _bug(f"{name} that looks like {secret}")


def canary(text: str) -> str:
    """What secret a text looks like; empty for none."""
    for what, pattern in _CANARIES.items():
        if pattern.search(text):
            return what
    for run in _RUN.findall(text):
        # Ids and digests are of small hexadecimal digits; what mixes letters of both sizes with
        # digits for so long was made by a random generator or out of bytes.
        if all(kind.search(run) for kind in _KINDS):
            return "random bytes or a file in base64"
    return ""


def _bug(what: str) -> ValueError:
    return ValueError(f"An audit event with {what} may not be written. This is a bug.")
