"""A server with two workspaces that have one of everything, to be kept apart.

Everything of `theirs` has `MARK` in its name: no answer to anybody else may contain it.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import insert

from heliograph.accounts.abuse.values import Action, Ground, Notice, Ruling
from heliograph.accounts.identity.values import Claims
from heliograph.accounts.keys.service import Wishes
from heliograph.accounts.people.joining import Applicant
from heliograph.accounts.people.store import PASSKEYS
from heliograph.accounts.people.values import Opened, Visit
from heliograph.accounts.roles import KEY_SCOPES, Role
from heliograph.audit.values import Filter
from heliograph.billing.invoices.values import Month
from heliograph.billing.prices.sheet import read_sheet
from heliograph.core.call import Caller, Limit
from heliograph.core.clock import system_clock
from heliograph.core.ids import new_id
from heliograph.core.permissions import EVERY, Permission
from heliograph.house import House, open_house
from heliograph.settings import read_settings
from support import pictures
from support.invoices import SHEET
from support.server import Server, running

MARK = "zebrafinch"
GOOD = pictures.file(pictures.scene())
PASSWORD = "quiet otters paddle north"
_MONTH_MS = 31 * 24 * 3600 * 1000
_NOWHERE = {"HELIOGRAPH_FETCH_PROXY": "http://127.0.0.1:9"}
"""Webhooks point at a real address: nothing of a test may go there."""


@dataclass(frozen=True)
class Tenant:
    """A workspace, its owner and what they have.

    Attributes:
        workspace: id; `person` that of its owner.
        session: what the owner's cookie holds.
        key: a key that may everything a key may; `weak` one that may only list webhooks and
            `weaker` one that may only look at models.
        ids: of one thing of each kind, by the name that addresses give it.
    """

    workspace: str
    person: str
    session: str
    key: str
    weak: str
    weaker: str
    ids: Mapping[str, str]


@dataclass
class Site:
    """The server and its two tenants."""

    server: Server
    ours: Tenant
    theirs: Tenant
    reviewer: str
    clients: list[httpx.Client] = field(default_factory=list[httpx.Client])

    def by_key(self, key: str, **headers: str) -> httpx.Client:
        """A program with a key."""
        return self._client({"authorization": f"Bearer {key}"} if key else {}, headers)

    def by_session(self, session: str, **headers: str) -> httpx.Client:
        """A browser whose cookie is that."""
        origin = {"origin": self.server.address, "cookie": f"heliograph={session}"}
        return self._client(origin, headers)

    def _client(self, own: Mapping[str, str], more: Mapping[str, str]) -> httpx.Client:
        said = {name.replace("_", "-"): value for name, value in more.items()}
        made = httpx.Client(
            base_url=self.server.address, headers={**own, **said}, trust_env=False, timeout=20.0
        )
        self.clients.append(made)
        return made

    def document(self) -> dict[str, Any]:
        """The server's OpenAPI."""
        return self.by_key("").get("/openapi.json").raise_for_status().json()


@contextmanager
def site(home: Path, *options: str, environ: Mapping[str, str] | None = None) -> Generator[Site]:
    """A server over a house with two tenants.

    Args:
        home: an empty folder.
        options: further ones of `heliograph serve`.
        environ: settings.
    """
    with _opened(home, 2 * _MONTH_MS) as house:
        house.prices.publish(read_sheet(SHEET), "admin")
    places = [_founded(home, name) for name in ("acme", MARK)]
    with _opened(home) as house:
        house.invoices.closing.close(Month.of(house.clock() - _MONTH_MS), "admin", early=True)
        ours, theirs = (_tenant(house, *one) for one in places)
        reviewer, _ = _person(house, "reviewer", operator=True)
    wanted = ("--models", "edges,process", "--grpc-port", "0", *options)
    given = {**_NOWHERE, **(environ or {})}
    with running(home, *wanted, stderr=home / "stderr", environ=given) as server:
        made = Site(server, ours, theirs, reviewer)
        try:
            made.ours, made.theirs = (_called(made, one) for one in (ours, theirs))
            yield made
        finally:
            for one in made.clients:
                one.close()


@contextmanager
def _opened(home: Path, ago_ms: int = 0) -> Generator[House]:
    house = open_house(read_settings(home), lambda: system_clock() - ago_ms)
    try:
        yield house
    finally:
        house.close()


def _founded(home: Path, name: str) -> tuple[str, str]:
    """A name and its workspace, which has been a customer for more than a month."""
    with _opened(home, _MONTH_MS) as house:
        place = house.workspaces.create(name, "admin").id
        house.invoices.terms.change_plan(Caller("admin", place, operator=True), "team")
    return name, place


def _called(made: Site, tenant: Tenant) -> Tenant:
    """The tenant, once it has called a model."""
    reply = made.by_key(tenant.key).post("/api/v1/edges?format=json", content=GOOD)
    ids = {**tenant.ids, "call": reply.raise_for_status().json()["id"]}
    return replace(tenant, ids=ids)


def _person(house: House, name: str, *, operator: bool = False) -> tuple[str, str]:
    """Somebody and their session."""
    who = Applicant(f"{name}@example.org", name)
    made = house.people.joining.invite(who, "admin", operator=operator)
    house.people.joining.reset(made.link.partition("#")[2], PASSWORD, Visit())
    opened = house.people.login.password(who.mail, PASSWORD, Visit("127.0.0.1", name))
    assert isinstance(opened, Opened), opened
    return made.person.id, opened.token


def _tenant(house: House, name: str, place: str) -> Tenant:
    person, session = _person(house, name)
    house.workspaces.join(place, person, Role.OWNER, "admin")
    more, _ = _person(house, f"{name}-member")
    house.workspaces.join(place, more, Role.VIEWER, person)

    def key(*scopes: Permission) -> tuple[str, str]:
        wishes = Wishes(f"{name} {len(scopes)}", frozenset(scopes))
        made, text = house.keys.create(place, wishes, person, EVERY)
        return made.id, text

    all_of_them, weak = key(*KEY_SCOPES), key(Permission.WEBHOOKS_READ)
    hook, _ = house.notices.create(person, place, f"https://93.184.215.14/{name}", ["test.sent"])
    house.quotas.put(Limit(place, "images", "day", 100_000), "admin")
    ids = {
        **_things(house, name, place, person),
        "invoice": house.invoices.listed(place)[0].id,
        "export": house.privacy.exports.ask(place, person).id,
        "erasure": house.privacy.erasures.ask(more, more).id,
        "workspace": place,
        "person": more,
        "user": person,
        "key": weak[0],
        "webhook": hook.id,
        "delivery": house.notices.test(person, place, hook.id).id,
        "session": house.people.sessions.mine(person)[0].id,
        "seq": str(house.audit.find(Filter(workspace=place, limit=1))[0].seq),
    }
    weaker = key(Permission.MODELS_READ)[1]
    return Tenant(place, person, session, all_of_them[1], weak[1], weaker, ids)


def _things(house: House, name: str, place: str, person: str) -> dict[str, str]:
    """What people and reviewers make: identity checks, cases, decisions, appeals, passkeys."""
    check = house.identity.submit(person, "manual", Claims(f"{name} Name", f"{name} 1234"))
    notice = Notice(place, Ground.CREDIBLE_HARM, f"{name} does it")
    case = house.abuse.report(notice).case
    copy = house.abuse.copies.preserve(case, "admin", GOOD)
    ruling = Ruling(Action.WARN, Ground.SPAM, f"{name} rule", f"{name} facts")
    decision = house.abuse.decisions.decide(case, "admin", ruling).id
    return {
        "check": check.id,
        "picture": house.identity.add_picture(person, check.id, GOOD),
        "case": case,
        "copy": copy,
        "decision": decision,
        "appeal": house.abuse.appeals.file(decision, place, person, f"{name} objects").id,
        "passkey": _passkey(house, name, person),
    }


def _passkey(house: House, name: str, person: str) -> str:
    made = new_id("pk")
    row = {"id": made, "person": person, "credential": name.encode(), "public_key": b"-"}
    more = {"sign_count": 0, "name": name, "created_ms": 1, "used_ms": 0}
    house.database.write(lambda c: c.execute(insert(PASSKEYS).values(**row, **more)) and None)
    return made
