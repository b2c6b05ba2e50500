"""`heliograph audit`: what happened here, and the proof of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

import click

from heliograph.audit.export import export as write_export
from heliograph.audit.service import Audit
from heliograph.audit.values import Filter, Told
from heliograph.audit.verifier import explain
from heliograph.cli.house import ACTOR, home_option, house
from heliograph.core.events import Act

_ACT = click.Choice([str(one) for one in Act])


@click.group()
def audit() -> None:
    """What happened here, and the proof of it."""


@audit.command("list")
@home_option
@click.option("--since", type=click.DateTime(), help="From this day or time on, in UTC.")
@click.option("--until", type=click.DateTime(), help="Before this day or time, in UTC.")
@click.option("--act", type=_ACT, metavar="ACT", help="Only this act, e.g. key:created.")
@click.option("--workspace", help="Only this workspace's, by id.")
@click.option("--actor", default="", help="Only what this one did, by id.")
@click.option("--subject", default="", help="Only what was done to this one, by id.")
@click.option(
    "--limit",
    type=click.IntRange(1, 5000),
    default=50,
    show_default=True,
    help="At most so many, the newest.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_events(
    home: Path | None,
    since: datetime | None,
    until: datetime | None,
    act: str | None,
    workspace: str | None,
    actor: str,
    subject: str,
    limit: int,
    as_json: bool,
) -> None:
    """List events, the newest last."""
    wanted = Filter(
        workspace=workspace,
        act=Act(act) if act else None,
        actor=actor,
        subject=subject,
        since_ms=_ms(since),
        until_ms=_ms(until),
        limit=limit,
    )
    with _opened(home) as log:
        found = log.find(wanted)
    for one in reversed(found):
        click.echo(_as_json(one) if as_json else _as_line(one))


@audit.command()
@home_option
@click.option(
    "--checkpoint",
    "kept",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A checkpoint that was kept elsewhere; may be given several times.",
)
def verify(home: Path | None, kept: tuple[Path, ...]) -> None:
    """Hold the log against its own hashes and every checkpoint; exit code 1 if it is wrong."""
    notes = [one.read_text("utf-8", "replace") for one in kept]
    with _opened(home) as log, _bar("verifying") as told:
        found = log.seals.verify(notes, told)
    click.echo(f"{found.events} events, {found.checkpoints} signed checkpoints")
    for line in explain(found.faults):
        click.echo(line)
    if found.faults:
        click.echo("Stop the server and keep the data folder as it is, before anything else.")
        raise SystemExit(1)
    alone = "" if found.checkpoints else " No checkpoint vouches for it yet."
    click.echo(f"The log is whole.{alone}")


@audit.command()
@home_option
@click.argument("file", type=click.Path(path_type=Path))
def export(home: Path | None, file: Path) -> None:
    """Write the whole log to FILE: a zip file if it ends in .zip, else a folder."""
    with _opened(home) as log, _bar("exporting") as told:
        count = write_export(log, file, ACTOR, told)
    click.echo(f"{count} events in {file}; heliograph audit script gives the program to check it.")


@audit.command()
@home_option
def checkpoint(home: Path | None) -> None:
    """Sign the log as it is now, and print the note: keep some where the server cannot reach."""
    with _opened(home) as log:
        number, note = log.seals.checkpoint()
    click.echo(f"checkpoint {number}", err=True)
    click.echo(note, nl=False)


@audit.command()
@home_option
def key(home: Path | None) -> None:
    """Print the public key that verifies the checkpoints."""
    with _opened(home) as log:
        click.echo(log.seals.key)


@audit.command()
def script() -> None:
    """Print the stand-alone verifier: one file of Python that needs nothing else."""
    click.echo((resources.files("heliograph.audit") / "verifier.py").read_text("utf-8"), nl=False)


@contextmanager
def _opened(home: Path | None) -> Generator[Audit]:
    with house(home) as h:
        yield h.audit


@contextmanager
def _bar(label: str) -> Generator[Callable[[int, int], None]]:
    """A progress bar as something that is told how far it is."""
    with click.progressbar(length=1, label=label) as bar:

        def told(count: int, total: int) -> None:
            bar.length = max(total, 1)
            bar.update(count - bar.pos)

        yield told
        bar.update((bar.length or 1) - bar.pos)


def _ms(at: datetime | None) -> int:
    return int(at.replace(tzinfo=UTC).timestamp() * 1000) if at else 0


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _as_json(one: Told) -> str:
    return json.dumps(
        {name: getattr(one, name) for name in Told.__dataclass_fields__}, default=dict
    )


def _as_line(one: Told) -> str:
    facts = " ".join(f"{name}={value}" for name, value in one.facts.items())
    words = (
        one.act,
        f"by {one.actor}",
        one.subject,
        one.workspace and f"in {one.workspace}",
        facts,
    )
    return f"{one.seq:>8}  {_time(one.at_ms)}  " + "  ".join(word for word in words if word)
