"""The SQL of sessions, known devices, counted attempts and log-ins that are half done."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from heliograph.accounts.people.store import ATTEMPTS, CEREMONIES, DEVICES, PEOPLE, SESSIONS
from heliograph.accounts.people.values import DEVICE_MS, Session, Signed

_SHOWN = tuple(column for column in SESSIONS.c if column.name != "hash")


def find(connection: Connection, hashed: bytes, now: int, idle_since: int) -> Signed | None:
    """What a token stands for; None if it has ended or its person may not log in."""
    row = connection.execute(
        select(*_SHOWN, PEOPLE.c.operator)
        .join(PEOPLE, PEOPLE.c.id == SESSIONS.c.person)
        .where(
            SESSIONS.c.hash == hashed,
            SESSIONS.c.expires_ms > now,
            SESSIONS.c.seen_ms > idle_since,
            PEOPLE.c.state == "active",
        )
    ).first()
    return Signed(_read(row), row.operator) if row else None


def listed(connection: Connection, person: str, now: int, idle_since: int) -> list[Session]:
    """A person's sessions that have not ended, oldest first."""
    asked = select(*_SHOWN).where(
        SESSIONS.c.person == person,
        SESSIONS.c.expires_ms > now,
        SESSIONS.c.seen_ms > idle_since,
    )
    return [_read(row) for row in connection.execute(asked.order_by(SESSIONS.c.id))]


def add(connection: Connection, session: Session, hashed: bytes) -> None:
    """Keep a new session."""
    values = {name: getattr(session, name) for name in session.__slots__}
    connection.execute(insert(SESSIONS).values(**values, hash=hashed))


def rotate(connection: Connection, session: str, hashed: bytes) -> bool:
    """Give a session another token; False if it has gone."""
    done = connection.execute(update(SESSIONS).where(SESSIONS.c.id == session).values(hash=hashed))
    return done.rowcount == 1


def seen(connection: Connection, session: str, now: int) -> None:
    """Note that a session is in use."""
    connection.execute(update(SESSIONS).where(SESSIONS.c.id == session).values(seen_ms=now))


def close(connection: Connection, session: str, person: str) -> bool:
    """End one session of a person; False if there is none."""
    mine = (SESSIONS.c.id == session) & (SESSIONS.c.person == person)
    return connection.execute(delete(SESSIONS).where(mine)).rowcount == 1


def close_all(connection: Connection, person: str, *, but: str = "") -> int:
    """End every session of a person, except `but`; says how many."""
    theirs = (SESSIONS.c.person == person) & (SESSIONS.c.id != but)
    return connection.execute(delete(SESSIONS).where(theirs)).rowcount


def knows_device(connection: Connection, person: str, hashed: bytes, now: int) -> bool:
    """Whether the person has logged in with this browser, in the last half year."""
    mine = (DEVICES.c.hash == hashed) & (DEVICES.c.person == person)
    asked = select(DEVICES.c.seen_ms).where(mine, DEVICES.c.seen_ms > now - DEVICE_MS)
    return connection.execute(asked).first() is not None


def touch_device(connection: Connection, hashed: bytes, now: int) -> None:
    """Note that a known device is in use."""
    connection.execute(update(DEVICES).where(DEVICES.c.hash == hashed).values(seen_ms=now))


def add_device(connection: Connection, person: str, hashed: bytes, now: int, most: int) -> bool:
    """Keep a new device, for the least used one if there are `most`; says if others are known."""
    order = select(DEVICES.c.hash).where(DEVICES.c.person == person)
    known = list(connection.execute(order.order_by(DEVICES.c.seen_ms.desc())).scalars())
    connection.execute(delete(DEVICES).where(DEVICES.c.hash.in_(known[most - 1 :])))
    connection.execute(insert(DEVICES).values(hash=hashed, person=person, seen_ms=now))
    return bool(known)


def forget_devices(connection: Connection, person: str) -> None:
    """No browser of this person is known any longer."""
    connection.execute(delete(DEVICES).where(DEVICES.c.person == person))


def attempts(connection: Connection, keys: Iterable[bytes]) -> dict[bytes, Row[Any]]:
    """What was counted under these keys; rows are made where there were none, and kept."""
    made = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    found: dict[bytes, Row[Any]] = {}
    # In one order for everybody: two log-ins must not wait for each other's rows.
    for key in sorted(keys):
        nothing = made(ATTEMPTS).values(key=key, made=0, last_ms=0, until_ms=0, forget_ms=0)
        connection.execute(nothing.on_conflict_do_nothing())
        asked = select(ATTEMPTS).where(ATTEMPTS.c.key == key).with_for_update()
        found[key] = connection.execute(asked).one()
    return found


def set_attempts(connection: Connection, key: bytes, **values: int) -> None:
    """Write what was counted under a key."""
    connection.execute(update(ATTEMPTS).where(ATTEMPTS.c.key == key).values(**values))


def forgive_attempt(connection: Connection, key: bytes) -> None:
    """Take one attempt back: it was a right one."""
    counted = (ATTEMPTS.c.key == key) & (ATTEMPTS.c.made > 0)
    connection.execute(update(ATTEMPTS).where(counted).values(made=ATTEMPTS.c.made - 1, until_ms=0))


def forget_attempts(connection: Connection, keys: Sequence[bytes]) -> None:
    """Count from nothing again."""
    connection.execute(delete(ATTEMPTS).where(ATTEMPTS.c.key.in_(keys)))


def begin(
    connection: Connection, hashed: bytes, kind: str, person: str, data: str, expires_ms: int
) -> None:
    """Keep what a log-in that has begun must remember until it ends."""
    connection.execute(
        insert(CEREMONIES).values(
            hash=hashed, kind=kind, person=person, data=data, expires_ms=expires_ms
        )
    )


def ceremony(
    connection: Connection, hashed: bytes, kind: str, now: int, *, lock: bool = True
) -> Row[*tuple[Any, ...]] | None:
    """Person and data of a log-in that is half done; `lock` keeps the row for the transaction."""
    asked = select(CEREMONIES.c.person, CEREMONIES.c.data).where(
        CEREMONIES.c.hash == hashed, CEREMONIES.c.kind == kind, CEREMONIES.c.expires_ms > now
    )
    return connection.execute(asked.with_for_update() if lock else asked).first()


def end(connection: Connection, hashed: bytes) -> bool:
    """Take it away; False if somebody else has."""
    done = connection.execute(delete(CEREMONIES).where(CEREMONIES.c.hash == hashed))
    return done.rowcount == 1


def end_all(connection: Connection, person: str) -> None:
    """No log-in that a person has begun can be completed."""
    connection.execute(delete(CEREMONIES).where(CEREMONIES.c.person == person))


def forget(connection: Connection, now: int, idle_since: int) -> None:
    """Remove what has ended."""
    old = (SESSIONS.c.expires_ms <= now) | (SESSIONS.c.seen_ms <= idle_since)
    connection.execute(delete(SESSIONS).where(old))
    connection.execute(delete(CEREMONIES).where(CEREMONIES.c.expires_ms <= now))
    connection.execute(delete(ATTEMPTS).where(ATTEMPTS.c.forget_ms <= now))
    connection.execute(delete(DEVICES).where(DEVICES.c.seen_ms <= now - DEVICE_MS))


def _read(row: Row[Any]) -> Session:
    return Session(*row[: len(_SHOWN)])
