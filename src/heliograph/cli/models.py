"""`heliograph models`: what can be served here, and getting it ready."""

from __future__ import annotations

import json
from pathlib import Path

import click
import msgspec

from heliograph.app import tune_model
from heliograph.core.errors import HeliographError
from heliograph.registry.catalog import BUILTIN
from heliograph.registry.releases import Release, incumbent, shares
from heliograph.registry.repository import Listing, Repository, find_packages
from heliograph.registry.sources import locate
from heliograph.registry.values import ModelPackage
from heliograph.runtimes.base import Plan
from heliograph.runtimes.tune import Trial
from heliograph.settings import home_folder

_WIDE = 120


@click.group(invoke_without_command=True)
@click.option("--home", help="Data folder.  [default: $HELIOGRAPH_HOME or ~/.heliograph]")
@click.option("--json", "as_json", is_flag=True, help="Every field, as JSON.")
@click.pass_context
def models(context: click.Context, home: str | None, *, as_json: bool) -> None:
    """List the models that can be served here."""
    folder = home_folder(home)
    packages = find_packages([BUILTIN, folder / "models"])
    context.obj = (folder, packages)
    if context.invoked_subcommand:
        return
    if as_json:
        cards = [msgspec.to_builtins(one, enc_hook=str) for one in packages.values()]
        click.echo(json.dumps(cards, indent=2))
        return
    _print(Repository([BUILTIN, folder / "models"]).scan())


@models.command()
@click.argument("names", nargs=-1)
@click.pass_obj
def prepare(found: tuple[object, dict[str, ModelPackage]], names: tuple[str, ...]) -> None:
    """Check and convert the files of NAMES (default: all), so that a start is quick."""
    folder, packages = home_folder(str(found[0])), found[1]
    wanted = _with_weights(packages, names)
    failed = False
    with click.progressbar(wanted, label="preparing models", item_show_func=str) as bar:
        for name in bar:
            try:
                locate(packages[name], folder / "cache")
            except HeliographError as error:
                failed = True
                click.echo(f"\n{name}: [{error.code}] {error.detail}", err=True)
    if failed:
        raise SystemExit(1)


@models.command()
@click.argument("names", nargs=-1)
@click.option(
    "--seconds",
    type=click.FloatRange(0, 60),
    default=1.0,
    show_default=True,
    help="Time for each measurement.",
)
@click.pass_obj
def tune(
    found: tuple[object, dict[str, ModelPackage]], names: tuple[str, ...], seconds: float
) -> None:
    """Measure how NAMES (default: all) run best on this machine, and keep the plans."""
    home, packages = Path(str(found[0])), found[1]
    for name in _with_weights(packages, names):
        click.echo(click.style(name, bold=True))
        plan = tune_model(packages[name], home, seconds=seconds, told=_trial)
        click.echo(f"  -> {_plan(plan)}\n     {plan.reason}")


def _with_weights(packages: dict[str, ModelPackage], names: tuple[str, ...]) -> tuple[str, ...]:
    """The names given, or those of all models that have a file."""
    there = tuple(name for name, one in packages.items() if one.weights)
    for name in names:
        if name not in there:
            raise click.UsageError(
                f"There is no model file {name!r}; there are {', '.join(there)}."
            )
    return names or there


def _trial(trial: Trial) -> None:
    click.echo(
        f"  {_plan(trial.plan):58} {trial.per_second:8.1f} pictures/s {trial.run_ms:8.1f} ms a run"
    )


def _plan(plan: Plan) -> str:
    return (
        f"{plan.engine}, {plan.instances} x {plan.threads} threads, batches of {plan.max_batch}"
        + (f", alone on {plan.wide}" if plan.wide else "")
    )


def _print(found: Listing) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    # A narrow terminal gets what names and chooses models; `--json` has every field.
    wide = console.width >= _WIDE
    table = Table(box=None, header_style="bold")
    for heading in ("name", "versions", "task"):
        table.add_column(heading, no_wrap=True)
    for heading in ("engine", "licence", "accuracy (published)") if wide else ():
        table.add_column(heading, no_wrap=heading != "accuracy (published)")
    for name, there in found.packages.items():
        one = there[incumbent(found.releases.get(name, Release()), list(there))]
        task = one.task + (" (default)" if one.default else "")
        figures = "; ".join(f"{m.name} {m.value:g} on {m.data}" for m in one.metrics)
        more = (one.engine, one.licence, figures) if wide else ()
        table.add_row(name, _versions(found, name), task, *more)
    console.print(table)


def _versions(found: Listing, name: str) -> str:
    """The versions there are and, of several, the share of calls that each gets."""
    release, versions = found.releases.get(name, Release()), list(found.packages[name])
    if len(versions) == 1:
        return versions[0]
    serving = [one for one in versions if release.serves(one)]
    got = shares(release, serving)
    return ", ".join(
        f"{one} ({100 * got[one]:.4g} %)" if got.get(one) and one in serving else one
        for one in versions
    )
