"""A house for privacy's tests: real people, workspaces, audit, letters, vault; a clock to turn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection, insert

from heliograph.accounts.keys.service import Keys, Wishes
from heliograph.accounts.people.ground import Ground
from heliograph.accounts.people.joining import Applicant
from heliograph.accounts.people.passwords import Passwords
from heliograph.accounts.people.service import People, Rules
from heliograph.accounts.people.values import Visit
from heliograph.accounts.privacy.parts import Parts
from heliograph.accounts.privacy.service import Privacy
from heliograph.accounts.privacy.values import DAY_MS, Erasure
from heliograph.accounts.privacy.values import Rules as PrivacyRules
from heliograph.accounts.roles import KEY_SCOPES
from heliograph.accounts.workspaces import store as workspaces_store
from heliograph.accounts.workspaces.service import Workspaces
from heliograph.audit.service import Audit
from heliograph.billing.ledger.store import LEDGER
from heliograph.notices.mailers import FolderMailer
from heliograph.notices.service import Notices
from heliograph.notices.ways import Ways
from heliograph.places import Account, Residents, places
from heliograph.storage.blobs import Vault
from heliograph.storage.database import Database
from heliograph.storage.drawers import Seal
from heliograph.storage.keyring import Ring
from heliograph.storage.objects import open_objects
from heliograph.storage.root import Roots
from heliograph.storage.tables import METADATA
from support.people import QUICK, fetch

START = 1_800_000_000_000
MAIL, NAME = "canary.maria@otters.example", "Canaria Otterfield"
ROOM = "Quagmire Canary Works"
PICTURE = b"canary-picture-bytes " * 500
ALARMS = "operator@house.test"


class Clock:
    def __init__(self, now: int = START) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now

    def days(self, count: float) -> None:
        self.now += round(count * DAY_MS)


def no_post(url: str, body: bytes, headers: dict[str, str], seconds: float) -> int:
    raise AssertionError("no webhook is called here")


def no_check(url: str) -> None:
    del url


def no_owners(connection: Connection, workspace: str) -> list[str]:
    del connection, workspace
    return []


@dataclass
class Town:
    """Everything that privacy touches, real and small."""

    database: Database
    home: Path
    clock: Clock = field(default_factory=Clock)
    held: set[str] = field(default_factory=set[str])
    rules: PrivacyRules = field(default_factory=lambda: PrivacyRules(alarms=ALARMS))

    def __post_init__(self) -> None:
        database, clock = self.database, self.clock
        self.home.mkdir(parents=True, exist_ok=True)
        self.audit = Audit(database, clock, self.home / "audit")
        record = self.audit.append
        self.ring = Ring(database, Roots(self.home, {}), clock, record)
        self.vault = Vault(database, self.ring, open_objects("", self.home), clock)
        self.seal = Seal(self.ring, "secrets")
        ways = Ways(FolderMailer(self.home / "outbox"), no_post, no_check)
        self.notices = Notices(database, clock, record, self.seal, no_owners, ways)
        ground = Ground(database, clock, record, self.notices.enqueue, "https://house.test")
        self.people = People(ground, self.seal, fetch, Rules("open", Passwords(QUICK)))
        self.rooms = Workspaces(database, clock, record)
        self.rooms.prepare()
        self.keys = Keys(database, clock, record, workspaces_store.touch)
        self.parts = Parts(
            database,
            clock,
            record,
            self.notices.enqueue,
            self.home,
            self.vault,
            self.seal,
            Residents(self.rooms, clock, self.home / "outbox"),
            places(self.audit, self.vault, clock),
            Account(self.people),
            self.audit.forget,
            self._held,
            rules=self.rules,
        )
        self.privacy = Privacy(self.parts, picture_days=30)

    def _held(self, connection: Connection, subject: str) -> bool:
        del connection
        return subject in self.held

    def person(self, mail: str = MAIL, name: str = NAME) -> str:
        made = self.people.joining.invite(Applicant(mail, name), "admin", operator=False)
        self.people.joining.reset(made.link.partition("#")[2], "quiet otters paddle", Visit())
        return made.person.id

    def room(self, owner: str, name: str = ROOM) -> str:
        made = self.rooms.create(name, owner, owner)
        self.keys.create(made.id, Wishes("canary key"), owner, KEY_SCOPES)
        return made.id

    def picture(self, tenant: str) -> str:
        return self.vault.put(None, tenant, "pictures", PICTURE)

    def call(self, workspace: str, person: str, number: int = 0) -> None:
        row = dict.fromkeys((one.name for one in LEDGER.c if one.name != "seq"), 0) | {
            "id": f"pred_{number}", "at_ms": self.clock(), "workspace": workspace, "key": "",
            "person": person, "model": "process", "version": "1", "digest": "d", "task": "t",
            "device": "cpu", "result_digest": "", "idempotency": "",
        }  # fmt: skip
        self.database.write(lambda connection: connection.execute(insert(LEDGER).values(**row)))

    def deliver(self) -> None:
        """Send what waits in the outbox."""
        self.notices.deliverer.flush()

    def erased(self, subject: str, actor: str = "") -> Erasure:
        """An erasure from the first to the last step."""
        asked = self.privacy.erasures.ask(subject, actor or subject)
        self.finish()
        return self.privacy.erasures.get(asked.id)[0]

    def finish(self) -> None:
        self.clock.days(7)
        self.privacy.tend()
        self.clock.now += 10_000
        self.privacy.tend()
        self.deliver()
        self.privacy.tend()

    def everywhere(self) -> Iterator[tuple[Path, bytes]]:
        """Every byte of the data folder; the database's own file and log too, on SQLite."""
        folders = {self.home, self.home.parent / "database"}
        for folder in folders:
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    yield path, path.read_bytes()


def every_row(connection: Connection) -> str:
    """Every row of every table, as one text."""
    return "\n".join(
        f"{table.name} {tuple(row)}"
        for table in METADATA.sorted_tables
        for row in connection.execute(table.select())
    )
