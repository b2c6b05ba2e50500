"""Erasures: who may ask for one, who must agree, how it is called off, how far it is.

proposed ─► cooling ─► refusing ─► erasing ─► telling ─► cleaning ─► done
└──────────┴─► cancelled             what happens after `cooling`: `erasing.py`
"""

from __future__ import annotations

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from heliograph.accounts.privacy import store
from heliograph.accounts.privacy.parts import Parts
from heliograph.accounts.privacy.values import (
    KEYS,
    Erasure,
    ErasureState,
    Subject,
    Tick,
    subject_of,
)
from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act, Event
from heliograph.core.ids import new_id
from heliograph.core.notices import Mail

_KEPT_WORKSPACE = "ws_default"
_CANCELLABLE = (ErasureState.PROPOSED, ErasureState.COOLING)


class Erasures:
    """The desk where erasures are asked for.

    Args:
        parts: what privacy needs of the house.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def ask(self, subject: str, actor: str, *, operator: bool = False) -> Erasure:
        """Ask for an erasure.

        Args:
            subject: whose data: a person's or a workspace's id.
            actor: who asks; the edge has checked that it may.
            operator: it is the operator and not the subject: a workspace takes two then.

        Returns:
            The erasure; the one that is on its way already, if there is one.

        Raises:
            HeliographError: `not_found`; `conflict` with what must be settled before.
        """
        whose = subject_of(subject)
        if subject == _KEPT_WORKSPACE:
            raise HeliographError(Code.CONFLICT, "The server's own workspace cannot be erased.")
        two = operator and not whose.is_person

        def work(connection: Connection) -> Erasure:
            if not self._parts.subjects.there(connection, whose):
                raise HeliographError(Code.NOT_FOUND, "There is no such person or workspace.")
            found = store.erasure_of(connection, subject)
            if found is not None:
                return found
            hindrance = self._parts.subjects.hindrance(connection, whose)
            if hindrance:
                raise HeliographError(Code.CONFLICT, hindrance)
            made = self._new(whose, actor, two=two)
            store.add_erasure(connection, made)
            self._say(connection, Act.ERASURE_REQUESTED, made, actor)
            self._warn(connection, whose, "an erasure of its data was asked for")
            return made

        try:
            return self._parts.database.write(work)
        except IntegrityError:
            # Asked for twice at the same moment: both get the one that was first.
            return self._parts.database.write(work)

    def _new(self, subject: Subject, actor: str, *, two: bool) -> Erasure:
        now, rules = self._parts.clock(), self._parts.rules
        return Erasure(
            id=new_id("era"),
            subject=subject.id,
            kind=subject.kind,
            actor=actor,
            second="",
            state=ErasureState.PROPOSED if two else ErasureState.COOLING,
            waits="a second person must agree" if two else "",
            asked_ms=now,
            begins_ms=now + rules.cooling,
            due_ms=now + rules.due,
            turned_ms=now,
        )

    def approve(self, erasure: str, actor: str) -> Erasure:
        """Agree, as the second person, to what the operator proposed.

        Raises:
            HeliographError: `not_found`; `conflict` if it waits for nobody; `forbidden` if it is
                the same person again.
        """

        def work(connection: Connection) -> Erasure:
            found = self._locked(connection, erasure)
            if found.state is not ErasureState.PROPOSED:
                raise HeliographError(Code.CONFLICT, "This erasure waits for nobody's agreement.")
            if _human(found.actor) == _human(actor):
                raise HeliographError(Code.FORBIDDEN, "It takes a second person: you asked for it.")
            now = self._parts.clock()
            store.change_erasure(
                connection,
                erasure,
                state=ErasureState.COOLING,
                second=actor,
                waits="",
                turned_ms=now,
                begins_ms=now + self._parts.rules.cooling,
            )
            self._say(connection, Act.ERASURE_APPROVED, found, actor)
            return self._locked(connection, erasure)

        return self._parts.database.write(work)

    def cancel(self, erasure: str, actor: str) -> Erasure:
        """Call it off, while nothing has been deleted; a second time changes nothing.

        Raises:
            HeliographError: `not_found`; `conflict` if it has begun.
        """

        def work(connection: Connection) -> Erasure:
            found = self._locked(connection, erasure)
            if found.state is ErasureState.CANCELLED:
                return found
            if found.state not in _CANCELLABLE:
                raise HeliographError(Code.CONFLICT, "The erasure has begun and cannot be undone.")
            now = self._parts.clock()
            off = {"state": ErasureState.CANCELLED, "open_key": None, "waits": ""}
            store.change_erasure(connection, erasure, **off, turned_ms=now)
            self._say(connection, Act.ERASURE_CANCELLED, found, actor)
            self._warn(connection, subject_of(found.subject), "the erasure was called off")
            return self._locked(connection, erasure)

        return self._parts.database.write(work)

    def of(self, subject: str) -> Erasure:
        """The one of a subject that is not over.

        Raises:
            HeliographError: `not_found`.
        """
        with self._parts.database.read() as connection:
            found = store.erasure_of(connection, subject)
        if found is None:
            raise _nothing()
        return found

    def get(self, erasure: str, subject: str = "") -> tuple[Erasure, list[Tick]]:
        """One erasure and its checklist.

        Args:
            erasure: its id.
            subject: whose it must be; empty for anybody's.

        Raises:
            HeliographError: `not_found`, also for another one's.
        """
        with self._parts.database.read() as connection:
            found = store.erasure(connection, erasure)
            ticks = store.ticks(connection, erasure)
        if found is None or (subject and found.subject != subject):
            raise _nothing()
        return found, ticks

    def page(self, after: str = "", limit: int = 100) -> list[Erasure]:
        """All of them, the oldest first; for the operator."""
        with self._parts.database.read() as connection:
            return store.erasures(connection, after, limit)

    def names(self) -> list[str]:
        """The places of a checklist, in order."""
        return [KEYS, *(one.name for one in self._parts.places), self._parts.account.name]

    def _locked(self, connection: Connection, erasure: str) -> Erasure:
        found = store.erasure(connection, erasure, lock=True)
        if found is None:
            raise _nothing()
        return found

    def _say(self, connection: Connection, act: Act, erasure: Erasure, actor: str) -> None:
        workspace = "" if erasure.kind == "person" else erasure.subject
        facts = {"erasure": erasure.id}
        self._parts.record(connection, Event(act, actor, workspace, erasure.subject, facts))

    def _warn(self, connection: Connection, subject: Subject, what: str) -> None:
        """Tell whose it is: somebody else may have asked with a stolen session."""
        for to in self._parts.subjects.mails(connection, subject):
            self._parts.notify(connection, Mail(to, "security_notice", {"what": what}))


def _human(actor: str) -> str:
    """Who stands behind an actor: commands and the administrator key are one person's."""
    return "admin" if actor == "command" else actor


def _nothing() -> HeliographError:
    return HeliographError(Code.NOT_FOUND, "There is no such erasure.")
