"""What a client reckons that it owes: its own log by the price sheet, in arithmetic of its own.

Nothing of the server's is used here: a mistake in its rating cannot be repeated. The log is that of
`support.ledgerload`; the sheet is the one below, written out a second time as whole numbers.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

SHEET = """
currency = "EUR"
prefix = "STORY"

[seller]
name = "Heliograph of the story"
country = "DE"

[[rates]]
meter = "calls"
free = 100
tiers = [{up_to = 500, price = "0.01"}, {price = "0.0073"}]

[[rates]]
meter = "calls"
model = "colour"
price = "0.0125"

[[rates]]
meter = "images"
price = "0.003"

[[rates]]
meter = "megapixels"
price = "0.7777"

[[rates]]
meter = "gb_out"
price = "990.5"

[[taxes]]
name = "VAT"
rate = 1900
"""
_NANO = 10**9


class Answer(NamedTuple):
    """One answer that the client counts: by its idempotency key, or by itself if it had none."""

    model: str
    images: int
    pixels: int
    bytes: int
    cost: str


def answers(log: Path) -> list[Answer]:
    """Everything that was answered, each once however often it was heard."""
    asked: dict[str, dict[str, Any]] = {}
    found: dict[str, Answer] = {}
    for line in map(json.loads, log.read_text("utf-8").splitlines()):
        if line["what"] == "ask":
            asked[line["call"]] = line
        elif line["what"] == "answer" and line["ok"]:
            ask = asked[line["call"]]
            one = Answer(ask["model"], ask["images"], ask["pixels"], line["bytes"], line["cost"])
            name = ask["key"] or line["call"]
            if name not in found or not line["again"]:
                found[name] = one
    return list(found.values())


def told(one: Answer) -> str:
    """The list price that one answer must tell: traffic and free amounts are the invoice's."""
    call = 12_500_000 if one.model == "colour" else 10_000_000
    nanos = Fraction(call + 3_000_000 * one.images) + Fraction(777_700_000 * one.pixels, 10**6)
    whole, rest = divmod(round(nanos / 1000), 10**6)
    return f"{whole}.{rest:06} EUR"


def owed(found: Iterable[Answer]) -> dict[tuple[str, str], int]:
    """The lines of the month in cents, by meter and the model that the rate is for."""
    nanos: dict[tuple[str, str], Fraction] = defaultdict(Fraction)
    general = 0
    for one in found:
        if one.model == "colour":
            nanos["calls", "colour"] += 12_500_000
        else:
            general += 1
            if general > 600:
                nanos["calls", ""] += 7_300_000
            elif general > 100:
                nanos["calls", ""] += 10_000_000
        nanos["images", ""] += 3_000_000 * one.images
        nanos["megapixels", ""] += Fraction(777_700_000 * one.pixels, 10**6)
        nanos["gb_out", ""] += Fraction(990_500_000_000 * one.bytes, 10**9)
    # Half a cent goes to the even one, as `round` of an exact fraction does it.
    return {line: round(sum_ * 100 / _NANO) for line, sum_ in nanos.items()}


def tax(net: int) -> int:
    """Nineteen percent, in cents."""
    return round(Fraction(net * 19, 100))


def shown(lines: Iterable[dict[str, Any]]) -> dict[tuple[str, str], int]:
    """The lines of an invoice, to be held against `owed`."""
    return {(line["meter"], line.get("model", "")): line["amount"] for line in lines}
