"""The meter of a server: each usage row goes to the metrics and, as one line, to the log."""

from __future__ import annotations

import logging

import msgspec

from heliograph.core.call import Usage
from heliograph.telemetry.metrics import Metrics

log = logging.getLogger("heliograph.call")


class TelemetryMeter:
    """Counts and logs usage; see `serving.values.Meter`."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def record(self, usage: Usage) -> None:
        """Take one usage row."""
        self._metrics.record(usage)
        if log.isEnabledFor(logging.INFO):
            log.info(
                "%s %s %s@%s %s %.2f MP %s",
                usage.id,
                usage.outcome,
                usage.model,
                usage.version,
                usage.caller,
                usage.pixels / 1e6,
                " ".join(f"{step}={ms:.2f}" for step, ms in usage.timings.items()),
                extra={"fields": {"call": msgspec.to_builtins(usage)}},
            )
