"""What happens when an erasure has cooled down: step by step, each of which may be the last.

    cooling    calls are refused from here on, in one transaction
    refusing   some seconds later, when calls in flight have ended: the list of the erased, outside
               the database; then every key of the subject is destroyed
    erasing    each place in turn, its rows and its line of the checklist in one transaction
    telling    the last letter has left, or two days have passed
               the account, its address, the letters, the certificate, the audit log's memory: one
               transaction
    cleaning   what the database's files still hold; objects whose key is gone

A process that is killed at any point leaves a state from which the next sweep goes on. A legal hold
stops it before anything is destroyed; the clock of thirty days goes on.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from sqlalchemy import Connection

from heliograph.accounts.privacy import store
from heliograph.accounts.privacy.parts import Parts
from heliograph.accounts.privacy.values import (
    KEYS,
    Erasure,
    ErasureState,
    Outcome,
    Place,
    Subject,
    subject_of,
)
from heliograph.core.errors import HeliographError
from heliograph.core.events import Act, Event
from heliograph.core.faults import reach
from heliograph.core.notices import Mail
from heliograph.storage.erasures import note_erasure
from heliograph.storage.rotation import scrub

log = logging.getLogger("heliograph.privacy")
HOLD = "a legal hold: it goes on when that ends"


class Erasing:
    """Carries erasures out.

    Args:
        parts: what privacy needs of the house.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._steps = {
            ErasureState.COOLING: self._refuse,
            ErasureState.REFUSING: self._shred,
            ErasureState.ERASING: self._erase,
            ErasureState.TELLING: self._end,
            ErasureState.CLEANING: self._clean,
        }

    def sweep(self) -> int:
        """Take every erasure as far as it goes now, and raise alarms; says how many are done.

        Any number of nodes may sweep at once.
        """
        with self._parts.database.read() as connection:
            going = store.open_erasures(connection)
        done = 0
        for one in going:
            try:
                done += self.advance(one.id) is ErasureState.DONE
            except HeliographError as error:
                # The others are not to wait for it; the alarm tells if it stays like this.
                log.warning("%s does not go on: %s", one.id, error)
            self._parts.database.write(lambda connection, id_=one.id: self._alarm(connection, id_))
        return done

    def advance(self, erasure: str) -> ErasureState:
        """Take one as far as it goes now.

        Returns:
            Where it stands.
        """
        while True:
            with self._parts.database.read() as connection:
                found = store.erasure(connection, erasure)
            if found is None:
                return ErasureState.DONE
            step = self._steps.get(found.state)
            if step is None or not step(found):
                return found.state

    # --- the steps: each says whether it went on -----------------------------------------------

    def _refuse(self, one: Erasure) -> bool:
        if self._parts.clock() < one.begins_ms:
            return False

        def work(connection: Connection) -> bool:
            found = _as(connection, one, ErasureState.COOLING)
            if found is None:
                return True
            subject = subject_of(found.subject)
            hindrance = self._parts.subjects.hindrance(connection, subject)
            if hindrance:
                return self._wait(connection, found, hindrance)
            # First: what is refused cannot write anything new.
            self._parts.subjects.refuse(connection, subject, found.id)
            self._turn(connection, found, ErasureState.REFUSING)
            self._say(connection, Act.ERASURE_BEGUN, found)
            return True

        went_on = self._parts.database.write(work)
        reach("erasure.refused")
        return went_on

    def _shred(self, one: Erasure) -> bool:
        if self._parts.clock() < one.turned_ms + self._parts.rules.settling:
            return False
        with self._parts.database.read() as connection:
            held = self._parts.held(connection, one.subject)
        if not held:
            # Outside every backup, and before anything is destroyed: a restore knows of it.
            note_erasure(self._parts.home, one.subject, self._parts.clock())
            reach("erasure.noted")

        def work(connection: Connection) -> bool:
            found = _as(connection, one, ErasureState.REFUSING)
            if found is None:
                return True
            if held or self._parts.held(connection, found.subject):
                return self._wait(connection, found, HOLD)
            files = self._parts.vault.shred_tenant(connection, found.subject)
            outcome = Outcome("erased", files)
            store.tick(connection, found.id, KEYS, outcome, self._parts.clock())
            self._turn(connection, found, ErasureState.ERASING)
            return True

        went_on = self._parts.database.write(work)
        reach("erasure.shredded")
        return went_on

    def _erase(self, one: Erasure) -> bool:
        for place in self._parts.places:
            done = self._parts.database.write(
                lambda connection, place=place: self._at(connection, one, place)
            )
            if not done:
                return False
            reach("erasure.place")

        def work(connection: Connection) -> bool:
            found = _as(connection, one, ErasureState.ERASING)
            if found is None:
                return True
            when = f"{self._day()} (UTC)"
            for to in self._parts.subjects.mails(connection, subject_of(found.subject)):
                self._parts.notify(connection, Mail(to, "erasure_done", {"when": when}))
            self._turn(connection, found, ErasureState.TELLING)
            return True

        went_on = self._parts.database.write(work)
        reach("erasure.told")
        return went_on

    def _at(self, connection: Connection, one: Erasure, place: Place) -> bool:
        """One place and its line; True if it is done, by us now or by anybody before."""
        found = _as(connection, one, ErasureState.ERASING)
        if found is None or place.name in {o.place for o in store.ticks(connection, one.id)}:
            return True
        if self._parts.held(connection, found.subject):
            return self._wait(connection, found, HOLD)
        outcome = place.erase(connection, subject_of(found.subject))
        store.tick(connection, found.id, place.name, outcome, self._parts.clock())
        store.change_erasure(connection, found.id, waits="")
        return True

    def _end(self, one: Erasure) -> bool:
        subject = subject_of(one.subject)
        with self._parts.database.read() as connection:
            mails = self._letters(connection, subject)
            late = self._parts.clock() >= one.turned_ms + self._parts.rules.letter
            if not late and self._parts.subjects.unsent(connection, mails):
                return False
        self._parts.subjects.drop_letters(mails)
        reach("erasure.letters")

        def work(connection: Connection) -> bool:
            found = _as(connection, one, ErasureState.TELLING)
            if found is None:
                return True
            now, account = self._parts.clock(), self._parts.account
            if self._parts.held(connection, found.subject):
                return self._wait(connection, found, HOLD)
            self._parts.subjects.forget_letters(connection, mails)
            outcome = account.erase(connection, subject)
            store.tick(connection, found.id, account.name, outcome, now)
            self._turn(connection, found, ErasureState.CLEANING)
            kept = [o for o in store.ticks(connection, found.id) if o.state == "kept"]
            days = (now - found.asked_ms) // (24 * 3_600_000)
            self._say(connection, Act.ERASURE_DONE, found, kept=len(kept), days=days)
            # The very last: an event about the same one would make a new pseudonym.
            self._parts.forget(connection, found.subject)
            return True

        went_on = self._parts.database.write(work)
        reach("erasure.forgotten")
        return went_on

    def _clean(self, one: Erasure) -> bool:
        scrub(self._parts.database)
        reach("erasure.scrubbed")
        self._parts.vault.sweep()

        def work(connection: Connection) -> bool:
            found = _as(connection, one, ErasureState.CLEANING)
            if found is not None:
                self._turn(connection, found, ErasureState.DONE)
                over = {"subject": "", "actor": "", "open_key": None}
                store.change_erasure(connection, found.id, **over, done_ms=self._parts.clock())
            return True

        return self._parts.database.write(work)

    # --- after a restore -------------------------------------------------------------------------

    def again(self, connection: Connection, tenant: str) -> None:
        """Erase a subject again within the transaction of a restore; see `storage.restoring`.

        Its keys are destroyed already. The audit log of the backup may still know the pseudonym.
        """
        try:
            subject = subject_of(tenant)
        except HeliographError:
            return
        mails = self._letters(connection, subject)
        for place in self._parts.places:
            place.erase(connection, subject)
        self._parts.subjects.forget_letters(connection, mails)
        self._parts.account.erase(connection, subject)
        open_one = store.erasure_of(connection, tenant)
        if open_one is not None:
            now = self._parts.clock()
            over = {"subject": "", "actor": "", "open_key": None, "waits": ""}
            done = {"state": ErasureState.DONE, "turned_ms": now, "done_ms": now}
            store.change_erasure(connection, open_one.id, **over, **done)
        self._parts.forget(connection, tenant)

    # --- small things ----------------------------------------------------------------------------

    def _wait(self, connection: Connection, one: Erasure, why: str) -> bool:
        if one.waits != why:
            store.change_erasure(connection, one.id, waits=why)
        return False

    def _turn(self, connection: Connection, one: Erasure, state: ErasureState) -> None:
        store.change_erasure(
            connection, one.id, state=state, waits="", turned_ms=self._parts.clock()
        )

    def _say(self, connection: Connection, act: Act, one: Erasure, **facts: int) -> None:
        workspace = "" if one.kind == "person" else one.subject
        said: dict[str, str | int | bool] = {"erasure": one.id, **facts}
        self._parts.record(connection, Event(act, "system", workspace, one.subject, said))

    def _alarm(self, connection: Connection, erasure: str) -> None:
        """One alarm some days before the law's term, one when it is over."""
        one = store.erasure(connection, erasure, lock=True)
        now, rules = self._parts.clock(), self._parts.rules
        if one is None or one.state in (ErasureState.CANCELLED, ErasureState.DONE):
            return
        level = 2 if now >= one.due_ms else 1 if now >= one.due_ms - rules.warning else 0
        if level <= one.alarms:
            return
        store.change_erasure(connection, one.id, alarms=level)
        left = max(0, one.due_ms - now) // (24 * 3_600_000)
        if one.state is not ErasureState.CLEANING:
            # Afterwards an event would make a new pseudonym for somebody who is gone.
            self._say(connection, Act.ERASURE_OVERDUE, one, days_left=left)
        log.warning("%s must be done in %d days: %s", one.id, left, one.waits or one.state)
        if rules.alarms:
            facts = {"id": one.id, "what": "erasure"}
            self._parts.notify(connection, Mail(rules.alarms, "case_overdue", facts))

    def _letters(self, connection: Connection, subject: Subject) -> list[str]:
        """Addresses that go with the account; the owners of a workspace keep theirs."""
        return list(self._parts.subjects.mails(connection, subject)) if subject.is_person else []

    def _day(self) -> str:
        return f"{datetime.fromtimestamp(self._parts.clock() / 1000, tz=UTC):%Y-%m-%d}"


def _as(connection: Connection, one: Erasure, state: ErasureState) -> Erasure | None:
    """The erasure, locked, if it still stands where this step begins; another node may be ahead."""
    found = store.erasure(connection, one.id, lock=True)
    return found if found is not None and found.state is state else None
