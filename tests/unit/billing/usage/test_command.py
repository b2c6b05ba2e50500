"""`heliograph usage` over a real data folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from heliograph.billing.invoices.values import Span
from heliograph.billing.usage.values import By, Group, Report, Sums
from heliograph.cli.house import house
from heliograph.cli.usage import bars, usage
from support.usage import answer, answered

AUGUST, HOUR = 1_785_542_400_000, 3_600_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("home")
    rows = [answer("ws_default", AUGUST + n * HOUR, cost=10) for n in range(30)]
    with house(made) as h:
        h.database.write(lambda connection: answered(connection, rows))
    return made


def run(folder: Path, *arguments: str) -> str:
    span = ["--from", "2026-08-01", "--to", "2026-09-01", "--home", str(folder)]
    done = CliRunner().invoke(usage, [*arguments, *span], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    return done.output


def test_a_table_with_its_total(folder: Path) -> None:
    said = run(folder, "--by", "month,model")
    assert "2026-08" in said
    assert "detector" in said
    assert "total" in said
    assert "0.000300" in said


def test_days_are_a_chart(folder: Path) -> None:
    said = run(folder, "--by", "day")
    longest, short = (line for line in said.splitlines() if "█" in line)
    assert longest.startswith("2026-08-01")
    assert longest.endswith(" 24")
    assert longest.count("█") == 50
    assert short.count("█") == 12
    assert short.endswith(" 6")


def test_json_and_csv(folder: Path) -> None:
    told = json.loads(run(folder, "--by", "device", "--format", "json"))
    assert told["totals"]["calls"] == 30
    assert told["groups"][0]["by"] == {"device": "cpu"}
    lines = run(folder, "--format", "csv").splitlines()
    assert lines[0].startswith('"calls","images"')
    assert lines[1].startswith('"30",')


def test_a_bar_is_drawn_for_the_empty_hours_between() -> None:
    groups = tuple(
        Group((name,), Sums(calls))
        for name, calls in (("2026-08-01T01:00:00Z", 1000), ("2026-08-01T03:00:00Z", 1))
    )
    report = Report(Span(AUGUST, AUGUST + 24 * HOUR), (By.HOUR,), Sums(1001), groups)
    drawn = bars(report)
    assert [one.split()[0][11:13] for one in drawn] == ["01", "02", "03"]
    assert drawn[1].split()[1:] == ["0"]
    assert "▏" in drawn[2]
    assert bars(report._replace(groups=())) == ["There were no calls."]
