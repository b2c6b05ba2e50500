"""What privacy speaks of: subjects, purposes, places, exports and erasures. Frozen data and rules.

A `Place` is anywhere in the house that something about somebody lies. This room knows none of them
by name: it asks each for its part of an export, and tells each to erase.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, NamedTuple, Protocol

from sqlalchemy import Connection

from heliograph.core.errors import Code, HeliographError

MINUTE_MS = 60_000
DAY_MS = 24 * 60 * MINUTE_MS
_STARTS = {"usr_": "person", "ws_": "workspace"}


class Subject(NamedTuple):
    """Whose data it is about.

    Attributes:
        id: `usr_…` or `ws_…`.
        kind: what that is.
    """

    id: str
    kind: str

    @property
    def is_person(self) -> bool:
        """Whether it is a person and no workspace."""
        return self.kind == "person"


def subject_of(id_: str) -> Subject:
    """The subject of an id.

    Raises:
        HeliographError: `not_found` if it is the id of something else.
    """
    for start, kind in _STARTS.items():
        if id_.startswith(start):
            return Subject(id_, kind)
    raise HeliographError(Code.NOT_FOUND, "There is no such person or workspace.")


class Purpose(StrEnum):
    """What somebody can agree to, each by itself (a public contract: added to, never renamed)."""

    CROSS_BORDER = "cross_border"
    FACES = "faces"
    PROCESSING = "processing"
    STORING_IMAGES = "storing_images"
    THIRD_PARTY = "third_party"
    TRAINING = "training"


Channel = Literal["api", "command", "console", "letter"]


@dataclass(frozen=True, slots=True)
class Consent:
    """One line of the ledger: somebody agreed to a purpose, or took it back.

    Attributes:
        seq: its number, in order of time.
        subject: who it is about, by id.
        purpose: what for.
        given: agreed; False for taken back.
        version: of the text that was shown; empty when it was taken back.
        locale: the language that it was shown in.
        channel: how it was said.
        actor: who said it.
        at_ms: when.
    """

    seq: int
    subject: str
    purpose: Purpose
    given: bool
    version: str
    locale: str
    channel: str
    actor: str
    at_ms: int


# --- places ------------------------------------------------------------------------------------


class Sheet(NamedTuple):
    """A table of an export.

    Attributes:
        name: of its two files, `data/NAME.json` and `data/NAME.csv`: `[a-z_]+`.
        columns: their names.
        rows: gives the rows, from the first, as often as it is called; texts, whole numbers, true,
            false and None.
    """

    name: str
    columns: Sequence[str]
    rows: Callable[[], Iterable[Sequence[Any]]]


class File(NamedTuple):
    """A file of an export: `files/NAME`."""

    name: str
    pieces: Iterable[bytes]


Part = Sheet | File


class Outcome(NamedTuple):
    """What a place did when it was told to erase.

    Attributes:
        state: `erased`, or `kept` where a law makes us keep it.
        items: how many rows or files that was.
        reason: why it is kept, for the person.
        law: which law says so.
    """

    state: Literal["erased", "kept"]
    items: int
    reason: str = ""
    law: str = ""


class Place(Protocol):
    """Somewhere that data about people or workspaces lies."""

    @property
    def name(self) -> str:
        """As it stands on the checklist: `[a-z_]+`."""
        ...

    def export(self, connection: Connection, subject: Subject) -> Iterable[Part]:
        """What lies here about a subject, without secrets."""
        ...

    def erase(self, connection: Connection, subject: Subject) -> Outcome:
        """Erase what lies here, within a transaction; a second time changes nothing."""
        ...


# --- exports -----------------------------------------------------------------------------------


class ExportState(StrEnum):
    """Where an export stands."""

    EXPIRED = "expired"
    FAILED = "failed"
    MAKING = "making"
    QUEUED = "queued"
    READY = "ready"


@dataclass(frozen=True, slots=True)
class Export:
    """A file with everything about a subject.

    Attributes:
        id: `exp_…`.
        subject: whose data, by id.
        actor: who asked for it.
        state: where it stands.
        asked_ms: when it was asked for; `made_ms` when it was ready; 0 for not yet.
        until_ms: when it goes by itself; 0 while it is not ready.
        tries: how often making it was begun.
        claim_ms: until when the process that makes it is believed to live.
        ref: where it lies in the vault.
        size: bytes.
        digest: SHA-256 of the file, as hex.
    """

    id: str
    subject: str
    actor: str
    state: ExportState
    asked_ms: int
    made_ms: int = 0
    until_ms: int = 0
    tries: int = 0
    claim_ms: int = 0
    ref: str = ""
    size: int = 0
    digest: str = ""


# --- erasures ----------------------------------------------------------------------------------


class ErasureState(StrEnum):
    """Where an erasure stands; in this order, except for `cancelled`."""

    CANCELLED = "cancelled"
    PROPOSED = "proposed"
    COOLING = "cooling"
    REFUSING = "refusing"
    ERASING = "erasing"
    TELLING = "telling"
    CLEANING = "cleaning"
    DONE = "done"


KEYS = "encryption_keys"
"""The first line of a checklist: what was sealed under a subject's own keys is gone with them."""

ENDED = (ErasureState.CANCELLED, ErasureState.DONE)


@dataclass(frozen=True, slots=True)
class Erasure:
    """The end of somebody's data.

    Attributes:
        id: `era_…`.
        subject: whose data, by id; empty once it is done: nobody can look it up then.
        kind: `person` or `workspace`.
        actor: who asked; empty once it is done.
        second: who approved, where two are needed.
        state: where it stands.
        waits: why it does not go on; empty if nothing is in its way.
        asked_ms: when it was asked for.
        begins_ms: until then it can be cancelled.
        due_ms: when it must be done.
        turned_ms: when its state changed last.
        alarms: how many alarms went.
        done_ms: when it was done; 0 for not yet.
    """

    id: str
    subject: str
    kind: str
    actor: str
    second: str
    state: ErasureState
    waits: str
    asked_ms: int
    begins_ms: int
    due_ms: int
    turned_ms: int
    alarms: int = 0
    done_ms: int = 0


class Tick(NamedTuple):
    """A line of an erasure's checklist; the attributes are those of `Outcome`."""

    place: str
    state: str
    items: int
    reason: str
    law: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator decides; the law bounds some of it.

    Attributes:
        cooling: milliseconds in which an erasure can be cancelled.
        settling: milliseconds between the refusal of new calls and the first deletion: every node
            has heard of it by then, and calls in flight have ended.
        due: milliseconds within which the law wants an erasure done.
        warning: milliseconds before `due` at which the first alarm goes.
        letter: milliseconds that the last letter may take to leave.
        link: milliseconds for which an export can be fetched.
        lease: milliseconds after which a process that makes an export is taken for dead.
        alarms: address that alarms go to; empty for none.
        base: this server's address, as it stands in letters; empty if it is not known.
    """

    cooling: int = 7 * DAY_MS
    settling: int = 10_000
    due: int = 30 * DAY_MS
    warning: int = 7 * DAY_MS
    letter: int = 2 * DAY_MS
    link: int = 7 * DAY_MS
    lease: int = 10 * MINUTE_MS
    alarms: str = ""
    base: str = ""
