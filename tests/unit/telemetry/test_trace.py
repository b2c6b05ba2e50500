from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from heliograph.core.call import Caller, Usage
from heliograph.core.ids import new_id
from heliograph.telemetry.trace import Tracer, TraceRule

ON = TraceRule(("TIMESTAMPS",), rate=1)


def usage(model: str = "m") -> Usage:
    timings = {"queue": 1.0, "run": 2.5, "total": 3.5}
    return Usage(
        new_id("pred"), Caller("a"), model, "1", "d", "tensors", "ok", 10, 0, 1, 1, timings
    )


def lines(tracer: Tracer) -> list[dict[str, Any]]:
    if not tracer.file.exists():
        return []
    return [json.loads(line) for line in tracer.file.read_text().splitlines()]


def test_nothing_is_traced_unless_asked(tmp_path: Path) -> None:
    tracer = Tracer(tmp_path / "traces" / "t.jsonl")
    tracer.record(usage())
    assert not tracer.file.parent.exists()


def test_a_trace_has_the_moments_of_its_steps(tmp_path: Path) -> None:
    tracer = Tracer(tmp_path / "t.jsonl")
    tracer.set_rule("", ON)
    tracer.record(usage())
    (one,) = lines(tracer)
    began = one["timestamps"][0]["ns"]
    assert [(each["name"], each["ns"] - began) for each in one["timestamps"]] == [
        ("REQUEST_START", 0),
        ("QUEUE_START", 0),
        ("COMPUTE_START", 1_000_000),
        ("COMPUTE_OUTPUT_START", 3_500_000),
        ("REQUEST_END", 3_500_000),
    ]
    assert (one["model_name"], one["model_version"], one["outcome"]) == ("m", "1", "ok")


def test_one_of_so_many_and_so_many_in_all(tmp_path: Path) -> None:
    tracer = Tracer(tmp_path / "t.jsonl")
    tracer.set_rule("", TraceRule(("TIMESTAMPS",), rate=3, count=2))
    for _ in range(20):
        tracer.record(usage())
    assert len(lines(tracer)) == 2
    assert tracer.rule().count == 0


def test_a_model_may_have_its_own_rule(tmp_path: Path) -> None:
    tracer = Tracer(tmp_path / "t.jsonl")
    tracer.set_rule("n", ON)
    for name in ("m", "n", "m"):
        tracer.record(usage(name))
    assert [one["model_name"] for one in lines(tracer)] == ["n"]
    tracer.set_rule("n", None)
    tracer.record(usage("n"))
    assert len(lines(tracer)) == 1
    assert tracer.rule("n") == tracer.rule("")
