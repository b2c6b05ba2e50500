"""What privacy needs of the house, declared here by the side that calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection

from heliograph.accounts.privacy.texts import Texts
from heliograph.accounts.privacy.values import Place, Rules, Subject
from heliograph.core.clock import Clock
from heliograph.storage.blobs import Vault
from heliograph.storage.database import Database, Notify, Record

Held = Callable[[Connection, str], bool]
"""Whether a legal hold lies on a subject, by id: nothing of it is deleted then."""

Forget = Callable[[Connection, str], object]
"""Lets the audit log forget who stands behind a pseudonym; the last act of an erasure."""


class Subjects(Protocol):
    """What privacy asks about people and workspaces, and the little that it does to them."""

    def there(self, connection: Connection, subject: Subject) -> bool:
        """Whether there is one that has not been erased."""
        ...

    def mails(self, connection: Connection, subject: Subject) -> Sequence[str]:
        """Where to write to: a person's address, those of a workspace's owners."""
        ...

    def hindrance(self, connection: Connection, subject: Subject) -> str:
        """What must be settled before an erasure, in words for the person; empty for nothing."""
        ...

    def refuse(self, connection: Connection, subject: Subject, erasure: str) -> None:
        """Let them in no more: calls end and new ones are refused, on every node."""
        ...

    def unsent(self, connection: Connection, mails: Sequence[str]) -> bool:
        """Whether a letter to one of these addresses still waits to be sent."""
        ...

    def drop_letters(self, mails: Sequence[str]) -> None:
        """Delete letters to these addresses that lie outside the database; may come twice."""
        ...

    def forget_letters(self, connection: Connection, mails: Sequence[str]) -> None:
        """Delete the letters to these addresses from the outbox."""
        ...


class Seal(Protocol):
    """Seals small values under a key of the house."""

    def encrypt(self, plain: bytes, about: str) -> bytes:
        """Seal; opens only with the same `about`."""
        ...

    def decrypt(self, sealed: bytes, about: str) -> bytes:
        """Open."""
        ...


def never_held(connection: Connection, subject: str) -> bool:
    """For an installation that keeps no legal holds."""
    del connection, subject
    return False


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that the use cases of privacy share.

    Attributes:
        home: the data folder, where the list of the erased lies.
        vault: keeps exports; its keys of a subject are destroyed by an erasure.
        seal: keeps the key that signs exports.
        subjects: people and workspaces.
        places: where data lies, in the order of the checklist.
        account: the place of the account itself, address and all: erased last.
        forget: the audit log's.
        held: asked before anything is destroyed.
    """

    database: Database
    clock: Clock
    record: Record
    notify: Notify
    home: Path
    vault: Vault
    seal: Seal
    subjects: Subjects
    places: Sequence[Place]
    account: Place
    forget: Forget
    held: Held = never_held
    texts: Texts = field(default_factory=Texts)
    rules: Rules = field(default_factory=Rules)
