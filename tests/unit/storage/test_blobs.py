"""The vault: what is stored comes back, only to whom it belongs, until it is shredded."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import update

from heliograph.core.errors import Code, HeliographError
from heliograph.storage import store
from heliograph.storage.blobs import Finding, Vault
from heliograph.storage.database import Database
from heliograph.storage.drawers import Drawer, Seal
from heliograph.storage.erasures import FILE, erased, note_erasure
from heliograph.storage.keyring import Ring
from heliograph.storage.objects import Folder, Objects, open_objects, place
from heliograph.storage.root import Roots
from heliograph.storage.rotation import renew
from support.bucket import Store, storing

CANARY = b"CANARY-" + b"pixels " * 30
LATE = 4e9


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000_000

    def __call__(self) -> int:
        return self.now


@dataclass
class House:
    database: Database
    home: Path
    clock: Clock
    ring: Ring
    vault: Vault

    def open(self, objects: Objects | None = None) -> Vault:
        """As another process would."""
        ring = Ring(self.database, Roots(self.home, {}), self.clock)
        return Vault(self.database, ring, objects or self.vault.objects, self.clock, lambda: LATE)


@pytest.fixture
def house(database: Database, tmp_path: Path) -> House:
    clock = Clock()
    ring = Ring(database, Roots(tmp_path, {}), clock)
    vault = Vault(database, ring, open_objects("", tmp_path), clock, lambda: LATE)
    return House(database, tmp_path, clock, ring, vault)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    with storing() as store_:
        for name, value in store_.environ.items():
            if name.startswith(("AWS_ACCESS", "AWS_SECRET")):
                monkeypatch.setenv(name, value)
        yield store_


def refused(code: Code, *words: str) -> pytest.RaisesExc[HeliographError]:
    return pytest.RaisesExc(
        HeliographError, check=lambda e: e.code == code and all(word in e.detail for word in words)
    )


def test_what_is_put_comes_back(house: House) -> None:
    for size in (0, 1, 262_144, 262_145, 3_000_000):
        comes_back(house, size)


def comes_back(house: House, size: int) -> None:
    data = os.urandom(size)
    ref = house.vault.put(None, "ws_1", "pictures", data)
    assert ref.startswith("blob_")
    assert house.vault.get(ref, "ws_1", "pictures") == data
    assert house.open().get(ref, "ws_1", "pictures") == data
    pieces = (data[at : at + 1000] for at in range(0, size, 1000))
    assert (
        house.vault.get(house.vault.put(None, "ws_1", "models", pieces), "ws_1", "models") == data
    )
    assert list(house.vault.check()) == []


def test_a_file_is_there_for_its_tenant_and_purpose_alone(house: House) -> None:
    ref = house.vault.put(None, "ws_1", "pictures", CANARY)
    house.vault.put(None, "ws_2", "pictures", b"")
    for tenant, purpose in (("ws_2", "pictures"), ("ws_1", "evidence"), ("", "pictures")):
        with refused(Code.NOT_FOUND):
            house.vault.get(ref, tenant, purpose)
    with refused(Code.NOT_FOUND):
        house.vault.get("blob_nosuch", "ws_1", "pictures")


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_no_plain_text_and_no_tenant_lies_on_disk(house: House) -> None:
    house.vault.put(None, "ws_canary_name", "pictures", CANARY)
    house.ring.seal("secrets", "usr_1", CANARY, "a")
    files = [one for one in house.home.rglob("*") if one.is_file()]
    assert any(one.name.endswith("-wal") for one in files)
    assert not [one for one in files if b"CANARY" in one.read_bytes()]
    blobs = house.home / "blobs"
    assert not [one for one in blobs.rglob("*") if "canary_name" in str(one)]
    modes = {one.stat().st_mode & 0o777 for one in blobs.rglob("*")} | {
        blobs.stat().st_mode & 0o777
    }
    assert modes == {0o600, 0o700}


def test_blobs_tenants_and_wrapped_keys_cannot_be_swapped(house: House) -> None:
    one = house.vault.put(None, "ws_1", "pictures", b"one")
    two = house.vault.put(None, "ws_1", "pictures", b"two")
    three = house.vault.put(None, "ws_2", "pictures", b"three")
    files = {ref: house.home / "blobs" / place(ref) for ref in (one, two, three)}
    kept = {ref: path.read_bytes() for ref, path in files.items()}
    files[one].write_bytes(kept[two])
    with refused(Code.INTERNAL, "changed"):
        house.vault.get(one, "ws_1", "pictures")
    files[one].write_bytes(kept[one])
    house.database.write(
        lambda c: c.execute(
            update(store.BLOBS).where(store.BLOBS.c.id == three).values(tenant="ws_1")
        )
    )
    with refused(Code.INTERNAL):
        house.vault.get(three, "ws_1", "pictures")
    with house.database.read() as connection:
        other = store.blob(connection, two)
    assert other is not None
    house.database.write(
        lambda c: c.execute(
            update(store.BLOBS).where(store.BLOBS.c.id == one).values(wrapped=other.wrapped)
        )
    )
    with refused(Code.INTERNAL):
        house.vault.get(one, "ws_1", "pictures")
    assert {found.ref for found in house.vault.check()} == {one, three}
    assert house.vault.get(two, "ws_1", "pictures") == b"two"


@pytest.mark.parametrize("change", ["flip", "cut", "longer", "gone"])
def test_a_damaged_file_is_never_given_out_whole(house: House, change: str) -> None:
    data = os.urandom(600_000)
    ref = house.vault.put(None, "ws_1", "models", data)
    path = house.home / "blobs" / place(ref)
    raw = bytearray(path.read_bytes())
    if change == "gone":
        path.unlink()
    else:
        raw[400_000] ^= change == "flip"
        path.write_bytes(raw[:524_320] if change == "cut" else raw + b"x" * (change == "longer"))
    with refused(Code.INTERNAL):
        house.vault.get(ref, "ws_1", "models")
    assert list(house.vault.check()) == [Finding(ref, "missing" if change == "gone" else "damaged")]


def test_a_row_that_is_undone_leaves_an_orphan_that_is_swept(house: House) -> None:
    def undone(connection: object) -> None:
        refs.append(house.vault.put(connection, "ws_1", "pictures", b"x"))  # type: ignore[arg-type]
        raise HeliographError(Code.CONFLICT, "No.")

    refs: list[str] = []
    kept = house.database.write(lambda c: house.vault.put(c, "ws_1", "pictures", b"kept"))
    with refused(Code.CONFLICT):
        house.database.write(undone)
    assert list(house.vault.check()) == [Finding(refs[0], "orphan")]
    young = Vault(house.database, house.ring, house.vault.objects, house.clock)
    assert list(young.check()) == [], "an upload that is still running is no orphan"
    assert young.sweep().orphans == 0
    assert house.vault.sweep().orphans == 1
    assert list(house.vault.check()) == []
    assert house.vault.get(kept, "ws_1", "pictures") == b"kept"


KILLED = """
import sys
from pathlib import Path
from heliograph.core.clock import system_clock
from heliograph.storage.blobs import Vault
from heliograph.storage.database import open_database
from heliograph.storage.keyring import Ring
from heliograph.storage.objects import open_objects
from heliograph.storage.root import Roots
database, home = open_database("", Path(sys.argv[1]) / "database"), Path(sys.argv[1])
ring = Ring(database, Roots(home, {}), system_clock)
vault = Vault(database, ring, open_objects("", home), system_clock, lambda: 4e9)
ref = vault.put(None, "ws_1", "pictures", b"x" * 1000)
print(ref, flush=True)
vault.shred(ref)
vault.sweep()
"""


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "site", ["vault.stored", "writer.before_commit=2", "writer.after_commit=2", "vault.emptied"]
)
def test_a_kill_leaves_nothing_dangling(house: House, site: str) -> None:
    environ = {**os.environ, "HELIOGRAPH_FAULTS": site}
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(house.home)],
        env=environ,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == -9, done.stderr
    late = house.open()
    assert [one for one in late.check() if one.what != "orphan"] == []
    ref = done.stdout.decode().strip()
    if ref and site.startswith("writer"):
        assert late.get(ref, "ws_1", "pictures") == b"x" * 1000
    late.sweep()
    assert list(late.check()) == []


def test_a_term_that_is_over_hides_a_file_and_the_sweep_removes_it(house: House) -> None:
    until = house.clock.now + 1000
    ref = house.vault.put(None, "ws_1", "pictures", CANARY, until)
    stays = house.vault.put(None, "ws_1", "pictures", b"y", until + 1)
    house.clock.now = until - 1
    assert house.vault.get(ref, "ws_1", "pictures") == CANARY
    assert house.vault.sweep().expired == 0
    house.clock.now = until
    with refused(Code.NOT_FOUND, "term"):
        house.vault.get(ref, "ws_1", "pictures")
    swept = house.vault.sweep()
    assert (swept.expired, swept.deleted) == (1, 1)
    assert swept.bytes == len(CANARY) + 16
    assert not (house.home / "blobs" / place(ref)).exists()
    assert house.vault.get(stays, "ws_1", "pictures") == b"y"


def test_a_hold_beats_the_term_the_deletion_and_the_erasure(house: House) -> None:
    ref = house.vault.put(None, "ws_1", "pictures", CANARY, house.clock.now + 1000)
    other = house.vault.put(None, "ws_1", "pictures", b"y")
    house.database.write(lambda c: house.vault.hold(c, ref))
    house.database.write(lambda c: house.vault.hold(c, ref))
    house.clock.now += 2000
    assert house.vault.sweep().expired == 0
    with refused(Code.CONFLICT, "legal hold"):
        house.vault.shred(ref)
    assert house.database.write(lambda c: house.vault.shred_tenant(c, "ws_1")) == 1
    assert house.open().get(ref, "ws_1", "pictures") == CANARY
    with refused(Code.NOT_FOUND):
        house.vault.get(other, "ws_1", "pictures")
    house.vault.sweep()
    assert list(house.vault.check()) == []
    house.database.write(lambda c: house.vault.release(c, ref))
    with refused(Code.NOT_FOUND):
        house.vault.get(ref, "ws_1", "pictures")
    assert house.vault.sweep().deleted == 1


def test_a_released_file_goes_with_its_tenant_again(house: House) -> None:
    ref = house.vault.put(None, "ws_1", "pictures", CANARY)
    house.database.write(lambda c: house.vault.hold(c, ref))
    assert house.vault.get(ref, "ws_1", "pictures") == CANARY
    house.database.write(lambda c: house.vault.release(c, ref))
    assert house.vault.get(ref, "ws_1", "pictures") == CANARY
    with house.database.read() as connection:
        blob = store.blob(connection, ref)
        assert blob is not None
        key = store.data_key(connection, blob.key)
    assert key is not None
    assert key.purpose == "pictures", "its key lies under the tenant's again"


def test_shredding_and_deleting(house: House) -> None:
    one = house.vault.put(None, "ws_1", "pictures", b"x")
    two = house.vault.put(None, "ws_1", "pictures", b"y")
    house.vault.shred(one)
    house.vault.delete(two)
    for ref in (one, two):
        with refused(Code.NOT_FOUND):
            house.vault.get(ref, "ws_1", "pictures")
    assert not (house.home / "blobs" / place(two)).exists()
    with refused(Code.NOT_FOUND):
        house.vault.delete(two)
    with refused(Code.NOT_FOUND):
        house.vault.shred("blob_nosuch")
    assert house.vault.sweep().deleted == 1
    assert [one for one in (house.home / "blobs").rglob("*") if one.is_file()] == []


def test_a_drawer_and_a_seal_are_what_features_ask_for(house: House) -> None:
    drawer, seal = Drawer(house.vault, "identity"), Seal(house.ring, "secrets")
    ref = drawer.put("identity", CANARY)
    assert drawer.get(ref) == CANARY
    drawer.shred(ref)
    drawer.shred(ref)
    with refused(Code.NOT_FOUND):
        drawer.get(ref)
    with pytest.raises(AssertionError):
        drawer.put("other", b"")
    assert seal.decrypt(seal.encrypt(b"x", "row 1"), "row 1") == b"x"
    with refused(Code.INTERNAL):
        seal.decrypt(seal.encrypt(b"x", "row 1"), "row 2")


def test_files_outlive_a_rotation(house: House) -> None:
    ref = house.vault.put(None, "ws_1", "pictures", CANARY)
    renew(house.ring, "pictures", actor="command")
    assert house.open().get(ref, "ws_1", "pictures") == CANARY


def test_a_bucket_holds_files_too(house: House, bucket: Store) -> None:
    address = f"s3://models/the/blobs?endpoint={bucket.address}&region=nowhere-1"
    vault = house.open(open_objects(address, house.home))
    large = os.urandom(12 << 20)
    small, big = (vault.put(None, "ws_1", "pictures", one) for one in (CANARY, large))
    assert set(bucket.objects) == {f"the/blobs/{place(ref)}" for ref in (small, big)}
    assert not [one for one in bucket.objects.values() if b"CANARY" in one]
    assert not bucket.parts
    assert vault.get(small, "ws_1", "pictures") == CANARY
    assert vault.get(big, "ws_1", "pictures") == large
    bucket.objects["the/blobs/ab/blob_00ab"] = b"left by a dead process"
    assert list(vault.check()) == [Finding("blob_00ab", "orphan")]
    vault.shred(big)
    swept = vault.sweep()
    assert (swept.deleted, swept.orphans) == (1, 1)
    assert set(bucket.objects) == {f"the/blobs/{place(small)}"}
    bucket.objects.clear()
    assert list(vault.check()) == [Finding(small, "missing")]
    bucket.sick = 403
    with refused(Code.DB_UNAVAILABLE, "store of files"):
        vault.put(None, "ws_1", "pictures", b"x")
    with refused(Code.DB_UNAVAILABLE, "store of files"):
        vault.get(small, "ws_1", "pictures")


@pytest.mark.parametrize(
    "address", ["http://x/y", "s3://", "s3://b?x=1", "file:///tmp", "/tmp/x", "s3:///x"]
)
def test_another_address_is_refused(tmp_path: Path, address: str) -> None:
    with refused(Code.VALIDATION, "storage.blobs"):
        open_objects(address, tmp_path)


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"x" * 100
        raise OSError(28, "No space left on device")

    folder = Folder(tmp_path / "blobs")
    with refused(Code.STORAGE_FULL):
        folder.put("ab/blob_1", pieces())
    assert [one for one in (tmp_path / "blobs").rglob("*") if one.is_file()] == []
    for name in ("../x", "ab/../x", "/etc/passwd", "ab/blob_1/x", "", "AB/blob_1", "ab/x.y"):
        with pytest.raises(AssertionError):
            folder.put(name, [b""])


def test_what_a_killed_process_left_half_written_is_cleared(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.put("ab/blob_1", [b"x"])
    (tmp_path / ".new-abc").write_bytes(b"half")
    assert list(folder.names(0)) == []
    assert (tmp_path / ".new-abc").exists()
    assert list(folder.names(LATE)) == ["ab/blob_1"]
    assert not (tmp_path / ".new-abc").exists()


def test_the_list_of_the_erased(tmp_path: Path) -> None:
    assert erased(tmp_path / FILE) == []
    for tenant in ("usr_1", "ws_2", "usr_1"):
        note_erasure(tmp_path, tenant, 5)
    assert erased(tmp_path / FILE) == ["usr_1", "ws_2"]
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    with (tmp_path / FILE).open("a") as file:
        file.write('{"at_ms":5,"ten')
    assert erased(tmp_path / FILE) == ["usr_1", "ws_2"]
    note_erasure(tmp_path, "usr_3", 6)
    assert erased(tmp_path / FILE) == ["usr_1", "ws_2", "usr_3"]
    (tmp_path / FILE).write_text('{"x":1}\n{"at_ms":5,"tenant":"usr_1"}\n')
    with refused(Code.VALIDATION, "Line 1"):
        erased(tmp_path / FILE)
