"""`heliograph predict` and `heliograph process`: the inference path without a server."""

from __future__ import annotations

import contextlib
import csv
import itertools
import json
import os
import sys
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import click

from heliograph.accounts.key import OpenGate
from heliograph.app import App, build
from heliograph.cli.files import gather, read
from heliograph.core.errors import Code, HeliographError
from heliograph.registry.catalog import BUILTIN
from heliograph.registry.repository import find_packages
from heliograph.registry.values import ModelPackage
from heliograph.serving.values import Answer, Entry, Head
from heliograph.settings import home_folder, read_settings

_COLUMNS = ("file", "label", "score", "x", "y", "width", "height", "error")


@click.command()
@click.argument("pictures", nargs=-1, required=True)
@click.option("--model", "-m", default="", help="A model by name; see `heliograph models`.")
@click.option("--task", "-t", default="detection", show_default=True, help="Its default model.")
@click.option("--top-k", type=int, help="At most this many answers a picture.")
@click.option("--min-score", type=float, help="Only answers with at least this score, 0-1.")
@click.option(
    "--output",
    "-o",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
)
@click.option(
    "--annotate",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write each picture with its answer drawn on it.",
)
@click.option("--exact", is_flag=True, help="Decode every JPEG at full size.")
@click.option("--home", help="Data folder.  [default: $HELIOGRAPH_HOME or ~/.heliograph]")
def predict(
    pictures: tuple[str, ...],
    model: str,
    task: str,
    top_k: int | None,
    min_score: float | None,
    output: str,
    annotate: Path | None,
    *,
    exact: bool,
    home: str | None,
) -> None:
    """Ask a model about PICTURES: files, folders, globs, or - for standard input."""
    files = gather(pictures)
    options = {"top_k": top_k, "min_score": min_score}
    given = {name: str(value) for name, value in options.items() if value is not None}
    head = Head(
        model=model, task="" if model else task, options=given, form="jpeg" if annotate else "json"
    )
    rows, failed = _run_all(head, files, home, exact=exact, keep=annotate)
    {"table": _table, "json": _json, "csv": _csv}[output](rows)
    sys.exit(1 if failed else 0)


@click.command()
@click.argument("ops")
@click.argument("pictures", nargs=-1, required=True)
@click.option(
    "--output",
    "-o",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("processed"),
    show_default=True,
    help="Folder for the results.",
)
@click.option("--home", help="Data folder.  [default: $HELIOGRAPH_HOME or ~/.heliograph]")
def process(ops: str, pictures: tuple[str, ...], folder: Path, home: str | None) -> None:
    """Apply OPS, such as grayscale,resize:320x240,png, to PICTURES in the order written."""
    files = gather(pictures)
    rows, failed = _run_all(Head(task="process", options={"ops": ops}), files, home, keep=folder)
    for row in rows:
        click.echo(f"{row['file']}: {row.get('error') or row['written']}", err="error" in row)
    sys.exit(1 if failed else 0)


def _run_all(
    head: Head, files: list[Path], home: str | None, *, exact: bool = False, keep: Path | None
) -> tuple[list[dict[str, Any]], int]:
    """Run every file, a few at once, with a progress bar; one row a file, in order."""
    app = _start(head, home, exact=exact)
    entry = app.path.enter(head)
    lane = entry.model.lane
    waiting: list[tuple[Path, Future[dict[str, Any]]]] = []
    rows: list[dict[str, Any]] = []
    # A window of twice the hands keeps every core busy and memory bounded.
    window = 2 * lane.plan.instances * max(1, lane.plan.max_batch)
    with _bar(len(files)) as bar:
        for path in files:
            waiting.append((path, lane.submit(_one, app, head, path, keep)))
            if len(waiting) >= window:
                rows.append(waiting.pop(0)[1].result())
                bar.update(1)
        for _, future in waiting:
            rows.append(future.result())
            bar.update(1)
    app.close()
    return rows, sum("error" in row for row in rows)


def _start(head: Head, home: str | None, *, exact: bool) -> App:
    # Nobody else calls: the hands of the lane are the limit, not a server's seats.
    serving = {"seats": 100_000} | ({"exact": True} if exact else {})
    settings = read_settings(home_folder(home), {"serving": serving})
    packages = find_packages([BUILTIN, settings.home / "models"])
    name = head.model or _default_of(head.task, packages)
    app = build(settings, gate=OpenGate(), only=[name])
    app.catalog.load_all()
    return app


def _default_of(task: str, packages: Mapping[str, ModelPackage]) -> str:
    fitting = [one for one in packages.values() if one.task == task]
    if not fitting:
        raise HeliographError(Code.NOT_FOUND, f"There is no model for the task {task[:60]!r}.")
    return min(fitting, key=lambda one: not one.default).name


def _one(app: App, head: Head, path: Path, keep: Path | None) -> dict[str, Any]:
    try:
        entry: Entry = app.path.enter(head)
        answer = app.path.answer(entry, read(path))
    except HeliographError as error:
        return {"file": _name(path), "error": f"[{error.code}] {error.detail}"}
    except OSError as error:
        return {"file": _name(path), "error": f"cannot be read: {error.strerror}"}
    row: dict[str, Any] = {
        "file": _name(path),
        "model": answer.model,
        "image": {"width": answer.size.width, "height": answer.size.height},
        "timings_ms": answer.timings.rounded(),
    }
    if keep is not None:
        try:
            row["written"] = _name(_write(answer, keep, path))
        except OSError as error:
            return {"file": _name(path), "error": f"cannot be written: {error.strerror}"}
    if not entry.pictured or head.form == "jpeg":
        row["predictions"] = answer.result.predictions()
    return row


def _write(answer: Answer, folder: Path, path: Path) -> Path:
    if answer.drawn is None:
        raise AssertionError("a pictured call came back without a picture; this is a bug")
    folder.mkdir(parents=True, exist_ok=True)
    ending = answer.drawn.media_type.removeprefix("image/").replace("jpeg", "jpg")
    stem = path.stem if str(path) != "-" else "stdin"
    for count in itertools.count(1):
        target = folder / (f"{stem}.{ending}" if count == 1 else f"{stem}-{count}.{ending}")
        # Made and taken in one step: two files of one name may be finished at the same moment.
        with contextlib.suppress(FileExistsError), target.open("xb") as file:
            file.write(answer.drawn.data)
            return target
    raise AssertionError("itertools.count ended; this cannot be")


def _name(path: Path) -> str:
    """A path as text that can be printed, whatever bytes it is made of."""
    return os.fsencode(path).decode("utf-8", "replace")


def _bar(length: int) -> Any:
    return click.progressbar(
        length=length,
        label="pictures",
        file=sys.stderr,
        hidden=length < 2 or not sys.stderr.isatty(),
    )


def _lines(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One flat line a prediction; one for a file without any."""
    lines: list[dict[str, Any]] = []
    for row in rows:
        found = row.get("predictions") or [{}]
        for one in found:
            line = {
                "file": row["file"],
                "label": one.get("label") or one.get("text") or _size(one),
                "score": one.get("score", ""),
            }
            lines.append(line | one.get("box", {}) | {"error": row.get("error", "")})
    return lines


def _size(one: dict[str, Any]) -> str:
    """Of a prediction that is a vector or a picture, how large it is."""
    if "dimensions" in one:
        return f"{one['dimensions']} numbers"
    return f"{one['width']} x {one['height']} pixels" if "image" in one else ""


def _json(rows: list[dict[str, Any]]) -> None:
    click.echo(json.dumps(rows, ensure_ascii=False, indent=2))


def _csv(rows: list[dict[str, Any]]) -> None:
    writer = csv.DictWriter(sys.stdout, _COLUMNS, restval="")
    writer.writeheader()
    for line in _lines(rows):
        writer.writerow({name: _cell(line.get(name, "")) for name in _COLUMNS})


def _cell(value: Any) -> Any:
    # A file or label such as "=cmd|..." must stay text in a spreadsheet.
    risky = (
        isinstance(value, str) and value[:1] in {"=", "+", "-", "@", "\t", "\r"} and value != "-"
    )
    return f"'{value}" if risky else value


def _table(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    for name in ("file", "label", "score", "box (x y width height)"):
        table.add_column(name, overflow="fold")
    last = ""
    for line in _lines(rows):
        name, last = ("" if line["file"] == last else line["file"]), line["file"]
        if line["error"]:
            table.add_row(escape(name), f"[red]{escape(line['error'])}", "", "")
            continue
        box = " ".join(
            f"{line[side]:.0f}" for side in ("x", "y", "width", "height") if side in line
        )
        score = f"{line['score']:.3f}" if line["score"] != "" else ""
        table.add_row(escape(name), escape(line["label"]) or "(nothing found)", score, box)
    Console(width=None if sys.stdout.isatty() else 120).print(table)
