"""`heliograph`: the list of commands, and how an error ends one."""

from __future__ import annotations

import sys

import click

from heliograph.cli.import_ import import_model
from heliograph.cli.index import index, nearest
from heliograph.cli.models import models
from heliograph.cli.predict import predict, process
from heliograph.cli.releases import COMMANDS
from heliograph.cli.serve import serve
from heliograph.core.errors import HeliographError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="heliograph")
def cli() -> None:
    """Image models as a service: a picture in, an answer out."""


for command in (serve, predict, process, models, import_model, index, nearest, *COMMANDS):
    cli.add_command(command)


def main() -> None:
    """Run a command; an expected error ends it with its words and exit code 2, without a trace."""
    try:
        cli(standalone_mode=True)
    except HeliographError as error:
        click.echo(f"{click.style('error', fg='red')} [{error.code}] {error.detail}", err=True)
        sys.exit(2)
