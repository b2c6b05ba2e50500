"""Audit's tables and all its SQL.

`audit` holds the chain, `audit_head` its end (the row that writers of several processes queue at),
`audit_subjects` who stands behind a pseudonym: the only one of the three from which rows go.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    LargeBinary,
    Select,
    Table,
    Text,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from heliograph.audit.values import Entry, Filter, Head
from heliograph.audit.verifier import GENESIS
from heliograph.storage.tables import METADATA

AUDIT = Table(
    "audit",
    METADATA,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("act", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("workspace", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("prev", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Index(None, "workspace", "seq"),
    Index(None, "subject", "seq"),
    Index(None, "act", "seq"),
)
HEAD = Table(
    "audit_head",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    Column("hash", Text, nullable=False),
)
SUBJECTS = Table(
    "audit_subjects",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("pseudonym", Text, nullable=False, unique=True),
    Column("salt", LargeBinary, nullable=False),
    Column("made_ms", BigInteger, nullable=False),
)
_CHUNK = 2000
_ENTRY = tuple(AUDIT.c[name] for name in Entry.__dataclass_fields__)


def lock_head(connection: Connection) -> Head:
    """The end of the chain; nobody else can append until this transaction ends."""
    asked = select(HEAD.c.seq, HEAD.c.hash).where(HEAD.c.id == 1).with_for_update()
    found = connection.execute(asked).one_or_none()
    if found is None:
        kind = postgresql if connection.dialect.name == "postgresql" else sqlite
        first = kind.insert(HEAD).values(id=1, seq=0, hash=GENESIS)
        connection.execute(first.on_conflict_do_nothing())
        found = connection.execute(asked).one()
    return Head(found.seq, found.hash)


def add(connection: Connection, entries: Sequence[Entry]) -> None:
    """Write entries that follow the head, and move it; under its lock."""
    rows = [{name: getattr(one, name) for name in Entry.__dataclass_fields__} for one in entries]
    connection.execute(insert(AUDIT), rows)
    last = entries[-1]
    connection.execute(update(HEAD).where(HEAD.c.id == 1).values(seq=last.seq, hash=last.hash))


def head(connection: Connection) -> Head:
    """The end of the chain as it is written down."""
    found = connection.execute(select(HEAD.c.seq, HEAD.c.hash)).one_or_none()
    return Head(found.seq, found.hash) if found else Head()


def rows(connection: Connection) -> Iterator[Any]:
    """Every row in order, with the columns of `Entry`, as it is: anybody may have written it."""
    last: int | None = None
    while True:
        asked = select(*_ENTRY).order_by(AUDIT.c.seq).limit(_CHUNK)
        found = connection.execute(asked if last is None else asked.where(AUDIT.c.seq > last)).all()
        yield from found
        if len(found) < _CHUNK:
            return
        last = found[-1].seq


def count(connection: Connection) -> int:
    """How many events there are."""
    return connection.execute(select(func.count()).select_from(AUDIT)).scalar_one()


def hashes(connection: Connection, start: int, end: int) -> list[str]:
    """The hashes of events `start` (inclusive, from 0 as leaves are counted) to `end`."""
    asked = select(AUDIT.c.hash).where(AUDIT.c.seq > start, AUDIT.c.seq <= end)
    return list(connection.execute(asked.order_by(AUDIT.c.seq)).scalars())


def get(connection: Connection, seq: int, workspace: str | None) -> Entry | None:
    """One event; None if there is none, or it is another workspace's."""
    asked = select(*_ENTRY).where(AUDIT.c.seq == seq)
    if workspace is not None:
        asked = asked.where(AUDIT.c.workspace == workspace)
    found = connection.execute(asked).one_or_none()
    return Entry(*found) if found else None


def page(connection: Connection, wanted: Filter) -> list[Entry]:
    """Events that a filter lets through, the newest first."""
    found = connection.execute(_narrowed(wanted).order_by(AUDIT.c.seq.desc()).limit(wanted.limit))
    return [Entry(*one) for one in found]


def _narrowed(wanted: Filter) -> Select[Any]:
    asked = select(*_ENTRY)
    if wanted.workspace is not None:
        asked = asked.where(AUDIT.c.workspace == wanted.workspace)
    if wanted.act is not None:
        asked = asked.where(AUDIT.c.act == str(wanted.act))
    if wanted.actor:
        asked = asked.where(AUDIT.c.actor == wanted.actor)
    if wanted.subject:
        asked = asked.where(AUDIT.c.subject == wanted.subject)
    if wanted.since_ms:
        asked = asked.where(AUDIT.c.at_ms >= wanted.since_ms)
    if wanted.until_ms:
        asked = asked.where(AUDIT.c.at_ms < wanted.until_ms)
    return asked.where(AUDIT.c.seq < wanted.before) if wanted.before else asked


# --- who stands behind a pseudonym -----------------------------------------------------------


def known(connection: Connection, ids: Collection[str]) -> dict[str, str]:
    """The pseudonyms of those of the ids that have one."""
    asked = select(SUBJECTS.c.id, SUBJECTS.c.pseudonym).where(SUBJECTS.c.id.in_(ids))
    return {one.id: one.pseudonym for one in connection.execute(asked)}


def behind(connection: Connection, pseudonyms: Collection[str]) -> dict[str, str]:
    """The ids behind those of the pseudonyms that are not forgotten."""
    asked = select(SUBJECTS.c.id, SUBJECTS.c.pseudonym).where(SUBJECTS.c.pseudonym.in_(pseudonyms))
    return {one.pseudonym: one.id for one in connection.execute(asked)}


def introduce(connection: Connection, made: Sequence[Mapping[str, object]]) -> None:
    """Remember new pseudonyms; under the head's lock, so that nobody gets two."""
    connection.execute(insert(SUBJECTS), made)


def shred(connection: Connection, id: str) -> str:  # noqa: A002 - as everywhere in the house
    """Forget who stands behind a pseudonym.

    Returns:
        The pseudonym; empty if there was none.
    """
    where = SUBJECTS.c.id == id
    found = connection.execute(select(SUBJECTS.c.pseudonym).where(where)).scalar_one_or_none()
    if found is not None:
        _overwrite_deleted(connection)
        connection.execute(delete(SUBJECTS).where(where))
    return found or ""


def shred_addresses(connection: Connection, before_ms: int) -> int:
    """Forget the network addresses that came up before `before_ms`; says how many."""
    _overwrite_deleted(connection)
    old = delete(SUBJECTS).where(
        SUBJECTS.c.made_ms < before_ms, SUBJECTS.c.pseudonym.startswith("source_", autoescape=True)
    )
    return connection.execute(old).rowcount


def _overwrite_deleted(connection: Connection) -> None:
    """Have SQLite write zeros over what is deleted, rather than only forget where it was."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA secure_delete=ON").close()
