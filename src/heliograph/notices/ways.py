"""What this room asks of others: the ways out of the house, a seal, and who owns a workspace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import Connection

Owners = Callable[[Connection, str], Sequence[str]]
"""The e-mail addresses of those who answer for a workspace, by its id."""

Check = Callable[[str], None]
"""Raises `url_not_allowed` for an address that the house does not send to."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail as it will be read.

    Attributes:
        to: one address.
        subject: one line.
        text: plain text.
    """

    to: str
    subject: str
    text: str


class Seal(Protocol):
    """Keeps bytes unreadable in the database; `about` is bound to them and must be given again."""

    def encrypt(self, plain: bytes, about: str) -> bytes:
        """Seal."""
        ...

    def decrypt(self, sealed: bytes, about: str) -> bytes:
        """Open.

        Raises:
            HeliographError: `internal`: it was changed, or belongs to something else.
        """
        ...


class Post(Protocol):
    """Sends a body to an address of the outside, guarded against addresses of the inside."""

    def __call__(self, url: str, body: bytes, headers: dict[str, str], seconds: float) -> int:
        """POST it, without following redirects.

        Args:
            url: where to.
            body: what.
            headers: with which headers.
            seconds: the longest that it may take, all in all.

        Returns:
            The answer's HTTP status.

        Raises:
            HeliographError: `url_not_allowed`, `fetch_timeout` or `upstream_fetch_failed`.
        """
        ...


class Mailer(Protocol):
    """Takes letters out of the house."""

    def send(self, letter: Letter, message_id: str, now_ms: int) -> None:
        """Hand a letter over.

        Args:
            letter: what.
            message_id: the same for each try.
            now_ms: the letter's date.

        Raises:
            UndeliveredError: it did not take it.
        """
        ...


class UndeliveredError(Exception):
    """A letter was not taken.

    Args:
        code: an SMTP status, or a word of ours.
        final: trying again would not help.
        down: the fault is not this letter's: others need not be tried now.
    """

    def __init__(self, code: str, *, final: bool = False, down: bool = False) -> None:
        super().__init__(code)
        self.code = code
        self.final = final
        self.down = down


@dataclass(frozen=True, slots=True)
class Ways:
    """The ways out of the house.

    Attributes:
        mailer: for letters.
        post: for webhooks.
        check: whether `post` would send to an address at all.
    """

    mailer: Mailer
    post: Post
    check: Check
