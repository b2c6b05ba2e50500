"""Everything of privacy that lies in the database: all its SQL.

`privacy_consents` is only added to. An erasure's row forgets whose it was when it is done; its
checklist stays. `open_key` is the subject while an erasure is not over: one at a time.
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
    LargeBinary,
    Row,
    Table,
    Text,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from heliograph.accounts.privacy.values import (
    ENDED,
    Consent,
    Erasure,
    ErasureState,
    Export,
    ExportState,
    Outcome,
    Purpose,
    Tick,
)
from heliograph.storage.tables import METADATA, SEQUENCE

CONSENTS = Table(
    "privacy_consents",
    METADATA,
    Column("seq", SEQUENCE, primary_key=True, autoincrement=True),
    Column("subject", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("given", Boolean, nullable=False),
    Column("version", Text, nullable=False),
    Column("locale", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Index("ix_privacy_consents_subject", "subject", "purpose", "seq"),
)
TEXTS = Table(
    "privacy_texts",
    METADATA,
    Column("version", Text, primary_key=True),
    Column("locale", Text, primary_key=True),
    Column("words", Text, nullable=False),
)
EXPORTS = Table(
    "privacy_exports",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("subject", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("state", Text, nullable=False),
    # The subject while it is queued or made: a second one at the same time would be the same.
    Column("open_key", Text, unique=True),
    Column("asked_ms", BigInteger, nullable=False),
    Column("made_ms", BigInteger, nullable=False),
    Column("until_ms", BigInteger, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("claim_ms", BigInteger, nullable=False),
    Column("ref", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("digest", Text, nullable=False),
    Index("ix_privacy_exports_subject", "subject", "id"),
    Index("ix_privacy_exports_state", "state", "id"),
)
ERASURES = Table(
    "privacy_erasures",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("subject", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("second", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("open_key", Text, unique=True),
    Column("waits", Text, nullable=False),
    Column("asked_ms", BigInteger, nullable=False),
    Column("begins_ms", BigInteger, nullable=False),
    Column("due_ms", BigInteger, nullable=False),
    Column("turned_ms", BigInteger, nullable=False),
    Column("alarms", Integer, nullable=False),
    Column("done_ms", BigInteger, nullable=False),
    Index("ix_privacy_erasures_subject", "subject", "id"),
)
TICKS = Table(
    "privacy_erasure_places",
    METADATA,
    Column("erasure", Text, primary_key=True),
    Column("place", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("items", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("law", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)
SIGNERS = Table(
    "privacy_signers",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("public", LargeBinary, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)
REPORTS = Table(
    "privacy_reports",
    METADATA,
    Column("seq", SEQUENCE, primary_key=True, autoincrement=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("lines", Text, nullable=False),
)

# --- consents ----------------------------------------------------------------------------------


def add_consent(connection: Connection, **values: Any) -> Consent:
    """Write a line of the ledger."""
    made = connection.execute(insert(CONSENTS).values(**values))
    key: Any = made.inserted_primary_key
    return Consent(seq=key[0], **values)


def keep_text(connection: Connection, version: str, locale: str, words: str) -> None:
    """Keep what was shown, for as long as somebody may have agreed to it."""
    key = (TEXTS.c.version == version) & (TEXTS.c.locale == locale)
    if connection.execute(select(TEXTS.c.version).where(key)).first():
        return
    try:
        with connection.begin_nested():
            connection.execute(insert(TEXTS).values(version=version, locale=locale, words=words))
    except IntegrityError:
        # Another process has kept the same words a moment ago.
        return


def words(connection: Connection, version: str) -> str:
    """The words of a version; empty if nobody ever agreed to it."""
    asked = select(TEXTS.c.words).where(TEXTS.c.version == version).limit(1)
    return connection.execute(asked).scalar() or ""


def consents(connection: Connection, subject: str, after: int, limit: int) -> list[Consent]:
    """The ledger of a subject, the oldest first."""
    asked = select(CONSENTS).where(CONSENTS.c.subject == subject, CONSENTS.c.seq > after)
    found = connection.execute(asked.order_by(CONSENTS.c.seq).limit(limit))
    return [_consent(row) for row in found]


def standing(connection: Connection, subject: str = "") -> list[Consent]:
    """The newest line of each subject and purpose; of all subjects if none is named."""
    newest = select(func.max(CONSENTS.c.seq)).group_by(CONSENTS.c.subject, CONSENTS.c.purpose)
    if subject:
        newest = newest.where(CONSENTS.c.subject == subject)
    asked = select(CONSENTS).where(CONSENTS.c.seq.in_(newest)).order_by(CONSENTS.c.seq)
    return [_consent(row) for row in connection.execute(asked)]


def consents_mark(connection: Connection) -> tuple[int, int]:
    """Changes whenever the ledger does: numbers may be committed out of their order."""
    row = connection.execute(select(func.max(CONSENTS.c.seq), func.count(CONSENTS.c.seq))).one()
    return row[0] or 0, row[1]


def _consent(row: Row[Any]) -> Consent:
    values = {name: getattr(row, name) for name in Consent.__slots__}
    values["purpose"], values["given"] = Purpose(row.purpose), bool(row.given)
    return Consent(**values)


# --- exports -----------------------------------------------------------------------------------


def add_export(connection: Connection, one: Export) -> None:
    """Write a new export; IntegrityError if one of the subject is on its way."""
    values = {name: getattr(one, name) for name in Export.__slots__}
    connection.execute(insert(EXPORTS).values(**values, open_key=one.subject))


def export(connection: Connection, id_: str, *, lock: bool = False) -> Export | None:
    """One export."""
    asked = select(EXPORTS).where(EXPORTS.c.id == id_)
    row = connection.execute(asked.with_for_update() if lock else asked).one_or_none()
    return _export(row) if row else None


def exports(connection: Connection, subject: str, after: str, limit: int) -> list[Export]:
    """Exports of a subject, the oldest first."""
    asked = select(EXPORTS).where(EXPORTS.c.subject == subject, EXPORTS.c.id > after)
    return [_export(row) for row in connection.execute(asked.order_by(EXPORTS.c.id).limit(limit))]


def waiting_exports(connection: Connection, now: int) -> list[str]:
    """Exports that somebody should make: new ones, and those whose maker has died."""
    dead = (EXPORTS.c.state == ExportState.MAKING) & (EXPORTS.c.claim_ms <= now)
    asked = select(EXPORTS.c.id).where(or_(EXPORTS.c.state == ExportState.QUEUED, dead))
    return list(connection.scalars(asked.order_by(EXPORTS.c.id).limit(50)))


def spent_exports(connection: Connection, now: int) -> list[Export]:
    """Exports whose term is over; locked."""
    asked = select(EXPORTS).where(EXPORTS.c.state == ExportState.READY, EXPORTS.c.until_ms <= now)
    return [_export(row) for row in connection.execute(asked.limit(200).with_for_update())]


def change_export(connection: Connection, id_: str, **values: Any) -> None:
    """Change an export that this transaction holds."""
    connection.execute(update(EXPORTS).where(EXPORTS.c.id == id_).values(**values))


def drop_exports(connection: Connection, subject: str) -> int:
    """Delete the rows of a subject; says how many."""
    return connection.execute(delete(EXPORTS).where(EXPORTS.c.subject == subject)).rowcount


def refs(connection: Connection, subject: str) -> list[str]:
    """Where the exports of a subject lie."""
    asked = select(EXPORTS.c.ref).where(EXPORTS.c.subject == subject, EXPORTS.c.ref != "")
    return list(connection.scalars(asked))


def _export(row: Row[Any]) -> Export:
    values: dict[str, Any] = {name: getattr(row, name) for name in Export.__slots__}
    values["state"] = ExportState(row.state)
    return Export(**values)


def signer(connection: Connection) -> tuple[bytes, bytes] | None:
    """The key that signs exports: its public half, and the sealed private one."""
    row = connection.execute(select(SIGNERS).where(SIGNERS.c.id == 1)).one_or_none()
    return (bytes(row.public), bytes(row.sealed)) if row else None


def add_signer(connection: Connection, public: bytes, sealed: bytes) -> None:
    """Keep the key; IntegrityError if there is one."""
    connection.execute(insert(SIGNERS).values(id=1, public=public, sealed=sealed))


# --- erasures ----------------------------------------------------------------------------------


def add_erasure(connection: Connection, one: Erasure) -> None:
    """Write a new erasure; IntegrityError if one of the subject is not over."""
    values = {name: getattr(one, name) for name in Erasure.__slots__}
    connection.execute(insert(ERASURES).values(**values, open_key=one.subject))


def erasure(connection: Connection, id_: str, *, lock: bool = False) -> Erasure | None:
    """One erasure."""
    asked = select(ERASURES).where(ERASURES.c.id == id_)
    row = connection.execute(asked.with_for_update() if lock else asked).one_or_none()
    return _erasure(row) if row else None


def erasure_of(connection: Connection, subject: str) -> Erasure | None:
    """The one of a subject that is not over."""
    row = connection.execute(select(ERASURES).where(ERASURES.c.open_key == subject)).one_or_none()
    return _erasure(row) if row else None


def erasures(connection: Connection, after: str, limit: int) -> list[Erasure]:
    """All of them, the oldest first."""
    asked = select(ERASURES).where(ERASURES.c.id > after).order_by(ERASURES.c.id).limit(limit)
    return [_erasure(row) for row in connection.execute(asked)]


def open_erasures(connection: Connection) -> list[Erasure]:
    """Those that are not over, the oldest first."""
    asked = select(ERASURES).where(ERASURES.c.state.not_in(ENDED)).order_by(ERASURES.c.id)
    return [_erasure(row) for row in connection.execute(asked)]


def change_erasure(connection: Connection, id_: str, **values: Any) -> None:
    """Change an erasure that this transaction holds."""
    connection.execute(update(ERASURES).where(ERASURES.c.id == id_).values(**values))


def tick(connection: Connection, id_: str, place: str, outcome: Outcome, now: int) -> None:
    """Write a line of a checklist, under the erasure's lock."""
    values = {"erasure": id_, "place": place, **outcome._asdict(), "at_ms": now}
    connection.execute(insert(TICKS).values(**values))


def ticks(connection: Connection, id_: str) -> list[Tick]:
    """A checklist, in the order in which it was done."""
    columns = [TICKS.c[name] for name in Tick._fields]
    asked = select(*columns).where(TICKS.c.erasure == id_).order_by(TICKS.c.at_ms, TICKS.c.place)
    return [Tick(*row) for row in connection.execute(asked)]


def _erasure(row: Row[Any]) -> Erasure:
    values: dict[str, Any] = {name: getattr(row, name) for name in Erasure.__slots__}
    values["state"] = ErasureState(row.state)
    return Erasure(**values)


# --- reports -----------------------------------------------------------------------------------


def add_report(connection: Connection, at_ms: int, lines: str) -> None:
    """Keep a report of deletions."""
    connection.execute(insert(REPORTS).values(at_ms=at_ms, lines=lines))


def reports(connection: Connection, limit: int) -> Sequence[Row[int, str]]:
    """The newest reports, the newest first: at_ms, lines."""
    asked = select(REPORTS.c.at_ms, REPORTS.c.lines).order_by(REPORTS.c.seq.desc())
    return connection.execute(asked.limit(limit)).all()
