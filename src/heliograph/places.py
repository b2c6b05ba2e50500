"""Every place of the house where something about a person or a workspace lies, for `privacy`.

Most are rows of one table, found by one column: a `Rows` says which, what of them a person is shown
and what happens to them at an erasure: deleted, blanked, or kept with the law that says so. A test
holds this list against every table there is. Only the composition root uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    LargeBinary,
    Select,
    Table,
    delete,
    func,
    or_,
    select,
    update,
)

from heliograph.accounts.abuse import store as abuse
from heliograph.accounts.identity import store as identity
from heliograph.accounts.keys.store import KEYS
from heliograph.accounts.people import store as people
from heliograph.accounts.people import store_sessions
from heliograph.accounts.people.service import People
from heliograph.accounts.privacy.values import File, Outcome, Part, Place, Sheet, Subject
from heliograph.accounts.quotas.store import COUNTERS, LIMITS
from heliograph.accounts.roles import Role
from heliograph.accounts.workspaces import store as workspaces
from heliograph.accounts.workspaces.service import Workspaces
from heliograph.accounts.workspaces.values import State
from heliograph.audit.service import Audit
from heliograph.audit.values import Filter
from heliograph.billing.budgets.store import BUDGETS, BUDGETS_REACHED
from heliograph.billing.invoices import store as invoices
from heliograph.billing.invoices.journal.store import BALANCES, JOURNAL
from heliograph.billing.ledger.store import LEDGER
from heliograph.billing.meters.store import HOSTED, STORED
from heliograph.billing.usage.store import HOURS, MONTHS
from heliograph.core.clock import Clock
from heliograph.core.errors import HeliographError
from heliograph.notices.store import OUTBOX, WEBHOOKS
from heliograph.storage.blobs import Vault
from heliograph.storage.replies import REPLIES
from heliograph.storage.store import BLOBS

PERSON, WORKSPACE = "person", "workspace"
_BOTH = frozenset({PERSON, WORKSPACE})
_TAX = (
    "Bookkeeping, which tax law makes us keep; under an id that says nothing of you.",
    "GDPR art. 17(3)(b) with tax law, e.g. AO § 147",
)
_PROCEDURE = (
    "The record of a decision, kept for those whom it concerns and for the yearly counts.",
    "DSA art. 17, 20, 24; GDPR art. 17(3)(b, e)",
)
_THEIRS = ("It belongs to the workspace; your id in it says nothing any more.", "GDPR art. 4(1)")
Deed = Callable[[Connection, str], object]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one table; see `accounts.privacy.values.Place`.

    Attributes:
        name: on the checklist.
        table: where; `column` holds the id.
        kinds: whose ids those are.
        hide: columns nobody is shown; bytes never are.
        blank: what they are changed to; nothing to delete them.
        keep: reason and law, if they are kept.
        then: further done after an erasure, with the id.
    """

    name: str
    table: Table
    column: str
    kinds: frozenset[str]
    hide: frozenset[str] = frozenset()
    blank: Mapping[str, object] = field(default_factory=dict[str, object])
    keep: tuple[str, str] | None = None
    then: Deed | None = None

    def export(self, connection: Connection, subject: Subject) -> Iterator[Part]:
        """The rows, in the order of the key."""
        if subject.kind not in self.kinds:
            return
        shown = [one for one in self.table.c if self._shown(one)]
        asked = select(*shown).where(self._theirs(subject)).order_by(*self.table.primary_key)
        yield sheet(connection, self.name, asked)

    def erase(self, connection: Connection, subject: Subject) -> Outcome:
        """Delete, blank or keep them."""
        if subject.kind not in self.kinds:
            return Outcome("erased", 0)
        theirs = self._theirs(subject)
        if self.keep:
            counted = select(func.count()).select_from(self.table).where(theirs)
            there = connection.execute(counted).scalar_one()
            return Outcome("kept", there, *self.keep) if there else Outcome("erased", 0)
        change = update(self.table).values(**self.blank) if self.blank else delete(self.table)
        gone = connection.execute(change.where(theirs)).rowcount
        if self.then:
            self.then(connection, subject.id)
        return Outcome("erased", gone)

    def _theirs(self, subject: Subject) -> ColumnElement[bool]:
        return self.table.c[self.column] == subject.id

    def _shown(self, column: Column[Any]) -> bool:
        return column.name not in self.hide and not isinstance(column.type, LargeBinary)


def sheet(connection: Connection, name: str, asked: Select[*tuple[Any, ...]]) -> Sheet:
    """A query as a table of an export."""
    columns = [one.name for one in asked.selected_columns]

    def rows() -> Iterable[Sequence[Any]]:
        found = connection.execution_options(yield_per=1000).execute(asked)
        return (tuple(row) for row in found)

    return Sheet(name, columns, rows)


# --- places that are more than rows --------------------------------------------------------------


class Account:
    """The account itself: who a person is, what a workspace is called. Erased last.

    Args:
        people: blanks persons.
    """

    name = "account"

    def __init__(self, people_: People) -> None:
        self._people = people_

    def export(self, connection: Connection, subject: Subject) -> Iterator[Part]:
        """The one row."""
        table = people.PEOPLE if subject.is_person else workspaces.WORKSPACES
        hidden = {"mail_folded", "password", "folded"}
        shown = [one for one in table.c if one.name not in hidden]
        yield sheet(connection, self.name, select(*shown).where(table.c.id == subject.id))
        if not subject.is_person:
            members = workspaces.MEMBERS
            yield sheet(
                connection, "members", select(members).where(members.c.workspace == subject.id)
            )

    def erase(self, connection: Connection, subject: Subject) -> Outcome:
        """Blank it; the id stays, for what must be kept."""
        if subject.is_person:
            self._people.erase(connection, subject.id)
        else:
            # Until now they were needed: somebody had to be told.
            for one in workspaces.members(connection, subject.id):
                workspaces.remove_member(connection, subject.id, one.person)
            blank = {"name": "", "folded": subject.id, "region": "", "state": State.TERMINATED}
            workspaces.change(connection, subject.id, **blank)
        return Outcome("erased", 1)


class IdentityPlace:
    """Checks of identity: their pictures and claims, and the rows that tell of them.

    Args:
        vault: where the evidence lies.
        clock: the time.
    """

    name = "identity"

    def __init__(self, vault: Vault, clock: Clock) -> None:
        self._vault = vault
        self._clock = clock

    def export(self, connection: Connection, subject: Subject) -> Iterator[Part]:
        """The checks; and the pictures and claims, as long as they are there."""
        if not subject.is_person:
            return
        hidden = {"fingerprint", "duplicate", "open_key", "reviewer"}
        checks = identity.CHECKS
        shown = [one for one in checks.c if one.name not in hidden]
        yield sheet(connection, self.name, select(*shown).where(checks.c.person == subject.id))
        for check in identity.checks_of(connection, subject.id):
            for one in identity.evidence(connection, check.id):
                if not one.gone_ms:
                    kind = "json" if one.kind == "claims" else "png"
                    yield File(f"{one.id}.{kind}", self._vault.read(one.ref, "", self.name))

    def erase(self, connection: Connection, subject: Subject) -> Outcome:
        """Shred the evidence; that there were checks stays, without a word of whom."""
        if not subject.is_person:
            return Outcome("erased", 0)
        done = 0
        for check in identity.checks_of(connection, subject.id, lock=True):
            for one in identity.evidence(connection, check.id):
                if not one.gone_ms:
                    with suppress(HeliographError):
                        self._vault.shred(one.ref, connection)
                    done += identity.gone(connection, one.id, self._clock())
            state = "expired" if check.state == "pending" else str(check.state)
            blank = {"fingerprint": "", "reason": "", "reference": "", "open_key": None}
            identity.change(connection, check.id, state=state, **blank)
            identity.blank_opinions(connection, check.id)
        identity.drop_codes(connection, subject.id)
        return Outcome("erased", done)


class RepliesPlace:
    """Answers that are kept for a repeated request; of a person in every workspace."""

    name = "replies"

    def export(self, connection: Connection, subject: Subject) -> Iterator[Part]:
        """When and how; the answers themselves were given."""
        shown = (REPLIES.c.scope, REPLIES.c.key, REPLIES.c.created_ms, REPLIES.c.status)
        yield sheet(connection, self.name, select(*shown).where(self._theirs(subject)))

    def erase(self, connection: Connection, subject: Subject) -> Outcome:
        """Delete them."""
        gone = connection.execute(delete(REPLIES).where(self._theirs(subject)))
        return Outcome("erased", gone.rowcount)

    def _theirs(self, subject: Subject) -> ColumnElement[bool]:
        scope = REPLIES.c.scope
        if subject.is_person:
            return scope.endswith(f"/{subject.id}", autoescape=True)
        return or_(scope == subject.id, scope.startswith(f"{subject.id}/", autoescape=True))


class AuditPlace:
    """The audit log: what a subject did and what was done to it.

    Args:
        audit: the log.
    """

    name = "audit"
    _PAGE = 500

    def __init__(self, audit: Audit) -> None:
        self._audit = audit

    def export(self, connection: Connection, subject: Subject) -> Iterator[Part]:
        """Every event that names it."""
        del connection
        # Events go on being written: both files of the table end at the same one.
        newest = self._audit.find(Filter(limit=1))
        top = newest[0].seq + 1 if newest else 1
        columns = ("seq", "at_ms", "act", "actor", "workspace", "subject", "facts")

        def rows() -> Iterator[Sequence[Any]]:
            seen: set[int] = set()
            for wanted in self._sought(subject):
                before = top
                while True:
                    page = self._audit.find(wanted(before))
                    fresh = [one for one in page if one.seq not in seen]
                    seen.update(one.seq for one in fresh)
                    for one in fresh:
                        facts = ", ".join(f"{key}={value}" for key, value in one.facts.items())
                        yield (*(getattr(one, name) for name in columns[:-1]), facts)
                    if len(page) < self._PAGE:
                        break
                    before = page[-1].seq

        yield Sheet(self.name, columns, rows)

    def _sought(self, subject: Subject) -> list[Callable[[int], Filter]]:
        limit, id_ = self._PAGE, subject.id
        if subject.is_person:
            return [
                lambda before: Filter(actor=id_, before=before, limit=limit),
                lambda before: Filter(subject=id_, before=before, limit=limit),
            ]
        return [lambda before: Filter(workspace=id_, before=before, limit=limit)]

    def erase(self, connection: Connection, subject: Subject) -> Outcome:
        """Nothing: the very last act of the erasure forgets who stands behind the pseudonym."""
        del connection, subject
        return Outcome(
            "kept",
            0,
            "The chain of events, in which a pseudonym stands for you that nobody can resolve.",
            "GDPR art. 5(1)(f), 5(2), 17(3)(b)",
        )


# --- the list ------------------------------------------------------------------------------------


def _touch(connection: Connection, subject: str) -> None:
    del subject
    workspaces.touch(connection)


def _rows() -> list[Rows]:
    person, space = frozenset({PERSON}), frozenset({WORKSPACE})
    unknown = {"contact": "", "reporter": "", "sender": ""}
    return [
        Rows("sessions", people.SESSIONS, "person", person),
        Rows("known_devices", people.DEVICES, "person", person),
        Rows("passkeys", people.PASSKEYS, "person", person),
        Rows("code_generators", people.TOTP, "person", person),
        Rows("recovery_codes", people.RECOVERY_CODES, "person", person),
        Rows("sign_in_links", people.OIDC_LINKS, "person", person),
        Rows("letters_with_links", people.MAIL_TOKENS, "person", person),
        Rows("sign_ins_begun", people.CEREMONIES, "person", person, hide=frozenset({"data"})),
        Rows("memberships", workspaces.MEMBERS, "person", person, then=_touch),
        Rows("keys_made", KEYS, "created_by", person, keep=_THEIRS),
        Rows("calls", LEDGER, "person", person, keep=_TAX),
        Rows("reports_made", abuse.REPORTS, "reporter", person, hide=frozenset({"sender", "case"}),
             blank=unknown),
        Rows("appeals_made", abuse.APPEALS, "person", person, hide=frozenset({"reviewer"}),
             blank={"text": ""}),
        Rows("keys", KEYS, "workspace", space, then=_touch),
        Rows("limits", LIMITS, "holder", space, then=_touch),
        Rows("counters", COUNTERS, "holder", space),
        Rows("webhooks", WEBHOOKS, "workspace", space, hide=frozenset({"secret", "old_secret"})),
        Rows("messages", OUTBOX, "workspace", space),
        Rows("budgets", BUDGETS, "workspace", space),
        Rows("budgets_reached", BUDGETS_REACHED, "workspace", space),
        Rows("ledger", LEDGER, "workspace", space, keep=_TAX),
        Rows("usage_hours", HOURS, "workspace", space, keep=_TAX),
        Rows("usage_months", MONTHS, "workspace", space, keep=_TAX),
        Rows("hosted", HOSTED, "workspace", space, keep=_TAX),
        Rows("stored", STORED, "workspace", space, keep=_TAX),
        Rows("invoices", invoices.INVOICES, "workspace", space, keep=_TAX),
        Rows("notes", invoices.NOTES, "workspace", space, keep=_TAX),
        Rows("buyers", invoices.BUYERS, "workspace", space, keep=_TAX),
        Rows("plans", invoices.PLANS, "workspace", space, keep=_TAX),
        Rows("lines", invoices.LINES, "workspace", space, keep=_TAX),
        Rows("journal", JOURNAL, "workspace", space, keep=_TAX),
        Rows("balances", BALANCES, "workspace", space, keep=_TAX),
        Rows("decisions", abuse.DECISIONS, "workspace", space,
             hide=frozenset({"decider", "second"}), keep=_PROCEDURE),
        Rows("appeals", abuse.APPEALS, "workspace", space, hide=frozenset({"reviewer"}),
             blank={"text": ""}),
        Rows("strikes", abuse.STRIKES, "holder", _BOTH, keep=_PROCEDURE),
        Rows("files", BLOBS, "tenant", _BOTH, hide=frozenset({"key"}), blank={"wrapped": None}),
    ]  # fmt: skip


def places(audit: Audit, vault: Vault, clock: Clock) -> list[Place]:
    """All of them but the account, in the order of the checklist."""
    held_spared = [_Files(one) if one.name == "files" else one for one in _rows()]
    return [IdentityPlace(vault, clock), RepliesPlace(), *held_spared, AuditPlace(audit)]


class _Files:
    """The files of a subject: shredded already with its keys; what is held is not touched."""

    def __init__(self, rows: Rows) -> None:
        self.name = rows.name
        self._rows = rows

    def export(self, connection: Connection, subject: Subject) -> Iterator[Part]:
        """What is kept, by size and time."""
        return self._rows.export(connection, subject)

    def erase(self, connection: Connection, subject: Subject) -> Outcome:
        """Count what a legal hold keeps; all else lost its key before."""
        mine = (BLOBS.c.tenant == subject.id) & BLOBS.c.hold
        held = connection.execute(select(func.count()).select_from(BLOBS).where(mine)).scalar_one()
        if held:
            return Outcome("kept", held, "Evidence under a legal hold.", "GDPR art. 17(3)(b, e)")
        return Outcome("erased", 0)


def tables() -> set[str]:
    """The tables that some place answers for; a test holds them against all there are."""
    more = {people.PEOPLE, workspaces.WORKSPACES, identity.CHECKS, identity.EVIDENCE,
            identity.OPINIONS, identity.CODES, REPLIES}  # fmt: skip
    return {one.table.name for one in _rows()} | {one.name for one in more}


class Residents:
    """People and workspaces, as `accounts.privacy.parts.Subjects` asks about them.

    Args:
        rooms: ends workspaces.
        clock: the time.
        outbox: the folder that letters are written into where no mail server is set.
    """

    def __init__(self, rooms: Workspaces, clock: Clock, outbox: Path) -> None:
        self._rooms = rooms
        self._clock = clock
        self._outbox = outbox

    def there(self, connection: Connection, subject: Subject) -> bool:
        """Whether there is one that has not been erased."""
        if subject.is_person:
            found = people.find(connection, subject.id)
            return found is not None and found.state != "erased"
        room = workspaces.get(connection, subject.id)
        return room is not None and bool(room.name)

    def mails(self, connection: Connection, subject: Subject) -> list[str]:
        """A person's address, or those of the owners."""
        whose = [subject.id]
        if not subject.is_person:
            members = workspaces.members(connection, subject.id)
            whose = [one.person for one in members if one.role is Role.OWNER]
        found = (people.find(connection, one) for one in whose)
        return [one.mail for one in found if one is not None and one.mail]

    def hindrance(self, connection: Connection, subject: Subject) -> str:
        """A workspace must not be left without an owner."""
        if not subject.is_person:
            return ""
        for room in workspaces.of_person(connection, subject.id):
            found = workspaces.get(connection, room)
            owners = {
                one.person for one in workspaces.members(connection, room) if one.role is Role.OWNER
            }
            if owners == {subject.id} and found and found.state is not State.TERMINATED:
                return (
                    f"You are the only owner of {room}: make somebody else its owner, or erase "
                    "the workspace first."
                )
        return ""

    def refuse(self, connection: Connection, subject: Subject, erasure: str) -> None:
        """Let them in no more."""
        if subject.is_person:
            people.change(connection, subject.id, self._clock(), state="suspended")
            store_sessions.close_all(connection, subject.id)
            store_sessions.end_all(connection, subject.id)
            people.drop_links(connection, subject.id)
        else:
            self._rooms.terminate(connection, subject.id, "system", erasure)

    def unsent(self, connection: Connection, mails: Sequence[str]) -> bool:
        """Whether a letter to them waits."""
        mine = (OUTBOX.c.way == "mail") & OUTBOX.c.target.in_(mails) & (OUTBOX.c.state == "waiting")
        return connection.execute(select(OUTBOX.c.id).where(mine).limit(1)).first() is not None

    def drop_letters(self, mails: Sequence[str]) -> None:
        """Delete the files of the outbox that name one of them."""
        known = [one.lower().encode() for one in mails if one]
        if not known or not self._outbox.is_dir():
            return
        for file in [*self._outbox.glob("*.eml"), *self._outbox.glob("*.part")]:
            with suppress(FileNotFoundError):
                text = file.read_bytes().replace(b"\r\n ", b"").lower()
                if any(one in text for one in known):
                    file.unlink()

    def forget_letters(self, connection: Connection, mails: Sequence[str]) -> None:
        """Delete theirs from the outbox."""
        mine = (OUTBOX.c.way == "mail") & OUTBOX.c.target.in_(mails)
        connection.execute(delete(OUTBOX).where(mine))
