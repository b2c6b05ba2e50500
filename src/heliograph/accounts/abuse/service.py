"""Reports and what becomes of them before anybody decides: cases, severities, holds.

    report, signal ─► case (a new one, or the one that is open) ─► triage ─► `deciding.py`

A report of severity S0 hides its subject and holds it at once; a human looks within the hour. The
reporter is known to this feature alone: no view of a case, whoever asks, says who reported it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from heliograph.accounts.abuse import store
from heliograph.accounts.abuse.appealing import Appeals
from heliograph.accounts.abuse.copies import Copies
from heliograph.accounts.abuse.deciding import Decisions
from heliograph.accounts.abuse.parts import Parts, provisional, there
from heliograph.accounts.abuse.store import CASES, REPORTS
from heliograph.accounts.abuse.sweeping import Sweeper
from heliograph.accounts.abuse.texts import checked, checked_line, checked_mail
from heliograph.accounts.abuse.transparency import Transparency
from heliograph.accounts.abuse.values import (
    HOUR_MS,
    Case,
    CaseState,
    Decision,
    Notice,
    Receipt,
    Severity,
    Step,
    severity_of,
)
from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act
from heliograph.core.ids import new_id

_TRIES = 3
_OPEN = (CaseState.OPEN, CaseState.PROPOSED)


@dataclass(frozen=True, slots=True)
class View:
    """A case as its reviewers see it.

    Attributes:
        reports: id, ground, text, signal, created_ms of each; nothing of who reported.
        strikes: live ones of the workspace; `suggested` what the ladder proposes for it.
        copies: ids of preserved copies.
    """

    case: Case
    reports: tuple[Any, ...]
    decisions: tuple[Decision, ...]
    strikes: int
    suggested: Step
    copies: tuple[str, ...]


class Abuse:
    """The abuse procedure.

    Args:
        parts: what it needs of the house.

    Attributes:
        decisions: deciding, and what was decided.
        appeals: the affected's complaints.
        copies: what was preserved.
        transparency: the year's counts.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.decisions = Decisions(parts)
        self.appeals = Appeals(parts, self.decisions)
        self.copies = Copies(parts)
        self.transparency = Transparency(parts)
        self._sweeper = Sweeper(parts, self.decisions, self.copies)

    def report(self, notice: Notice, address: str = "") -> Receipt:
        """Take a report by anybody.

        Args:
            notice: what is reported.
            address: the sender's network address, to bound how many they make; kept as a hash.

        Raises:
            HeliographError: `validation`, `rate_limited`, or `suspended` for a sender whose earlier
                reports were manifestly unfounded.
        """
        checked_notice = _checked(notice)
        sender = self._parts.marked(address)
        for _ in range(_TRIES - 1):
            try:
                return self._parts.database.write(lambda c: self._take(c, checked_notice, sender))
            except IntegrityError:
                # Another process opened the same case at this moment: it is there now.
                continue
        return self._parts.database.write(lambda c: self._take(c, checked_notice, sender))

    def signal(self, notice: Notice) -> Receipt:
        """Take what a detector found: a list of hashes, a scanner, a watch on spikes.

        Args:
            notice: its `signal` names the detector; case and decision say that a machine found it.
        """
        if not notice.signal:
            raise HeliographError(Code.VALIDATION, "A signal names its detector.")
        return self.report(notice)

    def _take(self, connection: Connection, notice: Notice, sender: str) -> Receipt:
        now = self._parts.clock()
        if not notice.signal:
            self._refuse_rude(connection, notice, sender, now)
        found = store.open_case(connection, notice.subject)
        case = (
            self._joined(connection, found, notice) if found else self._opened(connection, notice)
        )
        report = new_id("rep")
        said = {"id": report, "case": case.id, "ground": notice.ground, "text": notice.text}
        who = {"contact": notice.contact, "reporter": notice.reporter, "sender": sender}
        store.add(connection, REPORTS, {**said, **who, "signal": notice.signal, "created_ms": now})
        facts = {"ground": notice.ground.value, "severity": case.severity.value, "report": report}
        actor = "system" if notice.signal else "anyone"
        self._parts.say(
            connection, Act.REPORT_RECEIVED, actor, case, automatic=bool(notice.signal), **facts
        )
        return Receipt(report, case.id, now)

    def _refuse_rude(self, connection: Connection, notice: Notice, sender: str, now: int) -> None:
        rules, hour = self._parts.rules, now // HOUR_MS
        # Strikes go by what a sender cannot make up: never by the contact that they wrote.
        holder = notice.reporter or sender
        if holder and store.strikes(connection, holder, now) >= rules.unfounded:
            raise HeliographError(
                Code.SUSPENDED, "Reports from here were unfounded again and again; none are taken."
            )
        if sender and store.count_sender(connection, sender, hour) > rules.reports:
            left = (hour + 1) * HOUR_MS - now
            raise HeliographError(
                Code.RATE_LIMITED,
                f"{rules.reports} reports an hour are taken from one address.",
                retry_after=left / 1000,
            )

    def _opened(self, connection: Connection, notice: Notice) -> Case:
        now, severity = self._parts.clock(), severity_of(notice.ground)
        grave = severity is Severity.S0
        workspace = self._parts.directory.owner(connection, notice.subject)
        case = Case(
            new_id("case"),
            notice.subject,
            workspace,
            notice.ground,
            severity,
            CaseState.OPEN,
            automatic=bool(notice.signal),
            hidden=grave,
            held=grave,
            reports=1,
            opened_ms=now,
            due_ms=now + self._parts.rules.deadlines[severity],
            alarmed_ms=0,
            decided_ms=0,
            merged="",
        )
        values = {name: getattr(case, name) for name in Case.__slots__}
        store.add(connection, CASES, {**values, "open_key": notice.subject})
        if grave:
            self._hide(connection, case)
        return case

    def _joined(self, connection: Connection, case: Case, notice: Notice) -> Case:
        """A further report on an open case: it becomes as urgent as the gravest of them."""
        severity = severity_of(notice.ground)
        changes: dict[str, Any] = {
            "reports": case.reports + 1,
            "automatic": case.automatic and bool(notice.signal),
        }
        if severity < case.severity:
            due = min(case.due_ms, self._parts.clock() + self._parts.rules.deadlines[severity])
            changes |= {"severity": severity, "ground": notice.ground, "due_ms": due}
            if severity is Severity.S0:
                changes |= {"hidden": True, "held": True}
                self._hide(connection, case)
        store.change(connection, CASES, case.id, **changes)
        return there(connection, case.id)

    def _hide(self, connection: Connection, case: Case) -> None:
        store.lock(connection, case.workspace or case.subject)
        self._parts.sanctions.impose(connection, provisional(case))

    def page(self, state: str = "", after: str = "", limit: int = 50) -> tuple[Case, ...]:
        """Cases in a state, or all, the oldest first."""
        with self._parts.database.read() as connection:
            return store.cases(connection, state, after, limit)

    def show(self, case: str, who: str) -> View:
        """One case; looking is an event.

        Raises:
            HeliographError: `not_found`; `forbidden` for members of the workspace concerned.
        """
        return self._parts.database.write(lambda c: self._show(c, case, who))

    def _show(self, connection: Connection, id_: str, who: str) -> View:
        case = there(connection, id_)
        self._parts.refuse_partial(connection, case.workspace, who)
        self._parts.say(connection, Act.CASE_VIEWED, who, case)
        strikes = store.strikes(connection, case.workspace, self._parts.clock())
        return View(
            case,
            tuple(store.reports(connection, id_)),
            store.decisions_on(connection, id_),
            strikes,
            self._parts.rules.suggested(strikes),
            tuple(one.id for one in store.copies(connection, id_)),
        )

    def triage(self, case: str, who: str, severity: Severity) -> Case:
        """Set how urgent a case is; its deadline counts from when it was opened.

        Raises:
            HeliographError: `not_found`, `forbidden`, `conflict` once it is decided.
        """
        return self._parts.database.write(lambda c: self._triage(c, case, who, severity))

    def _triage(self, connection: Connection, id_: str, who: str, severity: Severity) -> Case:
        case = self._undecided(connection, id_, who)
        due = case.opened_ms + self._parts.rules.deadlines[severity]
        grave = severity is Severity.S0
        if grave and not case.hidden:
            self._hide(connection, case)
        marks = {"hidden": case.hidden or grave, "held": case.held or grave, "alarmed_ms": 0}
        store.change(connection, CASES, id_, severity=severity, due_ms=due, **marks)
        self._parts.say(connection, Act.CASE_TRIAGED, who, case, severity=severity.value)
        return there(connection, id_)

    def _undecided(self, connection: Connection, id_: str, who: str) -> Case:
        case = there(connection, id_)
        self._parts.refuse_partial(connection, case.workspace, who)
        if case.state not in _OPEN:
            raise HeliographError(Code.CONFLICT, f"The case is {case.state}.")
        return case

    def assign(self, case: str, who: str, workspace: str) -> Case:
        """Say whose the subject is, where nobody knew.

        Raises:
            HeliographError: as `triage`; `conflict` if it is known already.
        """
        return self._parts.database.write(lambda c: self._assign(c, case, who, workspace))

    def _assign(self, connection: Connection, id_: str, who: str, workspace: str) -> Case:
        case = self._undecided(connection, id_, who)
        known = checked_line(workspace, "The workspace", 64)
        if case.workspace:
            raise HeliographError(Code.CONFLICT, "It is known whose this is.")
        self._parts.refuse_partial(connection, known, who)
        store.change(connection, CASES, id_, workspace=known)
        self._parts.say(connection, Act.CASE_ASSIGNED, who, there(connection, id_))
        return there(connection, id_)

    def merge(self, case: str, into: str, who: str) -> Case:
        """Put a duplicate, e.g. the same thing under another address, into another open case.

        Raises:
            HeliographError: as `triage`; `conflict` if they are not of one workspace.
        """
        return self._parts.database.write(lambda c: self._merge(c, case, into, who))

    def _merge(self, connection: Connection, id_: str, into: str, who: str) -> Case:
        # Always locked in the same order, so that two merges cannot wait for each other.
        for one in sorted({id_, into}):
            there(connection, one)
        case, other = (self._undecided(connection, one, who) for one in (id_, into))
        if case.id == other.id or case.workspace != other.workspace:
            raise HeliographError(Code.CONFLICT, "Two open cases of one workspace can be merged.")
        if case.state is CaseState.PROPOSED or case.hidden != other.hidden:
            raise HeliographError(
                Code.CONFLICT, "Triage both alike, and settle what is proposed, before merging."
            )
        store.move_reports(connection, id_, into)
        closed = {"state": CaseState.MERGED, "open_key": None, "merged": into}
        store.change(connection, CASES, id_, **closed, decided_ms=self._parts.clock())
        due, severity = min(case.due_ms, other.due_ms), min(case.severity, other.severity)
        count = case.reports + other.reports
        store.change(connection, CASES, into, reports=count, due_ms=due, severity=severity)
        self._parts.say(connection, Act.CASE_MERGED, who, case, into=into)
        return there(connection, into)

    def hold(self, case: str, who: str, *, on: bool) -> Case:
        """Begin or end a legal hold: what it lies on is not deleted by terms or erasure.

        Raises:
            HeliographError: `not_found`, `forbidden`.
        """
        return self._parts.database.write(lambda c: self._hold(c, case, who, on=on))

    def _hold(self, connection: Connection, id_: str, who: str, *, on: bool) -> Case:
        case = there(connection, id_)
        self._parts.refuse_partial(connection, case.workspace, who)
        if case.held is not on:
            store.change(connection, CASES, id_, held=on)
            self._parts.say(connection, Act.HOLD_BEGUN if on else Act.HOLD_ENDED, who, case)
        return there(connection, id_)

    def held(self, connection: Connection, *names: str) -> bool:
        """Whether a hold lies on a subject or workspace: sweepers and erasure ask this first."""
        return store.holds(connection, [name for name in names if name])

    def sweep(self) -> dict[str, int]:
        """End measures, raise alarms, forget reporters; see `sweeping.py`."""
        return self._sweeper.sweep()


def _checked(notice: Notice) -> Notice:
    return Notice(
        checked_line(notice.subject, "What is reported", 500),
        notice.ground,
        checked(notice.text, "The explanation", 5000),
        checked_mail(notice.contact),
        notice.reporter,
        checked_line(notice.signal, "The detector", 64, least=0),
    )
