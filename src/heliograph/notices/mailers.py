"""The two ways a letter leaves: by SMTP, or as a file in the data folder where no server is set.

`compose` is the one place where a letter gets headers; an address or subject with a line break in
it never becomes one.
"""

from __future__ import annotations

import contextlib
import os
import smtplib
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from pathlib import Path
from typing import Literal

from heliograph.core.errors import Code, HeliographError
from heliograph.notices.values import check_address
from heliograph.notices.ways import Letter, UndeliveredError

Tls = Literal["starttls", "implicit", "none"]
_SECONDS = 15.0
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def compose(letter: Letter, sender: str, message_id: str, now_ms: int) -> EmailMessage:
    """A letter as a mail.

    Raises:
        HeliographError: `validation`: the address or the subject has a line break in it.
    """
    if not letter.subject.isprintable():
        raise HeliographError(Code.VALIDATION, "A subject is one line of printable characters.")
    _, address = parseaddr(sender)
    made = EmailMessage(policy=SMTP)
    made["From"] = sender
    made["To"] = check_address(letter.to)
    made["Subject"] = letter.subject
    made["Date"] = format_datetime(datetime.fromtimestamp(now_ms / 1000, UTC))
    made["Message-ID"] = f"<{message_id}@{_domain(address)}>"
    # RFC 3834: no holiday notes in return, please.
    made["Auto-Submitted"] = "auto-generated"
    made.set_content(letter.text)
    return made


def check_sender(sender: str) -> str:
    """The address that mail comes from: `name@domain` or `Words <name@domain>`.

    Raises:
        HeliographError: `validation`.
    """
    if not sender.isprintable():
        raise HeliographError(Code.VALIDATION, "mail.sender is one line.")
    check_address(parseaddr(sender)[1])
    return sender


@dataclass(frozen=True, slots=True)
class FolderMailer:
    """Writes letters into a folder as `.eml` files that only this user can read.

    Attributes:
        folder: made if it is not there.
        sender: who the letters are from.
    """

    folder: Path
    sender: str = "Heliograph <heliograph@localhost>"

    def send(self, letter: Letter, message_id: str, now_ms: int) -> None:
        """See `Mailer.send`."""
        body = compose(letter, self.sender, message_id, now_ms).as_bytes()
        path = self.folder / f"{message_id}.eml"
        begun = path.with_suffix(".part")
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(begun, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as f:
                f.write(body)
                f.flush()
                os.fsync(f.fileno())
            begun.replace(path)
        except OSError as error:
            raise UndeliveredError("folder", down=True) from error


@dataclass(frozen=True, slots=True)
class SmtpMailer:
    """Hands letters to a mail server.

    Attributes:
        host: its name.
        port: 587 for STARTTLS, 465 for implicit TLS, 25 for a relay beside us.
        sender: who the letters are from.
        user: empty where it asks for no log-in.
        password: of the user.
        tls: `starttls` and `implicit` insist on an encrypted line to a server whose certificate is
            right; `none` is for a server on this machine.
        authorities: a PEM file of those who vouch for it; empty for the system's.
        seconds: of patience with each of its answers.
    """

    host: str
    port: int
    sender: str
    user: str = ""
    password: str = field(default="", repr=False)
    tls: Tls = "starttls"
    authorities: str = ""
    seconds: float = _SECONDS

    def __post_init__(self) -> None:
        """Refuse what would send a password in the clear."""
        check_sender(self.sender)
        if self.user and self.tls == "none" and self.host not in _LOOPBACK:
            raise HeliographError(
                Code.VALIDATION,
                "mail.user would go over the network in the clear; set mail.tls to starttls or "
                "implicit.",
            )

    def send(self, letter: Letter, message_id: str, now_ms: int) -> None:
        """See `Mailer.send`."""
        mail = compose(letter, self.sender, message_id, now_ms)
        server = self._reach()
        try:
            server.send_message(mail, parseaddr(self.sender)[1], [letter.to])
        except smtplib.SMTPRecipientsRefused as error:
            code = error.recipients[letter.to][0]
            raise UndeliveredError(str(code), final=code >= 500) from error
        except smtplib.SMTPDataError as error:
            raise UndeliveredError(str(error.smtp_code), final=error.smtp_code >= 500) from error
        except smtplib.SMTPNotSupportedError as error:
            # The address has letters beyond ASCII, and the server does not know SMTPUTF8.
            raise UndeliveredError("smtputf8", final=True) from error
        except (smtplib.SMTPException, OSError) as error:
            raise _down(error) from error
        finally:
            # Taken is taken: whatever a farewell says changes nothing about the letter.
            with contextlib.suppress(smtplib.SMTPException, OSError):
                server.quit()
            server.close()

    def _reach(self) -> smtplib.SMTP:
        """A connection, encrypted and logged in."""
        name = _domain(parseaddr(self.sender)[1])
        server: smtplib.SMTP | None = None
        try:
            if self.tls == "implicit":
                server = smtplib.SMTP_SSL(
                    self.host, self.port, name, timeout=self.seconds, context=self._context()
                )
            else:
                server = smtplib.SMTP(self.host, self.port, name, timeout=self.seconds)
            if self.tls == "starttls":
                server.starttls(context=self._context())
            if self.user:
                server.login(self.user, self.password)
        except (smtplib.SMTPException, OSError) as error:
            if server is not None:
                server.close()
            raise _down(error) from error
        return server

    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.authorities or None)


def _domain(address: str) -> str:
    return address.rpartition("@")[2]


def _down(error: Exception) -> UndeliveredError:
    if isinstance(error, smtplib.SMTPResponseException):
        return UndeliveredError(str(error.smtp_code), down=True)
    return UndeliveredError("unreachable", down=True)
