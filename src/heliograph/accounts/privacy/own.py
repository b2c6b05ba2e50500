"""The places of this room itself: the ledger of consents, and the exports."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from sqlalchemy import Connection

from heliograph.accounts.privacy import store
from heliograph.accounts.privacy.values import Consent, Outcome, Part, Sheet, Subject
from heliograph.core.errors import HeliographError
from heliograph.storage.blobs import Vault

_MOST = 100_000


class ConsentsPlace:
    """The ledger of consents: kept, for it is the proof that what was done was allowed."""

    name = "consents"

    def export(self, connection: Connection, subject: Subject) -> Iterator[Part]:
        """Every line, and the words of every version."""
        columns = tuple(Consent.__slots__)

        def rows() -> list[list[object]]:
            found = store.consents(connection, subject.id, 0, _MOST)
            return [[getattr(one, name) for name in columns] for one in found]

        def texts() -> list[list[object]]:
            found = store.consents(connection, subject.id, 0, _MOST)
            versions = sorted({one.version for one in found if one.version})
            return [[one, store.words(connection, one)] for one in versions]

        yield Sheet("consents", columns, rows)
        yield Sheet("consent_texts", ("version", "words"), texts)

    def erase(self, connection: Connection, subject: Subject) -> Outcome:
        """Nothing: it names nobody but by an id that says nothing any more."""
        found = store.consents(connection, subject.id, 0, _MOST)
        return Outcome(
            "kept",
            len(found),
            "The proof of what you agreed to, under an id that says nothing of you.",
            "GDPR art. 7(1), 17(3)(e)",
        )


class ExportsPlace:
    """The exports themselves; what is inside is everything else.

    Args:
        vault: where they lie.
    """

    name = "exports"

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def export(self, connection: Connection, subject: Subject) -> Iterator[Part]:
        """When they were asked for and made."""
        columns = ("id", "actor", "state", "asked_ms", "made_ms", "until_ms", "size", "digest")

        def rows() -> list[list[object]]:
            found = store.exports(connection, subject.id, "", 1000)
            return [[getattr(one, name) for name in columns] for one in found]

        yield Sheet("exports", columns, rows)

    def erase(self, connection: Connection, subject: Subject) -> Outcome:
        """Rows and files."""
        for ref in store.refs(connection, subject.id):
            with suppress(HeliographError):
                self._vault.shred(ref, connection)
        return Outcome("erased", store.drop_exports(connection, subject.id))
