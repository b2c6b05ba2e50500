"""Checkpoints of the log: signed over all its events, kept outside the database, held against it.

Who can write to the database can write a new chain that fits within itself. A checkpoint from
before does not fit it then; so a checkpoint is signed only over a log that still begins as the last
one says.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from heliograph.audit import store
from heliograph.audit.checkpoints import Checkpoints
from heliograph.audit.merkle import Tree
from heliograph.audit.signing import open_signer, signed
from heliograph.audit.values import Entry, Proof
from heliograph.audit.verifier import (
    BadNote,
    Checker,
    Checkpoint,
    Row,
    leaf_hash,
    read_checkpoint,
    row_of,
)
from heliograph.core.errors import Code, HeliographError
from heliograph.storage.database import Database

_COPIES = ("at_ms", "act", "actor", "workspace", "subject")


class Seals:
    """What vouches for a log.

    Args:
        database: where the events lie.
        folder: `audit` in the data folder: the key, and the checkpoints.
        copies: a second folder for checkpoints; None for none.

    Raises:
        HeliographError: `validation`: the key is lost or damaged.
    """

    def __init__(self, database: Database, folder: Path, copies: Path | None = None) -> None:
        self._database = database
        self._notes = Checkpoints(folder / "checkpoints", copies)
        with self._notes.alone():
            self._signer = open_signer(folder, signed_before=self._notes.last()[0] > 0)
        self._tree = Tree(self._leaves)

    @property
    def key(self) -> str:
        """The public key, as one line."""
        return self._signer.public

    def all(self) -> list[tuple[int, str]]:
        """Every checkpoint's number and signed note, in order."""
        return self._notes.all()

    def newest(self) -> tuple[int, str]:
        """The newest checkpoint's number and signed note.

        Raises:
            HeliographError: `not_found`: there is none yet.
        """
        number, note = self._notes.last()
        if not number:
            raise HeliographError(
                Code.NOT_FOUND, "No checkpoint has been made yet; the first comes within the hour."
            )
        return number, note

    def checkpoint(self) -> tuple[int, str]:
        """Sign the log as it is, if it has grown.

        Returns:
            The newest checkpoint's number and signed note.

        Raises:
            HeliographError: `internal` if the log no longer agrees with the last checkpoint:
                nothing is signed then.
        """
        with self._notes.alone():
            with self._database.read() as connection:
                size = store.head(connection).seq
            number, note = self._notes.last()
            before = self.read(note) if number else None
            if before is not None:
                self._agree(number, before, size)
            if before is None or size > before.size:
                root = base64.b64encode(self._tree.root(size)).decode()
                note = self._signer.sign(f"{self._signer.key.name}\n{size}\n{root}\n")
                number = self._notes.add(note)
            self._notes.copy()
            return number, note

    def prove(self, entry: Entry) -> Proof:
        """That an event belongs to what the newest checkpoint was signed over.

        Raises:
            HeliographError: `conflict` if it is newer than that; `not_found` without one.
        """
        _, note = self.newest()
        size = self.read(note).size
        if entry.seq > size:
            raise HeliographError(
                Code.CONFLICT,
                f"The newest checkpoint was signed over {size} events; event {entry.seq} comes "
                "into the next, within the hour.",
            )
        path = tuple(one.hex() for one in self._tree.inclusion(entry.seq - 1, size))
        return Proof(entry.seq, entry.body, entry.prev, entry.hash, path, note)

    def verify(
        self, kept: Sequence[str] = (), told: Callable[[int, int], None] | None = None
    ) -> Checker:
        """Hold the whole log against its hashes and every checkpoint.

        Args:
            kept: signed notes that were kept elsewhere.
            told: is given the number of events so far and of all, now and then.

        Returns:
            What was found, with its faults.
        """
        # Before the events are read: a checkpoint that is made meanwhile may be over more.
        notes, copies = self._notes.all(), self._notes.kept()
        checker = Checker(self._signer.key, notes, [*copies, *kept], signed)
        last = Row(0, "", "", store.GENESIS)
        with self._database.read() as connection:
            total = store.count(connection)
            for count, raw in enumerate(store.rows(connection), 1):
                last = row_of(raw.seq, raw.body, raw.prev, raw.hash, place=count)
                checker.add(last)
                _compare_columns(checker, raw)
                if told is not None and count % 1000 == 0:
                    told(count, total)
            end = store.head(connection)
        if (end.seq, end.hash) != (last.seq, last.hash):
            checker.say(
                min(end.seq, last.seq) + 1,
                "truncated",
                f"the log ends with event {last.seq}, but event {end.seq} was written last",
            )
        checker.finish()
        return checker

    def read(self, note: str) -> Checkpoint:
        """What a note of ours says.

        Raises:
            HeliographError: `internal` if it was changed.
        """
        try:
            return read_checkpoint(note, self._signer.key, signed)
        except BadNote as bad:
            raise HeliographError(
                Code.INTERNAL, f"The newest checkpoint {bad}. Run heliograph audit verify."
            ) from bad

    def _agree(self, number: int, before: Checkpoint, size: int) -> None:
        if size < before.size or self._tree.root(before.size) != before.root:
            raise HeliographError(
                Code.INTERNAL,
                f"The audit log no longer agrees with its checkpoint {number}; no new one is "
                "signed. Run heliograph audit verify.",
            )

    def _leaves(self, start: int, end: int) -> list[bytes]:
        with self._database.read() as connection:
            found = store.hashes(connection, start, end)
        try:
            leaves = [leaf_hash(bytes.fromhex(one)) for one in found]
        except (TypeError, ValueError):
            leaves = []
        if len(leaves) != end - start:
            raise HeliographError(
                Code.INTERNAL, "Events of the audit log are damaged. Run heliograph audit verify."
            )
        return leaves


def _compare_columns(checker: Checker, raw: Any) -> None:
    """The columns that are searched say what the body says."""
    body = checker.body
    wrong = [name for name in _COPIES if body is not None and getattr(raw, name) != body[name]]
    if wrong:
        checker.say(
            raw.seq,
            "edited",
            f"event {raw.seq} has another {' and '.join(wrong)} in its columns than in its body",
        )
