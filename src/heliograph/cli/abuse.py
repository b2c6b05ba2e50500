"""`heliograph abuse`: cases, decisions, appeals and the year's counts, on the machine itself.

Whoever types here is `command`, which counts as the administrator where two people are needed.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import click

from heliograph.accounts.abuse.values import Action, CaseState, Ground, Outcome, Ruling
from heliograph.cli.house import ACTOR, home_option, house, show
from heliograph.core.clock import system_clock

_DAY_MS = int(timedelta(days=1).total_seconds() * 1000)


@click.group()
def abuse() -> None:
    """Reports of abuse: what was reported, what was decided and why."""


@abuse.command("list")
@click.option(
    "--state",
    type=click.Choice([*(str(one) for one in CaseState), "all"]),
    default=str(CaseState.OPEN),
    show_default=True,
)
@click.option("--after", default="", help="Go on after this case.")
@home_option
def list_(state: str, after: str, home: Path | None) -> None:
    """List cases, the oldest first, 200 at most."""
    with house(home) as h:
        found = h.abuse.page("" if state == "all" else state, after, 200)
    rows: list[list[object]] = [
        [o.id, o.severity, o.ground, _line(o.subject), o.reports, o.state, _time(o.due_ms)]
        for o in found
    ]
    show(["case", "severity", "ground", "subject", "reports", "state", "due"], rows)


@abuse.command("show")
@click.argument("case")
@home_option
def show_case(case: str, home: Path | None) -> None:
    """Show CASE: what was reported, never by whom, and what was decided."""
    with house(home) as h:
        view = h.abuse.show(case, ACTOR)
    one = view.case
    click.echo(f"{one.id}  {one.severity}  {one.ground}  {one.state}  due {_time(one.due_ms)}")
    click.echo(f"subject    {_line(one.subject)}")
    click.echo(f"workspace  {one.workspace or 'not known'}, {view.strikes} live strikes")
    step = view.suggested
    click.echo(f"suggested  {step.action}{f' for {step.days} days' if step.days else ''}")
    for mark, so in (("hidden", one.hidden), ("held", one.held), ("automatic", one.automatic)):
        if so:
            click.echo(mark)
    for report in view.reports:
        by = f", found by {_line(report.signal)}" if report.signal else ""
        click.echo(f"\nreport {report.id}  {report.ground}  {_time(report.created_ms)}{by}")
        click.echo(_block(report.text))
    for made in view.decisions:
        ruling = made.ruling
        who = f"{made.decider}{f' and {made.second}' if made.second else ''}"
        click.echo(f"\ndecision {made.id}  {ruling.action}  {made.force}  by {who}")
        click.echo(_block(f"{ruling.rule}\n{ruling.facts}"))


@abuse.command()
@click.argument("case")
@click.argument("action", type=click.Choice([str(one) for one in Action]))
@click.option("--ground", type=click.Choice([str(one) for one in Ground]), required=True)
@click.option("--rule", required=True, help="The clause or law that it rests on.")
@click.option("--facts", required=True, help="What was found; the affected read it.")
@click.option("--scope", default="", help="What it covers; the case's subject by default.")
@click.option("--days", type=click.IntRange(1, 36500), help="For how long; no end by default.")
@click.option("--automation", is_flag=True, help="A machine had a part in it.")
@click.option("--unfounded", is_flag=True, help="The reports were manifestly unfounded.")
@home_option
def decide(
    case: str,
    action: str,
    ground: str,
    rule: str,
    facts: str,
    scope: str,
    days: int | None,
    automation: bool,
    unfounded: bool,
    home: Path | None,
) -> None:
    """Decide CASE. `terminate` waits then for a second person's word."""
    until = system_clock() + days * _DAY_MS if days else 0
    ruling = Ruling(
        Action(action), Ground(ground), rule, facts, scope, until, automation, unfounded
    )
    with house(home) as h:
        made = h.abuse.decisions.decide(case, ACTOR, ruling)
    click.echo(f"{made.id} {made.force}")


@abuse.command()
@click.argument("case")
@click.option("--agree/--decline", required=True)
@home_option
def second(case: str, agree: bool, home: Path | None) -> None:
    """Agree, as the second person, to what is proposed in CASE, or decline it."""
    with house(home) as h:
        made = h.abuse.decisions.second(case, ACTOR, agree=agree)
    click.echo(f"{made.id} {made.force}")


@abuse.command()
@click.option("--all", "everything", is_flag=True, help="Decided ones too.")
@click.option("--after", default="", help="Go on after this appeal.")
@home_option
def appeals(everything: bool, after: str, home: Path | None) -> None:
    """List appeals, the oldest first, 200 at most."""
    with house(home) as h:
        found = h.abuse.appeals.page(after, 200, pending=not everything)
    rows: list[list[object]] = [
        [o.id, o.case, o.decision, o.outcome or "pending", _time(o.due_ms), _line(o.text)[:60]]
        for o in found
    ]
    show(["appeal", "case", "decision", "outcome", "due", "text"], rows)


@abuse.command()
@click.argument("appeal")
@click.argument("outcome", type=click.Choice(["upheld", "reversed"]))
@click.option("--reasons", required=True, help="The affected read them.")
@home_option
def settle(appeal: str, outcome: str, reasons: str, home: Path | None) -> None:
    """Decide APPEAL; for `changed`, which needs another ruling, use the HTTP API."""
    with house(home) as h:
        done = h.abuse.appeals.decide(appeal, ACTOR, Outcome(outcome), reasons)
    click.echo(f"{done.id} {done.outcome}")


@abuse.command()
@click.argument("year", type=click.IntRange(1970, 9998))
@home_option
def transparency(year: int, home: Path | None) -> None:
    """Print the counts of YEAR as CSV."""
    with house(home) as h:
        click.echo(h.abuse.transparency.table(year), nl=False)


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M")


def _line(text: str) -> str:
    """What strangers wrote, without what could steer a terminal."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def _block(text: str) -> str:
    return "\n".join(f"    {_line(line)}" for line in text.splitlines())
