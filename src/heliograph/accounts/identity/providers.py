"""Who can say that a person is who they say: reviewers of this house, or a service outside.

A provider is asked once, outside every transaction, after the check has been opened. None means
"people of this house shall look"; so does a service's No: nobody is turned away by a machine alone.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from heliograph.accounts.identity.values import Claims, Level


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a service outside found.

    Attributes:
        passed: whether name and number belong together and to a living document.
        reference: the service's own number for it, to ask them later; at most 200 characters.
    """

    passed: bool
    reference: str


class Provider(Protocol):
    """Examines a person for one level."""

    @property
    def name(self) -> str:
        """As policies and checks call it."""
        ...

    @property
    def level(self) -> Level:
        """The level that a person reaches who passes."""
        ...

    def ask(self, check: str, claims: Claims) -> Verdict | None:
        """Examine; None leaves it to the reviewers of this house.

        Raises:
            HeliographError: if it cannot be asked now; the check is reviewed by people then.
        """
        ...


class ManualReview:
    """Reviewers of this house look at pictures of a document: needs nothing outside."""

    name = "manual"
    level = Level.REAL_NAME

    def ask(self, check: str, claims: Claims) -> Verdict | None:
        """Leave it to people."""
        del check, claims


class Texter(Protocol):
    """Sends short messages to phones."""

    def send(self, number: str, text: str) -> None:
        """Send, or hand to whoever sends.

        Raises:
            HeliographError: `upstream_fetch_failed` if nobody takes it.
        """
        ...


class FolderTexter:
    """Leaves short messages as files in a folder, mode 0600, for a gateway to send.

    Small installations have an SMS modem whose daemon watches such a folder: the number in the
    first line, the text after an empty one.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def send(self, number: str, text: str) -> None:
        """Write one file; it is whole when it appears."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, scratch = tempfile.mkstemp(prefix=".sms-", dir=self._folder)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(f"To: {number}\n\n{text}\n")
        Path(scratch).rename(self._folder / f"{Path(scratch).name.removeprefix('.')}.txt")
