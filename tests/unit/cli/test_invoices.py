"""`heliograph prices` and `heliograph invoices`, over real services."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner, Result

from heliograph.cli import invoices, prices
from heliograph.core.errors import HeliographError
from support import usage
from support.databases import opened
from support.invoices import AUGUST, SHEET, House, house


@pytest.fixture
def one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    with opened("", tmp_path) as database:
        made = house(database)

        @contextmanager
        def open_house(home: Path | None) -> Generator[SimpleNamespace]:
            assert home == tmp_path
            yield SimpleNamespace(prices=made.prices, invoices=made.invoices)

        for module in (prices, invoices):
            monkeypatch.setattr(module, "house", open_house)
        yield made


def run(command: click.Command, tmp_path: Path, *args: str) -> Result:
    done = CliRunner().invoke(command, [*args, "--home", str(tmp_path)])
    if done.exception and not isinstance(done.exception, SystemExit | HeliographError):
        raise done.exception
    return done


def test_prices_are_checked_published_and_shown(one: House, tmp_path: Path) -> None:
    sheet = tmp_path / "prices.toml"
    sheet.write_text(SHEET.replace("0.05", "0.06"))
    assert "right" in run(prices.prices, tmp_path, "set", str(sheet), "--check").output
    assert len(one.prices.history()) == 1
    assert "Price version 2" in run(prices.prices, tmp_path, "set", str(sheet)).output
    shown = json.loads(run(prices.prices, tmp_path, "show", "2").stdout)
    assert shown["rates"][3]["price"] == "0.06"
    listed = run(prices.prices, tmp_path, "history").output
    assert "2026-08-01T00:00:05Z" in listed
    sheet.write_text(SHEET.replace('"0.05"', "0.05"))
    done = run(prices.prices, tmp_path, "set", str(sheet))
    assert isinstance(done.exception, HeliographError)


def test_a_month_from_close_to_credit(one: House, tmp_path: Path) -> None:
    one.answer(*(usage.answer("ws_1", AUGUST.from_ms) for _ in range(50)))
    tool = invoices.invoices
    one.clock.now = AUGUST.to_ms
    assert "grace, 1 drafts and 0" in run(tool, tmp_path, "close", "2026-08").output
    assert "draft" in run(tool, tmp_path, "list").output
    closed = run(tool, tmp_path, "close", "2026-08", "--early").output
    assert "final, 0 drafts and 1 invoices" in closed
    assert "INV-2026-000001" in run(tool, tmp_path, "list", "--month", "2026-08").output
    shown = json.loads(run(tool, tmp_path, "show", "2026-08", "--workspace", "ws_1").output)
    assert shown["net"] == 40
    csv = run(tool, tmp_path, "show", "INV-2026-000001", "--format", "csv").output
    assert '"total","INV-2026-000001"' in csv
    assert "byte for byte" in run(tool, tmp_path, "verify", "INV-2026-000001").output
    note = run(tool, tmp_path, "credit", "INV-2026-000001", "--reason", "x", "--line", "3=0.10")
    assert note.output == "CN-2026-000001: 0.12 EUR\n"
    assert run(
        tool, tmp_path, "credit", "INV-2026-000001", "--reason", "x", "--line", "a"
    ).exit_code


def test_a_pdf_is_written(one: House, tmp_path: Path) -> None:
    pytest.importorskip("reportlab")
    one.answer(usage.answer("ws_1", AUGUST.from_ms))
    file = tmp_path / "draft.pdf"
    args = ("pdf", "2026-08", str(file), "--workspace", "ws_1")
    assert "draft" in run(invoices.invoices, tmp_path, *args).output
    assert file.read_bytes().startswith(b"%PDF-")
