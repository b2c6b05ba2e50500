"""What every table of the house is declared on; each feature declares its own in its `store.py`.

    PEOPLE = Table("people", METADATA, Column("id", Text, primary_key=True), …)

Times are milliseconds since 1970 in `BigInteger` columns called `…_ms`; money is whole units of a
millionth of the currency in `BigInteger`; JSON is canonical text in `Text`. Column types are those
that SQLite and PostgreSQL both have; both databases are tested with every statement.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Integer, MetaData

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite counts up only a column that is exactly INTEGER PRIMARY KEY.
SEQUENCE = BigInteger().with_variant(Integer(), "sqlite")
"""The type of a column that counts up."""
