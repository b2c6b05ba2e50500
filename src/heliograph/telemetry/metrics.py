"""Prometheus metrics of calls; the same numbers as the reply, the log and the usage row.

With several workers, prometheus_client's multiprocess mode keeps the values in files of a folder
named by `PROMETHEUS_MULTIPROC_DIR`, which the supervisor sets before this module loads.
"""

from __future__ import annotations

import os

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from heliograph.core.call import STEPS, Usage
from heliograph.telemetry.statistics import ModelStatistics, Statistics, read, tritons_names

# A time stamp beside every counter doubles the page and nobody reads it.
disable_created_metrics()
_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
MEDIA_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """The metrics of one server process.

    Args:
        histograms: also observe how long each step of a call took, and the sizes of batches.
    """

    def __init__(self, *, histograms: bool = True) -> None:
        self.histograms = histograms
        self.registry = CollectorRegistry()
        self.calls = Counter(
            "heliograph_calls",
            "Admitted calls by model and outcome (ok or an error code).",
            ("model", "version", "outcome"),
            registry=self.registry,
        )
        self.problems = Counter(
            "heliograph_problems",
            "Problems answered over HTTP, by error code.",
            ("code",),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "heliograph_step_seconds",
            "Seconds spent in each step of a call.",
            ("model", "step"),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.batch = Histogram(
            "heliograph_batch_size",
            "Pictures that ran together.",
            ("model",),
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=self.registry,
        )
        self.pixels = Counter(
            "heliograph_pixels", "Pixels of decoded pictures.", ("model",), registry=self.registry
        )
        self.bytes = Counter(
            "heliograph_bytes_in", "Bytes of pictures.", ("model",), registry=self.registry
        )
        self.seats = Gauge(
            "heliograph_seats_taken",
            "Calls in progress.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self.certificate_days = Gauge(
            "heliograph_certificate_days",
            "Days until the certificate ends; absent without TLS.",
            ("source",),
            registry=self.registry,
            multiprocess_mode="mostrecent",
        )
        self.statistics = Statistics(self.registry)
        self._of: dict[tuple[str, str], _OfModel] = {}

    def record(self, usage: Usage) -> None:
        """Count one usage row."""
        key = (usage.model, usage.version)
        of = self._of.get(key)
        if of is None:
            of = self._of[key] = _OfModel(self, *key)
        of.record(usage)
        self.statistics.record(usage)

    def flush(self) -> None:
        """Make what was recorded since the last time visible in the statistics."""
        self.statistics.flush()

    def read_statistics(self) -> dict[tuple[str, str], ModelStatistics]:
        """Inference statistics of all workers, by model and version."""
        return read(self._registry().collect)

    def render(self) -> bytes:
        """The text exposition of all workers' metrics."""
        return tritons_names(generate_latest(self._registry()))

    def _registry(self) -> CollectorRegistry:
        if _MULTIPROCESS not in os.environ:
            return self.registry
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
        return registry


class _OfModel:
    """The children of one model: finding a child by its labels costs as much as counting."""

    def __init__(self, metrics: Metrics, model: str, version: str) -> None:
        self._metrics = metrics
        self._model = model
        self._version = version
        self._bytes = metrics.bytes.labels(model)
        self._pixels = metrics.pixels.labels(model)
        self._batch: Histogram | None = None
        self._calls: dict[str, Counter] = {}
        self._steps: dict[str, Histogram] = {}

    def record(self, usage: Usage) -> None:
        calls = self._calls.get(usage.outcome)
        if calls is None:
            calls = self._metrics.calls.labels(self._model, self._version, usage.outcome)
            self._calls[usage.outcome] = calls
        calls.inc()
        self._bytes.inc(usage.bytes_in)
        self._pixels.inc(usage.pixels)
        if self._metrics.histograms:
            self._observe(usage)

    def _observe(self, usage: Usage) -> None:
        if usage.batch:
            if self._batch is None:
                self._batch = self._metrics.batch.labels(self._model)
            self._batch.observe(usage.batch)
        for step in STEPS:
            ms = usage.timings.get(step)
            if ms is None:
                continue
            seconds = self._steps.get(step)
            if seconds is None:
                seconds = self._steps[step] = self._metrics.seconds.labels(self._model, step)
            seconds.observe(ms / 1000.0)
