"""The rest of the composition root: everything that remembers, wired over one database.

The server and the command line open the same house; `app.py` adds the inference path. Rooms that do
not know each other meet in `joints.py`.
"""

from __future__ import annotations

import hmac
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection

from heliograph.accounts.abuse.parts import Parts as AbuseParts
from heliograph.accounts.abuse.service import Abuse
from heliograph.accounts.directory import Directory
from heliograph.accounts.gate import AccountsGate, Person, nobody_listens
from heliograph.accounts.identity.parts import Parts as IdentityParts
from heliograph.accounts.identity.service import Identity
from heliograph.accounts.identity.values import Feature, Level, Policy
from heliograph.accounts.key import admin_key
from heliograph.accounts.keys.service import Keys, check_limit
from heliograph.accounts.keys.values import digest
from heliograph.accounts.keys.values import read as read_key
from heliograph.accounts.people.ground import Ground
from heliograph.accounts.people.service import People, Rules
from heliograph.accounts.privacy.parts import Parts as PrivacyParts
from heliograph.accounts.privacy.service import Privacy
from heliograph.accounts.privacy.values import Purpose
from heliograph.accounts.privacy.values import Rules as PrivacyRules
from heliograph.accounts.quotas.service import Allowances, Quotas
from heliograph.accounts.tokens import Tokens
from heliograph.accounts.workspaces import store as workspaces_store
from heliograph.accounts.workspaces.service import Workspaces
from heliograph.audit.keeping import Keeper
from heliograph.audit.refusals import Refusals
from heliograph.audit.service import Audit
from heliograph.billing.budgets.service import Around, Budgets
from heliograph.billing.budgets.service import limits as budget_limits
from heliograph.billing.invoices.desk import Desk
from heliograph.billing.invoices.service import InvoiceService
from heliograph.billing.invoices.store import plans_in_use
from heliograph.billing.meters.service import Meters
from heliograph.billing.meters.values import Copy
from heliograph.billing.prices.service import PriceService
from heliograph.billing.usage.folding import Folder
from heliograph.billing.usage.reader import LedgerReader
from heliograph.billing.usage.service import Usage
from heliograph.core.clock import Clock, system_clock
from heliograph.core.events import Act
from heliograph.edge.http import abuse as abuse_http
from heliograph.edge.http import audit as audit_http
from heliograph.edge.http import budgets as budgets_http
from heliograph.edge.http import factors as factors_http
from heliograph.edge.http import identity as identity_http
from heliograph.edge.http import invoices as invoices_http
from heliograph.edge.http import keys as keys_http
from heliograph.edge.http import people as people_http
from heliograph.edge.http import prices as prices_http
from heliograph.edge.http import privacy as privacy_http
from heliograph.edge.http import quotas as quotas_http
from heliograph.edge.http import sessions as sessions_http
from heliograph.edge.http import usage as usage_http
from heliograph.edge.http import users as users_http
from heliograph.edge.http import webhooks as webhooks_http
from heliograph.edge.http import workspaces as workspaces_http
from heliograph.edge.http.doors import Door
from heliograph.edge.ledger import LedgerBooks
from heliograph.joints import Directory as Neighbours
from heliograph.joints import (
    Sanctions,
    counting,
    fetching,
    hearing,
    owners,
    owns,
    quoting,
    seeding,
    warning,
)
from heliograph.notices.mailers import FolderMailer, SmtpMailer, check_sender
from heliograph.notices.service import Notices
from heliograph.notices.ways import Mailer, Ways
from heliograph.outbound.fetch import Courier
from heliograph.outbound.guard import Guard
from heliograph.outbound.targets import Policy as Reach
from heliograph.places import Account, Residents, places
from heliograph.settings import MailSettings, Settings
from heliograph.storage.backup import Backup
from heliograph.storage.blobs import Vault
from heliograph.storage.database import Database, open_database
from heliograph.storage.drawers import Drawer, Seal
from heliograph.storage.keyring import Ring
from heliograph.storage.migrations import migrate
from heliograph.storage.objects import open_objects
from heliograph.storage.replies import Replies
from heliograph.storage.restoring import check_whole
from heliograph.storage.root import Roots
from heliograph.upkeep import Chore, Upkeep

_HOOKS = Reach(any_host=True, schemes=frozenset({"https"}), ports=frozenset({443}))
"""Where webhooks may point: any public host, over TLS."""
_HOUR, _MINUTE, _SOON = 3600.0, 60.0, 3.0


class Closes(Protocol):
    """Something that goes on in the background until it is closed."""

    def close(self) -> None:
        """Finish and end."""
        ...


@dataclass(slots=True)
class House:
    """Everything that remembers; each field is the use cases of one room.

    Attributes:
        background: what goes on by itself in a server.
    """

    settings: Settings
    database: Database
    clock: Clock
    audit: Audit
    ring: Ring
    vault: Vault
    backup: Backup
    notices: Notices
    people: People
    workspaces: Workspaces
    keys: Keys
    tokens: Tokens
    quotas: Quotas
    allowances: Allowances
    directory: Directory
    gate: AccountsGate
    identity: Identity
    abuse: Abuse
    prices: PriceService
    invoices: InvoiceService
    usage: Usage
    budgets: Budgets
    privacy: Privacy
    books: LedgerBooks
    background: list[Closes] = field(default_factory=list[Closes])

    def doors(self) -> list[Door]:
        """Every address of what remembers."""
        return [
            *people_http.doors(self.people),
            *sessions_http.doors(self.people),
            *factors_http.doors(self.people),
            *users_http.doors(self.people),
            *workspaces_http.doors(self.workspaces, self.people.get),
            *keys_http.doors(
                self.keys, self.tokens, self.database, self.audit.append, self._may_make_keys
            ),
            *quotas_http.doors(self.quotas, self.clock),
            *privacy_http.doors(self.privacy),
            *identity_http.doors(self.identity),
            *abuse_http.doors(self.abuse),
            *prices_http.doors(self.prices),
            *invoices_http.doors(self.invoices),
            *usage_http.doors(self.usage),
            *budgets_http.doors(self.budgets),
            *webhooks_http.doors(self.notices),
            *audit_http.doors(self.audit),
        ]

    def meter(self, loaded: Callable[[], Sequence[Copy]]) -> None:
        """Begin to sample what this process has in memory, and what is stored."""
        meters = Meters(self.database, self.clock, loaded, socket.gethostname())
        chores = (
            Chore("meters", _MINUTE, meters.sample),
            Chore("storage", _HOUR, meters.sample_day),
        )
        self.background.insert(0, Upkeep(chores))

    def expose(self, text: str) -> None:
        """Mark a key that stood in an address, if it is one; its owners are told. Does not wait."""
        found = read_key(text)
        key = self.directory.key(found[0]) if found else None
        # Only who holds the secret may mark it: anybody can know a key's id.
        if found and key and hmac.compare_digest(digest(found[1]), key.digest):
            self.keys.expose(key.id)

    def _may_make_keys(self, person: str) -> None:
        """Ask for the identity that the policy wants of people who make keys."""
        if person:
            self.identity.require(person, Feature.CREATE_KEYS)

    def close(self) -> None:
        """End what goes on in the background, write what waits, and close the database."""
        self.directory.close()
        for one in self.background:
            one.close()
        self.database.close()


def open_house(settings: Settings, clock: Clock = system_clock, *, serving: bool = False) -> House:
    """Open the house of a data folder; its tables are made or brought up to date.

    Args:
        settings: the checked tree.
        clock: tells the time.
        serving: also begin what a server does in the background.

    Raises:
        HeliographError: `validation`, `db_unavailable`, `conflict` for a newer database.
    """
    home = settings.home
    home.mkdir(parents=True, exist_ok=True)
    check_whole(home)
    database = open_database(settings.storage.url, home)
    try:
        migrate(database)
        return _furnish(settings, database, clock, serving=serving)
    except BaseException:
        database.close()
        raise


def _furnish(settings: Settings, database: Database, clock: Clock, *, serving: bool) -> House:
    home = settings.home
    audit = Audit(database, clock, home / "audit", copies=_folder(settings.audit.copies))
    record = audit.append
    ring = Ring(database, Roots(home), clock, record)
    vault = Vault(database, ring, open_objects(settings.storage.blobs, home), clock)
    backup = Backup(database, home, vault.objects, clock, record)
    courier = Courier(Guard(), proxy=settings.fetch.proxy)
    seal, neighbours = Seal(ring, "secrets"), Neighbours()
    notices = Notices(
        database,
        clock,
        record,
        seal,
        owners,
        _ways(settings, courier),
        house=settings.mail.base_url or "Heliograph",
    )

    def attest(connection: Connection, person: str) -> None:
        identity.attest(connection, person, Level.EMAIL, "link")

    def rename(connection: Connection, person: str) -> None:
        identity.renamed(connection, person)

    people = People(
        Ground(
            database,
            clock,
            hearing(
                record,
                {
                    Act.USER_VERIFIED: attest,
                    Act.USER_RENAMED: rename,
                },
            ),
            notices.enqueue,
            settings.mail.base_url.rstrip("/"),
        ),
        seal,
        fetching(courier),
        Rules(settings.accounts.registration),
    )
    rooms = Workspaces(database, clock, record)
    rooms.prepare()
    prices = PriceService(database, clock, record, plans_in_use)
    usage = Usage(database, clock, lambda: prices.current().currency)
    budgets = Budgets(
        database,
        clock,
        record,
        notices.enqueue,
        Around(
            usage.spent,
            lambda: prices.current().currency,
            owners,
            owns,
            workspaces_store.touch,
            seeding(clock),
        ),
    )
    directory = Directory(database, clock, budget_limits)
    directory.refresh()
    tokens = Tokens(ring.digest("secrets", b"tokens"), clock)
    refusals = Refusals(audit.record, clock) if serving else None
    gate = AccountsGate(
        admin_key(home)[0],
        directory,
        tokens,
        _sessions(people),
        clock,
        refusals.refused if refusals else nobody_listens,
        consents=lambda caller, purpose: privacy.consents.require(
            Purpose(purpose), caller.person, caller.workspace
        ),
    )
    abuse = Abuse(
        AbuseParts(
            database,
            clock,
            record,
            notices.enqueue,
            Sanctions(rooms),
            neighbours,
            Drawer(vault, "holds"),
            ring.digest("identity_hash", b"senders"),
        )
    )
    identity = Identity(
        IdentityParts(
            database,
            clock,
            record,
            notices.enqueue,
            Drawer(vault, "identity"),
            neighbours,
            ring.digest("identity_hash", b"people"),
            _policy(settings.accounts.identity),
            held=lambda connection, person: abuse.held(
                connection, person, *neighbours.workspaces(connection, person)
            ),
        )
    )
    invoices = InvoiceService(
        Desk(
            database,
            clock,
            record,
            notices.enqueue,
            prices.shelf,
            LedgerReader(),
            lambda person, workspace: workspace in directory.known.roles.get(person, {}),
        )
    )
    privacy = Privacy(
        PrivacyParts(
            database,
            clock,
            record,
            notices.enqueue,
            home,
            vault,
            seal,
            Residents(rooms, clock, home / "outbox"),
            places(audit, vault, clock),
            Account(people),
            audit.forget,
            held=lambda connection, subject: abuse.held(
                connection, subject, *neighbours.workspaces(connection, subject)
            ),
            rules=PrivacyRules(base=settings.mail.base_url.rstrip("/")),
        ),
        [],
    )
    allowances = Allowances(clock)
    replies = Replies(database, clock, seal.encrypt, seal.decrypt)
    made = House(
        settings=settings,
        database=database,
        clock=clock,
        audit=audit,
        ring=ring,
        vault=vault,
        backup=backup,
        notices=notices,
        people=people,
        workspaces=rooms,
        keys=Keys(
            database,
            clock,
            hearing(record, {Act.KEY_EXPOSED: warning(notices.enqueue)}),
            workspaces_store.touch,
        ),
        tokens=tokens,
        quotas=Quotas(database, record, workspaces_store.touch, check_limit),
        allowances=allowances,
        directory=directory,
        gate=gate,
        identity=identity,
        abuse=abuse,
        privacy=privacy,
        prices=prices,
        invoices=invoices,
        usage=usage,
        budgets=budgets,
        books=LedgerBooks(database, clock, quoting(prices), replies, [counting(allowances)]),
    )
    if refusals:
        notices.deliverer.start()
        chores = (
            Chore("people", _HOUR, people.sweep),
            Chore("identity", _HOUR, identity.sweep),
            Chore("abuse", _MINUTE, abuse.sweep),
            Chore("blobs", _HOUR, vault.sweep),
            Chore("replies", _HOUR, replies.sweep),
            Chore("privacy", _MINUTE, privacy.tend),
            Chore("retention", _HOUR, privacy.sweep),
        )
        money = (
            Chore("invoices", 5 * _MINUTE, invoices.closing.close_due),
            Chore("usage", _SOON, Folder(database).fold),
            Chore("budgets", _SOON, budgets.look),
        )
        made.background = [Upkeep(chores), Upkeep(money), _Stops(notices.deliverer.stop), refusals]
        made.background.append(Keeper(audit, database, clock))
    return made


@dataclass(slots=True)
class _Stops:
    close: Callable[[], None]


def _sessions(people: People) -> Callable[[str], Person | None]:
    def find(token: str) -> Person | None:
        signed = people.sessions.lookup(token)
        return Person(signed.person, signed.operator) if signed else None

    return find


def _ways(settings: Settings, courier: Courier) -> Ways:
    return Ways(
        _mailer(settings.mail, settings.home),
        lambda url, body, headers, seconds: courier.post(url, body, headers, _HOOKS, seconds),
        lambda url: courier.check(url, _HOOKS),
    )


def _mailer(mail: MailSettings, home: Path) -> Mailer:
    check_sender(mail.sender)
    if not mail.host:
        return FolderMailer(home / "outbox", mail.sender)
    password = Path(mail.password_file).read_text("utf-8").strip() if mail.password_file else ""
    return SmtpMailer(
        mail.host, mail.port, mail.sender, mail.user, password, mail.tls, mail.authorities
    )


def _policy(said: str) -> Policy:
    """`create_keys=email,raise_quota=real_name` as the policy that it is."""
    pairs = [one.partition("=") for one in said.split(",") if one.strip()]
    return Policy({Feature(name.strip()): Level(level.strip()) for name, _, level in pairs})


def _folder(path: str) -> Path | None:
    return Path(path) if path else None
