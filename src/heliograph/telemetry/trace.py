"""Traces of single calls, in a file of the data folder, in the form that Triton's tools read.

Fed from the usage rows on the meter's thread: a call pays nothing for it. Off until a client of the
Open Inference Protocol sets a level.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import msgspec

from heliograph.core.call import STEPS, Usage

LEVELS = ("OFF", "TIMESTAMPS")
_MOST_BYTES = 256 << 20
_ENDS = {
    "queue": "COMPUTE_START",
    "decode": "COMPUTE_INPUT_END",
    "batch": "BATCH_END",
    "run": "COMPUTE_OUTPUT_START",
    "finish": "COMPUTE_END",
}
"""What Triton calls the moment in which a step ends."""


@dataclass(frozen=True, slots=True)
class TraceRule:
    """Which calls are traced.

    Attributes:
        levels: `OFF`, or `TIMESTAMPS` for the moments of each step.
        rate: one call of so many.
        count: so many more; -1 for no end.
    """

    levels: tuple[str, ...] = ("OFF",)
    rate: int = 1000
    count: int = -1

    def having(self, **changes: Any) -> Self:
        """The same rule but for `changes`."""
        return replace(self, **changes)

    @property
    def on(self) -> bool:
        """Whether anything is traced."""
        return "TIMESTAMPS" in self.levels and self.count != 0


class Tracer:
    """Writes the traces of one process.

    Args:
        file: one JSON object a line is added to it; it stops growing at 256 MiB.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._turn = threading.Lock()
        self._rules: dict[str, TraceRule] = {"": TraceRule()}
        self._seen: dict[str, int] = {}

    def rule(self, model: str = "") -> TraceRule:
        """The rule of a model: its own, or that of all."""
        return self._rules.get(model, self._rules[""])

    def set_rule(self, model: str, rule: TraceRule | None) -> None:
        """Set the rule of a model, or of all for an empty name; None takes its own away."""
        with self._turn:
            if rule is None:
                self._rules.pop(model, None)
            else:
                self._rules[model] = rule

    def record(self, usage: Usage) -> None:
        """Write a call down if it is its turn."""
        if not any(rule.on for rule in self._rules.values()):
            return
        with self._turn:
            name = usage.model if usage.model in self._rules else ""
            rule = self._rules[name]
            if not rule.on:
                return
            seen = self._seen[name] = self._seen.get(name, 0) + 1
            if seen % rule.rate:
                return
            if rule.count > 0:
                self._rules[name] = rule.having(count=rule.count - 1)
        self._write(usage)

    def _write(self, usage: Usage) -> None:
        began = int(usage.id.rpartition("_")[2][:12], 16) * 1_000_000
        moments = [{"name": name, "ns": began} for name in ("REQUEST_START", "QUEUE_START")]
        at = began
        for step in STEPS:
            ms = usage.timings.get(step)
            if ms is not None:
                at += round(ms * 1e6)
                moments.append({"name": _ENDS[step], "ns": at})
        moments.append({"name": "REQUEST_END", "ns": at})
        line = msgspec.json.encode(
            {
                "id": usage.id,
                "model_name": usage.model,
                "model_version": usage.version,
                "outcome": usage.outcome,
                "timestamps": moments,
            }
        )
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("ab") as file:
            if file.tell() < _MOST_BYTES:
                file.write(line + b"\n")
