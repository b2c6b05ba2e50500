"""Exports: everything about somebody in one signed file, made once, fetched until its term is over.

    queued ─► making ─► ready ─► expired         a maker that died leaves `making`, and its claim
                 └────► failed (three tries)     runs out: the next sweep makes it from the start

The file goes into the vault under the subject's own key while it is written, so that there is never
one in the clear, and an erasure destroys it with everything else.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from heliograph.accounts.privacy import store
from heliograph.accounts.privacy.archive import Packing
from heliograph.accounts.privacy.parts import Parts
from heliograph.accounts.privacy.values import Export, ExportState, Part, Subject, subject_of
from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act, Event
from heliograph.core.faults import reach
from heliograph.core.ids import new_id
from heliograph.core.notices import Hook, Mail
from heliograph.storage.blobs import Blob

log = logging.getLogger("heliograph.privacy")
PURPOSE = "exports"
_TRIES = 3
_SEALED = "privacy/signer"


class Exports:
    """Makes, lists and hands out exports.

    Args:
        parts: what privacy needs of the house.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    # --- asking --------------------------------------------------------------------------------

    def ask(self, subject: str, actor: str) -> Export:
        """Ask for an export; one that is on its way already is given instead.

        Raises:
            HeliographError: `not_found`.
        """
        whose = subject_of(subject)
        made = Export(new_id("exp"), subject, actor, ExportState.QUEUED, self._parts.clock())

        def work(connection: Connection) -> Export:
            if not self._parts.subjects.there(connection, whose):
                raise _nothing()
            store.add_export(connection, made)
            self._say(connection, Act.EXPORT_REQUESTED, made, actor)
            return made

        try:
            return self._parts.database.write(work)
        except IntegrityError:
            pages = self.page(subject, limit=200)
            going = (ExportState.QUEUED, ExportState.MAKING)
            return next(one for one in reversed(pages) if one.state in going)

    def page(self, subject: str, after: str = "", limit: int = 100) -> list[Export]:
        """Exports of a subject, the oldest first."""
        with self._parts.database.read() as connection:
            return store.exports(connection, subject, after, limit)

    def get(self, export: str, subject: str = "") -> Export:
        """One export.

        Args:
            export: its id.
            subject: whose it must be; empty for anybody's.

        Raises:
            HeliographError: `not_found`, also for another one's.
        """
        with self._parts.database.read() as connection:
            found = store.export(connection, export)
        if found is None or (subject and found.subject != subject):
            raise _nothing()
        return found

    def take(self, export: str, actor: str, subject: str = "") -> bytes:
        """The file; that it was taken is written into the audit log.

        Raises:
            HeliographError: `not_found`, also when its term is over; `conflict` if it is not ready.
        """
        found = self.get(export, subject)
        if found.state in (ExportState.QUEUED, ExportState.MAKING):
            raise HeliographError(Code.CONFLICT, "The export is not ready yet. Try again later.")
        if found.state is not ExportState.READY or found.until_ms <= self._parts.clock():
            raise HeliographError(Code.NOT_FOUND, "The export is gone: ask for another one.")
        data = self._parts.vault.get(found.ref, found.subject, PURPOSE)
        self._parts.database.write(
            lambda connection: self._say(connection, Act.EXPORT_TAKEN, found, actor)
        )
        return data

    @property
    def public(self) -> bytes:
        """The public key that exports are signed with: 32 bytes."""
        return self._key().public_key().public_bytes_raw()

    # --- making --------------------------------------------------------------------------------

    def make_all(self) -> int:
        """Make every export that waits; any number of nodes may try at once. Says how many."""
        with self._parts.database.read() as connection:
            waiting = store.waiting_exports(connection, self._parts.clock())
        return sum(self.make(one) for one in waiting)

    def make(self, export: str) -> bool:
        """Make one, unless somebody else does; whether it is ready now."""
        claimed = self._parts.database.write(lambda connection: self._claim(connection, export))
        if claimed is None:
            return False
        reach("export.claimed")
        try:
            blob, digest = self._pack(claimed)
            reach("export.stored")
            self._parts.database.write(
                lambda connection: self._finish(connection, claimed, blob, digest)
            )
        except HeliographError as error:
            log.warning("%s cannot be made now: %s", export, error)
            self._parts.database.write(lambda connection: self._failed(connection, claimed))
            return False
        return True

    def _claim(self, connection: Connection, export: str) -> Export | None:
        found = store.export(connection, export, lock=True)
        now = self._parts.clock()
        if found is None or found.state not in (ExportState.QUEUED, ExportState.MAKING):
            return None
        if found.state is ExportState.MAKING and found.claim_ms > now:
            return None
        if found.tries >= _TRIES:
            store.change_export(connection, export, state=ExportState.FAILED, open_key=None)
            return None
        claim = {"tries": found.tries + 1, "claim_ms": now + self._parts.rules.lease}
        store.change_export(connection, export, state=ExportState.MAKING, **claim)
        return store.export(connection, export)

    def _pack(self, export: Export) -> tuple[Blob, str]:
        subject, digest = subject_of(export.subject), hashlib.sha256()
        packing = Packing(subject, export.id, self._parts.clock(), self._key())

        def passing(pieces: Iterable[bytes]) -> Iterator[bytes]:
            for piece in pieces:
                digest.update(piece)
                yield piece

        with self._parts.database.read() as connection:
            if self._parts.database.kind == "postgresql":
                # One view of everything, as SQLite gives it anyway.
                connection.execution_options(isolation_level="REPEATABLE READ")
            pieces = packing.pieces(self._gathered(connection, subject))
            blob = self._parts.vault.upload(export.subject, PURPOSE, passing(pieces))
        return blob, digest.hexdigest()

    def _gathered(self, connection: Connection, subject: Subject) -> Iterator[Part]:
        for place in (self._parts.account, *self._parts.places):
            yield from place.export(connection, subject)

    def _finish(self, connection: Connection, claimed: Export, blob: Blob, digest: str) -> None:
        found = store.export(connection, claimed.id, lock=True)
        if found is None or found.tries != claimed.tries or found.state is not ExportState.MAKING:
            # Somebody else took over, or an erasure came first: the object goes with the sweep.
            return
        now = self._parts.clock()
        until = now + self._parts.rules.link
        ref = self._parts.vault.keep(connection, blob)
        store.change_export(
            connection,
            found.id,
            state=ExportState.READY,
            open_key=None,
            made_ms=now,
            until_ms=until,
            ref=ref,
            size=blob.size,
            digest=digest,
        )
        self._say(connection, Act.EXPORT_MADE, found, "system", bytes=blob.size)
        self._tell(connection, found, until)

    def _failed(self, connection: Connection, claimed: Export) -> None:
        found = store.export(connection, claimed.id, lock=True)
        if found is not None and found.tries == claimed.tries:
            last = found.tries >= _TRIES
            state = ExportState.FAILED if last else ExportState.QUEUED
            key = None if last else found.subject
            store.change_export(connection, found.id, state=state, open_key=key)

    def _tell(self, connection: Connection, export: Export, until: int) -> None:
        subject = subject_of(export.subject)
        link = f"{self._parts.rules.base}/api/v1/exports/{export.id}/file"
        when = f"{datetime.fromtimestamp(until / 1000, tz=UTC):%Y-%m-%d %H:%M} UTC"
        for to in self._parts.subjects.mails(connection, subject):
            self._parts.notify(connection, Mail(to, "export_ready", {"link": link, "until": when}))
        if not subject.is_person:
            body = {"export": export.id, "until_ms": until}
            self._parts.notify(connection, Hook(subject.id, "export.ready", body))

    # --- ending --------------------------------------------------------------------------------

    def expire(self) -> int:
        """Shred what is past its term; says how many."""
        return self._parts.database.write(self._expire)

    def _expire(self, connection: Connection) -> int:
        spent = store.spent_exports(connection, self._parts.clock())
        for one in spent:
            with suppress(HeliographError):
                self._parts.vault.shred(one.ref, connection)
            store.change_export(connection, one.id, state=ExportState.EXPIRED, ref="")
        return len(spent)

    def _key(self) -> Ed25519PrivateKey:
        with self._parts.database.read() as connection:
            found = store.signer(connection)
        if found is None:
            made = Ed25519PrivateKey.generate()
            sealed = self._parts.seal.encrypt(made.private_bytes_raw(), _SEALED)
            public = made.public_key().public_bytes_raw()
            # Of several processes that make one at once, one wins.
            with suppress(IntegrityError):
                self._parts.database.write(
                    lambda connection: store.add_signer(connection, public, sealed)
                )
            return self._key()
        return Ed25519PrivateKey.from_private_bytes(self._parts.seal.decrypt(found[1], _SEALED))

    def _say(
        self, connection: Connection, act: Act, export: Export, actor: str, **facts: int
    ) -> None:
        subject = subject_of(export.subject)
        workspace = "" if subject.is_person else subject.id
        said: dict[str, str | int | bool] = {"export": export.id, **facts}
        self._parts.record(connection, Event(act, actor, workspace, subject.id, said))


def _nothing() -> HeliographError:
    return HeliographError(Code.NOT_FOUND, "There is no such export.")
