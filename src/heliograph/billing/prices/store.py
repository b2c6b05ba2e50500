"""All SQL of price books: one row each, written once and never changed."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import BigInteger, Column, Connection, Integer, Table, Text, func, insert, select

from heliograph.storage.tables import METADATA

BOOKS = Table(
    "price_books",
    METADATA,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("valid_from_ms", BigInteger, nullable=False, unique=True),
    Column("published_ms", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("sheet", Text, nullable=False),
    Column("digest", Text, nullable=False),
)


class Kept(NamedTuple):
    """A row of `price_books`."""

    version: int
    valid_from_ms: int
    published_ms: int
    actor: str
    sheet: str
    digest: str


def after(connection: Connection, version: int) -> list[Kept]:
    """Every book with a higher number, ascending."""
    rows = connection.execute(
        select(BOOKS).where(BOOKS.c.version > version).order_by(BOOKS.c.version)
    )
    return [Kept(*row) for row in rows]


def latest(connection: Connection) -> Kept | None:
    """The book with the highest number."""
    row = connection.execute(select(BOOKS).order_by(BOOKS.c.version.desc()).limit(1)).first()
    return Kept(*row) if row else None


def add(connection: Connection, book: Kept) -> None:
    """Keep a book; a number that is taken is the database's IntegrityError."""
    connection.execute(insert(BOOKS).values(book._asdict()))


def count(connection: Connection) -> int:
    """How many there are."""
    return connection.execute(select(func.count()).select_from(BOOKS)).scalar_one()
