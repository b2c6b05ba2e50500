"""What the gate knows of keys, workspaces and members, in memory; and how it stays true.

A call must not wait for a database to be told who calls. So each process keeps a copy of what opens
doors. It looks twice a second whether anything has changed (one counter), at once when it changed
something itself, and when a key comes that it has never seen. A suspension therefore acts in every
process on every machine within a second or so.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection

from heliograph.accounts.keys import store as keys
from heliograph.accounts.keys.values import Key
from heliograph.accounts.quotas import store as quotas
from heliograph.accounts.roles import Role
from heliograph.accounts.workspaces import store as workspaces
from heliograph.accounts.workspaces.values import Workspace
from heliograph.core.call import Limit
from heliograph.core.clock import Clock
from heliograph.core.errors import HeliographError
from heliograph.storage.database import Database

log = logging.getLogger("heliograph.accounts")
EVERY_SECONDS = 0.5
_LOOKS = 20.0
"""Looks a second, and at once, for keys that are not known: an attacker must not cost more."""


@dataclass(frozen=True, slots=True)
class Known:
    """One copy of what opens doors.

    Attributes:
        epoch: how many changes it has seen.
        keys: every key that may open something, by id.
        workspaces: by id.
        roles: of each person, by workspace.
        limits: of each workspace that has some, and those of keys that are not the keys' own.
    """

    epoch: int = -1
    keys: Mapping[str, Key] = field(default_factory=dict[str, Key])
    workspaces: Mapping[str, Workspace] = field(default_factory=dict[str, Workspace])
    roles: Mapping[str, Mapping[str, Role]] = field(default_factory=dict[str, Mapping[str, Role]])
    limits: Mapping[str, tuple[Limit, ...]] = field(default_factory=dict[str, "tuple[Limit, ...]"])


def narrowest(*limits: Iterable[Limit]) -> list[Limit]:
    """Of several limits on one meter and period the smallest: a call counts for it once."""
    found: dict[tuple[str, str, str], Limit] = {}
    for one in itertools.chain(*limits):
        name = one.holder, one.meter, one.period
        if name not in found or one.most < found[name].most:
            found[name] = one
    return list(found.values())


class Directory:
    """The copy, and the thread that keeps it true.

    Args:
        database: what it is a copy of.
        clock: tells the time.
        further: limits that another room has set: hard budgets.
    """

    def __init__(
        self, database: Database, clock: Clock, further: Callable[[Connection], Iterable[Limit]]
    ) -> None:
        self._database = database
        self._further = further
        self._clock = clock
        self._known = Known()
        self._looks = _LOOKS
        self._looked = time.monotonic()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def known(self) -> Known:
        """The copy as it is now."""
        return self._known

    def refresh(self) -> Known:
        """Make the copy true, if anything has changed; raises `db_unavailable`."""
        with self._lock:
            with self._database.read() as connection:
                epoch = workspaces.epoch(connection)
                if epoch != self._known.epoch:
                    roles: dict[str, dict[str, Role]] = {}
                    for one in workspaces.every_member(connection):
                        roles.setdefault(one.person, {})[one.workspace] = one.role
                    limits: dict[str, tuple[Limit, ...]] = {}
                    for limit in narrowest(quotas.every(connection), self._further(connection)):
                        limits[limit.holder] = (*limits.get(limit.holder, ()), limit)
                    self._known = Known(
                        epoch,
                        {one.id: one for one in keys.living(connection, self._clock())},
                        {one.id: one for one in workspaces.every(connection)},
                        roles,
                        limits,
                    )
            return self._known

    def key(self, name: str) -> Key | None:
        """A key; one that was never seen may be another process's newest."""
        found = self._known.keys.get(name)
        if found is None and self._may_look():
            try:
                self.refresh()
            except HeliographError:
                log.warning("a key is not known, and the database cannot be asked for it")
            found = self._known.keys.get(name)
        return found

    def _may_look(self) -> bool:
        now = time.monotonic()
        self._looks = min(_LOOKS, self._looks + (now - self._looked) * _LOOKS)
        self._looked = now
        if self._looks < 1:
            return False
        self._looks -= 1
        return True

    def follow(self) -> None:
        """Begin to look for changes."""
        self._thread = threading.Thread(target=self._work, name="directory", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._closed.set()
        if self._thread:
            self._thread.join()

    def _work(self) -> None:
        while not self._closed.wait(EVERY_SECONDS):
            try:
                self.refresh()
            except HeliographError as error:
                log.warning("who may call cannot be looked up: %s", error.code)
