"""Answers that are kept so that a request sent twice is done once (`Idempotency-Key`).

    claim   the first request with a key takes it; a second one is told to wait, or gets the answer
    finish  the answer is kept, in the transaction that books what it cost
    release it failed: nothing was done, the key is free again

A claim whose process has died is taken over by the next request: within that transaction nothing
was booked, so doing it again books it once. The behaviour is Stripe's (2017) with the two refusals
that others have added: 409 while it is in progress, 422 for a different request.
"""

from __future__ import annotations

import functools
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    LargeBinary,
    Table,
    Text,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from heliograph.core.clock import Clock
from heliograph.core.errors import Code, HeliographError
from heliograph.core.replay import Claim, Kept
from heliograph.storage.database import Database
from heliograph.storage.tables import METADATA

KEPT_MS = 7 * 24 * 3600 * 1000
_HELD_MS = 10 * 60 * 1000
LONGEST = 255
REPLIES = Table(
    "replies",
    METADATA,
    Column("scope", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("owner", Text, nullable=False),
    Column("until_ms", BigInteger, nullable=False),
    Column("created_ms", BigInteger, nullable=False, index=True),
    Column("status", Integer, nullable=False),
    Column("headers", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
)
Cipher = Callable[[bytes, str], bytes]
"""Seals or opens bytes that belong to a scope and key."""


class Replies:
    """Kept answers over a database.

    Args:
        database: where they are kept.
        clock: tells the time.
        seal: makes a body unreadable on disk; `unseal` undoes it.
    """

    def __init__(self, database: Database, clock: Clock, seal: Cipher, unseal: Cipher) -> None:
        self._database = database
        self._clock = clock
        self._seal = seal
        self._unseal = unseal

    def claim(self, scope: str, key: str, fingerprint: bytes) -> Claim | Kept:
        """Take a key, or get the answer that was given under it.

        Args:
            scope: whose key it is: different workspaces may use the same.
            key: as the client sent it.
            fingerprint: of the whole request.

        Raises:
            HeliographError: `bad_request` for a key that is none, `idempotency_mismatch`,
                `idempotency_in_progress`.
        """
        if not 1 <= len(key) <= LONGEST or not key.isprintable():
            raise HeliographError(
                Code.BAD_REQUEST, f"An Idempotency-Key is 1 to {LONGEST} printable characters."
            )

        def work(connection: Connection) -> Claim | Kept:
            return self._claim(connection, Claim(scope, key), fingerprint)

        try:
            return self._database.write(work)
        except IntegrityError:
            # Another process was quicker by a hair: now its row is there to be seen.
            return self._database.write(work)

    def _claim(self, connection: Connection, claim: Claim, fingerprint: bytes) -> Claim | Kept:
        now = self._clock()
        query = select(REPLIES).where(*_where(claim)).with_for_update()
        row = connection.execute(query).one_or_none()
        if row is not None and row.created_ms + KEPT_MS <= now:
            connection.execute(delete(REPLIES).where(*_where(claim)))
            row = None
        if row is None:
            connection.execute(
                insert(REPLIES).values(
                    scope=claim.scope,
                    key=claim.key,
                    fingerprint=fingerprint,
                    owner=_myself(),
                    until_ms=now + _HELD_MS,
                    created_ms=now,
                    status=0,
                    headers="[]",
                    body=b"",
                )
            )
            return claim
        if bytes(row.fingerprint) != fingerprint:
            raise HeliographError(
                Code.IDEMPOTENCY_MISMATCH,
                "This Idempotency-Key came with a different request before. Use a new key.",
            )
        if row.status:
            headers = msgspec.json.decode(row.headers, type=tuple[tuple[str, str], ...])
            return Kept(row.status, headers, self._unseal(bytes(row.body), _name(claim)))
        if row.until_ms > now and not _dead(row.owner):
            raise HeliographError(
                Code.IDEMPOTENCY_IN_PROGRESS,
                "The first request with this Idempotency-Key is still being answered.",
                retry_after=1.0,
            )
        connection.execute(
            update(REPLIES).where(*_where(claim)).values(owner=_myself(), until_ms=now + _HELD_MS)
        )
        return claim

    def finish(self, connection: Connection, claim: Claim, kept: Kept) -> None:
        """Keep the answer, within the transaction that books it.

        Raises:
            HeliographError: `conflict` if another process has taken the claim over.
        """
        found = connection.execute(
            update(REPLIES)
            .where(*_where(claim), REPLIES.c.owner == _myself(), REPLIES.c.status == 0)
            .values(
                status=kept.status,
                headers=msgspec.json.encode(kept.headers).decode(),
                body=self._seal(kept.body, _name(claim)),
            )
        )
        if not found.rowcount:
            raise HeliographError(
                Code.IDEMPOTENCY_IN_PROGRESS, "Another request with this key has taken over."
            )

    def release(self, claim: Claim) -> None:
        """Free a key whose request failed; does not wait.

        What has been answered stays: whoever failed may only not have waited for it.
        """
        mine = (*_where(claim), REPLIES.c.owner == _myself(), REPLIES.c.status == 0)

        def work(connection: Connection) -> None:
            connection.execute(delete(REPLIES).where(*mine))

        self._database.submit(work)

    def sweep(self) -> int:
        """Forget answers older than a week; how many there were."""

        def work(connection: Connection) -> int:
            old = REPLIES.c.created_ms <= self._clock() - KEPT_MS
            return connection.execute(delete(REPLIES).where(old)).rowcount

        return self._database.write(work)


def _where(claim: Claim) -> tuple[Any, ...]:
    return REPLIES.c.scope == claim.scope, REPLIES.c.key == claim.key


def _name(claim: Claim) -> str:
    return f"{claim.scope}/{claim.key}"


@functools.cache
def _myself() -> str:
    """This process, told apart from an earlier one with the same number."""
    return f"{socket.gethostname()}/{os.getpid()}/{_started(os.getpid())}"


# A forked process is another one.
os.register_at_fork(after_in_child=_myself.cache_clear)


def _started(pid: int) -> str:
    """When a process began, in the kernel's ticks; empty if there is no such process.

    One that has ended stays in the table until its parent asks for it; in a container without an
    init, for ever.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
    except OSError:
        return ""
    state, *fields = stat.rpartition(")")[2].split()
    return "" if state in "ZX" else fields[18]


def _dead(owner: str) -> bool:
    """Whether an owner was a process of this machine that is no more."""
    host, pid, started = owner.split("/")
    return host == socket.gethostname() and _started(int(pid)) != started
