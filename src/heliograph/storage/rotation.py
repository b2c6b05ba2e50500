"""Changing the keys of the ring while everything stays readable: rotate, rewrap, retire, scrub.

    rotate    a purpose gets a new version of its key, which wraps from now on
    rewrap    every data key of it is wrapped by the new version instead; no object is touched
    retire    older versions that wrap nothing are destroyed
    reroot    the same one floor up: a new root key, every ring key rewrapped, the old one forgotten

Each step is a transaction, and between any two everything opens: a run that is cut off is finished
by the next one.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

from sqlalchemy import Connection

from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act, Event
from heliograph.core.faults import reach
from heliograph.storage import store
from heliograph.storage.database import Database
from heliograph.storage.envelope import Binding, wrap
from heliograph.storage.keyring import Ring, ring_binding
from heliograph.storage.store import RingKey

_TOGETHER = 100
Told = Callable[[int, int], None]
"""Hears how many data keys have been rewrapped, and of how many."""


def purposes(ring: Ring) -> list[str]:
    """Every purpose that has a key, in the order of the alphabet."""
    with ring.database.read() as connection:
        return sorted({one.purpose for one in store.ring_keys(connection)})


def renew(ring: Ring, purpose: str, *, actor: str, told: Told | None = None) -> tuple[int, bool]:
    """Rotate, rewrap and retire; or finish what an earlier run has begun.

    Args:
        ring: the key ring.
        purpose: whose key.
        actor: who wants it, for the audit log.
        told: hears of the progress.

    Returns:
        The version that now wraps everything, and whether an earlier run was finished.

    Raises:
        HeliographError: `not_found` for a purpose without a key, `db_unavailable` if the ring is
            locked.
    """
    with ring.database.read() as connection:
        there = [one for one in store.ring_keys(connection) if one.purpose == purpose]
    resumed = len(there) > 1
    version = there[-1].version if resumed else rotate(ring, purpose, actor=actor)
    rewrap(ring, purpose, told=told)
    retire(ring, purpose, actor=actor)
    return version, resumed


def rotate(ring: Ring, purpose: str, *, actor: str) -> int:
    """Make a new version of a purpose's key; it wraps from now on.

    Raises:
        HeliographError: as `renew`.
    """

    def work(connection: Connection) -> int:
        newest = store.newest_ring_key(connection, purpose, lock=True)
        if newest is None:
            raise HeliographError(Code.NOT_FOUND, f"The ring has no key for {purpose!r}.")
        # A version that cannot be opened must not be hidden under a new one.
        ring.unlocked(newest)
        version = newest.version + 1
        ring.fresh(connection, purpose, version)
        facts = {"version": version}
        ring.tell(connection, Event(Act.RING_ROTATED, actor, "", purpose, facts))
        return version

    version = ring.database.write(work)
    reach("ring.rotated")
    return version


def rewrap(ring: Ring, purpose: str, *, told: Told | None = None) -> int:
    """Wrap every data key of a purpose by its newest version.

    Returns:
        How many were.

    Raises:
        HeliographError: as `renew`.
    """
    with ring.database.read() as connection:
        newest = store.newest_ring_key(connection, purpose)
        if newest is None:
            raise HeliographError(Code.NOT_FOUND, f"The ring has no key for {purpose!r}.")
        total = store.count_data_keys_below(connection, purpose, newest.version)
    done = 0
    while count := ring.database.write(lambda connection: _some(ring, connection, newest)):
        reach("ring.rewrapped")
        done += count
        if told is not None:
            told(done, max(total, done))
    return done


def _some(ring: Ring, connection: Connection, newest: RingKey) -> int:
    old = store.data_keys_below(connection, newest.purpose, newest.version, _TOGETHER, lock=True)
    versions = {one.version for one in store.ring_keys(connection)}
    for row in old:
        under = store.ring_key(connection, row.purpose, row.version)
        if under is None or row.version not in versions:
            raise HeliographError(
                Code.DB_UNAVAILABLE,
                f"The key ring is locked: version {row.version} of {row.purpose} is not there.",
            )
        key = ring.data_key_under(row, under)
        binding = Binding(f"ring:{row.purpose}", row.tenant, row.id, newest.version)
        store.rewrap(connection, row, newest.version, wrap(ring.unlocked(newest), key, binding))
        reach("ring.rewrap")
    if old:
        store.count_ring_uses(connection, newest, len(old))
    return len(old)


def retire(ring: Ring, purpose: str, *, actor: str) -> int:
    """Destroy the older versions of a purpose's key.

    Returns:
        How many there were.

    Raises:
        HeliographError: `conflict` while one of them still wraps a data key.
    """

    def work(connection: Connection) -> int:
        # Locked first and counted after: who was about to wrap by an old version has committed.
        there = [one for one in store.ring_keys(connection, lock=True) if one.purpose == purpose]
        old = there[:-1]
        if old and store.count_data_keys_below(connection, purpose, there[-1].version):
            raise HeliographError(
                Code.CONFLICT, f"Older keys of {purpose!r} are still in use: rewrap first."
            )
        now = ring.clock()
        for one in old:
            store.retire(connection, one, now)
        if old:
            facts = {"versions": len(old), "minimum": there[-1].version}
            ring.tell(connection, Event(Act.RING_RETIRED, actor, "", purpose, facts))
        return len(old)

    count = ring.database.write(work)
    reach("ring.retired")
    return count


def reroot(ring: Ring, *, actor: str) -> int:
    """Wrap every purpose's key by the root key that comes first, and forget the others.

    The file's key is renewed; a key of the environment or a KMS is the operator's to renew: put
    the new one first and leave the old one behind it until this has run. Backups made before open
    only with the old root key.

    Returns:
        How many keys were rewrapped.

    Raises:
        HeliographError: `db_unavailable` if a key does not open.
    """
    with ring.database.read() as connection:
        rows = store.ring_keys(connection)
    for row in rows:
        ring.unlocked(row)
    # More than one key in the file: a run that was cut off has made the new one already.
    if ring.roots.by_file and rows and len(ring.roots.in_file()) < 2:
        ring.roots.renew()
        reach("root.renewed")
    root = ring.roots.first()
    if root is None:
        return 0
    count = 0
    for row in rows:
        if row.root == root.name and root.name != "command":
            continue
        wrapped = root.wrap(ring.unlocked(row), ring_binding(row.purpose, row.version))
        count += ring.database.write(
            lambda connection, row=row, wrapped=wrapped: store.reroot(
                connection, row, root.name, wrapped
            )
        )
        reach("root.rewrapped")
    _forget(ring, root.name, actor, count)
    return count


def _forget(ring: Ring, kept: str, actor: str, count: int) -> None:
    def work(connection: Connection) -> set[str]:
        used = {one.root for one in store.ring_keys(connection)}
        facts = {"keys": count, "root": kept}
        ring.tell(connection, Event(Act.RING_ROTATED, actor, "", "root", facts))
        return {one.name for one in ring.roots.in_file()} - used - {kept}

    ring.roots.forget(ring.database.write(work))
    reach("root.forgotten")


def scrub(database: Database) -> None:
    """Clear what the database's files still hold of keys that were destroyed.

    SQLite: its log is folded into the file, whose pages were overwritten when the key was
    destroyed. PostgreSQL: the dead rows are vacuumed; archived logs are the operator's.

    Raises:
        HeliographError: `db_unavailable`.
    """
    with closing(database.engine.raw_connection()) as raw, closing(raw.cursor()) as cursor:
        if database.kind == "sqlite":
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return
        held: Any = raw.driver_connection
        held.rollback()
        held.autocommit = True
        try:
            for table in (store.RING_KEYS, store.RING_DATA_KEYS, store.BLOBS):
                cursor.execute(f"VACUUM {table.name}")
        finally:
            held.autocommit = False
