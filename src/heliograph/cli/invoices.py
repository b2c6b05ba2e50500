"""`heliograph invoices`: close a month, look at what is due, correct it."""

from __future__ import annotations

import json
from pathlib import Path

import click

from heliograph.billing.invoices.as_csv import as_csv
from heliograph.billing.invoices.as_pdf import as_pdf
from heliograph.billing.invoices.corrections import Correction
from heliograph.billing.invoices.values import read_month
from heliograph.cli.house import ACTOR, home_option, house, show
from heliograph.core.call import Caller
from heliograph.core.money import exponent_of, written
from heliograph.core.permissions import EVERY

_PAGE = 200


def _operator(workspace: str) -> Caller:
    return Caller(ACTOR, workspace, operator=True, permissions=EVERY)


def _invoice(command: click.decorators.FC) -> click.decorators.FC:
    """An invoice, and whose: an id or number is enough, a month needs the workspace."""
    workspace = click.option("--workspace", default="", help="Whose; needed with a month.")
    return click.argument("invoice")(workspace(command))


@click.group()
def invoices() -> None:
    """Invoices: drafts, final ones, and their corrections."""


@invoices.command("list")
@click.option("--workspace", default="", help="Only this workspace's.")
@click.option("--month", default="", help="Only of this month, as 2026-08.")
@home_option
def list_(workspace: str, month: str, home: Path | None) -> None:
    """List invoices, the newest first."""
    rows: list[list[object]] = []
    with house(home) as h:
        after = ""
        while found := h.invoices.listed(workspace, month, after, _PAGE):
            after = found[-1].id
            for one in found:
                due = written(one.total, exponent_of(one.currency)) if one.final else ""
                rows.append([one.id, one.number or "draft", one.workspace, one.month, due,
                             one.currency])  # fmt: skip
    show(["id", "number", "workspace", "month", "due", "currency"], rows)


@invoices.command("show")
@_invoice
@click.option("--format", "form", type=click.Choice(["json", "csv"]), default="json")
@home_option
def show_(invoice: str, workspace: str, form: str, home: Path | None) -> None:
    """Print INVOICE: an id, a number, or a month of a workspace."""
    with house(home) as h:
        document = h.invoices.document(workspace, invoice)
    if form == "csv":
        click.echo(as_csv(document), nl=False)
    else:
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))


@invoices.command()
@_invoice
@click.argument("file", type=click.Path(dir_okay=False, writable=True, path_type=Path))
@home_option
def pdf(invoice: str, workspace: str, file: Path, home: Path | None) -> None:
    """Write INVOICE to FILE as PDF."""
    with house(home) as h:
        document = h.invoices.document(workspace, invoice)
    file.write_bytes(as_pdf(document))
    click.echo(f"{document['number'] or document['state']}: {file}")


@invoices.command()
@click.argument("month")
@click.option("--early", is_flag=True, help="Do not wait for the end of the grace.")
@home_option
def close(month: str, *, early: bool, home: Path | None) -> None:
    """Close MONTH, as 2026-08, and those before it; after a crash, go on where it stopped."""
    with house(home) as h:
        closed = h.invoices.closing.close(read_month(month), ACTOR, early=early)
    click.echo(
        f"{closed.month}: {closed.state}, {closed.drafted} drafts and {closed.finalised} invoices "
        "are new."
    )
    for workspace, reason in closed.failed.items():
        click.echo(f"  {workspace}: {reason}", err=True)
    if closed.failed:
        raise SystemExit(1)


@invoices.command()
@_invoice
@click.option("--reason", required=True, help="As it stands on the credit note.")
@click.option(
    "--line",
    "lines",
    multiple=True,
    metavar="N[=AMOUNT]",
    help="A line, and how much of it; without any, all that is left of the invoice.",
)
@home_option
def credit(
    invoice: str, workspace: str, reason: str, lines: tuple[str, ...], home: Path | None
) -> None:
    """Issue a credit note on INVOICE."""
    asked: list[Correction] = []
    for one in lines:
        number, _, amount = one.partition("=")
        if not number.isdecimal():
            raise click.UsageError(f"--line is N or N=AMOUNT; {one!r} came.")
        asked.append(Correction(int(number), amount))
    with house(home) as h:
        whose = h.invoices.document(workspace, invoice)["workspace"]
        note = h.invoices.corrections.issue(_operator(whose), invoice, "credit_note", reason, asked)
    said = json.loads(note.document)
    total = written(said["total"], said["exponent"])
    click.echo(f"{note.number}: {total} {said['currency']}")


@invoices.command()
@_invoice
@home_option
def verify(invoice: str, workspace: str, home: Path | None) -> None:
    """Make INVOICE anew from the raw ledger, and say whether it is the same byte for byte."""
    with house(home) as h:
        again, kept = h.invoices.rerated(workspace, invoice)
    if again != kept:
        click.echo("It is NOT what the ledger gives.", err=True)
        raise SystemExit(1)
    click.echo("The ledger gives the same invoice, byte for byte.")
