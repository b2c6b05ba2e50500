"""What goes through the doors of `abuse.py`, both ways.

Nothing that is told here, to anybody, says who reported something.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from heliograph.accounts.abuse.values import (
    Action,
    CaseState,
    Force,
    Ground,
    Outcome,
    Severity,
)
from heliograph.edge.http.doors import Page
from heliograph.edge.http.paths import ID

_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=5000)]
_Line = Annotated[str, msgspec.Meta(max_length=500)]
_Id = Annotated[str, msgspec.Meta(pattern=ID)]


class Report(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What you report.

    Attributes:
        subject: the id or address of what you mean.
        ground: why.
        text: what is wrong with it, in your words.
        good_faith: true: you believe that what you say is right and complete.
        contact: an e-mail address for the outcome; it is told to nobody.
    """

    subject: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
    ground: Ground
    text: _Text
    good_faith: bool
    contact: Annotated[str, msgspec.Meta(max_length=254)] = ""


class ReportReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """That your report has come.

    Attributes:
        report: its id; `case` the id of what is examined, perhaps with others' reports.
        received_ms: when, in milliseconds since 1970.
    """

    report: str
    case: str
    received_ms: int


class RulingSaid(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A decision.

    Attributes:
        action: what is done.
        ground: why; `rule` the clause or law it rests on.
        facts: what was found, for the affected; no word of who reported.
        scope: what it covers; empty for the case's subject.
        until_ms: when it ends, in milliseconds since 1970; 0 for no end.
        automation: whether a machine had a part in finding or deciding.
        unfounded: the reports were manifestly unfounded; only with `no_action`.
    """

    action: Action
    ground: Ground
    rule: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
    facts: _Text
    scope: Annotated[str, msgspec.Meta(max_length=200)] = ""
    until_ms: Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799_000)] = 0
    automation: bool = False
    unfounded: bool = False


class Second(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The second person's word on what is proposed.

    Attributes:
        agree: false to decline: the case is open again then.
    """

    agree: bool


class Triage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How urgent a case is.

    Attributes:
        severity: S0 hides the subject at once, and holds it.
    """

    severity: Severity


class Assignment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whose the subject is.

    Attributes:
        workspace: its id.
    """

    workspace: Annotated[str, msgspec.Meta(pattern="^ws_[a-z0-9]{1,40}$")]


class Merge(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where a duplicate belongs.

    Attributes:
        into: the case that goes on.
    """

    into: _Id


class Holding(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A legal hold.

    Attributes:
        held: whether what is reported is kept from every deletion.
    """

    held: bool


class Leave(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Leave to see all of a copy.

    Attributes:
        viewer: who may, for an hour.
    """

    viewer: Annotated[str, msgspec.Meta(pattern="^[a-z0-9_]{1,64}$")]


class NewAppeal(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A complaint against a decision about your workspace.

    Attributes:
        decision: its id, from the statement of reasons.
        text: why it is wrong.
    """

    decision: _Id
    text: _Text


class AppealRuling(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an appeal comes to.

    Attributes:
        outcome: `upheld`, `changed` or `reversed`.
        reasons: for the affected.
        ruling: with `changed`, what takes the decision's place; milder than that.
    """

    outcome: Outcome
    reasons: _Text
    ruling: RulingSaid | None = None


class Cases(Page, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which cases, and which part of the list.

    Attributes:
        state: only those in this state.
    """

    state: CaseState = CaseState.OPEN


class AppealQueue(Page, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which appeals, and which part of the list.

    Attributes:
        pending: only those that nobody has decided.
    """

    pending: bool = True


class Sight(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How much of a copy.

    Attributes:
        whole: all of it instead of a blurred grey one; for an S0 case with another's leave.
    """

    whole: bool = False


class Year(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which year.

    Attributes:
        year: of the calendar, in UTC.
    """

    year: Annotated[int, msgspec.Meta(ge=1970, le=9998)]


class CaseCard(msgspec.Struct, frozen=True, kw_only=True):
    """A case.

    Attributes:
        id: `case_…`; `subject` what was reported, `workspace` whose it is if that is known.
        automatic: no human has reported it.
        hidden: the subject is hidden until the decision; `held` it is kept from deletion.
        reports: how many there are.
        due_ms: when it must be decided.
        merged: the case that it lives on in.
    """

    id: str
    subject: str
    workspace: str
    ground: Ground
    severity: Severity
    state: CaseState
    automatic: bool
    hidden: bool
    held: bool
    reports: int
    opened_ms: int
    due_ms: int
    decided_ms: int
    merged: str


class ReportCard(msgspec.Struct, frozen=True, kw_only=True):
    """A report, without its reporter.

    Attributes:
        signal: the detector, if no human reported it.
    """

    id: str
    ground: str
    text: str
    signal: str
    created_ms: int


class DecisionCard(msgspec.Struct, frozen=True, kw_only=True):
    """A decision, as reviewers see it.

    Attributes:
        force: `proposed`, `declined`, `in_force`, `ended`, `changed` or `reversed`.
        ruling: what was decided.
        decider: who; `second` who agreed.
    """

    id: str
    force: Force
    ruling: RulingSaid
    decider: str
    second: str
    made_ms: int
    begun_ms: int
    ended_ms: int


class CaseView(msgspec.Struct, frozen=True, kw_only=True):
    """A case with all that was reported and decided.

    Attributes:
        strikes: live ones of the workspace; `suggested` the action that the ladder proposes, for
            `suggested_days`.
        copies: ids of preserved copies.
    """

    case: CaseCard
    reports: list[ReportCard]
    decisions: list[DecisionCard]
    strikes: int
    suggested: Action
    suggested_days: int
    copies: list[str]


class CaseList(msgspec.Struct, frozen=True, kw_only=True):
    """Cases, the oldest first.

    Attributes:
        cases: at most `limit` of them; ask on with `after` = the last one's id.
    """

    cases: list[CaseCard]


class CopyMade(msgspec.Struct, frozen=True, kw_only=True):
    """A copy that was preserved.

    Attributes:
        copy: its id.
    """

    copy: str


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """A statement of reasons: what was decided about your workspace.

    Attributes:
        force: `in_force`, `ended`, `changed` or `reversed`.
        ruling: what was decided, and why.
        appeal: `pending`, an appeal's outcome, or empty if there was none; `appeal_reasons` its
            reasons.
    """

    decision: str
    case: str
    subject: str
    force: Force
    ruling: RulingSaid
    begun_ms: int
    ended_ms: int
    appeal: str
    appeal_reasons: str


class StatementList(msgspec.Struct, frozen=True, kw_only=True):
    """Statements, the oldest first.

    Attributes:
        statements: at most `limit` of them; ask on with `after` = the last decision's id.
    """

    statements: list[Statement]


class AppealCard(msgspec.Struct, frozen=True, kw_only=True):
    """An appeal.

    Attributes:
        id: `app_…`; `decision` and `case` what it is about.
        due_ms: when it must be decided.
        outcome: empty until then, with its `reasons`.
    """

    id: str
    decision: str
    case: str
    workspace: str
    text: str
    created_ms: int
    due_ms: int
    outcome: str
    reasons: str
    decided_ms: int


class AppealList(msgspec.Struct, frozen=True, kw_only=True):
    """Appeals, the oldest first.

    Attributes:
        appeals: at most `limit` of them; ask on with `after` = the last one's id.
    """

    appeals: list[AppealCard]
