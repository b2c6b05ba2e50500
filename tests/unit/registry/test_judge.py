"""The judge: which gate closes, on what evidence, and that a caller's fault closes none."""

from __future__ import annotations

from typing import Any

import pytest

from heliograph.core.call import Caller, Comparison, Usage
from heliograph.registry.judge import Judge
from heliograph.registry.releases import Gates, Release, Shadow, incumbent, take_back

SPLIT = {"1": 90.0, "2": 10.0}


def seen(judge: Judge, version: str, calls: int, outcome: str = "ok", run_ms: float = 10.0) -> None:
    for _ in range(calls):
        timings = {"run": run_ms} if outcome == "ok" else {}
        judge.record(
            Usage("id", Caller("admin"), "m", version, "d", "tensors", outcome, 1, 1, 1, 1, timings)
        )


def compared(judge: Judge, calls: int, *, agrees: bool, outcome: str = "ok") -> None:
    for _ in range(calls):
        judge.compare(Comparison("m", "1", "2", agrees, outcome, 1.0, 1.0))


def verdict(judge: Judge, **release: Any) -> str:
    made = Release(**release)
    return judge.verdict("m", made, incumbent(made, ["1", "2"]))


def test_a_version_that_fails_too_often_goes_and_says_why() -> None:
    judge = Judge()
    seen(judge, "1", 200)
    seen(judge, "2", 45)
    seen(judge, "2", 4, "model_crashed")
    gates = Gates(errors=0.05, calls=50)
    assert verdict(judge, split=SPLIT, gates=gates) == "", "49 calls are not enough to judge"
    seen(judge, "2", 1)
    assert "version 2 was taken back: 8.0% of its calls failed" in verdict(
        judge, split=SPLIT, gates=gates
    )
    assert verdict(judge, split=SPLIT) == "", "without gates nobody judges"
    judge.forget("m")
    assert verdict(judge, split=SPLIT, gates=gates) == ""


def test_a_callers_own_faults_close_no_gate() -> None:
    judge = Judge()
    seen(judge, "2", 100, "image_corrupt")
    assert verdict(judge, split=SPLIT, gates=Gates(errors=0.01, calls=10)) == ""


@pytest.mark.parametrize(("run_ms", "closes"), [(19.0, False), (21.0, True)])
def test_a_version_that_is_too_slow_goes(run_ms: float, closes: bool) -> None:
    judge = Judge()
    seen(judge, "1", 100, run_ms=10.0)
    seen(judge, "2", 100, run_ms=run_ms)
    said = verdict(judge, split=SPLIT, gates=Gates(slower=2.0))
    assert bool(said) == closes
    assert not closes or "21.0 ms" in said


def test_a_shadow_that_disagrees_is_ended_and_skipped_calls_do_not_count() -> None:
    judge = Judge()
    shadow = Shadow(version="2")
    gates = Gates(disagree=0.1, calls=20)
    compared(judge, 100, agrees=True, outcome="skipped")
    compared(judge, 15, agrees=True)
    compared(judge, 4, agrees=False)
    assert verdict(judge, shadow=shadow, gates=gates) == ""
    compared(judge, 1, agrees=False, outcome="model_crashed")
    said = verdict(judge, shadow=shadow, gates=gates)
    assert "shadow 2 was ended: it disagreed in 25.0% of 20 calls" in said


def test_taking_back_leaves_the_incumbent_alone_in_service() -> None:
    release = Release(split=SPLIT, aliases={"canary": "2"}, shadow=Shadow(version="2"))
    after = take_back(release, ["1", "2"], "why")
    assert (after.aliases, after.split, after.shadow) == ({"stable": "1"}, {}, None)
    assert after.reason == "why"
    assert incumbent(Release(), ["1", "2", "10"]) == "10"
