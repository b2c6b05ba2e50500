"""`heliograph keys`: make, list, rotate and revoke API keys."""

from __future__ import annotations

import time
from pathlib import Path

import click

from heliograph.accounts.keys.service import Wishes
from heliograph.accounts.roles import KEY_SCOPES
from heliograph.accounts.workspaces.values import DEFAULT
from heliograph.cli.house import ACTOR, home_option, house, show
from heliograph.core.permissions import EVERY, Permission

_SCOPE = click.Choice(sorted(KEY_SCOPES))
_DAY_MS = 24 * 3600 * 1000


def _workspace(command: click.decorators.FC) -> click.decorators.FC:
    return click.option("--workspace", default=DEFAULT, show_default=True)(command)


@click.group()
def keys() -> None:
    """API keys: what a program shows to be let in."""


@keys.command()
@click.argument("name")
@_workspace
@click.option("--scope", "scopes", type=_SCOPE, multiple=True, help="What it may do.")
@click.option("--model", "models", multiple=True, help="A model it may call; * and ? match.")
@click.option("--address", "addresses", multiple=True, help="A network that calls come from.")
@click.option("--origin", "origins", multiple=True, help="A page that may use it.")
@click.option("--days", type=click.IntRange(1), help="For how long; for ever by default.")
@home_option
def create(
    name: str,
    workspace: str,
    scopes: tuple[str, ...],
    models: tuple[str, ...],
    addresses: tuple[str, ...],
    origins: tuple[str, ...],
    days: int | None,
    home: Path | None,
) -> None:
    """Make a key and print it, this once."""
    chosen = frozenset(map(Permission, scopes)) or frozenset(
        {Permission.MODELS_CALL, Permission.MODELS_READ}
    )
    expires = int(time.time() * 1000) + days * _DAY_MS if days else 0
    with house(home) as h:
        h.workspaces.get(workspace)
        wishes = Wishes(name, chosen, models, addresses, origins, expires_ms=expires)
        _, text = h.keys.create(workspace, wishes, ACTOR, EVERY)
    click.echo(text)


@keys.command("list")
@_workspace
@home_option
def list_(workspace: str, home: Path | None) -> None:
    """Show the keys of a workspace."""
    with house(home) as h:
        found = h.keys.page(workspace, limit=1000)
        now = h.clock()
    rows: list[list[object]] = [
        [one.id, one.name, " ".join(sorted(one.scopes)), "yes" if one.valid(now) else "ended"]
        for one in found
    ]
    show(["id", "name", "scopes", "valid"], rows)


@keys.command()
@click.argument("key")
@_workspace
@click.option("--overlap", type=click.IntRange(0), default=3600, show_default=True)
@home_option
def rotate(key: str, workspace: str, overlap: int, home: Path | None) -> None:
    """Replace a key; the old one goes on for OVERLAP seconds."""
    with house(home) as h:
        click.echo(h.keys.rotate(workspace, key, overlap * 1000, ACTOR)[1])


@keys.command()
@click.argument("key")
@_workspace
@home_option
def revoke(key: str, workspace: str, home: Path | None) -> None:
    """End a key now."""
    with house(home) as h:
        h.keys.revoke(workspace, key, ACTOR)
