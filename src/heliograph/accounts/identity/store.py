"""Everything of identity that lies in the database: no name, no number, no picture.

Pictures and claims lie in the vault; here are their references. Of name and number only a keyed
hash is kept. `open_key` is unique while a check is pending: one at a time for each level.
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
    UniqueConstraint,
    and_,
    delete,
    insert,
    or_,
    select,
    update,
)

from heliograph.accounts.identity.values import Check, Evidence, Level, State
from heliograph.storage.tables import METADATA

CHECKS = Table(
    "identity_checks",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("person", Text, nullable=False),
    Column("level", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("open_key", Text, unique=True),
    Column("turn", Integer, nullable=False, default=1),
    Column("created_ms", BigInteger, nullable=False),
    Column("turned_ms", BigInteger, nullable=False),
    Column("reviewer", Text, nullable=False, default=""),
    Column("taken_ms", BigInteger, nullable=False, default=0),
    Column("fingerprint", Text, nullable=False, default=""),
    Column("duplicate", Boolean, nullable=False, default=False),
    Column("verdict", Text, nullable=False, default=""),
    Column("reference", Text, nullable=False, default=""),
    Column("appealed", Boolean, nullable=False, default=False),
    Column("claimed", Boolean, nullable=False, default=False),
    Column("reason", Text, nullable=False, default=""),
    Column("decided_ms", BigInteger, nullable=False, default=0),
    Column("until_ms", BigInteger, nullable=False, default=0),
    Index("ix_identity_checks_person", "person", "id"),
    Index("ix_identity_checks_fingerprint", "fingerprint"),
    Index("ix_identity_checks_state", "state", "id"),
)
EVIDENCE = Table(
    "identity_evidence",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("check", Text, nullable=False),
    Column("turn", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("ref", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("gone_ms", BigInteger, nullable=False, default=0),
    Index("ix_identity_evidence_check", "check"),
)
VIEWS = Table(
    "identity_views",
    METADATA,
    Column("check", Text, primary_key=True),
    Column("turn", Integer, primary_key=True),
    Column("evidence", Text, primary_key=True),
    Column("reviewer", Text, primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
)
OPINIONS = Table(
    "identity_opinions",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("check", Text, nullable=False),
    Column("turn", Integer, nullable=False),
    Column("reviewer", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    # A reviewer has one opinion a turn, whatever two of their windows try at once.
    UniqueConstraint("check", "turn", "reviewer"),
)
CODES = Table(
    "identity_codes",
    METADATA,
    Column("person", Text, primary_key=True),
    Column("level", Text, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("sent_ms", BigInteger, nullable=False),
    Column("day", BigInteger, nullable=False),
    Column("sent", Integer, nullable=False),
    Column("tries", Integer, nullable=False),
)


def add_check(connection: Connection, values: dict[str, Any]) -> None:
    """Write a new check; IntegrityError if one of that level is pending."""
    connection.execute(insert(CHECKS).values(**values))


def check(connection: Connection, id_: str, *, lock: bool = False) -> Check | None:
    """One check; locked until the transaction ends if it is to be changed."""
    query = select(CHECKS).where(CHECKS.c.id == id_)
    found = connection.execute(query.with_for_update() if lock else query).one_or_none()
    return _check(found) if found else None


def change(connection: Connection, id_: str, **values: Any) -> None:
    """Change a check that this transaction holds."""
    connection.execute(update(CHECKS).where(CHECKS.c.id == id_).values(**values))


def checks_of(connection: Connection, person: str, *, lock: bool = False) -> tuple[Check, ...]:
    """All checks of a person, the latest first."""
    query = select(CHECKS).where(CHECKS.c.person == person).order_by(CHECKS.c.id.desc())
    return tuple(map(_check, connection.execute(query.with_for_update() if lock else query)))


def verified(connection: Connection, person: str, now: int) -> list[Level]:
    """The levels of which a person has a check that is good at `now`."""
    query = select(CHECKS.c.level).where(
        CHECKS.c.person == person,
        CHECKS.c.state == State.VERIFIED,
        or_(CHECKS.c.until_ms == 0, CHECKS.c.until_ms > now),
    )
    return [Level(one) for one in connection.scalars(query)]


def page(connection: Connection, state: str, after: str, limit: int) -> tuple[Check, ...]:
    """Checks in a state, or all, from the oldest on."""
    query = select(CHECKS).where(CHECKS.c.id > after).order_by(CHECKS.c.id).limit(limit)
    if state:
        query = query.where(CHECKS.c.state == state)
    return tuple(map(_check, connection.execute(query)))


def twins(connection: Connection, person: str, fingerprint: str) -> tuple[str, ...]:
    """Checks of other people with the same name and number, pending or verified."""
    query = select(CHECKS.c.id).where(
        CHECKS.c.fingerprint == fingerprint,
        CHECKS.c.person != person,
        CHECKS.c.state.in_([State.PENDING, State.VERIFIED]),
    )
    return tuple(connection.scalars(query.order_by(CHECKS.c.id)))


def twins_of(connection: Connection, id_: str) -> tuple[str, ...]:
    """As `twins`, of a check that is there."""
    row = connection.execute(
        select(CHECKS.c.person, CHECKS.c.fingerprint).where(CHECKS.c.id == id_)
    ).one_or_none()
    return twins(connection, row.person, row.fingerprint) if row and row.fingerprint else ()


def run_out(connection: Connection, now: int, pending: int, limit: int) -> tuple[Check, ...]:
    """Checks whose term is over: verified ones, and pending ones that nobody decided."""
    query = select(CHECKS).where(
        or_(
            and_(CHECKS.c.state == State.VERIFIED, CHECKS.c.until_ms.between(1, now)),
            and_(CHECKS.c.state == State.PENDING, CHECKS.c.turned_ms <= now - pending),
        )
    )
    return tuple(map(_check, connection.execute(query.limit(limit).with_for_update())))


def add_evidence(connection: Connection, one: Evidence) -> None:
    """Write down where a piece of evidence lies."""
    values = {name: getattr(one, name) for name in Evidence.__slots__}
    connection.execute(insert(EVIDENCE).values(**values))


def evidence(connection: Connection, check_id: str) -> tuple[Evidence, ...]:
    """Every piece of a check, the first first."""
    query = select(EVIDENCE).where(EVIDENCE.c.check == check_id).order_by(EVIDENCE.c.id)
    return tuple(Evidence(*row) for row in connection.execute(query))


def spent(connection: Connection, before: int, limit: int) -> tuple[Evidence, ...]:
    """Pieces that are still there though their check was closed before `before`.

    A piece of an earlier turn is spent at once: a new turn is examined on new evidence, except an
    appeal, which takes the old along.
    """
    query = (
        select(EVIDENCE)
        .join(CHECKS, CHECKS.c.id == EVIDENCE.c.check)
        .where(
            EVIDENCE.c.gone_ms == 0,
            or_(
                and_(CHECKS.c.state != State.PENDING, CHECKS.c.decided_ms <= before),
                EVIDENCE.c.turn < CHECKS.c.turn,
            ),
        )
        .order_by(EVIDENCE.c.id)
        .limit(limit)
    )
    return tuple(Evidence(*row) for row in connection.execute(query))


def carry(connection: Connection, check_id: str, turn: int) -> None:
    """Take the evidence of the turn before along into `turn`."""
    connection.execute(
        update(EVIDENCE)
        .where(EVIDENCE.c.check == check_id, EVIDENCE.c.turn == turn - 1, EVIDENCE.c.gone_ms == 0)
        .values(turn=turn)
    )


def gone(connection: Connection, id_: str, now: int) -> bool:
    """Write down that a piece has been destroyed; whether it was this call that did."""
    done = connection.execute(
        update(EVIDENCE)
        .where(EVIDENCE.c.id == id_, EVIDENCE.c.gone_ms == 0)
        .values(gone_ms=now, ref="")
    )
    return done.rowcount == 1


def viewed(connection: Connection, one: Check, evidence_id: str, now: int) -> None:
    """Write down that the check's reviewer has seen a piece."""
    key = and_(
        VIEWS.c.check == one.id,
        VIEWS.c.turn == one.turn,
        VIEWS.c.evidence == evidence_id,
        VIEWS.c.reviewer == one.reviewer,
    )
    # The check is locked by this transaction, so nobody writes between the two statements.
    connection.execute(delete(VIEWS).where(key))
    connection.execute(
        insert(VIEWS).values(
            check=one.id, turn=one.turn, evidence=evidence_id, reviewer=one.reviewer, at_ms=now
        )
    )


def views(connection: Connection, one: Check, reviewer: str) -> set[str]:
    """The pieces that a reviewer has seen in this turn."""
    query = select(VIEWS.c.evidence).where(
        VIEWS.c.check == one.id, VIEWS.c.turn == one.turn, VIEWS.c.reviewer == reviewer
    )
    return set(connection.scalars(query))


def add_opinion(connection: Connection, values: dict[str, Any]) -> None:
    """Write down what a reviewer thinks."""
    connection.execute(insert(OPINIONS).values(**values))


def opinions(connection: Connection, check_id: str) -> Sequence[Row[Any]]:
    """What reviewers thought, the first first: turn, reviewer, outcome, reason, at_ms."""
    query = select(OPINIONS).where(OPINIONS.c.check == check_id).order_by(OPINIONS.c.id)
    return connection.execute(query).all()


def blank_opinions(connection: Connection, check_id: str) -> None:
    """Drop the reasons: their person has been erased."""
    connection.execute(update(OPINIONS).where(OPINIONS.c.check == check_id).values(reason=""))


def code(connection: Connection, person: str, level: Level) -> Row[Any] | None:
    """The code that was sent last, locked."""
    query = select(CODES).where(CODES.c.person == person, CODES.c.level == level)
    return connection.execute(query.with_for_update()).one_or_none()


def keep_code(connection: Connection, values: dict[str, Any]) -> None:
    """Write a code in the place of the one before."""
    connection.execute(
        delete(CODES).where(CODES.c.person == values["person"], CODES.c.level == values["level"])
    )
    connection.execute(insert(CODES).values(**values))


def tried(connection: Connection, person: str, level: Level) -> None:
    """Count a try."""
    connection.execute(
        update(CODES)
        .where(CODES.c.person == person, CODES.c.level == level)
        .values(tries=CODES.c.tries + 1)
    )


def use_code(connection: Connection, person: str, level: Level) -> None:
    """A code has been used; how many were sent today stays."""
    connection.execute(
        update(CODES).where(CODES.c.person == person, CODES.c.level == level).values(digest="")
    )


def drop_codes(connection: Connection, person: str) -> None:
    """Forget the codes of a person who has gone."""
    connection.execute(delete(CODES).where(CODES.c.person == person))


def _check(row: Row[Any]) -> Check:
    values = {name: getattr(row, name) for name in Check.__slots__}
    values["level"], values["state"] = Level(row.level), State(row.state)
    return Check(**values)
