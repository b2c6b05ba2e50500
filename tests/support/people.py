"""A house of people for tests: everything real, with a clock one can turn and an outbox to read."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import uvicorn
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Router
from starlette.types import Receive, Scope, Send

from heliograph.accounts.directory import Directory
from heliograph.accounts.gate import AccountsGate
from heliograph.accounts.gate import Person as Caller
from heliograph.accounts.people.ground import Ground
from heliograph.accounts.people.joining import Applicant
from heliograph.accounts.people.oidc import Provider
from heliograph.accounts.people.passwords import Cost, Passwords
from heliograph.accounts.people.service import People, Rules
from heliograph.accounts.people.values import Opened, Registration, Visit
from heliograph.accounts.tokens import Tokens
from heliograph.accounts.workspaces.service import Workspaces
from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Event
from heliograph.core.notices import Mail, Notice
from heliograph.edge.books import NullBooks
from heliograph.edge.http import factors, people, sessions, users
from heliograph.edge.http.doors import routes
from heliograph.edge.http.errors import answer
from heliograph.storage.database import Database

QUICK = Cost(passes=1, memory_kib=8, lanes=1)
ADMIN = "hg_admin_for_tests_only"
MAIL, PASSWORD = "maria@example.org", "quiet otters paddle north"
HERE = Visit("192.0.2.7", "tests")


class Clock:
    """The time, as a test wants it; it begins now and stands still."""

    def __init__(self) -> None:
        self.ms = time.time_ns() // 1_000_000

    def __call__(self) -> int:
        return self.ms

    def turn(self, seconds: float) -> None:
        self.ms += int(seconds * 1000)


class Seal:
    """Seals in memory, with a real cipher."""

    def __init__(self) -> None:
        self._cipher = AESGCM(AESGCM.generate_key(256))

    def encrypt(self, plain: bytes, about: str) -> bytes:
        nonce = os.urandom(12)
        return nonce + self._cipher.encrypt(nonce, plain, about.encode())

    def decrypt(self, sealed: bytes, about: str) -> bytes:
        try:
            return self._cipher.decrypt(sealed[:12], sealed[12:], about.encode())
        except InvalidTag as error:
            raise HeliographError(Code.INTERNAL, "It was changed.") from error


def fetch(url: str, form: Mapping[str, str] | None = None) -> bytes:
    """Reads an address without any guard."""
    with httpx.Client(trust_env=False) as client:
        reply = client.get(url) if form is None else client.post(url, data=dict(form))
    if reply.status_code != 200:
        raise HeliographError(Code.UPSTREAM_FETCH_FAILED, "The provider refused.")
    return reply.content


@dataclass
class House:
    """People, and what they left behind."""

    database: Database
    clock: Clock
    people: People
    ground: Ground
    mails: list[Mail] = field(default_factory=list[Mail])
    events: list[Event] = field(default_factory=list[Event])
    clients: list[httpx.Client] = field(default_factory=list[httpx.Client])

    def browser(self, **headers: str) -> httpx.Client:
        """Somebody with a cookie jar, at a page of the server."""
        base = self.ground.base
        said = {"origin": base, "user-agent": "Browser/1.0", **headers}
        made = httpx.Client(base_url=base, headers=said, trust_env=False)
        self.clients.append(made)
        return made

    def operator(self) -> httpx.Client:
        """A program with the administrator key."""
        return self.browser(authorization=f"Bearer {ADMIN}")

    def settle(self) -> None:
        """Wait for what happens after the answer."""
        self.database.write(lambda _: None)

    def acts(self) -> list[str]:
        """What the audit log has heard."""
        return [str(event.act) for event in self.events]

    def link(self, template: str) -> str:
        """What stands behind the # in the last mail of a kind."""
        self.settle()
        found = [mail for mail in self.mails if mail.template == template]
        return found[-1].facts["link"].partition("#")[2]

    def person(self, mail: str = MAIL, password: str = PASSWORD, *, operator: bool = False) -> str:
        """Somebody who is let in already; their id."""
        made = self.people.joining.invite(Applicant(mail, "Maria"), "admin", operator=operator)
        self.people.joining.reset(made.link.partition("#")[2], password, Visit())
        return made.person.id

    def enter(self, mail: str = MAIL, password: str = PASSWORD, visit: Visit = HERE) -> Opened:
        """A session by password alone."""
        made = self.people.login.password(mail, password, visit)
        assert isinstance(made, Opened)
        return made


def build(
    database: Database,
    *,
    registration: Registration = "open",
    base: str = "https://house.test",
    cost: Cost = QUICK,
    providers: Sequence[Provider] = (),
) -> House:
    """A house over an empty database."""
    mails: list[Mail] = []
    events: list[Event] = []

    def notify(connection: Connection, notice: Notice) -> None:
        assert isinstance(notice, Mail)
        mails.append(notice)

    def record(connection: Connection, event: Event) -> None:
        events.append(event)

    clock = Clock()
    ground = Ground(database, clock, record, notify, base)
    rules = Rules(registration, Passwords(cost), providers)
    return House(database, clock, People(ground, Seal(), fetch, rules), ground, mails, events)


class App:
    """Every address of people behind the real gate."""

    def __init__(self, house: House) -> None:
        Workspaces(house.database, house.clock, house.ground.record).prepare()
        directory = Directory(house.database, house.clock, lambda _: ())
        directory.refresh()

        def found(token: str) -> Caller | None:
            signed = house.people.sessions.lookup(token)
            return Caller(signed.person, signed.operator) if signed else None

        tokens = Tokens(os.urandom(32), house.clock)
        gate = AccountsGate(ADMIN, directory, tokens, found, house.clock)
        doors = [
            door for room in (people, sessions, factors, users) for door in room.doors(house.people)
        ]
        self._router = Router(routes(gate, NullBooks(), doors), redirect_slashes=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        scope["app"] = self
        try:
            await self._router(scope, receive, send)
        except Exception as error:  # noqa: BLE001 - as the server's front
            reply: Response = answer(error, Request(scope).method)[1]
            await reply(scope, receive, send)


@contextmanager
def serving(database: Database, **more: Any) -> Generator[tuple[House, httpx.Client]]:
    """A house behind a real server, and a browser that has it open."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    base = f"http://127.0.0.1:{listening.getsockname()[1]}"
    house = build(database, base=base, **more)
    config = uvicorn.Config(App(house), log_level="error", lifespan="off", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    try:
        yield house, house.browser()
    finally:
        for client in house.clients:
            client.close()
        server.should_exit = True
        thread.join()
        listening.close()
