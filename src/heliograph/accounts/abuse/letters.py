"""What is written to the affected and to those who reported; the texts are the outbox's.

The statement of reasons says what was done and for how long, on what rule and which facts, whether
a machine had a part in it, and what can be done against it.
"""

from __future__ import annotations

from datetime import UTC, datetime

from heliograph.accounts.abuse.values import CLOSING, Action, Case, Decision, Ruling

DECISION = "decision"
OVERDUE = "case_overdue"
Letter = tuple[str, dict[str, str]]
"""A template's name and what fills its blanks."""


def statement(decision: Decision, appeal_until_ms: int) -> Letter:
    """The statement of reasons, for those who answer for the workspace."""
    ruling = decision.ruling
    facts = {
        "case": decision.case,
        "subject": decision.subject,
        "outcome": ruling.action.value,
        "ground": ruling.ground.value,
        "until": _time(ruling.until_ms) if ruling.until_ms else "without end",
        "reasons": _reasons(decision),
        "appeal": _time(appeal_until_ms),
    }
    if ruling.action in CLOSING:
        return "suspended", facts
    return ("warned" if ruling.action is Action.WARN else DECISION), facts


def _reasons(decision: Decision) -> str:
    ruling = decision.ruling
    automation = "had a part in this" if ruling.automation else "had no part in this"
    lines = [
        f"Decision: {decision.id}",
        f"Subject: {decision.subject}",
        f"Scope: {ruling.scope or decision.subject}",
        f"Rule: {ruling.rule}",
        f"Facts: {ruling.facts}",
        f"Automated means {automation}.",
    ]
    if ruling.until_ms:
        lines.append(f"Until: {_time(ruling.until_ms)}")
    return "\n".join(lines)


def outcome(case: Case, ruling: Ruling) -> dict[str, str]:
    """What became of a report, for who reported: no word of who is concerned."""
    automation = "had a part in this" if ruling.automation else "had no part in this"
    reasons = f"Automated means {automation}."
    if ruling.unfounded:
        reasons += (
            "\nThe report was manifestly unfounded. If that happens again and again, further "
            "reports are not taken for a time."
        )
    ground = ruling.ground.value
    return {"case": case.id, "outcome": ruling.action.value, "ground": ground, "reasons": reasons}


def ended(decision: Decision) -> dict[str, str]:
    """That a measure has run its term."""
    reasons = f"The measure {decision.ruling.action} of decision {decision.id} has run its term."
    return {"case": decision.case, "outcome": "ended", "reasons": reasons}


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
