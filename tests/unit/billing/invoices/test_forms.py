"""CSV and PDF: safe with every text (B150, B151, B153), and the same bytes every time."""

from __future__ import annotations

import copy
import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from heliograph.billing.invoices.as_csv import as_csv, safe
from heliograph.billing.invoices.as_pdf import as_pdf, clean
from heliograph.billing.prices.sheet import PartySheet
from heliograph.storage.database import Database
from support import usage
from support.databases import opened
from support.invoices import AUGUST, house, operator

FORMULAS = ["=cmd|'/c calc'!A1", "+1", "-1", "@x", "\t=1", '"=1', ",=1", "\uff1d1", " =1", "\r=1"]
ODD = [
    *FORMULAS,
    "<svg onload=alert(1)>",
    "javascript:alert(1)",
    "{{constructor}}",
    "{{7*7}}",
    "${7*7}",
    "%s%n",
    "{0.__class__}",
    "<b>&amp;</b>",
    "\u202egnp.exe",
    "\x1b[31m",
    "\u5149\u5b66\u682a\u5f0f\u4f1a\u793e",
    "e\u0301\U0001f600",
    "x" * 300,
    ")Tj (",
]


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    with opened("", tmp_path_factory.mktemp("forms")) as database:
        return made(database)


def made(database: Database) -> dict[str, Any]:
    one = house(database)
    one.answer(*(usage.answer("ws_1", AUGUST.from_ms + n) for n in range(30)))
    one.answer(*(usage.answer("ws_1", AUGUST.from_ms, model="edges") for _ in range(30)))
    one.invoices.terms.change_plan(operator(), "team", AUGUST.from_ms + 10**9)
    one.invoices.terms.set_buyer(operator(), PartySheet(name="Moon & Co", tax_id="DE2"))
    one.invoices.terms.credit(operator(), "1.00", "paid", "x")
    one.close()
    return one.invoice("ws_1")


@pytest.mark.parametrize("text", FORMULAS)
def test_no_text_is_a_formula(text: str) -> None:
    assert safe(text) == "'" + text
    assert safe("plain") == "plain"


def test_csv_has_every_figure_and_sums_up(document: dict[str, Any]) -> None:
    odd = copy.deepcopy(document)
    odd["lines"][0]["name"] = '=HYPERLINK("x")'
    rows = list(csv.DictReader(io.StringIO(as_csv(odd).decode(), newline="")))
    assert rows[0]["name"] == '\'=HYPERLINK("x")'
    cents = {
        kind: sum(int(row["amount"].replace(".", "")) for row in rows if row["row"] == kind)
        for kind in ("line", "tax", "credit", "total")
    }
    assert cents["line"] == document["net"]
    assert cents["credit"] == -100
    assert cents["total"] == document["total"] == cents["line"] + cents["tax"] + cents["credit"]
    # Figures stay figures, minus sign and all.
    assert next(row for row in rows if row["row"] == "credit")["amount"] == "-1.00"


def test_a_pdf_is_the_same_every_time_and_counts_its_pages(document: dict[str, Any]) -> None:
    pytest.importorskip("reportlab")
    long = copy.deepcopy(document)
    long["lines"] *= 20
    made = as_pdf(long)
    assert made == as_pdf(json.loads(json.dumps(long)))
    assert made.startswith(b"%PDF-")
    pages = len(re.findall(rb"/Type /Page\b", made))
    assert pages > 2
    assert as_pdf(document) != made


@pytest.mark.parametrize("text", ODD)
def test_a_pdf_takes_every_text_as_text(document: dict[str, Any], text: str) -> None:
    pytest.importorskip("reportlab")
    odd = copy.deepcopy(document)
    for line in odd["lines"]:
        line["name"] = text
    odd["buyer"] = dict.fromkeys(odd["buyer"], text) | {"address": [text] * 6}
    odd["seller"] = odd["buyer"]
    odd["terms"] = text
    made = as_pdf(odd)
    streams = re.findall(rb"stream\r?\n(.*?)endstream", made, re.DOTALL)
    assert streams
    assert not re.search(rb"/(JavaScript|JS|URI|OpenAction|Launch|AA|EmbeddedFile)\b", made)


def test_what_has_no_shape_is_left_out() -> None:
    assert clean("a\u202eb\x1b[31m\u200bc\ud800") == "ab[31mc"


def test_a_note_has_its_forms_too(tmp_path: Path) -> None:
    pytest.importorskip("reportlab")
    with opened("", tmp_path) as database:
        one = house(database)
        one.invoices.terms.add_line(operator(), "Set-up", "100.00")
        one.close()
        corrections = one.invoices.corrections
        note = corrections.issue(operator(), "2026-08", "credit_note", "mistaken", [])
    said = json.loads(note.document)
    assert as_pdf(said) == as_pdf(said)
    assert b'"total"' in as_csv(said)
