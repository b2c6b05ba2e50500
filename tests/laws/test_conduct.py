"""Laws of identity and abuse: no order of moves skips a review; a reversal gives all back."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
    run_state_machine_as_test,
)
from PIL import Image
from sqlalchemy import Connection

from heliograph.accounts.abuse import store as abuse_store
from heliograph.accounts.abuse.values import (
    CLOSING,
    DAY_MS,
    Action,
    Force,
    Ground,
    Notice,
    Outcome,
    Ruling,
)
from heliograph.accounts.abuse.values import same as same_judge
from heliograph.accounts.identity import store
from heliograph.accounts.identity.values import (
    HOUR_MS,
    Claims,
    Feature,
    Level,
    Policy,
    State,
    fingerprint,
    same,
)
from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act
from heliograph.storage.database import Database
from heliograph.storage.tables import METADATA
from support.conduct import START, court, office
from support.databases import fresh, opened

PEOPLE = ["usr_a", "usr_b"]
REVIEWERS = [*PEOPLE, "usr_x", "usr_y", "admin", "command"]
PLAIN = {Code.CONFLICT, Code.FORBIDDEN, Code.NOT_FOUND, Code.VALIDATION, Code.IDENTITY_REQUIRED}
FILE = io.BytesIO()
Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(FILE, "PNG")
PICTURE = FILE.getvalue()
STRICT = Policy({Feature.CALL_MODELS: Level.REAL_NAME})
# A step on PostgreSQL takes ten times as long: it tries what differs there, SQLite the many orders.
EXAMPLES = {"sqlite": (25, 20), "postgresql": (3, 20)}


def attempt(work: object, *args: object, **options: object) -> object:
    """Do it, or be refused as the table allows."""
    assert callable(work)
    try:
        return work(*args, **options)
    except HeliographError as error:
        if error.code not in PLAIN:
            raise
        return None


class Verification(RuleBasedStateMachine):
    """Everybody tries everything about everybody's identity."""

    database: Database

    def __init__(self) -> None:
        super().__init__()
        self.database.write(_empty)
        self.folder = tempfile.TemporaryDirectory()
        self.o = office(self.database, Path(self.folder.name), policy=STRICT)

    def teardown(self) -> None:
        self.folder.cleanup()

    def _check(self, person: str) -> str:
        checks = self.o.identity.standing(person).checks
        return checks[0].id if checks else "idc_0"

    @rule(person=st.sampled_from(PEOPLE), number=st.sampled_from(["1", "2"]))
    def submit(self, person: str, number: str) -> None:
        attempt(self.o.identity.submit, person, "manual", Claims("A B", number))

    @rule(person=st.sampled_from(PEOPLE))
    def show(self, person: str) -> None:
        attempt(self.o.identity.add_picture, person, self._check(person), PICTURE)

    @rule(person=st.sampled_from(PEOPLE), reviewer=st.sampled_from(REVIEWERS))
    def take_and_look(self, person: str, reviewer: str) -> None:
        reviews, check = self.o.identity.reviews, self._check(person)
        attempt(reviews.take, check, reviewer)
        with self.database.read() as connection:
            pieces = store.evidence(connection, check)
        for piece in pieces:
            look = reviews.picture if piece.kind == "picture" else None
            if look:
                attempt(look, check, piece.id, reviewer)
            else:
                attempt(reviews.claims, check, reviewer)

    @rule(
        person=st.sampled_from(PEOPLE), reviewer=st.sampled_from(REVIEWERS), override=st.booleans()
    )
    def approve(self, person: str, reviewer: str, override: bool) -> None:
        check = self._check(person)
        attempt(self.o.identity.reviews.approve, check, reviewer, "agrees", override=override)

    @rule(person=st.sampled_from(PEOPLE), reviewer=st.sampled_from(REVIEWERS))
    def reject(self, person: str, reviewer: str) -> None:
        attempt(self.o.identity.reviews.reject, self._check(person), reviewer, "blurred")

    @rule(person=st.sampled_from(PEOPLE))
    def appeal(self, person: str) -> None:
        attempt(self.o.identity.appeal, person, self._check(person), "no!")

    @rule(person=st.sampled_from(PEOPLE))
    def rename(self, person: str) -> None:
        self.database.write(lambda c: self.o.identity.renamed(c, person))

    @rule(ms=st.sampled_from([HOUR_MS, 3 * HOUR_MS, 31 * DAY_MS, 731 * DAY_MS]))
    def wait(self, ms: int) -> None:
        self.o.clock.turn(ms)

    @rule()
    def sweep(self) -> None:
        self.o.identity.sweep()

    @invariant()
    def who_is_verified_was_reviewed(self) -> None:
        for person in PEOPLE:
            standing = self.o.identity.standing(person)
            reached = attempt(self._called, person)
            assert bool(reached) == (standing.level is Level.REAL_NAME)
            for check in standing.checks:
                if check.state is State.VERIFIED:
                    self._reviewed(check.id, person)

    def _called(self, person: str) -> bool:
        self.o.identity.require(person, Feature.CALL_MODELS)
        return True

    def _reviewed(self, id_: str, person: str) -> None:
        with self.database.read() as connection:
            check = store.check(connection, id_)
            assert check is not None
            thought = [one for one in store.opinions(connection, id_) if one.turn == check.turn]
            earlier = [one for one in store.opinions(connection, id_) if one.turn < check.turn]
            seen = {one.reviewer: store.views(connection, check, one.reviewer) for one in thought}
            shown = [one for one in store.evidence(connection, id_) if one.turn == check.turn]
        approvers = [one.reviewer for one in thought]
        assert approvers
        assert {one.outcome for one in thought} == {"approve"}
        assert not any(same(one, person) for one in approvers)
        assert not any(
            same(one, other) for at, one in enumerate(approvers) for other in approvers[:at]
        )
        if check.appealed:
            assert not any(same(one, past.reviewer) for one in approvers for past in earlier)
        assert check.claimed
        pictures = {one.id for one in shown if one.kind == "picture"}
        assert any(seen.values())
        if not pictures or check.duplicate:
            assert len(approvers) == 2
        assert {one.id for one in shown if one.created_ms < check.decided_ms} <= seen[approvers[-1]]

    @invariant()
    def every_look_has_its_event(self) -> None:
        looks = [one for one in self.o.log.events if one.act is Act.IDENTITY_VIEWED]
        assert all(one.actor in REVIEWERS and one.facts["evidence"] for one in looks)

    @invariant()
    def what_is_written_off_is_unreadable(self) -> None:
        with self.database.read() as connection:
            pieces = [
                piece
                for person in PEOPLE
                for check in store.checks_of(connection, person)
                for piece in store.evidence(connection, check.id)
            ]
        kept = {one.ref for one in pieces if not one.gone_ms}
        assert kept == self.o.vault.refs()


class Justice(RuleBasedStateMachine):
    """Reports, decisions and appeals in any order, by anybody."""

    database: Database
    decisions = Bundle("decisions")
    filed = Bundle("filed")

    def __init__(self) -> None:
        super().__init__()
        self.database.write(_empty)
        self.folder = tempfile.TemporaryDirectory()
        self.c = court(self.database, Path(self.folder.name))
        self.innocent: list[tuple[str, int, int]] = []

    def teardown(self) -> None:
        self.folder.cleanup()

    @rule(
        target=decisions,
        who=st.sampled_from(["usr_x", "usr_y", "usr_bad", "admin"]),
        action=st.sampled_from(Action),
        days=st.integers(1, 40),
        ground=st.sampled_from([Ground.CHILD_SAFETY, Ground.SPAM]),
    )
    def decide(self, who: str, action: Action, days: int, ground: Ground) -> str:
        receipt = self.c.abuse.report(Notice("ws_bad/m", ground, "bad"))
        until = self.c.clock() + days * DAY_MS if action in {Action.SUSPEND, Action.LIMIT} else 0
        ruling = Ruling(action, ground, "Terms", "seen", until_ms=until)
        made = attempt(self.c.abuse.decisions.decide, receipt.case, who, ruling)
        return getattr(made, "id", "dec_0")

    @rule(
        who=st.sampled_from(["usr_x", "usr_y", "usr_bad", "admin", "command"]), agree=st.booleans()
    )
    def second(self, who: str, agree: bool) -> None:
        for case in self.c.abuse.page("proposed"):
            attempt(self.c.abuse.decisions.second, case.id, who, agree=agree)

    @rule(target=filed, decision=decisions)
    def file(self, decision: str) -> str:
        made = attempt(self.c.abuse.appeals.file, decision, "ws_bad", "usr_bad", "no!")
        return getattr(made, "id", "app_0")

    @rule(
        appeal=consumes(filed),
        who=st.sampled_from(["usr_x", "usr_y", "usr_bad", "admin", "command"]),
        outcome=st.sampled_from([Outcome.UPHELD, Outcome.REVERSED]),
    )
    def settle(self, appeal: str, who: str, outcome: Outcome) -> None:
        with self.database.read() as connection:
            found = abuse_store.appeal(connection, appeal)
            before = abuse_store.decision(connection, found.decision) if found else None
        done = attempt(self.c.abuse.appeals.decide, appeal, who, outcome, "looked again")
        if done is not None and outcome is Outcome.REVERSED:
            assert before is not None
            self.innocent.append((before.id, before.begun_ms, before.ended_ms or self.c.clock()))

    @rule(days=st.integers(1, 60))
    def wait(self, days: int) -> None:
        self.c.clock.turn(days * DAY_MS)
        self.c.abuse.sweep()

    @invariant()
    def closed_is_who_is_under_a_measure_in_force(self) -> None:
        found = [
            one
            for one in self.c.abuse.decisions.statements("ws_bad", "", 200)
            if one.force is Force.IN_FORCE and one.ruling.action in CLOSING
        ]
        ends = [one.ruling.until_ms for one in found]
        expected = {"ws_bad": 0 if 0 in ends else max(ends)} if ends else {}
        assert self.c.bailiff.suspended == expected

    @invariant()
    def imposed_is_what_is_in_force_or_waits(self) -> None:
        wanted = {
            (one.ruling.action.value, one.subject, one.ruling.scope)
            for one in self.c.abuse.decisions.statements("ws_bad", "", 200)
            if one.force is Force.IN_FORCE and one.ruling.action not in {*CLOSING, Action.WARN}
        }
        waiting = self.c.abuse.page("open") + self.c.abuse.page("proposed")
        wanted |= {("hide", one.subject, "") for one in waiting if one.hidden}
        assert self.c.bailiff.imposed == wanted

    @invariant()
    def a_reversal_gives_back_what_it_took(self) -> None:
        assert self.c.bailiff.balance == sum(end - begin for _, begin, end in self.innocent)
        with self.database.read() as connection:
            live = abuse_store.strikes(connection, "ws_bad", START)
        guilty = [
            one
            for one in self.c.abuse.decisions.statements("ws_bad", "", 200)
            if one.force in {Force.IN_FORCE, Force.ENDED} and one.ruling.action is not Action.LABEL
        ]
        assert live == len(guilty)

    @invariant()
    def nobody_judges_themselves_or_alone_ends_a_workspace(self) -> None:
        for one in self.c.abuse.decisions.statements("ws_bad", "", 200):
            assert "usr_bad" not in {one.decider, one.second}
            if one.ruling.action is Action.TERMINATE:
                assert one.second
                assert not same_judge(one.decider, one.second)
        for appeal in self.c.abuse.appeals.page("", 200):
            with self.database.read() as connection:
                made = abuse_store.decision(connection, appeal.decision)
            assert made is not None
            if appeal.outcome:
                assert not same_judge(appeal.reviewer, made.decider)
                assert not same_judge(appeal.reviewer, made.second)


def _empty(connection: Connection) -> None:
    for table in METADATA.sorted_tables:
        if table.name.startswith(("identity_", "abuse_")):
            connection.execute(table.delete())


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def books(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    """One database for all examples of a law; each begins with empty tables."""
    url = ""
    if request.param == "postgresql":
        url = fresh(request.getfixturevalue("postgres_server"))
    with opened(url, tmp_path_factory.mktemp("books")) as made:
        yield made


@pytest.mark.parametrize("machine", [Verification, Justice])
def test_no_order_of_moves_breaks_the_rules(
    books: Database, machine: type[Verification | Justice]
) -> None:
    machine.database = books
    examples, steps = EXAMPLES[books.kind]
    slow = [HealthCheck.too_slow]
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=slow,
        ),
    )


@given(
    name=st.text(st.characters(categories=["Lu", "Ll", "Nd"]), min_size=1, max_size=20),
    number=st.text("0123456789", min_size=1, max_size=12),
)
def test_a_fingerprint_does_not_hang_on_how_it_is_written(name: str, number: str) -> None:
    key = b"k" * 32
    plain = fingerprint(key, Claims(f"{name} Doe", number))
    assert plain == fingerprint(key, Claims(f"doe,  {name}", "-".join(number)))
    assert plain != fingerprint(key, Claims(f"{name} Doe", number + "1"))
