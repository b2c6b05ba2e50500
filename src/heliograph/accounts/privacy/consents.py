"""What people and workspaces agreed to: a ledger that is only added to, and who asks it.

Taking back is as easy as giving: the same call, with less to say. A process that serves calls keeps
a copy, since a call must not wait for a database; it is never older than `FRESH_SECONDS`.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection

from heliograph.accounts.privacy import store
from heliograph.accounts.privacy.parts import Parts
from heliograph.accounts.privacy.texts import version as version_of
from heliograph.accounts.privacy.values import Channel, Consent, Purpose, subject_of
from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act, Event

FRESH_SECONDS = 5.0
_LOCALE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}")


@dataclass(frozen=True, slots=True)
class Asked:
    """A purpose as somebody is asked for it, with what they have said so far.

    Attributes:
        purpose: what for.
        given: whether they agree now.
        version: of the text; say it back to agree. `locale` and `text`: the words themselves.
        agreed: the version that they agreed to; another one than `version` asks again.
        at_ms: when they last said something; 0 for never.
    """

    purpose: Purpose
    given: bool
    version: str
    locale: str
    text: str
    agreed: str
    at_ms: int


class Consents:
    """The ledger of consents.

    Args:
        parts: what privacy needs of the house.
        monotonic: seconds that only go forward, for the age of the copy.
    """

    def __init__(self, parts: Parts, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._parts = parts
        self._monotonic = monotonic
        self._given: frozenset[tuple[str, Purpose]] = frozenset()
        self._mark = (-1, 0)
        self._looked = float("-inf")
        self._lock = threading.Lock()

    def asked(self, subject: str, locale: str = "en") -> list[Asked]:
        """Every purpose, what is asked, and what was said."""
        with self._parts.database.read() as connection:
            said = {one.purpose: one for one in store.standing(connection, subject)}
        return [self._asked(purpose, locale, said.get(purpose)) for purpose in Purpose]

    def _asked(self, purpose: Purpose, locale: str, said: Consent | None) -> Asked:
        version, shown, words = self._parts.texts.text(purpose, locale)
        given = said is not None and said.given
        agreed, at_ms = (said.version, said.at_ms) if said else ("", 0)
        return Asked(purpose, given, version, shown, words, agreed, at_ms)

    def give(
        self,
        subject: str,
        purpose: Purpose,
        version: str,
        actor: str,
        *,
        locale: str = "en",
        channel: Channel = "api",
    ) -> Consent:
        """Agree to a purpose.

        Args:
            subject: who it is about.
            purpose: what for.
            version: of the text that was read, as `asked` told it.
            actor: who says so.
            locale: the language that it was read in.
            channel: how it is said.

        Raises:
            HeliographError: `conflict` if that text is not in force any more; `not_found`.
        """
        if not _LOCALE.fullmatch(locale):
            raise HeliographError(Code.VALIDATION, "A locale is like en or de-CH.")
        current, shown, words = self._parts.texts.text(purpose, locale)
        if version != current:
            raise HeliographError(
                Code.CONFLICT, "The text has changed meanwhile. Read it again, then agree."
            )

        def work(connection: Connection) -> Consent:
            # The words themselves are the proof, long after they were replaced.
            store.keep_text(connection, version_of(words), shown, words)
            return self._say(connection, subject, purpose, (version, shown), actor, channel)

        return self._written(work)

    def withdraw(
        self, subject: str, purpose: Purpose, actor: str, *, channel: Channel = "api"
    ) -> Consent:
        """Take it back; it acts on every process within `FRESH_SECONDS`.

        Raises:
            HeliographError: `not_found`.
        """
        return self._written(
            lambda connection: self._say(connection, subject, purpose, ("", ""), actor, channel)
        )

    def _written(self, work: Callable[[Connection], Consent]) -> Consent:
        made = self._parts.database.write(work)
        self._looked = float("-inf")
        return made

    def _say(
        self,
        connection: Connection,
        subject: str,
        purpose: Purpose,
        shown: tuple[str, str],
        actor: str,
        channel: Channel,
    ) -> Consent:
        whose = subject_of(subject)
        if not self._parts.subjects.there(connection, whose):
            raise HeliographError(Code.NOT_FOUND, "There is no such person or workspace.")
        version, locale = shown
        made = store.add_consent(
            connection,
            subject=subject,
            purpose=purpose,
            given=bool(version),
            version=version,
            locale=locale,
            channel=channel,
            actor=actor,
            at_ms=self._parts.clock(),
        )
        act = Act.CONSENT_GIVEN if version else Act.CONSENT_WITHDRAWN
        facts = {"purpose": purpose.value, "version": version, "channel": channel}
        workspace = "" if whose.is_person else subject
        self._parts.record(connection, Event(act, actor, workspace, subject, facts))
        return made

    def ledger(self, subject: str, after: int = 0, limit: int = 100) -> list[Consent]:
        """Everything that was said, the oldest first."""
        with self._parts.database.read() as connection:
            return store.consents(connection, subject, after, limit)

    def words(self, version: str) -> str:
        """The text that somebody agreed to; empty if nobody did."""
        with self._parts.database.read() as connection:
            return store.words(connection, version)

    # --- asking --------------------------------------------------------------------------------

    def agreed(self, subject: str, purpose: Purpose) -> bool:
        """Whether somebody agrees now, by a copy of at most `FRESH_SECONDS`."""
        return (subject, purpose) in self._known()

    def require(self, purpose: Purpose, *subjects: str) -> None:
        """Go on only if one of these subjects agrees.

        Args:
            purpose: what for.
            subjects: ids: a person's, their workspace's; empty ones do not count.

        Raises:
            HeliographError: `consent_required`.
        """
        if not any(self.agreed(subject, purpose) for subject in subjects if subject):
            raise HeliographError(
                Code.CONSENT_REQUIRED,
                f"This needs consent to {purpose.value!r}. Read and give it at "
                "/api/v1/me/consents, or for a workspace at /api/v1/workspace/consents.",
            )

    def _known(self) -> frozenset[tuple[str, Purpose]]:
        if self._monotonic() - self._looked < FRESH_SECONDS:
            return self._given
        with self._lock:
            # Before the rows are read: what is said meanwhile is seen the next time.
            looked = self._monotonic()
            with self._parts.database.read() as connection:
                mark = store.consents_mark(connection)
                if mark != self._mark:
                    said = store.standing(connection)
                    self._given = frozenset((o.subject, o.purpose) for o in said if o.given)
                    self._mark = mark
            self._looked = looked
        return self._given
