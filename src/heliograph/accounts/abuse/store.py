"""Everything of the abuse procedure that lies in the database.

Who reported lies in `abuse_reports` alone and is read by nothing but the letter about the outcome.
`open_key` is the subject while its case can take further reports, so that duplicates meet in one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Index,
    Integer,
    Row,
    Table,
    Text,
    and_,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from heliograph.accounts.abuse.values import (
    Action,
    Appeal,
    Case,
    CaseState,
    Decision,
    Force,
    Ground,
    Outcome,
    Ruling,
    Severity,
)
from heliograph.storage.tables import METADATA

REPORTS = Table(
    "abuse_reports",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("case", Text, nullable=False),
    Column("ground", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("contact", Text, nullable=False),
    Column("reporter", Text, nullable=False),
    Column("sender", Text, nullable=False),
    Column("signal", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Index("ix_abuse_reports_case", "case"),
    Index("ix_abuse_reports_created_ms", "created_ms"),
)
SENDERS = Table(
    "abuse_senders",
    METADATA,
    Column("sender", Text, primary_key=True),
    Column("hour", BigInteger, nullable=False),
    Column("reports", Integer, nullable=False),
)
CASES = Table(
    "abuse_cases",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("subject", Text, nullable=False),
    Column("workspace", Text, nullable=False),
    Column("ground", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("open_key", Text, unique=True),
    Column("automatic", Boolean, nullable=False),
    Column("hidden", Boolean, nullable=False),
    Column("held", Boolean, nullable=False),
    Column("reports", Integer, nullable=False),
    Column("opened_ms", BigInteger, nullable=False),
    Column("due_ms", BigInteger, nullable=False),
    Column("alarmed_ms", BigInteger, nullable=False, default=0),
    Column("decided_ms", BigInteger, nullable=False, default=0),
    Column("merged", Text, nullable=False, default=""),
    Index("ix_abuse_cases_state", "state", "id"),
    Index("ix_abuse_cases_subject", "subject"),
)
DECISIONS = Table(
    "abuse_decisions",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("case", Text, nullable=False),
    Column("workspace", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("force", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("ground", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("facts", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("until_ms", BigInteger, nullable=False),
    Column("automation", Boolean, nullable=False),
    Column("unfounded", Boolean, nullable=False),
    Column("decider", Text, nullable=False),
    Column("second", Text, nullable=False, default=""),
    Column("made_ms", BigInteger, nullable=False),
    Column("begun_ms", BigInteger, nullable=False, default=0),
    Column("ended_ms", BigInteger, nullable=False, default=0),
    Index("ix_abuse_decisions_case", "case"),
    Index("ix_abuse_decisions_workspace", "workspace", "id"),
    Index("ix_abuse_decisions_force", "force", "until_ms"),
)
STRIKES = Table(
    "abuse_strikes",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("decision", Text, nullable=False),
    Column("added_ms", BigInteger, nullable=False),
    Column("until_ms", BigInteger, nullable=False),
    Column("reversed_ms", BigInteger, nullable=False, default=0),
    Index("ix_abuse_strikes_holder", "holder"),
    Index("ix_abuse_strikes_decision", "decision"),
)
APPEALS = Table(
    "abuse_appeals",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("decision", Text, nullable=False),
    # One appeal a decision; what an appeal changed is a decision of its own.
    Column("open_key", Text, nullable=False, unique=True),
    Column("case", Text, nullable=False),
    Column("workspace", Text, nullable=False),
    Column("person", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("due_ms", BigInteger, nullable=False),
    Column("alarmed_ms", BigInteger, nullable=False, default=0),
    Column("reviewer", Text, nullable=False, default=""),
    Column("outcome", Text, nullable=False, default=""),
    Column("reasons", Text, nullable=False, default=""),
    Column("decided_ms", BigInteger, nullable=False, default=0),
    Index("ix_abuse_appeals_outcome", "outcome", "id"),
)
COPIES = Table(
    "abuse_copies",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("case", Text, nullable=False),
    Column("ref", Text, nullable=False),
    Column("added_by", Text, nullable=False),
    Column("added_ms", BigInteger, nullable=False),
    Column("gone_ms", BigInteger, nullable=False, default=0),
    Index("ix_abuse_copies_case", "case"),
)
GRANTS = Table(
    "abuse_grants",
    METADATA,
    Column("copy", Text, primary_key=True),
    Column("viewer", Text, primary_key=True),
    Column("granter", Text, nullable=False),
    Column("until_ms", BigInteger, nullable=False),
)


LOCKS = Table("abuse_locks", METADATA, Column("holder", Text, primary_key=True))


def count_sender(connection: Connection, sender: str, hour: int) -> int:
    """Count a report of a sender; gives how many it has made in this hour."""
    key = SENDERS.c.sender == sender
    found = connection.execute(select(SENDERS).where(key).with_for_update()).one_or_none()
    if found is None:
        connection.execute(insert(SENDERS).values(sender=sender, hour=hour, reports=1))
        return 1
    count: int = found.reports + 1 if found.hour == hour else 1
    connection.execute(update(SENDERS).where(key).values(hour=hour, reports=count))
    return count


def forget_senders(connection: Connection, before: int) -> None:
    """Drop the counts of hours before `before`."""
    connection.execute(delete(SENDERS).where(SENDERS.c.hour < before))


def add(connection: Connection, table: Table, values: dict[str, Any]) -> None:
    """Write one row; IntegrityError where it must be alone and is not."""
    connection.execute(insert(table).values(**values))


def change(connection: Connection, table: Table, id_: str, **values: Any) -> None:
    """Change a row that this transaction holds."""
    connection.execute(update(table).where(table.c.id == id_).values(**values))


def case(connection: Connection, id_: str, *, lock: bool = False) -> Case | None:
    """One case, locked if it is to be changed."""
    query = select(CASES).where(CASES.c.id == id_)
    found = connection.execute(query.with_for_update() if lock else query).one_or_none()
    return _case(found) if found else None


def open_case(connection: Connection, subject: str) -> Case | None:
    """The case that takes further reports on a subject, locked."""
    query = select(CASES).where(CASES.c.open_key == subject).with_for_update()
    found = connection.execute(query).one_or_none()
    return _case(found) if found else None


def cases(connection: Connection, state: str, after: str, limit: int) -> tuple[Case, ...]:
    """Cases in a state, or all, from the oldest on."""
    query = select(CASES).where(CASES.c.id > after).order_by(CASES.c.id).limit(limit)
    if state:
        query = query.where(CASES.c.state == state)
    return tuple(map(_case, connection.execute(query)))


def late_cases(connection: Connection, now: int) -> tuple[Case, ...]:
    """Undecided cases past their deadline, of which no alarm went yet; locked."""
    query = select(CASES).where(
        CASES.c.state.in_([CaseState.OPEN, CaseState.PROPOSED]),
        CASES.c.alarmed_ms == 0,
        CASES.c.due_ms <= now,
    )
    return tuple(map(_case, connection.execute(query.with_for_update())))


def reports(connection: Connection, case_id: str) -> Sequence[Any]:
    """What was reported: id, ground, text, signal, created_ms. Never who reported it."""
    query = select(
        REPORTS.c.id, REPORTS.c.ground, REPORTS.c.text, REPORTS.c.signal, REPORTS.c.created_ms
    )
    return connection.execute(
        query.where(REPORTS.c.case == case_id).order_by(REPORTS.c.id).limit(200)
    ).all()


def reporters(connection: Connection, case_id: str) -> Sequence[Any]:
    """Who reported: contact, reporter, sender. For letters about the outcome, and strikes."""
    query = select(REPORTS.c.contact, REPORTS.c.reporter, REPORTS.c.sender)
    humans = query.where(REPORTS.c.case == case_id, REPORTS.c.signal == "")
    return connection.execute(humans.distinct()).all()


def move_reports(connection: Connection, case_id: str, into: str) -> int:
    """Take a case's reports along into another one; gives how many."""
    moving = update(REPORTS).where(REPORTS.c.case == case_id).values(case=into)
    return connection.execute(moving).rowcount


def forget_reporters(connection: Connection, before: int) -> int:
    """Blank who reported, of cases decided before `before`; gives how many reports."""
    done = select(CASES.c.id).where(
        CASES.c.state == CaseState.DECIDED, CASES.c.decided_ms <= before
    )
    known = or_(REPORTS.c.contact != "", REPORTS.c.reporter != "", REPORTS.c.sender != "")
    blank = update(REPORTS).where(REPORTS.c.case.in_(done), known)
    return connection.execute(blank.values(contact="", reporter="", sender="")).rowcount


def decision(connection: Connection, id_: str, *, lock: bool = False) -> Decision | None:
    """One decision, locked if it is to be changed."""
    query = select(DECISIONS).where(DECISIONS.c.id == id_)
    found = connection.execute(query.with_for_update() if lock else query).one_or_none()
    return _decision(found) if found else None


def decisions_on(connection: Connection, case_id: str) -> tuple[Decision, ...]:
    """Every decision on a case, the first first."""
    query = select(DECISIONS).where(DECISIONS.c.case == case_id).order_by(DECISIONS.c.id)
    return tuple(map(_decision, connection.execute(query)))


def statements(
    connection: Connection, workspace: str, after: str, limit: int
) -> tuple[Decision, ...]:
    """What was decided about a workspace and came into force."""
    query = select(DECISIONS).where(
        DECISIONS.c.workspace == workspace,
        DECISIONS.c.force.not_in([Force.PROPOSED, Force.DECLINED]),
        DECISIONS.c.action != Action.NO_ACTION,
        DECISIONS.c.id > after,
    )
    return tuple(map(_decision, connection.execute(query.order_by(DECISIONS.c.id).limit(limit))))


def in_force(connection: Connection, workspace: str) -> tuple[Decision, ...]:
    """The measures that a workspace is under."""
    query = select(DECISIONS).where(
        DECISIONS.c.workspace == workspace, DECISIONS.c.force == Force.IN_FORCE
    )
    return tuple(map(_decision, connection.execute(query)))


def over(connection: Connection, now: int) -> tuple[Decision, ...]:
    """Measures whose term is over."""
    query = select(DECISIONS).where(
        DECISIONS.c.force == Force.IN_FORCE, DECISIONS.c.until_ms.between(1, now)
    )
    return tuple(map(_decision, connection.execute(query.order_by(DECISIONS.c.id).limit(200))))


def lock(connection: Connection, holder: str) -> None:
    """Let one transaction at a time change what a workspace is under.

    Two measures at the same moment would each miss the other, and the one that is written last
    would win. Always taken after the case's lock.
    """
    try:
        with connection.begin_nested():
            connection.execute(insert(LOCKS).values(holder=holder))
    except IntegrityError:
        connection.execute(select(LOCKS).where(LOCKS.c.holder == holder).with_for_update())


def waits_hidden(connection: Connection, subject: str) -> bool:
    """Whether an undecided case hides a subject."""
    query = select(CASES.c.id).where(CASES.c.open_key == subject, CASES.c.hidden.is_(True))
    return connection.execute(query).one_or_none() is not None


def strikes(connection: Connection, holder: str, now: int) -> int:
    """How many strikes of a holder count at `now`."""
    query = select(func.count()).where(
        STRIKES.c.holder == holder, STRIKES.c.reversed_ms == 0, STRIKES.c.until_ms > now
    )
    return connection.execute(query).scalar_one()


def reverse_strikes(connection: Connection, decision_id: str, now: int) -> list[str]:
    """Take back the strikes that a decision added; gives their holders."""
    held = and_(STRIKES.c.decision == decision_id, STRIKES.c.reversed_ms == 0)
    holders = list(connection.scalars(select(STRIKES.c.holder).where(held)))
    connection.execute(update(STRIKES).where(held).values(reversed_ms=now))
    return holders


def appeal(connection: Connection, id_: str, *, lock: bool = False) -> Appeal | None:
    """One appeal, locked if it is to be changed."""
    query = select(APPEALS).where(APPEALS.c.id == id_)
    found = connection.execute(query.with_for_update() if lock else query).one_or_none()
    return _appeal(found) if found else None


def appeals(
    connection: Connection, after: str, limit: int, *, workspace: str = "", pending: bool = False
) -> tuple[Appeal, ...]:
    """Appeals, the oldest first: a workspace's, or everybody's."""
    query = select(APPEALS).where(APPEALS.c.id > after).order_by(APPEALS.c.id).limit(limit)
    if workspace:
        query = query.where(APPEALS.c.workspace == workspace)
    if pending:
        query = query.where(APPEALS.c.outcome == "")
    return tuple(map(_appeal, connection.execute(query)))


def appeals_of(connection: Connection, decisions: Sequence[str]) -> tuple[Appeal, ...]:
    """The appeals against these decisions."""
    query = select(APPEALS).where(APPEALS.c.decision.in_(decisions))
    return tuple(map(_appeal, connection.execute(query)))


def late_appeals(connection: Connection, now: int) -> tuple[Appeal, ...]:
    """Undecided appeals past their deadline, of which no alarm went yet; locked."""
    query = select(APPEALS).where(
        APPEALS.c.outcome == "", APPEALS.c.alarmed_ms == 0, APPEALS.c.due_ms <= now
    )
    return tuple(map(_appeal, connection.execute(query.with_for_update())))


def holds(connection: Connection, names: Sequence[str]) -> bool:
    """Whether a hold lies on one of these subjects or workspaces."""
    named = or_(CASES.c.subject.in_(names), CASES.c.workspace.in_(names))
    query = select(CASES.c.id).where(CASES.c.held.is_(True), named).limit(1)
    return connection.execute(query).one_or_none() is not None


def copy(connection: Connection, id_: str) -> Row[Any] | None:
    """One preserved copy."""
    return connection.execute(select(COPIES).where(COPIES.c.id == id_)).one_or_none()


def copies(connection: Connection, case_id: str) -> Sequence[Row[Any]]:
    """The copies of a case that are there."""
    query = select(COPIES).where(COPIES.c.case == case_id, COPIES.c.gone_ms == 0)
    return connection.execute(query.order_by(COPIES.c.id)).all()


def free_copies(connection: Connection) -> Sequence[Row[Any]]:
    """Copies that are still there though their case is no longer held."""
    query = select(COPIES).join(CASES, CASES.c.id == COPIES.c.case)
    free = query.where(COPIES.c.gone_ms == 0, CASES.c.held.is_(False))
    return connection.execute(free.limit(200)).all()


def grant(connection: Connection, copy_id: str, viewer: str) -> Row[Any] | None:
    """Who has let a viewer see a copy, and until when."""
    query = select(GRANTS).where(GRANTS.c.copy == copy_id, GRANTS.c.viewer == viewer)
    return connection.execute(query).one_or_none()


def keep_grant(connection: Connection, values: dict[str, Any]) -> None:
    """Write a grant in the place of the one before."""
    key = and_(GRANTS.c.copy == values["copy"], GRANTS.c.viewer == values["viewer"])
    if connection.execute(update(GRANTS).where(key).values(**values)).rowcount == 0:
        connection.execute(insert(GRANTS).values(**values))


def _case(row: Row[Any]) -> Case:
    values = {name: getattr(row, name) for name in Case.__slots__}
    values["ground"], values["state"] = Ground(row.ground), CaseState(row.state)
    values["severity"] = Severity(row.severity)
    return Case(**values)


def _decision(row: Row[Any]) -> Decision:
    ruling = {name: getattr(row, name) for name in Ruling.__slots__}
    ruling["action"], ruling["ground"] = Action(row.action), Ground(row.ground)
    rest = {name: getattr(row, name) for name in Decision.__slots__ if name != "ruling"}
    rest["force"] = Force(row.force)
    return Decision(**rest, ruling=Ruling(**ruling))


def _appeal(row: Row[Any]) -> Appeal:
    values = {name: getattr(row, name) for name in Appeal.__slots__}
    values["outcome"] = Outcome(row.outcome) if row.outcome else None
    return Appeal(**values)
