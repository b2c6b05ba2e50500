"""Late usage: what a closed month would have cost more, had everything come in time.

The month is rated twice from the raw rows, as it was closed and with what came after; the lines'
differences are the late lines of the invoice that takes them. So late usage costs exactly what it
would have cost: free amounts, tiers and the plan of its own month hold for it, not those of the
month that takes it. A difference can be negative, where a volume price was reached.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from heliograph.billing.invoices.values import Line, Month, Rated


def late_lines(month: Month, now: Rated, before: Rated) -> list[Line]:
    """The lines that a later invoice takes.

    Args:
        month: that was late.
        now: it, rated with everything that has come.
        before: it, rated as invoices have it already.
    """
    old = {line.key: line for line in before.lines}
    lines = [line.less(old.pop(line.key, None)) for line in now.lines]
    lines += [_nothing(line).less(line) for line in old.values()]
    return [
        replace(line, late=str(month), share=None) for line in lines if line.amount or line.quantity
    ]


def late_usage(month: Month, now: Rated, before: Rated) -> list[Mapping[str, Any]]:
    """The sums that a later invoice takes; arguments as of `late_lines`."""
    old = {(sums["model"], sums["device"]): sums for sums in before.usage}
    found: list[Mapping[str, Any]] = []
    for sums in now.usage:
        had = old.get((sums["model"], sums["device"]), {})
        more = {
            name: value - had.get(name, 0) if isinstance(value, int) else value
            for name, value in sums.items()
        }
        if any(isinstance(value, int) and value for value in more.values()):
            found.append({**more, "late": str(month)})
    return found


def _nothing(line: Line) -> Line:
    return replace(line, amount=0, quantity=0, free=0, parts=())
