"""The audit log: written within the act's own transaction, and read.

    act ── append(connection, event) ──► grammar ──► pseudonyms ──► the next entry ──► COMMIT, both

If an event cannot be written, the act that it tells of does not happen either. What vouches for the
log afterwards is in `sealing.py`, what is told of refused calls in `refusals.py`.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from sqlalchemy import Connection

from heliograph.audit import grammar, store
from heliograph.audit.sealing import Seals
from heliograph.audit.values import (
    Entry,
    Filter,
    Proof,
    Told,
    disguise,
    follow,
    hidden,
    pseudonym,
    pseudonyms,
)
from heliograph.audit.verifier import Row
from heliograph.core.clock import Clock
from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act, Event
from heliograph.core.faults import reach
from heliograph.storage.database import Database

_SALT_BYTES = 32


class Audit:
    """The audit log of a server.

    Args:
        database: where the events lie.
        clock: the time of day.
        folder: `audit` in the data folder, for the key and the checkpoints.
        copies: a second folder for checkpoints; None for none.

    Attributes:
        seals: its checkpoints.

    Raises:
        HeliographError: `validation`: the key is lost or damaged.
    """

    def __init__(
        self, database: Database, clock: Clock, folder: Path, copies: Path | None = None
    ) -> None:
        self._database = database
        self._clock = clock
        self.seals = Seals(database, folder, copies)

    # --- writing: within somebody's transaction ----------------------------------------------

    def append(self, connection: Connection, event: Event) -> None:
        """Record an event; see `storage.database.Record`.

        Raises:
            ValueError: it says what no event may say; a bug.
        """
        self.append_all(connection, [event])

    def append_all(self, connection: Connection, events: Iterable[Event]) -> None:
        """Record events, in this order; as `append`."""
        events = list(events)
        for event in events:
            grammar.check(event)
        if not events:
            return
        head, now = store.lock_head(connection), self._clock()
        names = self._names(connection, set[str]().union(*map(hidden, events)), now)
        entries: list[Entry] = []
        for event in events:
            entries.append(follow(head, now, disguise(event, names)))
            head = entries[-1].head
        store.add(connection, entries)
        reach("audit.appended")

    def record(self, *events: Event) -> None:
        """Record events in a transaction of their own, and wait until they are on disk."""
        self._database.write(lambda connection: self.append_all(connection, events))

    def forget(self, connection: Connection, subject: str) -> str:
        """Forget who stands behind a pseudonym; the chain stays whole, and tells that it was done.

        It is the last act of an erasure: an event about the same one afterwards makes a new
        pseudonym.

        Args:
            connection: of the transaction.
            subject: the id of a person or a workspace.

        Returns:
            The pseudonym that nobody can resolve any more; empty if there was none.
        """
        store.lock_head(connection)
        shredded = store.shred(connection, subject)
        if shredded:
            self.append(connection, Event(Act.AUDIT_FORGOTTEN, "system", subject=shredded))
        return shredded

    def forget_addresses(self, connection: Connection, before_ms: int) -> int:
        """Forget the network addresses that first came up before `before_ms`; says how many."""
        store.lock_head(connection)
        gone = store.shred_addresses(connection, before_ms)
        if gone:
            event = Event(Act.AUDIT_FORGOTTEN, "system", facts={"addresses": gone})
            self.append(connection, event)
        return gone

    def _names(self, connection: Connection, ids: set[str], now: int) -> dict[str, str]:
        """The pseudonyms of these ids, made where there are none; under the head's lock."""
        names = store.known(connection, ids) if ids else {}
        made: list[dict[str, object]] = []
        for one in sorted(ids - names.keys()):
            salt = secrets.token_bytes(_SALT_BYTES)
            names[one] = pseudonym(one, salt)
            made.append({"id": one, "pseudonym": names[one], "salt": salt, "made_ms": now})
        if made:
            store.introduce(connection, made)
        return names

    # --- reading -----------------------------------------------------------------------------

    def find(self, wanted: Filter) -> list[Told]:
        """Events, the newest first."""
        with self._database.read() as connection:
            return _tell(connection, store.page(connection, _sought(connection, wanted)))

    def proof(self, seq: int, workspace: str | None = None) -> Proof:
        """That an event belongs to what the newest checkpoint was signed over.

        Args:
            seq: the event's number.
            workspace: whose it must be; None for anybody's.

        Raises:
            HeliographError: `not_found`; `conflict` if it is newer than the newest checkpoint.
        """
        with self._database.read() as connection:
            scope = _sought(connection, Filter(workspace)).workspace
            found = store.get(connection, seq, scope)
        if found is None:
            raise HeliographError(Code.NOT_FOUND, "There is no such event.")
        return self.seals.prove(found)

    def rows(self) -> Iterator[Row]:
        """Every event as it lies in the log, in order."""
        with self._database.read() as connection:
            for raw in store.rows(connection):
                yield Row(raw.seq, raw.body, raw.prev, raw.hash)

    def count(self) -> int:
        """How many events there are."""
        with self._database.read() as connection:
            return store.count(connection)


def _sought(connection: Connection, wanted: Filter) -> Filter:
    """The filter with pseudonyms for ids: as they stand in the chain."""
    ids = {one for one in (wanted.workspace, wanted.actor, wanted.subject) if one}
    names = store.known(connection, ids) if ids else {}
    return replace(
        wanted,
        workspace=names.get(wanted.workspace or "", wanted.workspace),
        actor=names.get(wanted.actor, wanted.actor),
        subject=names.get(wanted.subject, wanted.subject),
    )


def _tell(connection: Connection, entries: list[Entry]) -> list[Told]:
    """Entries as a reader gets them."""
    facts: list[dict[str, str | int | bool]] = [json.loads(one.body)["facts"] for one in entries]
    texts: set[object] = set()
    for one, more in zip(entries, facts, strict=True):
        texts.update((one.actor, one.workspace, one.subject, *more.values()))
    hidden_ones = pseudonyms(texts)
    ids = store.behind(connection, hidden_ones) if hidden_ones else {}
    return [
        Told(
            one.seq,
            one.at_ms,
            one.act,
            ids.get(one.actor, one.actor),
            ids.get(one.workspace, one.workspace),
            ids.get(one.subject, one.subject),
            {
                key: ids.get(value, value) if isinstance(value, str) else value
                for key, value in more.items()
            },
        )
        for one, more in zip(entries, facts, strict=True)
    ]
