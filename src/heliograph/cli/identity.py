"""`heliograph identity`: review checks of identity on the machine itself.

Whoever types here is `command`; every look at evidence is in the audit log as theirs.
"""

from __future__ import annotations

from pathlib import Path

import click

from heliograph.accounts.identity.values import State
from heliograph.cli.house import ACTOR, home_option, house
from heliograph.cli.house import show as table


@click.group()
def identity() -> None:
    """Checks of who people are."""


@identity.command("list")
@click.option(
    "--state",
    type=click.Choice([*(str(one) for one in State if one is not State.NONE), "all"]),
    default=str(State.PENDING),
    show_default=True,
)
@click.option("--after", default="", help="Go on after this check.")
@home_option
def list_(state: str, after: str, home: Path | None) -> None:
    """List checks, the oldest first, 200 at most."""
    with house(home) as h:
        found = h.identity.reviews.page("" if state == "all" else state, after, 200)
    rows: list[list[object]] = [
        [o.id, o.person, o.level, o.provider, o.state, o.reviewer] for o in found
    ]
    table(["check", "person", "level", "provider", "state", "reviewer"], rows)


@identity.command()
@click.argument("check")
@click.option(
    "--evidence",
    type=click.Path(path_type=Path, file_okay=False),
    help="Take the check and look: the claims are printed, pictures written into this folder.",
)
@home_option
def show(check: str, evidence: Path | None, home: Path | None) -> None:
    """Show CHECK; with --evidence, begin its review and look at what was shown."""
    with house(home) as h:
        case = h.identity.reviews.take(check, ACTOR) if evidence else h.identity.reviews.show(check)
        one = case.check
        click.echo(f"{one.id}  {one.person}  {one.level}  {one.state}  by {one.provider}")
        if case.twins:
            click.echo(f"somebody else has this name and number: {', '.join(case.twins)}")
        if one.verdict:
            click.echo(f"the provider says: {one.verdict}")
        if case.second:
            click.echo("one reviewer has approved; another one is needed")
        for piece in case.evidence if evidence else ():
            if piece.kind == "claims":
                claims = h.identity.reviews.claims(check, ACTOR)
                click.echo(f"name    {_plain(claims.name)}\nnumber  {_plain(claims.number)}")
            elif evidence:
                evidence.mkdir(parents=True, exist_ok=True, mode=0o700)
                file = evidence / f"{piece.id}.png"
                file.touch(mode=0o600)
                file.write_bytes(h.identity.reviews.picture(check, piece.id, ACTOR))
                click.echo(f"picture {file}")


@identity.command()
@click.argument("check")
@click.option("--reason", required=True, help="What was compared.")
@click.option("--override", is_flag=True, help="Out of the ordinary; takes two reviewers.")
@home_option
def approve(check: str, reason: str, override: bool, home: Path | None) -> None:
    """Approve CHECK, after `show --evidence`."""
    with house(home) as h:
        done = h.identity.reviews.approve(check, ACTOR, reason, override=override)
    click.echo(f"{done.id} {done.state}")


@identity.command()
@click.argument("check")
@click.option("--reason", required=True, help="Why; the applicant is told.")
@home_option
def reject(check: str, reason: str, home: Path | None) -> None:
    """Reject CHECK, after `show --evidence`."""
    with house(home) as h:
        done = h.identity.reviews.reject(check, ACTOR, reason)
    click.echo(f"{done.id} {done.state}")


def _plain(text: str) -> str:
    return "".join(sign if sign.isprintable() else "?" for sign in text)
