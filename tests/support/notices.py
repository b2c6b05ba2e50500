"""The outside of the house for tests: a receiver of webhooks, a mail server, a seal, a clock."""

from __future__ import annotations

import os
import ssl
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Connection

from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Event
from heliograph.notices.service import Notices
from heliograph.notices.ways import Check, Letter, Mailer, Post, UndeliveredError, Ways
from heliograph.storage.database import Database

NOON = 1_790_000_000_000


@dataclass
class Turned:
    """A clock that a test turns."""

    now: int = NOON

    def __call__(self) -> int:
        return self.now


class RandomSeal:
    """AES-256-GCM; by default under a key that dies with the test."""

    def __init__(self, key: bytes = b"") -> None:
        self._key = AESGCM(key or AESGCM.generate_key(256))

    def encrypt(self, plain: bytes, about: str) -> bytes:
        nonce = os.urandom(12)
        return nonce + self._key.encrypt(nonce, plain, about.encode())

    def decrypt(self, sealed: bytes, about: str) -> bytes:
        try:
            return self._key.decrypt(sealed[:12], sealed[12:], about.encode())
        except InvalidTag as error:
            raise HeliographError(Code.INTERNAL, "The seal is broken.") from error


@dataclass
class Mailbox:
    """Takes letters, or does what a test asked for instead."""

    letters: list[tuple[str, Letter]] = field(default_factory=list[tuple[str, Letter]])
    trouble: UndeliveredError | None = None
    tries: int = 0

    def send(self, letter: Letter, message_id: str, now_ms: int) -> None:
        del now_ms
        self.tries += 1
        if self.trouble is not None:
            raise self.trouble
        self.letters.append((message_id, letter))


@dataclass(frozen=True)
class Received:
    headers: dict[str, str]
    body: bytes
    at: float


class Endpoint:
    """A real HTTP server that takes webhooks.

    Attributes:
        received: in order of arrival.
        status: of the next answers.
        delay: seconds before an answer.
    """

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.status = 204
        self.released = threading.Event()
        self.delay = 0.0
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                endpoint.received.append(Received(headers, body, time.monotonic()))
                endpoint.released.wait(endpoint.delay)
                self.send_response(endpoint.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                del format, args

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/hook"

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def wait(self, count: int, seconds: float = 10.0) -> list[Received]:
        """What has arrived, once that is `count`."""
        end = time.monotonic() + seconds
        while len(self.received) < count and time.monotonic() < end:
            time.sleep(0.01)
        assert len(self.received) >= count, f"{len(self.received)} of {count} came"
        return self.received


@contextmanager
def endpoint() -> Generator[Endpoint]:
    made = Endpoint()
    try:
        yield made
    finally:
        made.close()


def plain_post(url: str, body: bytes, headers: dict[str, str], seconds: float) -> int:
    """A `Post` without the guard, which refuses this machine."""
    try:
        reply = httpx.post(url, content=body, headers=headers, timeout=seconds, trust_env=False)
    except httpx.TimeoutException as error:
        raise HeliographError(Code.FETCH_TIMEOUT, "Too slow.") from error
    except httpx.HTTPError as error:
        raise HeliographError(Code.UPSTREAM_FETCH_FAILED, "Unreachable.") from error
    return reply.status_code


def check_not_inner(url: str) -> None:
    """A stand-in for the guard's word on an address: `inner.example` is one of the inside."""
    if "//inner.example" in url:
        raise HeliographError(Code.URL_NOT_ALLOWED, "The address is on the inside.")


@dataclass
class Desk:
    """Notices with everything around them.

    Attributes:
        events: what was written into the audit log.
    """

    database: Database
    clock: Turned = field(default_factory=Turned)
    mailbox: Mailbox = field(default_factory=Mailbox)
    post: Post = plain_post
    check: Check = check_not_inner
    seal: RandomSeal = field(default_factory=RandomSeal)
    events: list[Event] = field(default_factory=list[Event])
    owner_addresses: Sequence[str] = ("owner@example.org",)

    def record(self, connection: Connection, event: Event) -> None:
        del connection
        self.events.append(event)

    def owners(self, connection: Connection, workspace: str) -> Sequence[str]:
        del connection, workspace
        return self.owner_addresses

    def notices(self, mailer: Mailer | None = None) -> Notices:
        """As one process has them; a second call is a second process on the same database."""
        return Notices(
            self.database,
            self.clock,
            self.record,
            self.seal,
            self.owners,
            Ways(mailer or self.mailbox, self.post, self.check),
            house="https://models.example.org",
            jitter=lambda: 0.5,
        )


@dataclass
class MailServer:
    """What a real SMTP server received.

    Attributes:
        port: on this machine.
        mails: as they came.
        recipients: of each one's envelope.
        refuse: an SMTP answer to every recipient instead, e.g. `550 no such person`.
    """

    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list[EmailMessage])
    recipients: list[list[str]] = field(default_factory=list[list[str]])
    refuse: str = ""

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        del server, session, options
        if self.refuse:
            return self.refuse
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        del server, session
        mail = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        self.recipients.append(list(envelope.rcpt_tos))
        return "250 OK"


@contextmanager
def mail_server(
    *,
    port: int = 0,
    context: ssl.SSLContext | None = None,
    implicit: bool = False,
    login: tuple[str, str] | None = None,
) -> Generator[MailServer]:
    """A mail server on this machine.

    Args:
        port: any if 0.
        context: with its certificate; without it there is no TLS.
        implicit: TLS from the first byte, else by STARTTLS, which it insists on.
        login: a user and password that it insists on.
    """
    made = MailServer()

    def authenticate(*args: Any) -> AuthResult:
        said: LoginPassword = args[-1]
        fits = login == (said.login.decode(), said.password.decode())
        return AuthResult(success=fits, handled=False)

    controller = Controller(
        made,
        hostname="127.0.0.1",
        port=port or _free_port(),
        ssl_context=context if implicit else None,
        tls_context=None if implicit else context,
        require_starttls=context is not None and not implicit,
        auth_required=login is not None,
        authenticator=authenticate if login else None,
        auth_require_tls=not implicit and context is not None,
    )
    controller.start()
    try:
        made.port = controller.port
        yield made
    finally:
        controller.stop()


def _free_port() -> int:
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
