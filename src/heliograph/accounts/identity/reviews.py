"""The reviewers' side: take a check, look at what was shown, approve or reject.

Covered: nobody reviews themselves, nor an appeal against their own decision; a reviewer sees
evidence only of a check that they have taken, and every look is an event, the refused ones too; who
approves has looked at everything; what is out of the ordinary (a duplicate, a provider's No, no
picture) needs two reviewers. Not covered: two people who conspire.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Row

from heliograph.accounts.identity import store
from heliograph.accounts.identity.parts import Parts
from heliograph.accounts.identity.values import (
    Check,
    Claims,
    Evidence,
    State,
    after,
    checked_text,
    same,
)
from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act
from heliograph.core.ids import new_id
from heliograph.vision.stamp import stamped

Outcome = Literal["approve", "reject"]


@dataclass(frozen=True, slots=True)
class Case:
    """A check as its reviewers see it.

    Attributes:
        twins: ids of other people's checks with the same name and number.
        evidence: what was shown in this turn and is still there.
        opinions: what reviewers thought so far.
        second: one reviewer has approved, and another one is needed.
    """

    check: Check
    twins: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    opinions: tuple[Row[Any], ...]
    second: bool


class Reviews:
    """Reviews of checks.

    Args:
        parts: what identity needs of the house.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def page(self, state: str = "", after_id: str = "", limit: int = 50) -> tuple[Check, ...]:
        """Checks in a state, or all, the oldest first."""
        with self._parts.database.read() as connection:
            return store.page(connection, state, after_id, limit)

    def show(self, check: str) -> Case:
        """One check with all but what the evidence holds.

        Raises:
            HeliographError: `not_found`.
        """
        with self._parts.database.read() as connection:
            return self._case(connection, _there(connection, check, lock=False))

    def _case(self, connection: Connection, check: Check) -> Case:
        shown = tuple(
            one
            for one in store.evidence(connection, check.id)
            if one.turn == check.turn and not one.gone_ms
        )
        opinions = tuple(store.opinions(connection, check.id))
        second = any(one.turn == check.turn for one in opinions) and check.state is State.PENDING
        return Case(check, store.twins_of(connection, check.id), shown, opinions, second)

    def take(self, check: str, reviewer: str) -> Case:
        """Begin a review, for a while; evidence can be seen only then.

        Raises:
            HeliographError: `not_found`; `forbidden` for the applicant, for who decided what is
                appealed and for who has approved already; `conflict` if somebody else has it.
        """
        return self._parts.database.write(lambda c: self._take(c, check, reviewer))

    def _take(self, connection: Connection, id_: str, reviewer: str) -> Case:
        check, now = _there(connection, id_), self._parts.clock()
        if check.state is not State.PENDING:
            raise HeliographError(Code.CONFLICT, f"The check is {check.state}, not pending.")
        self._refuse_partial(connection, check, reviewer)
        if check.reviewer != reviewer and self._holds(check, check.reviewer):
            raise HeliographError(Code.CONFLICT, "Another reviewer has this check now.")
        store.change(connection, id_, reviewer=reviewer, taken_ms=now)
        self._parts.say(connection, Act.IDENTITY_TAKEN, reviewer, id_, turn=check.turn)
        return self._case(connection, _there(connection, id_))

    def _refuse_partial(self, connection: Connection, check: Check, reviewer: str) -> None:
        thought = store.opinions(connection, check.id)
        # An appeal is decided by somebody who has had no part in any turn; a second approval by
        # somebody who has had none in this one.
        turns = range(1 if check.appealed else check.turn, check.turn + 1)
        partial = [one.reviewer for one in thought if one.turn in turns]
        if not reviewer or same(reviewer, check.person):
            raise HeliographError(Code.FORBIDDEN, "Nobody reviews their own identity.")
        if any(same(reviewer, one) for one in partial):
            raise HeliographError(
                Code.FORBIDDEN, "You have decided on this check before; another reviewer is needed."
            )

    def _holds(self, check: Check, reviewer: str) -> bool:
        taken = bool(reviewer) and check.reviewer == reviewer and check.state is State.PENDING
        return taken and self._parts.clock() < check.taken_ms + self._parts.terms.review

    def picture(self, check: str, evidence: str, reviewer: str) -> bytes:
        """A picture, written all over with who looks and when; a PNG. Looking is an event.

        Raises:
            HeliographError: `forbidden` without the review, which is an event too; `not_found`.
        """
        found = self._look(check, evidence, reviewer, "picture")
        return stamped(self._parts.vault.get(found.ref), reviewer, self._parts.clock())

    def claims(self, check: str, reviewer: str) -> Claims:
        """Who the applicant says they are. Looking is an event.

        Raises:
            HeliographError: as `picture`.
        """
        with self._parts.database.read() as connection:
            case = self._case(connection, _there(connection, check, lock=False))
        piece = next((one.id for one in case.evidence if one.kind == "claims"), "")
        said = json.loads(self._parts.vault.get(self._look(check, piece, reviewer, "claims").ref))
        return Claims(said["name"], said["number"])

    def _look(self, check: str, evidence: str, reviewer: str, kind: str) -> Evidence:
        """Note a look before it is taken: what cannot be noted is not shown."""
        found = self._parts.database.write(lambda c: self._note(c, check, evidence, reviewer, kind))
        if isinstance(found, HeliographError):
            # Raised only now, so that the event of the refusal is kept.
            raise found
        return found

    def _note(
        self, connection: Connection, id_: str, evidence: str, reviewer: str, kind: str
    ) -> Evidence | HeliographError:
        check, parts = store.check(connection, id_, lock=True), self._parts
        if check is None or not self._holds(check, reviewer):
            subject = check.id if check else ""
            parts.say(connection, Act.IDENTITY_VIEW_REFUSED, reviewer, subject)
            return HeliographError(
                Code.FORBIDDEN, "Evidence is shown within a review. Take the check first."
            )
        found = [one for one in self._case(connection, check).evidence if one.id == evidence]
        if not found or found[0].kind != kind:
            return HeliographError(Code.NOT_FOUND, "The check has no such evidence.")
        store.viewed(connection, check, evidence, parts.clock())
        parts.say(connection, Act.IDENTITY_VIEWED, reviewer, id_, evidence=evidence)
        return found[0]

    def approve(self, check: str, reviewer: str, reason: str, *, override: bool = False) -> Check:
        """Say that the applicant is who they say.

        Args:
            check: which.
            reviewer: who has taken it and has looked at everything.
            reason: what was compared, for those who look later.
            override: approve out of the ordinary: a duplicate, a provider's No, no picture. The
                check stays pending then until a second reviewer has approved too.

        Raises:
            HeliographError: `forbidden`, `not_found`, or `conflict` that says what is missing.
        """
        return self._parts.database.write(
            lambda c: self._decide(c, check, reviewer, reason, "approve", override=override)
        )

    def reject(self, check: str, reviewer: str, reason: str) -> Check:
        """Say that it cannot be seen that the applicant is who they say; they are told the reason.

        Raises:
            HeliographError: as `approve`.
        """
        return self._parts.database.write(
            lambda c: self._decide(c, check, reviewer, reason, "reject", override=False)
        )

    def _decide(
        self,
        connection: Connection,
        id_: str,
        reviewer: str,
        reason: str,
        outcome: Outcome,
        *,
        override: bool,
    ) -> Check:
        said, check = checked_text(reason, "The reason"), _there(connection, id_)
        after(check.state, outcome)
        self._refuse_partial(connection, check, reviewer)
        if not self._holds(check, reviewer):
            raise HeliographError(Code.CONFLICT, "Take the check first, and decide in time.")
        case = self._case(connection, check)
        approved = [one for one in case.opinions if one.turn == check.turn]
        odd = _odd(case)
        if outcome == "approve":
            self._refuse_unseen(connection, case, reviewer)
            if odd and not override:
                raise HeliographError(
                    Code.CONFLICT, f"{' '.join(odd)} Approving needs override and two reviewers."
                )
        store.add_opinion(connection, _opinion(check, reviewer, outcome, said, self._parts.clock()))
        if outcome == "approve" and (odd or override) and not approved:
            store.change(connection, id_, reviewer="", taken_ms=0)
            self._parts.say(connection, Act.IDENTITY_APPROVED, reviewer, id_, override=True)
            return _there(connection, id_)
        return self.settle(connection, check, outcome, reviewer, said)

    def _refuse_unseen(self, connection: Connection, case: Case, reviewer: str) -> None:
        if not case.check.claimed:
            raise HeliographError(Code.CONFLICT, "The applicant has not said who they are.")
        unseen = {one.id for one in case.evidence} - store.views(connection, case.check, reviewer)
        if unseen:
            raise HeliographError(
                Code.CONFLICT, f"{len(unseen)} pieces of evidence have not been looked at."
            )

    def settle(
        self, connection: Connection, check: Check, outcome: Outcome, actor: str, reason: str
    ) -> Check:
        """Close a check and tell those whom it concerns. For `decide` and providers' answers."""
        now, state = self._parts.clock(), after(check.state, outcome)
        term = self._parts.terms.valid.get(check.level, 0) if state is State.VERIFIED else 0
        if state is State.VERIFIED:
            self._retire(connection, check)
        until = now + term if term else 0
        closed = {"open_key": None, "reviewer": "", "taken_ms": 0}
        told = {"decided_ms": now, "until_ms": until, "reason": reason}
        store.change(connection, check.id, state=state, **closed, **told)
        facts = {"level": check.level.value, "outcome": state.value, "turn": check.turn}
        self._parts.say(connection, Act.IDENTITY_DECIDED, actor, check.id, **facts)
        letter = {"level": check.level.value, "state": state.value, "reason": reason}
        self._parts.tell(connection, check.person, "identity_decided", **letter)
        self._parts.hook(connection, check.person, check.level, state)
        return _there(connection, check.id)

    def _retire(self, connection: Connection, newer: Check) -> None:
        """A new verification takes the place of the one before."""
        for one in store.checks_of(connection, newer.person, lock=True):
            if one.state is State.VERIFIED and one.level is newer.level and one.id != newer.id:
                store.change(connection, one.id, state=after(one.state, "lapse"), reason="renewed")


def _odd(case: Case) -> list[str]:
    """Why this case is out of the ordinary; empty if it is not."""
    pictures = any(one.kind == "picture" for one in case.evidence)
    return [
        reason
        for reason, so in (
            ("Somebody else has this name and number.", bool(case.twins) or case.check.duplicate),
            ("The provider said No.", case.check.verdict == "failed"),
            ("No picture was shown.", not pictures and case.check.verdict != "passed"),
        )
        if so
    ]


def _opinion(check: Check, reviewer: str, outcome: str, reason: str, now: int) -> dict[str, Any]:
    whose = {"id": new_id("ido"), "check": check.id, "turn": check.turn, "reviewer": reviewer}
    return {**whose, "outcome": outcome, "reason": reason, "at_ms": now}


def _there(connection: Connection, id_: str, *, lock: bool = True) -> Check:
    check = store.check(connection, id_, lock=lock)
    if check is None:
        raise HeliographError(Code.NOT_FOUND, "There is no such check.")
    return check
