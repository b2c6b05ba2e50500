"""The SQL of what people prove themselves with besides a password."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, or_, select, update

from heliograph.accounts.people.store import OIDC_LINKS, PASSKEYS, RECOVERY_CODES, TOTP


def totp(connection: Connection, person: str) -> Row[Any] | None:
    """A person's TOTP, confirmed or not."""
    return connection.execute(select(TOTP).where(TOTP.c.person == person)).first()


def put_totp(connection: Connection, person: str, secret: bytes) -> bool:
    """Begin an enrolment anew; False if one is confirmed already."""
    mine = TOTP.c.person == person
    connection.execute(delete(TOTP).where(mine, TOTP.c.confirmed_ms == 0))
    if connection.execute(select(TOTP.c.person).where(mine)).first():
        return False
    connection.execute(
        insert(TOTP).values(person=person, secret=secret, confirmed_ms=0, last_step=0)
    )
    return True


def use_step(connection: Connection, person: str, secret: bytes, step: int) -> bool:
    """Spend a time step of a secret; False if it, or a later one, was spent before."""
    mine = (TOTP.c.person == person) & (TOTP.c.secret == secret)
    unspent = mine & (TOTP.c.last_step < step)
    return connection.execute(update(TOTP).where(unspent).values(last_step=step)).rowcount == 1


def confirm_totp(connection: Connection, person: str, now: int) -> bool:
    """Make an enrolment count; False if it does already."""
    fresh = (TOTP.c.person == person) & (TOTP.c.confirmed_ms == 0)
    return connection.execute(update(TOTP).where(fresh).values(confirmed_ms=now)).rowcount == 1


def drop_totp(connection: Connection, person: str) -> bool:
    """Remove a person's TOTP; False if there was none."""
    return connection.execute(delete(TOTP).where(TOTP.c.person == person)).rowcount == 1


def set_recovery(connection: Connection, person: str, hashes: Sequence[bytes]) -> None:
    """Replace a person's recovery codes."""
    connection.execute(delete(RECOVERY_CODES).where(RECOVERY_CODES.c.person == person))
    if hashes:
        rows = [{"person": person, "hash": one} for one in hashes]
        connection.execute(insert(RECOVERY_CODES), rows)


def recovery_left(connection: Connection, person: str) -> int:
    """How many recovery codes a person has."""
    asked = select(RECOVERY_CODES.c.hash).where(RECOVERY_CODES.c.person == person)
    return len(connection.execute(asked).all())


def use_recovery(connection: Connection, person: str, hashed: bytes) -> bool:
    """Spend a recovery code; False if there is none such."""
    mine = (RECOVERY_CODES.c.person == person) & (RECOVERY_CODES.c.hash == hashed)
    return connection.execute(delete(RECOVERY_CODES).where(mine)).rowcount == 1


def passkeys(connection: Connection, person: str) -> list[Row[Any]]:
    """A person's passkeys, oldest first."""
    asked = select(PASSKEYS).where(PASSKEYS.c.person == person).order_by(PASSKEYS.c.id)
    return list(connection.execute(asked))


def passkey(connection: Connection, credential: bytes) -> Row[Any] | None:
    """A passkey by the id that its authenticator gave it."""
    return connection.execute(select(PASSKEYS).where(PASSKEYS.c.credential == credential)).first()


def add_passkey(connection: Connection, **values: Any) -> None:
    """Keep a passkey; raises IntegrityError if the credential is known."""
    connection.execute(insert(PASSKEYS).values(**values))


def use_passkey(connection: Connection, passkey: str, count: int, now: int) -> bool:
    """Note a use and its count; False if the count has not gone up: there are two of the key."""
    # Authenticators that do not count always say 0.
    higher = or_(PASSKEYS.c.sign_count < count, (PASSKEYS.c.sign_count == 0) & (count == 0))
    done = connection.execute(
        update(PASSKEYS)
        .where(PASSKEYS.c.id == passkey, higher)
        .values(sign_count=count, used_ms=now)
    )
    return done.rowcount == 1


def drop_passkey(connection: Connection, passkey: str, person: str) -> bool:
    """Remove a person's passkey; False if it is none of theirs."""
    mine = (PASSKEYS.c.id == passkey) & (PASSKEYS.c.person == person)
    return connection.execute(delete(PASSKEYS).where(mine)).rowcount == 1


def drop_all(connection: Connection, person: str) -> int:
    """Remove every factor of a person but the password; says how many."""
    count = 0
    for table in (TOTP, PASSKEYS, OIDC_LINKS):
        count += connection.execute(delete(table).where(table.c.person == person)).rowcount
    set_recovery(connection, person, ())
    return count


def link(connection: Connection, issuer: str, subject: str) -> str:
    """Whose account at a provider it is; empty if nobody's."""
    mine = (OIDC_LINKS.c.issuer == issuer) & (OIDC_LINKS.c.subject == subject)
    return connection.execute(select(OIDC_LINKS.c.person).where(mine)).scalar() or ""


def links(connection: Connection, person: str) -> list[Row[Any]]:
    """A person's accounts at providers."""
    return list(connection.execute(select(OIDC_LINKS).where(OIDC_LINKS.c.person == person)))


def add_link(connection: Connection, issuer: str, subject: str, person: str, now: int) -> None:
    """Keep that an account at a provider is a person's; raises IntegrityError if it is one's."""
    connection.execute(
        insert(OIDC_LINKS).values(issuer=issuer, subject=subject, person=person, created_ms=now)
    )


def drop_link(connection: Connection, issuer: str, person: str) -> bool:
    """Forget a person's account at a provider; False if there was none."""
    mine = (OIDC_LINKS.c.issuer == issuer) & (OIDC_LINKS.c.person == person)
    return connection.execute(delete(OIDC_LINKS).where(mine)).rowcount > 0
