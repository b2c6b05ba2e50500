"""Cases and their rules: grounds, severities, measures, strikes, terms.

    report ─► case: open ─decide─► decided ─appeal─► upheld | changed | reversed
                     │                ▲
                     └─(terminate)─► proposed ─second─┘   ─decline─► open

A measure (a decision that is in force) ends by its term, or is changed or reversed by an appeal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
_OWNERS = frozenset({"admin", "command"})


class Severity(StrEnum):
    """How urgent a case is: S0 first."""

    S0 = "S0"
    S1 = "S1"
    S2 = "S2"
    S3 = "S3"


class Ground(StrEnum):
    """Why something is reported: the closed list (added to, never renamed)."""

    CHILD_SAFETY = "child_safety"
    COPYRIGHT = "copyright"
    CREDIBLE_HARM = "credible_harm"
    FRAUD = "fraud"
    HARASSMENT = "harassment"
    HATE = "hate"
    LEAKED_DATA = "leaked_data"
    MALWARE = "malware"
    OTHER = "other"
    PRIVACY = "privacy"
    PROHIBITED_USE = "prohibited_use"
    SPAM = "spam"


_SEVERITIES = {
    Ground.CHILD_SAFETY: Severity.S0,
    Ground.CREDIBLE_HARM: Severity.S0,
    Ground.LEAKED_DATA: Severity.S1,
    Ground.MALWARE: Severity.S1,
    Ground.OTHER: Severity.S3,
    Ground.SPAM: Severity.S3,
}


def severity_of(ground: Ground) -> Severity:
    """How urgent a case is before anybody has looked at it."""
    return _SEVERITIES.get(ground, Severity.S2)


class Action(StrEnum):
    """What a decision does; from the mildest to the hardest."""

    NO_ACTION = "no_action"
    LABEL = "label"
    WARN = "warn"
    HIDE = "hide"
    REMOVE = "remove"
    LIMIT = "limit"
    SUSPEND = "suspend"
    TERMINATE = "terminate"

    @property
    def rank(self) -> int:
        """0 for the mildest."""
        return list(Action).index(self)


STRIKING = frozenset(
    {Action.WARN, Action.HIDE, Action.REMOVE, Action.LIMIT, Action.SUSPEND, Action.TERMINATE}
)
"""The actions that add a strike to a workspace's ledger."""
CLOSING = frozenset({Action.SUSPEND, Action.TERMINATE})
"""The actions that close a whole workspace."""


class CaseState(StrEnum):
    """Where a case stands; a `merged` one lives on in another."""

    OPEN = "open"
    PROPOSED = "proposed"
    DECIDED = "decided"
    MERGED = "merged"


class Force(StrEnum):
    """Where a decision stands."""

    PROPOSED = "proposed"
    DECLINED = "declined"
    IN_FORCE = "in_force"
    ENDED = "ended"
    CHANGED = "changed"
    REVERSED = "reversed"


class Outcome(StrEnum):
    """What an appeal can come to."""

    UPHELD = "upheld"
    CHANGED = "changed"
    REVERSED = "reversed"


@dataclass(frozen=True, slots=True)
class Step:
    """A rung of the ladder.

    Attributes:
        action: what is proposed.
        days: for how long; 0 where it has no end.
    """

    action: Action
    days: int = 0


def _ladder() -> tuple[Step, ...]:
    suspended = (Step(Action.SUSPEND, 7), Step(Action.SUSPEND, 30))
    return (Step(Action.WARN), *suspended, Step(Action.TERMINATE))


@dataclass(frozen=True, slots=True)
class Rules:
    """What an installation sets; times in milliseconds.

    Attributes:
        deadlines: from a report to a decision, by severity.
        ladder: what is proposed with 0, 1, 2, … live strikes.
        decay: a strike counts so long.
        appeal: a decision can be appealed so long; six months at least.
        answer: from an appeal to its outcome.
        reports: most reports an hour from one address.
        unfounded: with so many live strikes for manifestly unfounded reports, a reporter's further
            ones are refused.
        alarms: who is written to when a deadline has passed; empty for nobody.
    """

    deadlines: Mapping[Severity, int] = field(
        default_factory=lambda: {
            Severity.S0: HOUR_MS,
            Severity.S1: 4 * HOUR_MS,
            Severity.S2: DAY_MS,
            Severity.S3: 7 * DAY_MS,
        }
    )
    ladder: tuple[Step, ...] = field(default_factory=_ladder)
    decay: int = 180 * DAY_MS
    appeal: int = 184 * DAY_MS
    answer: int = 14 * DAY_MS
    reports: int = 10
    unfounded: int = 3
    alarms: str = ""

    def suggested(self, strikes: int) -> Step:
        """The rung for a workspace with so many live strikes; the last one beyond the end."""
        return self.ladder[min(strikes, len(self.ladder) - 1)]


@dataclass(frozen=True, slots=True)
class Notice:
    """What somebody reports.

    Attributes:
        subject: the id or address of what is meant.
        ground: why.
        text: the explanation, as written; data, never markup.
        contact: an e-mail address for the outcome; may be empty.
        reporter: id of the person, if they are known.
        signal: the detector, if no human reports; empty if one does.
    """

    subject: str
    ground: Ground
    text: str
    contact: str = ""
    reporter: str = ""
    signal: str = ""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a reporter gets: the ids to ask with."""

    report: str
    case: str
    received_ms: int


@dataclass(frozen=True, slots=True)
class Case:
    """What is examined: everything reported about one subject until somebody decides.

    Attributes:
        id: `case_…`; `subject` the id or address reported.
        workspace: whose it is; empty until somebody has found out.
        automatic: no human has reported it.
        hidden: the subject is hidden until the decision.
        due_ms: when somebody must have decided; `alarmed_ms` when the alarm went; 0 for not.
        merged: the case it lives on in.
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
    alarmed_ms: int
    decided_ms: int
    merged: str


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a reviewer decides.

    Attributes:
        action: what is done.
        ground: why; `rule` the clause or law it rests on.
        facts: what was found, in words for the affected; no word of who reported.
        scope: what it covers: a model, an image, the workspace; empty for the case's subject.
        until_ms: when it ends; 0 for no end. Needed for `suspend`.
        automation: whether a machine had a part in finding or deciding.
        unfounded: the reports were manifestly unfounded; only with `no_action`.
    """

    action: Action
    ground: Ground
    rule: str
    facts: str
    scope: str = ""
    until_ms: int = 0
    automation: bool = False
    unfounded: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """A ruling that was made on a case.

    Attributes:
        id: `dec_…`; `case` and `workspace` whom it concerns.
        decider: who made it; `second` who agreed to it, where two are needed.
        made_ms: when it was made; `begun_ms` when it came into force, `ended_ms` when it went out
            of force; 0 for not.
    """

    id: str
    case: str
    workspace: str
    subject: str
    force: Force
    ruling: Ruling
    decider: str
    second: str
    made_ms: int
    begun_ms: int
    ended_ms: int


@dataclass(frozen=True, slots=True)
class Appeal:
    """A complaint of the affected against a decision.

    Attributes:
        id: `app_…`; `decision`, `case` and `workspace` what it is about.
        outcome: None until it is decided, with its `reasons`.
        reviewer: who decided it.
    """

    id: str
    decision: str
    case: str
    workspace: str
    person: str
    text: str
    created_ms: int
    due_ms: int
    alarmed_ms: int
    reviewer: str
    outcome: Outcome | None
    reasons: str
    decided_ms: int


def same(one: str, other: str) -> bool:
    """Whether two actors may be one human: whoever has the machine has the administrator key."""
    return one == other or {one, other} <= _OWNERS
