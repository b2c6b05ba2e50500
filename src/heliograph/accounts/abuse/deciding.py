"""Decisions: made with reasons, agreed to by a second person where it is the end, then carried out.

Act and consequences are one transaction: the measure, the strike, the event, the statement of
reasons to the affected and the outcome to whoever reported it. Covered: nobody decides about their
own workspace; `terminate` needs two people. A measure that ends takes back nothing that another
measure still wants.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from heliograph.accounts.abuse import letters, store
from heliograph.accounts.abuse.parts import Measure, Parts, measure_of, provisional, there
from heliograph.accounts.abuse.store import CASES, DECISIONS, STRIKES
from heliograph.accounts.abuse.texts import checked, checked_line
from heliograph.accounts.abuse.values import (
    CLOSING,
    STRIKING,
    Action,
    Case,
    CaseState,
    Decision,
    Force,
    Ruling,
)
from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act, Event
from heliograph.core.ids import new_id
from heliograph.core.notices import Hook, Mail

_NEEDS_OWNER = frozenset({Action.WARN, Action.LIMIT, Action.SUSPEND, Action.TERMINATE})
_EVERLASTING = frozenset({Action.NO_ACTION, Action.WARN, Action.REMOVE, Action.TERMINATE})


class Decisions:
    """Deciding cases.

    Args:
        parts: what the procedure needs of the house.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def statements(self, workspace: str, after: str = "", limit: int = 50) -> tuple[Decision, ...]:
        """What was decided about a workspace: the statements of reasons, for its people."""
        with self._parts.database.read() as connection:
            return store.statements(connection, workspace, after, limit)

    def decide(self, case: str, decider: str, ruling: Ruling) -> Decision:
        """Decide a case.

        Returns:
            The decision: in force, or only proposed where it terminates a workspace.

        Raises:
            HeliographError: `not_found`; `forbidden` for members of the workspace; `conflict` if it
                is decided; `validation`.
        """
        return self._parts.database.write(lambda c: self._decide(c, case, decider, ruling))

    def _decide(self, connection: Connection, id_: str, decider: str, given: Ruling) -> Decision:
        case = there(connection, id_)
        known = [one.reporter for one in store.reporters(connection, id_)]
        self._parts.refuse_partial(connection, case.workspace, decider, known)
        if case.state is not CaseState.OPEN:
            raise HeliographError(Code.CONFLICT, f"The case is {case.state}, not open.")
        decision = self.made(connection, case, decider, given)
        if given.action is not Action.TERMINATE:
            return self._enforce(connection, case, decision)
        store.change(connection, CASES, id_, state=CaseState.PROPOSED)
        self._parts.say(connection, Act.CASE_PROPOSED, decider, case, action=given.action.value)
        return decision

    def made(self, connection: Connection, case: Case, decider: str, given: Ruling) -> Decision:
        """Write a decision down; nothing is done yet."""
        now = self._parts.clock()
        ruling = _checked(given, case, now)
        id_ = new_id("dec")
        row = {name: getattr(ruling, name) for name in Ruling.__slots__}
        about = {"case": case.id, "workspace": case.workspace, "subject": case.subject}
        made = {"id": id_, "decider": decider, "made_ms": now, "force": Force.PROPOSED}
        store.add(connection, DECISIONS, {**row, **about, **made})
        return self._there(connection, id_)

    def _there(self, connection: Connection, id_: str) -> Decision:
        found = store.decision(connection, id_, lock=True)
        if found is None:
            raise HeliographError(Code.NOT_FOUND, "There is no such decision.")
        return found

    def second(self, case: str, who: str, *, agree: bool) -> Decision:
        """Agree to what is proposed, as the second person, or decline: the case is open again then.

        Raises:
            HeliographError: `not_found`; `forbidden` for who proposed it and for members of the
                workspace; `conflict` if nothing is proposed.
        """
        return self._parts.database.write(lambda c: self._second(c, case, who, agree=agree))

    def _second(self, connection: Connection, id_: str, who: str, *, agree: bool) -> Decision:
        case = there(connection, id_)
        proposed = [
            one for one in store.decisions_on(connection, id_) if one.force is Force.PROPOSED
        ]
        if case.state is not CaseState.PROPOSED or not proposed:
            raise HeliographError(Code.CONFLICT, "Nothing is proposed in this case.")
        decision = proposed[-1]
        self._parts.refuse_partial(connection, case.workspace, who, [decision.decider])
        store.change(connection, DECISIONS, decision.id, second=who)
        if agree:
            return self._enforce(connection, case, self._there(connection, decision.id))
        store.change(connection, DECISIONS, decision.id, force=Force.DECLINED)
        store.change(connection, CASES, id_, state=CaseState.OPEN)
        self._parts.say(connection, Act.CASE_DECLINED, who, case, decision=decision.id)
        return self._there(connection, decision.id)

    def _enforce(self, connection: Connection, case: Case, decision: Decision) -> Decision:
        now, ruling = self._parts.clock(), decision.ruling
        closed: dict[str, Any] = {"state": CaseState.DECIDED, "open_key": None, "hidden": False}
        store.change(connection, CASES, case.id, decided_ms=now, **closed)
        facts = {"action": ruling.action.value, "ground": ruling.ground.value}
        marks = {"automation": ruling.automation, "severity": case.severity.value}
        self._parts.say(
            connection,
            Act.CASE_DECIDED,
            decision.second or decision.decider,
            case,
            decision=decision.id,
            **facts,
            **marks,
        )
        self.begin(connection, case, decision)
        if case.hidden:
            # Only now: a decision to hide wants on what was hidden until it was made.
            self._unless_wanted(connection, provisional(case))
        self._tell_reporters(connection, case, ruling, decision.id)
        return self._there(connection, decision.id)

    def begin(self, connection: Connection, case: Case, decision: Decision) -> None:
        """Put a decision into force: the measure, the strike, the statement of reasons."""
        now, measure = self._parts.clock(), measure_of(decision)
        store.lock(connection, decision.workspace or decision.subject)
        store.change(connection, DECISIONS, decision.id, force=Force.IN_FORCE, begun_ms=now)
        action = decision.ruling.action
        if action in CLOSING:
            self._close(connection, decision.workspace, case.id)
            self._hook(connection, "suspension.begun", decision)
        elif action not in {Action.NO_ACTION, Action.WARN}:
            self._parts.sanctions.impose(connection, measure)
        if action in STRIKING and decision.workspace:
            self._strike(connection, case, decision.workspace, decision.id)
        if action is not Action.NO_ACTION:
            term = now + self._parts.rules.appeal
            template, facts = letters.statement(decision, term)
            self._parts.write_to(connection, decision.workspace, template, **facts)

    def _close(self, connection: Connection, workspace: str, case: str) -> None:
        """Suspend a workspace for as long as any of its measures wants."""
        ends = [
            one.ruling.until_ms
            for one in store.in_force(connection, workspace)
            if one.ruling.action in CLOSING
        ]
        until = 0 if 0 in ends else max(ends)
        self._parts.sanctions.suspend_workspace(connection, workspace, until, case)

    def end(self, connection: Connection, decision: Decision, force: Force) -> None:
        """Take a measure out of force, and back what no other measure wants."""
        now = self._parts.clock()
        store.lock(connection, decision.workspace or decision.subject)
        store.change(connection, DECISIONS, decision.id, force=force, ended_ms=now)
        action = decision.ruling.action
        if action in CLOSING:
            others = store.in_force(connection, decision.workspace)
            if any(one.ruling.action in CLOSING for one in others):
                self._close(connection, decision.workspace, decision.case)
                return
            self._parts.sanctions.restore_workspace(connection, decision.workspace, decision.case)
            self._hook(connection, "suspension.ended", decision)
        elif action not in {Action.NO_ACTION, Action.WARN}:
            self._unless_wanted(connection, measure_of(decision))

    def _unless_wanted(self, connection: Connection, measure: Measure) -> None:
        """Lift a measure that no other decision, and no open grave case, wants."""
        store.lock(connection, measure.workspace or measure.subject)
        mine = (measure.action, measure.subject, measure.scope)
        others = store.in_force(connection, measure.workspace)
        wanted = any((one.ruling.action, one.subject, one.ruling.scope) == mine for one in others)
        grave = measure.action is Action.HIDE and store.waits_hidden(connection, measure.subject)
        if not wanted and not grave:
            self._parts.sanctions.lift(connection, measure)

    def _hook(self, connection: Connection, kind: str, decision: Decision) -> None:
        ruling = decision.ruling
        body = {"case": decision.case, "decision": decision.id, "action": ruling.action.value}
        until = {"until_ms": ruling.until_ms, "ground": ruling.ground.value}
        self._parts.notify(connection, Hook(decision.workspace, kind, {**body, **until}))

    def _strike(
        self, connection: Connection, case: Case, holder: str, decision: str, actor: str = "system"
    ) -> None:
        now = self._parts.clock()
        until = now + self._parts.rules.decay
        row = {"id": new_id("str"), "holder": holder, "decision": decision, "added_ms": now}
        store.add(connection, STRIKES, {**row, "until_ms": until})
        live = store.strikes(connection, holder, now)
        # A reporter's strike says nothing of whom: the log of a case may be shown to its subject.
        facts = {"strikes": live, "reporter": holder != case.workspace}
        whose = "" if holder != case.workspace else holder
        event = Event(Act.STRIKE_ADDED, actor, whose, case.id, facts)
        self._parts.record(connection, event)

    def _tell_reporters(
        self, connection: Connection, case: Case, ruling: Ruling, decision: str
    ) -> None:
        reporters = store.reporters(connection, case.id)
        facts = letters.outcome(case, ruling)
        for contact in sorted({one.contact for one in reporters} - {""}):
            self._parts.notify(connection, Mail(contact, letters.DECISION, facts))
        if ruling.unfounded:
            for holder in sorted({one.reporter or one.sender for one in reporters} - {""}):
                self._strike(connection, case, holder, decision)


def _checked(ruling: Ruling, case: Case, now: int) -> Ruling:
    """A ruling that can stand.

    Raises:
        HeliographError: `validation`.
    """
    action, until = ruling.action, ruling.until_ms
    problem = ""
    if action in _NEEDS_OWNER and not case.workspace:
        problem = f"{action} needs a workspace: say first whose the subject is."
    elif action is Action.SUSPEND and not until:
        problem = "suspend needs the time when it ends."
    elif until and (until <= now or action in _EVERLASTING):
        problem = "The end is a time to come, and of a measure that lasts."
    elif ruling.unfounded and action is not Action.NO_ACTION:
        problem = "Reports are unfounded only where no action is taken."
    if problem:
        raise HeliographError(Code.VALIDATION, problem)
    return replace(
        ruling,
        rule=checked(ruling.rule, "The rule", 500),
        facts=checked(ruling.facts, "The facts", 5000),
        scope=checked_line(ruling.scope, "The scope", 200, least=0),
    )
