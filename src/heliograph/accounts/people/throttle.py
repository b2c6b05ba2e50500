"""How often a guess may be made: doubling waits, and a door that no stranger can close.

    known device     its own count, and no other: whoever guesses from elsewhere cannot shut it
    else             person + address   5 guesses, then 1 s, 2 s, 4 s … 15 min
                     address           30 guesses of whomever, then the same
                     person           100 guesses from wherever, then the same

An attempt is counted before it is looked at and forgiven if it was right: a thousand at once get no
more guesses than a thousand in a row. While one waits, nothing is counted and nothing is hashed. A
link by mail is the other open door: a reset forgets what was counted against the person.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from heliograph.accounts.people import store_sessions
from heliograph.accounts.people.values import DAY_MS, HOUR_MS, MINUTE_MS
from heliograph.core.errors import Code, HeliographError

_FIRST_MS = 1000


class Rule(NamedTuple):
    """How attempts of one kind are counted.

    Attributes:
        kind: what is counted.
        free: so many cost no wait.
        cap_ms: the longest wait.
        forget_ms: after so long without an attempt, one begins anew.
    """

    kind: str
    free: int
    cap_ms: int = 15 * MINUTE_MS
    forget_ms: int = DAY_MS


class Counted(NamedTuple):
    """Something whose attempts are counted: under which rule, for whom."""

    rule: Rule
    whom: str

    @property
    def key(self) -> bytes:
        """Its row; says nothing about the address or the mail in it."""
        return hashlib.sha256(f"{self.rule.kind}\0{self.whom}".encode()).digest()


PAIR = Rule("pair", 5)
ADDRESS = Rule("address", 30)
ACCOUNT = Rule("account", 100)
DEVICE = Rule("device", 10)
FACTOR = Rule("factor", 5, HOUR_MS, 7 * DAY_MS)
LETTERS = Rule("letters", 3, HOUR_MS, HOUR_MS)
ASKING = Rule("asking", 20, 15 * MINUTE_MS, HOUR_MS)


def at_password(mail: str, address: str, device: bytes | None) -> tuple[Counted, ...]:
    """What a log-in with a password counts on.

    Args:
        mail: folded; of somebody or of nobody.
        address: where it comes from.
        device: the hash of a token that the person's own browser keeps; None for a stranger's.
    """
    if device is not None:
        return (Counted(DEVICE, device.hex()),)
    here = network(address)
    return (
        Counted(PAIR, f"{mail}\0{here}"),
        Counted(ADDRESS, here),
        Counted(ACCOUNT, mail),
    )


def at_factor(person: str, device: bytes | None) -> tuple[Counted, ...]:
    """What a code counts on: the password was right, so that no address is asked."""
    if device is not None:
        return (Counted(FACTOR, device.hex()),)
    return (Counted(FACTOR, person),)


def network(address: str) -> str:
    """What one customer of a provider has: an IPv4 address, or a /64 of IPv6."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if found.version == 4:
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, 64), strict=False))


def enter(connection: Connection, counted: Iterable[Counted], now: int) -> float:
    """Count an attempt, unless one must wait.

    Returns:
        Seconds to wait; 0 for come in.
    """
    by_key = {one.key: one.rule for one in counted}
    rows = store_sessions.attempts(connection, by_key)
    until = max(row.until_ms for row in rows.values())
    if until > now:
        return (until - now) / 1000
    for key, row in rows.items():
        rule = by_key[key]
        count = (row.made if row.forget_ms > now else 0) + 1
        beyond = count - rule.free
        wait = min(_FIRST_MS << min(beyond - 1, 30), rule.cap_ms) if beyond > 0 else 0
        store_sessions.set_attempts(
            connection,
            key,
            made=count,
            last_ms=now,
            until_ms=now + wait,
            forget_ms=now + rule.forget_ms,
        )
    return 0.0


def forgive(connection: Connection, counted: Sequence[Counted]) -> None:
    """Say that an attempt was right.

    What only its maker can count on begins anew; what others share loses this one attempt, or a
    guesser would clear it by logging in to an account of their own.
    """
    own = {PAIR.kind, DEVICE.kind, FACTOR.kind}
    store_sessions.forget_attempts(connection, [one.key for one in counted if one.rule.kind in own])
    for one in counted:
        if one.rule.kind not in own:
            store_sessions.forgive_attempt(connection, one.key)


def refusal(wait: float) -> HeliographError:
    """The error for one who must wait so many seconds."""
    return HeliographError(
        Code.RATE_LIMITED, "Too many attempts. Wait before the next one.", retry_after=wait
    )
