from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph.core.call import Caller, Usage
from heliograph.core.errors import TABLE
from heliograph.core.ids import new_id
from heliograph.telemetry.meter import TelemetryMeter
from heliograph.telemetry.metrics import Metrics
from heliograph.telemetry.statistics import Duration, ModelStatistics

STEPS = {"queue": 1.0, "decode": 2.0, "batch": 3.0, "run": 4.0, "finish": 5.0, "total": 15.0}


def usage(outcome: str = "ok", *, rows: int = 1, batch: int = 1, model: str = "m") -> Usage:
    return Usage(
        new_id("pred"),
        Caller("a"),
        model,
        "1",
        "d",
        "tensors",
        outcome,
        10,
        0,
        rows,
        batch,
        dict(STEPS),
    )


def counted(*rows: Usage) -> ModelStatistics:
    metrics = Metrics()
    for row in rows:
        metrics.record(row)
    metrics.flush()
    return metrics.read_statistics()["m", "1"]


def test_a_call_is_counted_in_its_steps() -> None:
    one = counted(usage())
    assert (one.inference_count, one.execution_count) == (1, 1)
    assert one.success == Duration(1, 15_000_000)
    assert one.queue == Duration(1, 4_000_000), "waiting for a hand and within the batch"
    assert one.compute_input == Duration(1, 2_000_000)
    assert one.compute_infer == Duration(1, 4_000_000)
    assert one.compute_output == Duration(1, 5_000_000)
    assert one.fail == one.cancel == Duration()
    assert one.last_inference > 1_700_000_000_000


def test_calls_that_ran_together_are_one_execution() -> None:
    one = counted(*[usage(rows=1, batch=4) for _ in range(4)], usage(rows=3, batch=3))
    assert (one.inference_count, one.execution_count, one.success.count) == (7, 2, 5)
    assert [each.batch_size for each in one.batches] == [3, 4]
    assert [each.compute_infer for each in one.batches] == [Duration(1, 4_000_000)] * 2


def test_failures_are_no_inferences() -> None:
    one = counted(usage("request_timeout"), usage("model_crashed"), usage("bad_shape"))
    assert (one.inference_count, one.execution_count, one.success.count) == (0, 0, 0)
    assert one.fail == Duration(3, 45_000_000)
    assert one.cancel == Duration(1, 15_000_000)


@given(st.lists(st.tuples(st.sampled_from(["ok", *TABLE]), st.integers(1, 4)), max_size=30))
def test_every_call_is_counted_once(calls: list[tuple[str, int]]) -> None:
    metrics = Metrics()
    for at, (outcome, rows) in enumerate(calls):
        metrics.record(usage(str(outcome), rows=rows, batch=rows))
        if at % 3 == 0:
            metrics.flush()
    metrics.flush()
    found = metrics.read_statistics().get(("m", "1"), ModelStatistics("m", "1"))
    good = [rows for outcome, rows in calls if outcome == "ok"]
    assert found.success.count == found.execution_count == len(good)
    assert found.inference_count == sum(good)
    assert found.fail.count == len(calls) - len(good)


def test_models_do_not_mix_and_metrics_say_the_same() -> None:
    meter = TelemetryMeter(Metrics())
    for model, count in (("m", 2), ("n", 3)):
        for _ in range(count):
            meter.record(usage(model=model))
    meter.record(usage("overloaded"))
    found = meter.statistics()
    assert [found[name, "1"].success.count for name in ("m", "n")] == [2, 3]
    text = meter.render().decode()
    meter.close()
    for line in (
        'nv_inference_request_success{model="m",version="1"} 2.0',
        'nv_inference_count{model="n",version="1"} 3.0',
        'nv_inference_request_failure{model="m",reason="REJECTED",version="1"} 1.0',
        'nv_inference_compute_infer_duration_us{model="n",version="1"} 12000.0',
    ):
        assert line in text.splitlines()
    assert not re.search(r"^nv_\w+_total\b", text, re.MULTILINE)
    assert re.search(r"^heliograph_calls_total", text, re.MULTILINE)


@pytest.mark.parametrize("code", [str(code) for code in TABLE])
def test_every_code_has_a_reason(code: str) -> None:
    assert counted(usage(code)).fail.count == 1
