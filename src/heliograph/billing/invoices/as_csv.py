"""An invoice as CSV: a row for each line, model, tax, credit and sum.

A spreadsheet runs a cell that begins as a formula does. Every text is therefore led by an
apostrophe where it could be taken for one; figures are ours and stay figures.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

from heliograph.core.money import written

COLUMNS = (
    *("row", "number", "month", "workspace", "line", "head", "name", "model", "device"),
    *("from", "to", "price_version", "quantity", "unit", "free", "price", "discount_bp"),
    *("late", "amount", "currency"),
)
_TEXT = frozenset({"number", "month", "workspace", "name", "model", "device", "unit", "price"})
# What a cell may begin with to be a formula, in ASCII and in the wide forms of East Asia.
_STARTS = frozenset("=+-@|%\t\r\n\uff1d\uff0b\uff0d\uff20\u2212")
# What programs leave out before they look: a cell `"=1` is split at the quote by some.
_SKIPPED = " \"',;\u00a0\u3000\ufeff"


def safe(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    rest = text.lstrip(_SKIPPED)
    return "'" + text if text[:1] in _STARTS or rest[:1] in _STARTS else text


def as_csv(document: dict[str, Any]) -> bytes:
    """The invoice, or note, in UTF-8 with CRLF line ends (RFC 4180), every cell quoted."""
    file = io.StringIO(newline="")
    out = csv.DictWriter(file, COLUMNS, restval="", quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    out.writeheader()
    same = {key: document[key] for key in ("number", "month", "workspace", "currency")}
    for row in _rows(document):
        amount = written(row.pop("amount"), document["exponent"])
        cells = {**same, **row, "amount": amount}
        out.writerow({k: safe(str(v)) if k in _TEXT else v for k, v in cells.items()})
    return file.getvalue().encode("utf-8")


def _rows(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for n, line in enumerate(document["lines"], 1):
        yield {"row": "line", **_line(line.get("line", n), line)}
        place = {"line": n, "head": line["head"], "name": line["name"], "unit": line.get("unit")}
        for part in line.get("parts", ()):
            yield {"row": "part", **place, **part}
    for tax in document["taxes"]:
        yield {"row": "tax", "name": tax["name"], "amount": tax["amount"]}
    for one in document.get("credits", ()):
        yield {"row": "credit", "name": one["name"], "amount": -one["amount"]}
    yield {"row": "total", "amount": document["total"]}


def _line(n: int, line: dict[str, Any]) -> dict[str, Any]:
    row = {name: line[name] for name in COLUMNS if name in line}
    return {**row, "line": n, "discount_bp": line.get("discount", ""), "amount": line["amount"]}
