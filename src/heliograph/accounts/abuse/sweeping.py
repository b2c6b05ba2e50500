"""What time does to cases: measures end, deadlines pass with an alarm, reporters are forgotten."""

from __future__ import annotations

from sqlalchemy import Connection

from heliograph.accounts.abuse import letters, store
from heliograph.accounts.abuse.copies import Copies
from heliograph.accounts.abuse.deciding import Decisions
from heliograph.accounts.abuse.parts import Parts, there
from heliograph.accounts.abuse.store import APPEALS, CASES
from heliograph.accounts.abuse.values import HOUR_MS, Force
from heliograph.core.events import Act
from heliograph.core.notices import Mail


class Sweeper:
    """Does what is due; any number of nodes may sweep at once.

    Args:
        parts: what the procedure needs of the house.
        decisions: ends measures.
        copies: destroys what no hold keeps.
    """

    def __init__(self, parts: Parts, decisions: Decisions, copies: Copies) -> None:
        self._parts = parts
        self._decisions = decisions
        self._copies = copies

    def sweep(self) -> dict[str, int]:
        """Do what is due; call it every minute, since an S0 case has an hour.

        Returns:
            How many measures `ended`, `alarms` went, reports lost their reporter (`forgotten`) and
            copies were `shredded`.
        """
        done = self._parts.database.write(self._sweep)
        return {**done, "shredded": self._copies.shred_free()}

    def _sweep(self, connection: Connection) -> dict[str, int]:
        now = self._parts.clock()
        ended = self._end(connection, now)
        alarms = self._alarm(connection, now)
        # The reporter is needed for the letter after an appeal, and not a day longer.
        forgotten = store.forget_reporters(connection, now - self._parts.rules.appeal)
        store.forget_senders(connection, now // HOUR_MS - 1)
        return {"ended": ended, "alarms": alarms, "forgotten": forgotten}

    def _end(self, connection: Connection, now: int) -> int:
        ended = 0
        for found in store.over(connection, now):
            # The case is locked before its decisions, as everywhere; by then another node may
            # have ended this one.
            case = there(connection, found.case)
            decision = store.decision(connection, found.id, lock=True)
            if decision is None or decision.force is not Force.IN_FORCE:
                continue
            ended += 1
            self._decisions.end(connection, decision, Force.ENDED)
            facts = {"decision": decision.id, "action": decision.ruling.action.value}
            self._parts.say(connection, Act.MEASURE_ENDED, "system", case, **facts)
            ended_facts = letters.ended(decision)
            self._parts.write_to(connection, decision.workspace, letters.DECISION, **ended_facts)
        return ended

    def _alarm(self, connection: Connection, now: int) -> int:
        cases = store.late_cases(connection, now)
        for case in cases:
            store.change(connection, CASES, case.id, alarmed_ms=now)
            severity = case.severity.value
            self._parts.say(connection, Act.CASE_OVERDUE, "system", case, severity=severity)
            self._mail(connection, case.id, severity, "case")
        appeals = store.late_appeals(connection, now)
        for appeal in appeals:
            store.change(connection, APPEALS, appeal.id, alarmed_ms=now)
            case = there(connection, appeal.case)
            self._parts.say(connection, Act.CASE_OVERDUE, "system", case, appeal=appeal.id)
            self._mail(connection, appeal.id, case.severity.value, "appeal")
        return len(cases) + len(appeals)

    def _mail(self, connection: Connection, id_: str, severity: str, what: str) -> None:
        if to := self._parts.rules.alarms:
            facts = {"id": id_, "severity": severity, "what": what}
            self._parts.notify(connection, Mail(to, letters.OVERDUE, facts))
