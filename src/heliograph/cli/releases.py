"""`heliograph versions`, `promote`, `rollback` and their sisters: which version of a model answers.

They decide in the data folder. A running server follows its data folder within `registry.poll`
seconds; what comes into service is loaded there before the first call reaches it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from heliograph.registry.releases import Change, Gates, Shadow
from heliograph.settings import home_folder, read_settings

Command = Callable[..., None]
_FOLLOWS = (
    "Decides in the data folder; a running server follows within registry.poll seconds. For a "
    "server elsewhere, use its HTTP API: {address}."
)


def _command(name: str, address: str) -> Callable[[Command], click.Command]:
    """A command on one model, with the options that all of them have."""

    def made(work: Command) -> click.Command:
        for option in (
            click.option("--json", "as_json", is_flag=True, help="The release as JSON."),
            click.option(
                "--home", help="Data folder.  [default: $HELIOGRAPH_HOME or ~/.heliograph]"
            ),
            click.argument("name"),
        ):
            work = option(work)
        return click.command(name, epilog=_FOLLOWS.format(address=address))(work)

    return made


def _why(work: Command) -> Command:
    return click.option("--reason", default="", help="Why, for those who look later.")(work)


@_command("versions", "GET /api/v1/models/NAME/release")
def versions(name: str, home: str | None, *, as_json: bool) -> None:
    """List the versions of NAME: which calls each gets, under which names, and what is broken."""
    with _catalog(home, name) as catalog:
        _show(catalog, name, as_json=as_json)


@_command("promote", "POST /api/v1/models/NAME/promote")
@click.argument("version")
@_why
def promote(name: str, version: str, home: str | None, reason: str, *, as_json: bool) -> None:
    """Make VERSION (a number or an alias) of NAME the stable one; a running split ends.

    It is loaded here first: a version that does not load is not promoted.
    """
    with _catalog(home, name) as catalog:
        catalog.promote(name, version, reason or "promoted")
        _show(catalog, name, as_json=as_json)


@_command("rollback", "POST /api/v1/models/NAME/rollback")
@_why
def rollback(name: str, home: str | None, reason: str, *, as_json: bool) -> None:
    """Take a running split of NAME back; without one, the stable version before answers again."""
    with _catalog(home, name) as catalog:
        catalog.rollback(name, reason or "rolled back")
        _show(catalog, name, as_json=as_json)


@_command("split", "PATCH /api/v1/models/NAME/release")
@click.argument("shares", nargs=-1, metavar="VERSION=SHARE…")
@click.option("--off", is_flag=True, help="End the split: all calls to the stable version.")
@_why
def split(
    name: str,
    shares: tuple[str, ...],
    home: str | None,
    reason: str,
    *,
    off: bool,
    as_json: bool,
) -> None:
    """Share the calls of NAME among versions by weight, e.g. 1=90 2=10.

    Only calls that name no version are shared. Those with the same X-Sticky-Key header get the same
    version. `gates` says when the new one is taken back by itself.
    """
    if off == bool(shares):
        raise click.UsageError("Give shares such as 1=90 2=10, or --off.")
    weights = dict(_share(one) for one in shares)
    if len(weights) != len(shares):
        raise click.UsageError("A version stands twice.")
    _amend(home, name, Change(split=weights or None, reason=reason), as_json=as_json)


@_command("shadow", "PATCH /api/v1/models/NAME/release")
@click.argument("version", required=False)
@click.option("--share", type=click.FloatRange(0, 1, min_open=True), default=1.0, show_default=True)
@click.option("--off", is_flag=True, help="End the shadow.")
@_why
def shadow(
    name: str,
    version: str | None,
    share: float,
    home: str | None,
    reason: str,
    *,
    off: bool,
    as_json: bool,
) -> None:
    """Send copies of the calls of NAME to VERSION; callers never see its answers.

    They are compared with the answers that callers got; see `gates --disagree`.
    """
    if off == bool(version):
        raise click.UsageError("Give a version, or --off.")
    made = Shadow(version=version, share=share) if version else None
    _amend(home, name, Change(shadow=made, reason=reason), as_json=as_json)


@_command("gates", "PATCH /api/v1/models/NAME/release")
@click.option("--errors", type=click.FloatRange(0, 1, min_open=True), help="Most failures a call.")
@click.option("--slower", type=click.FloatRange(1, min_open=True), help="Most times as slow.")
@click.option("--disagree", type=click.FloatRange(0, 1, min_open=True), help="For a shadow.")
@click.option("--calls", type=click.IntRange(1), default=50, show_default=True)
@click.option("--off", is_flag=True, help="Nothing is taken back by itself.")
@_why
def gates(
    name: str,
    errors: float | None,
    slower: float | None,
    disagree: float | None,
    calls: int,
    home: str | None,
    reason: str,
    *,
    off: bool,
    as_json: bool,
) -> None:
    """Say when the new version of a split of NAME is taken back by itself, after --calls calls."""
    if off == any(one is not None for one in (errors, slower, disagree)):
        raise click.UsageError("Give --errors, --slower or --disagree, or --off.")
    made = None if off else Gates(errors=errors, slower=slower, disagree=disagree, calls=calls)
    _amend(home, name, Change(gates=made, reason=reason), as_json=as_json)


@_command("alias", "PATCH /api/v1/models/NAME/release")
@click.argument("alias")
@click.argument("version", required=False)
@click.option("--off", is_flag=True, help="Take the alias away.")
@_why
def alias(
    name: str,
    alias: str,
    version: str | None,
    home: str | None,
    reason: str,
    *,
    off: bool,
    as_json: bool,
) -> None:
    """Let ALIAS stand for VERSION of NAME in addresses (?version=ALIAS).

    `stable` is the version that answers when none is asked for; without it the latest one does.
    """
    if off == bool(version):
        raise click.UsageError("Give a version, or --off.")
    _amend(home, name, Change(aliases={alias: version}, reason=reason), as_json=as_json)


@_command("load", "POST /api/v1/models/NAME/load")
@click.argument("version", required=False)
def load(name: str, version: str | None, home: str | None, *, as_json: bool) -> None:
    """Take VERSION of NAME into service, and keep it in memory; by default all of NAME again."""
    with _catalog(home, name) as catalog:
        catalog.load(name, version or "")
        _show(catalog, name, as_json=as_json)


@_command("unload", "POST /api/v1/models/NAME/unload")
@click.argument("version", required=False)
def unload(name: str, version: str | None, home: str | None, *, as_json: bool) -> None:
    """Take VERSION of NAME out of service and out of memory; by default all of NAME."""
    with _catalog(home, name) as catalog:
        catalog.unload(name, version or "")
        _show(catalog, name, as_json=as_json)


@click.command()
@click.argument("name")
@click.argument("version", default="")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    help="FILE.zip or a folder.  [default: NAME-VERSION.zip]",
)
@click.option("--home", help="Data folder.  [default: $HELIOGRAPH_HOME or ~/.heliograph]")
def export(name: str, version: str, output: Path | None, home: str | None) -> None:
    """Write the package of NAME (the version that answers, or VERSION) to a zip or a folder.

    Its files are verified, and exactly as they are. A model file that its package only names
    (`source` in model.toml) is not copied: it comes from there again.
    """
    from heliograph.registry.exporting import export_package

    with _catalog(home, name) as catalog:
        package = catalog.shelf(name, version).package
    target = output or Path(f"{package.name}-{package.version}.zip")
    names = export_package(package, target)
    click.echo(f"{target}: version {package.version} of {name}: {', '.join(names)}")
    if package.weights and package.weights.source:
        click.echo(f"Its weights are not in it: they come from {package.weights.source}", err=True)


def _amend(home: str | None, name: str, change: Change, *, as_json: bool) -> None:
    with _catalog(home, name) as catalog:
        catalog.amend(name, change)
        _show(catalog, name, as_json=as_json)


def _share(text: str) -> tuple[str, float]:
    version, equals, share = text.partition("=")
    try:
        weight = float(share)
    except ValueError:
        equals = ""
        weight = 0.0
    if not equals or not version:
        raise click.UsageError(f"Expected VERSION=SHARE such as 1=90, got {text[:60]!r}.")
    return version, weight


@contextmanager
def _catalog(home: str | None, name: str) -> Generator[Any]:
    """The catalog of one model, which loads nothing but what a decision must know to load."""
    from heliograph.accounts.key import OpenGate
    from heliograph.app import build

    settings = read_settings(home_folder(home), {"registry": {"load": "demand"}})
    app = build(settings, gate=OpenGate(), only=[name])
    try:
        yield app.catalog
    finally:
        app.close()


def _show(catalog: Any, name: str, *, as_json: bool) -> None:
    from heliograph.edge.http.releases import describe

    said = describe(catalog, catalog.product(name))
    for one in said["versions"]:
        # What is in memory is so here, in the command's own process: it says nothing.
        del one["state"], one["memory"]
    if as_json:
        click.echo(json.dumps(said, indent=2, ensure_ascii=False))
        return
    _print(said)


def _print(said: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    for column in ("version", "calls", "aliases", "digest", "remarks"):
        table.add_column(column, overflow="fold")
    kept, out = said["loaded"], said["unloaded"]
    for one in said["versions"]:
        version = one["version"]
        remarks = [f"[red]{escape(one['reason'])}[/]"] if one["reason"] else []
        remarks += ["shadow"] if one["shadow"] else []
        remarks += ["kept in memory"] if version in kept else []
        remarks += ["out of service"] if version in out or "*" in out else []
        table.add_row(
            version,
            f"{100 * one['share']:.4g} %" if one["share"] else "",
            escape(", ".join(one["aliases"])),
            one["digest"][7:19],
            ", ".join(remarks),
        )
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table)
    if said["gates"]:
        rules = {key: value for key, value in said["gates"].items() if value is not None}
        console.print("gates: " + ", ".join(f"{key} {value:g}" for key, value in rules.items()))
    if said["split"]:
        console.print("rollback ends the split")
    elif said["history"]:
        console.print(f"rollback goes to: {said['history'][-1]}")
    if said["reason"]:
        console.print(f"reason: {escape(said['reason'])}")
