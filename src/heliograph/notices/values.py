"""Notices as values: what waits in the outbox, whom it is for, and when it is tried again.

    feature ──Notify──► outbox ──deliverer──► carrier ──► Mailer   a person's mailbox
     (its transaction)                                └─► Post     a workspace's webhook

At least once: what was sent and not yet written down as sent is sent again, under the same id.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import urlsplit

from heliograph.core.errors import Code, HeliographError

KINDS: Final = {
    "budget.reached": "A budget of the workspace has reached one of its thresholds.",
    "export.ready": "An export of data can be fetched.",
    "identity.decided": "The check of somebody's identity has been decided.",
    "invoice.drafted": "A month's invoice exists as a draft; it can still change.",
    "invoice.finalised": "An invoice is final, has its number and never changes again.",
    "key.exposed": "An API key was seen where others can read it; replace it.",
    "member.joined": "A person has joined the workspace.",
    "model.promoted": "Another version of a model has become the stable one.",
    "model.rolled_back": "A model has gone back to the version before.",
    "note.issued": "A credit note or a debit note corrects a final invoice.",
    "suspension.begun": "The workspace, a member or a key has been suspended.",
    "suspension.ended": "A suspension has ended.",
    "test.sent": "Somebody asked for a test of this webhook.",
}
"""What a webhook can be told of (a public contract: added to, never renamed)."""

_SECOND, _MINUTE, _HOUR = 1000, 60_000, 3_600_000
HOOK_PAUSES: Final = (
    5 * _SECOND,
    30 * _SECOND,
    2 * _MINUTE,
    15 * _MINUTE,
    _HOUR,
    6 * _HOUR,
    24 * _HOUR,
)
"""Milliseconds between the tries of a webhook's message; after the last one it is given up."""

MAIL_PAUSES: Final = (5 * _SECOND, 30 * _SECOND, 2 * _MINUTE, *(15 * _MINUTE,) * 190)
"""The same for mail: a mail server may be away for two days."""

DISABLE_MS: Final = 3 * 24 * _HOUR
"""A webhook that has failed for so long, without one success, is switched off."""

CIRCUIT_MS: Final = 15 * _MINUTE
"""The longest that a failing webhook is left alone before its next message is tried."""

MOST_WEBHOOKS: Final = 20
KEPT_DELIVERIES: Final = 100
_URL_LENGTH, _ADDRESS_LENGTH = 2048, 254
_ADDRESS = re.compile(r'[^\s@<>()\[\]\\,;:"]{1,64}@[^\s@<>()\[\]\\,;:"]+')

Way = Literal["mail", "hook"]
State = Literal["waiting", "sent", "given_up"]
Condition = Literal["active", "paused", "disabled"]
"""Of a webhook: `paused` by its owners, `disabled` by the house after days of failure."""

Jitter = Callable[[], float]
"""A number from 0 up to 1, each as likely."""


@dataclass(frozen=True, slots=True)
class Message:
    """One row of the outbox.

    Attributes:
        id: stays the same over all tries: receivers tell repetitions by it.
        way: how it leaves.
        workspace: whose; empty for mail and for the server's own webhooks.
        target: a webhook's id, or a mail's address until it has been sent.
        topic: the event's kind, or the mail's template.
        payload: a hook's JSON as it is signed; a letter, sealed; empty once a letter was sent.
        created_ms: when it happened.
        due_ms: not to be tried before.
        attempts: how often it was tried.
        state: what has become of it.
        last_code: an HTTP or SMTP status or an error code of the last try; empty before it.
        settled_ms: when it was sent or given up; 0 while it waits.
    """

    id: str
    way: Way
    workspace: str
    target: str
    topic: str
    payload: bytes = field(repr=False)
    created_ms: int
    due_ms: int
    attempts: int = 0
    state: State = "waiting"
    last_code: str = ""
    settled_ms: int = 0


@dataclass(frozen=True, slots=True)
class Webhook:
    """An address of a workspace that wants to be told.

    Attributes:
        id: `hook_…`.
        workspace: whose; empty for the server's own.
        url: where to.
        kinds: what of; empty for everything.
        secret: sealed; what its messages are signed with.
        old_secret: sealed; also signed with until `old_until_ms`.
        old_until_ms: 0 if there is no old one.
        state: whether it is sent to.
        failures: tries in a row that failed.
        failing_since_ms: when the first of them was; 0 if the last try went well.
        paused_until_ms: the circuit: nothing is tried before.
        created_ms: when it was made.
    """

    id: str
    workspace: str
    url: str
    kinds: tuple[str, ...]
    secret: bytes = field(repr=False)
    old_secret: bytes = field(repr=False, default=b"")
    old_until_ms: int = 0
    state: Condition = "active"
    failures: int = 0
    failing_since_ms: int = 0
    paused_until_ms: int = 0
    created_ms: int = 0

    def wants(self, kind: str) -> bool:
        """Whether it is told of events of this kind."""
        return not self.kinds or kind in self.kinds


def pause_ms(pauses: Sequence[int], attempts: int, jitter: Jitter) -> int | None:
    """How long to wait after that many tries; None if it is given up.

    A fifth more or less than planned: what failed together does not return together.
    """
    if attempts > len(pauses):
        return None
    return round(pauses[attempts - 1] * (0.8 + 0.4 * jitter()))


def check_address(address: str) -> str:
    """An e-mail address that can stand in a header and nowhere else.

    Raises:
        HeliographError: `validation`: it has a line break, blank or bracket, or is no address.
    """
    fit = len(address) <= _ADDRESS_LENGTH and address.isprintable()
    if not fit or _ADDRESS.fullmatch(address) is None:
        raise HeliographError(
            Code.VALIDATION,
            "The e-mail address must be name@domain, without blanks, line breaks or brackets, of "
            f"at most {_ADDRESS_LENGTH} characters.",
        )
    return address


def check_url(url: str) -> str:
    """The form of a webhook's address; whether it may be reached is the guard's to say.

    Raises:
        HeliographError: `validation`.
    """
    try:
        parts = urlsplit(url)
        fit = (
            parts.scheme in {"http", "https"}
            and bool(parts.hostname)
            and parts.port != 0
            and "@" not in parts.netloc
            and not {"#", " "} & set(url)
        )
    except ValueError:
        fit = False
    if not fit or len(url) > _URL_LENGTH or not url.isascii() or not url.isprintable():
        raise HeliographError(
            Code.VALIDATION,
            "A webhook's address is https://HOST/PATH in ASCII, without a password or a fragment, "
            f"of at most {_URL_LENGTH} characters.",
        )
    return url


def check_kinds(kinds: Sequence[str]) -> tuple[str, ...]:
    """The kinds that a webhook is told of, each once and in order.

    Raises:
        HeliographError: `validation`, naming the one that there is not.
    """
    for kind in kinds:
        if kind not in KINDS:
            known = ", ".join(KINDS)
            raise HeliographError(
                Code.VALIDATION, f"There is no event {kind[:60]!r}; there are {known}."
            )
    return tuple(sorted(set(kinds)))
