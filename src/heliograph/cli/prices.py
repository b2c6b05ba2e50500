"""`heliograph prices`: what things cost, from a sheet in TOML."""

from __future__ import annotations

import json
from pathlib import Path

import click
import msgspec

from heliograph.billing.invoices.values import moment
from heliograph.billing.prices.sheet import read_sheet
from heliograph.cli.house import ACTOR, home_option, house, show


@click.group()
def prices() -> None:
    """Price books: immutable, numbered, each in force from its time."""


@prices.command("show")
@click.argument("version", type=click.IntRange(1), required=False)
@home_option
def show_(version: int | None, home: Path | None) -> None:
    """Show the prices in force, or those of VERSION, as JSON."""
    with house(home) as h:
        number = version or h.prices.current().version
        if not number:
            click.echo("No prices are in force yet: all calls are free.")
            return
        kept, sheet = h.prices.sheet(number)
    click.echo(f"Price version {number}, in force from {moment(kept.valid_from_ms)}:", err=True)
    click.echo(json.dumps(msgspec.to_builtins(sheet), indent=2, ensure_ascii=False))


@prices.command("set")
@click.argument("sheet", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--check", is_flag=True, help="Only say whether the sheet is right.")
@home_option
def set_(sheet: Path, *, check: bool, home: Path | None) -> None:
    """Publish the prices of SHEET, a file in TOML."""
    read = read_sheet(sheet.read_text("utf-8"))
    with house(home) as h:
        if check:
            h.prices.check(read)
            click.echo("The sheet is right.")
            return
        book = h.prices.publish(read, ACTOR)
    click.echo(f"Price version {book.version}, in force from {moment(book.valid_from_ms)}.")


@prices.command()
@home_option
def history(home: Path | None) -> None:
    """List every price book, the newest first."""
    with house(home) as h:
        found = h.prices.history()
    rows: list[list[object]] = [
        [one.version, moment(one.valid_from_ms), moment(one.published_ms), one.digest[:12]]
        for one in found
    ]
    show(["version", "in force from", "published", "digest"], rows)
