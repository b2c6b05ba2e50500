"""`heliograph workspaces`: make, list and rename them, and say who belongs to them."""

from __future__ import annotations

from pathlib import Path

import click

from heliograph.accounts.roles import Role
from heliograph.cli.house import ACTOR, home_option, house, show

_ROLE = click.Choice([str(one) for one in Role])


@click.group()
def workspaces() -> None:
    """Workspaces: what is billed, limited and suspended."""


@workspaces.command("list")
@home_option
def list_(home: Path | None) -> None:
    """Show every workspace."""
    with house(home) as h:
        found, after = [], ""
        while page := h.workspaces.page(after, 200):
            found += page
            after = page[-1].id
    show(["id", "name", "state", "share"], [[o.id, o.name, o.state, o.share] for o in found])


@workspaces.command()
@click.argument("name")
@click.option("--owner", default="", help="Id of the person who owns it.")
@home_option
def create(name: str, owner: str, home: Path | None) -> None:
    """Make a workspace."""
    with house(home) as h:
        click.echo(h.workspaces.create(name, ACTOR, owner).id)


@workspaces.command()
@click.argument("workspace")
@click.argument("name")
@home_option
def rename(workspace: str, name: str, home: Path | None) -> None:
    """Give a workspace another name."""
    with house(home) as h:
        h.workspaces.rename(workspace, name, ACTOR)


@workspaces.command()
@click.argument("workspace")
@click.argument("weight", type=click.IntRange(1, 100))
@home_option
def share(workspace: str, weight: int, home: Path | None) -> None:
    """Set a workspace's weight when the server is full."""
    with house(home) as h:
        h.workspaces.weigh(workspace, weight, ACTOR)


@workspaces.command()
@click.argument("workspace")
@home_option
def members(workspace: str, home: Path | None) -> None:
    """Show who belongs to a workspace."""
    with house(home) as h:
        found = h.workspaces.members(workspace)
    show(["person", "role"], [[one.person, one.role] for one in found])


@workspaces.command()
@click.argument("workspace")
@click.argument("person")
@click.option("--role", type=_ROLE, default=str(Role.DEVELOPER), show_default=True)
@home_option
def join(workspace: str, person: str, role: str, home: Path | None) -> None:
    """Make a person a member of a workspace."""
    with house(home) as h:
        h.workspaces.join(workspace, person, Role(role), ACTOR)


@workspaces.command()
@click.argument("workspace")
@click.argument("person")
@home_option
def leave(workspace: str, person: str, home: Path | None) -> None:
    """End a membership."""
    with house(home) as h:
        h.workspaces.leave(workspace, person, ACTOR)
