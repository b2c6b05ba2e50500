"""Appeals: the affected complain, free of charge, and somebody who had no part decides again.

An appeal never makes things worse: it upholds, changes to something milder, or reverses. What is
reversed is as if it had not been: access, strikes, quota and money come back by entries that
compensate, so that the ledger still tells what happened.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from heliograph.accounts.abuse import letters, store
from heliograph.accounts.abuse.deciding import Decisions
from heliograph.accounts.abuse.parts import Parts, measure_of, there
from heliograph.accounts.abuse.store import APPEALS, DECISIONS
from heliograph.accounts.abuse.texts import checked
from heliograph.accounts.abuse.values import (
    Action,
    Appeal,
    Case,
    Decision,
    Force,
    Outcome,
    Ruling,
)
from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act, Event
from heliograph.core.ids import new_id

_OWNER = "admin"


class Appeals:
    """Complaints against decisions.

    Args:
        parts: what the procedure needs of the house.
        decisions: carries out what an appeal comes to.
    """

    def __init__(self, parts: Parts, decisions: Decisions) -> None:
        self._parts = parts
        self._decisions = decisions

    def file(self, decision: str, workspace: str, person: str, text: str) -> Appeal:
        """Complain.

        Args:
            decision: against what.
            workspace: whose people complain; only about decisions on themselves.
            person: who complains, a person or key.
            text: why.

        Raises:
            HeliographError: `not_found`, `validation`; `conflict` after the term, or a second time.
        """
        said = checked(text, "The reason", 5000)
        try:
            return self._parts.database.write(
                lambda c: self._file(c, decision, workspace, person, said)
            )
        except IntegrityError as error:
            raise HeliographError(Code.CONFLICT, "This decision was appealed already.") from error

    def _file(
        self, connection: Connection, id_: str, workspace: str, person: str, text: str
    ) -> Appeal:
        decision, now = store.decision(connection, id_), self._parts.clock()
        known = decision is not None and bool(workspace) and decision.workspace == workspace
        if decision is None or not known or not decision.begun_ms:
            raise HeliographError(Code.NOT_FOUND, "There is no such decision about you.")
        if person != _OWNER and not self._parts.directory.answers(connection, workspace, person):
            raise HeliographError(
                Code.FORBIDDEN, "Those who answer for the workspace complain in its name."
            )
        if decision.force not in {Force.IN_FORCE, Force.ENDED}:
            raise HeliographError(Code.CONFLICT, f"The decision is {decision.force}.")
        if now > decision.begun_ms + self._parts.rules.appeal:
            raise HeliographError(Code.CONFLICT, "The term for an appeal is over.")
        appeal = new_id("app")
        about = {"decision": id_, "open_key": id_, "case": decision.case, "workspace": workspace}
        due = now + self._parts.rules.answer
        who = {"id": appeal, "person": person, "text": text, "created_ms": now, "due_ms": due}
        store.add(connection, APPEALS, {**about, **who})
        facts = {"decision": id_, "appeal": appeal}
        event = Event(Act.CASE_APPEALED, person, workspace, decision.case, facts)
        self._parts.record(connection, event)
        return self._there(connection, appeal)

    def page(
        self, after: str = "", limit: int = 50, *, workspace: str = "", pending: bool = False
    ) -> tuple[Appeal, ...]:
        """Appeals, the oldest first: a workspace's, or everybody's."""
        with self._parts.database.read() as connection:
            return store.appeals(connection, after, limit, workspace=workspace, pending=pending)

    def against(self, decisions: Sequence[str]) -> dict[str, Appeal]:
        """The appeals against these decisions, by decision."""
        with self._parts.database.read() as connection:
            return {one.decision: one for one in store.appeals_of(connection, decisions)}

    def decide(
        self,
        appeal: str,
        reviewer: str,
        outcome: Outcome,
        reasons: str,
        ruling: Ruling | None = None,
    ) -> Appeal:
        """Decide an appeal.

        Args:
            appeal: which.
            reviewer: who has had no part in any decision on the case.
            outcome: what it comes to.
            reasons: for the affected.
            ruling: what takes the decision's place, milder than that; only with `changed`.

        Raises:
            HeliographError: `not_found`, `forbidden`, `validation`, `conflict` if it is decided.
        """
        said = checked(reasons, "The reasons", 5000)
        if (ruling is not None) is not (outcome is Outcome.CHANGED):
            raise HeliographError(Code.VALIDATION, "A ruling comes with changed, and only then.")
        return self._parts.database.write(
            lambda c: self._decide(c, appeal, reviewer, outcome, said, ruling)
        )

    def _decide(
        self,
        connection: Connection,
        id_: str,
        reviewer: str,
        outcome: Outcome,
        reasons: str,
        ruling: Ruling | None,
    ) -> Appeal:
        appeal = self._there(connection, id_)
        # The case is locked before its decisions, as everywhere.
        case = there(connection, appeal.case)
        decision = store.decision(connection, appeal.decision, lock=True)
        if appeal.outcome or decision is None:
            raise HeliographError(Code.CONFLICT, "The appeal is decided.")
        self._parts.refuse_partial(
            connection, case.workspace, reviewer, [appeal.person, *self._involved(connection, case)]
        )
        if outcome is not Outcome.UPHELD:
            self._undo(connection, case, decision, reviewer, ruling)
        now = self._parts.clock()
        store.change(
            connection,
            APPEALS,
            id_,
            outcome=outcome,
            reasons=reasons,
            reviewer=reviewer,
            decided_ms=now,
        )
        facts = {"appeal": id_, "decision": decision.id, "outcome": outcome.value}
        self._parts.say(connection, Act.APPEAL_DECIDED, reviewer, case, **facts)
        letter = {"case": case.id, "outcome": outcome.value, "reasons": reasons}
        self._parts.write_to(connection, case.workspace, letters.DECISION, **letter)
        return self._there(connection, id_)

    def _involved(self, connection: Connection, case: Case) -> list[str]:
        """Everybody who had a part in what was decided on a case."""
        decisions = store.decisions_on(connection, case.id)
        return [who for one in decisions for who in (one.decider, one.second) if who]

    def _undo(
        self,
        connection: Connection,
        case: Case,
        decision: Decision,
        reviewer: str,
        ruling: Ruling | None,
    ) -> None:
        if ruling is not None and not _milder(ruling, decision.ruling):
            raise HeliographError(
                Code.VALIDATION, "An appeal changes a decision to something milder only."
            )
        now = self._parts.clock()
        ended = decision.ended_ms or now
        force = Force.REVERSED if ruling is None else Force.CHANGED
        successor = None
        if ruling is not None:
            successor = self._decisions.made(connection, case, reviewer, ruling)
        if decision.force is Force.IN_FORCE:
            self._decisions.end(connection, decision, force)
        else:
            store.change(connection, DECISIONS, decision.id, force=force)
        for holder in store.reverse_strikes(connection, decision.id, now):
            facts = {"decision": decision.id, "reporter": holder != case.workspace}
            self._parts.say(connection, Act.STRIKE_REVERSED, reviewer, case, **facts)
        if ruling is None or ruling.action.rank < decision.ruling.action.rank:
            self._parts.compensate(connection, measure_of(decision), decision.begun_ms, ended)
        if successor is not None:
            self._decisions.begin(connection, case, successor)

    def _there(self, connection: Connection, id_: str) -> Appeal:
        found = store.appeal(connection, id_, lock=True)
        if found is None:
            raise HeliographError(Code.NOT_FOUND, "There is no such appeal.")
        return found


def _milder(new: Ruling, old: Ruling) -> bool:
    """Whether the affected are better off: a lesser action, or the same for a shorter time."""
    if new.action is Action.NO_ACTION:
        # That is what `reversed` is for, which gives back everything.
        return False
    if new.action.rank < old.action.rank:
        return True
    shorter = new.until_ms and (not old.until_ms or new.until_ms < old.until_ms)
    return new.action is old.action and bool(shorter)
