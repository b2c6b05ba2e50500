"""What the abuse procedure needs of the house, declared here by the side that calls."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sqlalchemy import Connection

from heliograph.accounts.abuse import store
from heliograph.accounts.abuse.values import Action, Case, Decision, Rules, same
from heliograph.core.clock import Clock
from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act, Event
from heliograph.core.notices import Mail
from heliograph.storage.database import Database, Notify, Record


@dataclass(frozen=True, slots=True)
class Measure:
    """What is imposed on somebody, as those who carry it out need it.

    Attributes:
        case: why; `workspace` whose, empty if nobody knows.
        subject: the id or address that was reported; `scope` what the reviewer narrowed it to.
        until_ms: when it ends by itself; 0 for no end.
    """

    case: str
    workspace: str
    subject: str
    scope: str
    action: Action
    until_ms: int


class Sanctions(Protocol):
    """Carries measures out, within the transaction of the decision; each call may come again."""

    def suspend_workspace(
        self, connection: Connection, workspace: str, until_ms: int, case: str
    ) -> None:
        """Close a workspace on every node and protocol until then; 0 for ever."""
        ...

    def restore_workspace(self, connection: Connection, workspace: str, case: str) -> None:
        """Open it again, as it was."""
        ...

    def impose(self, connection: Connection, measure: Measure) -> None:
        """Label, hide, remove or limit. What is removed is kept until no appeal is possible."""
        ...

    def lift(self, connection: Connection, measure: Measure) -> None:
        """Take back what `impose` did."""
        ...


Compensate = Callable[[Connection, Measure, int, int], None]
"""Makes good by compensating entries what a measure cost that should not have been, from when to
when in milliseconds: quota and money."""


class Directory(Protocol):
    """What the procedure asks about people and what is theirs."""

    def owner(self, connection: Connection, subject: str) -> str:
        """The workspace that an id or address belongs to; empty if nobody knows."""
        ...

    def mails(self, connection: Connection, workspace: str) -> Sequence[str]:
        """The e-mail addresses of those who answer for a workspace."""
        ...

    def answers(self, connection: Connection, workspace: str, person: str) -> bool:
        """Whether a person answers for a workspace: may complain in its name."""
        ...

    def member(self, connection: Connection, workspace: str, person: str) -> bool:
        """Whether a person belongs to a workspace."""
        ...


class Vault(Protocol):
    """Keeps bytes encrypted, each piece under a key of its own."""

    def put(self, purpose: str, data: bytes) -> str:
        """Keep bytes under the key of a purpose; gives what to ask for them with."""
        ...

    def get(self, ref: str) -> bytes:
        """The bytes; raises `not_found` once they were shredded."""
        ...

    def shred(self, ref: str) -> None:
        """Make them unreadable for ever; nothing happens if they are already."""
        ...


def no_compensation(connection: Connection, measure: Measure, begun_ms: int, ended_ms: int) -> None:
    """For an installation that bills nobody."""
    del connection, measure, begun_ms, ended_ms


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that the use cases of the procedure share.

    Attributes:
        secret: at least 32 bytes, a key that serves nothing else: of the hashes of reporters'
            network addresses.
    """

    database: Database
    clock: Clock
    record: Record
    notify: Notify
    sanctions: Sanctions
    directory: Directory
    vault: Vault
    secret: bytes = field(repr=False)
    rules: Rules = field(default_factory=Rules)
    compensate: Compensate = no_compensation

    def say(
        self, connection: Connection, act: Act, actor: str, case: Case, **facts: str | int | bool
    ) -> None:
        """Append one event about a case.

        It is the server's, not the workspace's: whoever reads the workspace's log must not learn
        from it that somebody has reported them. What is done to them, `Sanctions` tells there.
        """
        self.record(connection, Event(act, actor, "", case.id, facts))

    def write_to(self, connection: Connection, workspace: str, template: str, **facts: str) -> None:
        """Write to those who answer for a workspace."""
        for to in self.directory.mails(connection, workspace) if workspace else ():
            self.notify(connection, Mail(to, template, facts))

    def marked(self, address: str) -> str:
        """A network address as it may be kept: a keyed hash."""
        if not address:
            return ""
        text = f"sender\x1f{address}".encode()
        return hmac.new(self.secret, text, hashlib.sha256).hexdigest()

    def refuse_partial(
        self, connection: Connection, workspace: str, who: str, earlier: Sequence[str] = ()
    ) -> None:
        """Keep people from deciding about their own, or again about what they decided.

        Raises:
            HeliographError: `forbidden`.
        """
        if not who or (workspace and self.directory.member(connection, workspace, who)):
            raise HeliographError(Code.FORBIDDEN, "Nobody decides about their own workspace.")
        if any(same(who, one) for one in earlier if one):
            raise HeliographError(
                Code.FORBIDDEN, "You have had a part in this decision; another reviewer is needed."
            )


def measure_of(decision: Decision) -> Measure:
    """What a decision imposes."""
    ruling = decision.ruling
    return Measure(
        decision.case,
        decision.workspace,
        decision.subject,
        ruling.scope,
        ruling.action,
        ruling.until_ms,
    )


def provisional(case: Case) -> Measure:
    """What hides a grave subject until somebody has decided."""
    return Measure(case.id, case.workspace, case.subject, "", Action.HIDE, 0)


def there(connection: Connection, id_: str) -> Case:
    """A case, locked.

    Raises:
        HeliographError: `not_found`.
    """
    found = store.case(connection, id_, lock=True)
    if found is None:
        raise HeliographError(Code.NOT_FOUND, "There is no such case.")
    return found
