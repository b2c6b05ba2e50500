"""Abuse: `/api/v1/abuse/reports` for anybody, statements and appeals for the affected, cases.

Nothing that is told here, to anybody, says who reported something.
"""

from __future__ import annotations

from heliograph.accounts.abuse.copies import MOST_BYTES
from heliograph.accounts.abuse.service import Abuse, View
from heliograph.accounts.abuse.values import (
    Appeal,
    Case,
    Decision,
    Notice,
    Ruling,
)
from heliograph.core.errors import Code, HeliographError
from heliograph.core.permissions import Permission
from heliograph.edge.http.abuse_shapes import (
    AppealCard,
    AppealList,
    AppealQueue,
    AppealRuling,
    Assignment,
    CaseCard,
    CaseList,
    Cases,
    CaseView,
    CopyMade,
    DecisionCard,
    Holding,
    Leave,
    Merge,
    NewAppeal,
    Report,
    ReportCard,
    ReportReceipt,
    RulingSaid,
    Second,
    Sight,
    Statement,
    StatementList,
    Triage,
    Year,
)
from heliograph.edge.http.doors import PUBLIC, Asked, Door, Page, Reply
from heliograph.edge.http.paths import named, place


def doors(abuse: Abuse) -> list[Door]:
    """The addresses."""
    return [*_open_doors(abuse), *_case_doors(abuse), *_appeal_doors(abuse)]


def _open_doors(abuse: Abuse) -> list[Door]:
    use = _Affected(abuse)
    return [
        Door("POST", "/api/v1/abuse/reports", PUBLIC, use.report, "Report something", "abuse",
             takes=Report, gives=ReportReceipt, status=202,
             codes=(Code.RATE_LIMITED, Code.SUSPENDED)),
        Door("GET", "/api/v1/abuse/statements", Permission.WORKSPACES_READ, use.statements,
             "What was decided about your workspace", "abuse", gives=StatementList, query=Page),
        Door("POST", "/api/v1/abuse/appeals", Permission.SELF_WRITE, use.appeal,
             "Appeal against a decision", "abuse", takes=NewAppeal, gives=AppealCard, status=201,
             codes=(Code.CONFLICT, Code.FORBIDDEN, Code.NOT_FOUND)),
    ]  # fmt: skip


def _case_doors(abuse: Abuse) -> list[Door]:
    cases, one = "/api/v1/abuse/cases", "/api/v1/abuse/cases/{case}"
    read, write = Permission.ABUSE_READ, Permission.ABUSE_DECIDE
    lost, wrong = (Code.FORBIDDEN, Code.NOT_FOUND), (Code.CONFLICT, Code.FORBIDDEN, Code.NOT_FOUND)
    use = _Cases(abuse)
    return [
        Door("GET", cases, read, use.index, "Cases", "abuse", gives=CaseList, query=Cases),
        Door("GET", one, read, use.get, "One case", "abuse", gives=CaseView, codes=lost),
        Door("POST", f"{one}/triage", write, use.triage, "Say how urgent it is", "abuse",
             takes=Triage, gives=CaseCard, codes=wrong),
        Door("POST", f"{one}/workspace", write, use.assign, "Say whose the subject is", "abuse",
             takes=Assignment, gives=CaseCard, codes=wrong),
        Door("POST", f"{one}/merge", write, use.merge, "Merge a duplicate", "abuse", takes=Merge,
             gives=CaseCard, codes=wrong),
        Door("POST", f"{one}/hold", write, use.hold, "Begin or end a legal hold", "abuse",
             takes=Holding, gives=CaseCard, codes=lost),
        Door("POST", f"{one}/decide", write, use.decide, "Decide", "abuse", takes=RulingSaid,
             gives=DecisionCard, codes=wrong),
        Door("POST", f"{one}/second", write, use.second, "Agree to what is proposed, or decline",
             "abuse", takes=Second, gives=DecisionCard, codes=wrong),
        Door("POST", f"{one}/copies", write, use.preserve, "Preserve a copy", "abuse", takes=bytes,
             gives=CopyMade, codes=wrong, status=201, most=MOST_BYTES),
        Door("GET", f"{one}/copies/{{copy}}", read, use.see, "A copy, blurred or whole", "abuse",
             gives=bytes, query=Sight, codes=(*lost, Code.UNSUPPORTED_MEDIA)),
        Door("POST", f"{one}/copies/{{copy}}/leave", write, use.leave,
             "Let another reviewer see all of a copy", "abuse", takes=Leave, codes=lost,
             status=204),
    ]  # fmt: skip


def _appeal_doors(abuse: Abuse) -> list[Door]:
    appeals, read = "/api/v1/abuse/appeals", Permission.ABUSE_READ
    use = _Appeals(abuse)
    return [
        Door("GET", appeals, read, use.index, "Appeals", "abuse", gives=AppealList,
             query=AppealQueue),
        Door("POST", f"{appeals}/{{appeal}}/decide", Permission.ABUSE_DECIDE, use.decide,
             "Decide an appeal", "abuse", takes=AppealRuling, gives=AppealCard,
             codes=(Code.CONFLICT, Code.FORBIDDEN, Code.NOT_FOUND)),
        Door("GET", "/api/v1/abuse/transparency", read, use.year, "The year's counts, as CSV",
             "abuse", gives=bytes, query=Year),
    ]  # fmt: skip


class _Affected:
    """What anybody does, and those about whom something was decided."""

    def __init__(self, abuse: Abuse) -> None:
        self._abuse = abuse

    def report(self, asked: Asked) -> ReportReceipt:
        """Report."""
        said: Report = asked.body
        if not said.good_faith:
            raise HeliographError(
                Code.VALIDATION, "good_faith must be true: report what you believe to be right."
            )
        notice = Notice(said.subject, said.ground, said.text, said.contact)
        made = self._abuse.report(notice, asked.credentials.address)
        return ReportReceipt(report=made.report, case=made.case, received_ms=made.received_ms)

    def statements(self, asked: Asked) -> StatementList:
        """The reasons."""
        after, limit = place(asked.query.after), asked.query.limit
        found = self._abuse.decisions.statements(asked.caller.workspace, after, limit)
        appeals = self._abuse.appeals.against([one.id for one in found])
        return StatementList(statements=[_statement(one, appeals.get(one.id)) for one in found])

    def appeal(self, asked: Asked) -> AppealCard:
        """Complain."""
        said: NewAppeal = asked.body
        caller = asked.caller
        who = caller.person or caller.name
        return _appeal(self._abuse.appeals.file(said.decision, caller.workspace, who, said.text))


class _Cases:
    """What reviewers do with cases."""

    def __init__(self, abuse: Abuse) -> None:
        self._abuse = abuse

    def index(self, asked: Asked) -> CaseList:
        """The queue."""
        query: Cases = asked.query
        found = self._abuse.page(query.state, place(query.after), query.limit)
        return CaseList(cases=[_case(one) for one in found])

    def get(self, asked: Asked) -> CaseView:
        """One."""
        return _view(self._abuse.show(named(asked, "case"), _reviewer(asked)))

    def triage(self, asked: Asked) -> CaseCard:
        """How urgent."""
        severity = asked.body.severity
        return _case(self._abuse.triage(named(asked, "case"), _reviewer(asked), severity))

    def assign(self, asked: Asked) -> CaseCard:
        """Whose."""
        workspace = asked.body.workspace
        return _case(self._abuse.assign(named(asked, "case"), _reviewer(asked), workspace))

    def merge(self, asked: Asked) -> CaseCard:
        """Into another."""
        into = asked.body.into
        return _case(self._abuse.merge(named(asked, "case"), into, _reviewer(asked)))

    def hold(self, asked: Asked) -> CaseCard:
        """Keep, or no longer."""
        held = asked.body.held
        return _case(self._abuse.hold(named(asked, "case"), _reviewer(asked), on=held))

    def decide(self, asked: Asked) -> DecisionCard:
        """Decide."""
        ruling = _ruling(asked.body)
        decisions = self._abuse.decisions
        return _decision(decisions.decide(named(asked, "case"), _reviewer(asked), ruling))

    def second(self, asked: Asked) -> DecisionCard:
        """Agree or decline."""
        decisions, agree = self._abuse.decisions, asked.body.agree
        return _decision(decisions.second(named(asked, "case"), _reviewer(asked), agree=agree))

    def preserve(self, asked: Asked) -> CopyMade:
        """Keep a copy."""
        copies = self._abuse.copies
        return CopyMade(copy=copies.preserve(named(asked, "case"), _reviewer(asked), asked.body))

    def see(self, asked: Asked) -> Reply:
        """Look at a copy."""
        case, copy = named(asked, "case"), named(asked, "copy")
        body = self._abuse.copies.see(case, copy, _reviewer(asked), whole=asked.query.whole)
        return Reply(body, media="image/png", headers={"content-disposition": "inline"})

    def leave(self, asked: Asked) -> None:
        """Let another look."""
        case, copy = named(asked, "case"), named(asked, "copy")
        self._abuse.copies.grant(case, copy, asked.body.viewer, _reviewer(asked))


class _Appeals:
    """What reviewers do with appeals."""

    def __init__(self, abuse: Abuse) -> None:
        self._abuse = abuse

    def index(self, asked: Asked) -> AppealList:
        """The queue."""
        query: AppealQueue = asked.query
        found = self._abuse.appeals.page(place(query.after), query.limit, pending=query.pending)
        return AppealList(appeals=[_appeal(one) for one in found])

    def decide(self, asked: Asked) -> AppealCard:
        """Decide one."""
        said: AppealRuling = asked.body
        ruling = _ruling(said.ruling) if said.ruling else None
        who, appeal = _reviewer(asked), named(asked, "appeal")
        return _appeal(self._abuse.appeals.decide(appeal, who, said.outcome, said.reasons, ruling))

    def year(self, asked: Asked) -> Reply:
        """The counts."""
        table = self._abuse.transparency.table(asked.query.year)
        name = f'attachment; filename="transparency-{asked.query.year}.csv"'
        return Reply(table, media="text/csv; charset=utf-8", headers={"content-disposition": name})


def _reviewer(asked: Asked) -> str:
    """Who decides: a person, or the administrator; never a key, whose human nobody knows."""
    caller = asked.caller
    if caller.key or not (caller.person or caller.operator):
        raise HeliographError(Code.FORBIDDEN, "A person decides: log in as one, not by key.")
    return caller.person or caller.name


def _ruling(said: RulingSaid) -> Ruling:
    return Ruling(**{name: getattr(said, name) for name in RulingSaid.__struct_fields__})


def _said(ruling: Ruling) -> RulingSaid:
    return RulingSaid(**{name: getattr(ruling, name) for name in RulingSaid.__struct_fields__})


def _case(case: Case) -> CaseCard:
    return CaseCard(**{name: getattr(case, name) for name in CaseCard.__struct_fields__})


def _decision(one: Decision) -> DecisionCard:
    rest = {n: getattr(one, n) for n in DecisionCard.__struct_fields__ if n != "ruling"}
    return DecisionCard(**rest, ruling=_said(one.ruling))


def _view(view: View) -> CaseView:
    fields = ReportCard.__struct_fields__
    return CaseView(
        case=_case(view.case),
        reports=[ReportCard(**{n: getattr(one, n) for n in fields}) for one in view.reports],
        decisions=[_decision(one) for one in view.decisions],
        strikes=view.strikes,
        suggested=view.suggested.action,
        suggested_days=view.suggested.days,
        copies=list(view.copies),
    )


def _statement(one: Decision, appeal: Appeal | None) -> Statement:
    outcome = (appeal.outcome.value if appeal.outcome else "pending") if appeal else ""
    return Statement(
        decision=one.id,
        case=one.case,
        subject=one.subject,
        force=one.force,
        ruling=_said(one.ruling),
        begun_ms=one.begun_ms,
        ended_ms=one.ended_ms,
        appeal=outcome,
        appeal_reasons=appeal.reasons if appeal else "",
    )


def _appeal(one: Appeal) -> AppealCard:
    rest = {n: getattr(one, n) for n in AppealCard.__struct_fields__ if n != "outcome"}
    return AppealCard(**rest, outcome=one.outcome.value if one.outcome else "")
