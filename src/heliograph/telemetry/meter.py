"""The meter of a server: each usage row goes to the metrics and, as one line, to the log.

A call only leaves its row here; counting and writing happen a few times a second, many rows at a
time, on a thread of their own. Done within the call they cost it several times as much, since the
model has emptied the processor's caches of this code each time.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

from heliograph.core.call import Usage
from heliograph.telemetry.metrics import Metrics
from heliograph.telemetry.statistics import ModelStatistics
from heliograph.telemetry.trace import Tracer

log = logging.getLogger("heliograph.call")
EVERY_SECONDS = 0.25


class TelemetryMeter:
    """Counts and logs usage; see `serving.values.Meter`.

    Args:
        metrics: where it is counted.
        tracer: writes single calls down when it is asked to.
    """

    def __init__(self, metrics: Metrics, tracer: Tracer | None = None) -> None:
        self._metrics = metrics
        self._tracer = tracer
        self._listeners: list[Callable[[Usage], None]] = []
        self._waiting: deque[Usage] = deque()
        self._turn = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._work, name="telemetry", daemon=True)
        self._thread.start()

    def record(self, usage: Usage) -> None:
        """Take one usage row."""
        self._waiting.append(usage)

    def listen(self, listener: Callable[[Usage], None]) -> None:
        """Tell every row to this one, too, off the call's way."""
        self._listeners.append(listener)

    def problem(self, code: str) -> None:
        """Count an error that was answered."""
        self._metrics.problems.labels(code).inc()

    def render(self) -> bytes:
        """The metrics as Prometheus text, every row taken so far counted."""
        self.flush()
        return self._metrics.render()

    def statistics(self) -> dict[tuple[str, str], ModelStatistics]:
        """Inference statistics by model and version, every row taken so far counted."""
        self.flush()
        return self._metrics.read_statistics()

    def flush(self) -> None:
        """Count and log what waits."""
        with self._turn:
            if not self._waiting:
                return
            while self._waiting:
                self._tell(self._waiting.popleft())
            self._metrics.flush()

    def close(self) -> None:
        """Count and log the last rows."""
        self._closed.set()
        self._thread.join()
        self.flush()

    def _work(self) -> None:
        while not self._closed.wait(EVERY_SECONDS):
            self.flush()

    def _tell(self, usage: Usage) -> None:
        self._metrics.record(usage)
        if self._tracer is not None:
            self._tracer.record(usage)
        for listen in self._listeners:
            listen(usage)
        if log.isEnabledFor(logging.INFO):
            log.info(
                "%s %s %s@%s %s %.2f MP %s",
                usage.id,
                usage.outcome,
                usage.model,
                usage.version,
                usage.caller.name,
                usage.pixels / 1e6,
                " ".join([f"{step}={ms:.2f}" for step, ms in usage.timings.items()]),
                extra={"fields": {"call": usage}},
            )
