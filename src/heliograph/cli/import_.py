"""`heliograph import`: a model file, a folder or a model on a hub becomes a package in service."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from heliograph.cli.trial import try_package
from heliograph.core.errors import Code, HeliographError
from heliograph.registry.importing.answers import parse_answers
from heliograph.registry.importing.bringing import Brought, decide, look
from heliograph.registry.importing.draft import SCALINGS, Answers
from heliograph.registry.importing.hub import fetch, is_remote
from heliograph.registry.importing.package import discard, publish, workshop
from heliograph.registry.importing.retaking import retake
from heliograph.registry.importing.values import TITLES, Format, Question, spelled
from heliograph.registry.releases import Release, incumbent
from heliograph.registry.repository import Repository
from heliograph.registry.values import ModelPackage
from heliograph.settings import home_folder


@click.command("import")
@click.argument("source")
@click.option("--name", default="", help="The model's name.  [default: after the file or folder]")
@click.option("--task", default="", help="A task, or `tensors`.  [default: inferred]")
@click.option("--decoder", default="", help="How the outputs are read.  [default: inferred]")
@click.option(
    "--labels",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    help="One label a line by class id, or a label map (.pbtxt).",
)
@click.option("--size", default="", metavar="WxH", help="What pictures are resized to.")
@click.option("--layout", type=click.Choice(["NCHW", "NHWC"]), default=None)
@click.option("--channels", type=click.Choice(["RGB", "BGR", "GRAY"]), default=None)
@click.option("--scaling", type=click.Choice(list(SCALINGS)), default=None, help="Usual scalings.")
@click.option("--mean", default="", help="One number or three, on the 0-255 scale.")
@click.option("--std", default="", help="Likewise.")
@click.option(
    "--set",
    "fields",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Any other field, such as input.fit=crop or output.iou=0.6; may be repeated.",
)
@click.option("--title", default="", help="The name people know it by.")
@click.option("--licence", default="", help="SPDX identifier.")
@click.option(
    "--allow",
    type=click.Choice(["torchscript"]),
    multiple=True,
    help="Take a format that can carry a program; it runs behind a wall.",
)
@click.option(
    "--try",
    "picture",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    help="The picture it is tried on.  [default: a drawn one]",
)
@click.option(
    "--sign",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    help="Sign the package with this private key (PEM).",
)
@click.option("--again", is_flag=True, help="Make a new version of content that is there already.")
@click.option("--yes", "-y", is_flag=True, help="Accept without asking.")
@click.option("--json", "as_json", is_flag=True, help="Tell the outcome as JSON; asks nothing.")
@click.option("--home", help="Data folder.  [default: $HELIOGRAPH_HOME or ~/.heliograph]")
def import_model(
    source: str,
    name: str,
    labels: Path | None,
    title: str,
    licence: str,
    allow: tuple[str, ...],
    picture: Path | None,
    sign: Path | None,
    *,
    again: bool,
    yes: bool,
    as_json: bool,
    home: str | None,
    **given: Any,
) -> None:
    """Bring in SOURCE: a model file, a folder, hf:ORG/NAME[@REV][/FILE] or an https: address.

    What can be inferred is inferred and shown with its reason; the model is tried on a picture
    before it is accepted. A running server serves it within a second.
    """
    folder = home_folder(home)
    asks = sys.stdin.isatty() and not as_json
    answers = parse_answers(given, labels)
    formats = [Format(one) for one in allow]
    where, said, cleanup = _local(source, folder)
    try:
        if _returned(where, folder, name, formats, picture, _seal(sign), again=again):
            return
        brought = look(where, folder, allow=formats)
        try:
            _bring(
                brought,
                answers,
                name=name,
                source=said,
                about={"title": title, "licence": licence},
                picture=picture,
                sign=sign,
                again=again,
                accept=yes or not asks,
                asks=asks,
                as_json=as_json,
                home=folder,
            )
        finally:
            discard(brought.home)
    finally:
        cleanup()


def _returned(
    where: Path,
    home: Path,
    name: str,
    allow: list[Format],
    picture: Path | None,
    seal: Callable[[Path], object],
    *,
    again: bool,
) -> bool:
    """Take a package that says itself what it is; False if this is none."""
    scratch = workshop(home)
    try:
        adopted = retake(where, scratch, name=name, allow=allow)
        if adopted is None:
            return False
        package = adopted.package
        _show_trial(try_package(adopted.home, package, picture, like=home))
        made = publish(Path(package.folder), home, again=again, seal=seal)
        label = f"{made.package.name} version {made.package.version}"
        click.echo(
            f"{label} is in place; {_next(made.package, home)}"
            if made.fresh
            else f"{label} is this very model already; --again makes a new version of it."
        )
        return True
    finally:
        discard(scratch)


def _local(source: str, home: Path) -> tuple[Path, str, Callable[[], None]]:
    """The source as a path here, what it is called, and what cleans up after it.

    What lies on a hub is fetched into a folder of ours.
    """
    if not is_remote(source):
        return Path(source).expanduser(), Path(source).name, lambda: None
    from rich.console import Console
    from rich.progress import Progress, TaskID

    folder = workshop(home)
    tasks: dict[str, TaskID] = {}
    console = Console(stderr=True)
    try:
        with Progress(console=console, transient=True, disable=not sys.stderr.isatty()) as bars:

            def told(file: str, have: int, size: int) -> None:
                if file not in tasks:
                    tasks[file] = bars.add_task(file)
                bars.update(tasks[file], completed=have, total=size or None)

            made = fetch(source, folder, told, cache=home / "cache" / "downloads")
    except BaseException:
        discard(folder)
        raise
    return made.path, made.origin, lambda: discard(folder)


def _bring(
    brought: Brought,
    answers: Answers,
    *,
    name: str,
    source: str,
    about: dict[str, str],
    picture: Path | None,
    sign: Path | None,
    again: bool,
    accept: bool,
    asks: bool,
    as_json: bool,
    home: Path,
) -> None:
    """Decide, try, ask for acceptance and publish."""
    decided = decide(brought, answers, name=name, source=source, about=about)
    while decided.inferred.questions:
        if not asks:
            raise HeliographError(Code.VALIDATION, _open(decided.inferred.questions))
        answers = _asked(answers, decided.inferred.questions[0])
        decided = decide(brought, answers, name=name, source=source, about=about)
    package = decided.package
    if package is None:
        raise AssertionError("nothing is open, but no package was drafted; this is a bug")
    if not as_json:
        _show(decided)
    trial = try_package(decided.home, package, picture, like=home)
    if not as_json:
        _show_trial(trial)
        _show_neighbour(package, home)
    if not accept and not click.confirm(f"Serve it as {package.name!r}?", default=True):
        click.echo("Nothing was kept.")
        return
    made = publish(decided.staged.folder, home, again=again, seal=_seal(sign))
    if as_json:
        click.echo(json.dumps(_report(decided, trial, made.package.version, fresh=made.fresh)))
        return
    label = f"{made.package.name} version {made.package.version}"
    if made.fresh:
        click.echo(f"{label} is in place; {_next(made.package, home)}")
    else:
        click.echo(f"{label} is this very model already; --again makes a new version of it.")


def _seal(key: Path | None) -> Callable[[Path], object]:
    if key is None:
        return lambda _: None
    from heliograph.registry.signing import sign as sign_package

    return lambda folder: sign_package(folder, key)


def _open(questions: tuple[Question, ...]) -> str:
    lines = [
        f"{one.field}" + (f" ({' | '.join(one.choices)})" if one.choices else "") + f": {one.why}"
        for one in questions
    ]
    return (
        "This cannot be inferred, please say it (or --task tensors for plain tensors):\n  "
        + "\n  ".join(lines)
    )


def _asked(answers: Answers, question: Question) -> Answers:
    """Ask one question on the terminal."""
    click.echo(question.why)
    kind = click.Choice(list(question.choices)) if question.field == "--scaling" else str
    shown = question.field + (f" [{', '.join(question.choices)}]" if kind is str else "")
    value = click.prompt(shown, type=kind, err=False)
    return parse_answers({question.field.removeprefix("--"): value}, None, answers)


def _show(brought: Brought) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", title_justify="left")
    for heading in ("what", "is", "because"):
        table.add_column(heading, overflow="fold")
    kind = TITLES[brought.found.format]
    table.add_row("format", kind, Text(brought.found.note or "its content says so"))
    for side, tensors in (
        ("input", brought.evidence.facts.inputs),
        ("output", brought.evidence.facts.outputs),
    ):
        for one in tensors[:8]:
            table.add_row(side, Text(spelled(one)), "the file says so")
    for one in brought.inferred.decisions:
        table.add_row(one.field, Text(one.value), Text(one.reason))
    Console().print(table)


def _show_trial(trial: dict[str, Any]) -> None:
    click.echo(click.style("\ntried on ", bold=True) + trial["asked"])
    for one in trial.get("predictions", [])[:5]:
        click.echo("  " + json.dumps(one, ensure_ascii=False)[:200])
    if "predictions" in trial and not trial["predictions"]:
        click.echo("  nothing found in it")
    for name, one in trial.get("outputs", {}).items():
        click.echo(f"  {name}: {one['dtype']} {one['shape']} {', '.join(one['first'])} …")
    if "timings_ms" in trial:
        click.echo(f"  {trial['timings_ms']['run']:.1f} ms to run\n")


def _show_neighbour(package: ModelPackage, home: Path) -> None:
    """Say so where the version that answers now is another kind of model."""
    there = Repository([home / "models"]).scan().packages.get(package.name, {})
    stable = there.get(_answering(package.name, home))
    if stable is not None and stable.task != package.task:
        said = (
            f"{package.name} version {stable.version} is of the task {stable.task}, this is "
            f"{package.task}: its callers would get other answers. Choose another --name?"
        )
        click.echo(click.style("note ", fg="yellow") + said)


def _answering(name: str, home: Path) -> str:
    """The version that answers for a model now; empty where there is none."""
    found = Repository([home / "models"]).scan()
    return incumbent(found.releases.get(name, Release()), list(found.packages.get(name, {})))


def _next(package: ModelPackage, home: Path) -> str:
    """What happens now, and how the model is asked."""
    name, version = package.name, package.version
    answering = _answering(name, home)
    if answering != str(version):
        return (
            f"version {answering} goes on answering.\nTry it: heliograph split {name} "
            f"{answering}=90 {version}=10; or heliograph promote {name} {version}."
        )
    ask = (
        f"heliograph predict --model {name} PICTURE, or POST /api/v1/models/{name}/predict"
        if package.input
        else f"POST /v2/models/{name}/infer or /v1/models/{name}:predict"
    )
    return f"a running server takes it up by itself.\nAsk it: {ask}"


def _report(brought: Brought, trial: dict[str, Any], version: int, *, fresh: bool) -> Any:
    package = brought.package
    if package is None:
        raise AssertionError("reported before it was drafted; this is a bug")
    facts = brought.evidence.facts
    return {
        "name": package.name,
        "version": version,
        "new": fresh,
        "task": package.task,
        "format": brought.found.format,
        "engine": package.engine,
        "sha256": package.weights.sha256 if package.weights else "",
        "inputs": [{"name": t.name, "dtype": t.dtype, "shape": t.shape} for t in facts.inputs],
        "outputs": [{"name": t.name, "dtype": t.dtype, "shape": t.shape} for t in facts.outputs],
        "decisions": [
            {"field": one.field, "value": one.value, "reason": one.reason}
            for one in brought.inferred.decisions
        ],
        "trial": trial,
    }
