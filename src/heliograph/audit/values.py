"""What an event becomes when it is written: an entry of the chain, and how one follows another.

    Event ── grammar ──► pseudonyms for people ──► Entry: body, prev, hash ──► leaf of the tree

The body is canonical JSON (RFC 8785), so that anybody computes the same hash from the same facts;
`verifier.py` says what the chain is and checks it, without a word of this file.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import rfc8785

from heliograph.audit.verifier import GENESIS, chain_hash
from heliograph.core.events import Act, Event

BODY_VERSION: Final = 1
ADDRESS: Final = "address"
"""The fact that holds the network address of a sender: a person's too, so it gets a pseudonym."""
_KINDS = {"usr_": "person_", "ws_": "space_"}
_SUBJECT = re.compile(r"(usr_|ws_)[A-Za-z0-9]+")
PSEUDONYM = re.compile(r"(?:person|space|source)_[0-9a-f]{64}")
"""What stands in the chain for a person, a workspace or an address."""


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the chain.

    Attributes:
        seq: number of the last event; 0 if there is none.
        hash: its hash, in hex.
    """

    seq: int = 0
    hash: str = GENESIS


@dataclass(frozen=True, slots=True)
class Entry:
    """One event as it lies in the log.

    Attributes:
        seq: its number, from 1, without gaps.
        at_ms: when it was written; the order is that of `seq`, for a clock may jump.
        act: what happened; as all below, a copy out of the body to look for.
        actor: who did it.
        workspace: whose it is.
        subject: what it was done to.
        body: all of it, as canonical JSON.
        prev: the hash of the event before.
        hash: its own.
    """

    seq: int
    at_ms: int
    act: str
    actor: str
    workspace: str
    subject: str
    body: str
    prev: str
    hash: str

    @property
    def head(self) -> Head:
        """The end of the chain once this is written."""
        return Head(self.seq, self.hash)


@dataclass(frozen=True, slots=True)
class Told:
    """An event as a reader gets it: pseudonyms that are still known are ids again.

    Attributes:
        seq: its number.
        at_ms: when it was written, ms since 1970.
        act: what happened.
        actor: who did it.
        workspace: whose it is; empty for the whole server's.
        subject: what it was done to.
        facts: further ids, numbers and words.
    """

    seq: int
    at_ms: int
    act: str
    actor: str
    workspace: str
    subject: str
    facts: Mapping[str, str | int | bool]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events somebody wants to see, the newest first.

    Attributes:
        workspace: whose; None for everybody's.
        act: only this act.
        actor: only what this one did.
        subject: only what was done to this one.
        since_ms: from this time on, inclusive; 0 for the beginning.
        until_ms: up to this time, exclusive; 0 for now.
        before: only numbers below this one; 0 for all.
        limit: at most so many.
    """

    workspace: str | None = None
    act: Act | None = None
    actor: str = ""
    subject: str = ""
    since_ms: int = 0
    until_ms: int = 0
    before: int = 0
    limit: int = 100


@dataclass(frozen=True, slots=True)
class Proof:
    """That one event belongs to what a checkpoint was signed over.

    Attributes:
        seq: the event's number; its leaf is number `seq` - 1.
        body: its body.
        prev: the hash of the one before.
        hash: its hash.
        path: hashes of the neighbours on the way to the root, in hex (RFC 9162, 2.1.3).
        checkpoint: the signed note.
    """

    seq: int
    body: str
    prev: str
    hash: str
    path: tuple[str, ...]
    checkpoint: str


def follow(head: Head, at_ms: int, event: Event) -> Entry:
    """The entry that comes after `head`."""
    seq = head.seq + 1
    said = {
        "act": str(event.act),
        "actor": event.actor,
        "at_ms": at_ms,
        "facts": dict(event.facts),
        "seq": seq,
        "subject": event.subject,
        "v": BODY_VERSION,
        "workspace": event.workspace,
    }
    body = rfc8785.dumps(said).decode("ascii")
    return Entry(
        seq,
        at_ms,
        str(event.act),
        event.actor,
        event.workspace,
        event.subject,
        body,
        head.hash,
        chain_hash(head.hash, body),
    )


def hidden(event: Event) -> set[str]:
    """What in an event stands for a person, a workspace or an address, and must not stay."""
    texts = [event.actor, event.workspace, event.subject]
    texts += [value for value in event.facts.values() if isinstance(value, str)]
    found = {one for one in texts if _SUBJECT.fullmatch(one)}
    address = event.facts.get(ADDRESS)
    return found | {address} if isinstance(address, str) and address else found


def disguise(event: Event, names: Mapping[str, str]) -> Event:
    """The event with pseudonyms in the place of ids, by `names`."""
    facts = {
        key: names.get(value, value) if isinstance(value, str) else value
        for key, value in event.facts.items()
    }
    return Event(
        event.act,
        names.get(event.actor, event.actor),
        names.get(event.workspace, event.workspace),
        names.get(event.subject, event.subject),
        facts,
    )


def pseudonym(id: str, salt: bytes) -> str:  # noqa: A002 - as everywhere in the house
    """A commitment to an id: with the salt it can be shown, without it nobody can find the id."""
    kind = next((kind for start, kind in _KINDS.items() if id.startswith(start)), "source_")
    return kind + hmac.digest(salt, id.encode(), "sha256").hex()


def pseudonyms(texts: Iterable[object]) -> set[str]:
    """Those of the texts that are pseudonyms."""
    return {one for one in texts if isinstance(one, str) and PSEUDONYM.fullmatch(one)}
