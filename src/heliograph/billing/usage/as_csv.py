"""Usage as CSV, in UTF-8 with CRLF line ends (RFC 4180).

Names are texts of other people's: each is written so that no spreadsheet takes it for a formula.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from heliograph.billing.invoices.as_csv import safe
from heliograph.billing.invoices.values import moment
from heliograph.billing.usage.service import Call
from heliograph.billing.usage.values import Report, Sums
from heliograph.core.money import short, written

CALL_COLUMNS = (
    *("id", "at", "at_ms", "key", "person", "model", "version", "digest", "task", "images", "rows"),
    *("pixels", "bytes_in", "bytes_out", "run_us", "device", "price_version", "cost"),
    *("result_digest", "idempotency"),
)


def told(sums: Sums) -> dict[str, int | str]:
    """Sums as people read them: what has fractions is a decimal number in a text."""
    return {
        "calls": sums.calls,
        "images": sums.images,
        "megapixels": short(sums.pixels, 6),
        "bytes_in": sums.bytes_in,
        "bytes_out": sums.bytes_out,
        "run_ms": short(sums.run_us, 3),
        "cost": written(sums.cost, 6),
    }


def as_csv(report: Report, currency: str) -> bytes:
    """A row for each group; without groups one row, the totals."""
    names = [one.value for one in report.by]
    rows = [
        {**dict(zip(names, one.by, strict=True)), **told(one.sums), "currency": currency}
        for one in report.groups
    ]
    if not report.by:
        rows = [{**told(report.totals), "currency": currency}]
    return _table([*names, *told(Sums()), "currency"], rows)


def calls_as_csv(calls: Iterable[Call], currency: str) -> bytes:
    """A row for each call."""
    rows = (
        {
            **{name: one[name] for name in CALL_COLUMNS if name != "at"},
            "at": moment(one["at_ms"]),
            "cost": written(one["cost"], 6),
            "currency": currency,
        }
        for one in calls
    )
    return _table([*CALL_COLUMNS, "currency"], rows)


def _table(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    file = io.StringIO(newline="")
    out = csv.DictWriter(file, columns, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    out.writeheader()
    for row in rows:
        out.writerow({k: safe(v) if isinstance(v, str) else v for k, v in row.items()})
    return file.getvalue().encode("utf-8")
