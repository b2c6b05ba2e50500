"""Inference statistics of each model version: the `nv_inference_*` metrics, and reading them back.

Fed from the usage rows, once each. The numbers live in Prometheus counters only, so that `/metrics`
and the statistics that the Open Inference Protocol tells never differ, and so that with several
workers both are of all of them. A row only adds to plain numbers; a flush touches the counters.

The steps of a call under their names there: queue = waiting for a hand and in the batch,
compute_input = decode, compute_infer = run, compute_output = finish.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.metrics_core import Metric

from heliograph.core.call import Usage
from heliograph.core.errors import Code

STEPS = ("request", "queue", "compute_input", "compute_infer", "compute_output")
_BATCH_STEPS = STEPS[2:]
_TRITONS = re.compile(rb"\b(nv_[a-z_]+)_total\b")
_REASONS = {
    Code.OVERLOADED: "REJECTED",
    Code.DRAINING: "REJECTED",
    Code.REQUEST_TIMEOUT: "CANCELED",
    Code.MODEL_CRASHED: "BACKEND",
    Code.INTERNAL: "BACKEND",
}
Collect = Callable[[], Iterable[Metric]]
_Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Duration:
    """So many times, together so many nanoseconds."""

    count: int = 0
    ns: int = 0


@dataclass(frozen=True, slots=True)
class BatchStatistics:
    """The runs of one batch size."""

    batch_size: int
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration


@dataclass(frozen=True, slots=True)
class ModelStatistics:
    """What one model version has done since the server started.

    Attributes:
        name: the model's; `version` likewise.
        last_inference: milliseconds since 1970; 0 for never.
        inference_count: rows answered.
        execution_count: runs of the model.
        success: calls answered, and the time of all their steps.
        fail: calls that failed after they were let in.
        cancel: those of them whose caller had gone.
        queue: waiting, of the calls answered; `compute_…` the steps.
        batches: by size.
    """

    name: str
    version: str
    last_inference: int = 0
    inference_count: int = 0
    execution_count: int = 0
    success: Duration = Duration()
    fail: Duration = Duration()
    cancel: Duration = Duration()
    queue: Duration = Duration()
    compute_input: Duration = Duration()
    compute_infer: Duration = Duration()
    compute_output: Duration = Duration()
    batches: tuple[BatchStatistics, ...] = ()


@dataclass(slots=True)
class _Sum:
    """What came since the last flush, of one model version."""

    success: int = 0
    rows: int = 0
    runs: float = 0.0
    last: int = 0
    us: dict[str, float] = field(default_factory=dict[str, float])
    failures: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    batches: dict[int, list[float]] = field(default_factory=dict[int, list[float]])

    def add(self, usage: Usage) -> None:
        """Add one row."""
        ms = usage.timings
        total = ms.get("total", 0.0) * 1000
        if usage.outcome != "ok":
            reason = _REASONS.get(Code(usage.outcome), "OTHER")
            failed = self.failures.setdefault(reason, [0.0, 0.0])
            failed[0] += 1
            failed[1] += total
            return
        rows = usage.rows or 1
        batch = max(usage.batch, rows)
        steps = (
            total,
            (ms.get("queue", 0.0) + ms.get("batch", 0.0)) * 1000,
            ms.get("decode", 0.0) * 1000,
            ms.get("run", 0.0) * 1000,
            ms.get("finish", 0.0) * 1000,
        )
        self.success += 1
        self.rows += rows
        # Of a run that several calls shared, each counts its part.
        part = rows / batch
        self.runs += part
        self.last = max(self.last, int(usage.id.rpartition("_")[2][:12], 16))
        sums = self.batches.setdefault(batch, [0.0, 0.0, 0.0, 0.0])
        sums[0] += part
        for at, (step, us) in enumerate(zip(STEPS, steps, strict=True)):
            self.us[step] = self.us.get(step, 0.0) + us
            if at > 1:
                sums[at - 1] += us * part


class Statistics:
    """Counts usage; see the module's docstring.

    Args:
        registry: where the counters are told.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *more: str) -> Counter:
            return Counter(name, text, ("model", "version", *more), registry=registry)

        self._success = counter("nv_inference_request_success", "Calls answered.")
        self._failure = counter("nv_inference_request_failure", "Calls failed.", "reason")
        self._failure_us = counter(
            "heliograph_failed_us", "Microseconds of failed calls.", "reason"
        )
        self._rows = counter("nv_inference_count", "Rows answered.")
        self._runs = counter("nv_inference_exec_count", "Runs of the model.")
        self._us = {
            step: counter(f"nv_inference_{step}_duration_us", f"Microseconds of {step}.")
            for step in STEPS
        }
        self._batch_runs = counter("heliograph_batch_runs", "Runs by rows in them.", "rows")
        self._batch_us = {
            step: counter(f"heliograph_batch_{step}_us", f"Microseconds of {step}.", "rows")
            for step in _BATCH_STEPS
        }
        self._last = Gauge(
            "heliograph_last_inference_ms",
            "When a call was answered last, in milliseconds since 1970.",
            ("model", "version"),
            registry=registry,
            multiprocess_mode="max",
        )
        self._waiting: dict[_Key, _Sum] = {}

    def record(self, usage: Usage) -> None:
        """Take one usage row; call it from one thread at a time, as `flush`."""
        key = (usage.model, usage.version)
        waiting = self._waiting.get(key)
        if waiting is None:
            waiting = self._waiting[key] = _Sum()
        waiting.add(usage)

    def flush(self) -> None:
        """Add what was recorded to the counters."""
        waiting, self._waiting = self._waiting, {}
        for key, one in waiting.items():
            for reason, (count, us) in one.failures.items():
                self._failure.labels(*key, reason).inc(count)
                self._failure_us.labels(*key, reason).inc(us)
            if not one.success:
                continue
            self._success.labels(*key).inc(one.success)
            self._rows.labels(*key).inc(one.rows)
            self._runs.labels(*key).inc(one.runs)
            self._last.labels(*key).set(one.last)
            for step, us in one.us.items():
                self._us[step].labels(*key).inc(us)
            for size, (runs, *steps) in one.batches.items():
                self._batch_runs.labels(*key, str(size)).inc(runs)
                for step, us in zip(_BATCH_STEPS, steps, strict=True):
                    self._batch_us[step].labels(*key, str(size)).inc(us)


def tritons_names(text: bytes) -> bytes:
    """Rendered metrics with Triton's counters under their own names, which end in no `_total`."""
    return _TRITONS.sub(rb"\1", text)


def read(collect: Collect) -> dict[_Key, ModelStatistics]:
    """The statistics of every model version, from the samples of a registry.

    Args:
        collect: the registry's, or that of all workers.
    """
    found: dict[_Key, dict[str, float]] = {}
    for family in collect():
        if not family.name.startswith(("nv_inference_", "heliograph_")):
            continue
        for sample in family.samples:
            labels = sample.labels
            if "version" not in labels:
                continue
            name = sample.name.removesuffix("_total")
            for more in ("reason", "rows"):
                if more in labels:
                    name += f":{labels[more]}"
            of = found.setdefault((labels["model"], labels["version"]), {})
            of[name] = of.get(name, 0.0) + sample.value
    return {key: _statistics(key, values) for key, values in found.items()}


def _statistics(key: _Key, values: dict[str, float]) -> ModelStatistics:
    def whole(name: str) -> int:
        return round(values.get(name, 0.0))

    def took(count: int, name: str) -> Duration:
        return Duration(count, round(values.get(name, 0.0) * 1000))

    def failed(reason: str) -> Duration:
        return took(
            whole(f"nv_inference_request_failure:{reason}"), f"heliograph_failed_us:{reason}"
        )

    success = whole("nv_inference_request_success")
    sizes = sorted(int(name.partition(":")[2]) for name in values if "batch_runs:" in name)
    failures = [failed(reason) for reason in sorted({*_REASONS.values(), "OTHER"})]
    return ModelStatistics(
        *key,
        last_inference=whole("heliograph_last_inference_ms"),
        inference_count=whole("nv_inference_count"),
        execution_count=whole("nv_inference_exec_count"),
        success=took(success, "nv_inference_request_duration_us"),
        fail=Duration(sum(one.count for one in failures), sum(one.ns for one in failures)),
        cancel=failed("CANCELED"),
        queue=took(success, "nv_inference_queue_duration_us"),
        compute_input=took(success, "nv_inference_compute_input_duration_us"),
        compute_infer=took(success, "nv_inference_compute_infer_duration_us"),
        compute_output=took(success, "nv_inference_compute_output_duration_us"),
        batches=tuple(
            BatchStatistics(
                size,
                *(
                    took(
                        whole(f"heliograph_batch_runs:{size}"), f"heliograph_batch_{step}_us:{size}"
                    )
                    for step in _BATCH_STEPS
                ),
            )
            for size in sizes
        ),
    )
