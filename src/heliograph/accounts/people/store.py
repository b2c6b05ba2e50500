"""Every table of people, and the SQL of people themselves and of the links they are sent.

The SQL of sessions is in `store_sessions.py`, that of what they prove themselves with in
`store_factors.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Row,
    Table,
    Text,
    delete,
    insert,
    select,
    update,
)

from heliograph.accounts.people.values import Person, Purpose, State
from heliograph.storage.tables import METADATA

PEOPLE = Table(
    "people",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("mail", Text, nullable=False),
    Column("mail_folded", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("password", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("approved", Boolean, nullable=False),
    Column("operator", Boolean, nullable=False),
    Column("verified_ms", BigInteger, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("changed_ms", BigInteger, nullable=False),
    Column("locale", Text, nullable=False),
)


def _person(*, key: bool = False) -> Column[str]:
    """The column that says whose a row is."""
    return Column("person", Text, ForeignKey("people.id"), primary_key=key, nullable=False)


MAIL_TOKENS = Table(
    "mail_tokens",
    METADATA,
    Column("hash", LargeBinary, primary_key=True),
    _person(),
    Column("purpose", Text, nullable=False),
    # Where it was sent: it proves that address and no other.
    Column("mail", Text, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Index(None, "person"),
)
SESSIONS = Table(
    "sessions",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("hash", LargeBinary, nullable=False, unique=True),
    _person(),
    Column("created_ms", BigInteger, nullable=False),
    Column("signed_ms", BigInteger, nullable=False),
    Column("seen_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Column("address", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("strength", Text, nullable=False),
    Index(None, "person"),
)
DEVICES = Table(
    "known_devices",
    METADATA,
    Column("hash", LargeBinary, primary_key=True),
    _person(),
    Column("seen_ms", BigInteger, nullable=False),
    Index(None, "person"),
)
ATTEMPTS = Table(
    "attempts",
    METADATA,
    # A hash of what is counted: addresses are not kept.
    Column("key", LargeBinary, primary_key=True),
    Column("made", Integer, nullable=False),
    Column("last_ms", BigInteger, nullable=False),
    Column("until_ms", BigInteger, nullable=False),
    Column("forget_ms", BigInteger, nullable=False),
)
CEREMONIES = Table(
    "ceremonies",
    METADATA,
    Column("hash", LargeBinary, primary_key=True),
    Column("kind", Text, nullable=False),
    # Empty where nobody has said yet who they are.
    Column("person", Text, nullable=False),
    Column("data", Text, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Index(None, "person"),
)
TOTP = Table(
    "totp",
    METADATA,
    _person(key=True),
    Column("secret", LargeBinary, nullable=False),
    # 0 until the first code has shown that the person's device has the secret.
    Column("confirmed_ms", BigInteger, nullable=False),
    Column("last_step", BigInteger, nullable=False),
)
RECOVERY_CODES = Table(
    "recovery_codes",
    METADATA,
    _person(key=True),
    Column("hash", LargeBinary, primary_key=True),
)
PASSKEYS = Table(
    "passkeys",
    METADATA,
    Column("id", Text, primary_key=True),
    _person(),
    Column("credential", LargeBinary, nullable=False, unique=True),
    Column("public_key", LargeBinary, nullable=False),
    Column("sign_count", BigInteger, nullable=False),
    Column("name", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("used_ms", BigInteger, nullable=False),
    Index(None, "person"),
)
OIDC_LINKS = Table(
    "oidc_links",
    METADATA,
    Column("issuer", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    _person(),
    Column("created_ms", BigInteger, nullable=False),
    Index(None, "person"),
)
_OF_A_PERSON = (
    *(MAIL_TOKENS, SESSIONS, DEVICES, CEREMONIES),
    *(TOTP, RECOVERY_CODES, PASSKEYS, OIDC_LINKS),
)
_SHOWN = tuple(column for column in PEOPLE.c if column.name not in {"mail_folded", "password"})


def find(connection: Connection, person: str, *, lock: bool = False) -> Person | None:
    """A person by id; `lock` keeps the row until the transaction ends."""
    asked = select(*_SHOWN).where(PEOPLE.c.id == person)
    row = connection.execute(asked.with_for_update() if lock else asked).first()
    return _read(row) if row else None


def find_mail(connection: Connection, folded: str) -> Person | None:
    """A person by the folded form of their address; never one who was erased."""
    row = connection.execute(select(*_SHOWN).where(PEOPLE.c.mail_folded == folded)).first()
    return _read(row) if row else None


def password_of(connection: Connection, person: str) -> str:
    """The hash of a person's password; empty if there is none."""
    asked = select(PEOPLE.c.password).where(PEOPLE.c.id == person)
    return connection.execute(asked).scalar() or ""


def listed(
    connection: Connection, *, state: str = "", mail: str = "", after: str = "", limit: int = 50
) -> list[Person]:
    """People in the order of their ids, from the one after `after`.

    Args:
        connection: to read from.
        state: only those in it; empty for all.
        mail: only the one with this folded address; empty for all.
        after: the last id of the page before.
        limit: at most so many.
    """
    asked = select(*_SHOWN).where(PEOPLE.c.id > after).order_by(PEOPLE.c.id).limit(limit)
    if state:
        asked = asked.where(PEOPLE.c.state == state)
    if mail:
        asked = asked.where(PEOPLE.c.mail_folded == mail)
    return [_read(row) for row in connection.execute(asked)]


def add(connection: Connection, person: Person, folded: str, password: str) -> None:
    """Add a person; raises IntegrityError if the address is somebody's."""
    values = {name: getattr(person, name) for name in person.__slots__}
    connection.execute(
        insert(PEOPLE).values(**values, mail_folded=folded, password=password),
    )


def change(connection: Connection, person: str, now: int, **values: Any) -> None:
    """Set columns of a person."""
    connection.execute(update(PEOPLE).where(PEOPLE.c.id == person).values(**values, changed_ms=now))


def blank(connection: Connection, person: str, now: int) -> None:
    """Take everything from a row that tells of a person, and every row of theirs elsewhere."""
    for table in _OF_A_PERSON:
        connection.execute(delete(table).where(table.c.person == person))
    state: State = "erased"
    # The address must stay unique; an id is not one, since it has no @.
    nothing = {"mail": "", "mail_folded": person, "name": "", "password": "", "locale": ""}
    change(connection, person, now, **nothing, state=state, operator=False, verified_ms=0)


def forget_unverified(connection: Connection, before: int) -> None:
    """Remove people who registered before `before` and never proved their address."""
    asked = select(PEOPLE.c.id).where(
        PEOPLE.c.state == "pending",
        PEOPLE.c.verified_ms == 0,
        PEOPLE.c.password != "",
        PEOPLE.c.created_ms < before,
    )
    gone = list(connection.execute(asked.limit(1000)).scalars())
    for table in _OF_A_PERSON:
        connection.execute(delete(table).where(table.c.person.in_(gone)))
    connection.execute(delete(PEOPLE).where(PEOPLE.c.id.in_(gone)))


def add_link(
    connection: Connection,
    hashed: bytes,
    person: str,
    purpose: Purpose,
    mail: str,
    expires_ms: int,
) -> None:
    """Keep the hash of a link that is being sent to `mail`."""
    connection.execute(
        insert(MAIL_TOKENS).values(
            hash=hashed, person=person, purpose=purpose, mail=mail, expires_ms=expires_ms
        )
    )


def look_at_link(
    connection: Connection, hashed: bytes, purposes: Sequence[Purpose], now: int
) -> Row[*tuple[Any, ...]] | None:
    """Person, purpose and address of a link that holds."""
    asked = select(MAIL_TOKENS.c.person, MAIL_TOKENS.c.purpose, MAIL_TOKENS.c.mail)
    return connection.execute(
        asked.where(
            MAIL_TOKENS.c.hash == hashed,
            MAIL_TOKENS.c.purpose.in_(purposes),
            MAIL_TOKENS.c.expires_ms > now,
        )
    ).first()


def use_link(connection: Connection, hashed: bytes) -> bool:
    """Take a link away; False if somebody else has."""
    done = connection.execute(delete(MAIL_TOKENS).where(MAIL_TOKENS.c.hash == hashed))
    return done.rowcount == 1


def drop_links(connection: Connection, person: str) -> None:
    """Make every link that a person was sent worthless."""
    connection.execute(delete(MAIL_TOKENS).where(MAIL_TOKENS.c.person == person))


def forget_links(connection: Connection, now: int) -> None:
    """Remove links that hold no longer."""
    connection.execute(delete(MAIL_TOKENS).where(MAIL_TOKENS.c.expires_ms <= now))


def _read(row: Row[Any]) -> Person:
    return Person(*row)
