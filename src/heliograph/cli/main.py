"""`heliograph`: the list of commands, and how an error ends one.

A command's module is loaded when it is called: what `import` needs would cost `serve` a third of a
second of its start.
"""

from __future__ import annotations

import importlib
import sys

import click

from heliograph.core.errors import HeliographError

_MODULES: dict[str, tuple[str, ...]] = {
    "abuse": ("abuse",),
    "identity": ("identity",),
    "audit": ("audit",),
    "backup": ("backup", "restore"),
    "serve": ("serve",),
    "predict": ("predict", "process"),
    "privacy": ("privacy",),
    "models": ("models",),
    "import_": ("import",),
    "index": ("index", "nearest"),
    "invoices": ("invoices",),
    "keys": ("keys",),
    "releases": (
        *("versions", "promote", "rollback", "split", "shadow", "gates", "alias"),
        *("load", "unload", "export"),
    ),
    "prices": ("prices",),
    "quotas": ("quotas",),
    "usage": ("usage",),
    "rotate": ("rotate-keys",),
    "users": ("users",),
    "workspaces": ("workspaces",),
}
"""Modules of this folder, and the commands in them."""
_WHERE = {name: module for module, names in _MODULES.items() for name in names}
_NAMED = {"import": "import_model", "rotate-keys": "rotate_keys"}
"""Commands whose function cannot have their name."""


class _Commands(click.Group):
    """A group that knows its commands by name before it loads them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command, in the order of the alphabet."""
        del ctx
        return sorted(_WHERE)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One of them, loaded; None if there is no such command."""
        del ctx
        if cmd_name not in _WHERE:
            return None
        module = importlib.import_module(f"heliograph.cli.{_WHERE[cmd_name]}")
        command: click.Command = getattr(module, _NAMED.get(cmd_name, cmd_name))
        return command


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="heliograph")
def cli() -> None:
    """Image models as a service: a picture in, an answer out."""


def main() -> None:
    """Run a command; an expected error ends it with its words and exit code 2, without a trace."""
    try:
        cli(standalone_mode=True)
    except HeliographError as error:
        click.echo(f"{click.style('error', fg='red')} [{error.code}] {error.detail}", err=True)
        sys.exit(2)
