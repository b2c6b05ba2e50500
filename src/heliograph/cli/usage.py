"""`heliograph usage`: what a workspace has used, as a table, a chart, CSV or JSON."""

from __future__ import annotations

import json
from pathlib import Path

import click

from heliograph.accounts.workspaces.values import DEFAULT
from heliograph.billing.usage.as_csv import as_csv, told
from heliograph.billing.usage.values import HOUR_MS, By, Report, moment_of, read_by
from heliograph.cli.house import home_option, house, show

_WIDTH = 50
_MOST_BARS = 24 * 62
_EIGHTHS = " ▏▎▍▌▋▊▉"


@click.command()
@click.option("--workspace", default=DEFAULT, show_default=True)
@click.option("--from", "from_", default="", help="First moment, as 2026-08-01; default: month's.")
@click.option("--to", default="", help="First moment after it; default: the end of this month.")
@click.option("--by", default="", help=f"Group by a list of {', '.join(By)}.")
@click.option("--format", "form", type=click.Choice(["table", "csv", "json"]), default="table")
@home_option
def usage(workspace: str, from_: str, to: str, by: str, form: str, home: Path | None) -> None:
    """Show what a workspace has used; by day or hour, as a chart of calls."""
    with house(home) as h:
        groups = read_by(by)
        h.workspaces.get(workspace)
        found = h.usage.report(workspace, h.usage.span(from_, to), groups)
        currency = h.usage.currency()
    if form == "csv":
        click.echo(as_csv(found, currency), nl=False)
    elif form == "json":
        click.echo(json.dumps(_told(found, currency), indent=2, ensure_ascii=False))
    elif groups in {(By.DAY,), (By.HOUR,)}:
        for line in bars(found):
            click.echo(line)
        _table(found, currency)
    else:
        _table(found, currency)


def _told(found: Report, currency: str) -> dict[str, object]:
    names = [one.value for one in found.by]
    return {
        "from_ms": found.span.from_ms,
        "to_ms": found.span.to_ms,
        "currency": currency,
        "group_by": names,
        "totals": told(found.totals),
        "groups": [
            {"by": dict(zip(names, one.by, strict=True)), **told(one.sums)} for one in found.groups
        ],
    }


def _table(found: Report, currency: str) -> None:
    names = [one.value for one in found.by]
    empty = found.by and not found.groups
    rows: list[list[object]] = [[*one.by, *told(one.sums).values()] for one in found.groups]
    if not empty:
        rows.append([*("total" if not n else "" for n in range(len(names))),
                     *told(found.totals).values()])  # fmt: skip
    columns = [*names, *told(found.totals)]
    columns[-1] = f"cost {currency}"
    show(columns, rows)


def bars(found: Report) -> list[str]:
    """A bar of calls for each day or hour from the first to the last one that has some.

    Args:
        found: grouped by day or hour alone.
    """
    if not found.groups:
        return ["There were no calls."]
    by = found.by[0]
    calls = {one.by[0]: one.sums.calls for one in found.groups}
    step = HOUR_MS if by is By.HOUR else 24 * HOUR_MS
    every = [
        moment_of(by, n) for n in range(found.span.from_ms // step, -(-found.span.to_ms // step))
    ]
    seen = [n for n, name in enumerate(every) if name in calls]
    shown = every[seen[0] : seen[-1] + 1][-_MOST_BARS:]
    most = max(calls.values())
    return [f"{name:<20} {_bar(calls.get(name, 0), most)} {calls.get(name, 0)}" for name in shown]


def _bar(value: int, most: int) -> str:
    # Anything that is there is seen: at least an eighth.
    eighths = max(value * _WIDTH * 8 // most, 1 if value else 0)
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + (_EIGHTHS[rest] if rest else "")).ljust(_WIDTH)
