"""When to try again, and how long to wait: a conversation as a generator that does no I/O.

`converse` asks for two things, `Send` and `Pause`; the sync and the async client do them, each in
its own way. It owns the clock of the call: its deadline holds over all attempts and pauses.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import TypeAlias

from heliograph.client.core import Reply, Request, refusal
from heliograph.client.errors import ApiError, ClientError, OutOfTimeError, UnreachableError

_PASSING = {429, 502, 503, 504}
# Sent again, the same picture would crash the same model again.
_LASTING = {"model_crashed"}


def full_jitter(most: float) -> float:
    """Seconds from 0 to `most`, each as likely: clients that failed together do not return so.

    Source: Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    return random.uniform(0.0, most)  # noqa: S311 - spreads load, guards nothing


@dataclass(frozen=True, slots=True)
class Policy:
    """How patient a call is.

    Attributes:
        timeout: seconds for the whole call, all attempts and pauses included.
        retries: most attempts after the first.
        first: upper bound of the first pause, in seconds; each later bound is twice the one before.
        longest: where the bounds stop growing, in seconds.
        jitter: picks a pause from 0 to its bound.
        clock: seconds, never running backwards.
    """

    timeout: float = 30.0
    retries: int = 3
    first: float = 0.25
    longest: float = 8.0
    jitter: Callable[[float], float] = full_jitter
    clock: Callable[[], float] = time.monotonic

    def once(self) -> Policy:
        """The same without retries."""
        return replace(self, retries=0)

    def bound(self, attempt: int) -> float:
        """The longest pause after attempt 0, 1, 2 …, where the server names none."""
        # The exponent is bounded too: 2.0 ** 1024 would overflow.
        return min(self.longest, self.first * 2.0 ** min(attempt, 64))

    def pause(self, error: ClientError, attempt: int) -> float | None:
        """Seconds to wait before the next attempt; None to give up.

        What the server asked for is the least; the jitter comes on top, so that those who were
        refused in one moment do not come back in one moment.
        """
        if attempt >= self.retries or not passing(error):
            return None
        asked = error.retry_after if isinstance(error, ApiError) else None
        return (asked or 0.0) + self.jitter(self.bound(attempt))


def passing(error: ClientError) -> bool:
    """Whether the same call may succeed a little later."""
    if isinstance(error, ApiError):
        return error.status in _PASSING and error.code not in _LASTING
    return isinstance(error, UnreachableError)


@dataclass(frozen=True, slots=True)
class Send:
    """Do: one attempt; hand back its Reply, or the ClientError that stood for one.

    Attributes:
        request: what to send.
        left: seconds until the call's deadline.
    """

    request: Request
    left: float


@dataclass(frozen=True, slots=True)
class Pause:
    """Do: wait so many seconds; hand back None."""

    seconds: float


Outcome: TypeAlias = Reply | ClientError | None
Conversation: TypeAlias = Generator[Send | Pause, Outcome, Reply]


def converse(request: Request, policy: Policy, address: str) -> Conversation:
    """One call: attempts and pauses until a good reply.

    Raises:
        ClientError: the last attempt's; at once if it is not `passing`, if no retry is left, or if
            the pause would end after the deadline.
    """
    ends = policy.clock() + policy.timeout
    attempt = 0
    while True:
        left = ends - policy.clock()
        if left <= 0:
            raise OutOfTimeError(address, policy.timeout)
        outcome = yield Send(request, left)
        error = refusal(outcome) if isinstance(outcome, Reply) else outcome
        if isinstance(outcome, Reply) and error is None:
            return outcome
        if error is None:
            raise AssertionError("a Send was answered with nothing; this is a bug")
        pause = policy.pause(error, attempt)
        if pause is None or policy.clock() + pause >= ends:
            raise error
        yield Pause(pause)
        attempt += 1
