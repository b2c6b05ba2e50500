"""`heliograph quotas`: the limits of workspaces."""

from __future__ import annotations

from pathlib import Path

import click

from heliograph.accounts.keys.service import METERS, PERIODS
from heliograph.accounts.quotas.values import MEGA
from heliograph.accounts.workspaces.values import DEFAULT
from heliograph.cli.house import ACTOR, home_option, house, show
from heliograph.core.call import Limit

_METER = click.Choice(METERS)
_PERIOD = click.Choice(PERIODS)


def _workspace(command: click.decorators.FC) -> click.decorators.FC:
    return click.option("--workspace", default=DEFAULT, show_default=True)(command)


@click.group()
def quotas() -> None:
    """Limits: how much a workspace may use in a stretch of time."""


@quotas.command("list")
@_workspace
@home_option
def list_(workspace: str, home: Path | None) -> None:
    """Show the limits of a workspace, and what is used of them."""
    with house(home) as h:
        limits = h.quotas.of(workspace)
        used = h.quotas.used(limits, h.clock())
    rows: list[list[object]] = [
        [one.meter, one.period, one.most, part / MEGA if one.meter == "megapixels" else part]
        for one, part in zip(limits, used, strict=True)
    ]
    show(["meter", "per", "most", "used"], rows)


@quotas.command("set")
@click.argument("meter", type=_METER)
@click.argument("most", type=click.IntRange(0, 10**15))
@click.argument("period", type=_PERIOD)
@_workspace
@home_option
def set_(meter: str, most: int, period: str, workspace: str, home: Path | None) -> None:
    """Let a workspace use at most MOST of METER a PERIOD (cost: millionths of the currency)."""
    with house(home) as h:
        h.workspaces.get(workspace)
        h.quotas.put(Limit(workspace, meter, period, most), ACTOR)


@quotas.command()
@click.argument("meter", type=_METER)
@click.argument("period", type=_PERIOD)
@_workspace
@home_option
def drop(meter: str, period: str, workspace: str, home: Path | None) -> None:
    """Take a limit away."""
    with house(home) as h:
        h.quotas.drop(workspace, meter, period, ACTOR)
