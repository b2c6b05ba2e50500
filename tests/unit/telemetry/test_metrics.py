"""Metrics and the meter: the usage row's own numbers."""

from __future__ import annotations

import logging
import os
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from heliograph.core.call import STEPS, Caller, Usage
from heliograph.telemetry.meter import TelemetryMeter
from heliograph.telemetry.metrics import Metrics


def usage(outcome: str = "ok", **changes: Any) -> Usage:
    row: dict[str, Any] = {
        "id": "pred_1",
        "caller": Caller("admin"),
        "model": "colour",
        "version": "1",
        "digest": "d",
        "task": "classification",
        "outcome": outcome,
        "bytes_in": 1000,
        "pixels": 384,
        "rows": 1,
        "batch": 1,
        "timings": {"queue": 1.0, "decode": 20.0, "batch": 0.5, "run": 300.0, "finish": 0.1}
        | {"total": 321.6},
    }
    return Usage(**row | changes)


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (one.name, tuple(sorted(one.labels.items()))): one.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for one in family.samples
    }


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)


def test_a_usage_row_is_counted_with_its_own_numbers() -> None:
    metrics = Metrics()
    metrics.record(usage())
    metrics.record(usage(batch=4))
    found = samples(metrics)
    labels = (("model", "colour"), ("outcome", "ok"), ("version", "1"))
    assert found["heliograph_calls_total", labels] == 2
    assert found["heliograph_pixels_total", (("model", "colour"),)] == 768
    assert found["heliograph_bytes_in_total", (("model", "colour"),)] == 2000
    assert found["heliograph_batch_size_sum", (("model", "colour"),)] == 5
    for step in STEPS:
        key = (("model", "colour"), ("step", step))
        spent = usage().timings[step] / 1000 * 2
        assert found["heliograph_step_seconds_sum", key] == pytest.approx(spent)
        assert found["heliograph_step_seconds_count", key] == 2


def test_a_call_that_was_never_run_has_no_steps_it_did_not_take() -> None:
    metrics = Metrics()
    metrics.record(usage("request_timeout", batch=0, pixels=0, timings={"queue": 1, "total": 1}))
    names = {(name, dict(labels).get("step")) for name, labels in samples(metrics)}
    assert ("heliograph_step_seconds_count", "queue") in names
    assert ("heliograph_step_seconds_count", "decode") not in names
    assert not any(name == "heliograph_batch_size_count" for name, _ in names)


def test_the_meter_logs_the_row_it_counts(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics()
    meter = TelemetryMeter(metrics)
    with caplog.at_level(logging.INFO, "heliograph.call"):
        meter.record(usage())
        meter.flush()
    (record,) = caplog.records
    fields: Any = record.__dict__["fields"]
    assert fields["call"] == usage()
    assert "pred_1 ok colour@1 admin" in record.getMessage()
    with caplog.at_level(logging.WARNING, "heliograph.call"):
        meter.record(usage())
        meter.flush()
    assert len(caplog.records) == 1
    assert sum(v for (name, _), v in samples(metrics).items() if name.endswith("calls_total")) == 2


def test_the_page_is_prometheus_text_without_clock_noise() -> None:
    metrics = Metrics()
    metrics.record(usage())
    assert not any(name.endswith("_created") for name, _ in samples(metrics))
    assert os.environ.get("PROMETHEUS_MULTIPROC_DIR") is None
