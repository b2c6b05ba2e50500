"""When the client tries again: decided by plain functions, with a clock that the test turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph.client.core import Reply, Request
from heliograph.client.errors import (
    ApiError,
    BadReplyError,
    ClientError,
    OutOfTimeError,
    UnreachableError,
)
from heliograph.client.retry import Outcome, Policy, Send, converse, full_jitter, passing

ASK = Request("POST", "/api/v1/detect", {}, b"picture")
GOOD = Reply(200, {}, b"{}")
GONE = UnreachableError("http://here", "refused")


def refused(status: int, code: str = "overloaded", retry_after: str = "") -> Reply:
    body = f'{{"code": "{code}", "detail": "No."}}'.encode()
    return Reply(status, {"retry-after": retry_after} if retry_after else {}, body)


@dataclass
class Run:
    """Plays a script of outcomes to a conversation and notes what it did."""

    script: Sequence[Outcome]
    timeout: float = 30.0
    retries: int = 3
    each: float = 0.0
    now: float = 1000.0
    pauses: list[float] = field(default_factory=list[float])
    left: list[float] = field(default_factory=list[float])

    def result(self) -> Reply:
        policy = Policy(
            self.timeout, self.retries, jitter=lambda most: most, clock=lambda: self.now
        )
        talk = converse(ASK, policy, "http://here")
        outcome: Outcome = None
        waiting = list(self.script)
        while True:
            try:
                step = talk.send(outcome)
            except StopIteration as done:
                return done.value
            if isinstance(step, Send):
                assert step.request is ASK
                self.left.append(step.left)
                self.now += self.each
                outcome = waiting.pop(0)
            else:
                self.pauses.append(step.seconds)
                self.now += step.seconds
                outcome = None


def test_a_good_reply_needs_no_second_attempt() -> None:
    run = Run([GOOD])
    assert run.result() is GOOD
    assert (run.pauses, run.left) == ([], [30.0])


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_passing_trouble_is_tried_again(status: int) -> None:
    run = Run([refused(status), GOOD])
    assert run.result() is GOOD
    assert run.pauses == [0.25]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 408, 413, 415, 422, 431, 500, 501])
def test_a_refusal_is_final(status: int) -> None:
    run = Run([refused(status, "validation")])
    with pytest.raises(ApiError) as caught:
        run.result()
    assert (caught.value.status, run.pauses) == (status, [])


def test_no_connection_is_tried_again() -> None:
    assert Run([GONE, GONE, GOOD]).result() is GOOD


def test_a_model_that_crashed_on_a_picture_is_not_asked_again() -> None:
    assert not passing(ApiError("model_crashed", 502, "It failed."))
    assert passing(ApiError("http_502", 502, "A proxy's."))


def test_what_is_no_answer_at_all_is_final() -> None:
    for error in (BadReplyError("html"), OutOfTimeError("http://here", 30.0)):
        assert not passing(error)


def test_pauses_double_up_to_the_longest_and_the_last_error_is_raised() -> None:
    run = Run([refused(503)] * 8, retries=7, timeout=600.0)
    with pytest.raises(ApiError, match="overloaded"):
        run.result()
    assert run.pauses == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0]


def test_the_server_says_how_long_to_wait_at_least() -> None:
    run = Run([refused(503, retry_after="3"), GOOD])
    run.result()
    assert run.pauses == [3.25]


def test_a_pause_beyond_the_deadline_is_not_begun() -> None:
    run = Run([refused(503, retry_after="60")])
    with pytest.raises(ApiError) as caught:
        run.result()
    assert (caught.value.retry_after, run.pauses) == (60.0, [])


def test_each_attempt_has_what_is_left_of_the_deadline() -> None:
    run = Run([GONE, GONE, GONE, GOOD], timeout=10.0, each=2.0)
    run.result()
    assert run.left == [10.0, 7.75, 5.25, 2.25]


def test_a_timeout_of_nothing_is_out_of_time_at_once() -> None:
    run = Run([], timeout=0.0)
    with pytest.raises(OutOfTimeError, match="within 0 seconds"):
        run.result()
    assert run.left == []


def test_once_is_one_attempt() -> None:
    assert Policy(retries=3).once().pause(GONE, 0) is None


@given(attempt=st.integers(0, 5000), first=st.floats(0, 10), longest=st.floats(0, 100))
def test_back_off_stays_within_its_bounds(attempt: int, first: float, longest: float) -> None:
    policy = Policy(retries=10_000, first=first, longest=longest)
    bound = policy.bound(attempt)
    assert 0 <= bound <= longest
    assert bound <= policy.bound(attempt + 1)
    pause = policy.pause(GONE, attempt)
    assert pause is not None
    assert 0 <= pause <= bound


@given(asked=st.floats(0, 1000), attempt=st.integers(0, 20))
def test_jitter_only_adds_to_what_the_server_asked(asked: float, attempt: int) -> None:
    policy = Policy(retries=21)
    error: ClientError = ApiError("overloaded", 503, "Full.", retry_after=asked)
    pause = policy.pause(error, attempt)
    assert pause is not None
    assert asked <= pause <= asked + policy.bound(attempt)


def test_jitter_is_spread_over_its_whole_range() -> None:
    drawn = [full_jitter(8.0) for _ in range(2000)]
    assert min(drawn) < 0.2
    assert max(drawn) > 7.8
    assert 3.5 < sum(drawn) / len(drawn) < 4.5
