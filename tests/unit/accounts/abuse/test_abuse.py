"""The abuse procedure: reports meet in cases, others decide with reasons, appeals give back."""

from __future__ import annotations

import io
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import select

from heliograph.accounts.abuse import store
from heliograph.accounts.abuse.texts import cell, checked, checked_mail
from heliograph.accounts.abuse.values import (
    DAY_MS,
    HOUR_MS,
    Action,
    CaseState,
    Decision,
    Force,
    Ground,
    Notice,
    Outcome,
    Rules,
    Ruling,
    Severity,
    severity_of,
)
from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act
from heliograph.storage.database import Database
from heliograph.vision.decode import decode
from support.conduct import START, Court, court
from support.databases import fresh, opened

SUBJECT = "ws_bad/models/leaves"
JUDGE, SECOND, THIRD = "usr_judge", "usr_second", "usr_third"
REPORTER = "eve@reporter.example"


def notice(ground: Ground = Ground.HATE, subject: str = SUBJECT, **more: str) -> Notice:
    return Notice(subject, ground, "It does harm.", **{"contact": REPORTER, **more})


def ruling(action: Action, until_ms: int = 0, **more: object) -> Ruling:
    made = {"ground": Ground.HATE, "rule": "Terms, 4.2", "facts": "Seen in the model card."}
    return Ruling(action, until_ms=until_ms, **{**made, **more})  # pyright: ignore[reportArgumentType]


def refused(code: Code, work: object, *args: object, **options: object) -> HeliographError:
    assert callable(work)
    with pytest.raises(HeliographError) as caught:
        work(*args, **options)
    assert caught.value.code is code, caught.value
    return caught.value


def decided(c: Court, action: Action, until_ms: int = 0, **more: object) -> Decision:
    receipt = c.abuse.report(notice())
    return c.abuse.decisions.decide(receipt.case, JUDGE, ruling(action, until_ms, **more))


@pytest.mark.parametrize(
    ("ground", "severity", "hours"),
    [
        (Ground.CHILD_SAFETY, Severity.S0, 1),
        (Ground.MALWARE, Severity.S1, 4),
        (Ground.HATE, Severity.S2, 24),
        (Ground.SPAM, Severity.S3, 168),
    ],
)
def test_a_deadline_passes_with_one_alarm(
    database: Database, tmp_path: Path, ground: Ground, severity: Severity, hours: int
) -> None:
    c = court(database, tmp_path, Rules(alarms="duty@example.org"))
    receipt = c.abuse.report(notice(ground))
    case = c.abuse.page()[0]
    assert (case.severity, case.due_ms) == (severity, START + hours * HOUR_MS)
    assert severity_of(ground) is severity
    assert case.hidden == case.held == (severity is Severity.S0)
    c.clock.turn(hours * HOUR_MS - 1)
    assert c.abuse.sweep()["alarms"] == 0
    c.clock.turn(1)
    assert c.abuse.sweep()["alarms"] == 1
    assert c.abuse.sweep()["alarms"] == 0
    (mail,) = c.log.mails("duty@example.org")
    assert mail.facts == {"id": receipt.case, "severity": severity.value, "what": "case"}
    assert [one.subject for one in c.log.of(Act.CASE_OVERDUE)] == [receipt.case]


def test_a_decision_in_time_raises_no_alarm(database: Database, tmp_path: Path) -> None:
    c = court(database, tmp_path)
    decided(c, Action.WARN)
    c.clock.turn(30 * DAY_MS)
    assert c.abuse.sweep()["alarms"] == 0


def test_duplicates_meet_in_one_case_as_urgent_as_the_gravest(
    database: Database, tmp_path: Path
) -> None:
    c = court(database, tmp_path)
    machine = c.abuse.signal(notice(Ground.SPAM, contact="", signal="spikes"))
    assert c.abuse.page()[0].automatic
    first = c.abuse.report(notice(Ground.SPAM))
    c.clock.turn(HOUR_MS)
    grave = c.abuse.report(notice(Ground.CHILD_SAFETY, contact="other@x.example"))
    assert machine.case == first.case == grave.case
    assert len({machine.report, first.report, grave.report}) == 3
    (case,) = c.abuse.page()
    assert (case.reports, case.automatic, case.severity) == (3, False, Severity.S0)
    assert case.due_ms == START + 2 * HOUR_MS
    assert c.bailiff.imposed == {("hide", SUBJECT, "")}
    events = c.log.of(Act.REPORT_RECEIVED)
    assert [one.facts["automatic"] for one in events] == [True, False, False]
    c.abuse.decisions.decide(case.id, JUDGE, ruling(Action.NO_ACTION))
    assert c.bailiff.imposed == set()
    assert c.abuse.report(notice()).case != case.id


def test_two_addresses_of_one_thing_are_merged_by_hand(database: Database, tmp_path: Path) -> None:
    c = court(database, tmp_path)
    one = c.abuse.report(notice())
    two = c.abuse.report(notice(Ground.MALWARE, subject=f"{SUBJECT}?x=1"))
    far = c.abuse.report(notice(subject="ws_good/x"))
    refused(Code.CONFLICT, c.abuse.merge, one.case, far.case, JUDGE)
    refused(Code.CONFLICT, c.abuse.merge, one.case, one.case, JUDGE)
    merged = c.abuse.merge(two.case, one.case, JUDGE)
    assert (merged.reports, merged.severity) == (2, Severity.S1)
    assert c.abuse.show(two.case, JUDGE).case.state is CaseState.MERGED
    assert len(c.abuse.show(one.case, JUDGE).reports) == 2
    refused(Code.CONFLICT, c.abuse.decisions.decide, two.case, JUDGE, ruling(Action.WARN))


def test_a_statement_of_reasons_reaches_the_affected(database: Database, tmp_path: Path) -> None:
    c = court(database, tmp_path)
    until = START + 7 * DAY_MS
    made = decided(c, Action.SUSPEND, until, automation=True)
    assert c.bailiff.suspended == {"ws_bad": until}
    (letter,) = c.log.mails("usr_bad@example.org")
    assert letter.template == "suspended"
    for said in ("Terms, 4.2", "Seen in the model card.", "had a part in this", made.id):
        assert said in letter.facts["reasons"]
    assert letter.facts["until"].startswith("2027-01-22")
    assert letter.facts["appeal"]
    (outcome,) = c.log.mails(REPORTER)
    assert outcome.facts["outcome"] == "suspend"
    assert "ws_bad" not in str(outcome.facts)
    (hook,) = c.log.hooks("suspension.begun")
    assert (hook.workspace, hook.body["until_ms"]) == ("ws_bad", until)
    assert [one.ruling.action for one in c.abuse.decisions.statements("ws_bad")] == [Action.SUSPEND]
    assert not c.abuse.decisions.statements("ws_good")


def test_the_reporter_is_in_nothing_that_anybody_is_shown(
    database: Database, tmp_path: Path
) -> None:
    c = court(database, tmp_path)
    receipt = c.abuse.report(notice(reporter="usr_eve"), "203.0.113.7")
    view = c.abuse.show(receipt.case, JUDGE)
    c.abuse.decisions.decide(receipt.case, JUDGE, ruling(Action.WARN))
    seen = [
        str(view),
        str([one._mapping for one in view.reports]),
        str(c.abuse.page("decided")),
        str(c.abuse.decisions.statements("ws_bad")),
        str(c.log.events),
        str(c.log.mails("usr_bad@example.org")),
        c.abuse.transparency.table(2027).decode(),
    ]
    for secret in (REPORTER, "usr_eve", "203.0.113.7"):
        assert not [one for one in seen if secret in one]
    with database.read() as connection:
        assert "203.0.113.7" not in str(connection.execute(select(store.REPORTS)).all())
    # The log of the workspace itself tells of its strike, not that somebody reported it.
    theirs = [one for one in c.log.events if one.workspace]
    assert [(one.act, one.actor) for one in theirs] == [(Act.STRIKE_ADDED, "system")]


def test_reporters_are_forgotten_when_no_appeal_is_possible(
    database: Database, tmp_path: Path
) -> None:
    c = court(database, tmp_path)
    decided(c, Action.WARN)
    c.clock.turn(184 * DAY_MS - 1)
    assert c.abuse.sweep()["forgotten"] == 0
    c.clock.turn(1)
    assert c.abuse.sweep()["forgotten"] == 1
    with database.read() as connection:
        assert REPORTER not in str(connection.execute(select(store.REPORTS)).all())


def test_reports_are_bounded_by_sender(database: Database, tmp_path: Path) -> None:
    c = court(database, tmp_path, Rules(reports=3))
    for _ in range(3):
        c.abuse.report(notice(), "203.0.113.7")
    error = refused(Code.RATE_LIMITED, c.abuse.report, notice(), "203.0.113.7")
    assert error.retry_after is not None
    c.abuse.report(notice(), "203.0.113.8")
    c.clock.turn(HOUR_MS)
    c.abuse.report(notice(), "203.0.113.7")
    assert c.abuse.page()[0].reports == 5


def test_unfounded_reporters_are_told_and_then_refused(database: Database, tmp_path: Path) -> None:
    c = court(database, tmp_path, Rules(unfounded=2))
    for _ in range(2):
        receipt = c.abuse.report(notice(), "203.0.113.7")
        nothing = ruling(Action.NO_ACTION, unfounded=True)
        c.abuse.decisions.decide(receipt.case, JUDGE, nothing)
    assert "unfounded" in c.log.mails(REPORTER)[-1].facts["reasons"]
    refused(Code.SUSPENDED, c.abuse.report, notice(contact=""), "203.0.113.7")
    # Writing somebody's address as one's own does not silence them.
    c.abuse.report(notice(), "203.0.113.9")
    c.clock.turn(180 * DAY_MS)
    c.abuse.report(notice(), "203.0.113.7")


def test_nobody_decides_about_their_own(database: Database, tmp_path: Path) -> None:
    c = court(database, tmp_path)
    receipt = c.abuse.report(notice(reporter="usr_eve"))
    decide = c.abuse.decisions.decide
    refused(Code.FORBIDDEN, decide, receipt.case, "usr_bad", ruling(Action.NO_ACTION))
    refused(Code.FORBIDDEN, decide, receipt.case, "usr_eve", ruling(Action.WARN))
    refused(Code.FORBIDDEN, decide, receipt.case, "", ruling(Action.WARN))
    refused(Code.FORBIDDEN, c.abuse.show, receipt.case, "usr_bad")
    refused(Code.FORBIDDEN, c.abuse.triage, receipt.case, "usr_bad", Severity.S3)
    refused(Code.FORBIDDEN, c.abuse.hold, receipt.case, "usr_bad", on=False)
    assert c.abuse.page()[0].state is CaseState.OPEN


def test_the_end_of_a_workspace_takes_two(database: Database, tmp_path: Path) -> None:
    c = court(database, tmp_path)
    receipt = c.abuse.report(notice())
    proposed = c.abuse.decisions.decide(receipt.case, "admin", ruling(Action.TERMINATE))
    assert proposed.force is Force.PROPOSED
    assert not c.bailiff.suspended
    assert not c.abuse.decisions.statements("ws_bad")
    second = c.abuse.decisions.second
    for same in ("admin", "command", "usr_bad"):
        refused(Code.FORBIDDEN, second, receipt.case, same, agree=True)
    assert second(receipt.case, SECOND, agree=False).force is Force.DECLINED
    refused(Code.CONFLICT, second, receipt.case, SECOND, agree=True)
    c.abuse.decisions.decide(receipt.case, JUDGE, ruling(Action.TERMINATE))
    done = second(receipt.case, SECOND, agree=True)
    assert (done.force, done.decider, done.second) == (Force.IN_FORCE, JUDGE, SECOND)
    assert c.bailiff.suspended == {"ws_bad": 0}


@pytest.mark.parametrize(
    "bad",
    [
        ruling(Action.SUSPEND),
        ruling(Action.SUSPEND, START),
        ruling(Action.WARN, START + DAY_MS),
        ruling(Action.HIDE, facts=" "),
        ruling(Action.HIDE, rule=""),
        ruling(Action.HIDE, scope="a\nb"),
        ruling(Action.HIDE, facts="a\x00b"),
        ruling(Action.HIDE, unfounded=True),
    ],
)
def test_a_ruling_must_be_able_to_stand(database: Database, tmp_path: Path, bad: Ruling) -> None:
    c = court(database, tmp_path)
    receipt = c.abuse.report(notice())
    refused(Code.VALIDATION, c.abuse.decisions.decide, receipt.case, JUDGE, bad)
    assert c.abuse.page()[0].state is CaseState.OPEN


def test_whose_it_is_must_be_known_for_some(database: Database, tmp_path: Path) -> None:
    c = court(database, tmp_path)
    receipt = c.abuse.report(notice(subject="https://example.org/x"))
    until = START + DAY_MS
    suspend = ruling(Action.SUSPEND, until)
    refused(Code.VALIDATION, c.abuse.decisions.decide, receipt.case, JUDGE, suspend)
    refused(Code.FORBIDDEN, c.abuse.assign, receipt.case, "usr_bad", "ws_bad")
    c.abuse.assign(receipt.case, JUDGE, "ws_bad")
    refused(Code.CONFLICT, c.abuse.assign, receipt.case, JUDGE, "ws_good")
    c.abuse.decisions.decide(receipt.case, JUDGE, suspend)
    assert c.bailiff.suspended == {"ws_bad": until}


def test_the_ladder_rises_with_strikes_and_strikes_decay(
    database: Database, tmp_path: Path
) -> None:
    c = court(database, tmp_path)
    seen: list[tuple[int, Action, int]] = []
    for _ in range(5):
        receipt = c.abuse.report(notice())
        view = c.abuse.show(receipt.case, JUDGE)
        seen.append((view.strikes, view.suggested.action, view.suggested.days))
        c.abuse.decisions.decide(receipt.case, JUDGE, ruling(Action.WARN))
    assert seen == [
        (0, Action.WARN, 0),
        (1, Action.SUSPEND, 7),
        (2, Action.SUSPEND, 30),
        (3, Action.TERMINATE, 0),
        (4, Action.TERMINATE, 0),
    ]
    assert [one.facts["strikes"] for one in c.log.of(Act.STRIKE_ADDED)] == [1, 2, 3, 4, 5]
    c.clock.turn(180 * DAY_MS)
    assert c.abuse.show(c.abuse.report(notice()).case, JUDGE).strikes == 0


def test_a_suspension_ends_by_its_term_but_not_while_another_lasts(
    database: Database, tmp_path: Path
) -> None:
    c = court(database, tmp_path)
    long, short = START + 30 * DAY_MS, START + 7 * DAY_MS
    decided(c, Action.SUSPEND, long)
    decided(c, Action.SUSPEND, short)
    assert c.bailiff.suspended == {"ws_bad": long}
    c.clock.turn(7 * DAY_MS)
    assert c.abuse.sweep()["ended"] == 1
    assert c.bailiff.suspended == {"ws_bad": long}
    assert not c.log.hooks("suspension.ended")
    c.clock.turn(23 * DAY_MS)
    assert c.abuse.sweep()["ended"] == 1
    assert c.abuse.sweep()["ended"] == 0
    assert c.bailiff.suspended == {}
    assert len(c.log.hooks("suspension.ended")) == 1
    forces = [one.force for one in c.abuse.decisions.statements("ws_bad")]
    assert forces == [Force.ENDED, Force.ENDED]


def test_two_measures_at_one_moment_both_count(postgres_server: str, tmp_path: Path) -> None:
    url = fresh(postgres_server)
    with opened(url, tmp_path) as one, opened(url, tmp_path) as other:
        nodes = [court(one, tmp_path / "1"), court(other, tmp_path / "2")]
        nodes[1].bailiff.suspended = nodes[0].bailiff.suspended
        for turn in range(16):
            workspace = f"ws_{turn:02}"
            for node in nodes:
                node.town.members[workspace] = set()
            longest = START + 30 * DAY_MS
            # Not its first measure: what serialises them is there already.
            first = nodes[0].abuse.report(notice(subject=f"{workspace}/first"))
            nodes[0].abuse.decisions.decide(first.case, JUDGE, ruling(Action.WARN))
            cases = [
                node.abuse.report(notice(subject=f"{workspace}/{at}")).case
                for at, node in enumerate(nodes)
            ]
            start = threading.Barrier(2)

            def decide(at: int, cases: list[str] = cases, start: threading.Barrier = start) -> None:
                start.wait()
                nodes[at].abuse.decisions.decide(
                    cases[at], JUDGE, ruling(Action.SUSPEND, START + (30 - 23 * at) * DAY_MS)
                )

            with ThreadPoolExecutor(2) as pool:
                list(pool.map(decide, (turn % 2, 1 - turn % 2)))
            assert nodes[0].bailiff.suspended[workspace] == longest


def test_reports_at_one_moment_meet_in_one_case(postgres_server: str, tmp_path: Path) -> None:
    url = fresh(postgres_server)
    with opened(url, tmp_path) as one, opened(url, tmp_path) as other:
        nodes = [court(one, tmp_path / "1"), court(other, tmp_path / "2")]
        for turn in range(8):
            start = threading.Barrier(2)

            def report(node: Court, turn: int = turn, start: threading.Barrier = start) -> str:
                start.wait()
                return node.abuse.report(notice(subject=f"ws_bad/{turn}"), "").case

            with ThreadPoolExecutor(2) as pool:
                assert len(set(pool.map(report, nodes))) == 1
        assert [case.reports for case in nodes[0].abuse.page()] == [2] * 8


def test_an_appeal_is_decided_by_who_had_no_part(database: Database, tmp_path: Path) -> None:
    c = court(database, tmp_path)
    made = decided(c, Action.SUSPEND, START + 30 * DAY_MS)
    file, decide = c.abuse.appeals.file, c.abuse.appeals.decide
    refused(Code.NOT_FOUND, file, made.id, "ws_good", "usr_good", "not ours")
    refused(Code.NOT_FOUND, file, made.id, "", "usr_bad", "whose?")
    refused(Code.FORBIDDEN, file, made.id, "ws_bad", "usr_stranger", "for them")
    appeal = file(made.id, "ws_bad", "usr_bad", "It was art.")
    refused(Code.CONFLICT, file, made.id, "ws_bad", "usr_bad", "again")
    for who in (JUDGE, "usr_bad", ""):
        refused(Code.FORBIDDEN, decide, appeal.id, who, Outcome.REVERSED, "art indeed")
    assert c.bailiff.suspended
    done = decide(appeal.id, THIRD, Outcome.UPHELD, "It was not.")
    assert (done.outcome, done.reviewer) == (Outcome.UPHELD, THIRD)
    assert c.bailiff.suspended
    refused(Code.CONFLICT, decide, appeal.id, THIRD, Outcome.REVERSED, "after all")


def test_an_appeal_is_possible_for_six_months(database: Database, tmp_path: Path) -> None:
    c = court(database, tmp_path)
    made = decided(c, Action.REMOVE)
    c.clock.turn(184 * DAY_MS)
    appeal = c.abuse.appeals.file(made.id, "ws_bad", "usr_bad", "late, in time")
    c.clock.turn(14 * DAY_MS)
    assert c.abuse.sweep()["alarms"] == 1
    assert c.abuse.appeals.page(pending=True)[0].id == appeal.id
    other = decided(c, Action.WARN)
    c.clock.turn(184 * DAY_MS + 1)
    refused(Code.CONFLICT, c.abuse.appeals.file, other.id, "ws_bad", "usr_bad", "too late")


def test_a_reversal_gives_everything_back(database: Database, tmp_path: Path) -> None:
    c = court(database, tmp_path)
    c.bailiff.balance = 0
    made = decided(c, Action.SUSPEND, START + 30 * DAY_MS)
    c.clock.turn(3 * DAY_MS)
    appeal = c.abuse.appeals.file(made.id, "ws_bad", "usr_bad", "It was art.")
    c.abuse.appeals.decide(appeal.id, THIRD, Outcome.REVERSED, "It was.")
    assert c.bailiff.suspended == {}
    assert c.bailiff.balance == 3 * DAY_MS
    assert c.abuse.show(c.abuse.report(notice()).case, JUDGE).strikes == 0
    assert c.abuse.decisions.statements("ws_bad")[0].force is Force.REVERSED
    assert c.abuse.appeals.against([made.id])[made.id].outcome is Outcome.REVERSED
    c.clock.turn(60 * DAY_MS)
    c.abuse.sweep()
    assert c.bailiff.balance == 3 * DAY_MS


def test_an_appeal_makes_things_milder_only(database: Database, tmp_path: Path) -> None:
    c = court(database, tmp_path)
    long, short = START + 30 * DAY_MS, START + 7 * DAY_MS
    made = decided(c, Action.SUSPEND, long)
    appeal = c.abuse.appeals.file(made.id, "ws_bad", "usr_bad", "too hard").id
    decide = c.abuse.appeals.decide
    refused(Code.VALIDATION, decide, appeal, THIRD, Outcome.CHANGED, "harder")
    for worse in (
        ruling(Action.TERMINATE),
        ruling(Action.SUSPEND, long),
        ruling(Action.SUSPEND, long + 1),
        ruling(Action.NO_ACTION),
    ):
        refused(Code.VALIDATION, decide, appeal, THIRD, Outcome.CHANGED, "harder", worse)
    assert c.bailiff.suspended == {"ws_bad": long}
    decide(appeal, THIRD, Outcome.CHANGED, "a week", ruling(Action.SUSPEND, short))
    assert c.bailiff.suspended == {"ws_bad": short}
    forces = [one.force for one in c.abuse.decisions.statements("ws_bad")]
    assert forces == [Force.CHANGED, Force.IN_FORCE]
    newer = c.abuse.decisions.statements("ws_bad")[1]
    again = c.abuse.appeals.file(newer.id, "ws_bad", "usr_bad", "still too hard").id
    refused(Code.FORBIDDEN, decide, again, THIRD, Outcome.REVERSED, "mine")
    decide(again, SECOND, Outcome.CHANGED, "a warning", ruling(Action.WARN))
    assert c.bailiff.suspended == {}


def test_hiding_lasts_as_long_as_anybody_wants_it(database: Database, tmp_path: Path) -> None:
    c = court(database, tmp_path)
    made = decided(c, Action.HIDE)
    grave = c.abuse.report(notice(Ground.CHILD_SAFETY))
    appeal = c.abuse.appeals.file(made.id, "ws_bad", "usr_bad", "show it").id
    c.abuse.appeals.decide(appeal, THIRD, Outcome.REVERSED, "harmless")
    assert c.bailiff.imposed == {("hide", SUBJECT, "")}
    c.abuse.decisions.decide(grave.case, JUDGE, ruling(Action.NO_ACTION))
    assert c.bailiff.imposed == set()


def test_what_was_hidden_until_removed_is_whole_after_a_reversal(
    database: Database, tmp_path: Path
) -> None:
    c = court(database, tmp_path)
    grave = c.abuse.report(notice(Ground.CHILD_SAFETY))
    made = c.abuse.decisions.decide(grave.case, JUDGE, ruling(Action.REMOVE))
    assert c.bailiff.imposed == {("remove", SUBJECT, "")}
    appeal = c.abuse.appeals.file(made.id, "ws_bad", "usr_bad", "a holiday picture").id
    c.abuse.appeals.decide(appeal, THIRD, Outcome.REVERSED, "harmless")
    assert c.bailiff.imposed == set()


def test_a_hold_lies_on_subject_and_workspace_until_it_ends(
    database: Database, tmp_path: Path
) -> None:
    c = court(database, tmp_path)
    receipt = c.abuse.report(notice(Ground.CHILD_SAFETY))
    with database.read() as connection:
        assert c.abuse.held(connection, SUBJECT)
        assert c.abuse.held(connection, "", "ws_bad")
        assert not c.abuse.held(connection, "ws_good", "")
    c.abuse.decisions.decide(receipt.case, JUDGE, ruling(Action.REMOVE))
    c.abuse.hold(receipt.case, JUDGE, on=False)
    with database.read() as connection:
        assert not c.abuse.held(connection, SUBJECT, "ws_bad")
    assert [one.actor for one in c.log.of(Act.HOLD_ENDED)] == [JUDGE]


def picture() -> bytes:
    pixels = np.random.default_rng(1).integers(0, 255, (200, 300, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_a_grave_copy_is_blurred_and_takes_two_to_see(database: Database, tmp_path: Path) -> None:
    c = court(database, tmp_path)
    receipt = c.abuse.report(notice(Ground.CHILD_SAFETY))
    copies, case = c.abuse.copies, receipt.case
    copy = copies.preserve(case, JUDGE, picture())
    glance = decode(copies.see(case, copy, JUDGE)).pixels
    assert np.ptp(glance.astype(int), axis=2).max() == 0
    # Neighbours hardly differ: nothing of the noise of the picture is left.
    assert np.abs(np.diff(glance[..., 0].astype(int), axis=1)).max() < 10
    refused(Code.FORBIDDEN, copies.see, case, copy, JUDGE, whole=True)
    refused(Code.FORBIDDEN, copies.grant, case, copy, JUDGE, JUDGE)
    refused(Code.FORBIDDEN, copies.grant, case, copy, "usr_bad", "usr_bad")
    copies.grant(case, copy, JUDGE, SECOND)
    assert decode(copies.see(case, copy, JUDGE, whole=True)).pixels.shape == (200, 300, 3)
    refused(Code.FORBIDDEN, copies.see, case, copy, SECOND, whole=True)
    c.clock.turn(HOUR_MS)
    refused(Code.FORBIDDEN, copies.see, case, copy, JUDGE, whole=True)
    looks = c.log.of(Act.CASE_COPY_VIEWED)
    assert [(one.actor, one.facts["whole"]) for one in looks] == [(JUDGE, False), (JUDGE, True)]


def test_copies_go_with_the_hold(database: Database, tmp_path: Path) -> None:
    c = court(database, tmp_path)
    receipt = c.abuse.report(notice())
    refused(Code.CONFLICT, c.abuse.copies.preserve, receipt.case, JUDGE, b"model bytes")
    assert not c.vault.refs()
    c.abuse.hold(receipt.case, JUDGE, on=True)
    copy = c.abuse.copies.preserve(receipt.case, JUDGE, b"model bytes")
    refused(Code.UNSUPPORTED_MEDIA, c.abuse.copies.see, receipt.case, copy, JUDGE)
    c.clock.turn(3650 * DAY_MS)
    assert c.abuse.sweep()["shredded"] == 0
    c.abuse.hold(receipt.case, JUDGE, on=False)
    assert c.abuse.sweep()["shredded"] == 1
    assert not c.vault.refs()
    refused(Code.NOT_FOUND, c.abuse.copies.see, receipt.case, copy, JUDGE)


HOSTILE = [
    "<svg onload=alert(1)>",
    "javascript:alert(1)",
    "{{7*7}} ${7*7} %s%n {0.__class__} {{constructor}}",
    "=cmd|'/c calc'!A1",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_text_of_strangers_stays_what_it_was(database: Database, tmp_path: Path, text: str) -> None:
    c = court(database, tmp_path)
    receipt = c.abuse.report(Notice(text, Ground.OTHER, text))
    view = c.abuse.show(receipt.case, JUDGE)
    assert view.case.subject == text
    assert [one.text for one in view.reports] == [text]
    c.abuse.assign(receipt.case, JUDGE, "ws_bad")
    c.abuse.decisions.decide(receipt.case, JUDGE, ruling(Action.WARN, facts=text))
    assert text in c.log.mails("usr_bad@example.org")[0].facts["reasons"]
    table = c.abuse.transparency.table(2027).decode()
    assert not re.search(r"(^|[,\n\"])[=+\-@\t]", table)


@pytest.mark.parametrize(
    "bad", ["a@b\nBcc: c@d", "a@b, c@d", "<a@b>", "a b@c", "@x", "a@", "a@b\x00"]
)
def test_a_contact_is_one_address(bad: str) -> None:
    refused(Code.VALIDATION, checked_mail, bad)
    assert checked_mail("eve+1@example.org") == "eve+1@example.org"


def test_texts_are_checked() -> None:
    assert checked(" a\r\nb ", "It", 10) == "a\nb"
    for bad in ("", "x" * 11, "a\x1b[2J", "\ud800"):
        refused(Code.VALIDATION, checked, bad, "It", 10)
    assert [cell(one) for one in ("=1", "+1", "-1", "@x", "\t=", "1")] == [
        "'=1",
        "'+1",
        "'-1",
        "'@x",
        "'\t=",
        "1",
    ]


def test_the_years_counts(database: Database, tmp_path: Path) -> None:
    c = court(database, tmp_path)
    for hours in (1, 2, 30):
        receipt = c.abuse.report(notice())
        c.clock.turn(hours * HOUR_MS)
        made = c.abuse.decisions.decide(
            receipt.case, JUDGE, ruling(Action.HIDE, automation=hours == 1)
        )
    c.abuse.signal(notice(Ground.MALWARE, contact="", signal="hashes"))
    appeal = c.abuse.appeals.file(made.id, "ws_bad", "usr_bad", "no")
    c.clock.turn(5 * HOUR_MS)
    c.abuse.appeals.decide(appeal.id, THIRD, Outcome.REVERSED, "yes")
    lines = c.abuse.transparency.year(2027)
    said = {(measure, of): value for measure, of, value in lines}
    assert said["notices", "all"] == "4"
    assert said["notices", "automatic"] == "1"
    assert said["cases decided", "all"] == "3"
    assert said["cases decided", "after their deadline"] == "1"
    assert said["median hours to decision", "S2"] == "2.00"
    assert said["decisions", "hide"] == "3"
    assert said["share of decisions with automation", "all"] == "0.3333"
    assert said["decisions", "reversed or changed since"] == "1"
    assert said["appeals", "reversed"] == "1"
    assert said["median hours to an appeal's outcome", "all"] == "5.00"
    assert c.abuse.transparency.year(2026)[0] == ("notices", "all", "0")
    assert c.abuse.transparency.table(2027).startswith(b"measure,of,value\r\nnotices,all,4\r\n")
