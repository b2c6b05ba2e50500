# ruff: noqa: ARG002 - the small parts answer Protocols and need less than those hand over
"""Real small parts for identity and abuse: an encrypting folder, a clock to turn, a directory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Connection

from heliograph.accounts.abuse.parts import Measure
from heliograph.accounts.abuse.parts import Parts as AbuseParts
from heliograph.accounts.abuse.service import Abuse
from heliograph.accounts.abuse.values import Rules
from heliograph.accounts.identity.parts import Held, never_held
from heliograph.accounts.identity.parts import Parts as IdentityParts
from heliograph.accounts.identity.providers import Provider, Texter
from heliograph.accounts.identity.service import Identity
from heliograph.accounts.identity.values import Policy, Terms
from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act, Event
from heliograph.core.ids import new_id
from heliograph.core.notices import Hook, Mail, Notice
from heliograph.storage.database import Database

START = 1_800_000_000_000


class Clock:
    """A clock that stands until it is turned."""

    def __init__(self, now: int = START) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now

    def turn(self, ms: int) -> None:
        self.now += ms


class FolderVault:
    """A folder of sealed files, a key each; a shredded one's key is gone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._keys: dict[str, bytes] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def put(self, purpose: str, data: bytes) -> str:
        ref, key, nonce = new_id("blob"), AESGCM.generate_key(256), os.urandom(12)
        sealed = nonce + AESGCM(key).encrypt(nonce, data, purpose.encode())
        (self.folder / ref).write_bytes(purpose.encode() + b"\n" + sealed)
        self._keys[ref] = key
        return ref

    def get(self, ref: str) -> bytes:
        if ref not in self._keys:
            raise HeliographError(Code.NOT_FOUND, "There is no such file.")
        purpose, _, sealed = (self.folder / ref).read_bytes().partition(b"\n")
        return AESGCM(self._keys[ref]).decrypt(sealed[:12], sealed[12:], purpose)

    def shred(self, ref: str) -> None:
        self._keys.pop(ref, None)
        (self.folder / ref).unlink(missing_ok=True)

    def refs(self) -> set[str]:
        return {one.name for one in self.folder.iterdir()}


@dataclass
class Log:
    """What was recorded and what was said; of what was rolled back too, which tests avoid."""

    events: list[Event] = field(default_factory=list[Event])
    notices: list[Notice] = field(default_factory=list[Notice])

    def record(self, connection: Connection, event: Event) -> None:
        self.events.append(event)

    def notify(self, connection: Connection, notice: Notice) -> None:
        self.notices.append(notice)

    def acts(self) -> list[Act]:
        return [one.act for one in self.events]

    def of(self, act: Act) -> list[Event]:
        return [one for one in self.events if one.act is act]

    def mails(self, to: str) -> list[Mail]:
        return [one for one in self.notices if isinstance(one, Mail) and one.to == to]

    def hooks(self, kind: str) -> list[Hook]:
        return [one for one in self.notices if isinstance(one, Hook) and one.kind == kind]


class Town:
    """Who lives where: people have addresses, workspaces have members and things."""

    def __init__(self) -> None:
        self.members: dict[str, set[str]] = {"ws_bad": {"usr_bad"}, "ws_good": {"usr_good"}}

    def mail(self, connection: Connection, person: str) -> str:
        return f"{person}@example.org"

    def workspaces(self, connection: Connection, person: str) -> Sequence[str]:
        return [one for one, people in self.members.items() if person in people]

    def owner(self, connection: Connection, subject: str) -> str:
        return next((one for one in self.members if subject.startswith(one)), "")

    def mails(self, connection: Connection, workspace: str) -> Sequence[str]:
        return [f"{one}@example.org" for one in sorted(self.members.get(workspace, ()))]

    def answers(self, connection: Connection, workspace: str, person: str) -> bool:
        return self.member(connection, workspace, person)

    def member(self, connection: Connection, workspace: str, person: str) -> bool:
        return person in self.members.get(workspace, ())


class Bailiff:
    """Carries measures out where a test can see them, with a purse that they cost."""

    def __init__(self) -> None:
        self.suspended: dict[str, int] = {}
        self.imposed: set[tuple[str, str, str]] = set()
        self.balance = 0
        self.made_good: list[tuple[Measure, int, int]] = []

    def suspend_workspace(
        self, connection: Connection, workspace: str, until_ms: int, case: str
    ) -> None:
        self.suspended[workspace] = until_ms

    def restore_workspace(self, connection: Connection, workspace: str, case: str) -> None:
        self.suspended.pop(workspace, None)

    def impose(self, connection: Connection, measure: Measure) -> None:
        self.imposed.add((measure.action.value, measure.subject, measure.scope))

    def lift(self, connection: Connection, measure: Measure) -> None:
        self.imposed.discard((measure.action.value, measure.subject, measure.scope))

    def compensate(
        self, connection: Connection, measure: Measure, begun_ms: int, ended_ms: int
    ) -> None:
        self.made_good.append((measure, begun_ms, ended_ms))
        self.balance += ended_ms - begun_ms


@dataclass
class Office:
    """Identity with its parts in a test's hand."""

    identity: Identity
    clock: Clock
    log: Log
    vault: FolderVault
    town: Town


def office(
    database: Database,
    folder: Path,
    *,
    policy: Policy | None = None,
    terms: Terms | None = None,
    held: Held = never_held,
    providers: Sequence[Provider] = (),
    texter: Texter | None = None,
) -> Office:
    clock, log, town, vault = Clock(), Log(), Town(), FolderVault(folder / "vault")
    parts = IdentityParts(
        database,
        clock,
        log.record,
        log.notify,
        vault,
        town,
        b"i" * 32,
        policy or Policy(),
        terms or Terms(),
        held,
    )
    return Office(Identity(parts, providers, texter), clock, log, vault, town)


@dataclass
class Court:
    """The abuse procedure with its parts in a test's hand."""

    abuse: Abuse
    clock: Clock
    log: Log
    vault: FolderVault
    town: Town
    bailiff: Bailiff


def court(database: Database, folder: Path, rules: Rules | None = None) -> Court:
    clock, log, town, bailiff = Clock(), Log(), Town(), Bailiff()
    vault = FolderVault(folder / "vault")
    parts = AbuseParts(
        database,
        clock,
        log.record,
        log.notify,
        bailiff,
        town,
        vault,
        b"a" * 32,
        rules or Rules(),
        bailiff.compensate,
    )
    return Court(Abuse(parts), clock, log, vault, town, bailiff)
