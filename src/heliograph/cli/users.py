"""`heliograph users`: who may log in, on the machine itself and without a mail server."""

from __future__ import annotations

import json
from pathlib import Path

import click

from heliograph.accounts.people.joining import Applicant
from heliograph.accounts.people.service import People
from heliograph.accounts.people.values import Person, Session
from heliograph.cli.house import ACTOR, home_option, house
from heliograph.core.errors import Code, HeliographError

_PAGE = 200


@click.group()
@home_option
@click.pass_context
def users(context: click.Context, home: Path | None) -> None:
    """Who may log in."""
    context.obj = context.with_resource(house(home)).people


@users.command("list")
@click.option("--state", type=click.Choice(["pending", "active", "suspended", "erased"]))
@click.option("--json", "as_json", is_flag=True, help="Every field, as JSON.")
@click.pass_obj
def listing(people: People, state: str | None, as_json: bool) -> None:
    """List everybody."""
    found: list[Person] = []
    while page := people.listed(
        state=state or "", after=found[-1].id if found else "", limit=_PAGE
    ):
        found += page
    if as_json:
        click.echo(json.dumps([_fields(one) for one in found], indent=2))
        return
    for one in found:
        click.echo(f"{one.id}  {_state(one):18}  {one.mail}  {one.name}".rstrip())


@users.command()
@click.argument("mail")
@click.option("--name", default="", help="To be shown.")
@click.option("--locale", default="en", show_default=True, help="Of mails and pages.")
@click.option("--operator", is_flag=True, help="They shall run this server too.")
@click.pass_obj
def create(people: People, mail: str, name: str, locale: str, operator: bool) -> None:
    """Ask MAIL in: a mail goes there, and its link is shown here too."""
    made = people.joining.invite(Applicant(mail, name, locale), ACTOR, operator=operator)
    click.echo(f"{made.person.id}\n{made.link}\nThe link is good once, for ten minutes.")


@users.command()
@click.argument("who")
@click.pass_obj
def show(people: People, who: str) -> None:
    """Show WHO (an id or an address), as JSON."""
    one = _find(people, who)
    more = {"factors": people.factors(one.id), "providers": people.oidc.linked(one.id)}
    click.echo(json.dumps({**_fields(one), **more}, indent=2))


@users.command()
@click.argument("who")
@click.pass_obj
def suspend(people: People, who: str) -> None:
    """Let WHO in no longer; their sessions end at once."""
    click.echo(_state(people.suspend(_find(people, who).id, ACTOR)))


@users.command()
@click.argument("who")
@click.pass_obj
def restore(people: People, who: str) -> None:
    """Let WHO in: again, or for the first time where the operator decides."""
    click.echo(_state(people.restore(_find(people, who).id, ACTOR)))


@users.command()
@click.argument("who")
@click.option("--off", is_flag=True, help="No longer.")
@click.pass_obj
def operator(people: People, who: str, off: bool) -> None:
    """Let WHO run this server; they log in again."""
    click.echo(_state(people.set_operator(_find(people, who).id, ACTOR, operator=not off)))


@users.command("reset-link")
@click.argument("who")
@click.option("--factors", is_flag=True, help="Remove code generator, passkeys and links too.")
@click.pass_obj
def reset_link(people: People, who: str, factors: bool) -> None:
    """Make a link by which WHO chooses a new password; it is good once, for ten minutes."""
    click.echo(people.reset_link(_find(people, who).id, ACTOR, factors=factors))


@users.command()
@click.argument("who")
@click.option("--close", "session", help="End the session with this id.")
@click.pass_obj
def sessions(people: People, who: str, session: str | None) -> None:
    """List the sessions of WHO, or end one."""
    person = _find(people, who).id
    if session:
        people.sessions.close(person, session, actor=ACTOR)
    for one in people.sessions.mine(person):
        click.echo(_session(one))


def _find(people: People, who: str) -> Person:
    if "@" not in who:
        return people.get(who)
    found = people.by_mail(who)
    if found is None:
        raise HeliographError(Code.NOT_FOUND, f"Nobody here has the address {who[:80]!r}.")
    return found


def _state(one: Person) -> str:
    waits = ", not approved" if not one.approved and one.state == "pending" else ""
    return one.state + waits + (", operator" if one.operator else "")


def _fields(one: Person) -> dict[str, object]:
    return {name: getattr(one, name) for name in one.__slots__}


def _session(one: Session) -> str:
    return f"{one.id}  {one.strength:8}  {one.address}  {one.agent}".rstrip()
