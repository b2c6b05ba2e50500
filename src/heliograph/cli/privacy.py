"""`heliograph privacy`: exports, erasures, consents and terms, on the machine itself.

Whoever types here is `command`, which counts as the administrator where two people are needed.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import click

from heliograph.accounts.privacy.values import Erasure, Purpose, Tick
from heliograph.cli.house import ACTOR, home_option, house, show


@click.group()
def privacy() -> None:
    """What people agreed to, their data as a file, and its end."""


@privacy.command()
@click.argument("subject")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@home_option
def export(subject: str, file: Path, home: Path | None) -> None:
    """Write all data of SUBJECT, a person's or workspace's id, into FILE, a signed zip."""
    if file.exists():
        raise click.UsageError(f"{file} is there already.")
    with house(home) as h:
        asked = h.privacy.exports.ask(subject, ACTOR)
        h.privacy.exports.make(asked.id)
        data = h.privacy.exports.take(asked.id, ACTOR)
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as out:
            out.write(data)
        made = h.privacy.exports.get(asked.id)
        key = h.privacy.exports.public.hex()
    click.echo(f"{made.id}  {len(data):,} bytes  sha256 {made.digest}\nsigned by {key}")


@privacy.command()
@click.argument("subject", required=False)
@click.option("--approve", metavar="ERASURE", help="Agree as the second person.")
@click.option("--cancel", metavar="ERASURE", help="Call one off.")
@click.option("--status", metavar="ERASURE", help="Show its checklist.")
@home_option
def erase(
    subject: str | None,
    approve: str | None,
    cancel: str | None,
    status: str | None,
    home: Path | None,
) -> None:
    """Erase SUBJECT, a person's or workspace's id; without anything, list erasures.

    It begins when it can no longer be cancelled, and goes on wherever a server runs or `sweep` is
    called. A workspace takes two people: this machine's commands count as one.
    """
    if sum(bool(one) for one in (subject, approve, cancel, status)) > 1:
        raise click.UsageError("One thing at a time.")
    with house(home) as h:
        desk = h.privacy.erasures
        if approve:
            _card(desk.approve(approve, ACTOR), [])
        elif cancel:
            _card(desk.cancel(cancel, ACTOR), [])
        elif status:
            _card(*desk.get(status))
        elif subject:
            _card(desk.ask(subject, ACTOR, operator=True), [])
        else:
            for one in desk.page(limit=200):
                click.echo(one.subject or "(nobody any more)")
                _card(one, [])


@privacy.command()
@click.argument("subject")
@click.option(
    "--withdraw",
    type=click.Choice([str(one) for one in Purpose]),
    help="Take one back, as somebody asked by letter.",
)
@click.option("--after", type=int, default=0, help="Go on after this line.")
@home_option
def consents(subject: str, withdraw: str | None, after: int, home: Path | None) -> None:
    """Show what SUBJECT agreed to and took back, the oldest first, 200 lines at most."""
    with house(home) as h:
        if withdraw:
            h.privacy.consents.withdraw(subject, Purpose(withdraw), ACTOR, channel="letter")
        found = h.privacy.consents.ledger(subject, after, 200)
    rows: list[list[object]] = [
        [o.seq, _time(o.at_ms), o.purpose, "given" if o.given else "taken back", o.version,
         o.locale, o.channel, o.actor]
        for o in found
    ]  # fmt: skip
    show(["line", "when", "purpose", "", "text", "locale", "by", "actor"], rows)


@privacy.command()
@home_option
def sweep(home: Path | None) -> None:
    """Delete what is past its term, take erasures further, and print what went."""
    with house(home) as h:
        h.privacy.tend()
        report = h.privacy.sweep()
    click.echo(report.printed())


def _card(one: Erasure, ticks: list[Tick]) -> None:
    click.echo(f"{one.id}  {one.kind}  {one.state}{f'  waits: {one.waits}' if one.waits else ''}")
    click.echo(f"begins {_time(one.begins_ms)}  due {_time(one.due_ms)}")
    rows: list[list[object]] = [[o.place, o.state, o.items, o.reason, o.law] for o in ticks]
    if rows:
        show(["place", "", "items", "reason", "law"], rows)


def _time(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, tz=UTC):%Y-%m-%d %H:%M}" if ms else ""
