"""The key ring: seals, binds, counts, rotates, and says what locks it; on both databases."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, select, update

from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act, Event
from heliograph.storage import store
from heliograph.storage.database import Database
from heliograph.storage.keyring import HOLDS, Ring
from heliograph.storage.root import COMMAND, KEYS, KeyRoot, Roots
from heliograph.storage.rotation import purposes, renew, reroot, retire, rewrap, rotate, scrub

KMS = """\
#!/bin/sh
# A KMS of one line: what it wraps is turned by 13 and marked.
read -r line
case "$1" in
  wrap) echo "kms:v1:$(echo "$line" | tr 'A-Za-z' 'N-ZA-Mn-za-m')" ;;
  unwrap) echo "$line" | sed 's/^kms:v1://' | tr 'A-Za-z' 'N-ZA-Mn-za-m' ;;
esac
"""


class Clock:
    now = 1_700_000_000_000

    def __call__(self) -> int:
        return self.now


class Book:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, connection: Connection, event: Event) -> None:
        assert connection.in_transaction()
        self.events.append(event)

    @property
    def acts(self) -> list[Act]:
        return [one.act for one in self.events]


def ring_of(
    database: Database, home: Path, environ: dict[str, str] | None = None, **more: int
) -> Ring:
    return Ring(database, Roots(home, environ or {}), Clock(), Book(), **more)


@pytest.fixture
def ring(database: Database, tmp_path: Path) -> Ring:
    return ring_of(database, tmp_path)


def refused(code: Code, *words: str) -> pytest.RaisesExc[HeliographError]:
    return pytest.RaisesExc(
        HeliographError, check=lambda e: e.code == code and all(word in e.detail for word in words)
    )


def test_what_is_sealed_opens_again_and_in_another_process(ring: Ring, tmp_path: Path) -> None:
    sealed = ring.seal("secrets", "usr_1", b"JBSWY3DP", "totp:usr_1")
    assert b"JBSWY3DP" not in sealed
    assert ring.open("secrets", "usr_1", sealed, "totp:usr_1") == b"JBSWY3DP"
    assert ring.seal("secrets", "usr_1", b"JBSWY3DP", "totp:usr_1") != sealed
    other = ring_of(ring.database, tmp_path)
    assert other.open("secrets", "usr_1", sealed, "totp:usr_1") == b"JBSWY3DP"
    assert stat.S_IMODE((tmp_path / "keys" / "root").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700


def test_a_ring_that_is_only_looked_at_makes_no_key(ring: Ring, tmp_path: Path) -> None:
    assert ring.check() == []
    assert purposes(ring) == []
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize(
    ("purpose", "tenant", "context"),
    [("audit", "usr_1", "a"), ("secrets", "usr_2", "a"), ("secrets", "usr_1", "b")],
)
def test_another_place_opens_nothing(ring: Ring, purpose: str, tenant: str, context: str) -> None:
    sealed = ring.seal("secrets", "usr_1", b"x", "a")
    ring.seal(purpose, tenant, b"x", context)
    with refused(Code.INTERNAL):
        ring.open(purpose, tenant, sealed, context)


def test_a_changed_value_opens_nothing(ring: Ring) -> None:
    sealed = ring.seal("secrets", "usr_1", b"x" * 40, "a")
    for at in range(0, len(sealed), 7):
        changed = bytearray(sealed)
        changed[at] ^= 1
        with refused(Code.INTERNAL):
            ring.open("secrets", "usr_1", bytes(changed), "a")
    for rubbish in (b"", b"hg\x01", sealed[:-1], sealed + b"x", sealed[:70]):
        with refused(Code.INTERNAL):
            ring.open("secrets", "usr_1", rubbish, "a")


def test_within_a_transaction_the_ring_is_a_part_of_it(ring: Ring) -> None:
    def good(_: Connection) -> bytes:
        return ring.seal("secrets", "usr_1", b"x", "a")

    def undone(_: Connection) -> bytes:
        kept.append(ring.seal("secrets", "usr_2", b"y", "a"))
        raise HeliographError(Code.CONFLICT, "No.")

    kept: list[bytes] = []
    assert ring.open("secrets", "usr_1", ring.database.write(good), "a") == b"x"
    with refused(Code.CONFLICT):
        ring.database.write(undone)
    with refused(Code.INTERNAL):
        ring.open("secrets", "usr_2", kept[0], "a")
    later = ring.seal("secrets", "usr_2", b"z", "a")
    assert ring.open("secrets", "usr_2", later, "a") == b"z"


def test_the_database_holds_no_key(ring: Ring, tmp_path: Path) -> None:
    ring.seal("secrets", "usr_1", b"canary", "a")
    with ring.database.read() as connection:
        rows = [
            *(one.wrapped for one in store.ring_keys(connection)),
            *connection.execute(select(store.RING_DATA_KEYS.c.wrapped)).scalars(),
        ]
    for key in ring._keys.values():
        assert all(key not in row for row in rows if row)


def test_uses_are_counted_before_they_happen_and_a_used_up_key_is_followed(
    database: Database, tmp_path: Path
) -> None:
    ring = ring_of(database, tmp_path, limit=5)
    sealed = [ring.seal("secrets", "usr_1", b"%d" % count, "a") for count in range(12)]
    assert [ring.open("secrets", "usr_1", one, "a") for one in sealed] == [
        b"%d" % count for count in range(12)
    ]
    for count in range(7):
        ring.seal("secrets", f"usr_x{count}", b"", "a")
    with database.read() as connection:
        uses = connection.execute(select(store.RING_DATA_KEYS.c.uses)).scalars().all()
        generations = connection.execute(
            select(func.max(store.RING_DATA_KEYS.c.generation))
        ).scalar_one()
        keys = store.ring_keys(connection)
    assert max(uses) == 5
    assert generations == 3, "12 seals of 5 a key"
    assert [one.uses for one in keys] == [5, 5]


def test_a_keyed_hash_is_the_same_for_ever(ring: Ring, tmp_path: Path) -> None:
    first = ring.digest("identity_hash", b"name|number")
    renew(ring, "identity_hash", actor="command")
    assert ring_of(ring.database, tmp_path).digest("identity_hash", b"name|number") == first
    assert ring.digest("identity_hash", b"name|numbers") != first
    assert ring.digest("other", b"name|number") != first
    assert len(first) == 32


def test_rotating_keeps_everything_readable_and_destroys_the_old_version(ring: Ring) -> None:
    sealed = {f"usr_{n}": ring.seal("secrets", f"usr_{n}", b"%d" % n, "a") for n in range(5)}
    with ring.database.read() as connection:
        before = store.newest_ring_key(connection, "secrets")
    assert before is not None
    told: list[tuple[int, int]] = []
    assert renew(
        ring, "secrets", actor="command", told=lambda done, of: told.append((done, of))
    ) == (2, False)
    assert told == [(5, 5)]
    with ring.database.read() as connection:
        old = store.ring_key(connection, "secrets", 1)
        rows = store.data_keys_below(connection, "secrets", 3, 100)
    assert old is not None
    assert old.wrapped is None
    assert old.retired_ms == Clock.now
    assert {one.version for one in rows} == {2}
    for tenant, one in sealed.items():
        assert ring.open("secrets", tenant, one, "a") == tenant[4:].encode()
    assert isinstance(ring.record, Book)
    assert ring.record.acts == [Act.RING_ROTATED, Act.RING_RETIRED]


def test_another_process_follows_a_rotation(ring: Ring, tmp_path: Path) -> None:
    other = ring_of(ring.database, tmp_path)
    sealed = other.seal("secrets", "usr_1", b"1", "a")
    renew(ring, "secrets", actor="command")
    late = other.seal("secrets", "usr_new", b"2", "a")
    assert other.open("secrets", "usr_1", sealed, "a") == b"1"
    assert ring.open("secrets", "usr_new", late, "a") == b"2"
    with ring.database.read() as connection:
        assert store.count_data_keys_below(connection, "secrets", 2) == 0


def test_a_version_in_use_is_not_retired(ring: Ring) -> None:
    sealed = ring.seal("secrets", "usr_1", b"x", "a")
    rotate(ring, "secrets", actor="command")
    with refused(Code.CONFLICT, "rewrap"):
        retire(ring, "secrets", actor="command")
    assert ring.open("secrets", "usr_1", sealed, "a") == b"x"
    assert rewrap(ring, "secrets") == 1
    assert rewrap(ring, "secrets") == 0
    assert retire(ring, "secrets", actor="command") == 1
    with refused(Code.NOT_FOUND):
        rotate(ring, "nosuch", actor="command")


def test_a_shredded_tenant_is_unreadable_everywhere_at_once(ring: Ring, tmp_path: Path) -> None:
    other = ring_of(ring.database, tmp_path)
    sealed = ring.seal("secrets", "usr_1", b"x", "a")
    held = ring.seal(HOLDS, "usr_1", b"kept by law", "a")
    neighbour = ring.seal("secrets", "usr_2", b"y", "a")
    assert other.open("secrets", "usr_1", sealed, "a") == b"x"
    assert ring.shred(None, "usr_1") == 1
    for one in (ring, other, ring_of(ring.database, tmp_path)):
        with refused(Code.NOT_FOUND):
            one.open("secrets", "usr_1", sealed, "a")
        assert one.open("secrets", "usr_2", neighbour, "a") == b"y"
        assert one.open(HOLDS, "usr_1", held, "a") == b"kept by law"
    with refused(Code.NOT_FOUND):
        ring_of(ring.database, tmp_path).seal("evidence", "usr_1", b"z", "a")
    assert ring.shred(None, "usr_nobody") == 0
    with refused(Code.NOT_FOUND):
        ring.seal("secrets", "usr_nobody", b"late", "a")


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_of_a_shredded_key_nothing_is_left_in_the_files(database: Database, tmp_path: Path) -> None:
    ring = ring_of(database, tmp_path)
    for tenant in range(50):
        ring.seal("secrets", f"usr_{tenant}", b"x", "a")
    with database.read() as connection:
        row = store.edge_data_key(connection, "secrets", "usr_7")
    assert row is not None
    assert row.wrapped is not None
    assert row.wrapped in files(tmp_path), "the test would see it"
    ring.shred(None, "usr_7")
    scrub(database)
    assert row.wrapped not in files(tmp_path)


def test_scrubbing_runs_on_both(ring: Ring) -> None:
    ring.seal("secrets", "usr_1", b"x", "a")
    ring.shred(None, "usr_1")
    scrub(ring.database)


def files(home: Path) -> bytes:
    return b"".join(one.read_bytes() for one in home.rglob("*") if one.is_file())


def test_a_missing_root_locks_the_ring_and_is_told_once(ring: Ring, tmp_path: Path) -> None:
    sealed = ring.seal("secrets", "usr_1", b"x", "a")
    (tmp_path / "keys" / "root").rename(tmp_path / "kept")
    late = ring_of(ring.database, tmp_path)
    for _ in range(3):
        with refused(Code.DB_UNAVAILABLE, "key ring is locked", "root key"):
            late.open("secrets", "usr_1", sealed, "a")
        with refused(Code.DB_UNAVAILABLE, "key ring is locked"):
            late.seal("evidence", "usr_1", b"x", "a")
    assert len(late.check()) == 1
    ring.database.write(lambda _: None)
    assert isinstance(late.record, Book)
    assert late.record.acts.count(Act.RING_LOCKED) == 2
    assert not (tmp_path / "keys" / "root").exists(), "a lost key is not replaced by another"
    (tmp_path / "kept").rename(tmp_path / "keys" / "root")
    assert late.open("secrets", "usr_1", sealed, "a") == b"x"


def test_another_root_locks_the_ring(ring: Ring, tmp_path: Path) -> None:
    sealed = ring.seal("secrets", "usr_1", b"x", "a")
    (tmp_path / "keys" / "root").write_text(KeyRoot(bytes(32)).text)
    late = ring_of(ring.database, tmp_path)
    with refused(Code.DB_UNAVAILABLE, "is not here"):
        late.open("secrets", "usr_1", sealed, "a")


def test_a_version_that_was_removed_or_swapped_locks_what_it_wraps(
    ring: Ring, tmp_path: Path
) -> None:
    sealed = ring.seal("secrets", "usr_1", b"x", "a")
    other = ring.seal("audit", "usr_1", b"y", "a")
    with ring.database.read() as connection:
        audit = store.ring_key(connection, "audit", 1)
    assert audit is not None
    for wrapped in (None, audit.wrapped):
        ring.database.write(
            lambda connection, wrapped=wrapped: connection.execute(
                update(store.RING_KEYS)
                .where(store.RING_KEYS.c.purpose == "secrets")
                .values(wrapped=wrapped)
            )
        )
        late = ring_of(ring.database, tmp_path)
        with refused(Code.DB_UNAVAILABLE, "key ring is locked"):
            late.open("secrets", "usr_1", sealed, "a")
        assert late.open("audit", "usr_1", other, "a") == b"y"


@pytest.mark.parametrize("text", ["", "\n", "hgroot_short\n", "not a key"])
def test_a_root_file_without_a_key_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "root").write_text(text)
    (tmp_path / "keys" / "root").chmod(0o600)
    with refused(Code.VALIDATION, "keys/root"):
        Roots(tmp_path, {})


def test_a_root_file_that_others_read_is_refused(tmp_path: Path) -> None:
    roots = Roots(tmp_path, {})
    roots.make()
    roots.file.chmod(0o640)
    with refused(Code.VALIDATION, "chmod 600"):
        Roots(tmp_path, {})


def test_of_several_starts_one_makes_the_root(tmp_path: Path) -> None:
    made = [Roots(tmp_path, {}) for _ in range(4)]
    for one in made:
        one.make()
    names = {first.name for one in made if (first := one.first())}
    assert len(names) == 1


def test_the_root_may_come_from_the_environment(database: Database, tmp_path: Path) -> None:
    old, new = KeyRoot(b"o" * 32), KeyRoot(b"n" * 32)
    sealed = ring_of(database, tmp_path, {KEYS: old.text}).seal("secrets", "usr_1", b"x", "a")
    assert not (tmp_path / "keys").exists()
    both = ring_of(database, tmp_path, {KEYS: f"{new.text},{old.text}"})
    assert reroot(both, actor="command") == 1
    late = ring_of(database, tmp_path, {KEYS: new.text})
    assert late.open("secrets", "usr_1", sealed, "a") == b"x"
    with refused(Code.DB_UNAVAILABLE):
        ring_of(database, tmp_path, {KEYS: old.text}).open("secrets", "usr_1", sealed, "a")
    with refused(Code.VALIDATION, KEYS):
        Roots(tmp_path, {KEYS: "rubbish"})


def test_the_root_may_be_a_command(database: Database, tmp_path: Path) -> None:
    script = tmp_path / "kms"
    script.write_text(KMS)
    script.chmod(0o700)
    environ = {COMMAND: str(script)}
    ring = ring_of(database, tmp_path, environ)
    sealed = ring.seal("secrets", "usr_1", b"x", "a")
    with database.read() as connection:
        (row,) = store.ring_keys(connection)
    assert row.root == "command"
    assert (row.wrapped or b"").startswith(b"kms:v1:")
    late = ring_of(database, tmp_path, environ)
    assert late.open("secrets", "usr_1", sealed, "a") == b"x"
    assert reroot(late, actor="command") == 1, "the KMS may have a new key itself"
    assert not (tmp_path / "keys").exists()
    script.write_text("#!/bin/sh\nexit 3\n")
    with refused(Code.DB_UNAVAILABLE, "KMS command failed"):
        ring_of(database, tmp_path, environ).open("secrets", "usr_1", sealed, "a")
    script.write_text("#!/bin/sh\nhead -c 96 /dev/zero | base64 -w0\n")
    with refused(Code.DB_UNAVAILABLE, "damaged"):
        ring_of(database, tmp_path, environ).open("secrets", "usr_1", sealed, "a")
    with refused(Code.DB_UNAVAILABLE, "KMS command failed"):
        missing = {COMMAND: str(tmp_path / "nosuch")}
        ring_of(database, tmp_path, missing).open("secrets", "usr_1", sealed, "a")


def test_a_ring_moves_from_its_file_to_a_kms(database: Database, tmp_path: Path) -> None:
    sealed = ring_of(database, tmp_path).seal("secrets", "usr_1", b"x", "a")
    script = tmp_path / "kms"
    script.write_text(KMS)
    script.chmod(0o700)
    environ = {COMMAND: str(script)}
    assert reroot(ring_of(database, tmp_path, environ), actor="command") == 1
    (tmp_path / "keys" / "root").unlink()
    late = ring_of(database, tmp_path, environ)
    assert late.open("secrets", "usr_1", sealed, "a") == b"x"


def test_a_new_root_makes_the_old_one_useless(ring: Ring, tmp_path: Path) -> None:
    sealed = ring.seal("secrets", "usr_1", b"x", "a")
    ring.seal("audit", "", b"y", "a")
    old = ring.roots.first()
    running = ring_of(ring.database, tmp_path)
    assert running.open("secrets", "usr_1", sealed, "a") == b"x"
    assert reroot(ring, actor="command") == 2
    new = ring.roots.first()
    assert old is not None
    assert new is not None
    assert old.name != new.name
    assert [one.name for one in ring.roots.in_file()] == [new.name]
    assert running.open("secrets", "usr_1", sealed, "a") == b"x"
    assert ring_of(ring.database, tmp_path).open("secrets", "usr_1", sealed, "a") == b"x"
    with ring.database.read() as connection:
        assert {one.root for one in store.ring_keys(connection)} == {new.name}


SITES = [
    *("ring.rotated", "ring.rewrap", "ring.rewrap=2", "ring.rewrap=3", "ring.rewrapped"),
    *("ring.retired", "root.renewed", "root.rewrapped", "root.rewrapped=2", "root.forgotten"),
    *("writer.before_commit", "writer.before_commit=2", "writer.before_commit=3"),
    *("writer.after_commit", "writer.after_commit=2", "writer.after_commit=3"),
]
ROTATE = """
import sys
from pathlib import Path
from heliograph.core.clock import system_clock
from heliograph.storage.database import open_database
from heliograph.storage.keyring import Ring
from heliograph.storage.root import Roots
from heliograph.storage.rotation import renew, reroot
url, folder, home = sys.argv[1:]
database = open_database(url, Path(folder))
ring = Ring(database, Roots(Path(home), {}), system_clock)
renew(ring, "secrets", actor="command")
reroot(ring, actor="command")
database.close()
"""


@pytest.mark.parametrize(
    ("database", "site"),
    [*(("sqlite", one) for one in SITES), *(("postgresql", one) for one in SITES[::4])],
    indirect=["database"],
)
def test_a_rotation_that_is_killed_loses_nothing_and_is_finished(
    database: Database, tmp_path: Path, site: str
) -> None:
    ring = ring_of(database, tmp_path)
    sealed = {f"usr_{n}": ring.seal("secrets", f"usr_{n}", b"%d" % n, "a") for n in range(3)}
    sealed_too = ring.seal("audit", "", b"y", "a")
    url = "" if database.kind == "sqlite" else postgres_url(database)
    seen = tmp_path / "seen"
    environ = {**os.environ, "HELIOGRAPH_FAULTS": site, "HELIOGRAPH_FAULTS_SEEN": str(seen)}
    command = [sys.executable, "-c", ROTATE, url, str(tmp_path / "database"), str(tmp_path)]
    killed = subprocess.run(command, env=environ, check=False, timeout=60)
    assert killed.returncode == -9
    assert seen.read_text() == site.partition("=")[0] + "\n"

    def readable() -> None:
        late = ring_of(database, tmp_path)
        assert late.check() == []
        for tenant, one in sealed.items():
            assert late.open("secrets", tenant, one, "a") == tenant[4:].encode()
        assert late.open("audit", "", sealed_too, "a") == b"y"

    readable()
    late = ring_of(database, tmp_path)
    renew(late, "secrets", actor="command")
    reroot(late, actor="command")
    readable()
    with database.read() as connection:
        keys = store.ring_keys(connection)
    assert [one.purpose for one in keys] == ["audit", "secrets"], "one version each is left"
    assert len({one.root for one in keys}) == 1
    assert len(late.roots.in_file()) == 1


def postgres_url(database: Database) -> str:
    """Its address again, with the socket's folder that the driver was given."""
    url = database.engine.url
    with database.read() as connection:
        folder = connection.exec_driver_sql("SHOW unix_socket_directories").scalar_one()
    return f"postgresql://{url.username}:@/{url.database}?host={folder}"
