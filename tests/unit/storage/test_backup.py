"""Backups: the same rows and files come back, in either database; bad archives change nothing."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from sqlalchemy import Connection, select

from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act, Event
from heliograph.storage import dump, store
from heliograph.storage.backup import Backup
from heliograph.storage.blobs import Vault
from heliograph.storage.database import Database
from heliograph.storage.erasures import FILE, erased, note_erasure
from heliograph.storage.keyring import Ring
from heliograph.storage.lock import MAGIC, Lock, Passphrase, Recipient
from heliograph.storage.objects import open_objects, place
from heliograph.storage.restoring import MARK, Restored, Target, check_whole, restore
from heliograph.storage.root import Roots
from heliograph.storage.tables import METADATA
from support.databases import fresh, opened

WORDS = "correct horse battery staple"


def clock() -> int:
    return 1_700_000_000_000


def refused(code: Code, *words: str) -> pytest.RaisesExc[HeliographError]:
    return pytest.RaisesExc(
        HeliographError, check=lambda e: e.code == code and all(word in e.detail for word in words)
    )


@dataclass
class House:
    database: Database
    home: Path

    def __post_init__(self) -> None:
        self.events: list[Event] = []
        self.objects = open_objects("", self.home)
        self.ring = Ring(self.database, Roots(self.home, {}), clock)
        self.vault = Vault(self.database, self.ring, self.objects, clock, lambda: 4e9)

    def record(self, connection: Connection, event: Event) -> None:
        assert connection.in_transaction()
        self.events.append(event)

    @property
    def backup(self) -> Backup:
        return Backup(self.database, self.home, self.objects, clock, self.record)

    def restore(self, file: Path, **more: Any) -> Restored:
        return restore(file, Target(self.database, self.home, self.objects, clock), **more)

    def rows(self) -> dict[str, list[list[Any]]]:
        with dump.snapshot(self.database) as connection:
            return {one.name: list(dump.rows(connection, one)) for one in METADATA.sorted_tables}

    def files(self) -> dict[str, bytes]:
        return {
            str(one.relative_to(self.home)): one.read_bytes()
            for one in sorted(self.home.rglob("*"))
            if one.is_file() and "heliograph.db" not in one.name
        }


@pytest.fixture
def house(database: Database, tmp_path: Path) -> House:
    """A house with files, on either database."""
    return furnished(database, tmp_path)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[House]:
    """A house with files, on SQLite: where the database makes no difference."""
    with opened("", tmp_path / "database") as made:
        yield furnished(made, tmp_path)


def furnished(database: Database, tmp_path: Path) -> House:
    made = House(database, tmp_path / "home")
    made.home.mkdir()
    for name, data in {
        "models/leaves/1/model.toml": b"name = 'leaves'",
        "models/leaves/1/model.onnx": os.urandom(100_000),
        "models/.importing-x/half": b"half",
        "heliograph.toml": b"[server]\nport = 9000\n",
        "audit/checkpoints/00000001": b"a checkpoint",
        "audit/key": b"the key that signs",
        "admin.key": b"hg_admin_secret",
        "cache/big": b"can be made again",
    }.items():
        path = made.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (made.home / "models" / "link").symlink_to("/etc/passwd")
    return made


@dataclass
class Stored:
    sealed: bytes
    kept: str
    other: str
    shredded: str


def fill(house: House) -> Stored:
    stored = Stored(
        house.ring.seal("secrets", "usr_1", b"totp", "a"),
        house.vault.put(None, "ws_1", "pictures", b"picture one"),
        house.vault.put(None, "ws_2", "pictures", os.urandom(700_000)),
        house.vault.put(None, "ws_2", "pictures", b"gone"),
    )
    house.vault.delete(stored.shredded)
    return stored


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[House]:
    """Another, empty house on SQLite."""
    (tmp_path / "empty").mkdir()
    with opened("", tmp_path / "other") as made:
        yield House(made, tmp_path / "empty")


@pytest.fixture(params=["sqlite", "postgresql"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    """Another, empty house on either database."""
    url = ""
    if request.param == "postgresql":
        url = fresh(request.getfixturevalue("postgres_server"))
    home = tmp_path / "empty"
    home.mkdir()
    with opened(url, tmp_path / "other") as made:
        yield House(made, home)


def test_everything_comes_back_in_either_database(
    house: House, either: House, tmp_path: Path
) -> None:
    stored = fill(house)
    steps: list[tuple[int, int]] = []
    with house.database.read() as connection:
        counting = dict.fromkeys(dump.counters(connection), 41)
    assert counting
    house.database.write(lambda c: dump.count_on(c, counting))
    made = house.backup.make(
        tmp_path / "b", actor="command", told=lambda done, of: steps.append((done, of))
    )
    assert (made.blobs, made.files, made.lost) == (2, 4, [])
    assert made.bytes == (tmp_path / "b").stat().st_size
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o600
    assert steps[-1][0] == steps[-1][1]
    assert [one.act for one in house.events] == [Act.BACKUP_CREATED]
    (either.home / "keys").mkdir()
    (either.home / "keys" / "root").write_bytes((house.home / "keys" / "root").read_bytes())
    (either.home / "keys" / "root").chmod(0o600)
    done = either.restore(tmp_path / "b")
    assert (done.rows, done.blobs, done.root_key) == (made.rows, 2, False)
    assert either.rows() == house.rows()
    want = house.files()
    for absent in (
        "models/.importing-x/half",
        "models/link",
        "audit/key",
        "admin.key",
        "cache/big",
    ):
        want.pop(absent, None)
    assert either.files() == want
    assert either.ring.open("secrets", "usr_1", stored.sealed, "a") == b"totp"
    assert either.vault.get(stored.kept, "ws_1", "pictures") == b"picture one"
    assert list(either.vault.check()) == []
    with either.database.read() as connection:
        assert dump.counters(connection)["ledger"] == 41, "no number of the ledger is given twice"


def test_the_root_key_is_there_only_where_it_is_asked_for(
    small: House, empty: House, tmp_path: Path
) -> None:
    stored = fill(small)
    small.backup.make(tmp_path / "without", actor="command")
    small.backup.make(tmp_path / "with", actor="command", with_root_key=True)
    root = (small.home / "keys" / "root").read_bytes().strip()
    with zipfile.ZipFile(tmp_path / "without") as archive:
        assert not [one for one in archive.namelist() if root in archive.read(one)]
        assert not [one for one in archive.namelist() if b"hg_admin" in archive.read(one)]
    assert empty.restore(tmp_path / "with").root_key
    assert (empty.home / "audit" / "key").read_bytes() == b"the key that signs"
    assert (empty.home / "keys" / "root").stat().st_mode & 0o777 == 0o600
    assert empty.ring.open("secrets", "usr_1", stored.sealed, "a") == b"totp"


def locks(folder: Path) -> dict[str, tuple[Lock, Lock, Lock]]:
    """By kind: what locks, what unlocks, and what does not."""
    for name in ("own", "other"):
        key = X25519PrivateKey.generate()
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / f"{name}.pem").write_bytes(private)
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (folder / f"{name}.pub").write_bytes(public)
    own, opening, wrong = (Recipient(folder / one) for one in ("own.pub", "own.pem", "other.pem"))
    return {
        "passphrase": (Passphrase(WORDS), Passphrase(WORDS), Passphrase(WORDS + "!")),
        "recipient": (own, opening, wrong),
    }


@pytest.mark.parametrize("kind", ["passphrase", "recipient"])
def test_a_locked_backup_opens_with_its_own_key_alone(
    small: House, empty: House, tmp_path: Path, kind: str
) -> None:
    fill(small)
    own, opening, wrong = locks(tmp_path)[kind]
    file = tmp_path / "b"
    small.backup.make(file, actor="command", lock=own)
    raw = file.read_bytes()
    assert raw.startswith(MAGIC)
    assert b"manifest" not in raw
    assert b"leaves" not in raw
    for bad in (None, wrong, Passphrase("a third passphrase"), Recipient(tmp_path / "own.pub")):
        with refused(Code.VALIDATION):
            empty.restore(file, lock=bad)
    changes = (raw[:60] + b"!" + raw[61:], raw[:-1], raw[: len(raw) // 2], raw + b"x")
    # Each guess at a passphrase is meant to take its time.
    for change in changes[: 2 if kind == "passphrase" else None]:
        file.write_bytes(change)
        with refused(Code.VALIDATION, "refused"):
            empty.restore(file, lock=opening)
    assert empty.files() == {}
    file.write_bytes(raw)
    empty.restore(file, lock=opening)
    assert empty.rows() == small.rows()


def test_keys_and_passphrases_that_are_none_are_refused(tmp_path: Path) -> None:
    with refused(Code.VALIDATION, "12 characters"):
        Passphrase("short")
    (tmp_path / "x.pem").write_text("-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\n")
    for name in ("x.pem", "nosuch.pem"):
        with refused(Code.VALIDATION, "X25519"):
            Recipient(tmp_path / name)


def test_what_is_there_is_not_replaced_unasked(small: House, either: House, tmp_path: Path) -> None:
    fill(small)
    small.backup.make(tmp_path / "b", actor="command")
    with refused(Code.CONFLICT, "there already"):
        small.backup.make(tmp_path / "b", actor="command")
    either.vault.put(None, "ws_old", "pictures", b"old")
    (either.home / "models" / "old" / "1").mkdir(parents=True)
    (either.home / "models" / "old" / "1" / "model.toml").write_text("old")
    (either.home / "heliograph.toml").write_text("# of this machine\n")
    before = (either.rows(), either.files())
    with refused(Code.CONFLICT, "--replace"):
        either.restore(tmp_path / "b")
    assert (either.rows(), either.files()) == before
    either.restore(tmp_path / "b", replace=True)
    assert either.rows() == small.rows()
    assert not (either.home / "models" / "old").exists()
    assert (either.home / "heliograph.toml").read_text() == "# of this machine\n"
    assert (either.home / "models" / "leaves" / "1" / "model.toml").exists()
    assert either.vault.sweep().orphans == 1


def test_who_was_erased_since_is_erased_again(small: House, either: House, tmp_path: Path) -> None:
    stored = fill(small)
    held = small.vault.put(None, "ws_1", "pictures", b"kept by law")
    small.database.write(lambda c: small.vault.hold(c, held))
    small.backup.make(tmp_path / "b", actor="command", with_root_key=True)
    for tenant in ("usr_1", "ws_1"):
        note_erasure(small.home, tenant, clock())
    again: list[str] = []

    def erase(_: Connection, tenant: str) -> None:
        again.append(tenant)

    gone = erased(small.home / FILE)
    done = either.restore(tmp_path / "b", erased=gone, erase=[erase])
    assert done.erased == 2
    assert again == ["usr_1", "ws_1"]
    with refused(Code.NOT_FOUND):
        either.ring.open("secrets", "usr_1", stored.sealed, "a")
    with refused(Code.NOT_FOUND):
        either.vault.get(stored.kept, "ws_1", "pictures")
    with refused(Code.NOT_FOUND):
        either.ring.seal("secrets", "usr_1", b"again", "a")
    assert either.vault.get(held, "ws_1", "pictures") == b"kept by law"
    assert len(either.vault.get(stored.other, "ws_2", "pictures")) == 700_000
    assert not (either.home / FILE).exists(), "the list itself is in no backup"


def test_a_blob_that_is_missing_or_damaged_is_named_and_left_out(
    small: House, empty: House, tmp_path: Path
) -> None:
    stored = fill(small)
    (small.home / "blobs" / place(stored.kept)).unlink()
    with (small.home / "blobs" / place(stored.other)).open("r+b") as file:
        file.write(b"x")
    made = small.backup.make(tmp_path / "b", actor="command", with_root_key=True)
    assert sorted(made.lost) == sorted([stored.kept, stored.other])
    empty.restore(tmp_path / "b")
    assert list(empty.vault.check()) == []
    with refused(Code.NOT_FOUND):
        empty.vault.get(stored.kept, "ws_1", "pictures")


def test_a_backup_is_made_while_others_write(house: House, empty: House, tmp_path: Path) -> None:
    fill(house)

    def write(done: int, of: int) -> None:
        house.vault.put(None, "ws_late", "pictures", b"late")

    for number in range(120):
        house.ring.seal("secrets", f"usr_x{number}", b"", "a")
    house.backup.make(tmp_path / "b", actor="command", with_root_key=True, told=write)
    empty.restore(tmp_path / "b")
    assert list(empty.vault.check()) == []
    with empty.database.read() as connection:
        late = connection.execute(
            select(store.BLOBS.c.id).where(store.BLOBS.c.tenant == "ws_late")
        ).all()
    assert late == [], "one moment: what came later is not half in it"


Change = Callable[[dict[str, bytes]], None]


def rename(old: str, new: str) -> Change:
    def change(entries: dict[str, bytes]) -> None:
        entries[new] = entries.pop(old)

    return change


def swap(name: str, data: bytes) -> Change:
    def change(entries: dict[str, bytes]) -> None:
        assert name in entries
        entries[name] = data

    return change


def lie(name: str, data: bytes) -> Change:
    """Change an entry and the manifest with it."""

    def change(entries: dict[str, bytes]) -> None:
        import hashlib

        entries[name] = data
        said = msgspec.json.decode(entries["manifest.json"])
        said["entries"][name] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        entries["manifest.json"] = msgspec.json.encode(said)

    return change


def said(**more: Any) -> Change:
    def change(entries: dict[str, bytes]) -> None:
        entries["manifest.json"] = msgspec.json.encode(
            msgspec.json.decode(entries["manifest.json"]) | more
        )

    return change


def drop(name: str) -> Change:
    def change(entries: dict[str, bytes]) -> None:
        del entries[name]

    return change


MODEL = "home/models/leaves/1/model.toml"
BAD: dict[str, tuple[Change, str]] = {
    "climbs": (lie("home/models/../../evil", b"x"), "leads elsewhere"),
    "absolute": (lie("/etc/evil", b"x"), "name"),
    "backslash": (lie("home/models\\..\\evil", b"x"), "name"),
    "drive": (lie("home/C:/evil", b"x"), "name"),
    "elsewhere": (lie("home/.ssh/authorized_keys", b"x"), "holds a file"),
    "admin": (lie("home/admin.key", b"hg_admin_aaaaaaaaaaaaaaaaaaaa"), "holds a file"),
    "unknown": (lie("other/x", b"x"), "name"),
    "table": (lie("tables/evil.jsonl", b"[]\n"), "other tables"),
    "blob": (lie("blobs/ab/../../evil", b"x"), "name"),
    "digest": (swap(MODEL, b"name = 'levaes'"), "manifest says"),
    "size": (swap(MODEL, b"longer than it was before"), "manifest says"),
    "missing": (drop(MODEL), "other entries"),
    "extra": (swap(MODEL, b""), "manifest says"),
    "no manifest": (drop("manifest.json"), "no manifest"),
    "bad manifest": (swap("manifest.json", b"{"), "manifest cannot be read"),
    "format": (said(format=2), "format 2"),
    "columns": (said(tables={"blobs": ["id", "nosuch"]}), ""),
    "bomb": (lie(MODEL, bytes(50 << 20)), "would grow"),
    "row": (lie("tables/ring_keys.jsonl", b"[1]\n"), "is no row"),
    "row type": (lie("tables/ring_keys.jsonl", b'["a","x",{},[],1,1,null]\n'), "is no row"),
    "no json": (lie("tables/ring_keys.jsonl", b"[\n"), "is no row"),
    "cut row": (lie("tables/ring_keys.jsonl", b'["a"'), "within a line"),
    "twice": (rename(MODEL, "home/models/leaves/1/MODEL.ONNX"), "twice"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_archive_is_refused_and_changes_nothing(
    small: House, empty: House, tmp_path: Path, name: str
) -> None:
    fill(small)
    small.backup.make(tmp_path / "b", actor="command")
    change, words = BAD[name]
    with zipfile.ZipFile(tmp_path / "b") as archive:
        entries = {one: archive.read(one) for one in archive.namelist()}
    change(entries)
    with zipfile.ZipFile(tmp_path / "bad", "w", zipfile.ZIP_DEFLATED) as archive:
        for one, data in entries.items():
            archive.writestr(one, data)
    before = empty.rows()
    with refused(Code.VALIDATION, words):
        empty.restore(tmp_path / "bad")
    assert empty.rows() == before
    assert not (tmp_path / "evil").exists()
    left = {one for one in empty.files() if not one.startswith(("blobs/", ".rest"))}
    assert left == set()


def test_links_overlaps_and_broken_zips_are_refused(
    small: House, empty: House, tmp_path: Path
) -> None:
    small.backup.make(tmp_path / "b", actor="command")
    raw = (tmp_path / "b").read_bytes()
    link = io.BytesIO()
    with zipfile.ZipFile(tmp_path / "b") as archive, zipfile.ZipFile(link, "w") as bad:
        for one in archive.infolist():
            data = archive.read(one)
            one.external_attr = (0o120777 if one.filename == MODEL else 0o600) << 16
            bad.writestr(one, data)
    at = raw.find(b"PK\x01\x02")
    second = raw.find(b"PK\x01\x02", at + 4)
    overlap = bytearray(raw)
    overlap[second + 42 : second + 46] = raw[at + 42 : at + 46]
    cases = [link.getvalue(), bytes(overlap), raw[:-30], raw[:1000], raw[5:], b"", b"PK", bytes(99)]
    for case in cases:
        (tmp_path / "bad").write_bytes(case)
        with refused(Code.VALIDATION, "refused"):
            empty.restore(tmp_path / "bad")
    with refused(Code.VALIDATION, "cannot be read"):
        empty.restore(tmp_path / "nosuch")
    assert empty.files() == {}


RESTORE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[4])
import heliograph.house  # every room's tables, as the command knows them
from heliograph.core.clock import system_clock
from heliograph.storage.objects import open_objects
from heliograph.storage.restoring import Target, restore
from support.databases import opened
home = Path(sys.argv[2])
with opened("", Path(sys.argv[3])) as database:
    restore(Path(sys.argv[1]), Target(database, home, open_objects("", home), system_clock))
"""


@pytest.mark.parametrize("site", ["restore.staged", "restore.filled", "restore.committed"])
def test_a_restore_that_is_killed_says_so_and_is_run_again(
    small: House, tmp_path: Path, site: str
) -> None:
    stored = fill(small)
    small.backup.make(tmp_path / "b", actor="command", with_root_key=True)
    home, folder = tmp_path / "empty", tmp_path / "other"
    home.mkdir()
    given = [tmp_path / "b", home, folder, Path(__file__).parents[2]]
    killed = subprocess.run(
        [sys.executable, "-c", RESTORE, *map(str, given)],
        env={**os.environ, "HELIOGRAPH_FAULTS": site},
        check=False,
        timeout=60,
    )
    assert killed.returncode == -9
    assert (home / MARK).exists()
    with refused(Code.CONFLICT, "cut off"):
        check_whole(home)
    with opened("", folder) as database:
        empty = House(database, home)
        with refused(Code.CONFLICT):
            empty.restore(tmp_path / "b")
        empty.restore(tmp_path / "b", replace=True)
        check_whole(home)
        assert empty.rows() == small.rows()
        assert empty.vault.get(stored.kept, "ws_1", "pictures") == b"picture one"
        assert not [one for one in home.iterdir() if one.name.startswith(".")]


def test_a_backup_that_cannot_be_written_leaves_nothing(small: House, tmp_path: Path) -> None:
    with refused(Code.STORAGE_FULL):
        small.backup.make(tmp_path / "nosuch" / "b", actor="command")
    (tmp_path / "out").mkdir()

    def full(done: int, of: int) -> None:
        raise OSError(28, "No space left on device")

    with refused(Code.STORAGE_FULL):
        small.backup.make(tmp_path / "out" / "b", actor="command", told=full)
    assert list((tmp_path / "out").iterdir()) == []
