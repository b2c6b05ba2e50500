"""`heliograph index` and `heliograph nearest`: finding pictures that look alike."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Generator, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np

from heliograph.accounts.key import OpenGate
from heliograph.app import App, build
from heliograph.cli.files import gather, read
from heliograph.core.errors import Code, HeliographError
from heliograph.serving.values import Entry, Head
from heliograph.settings import home_folder, read_settings
from heliograph.vision.index import Index
from heliograph.vision.tasks.embedding import Embedding

_MODEL = "efficientnet-lite0-embedding"


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--model", "-m", default=_MODEL, show_default=True, help="A model that embeds.")
@click.option(
    "--output",
    "-o",
    "target",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("index.npz"),
    show_default=True,
    help="The index's file.",
)
@click.option("--home", help="Data folder.  [default: $HELIOGRAPH_HOME or ~/.heliograph]")
def index(folder: Path, model: str, target: Path, home: str | None) -> None:
    """Make an index of the pictures in FOLDER and below, for `heliograph nearest`.

    A picture's label is the name of the folder it lies in; of one that lies in FOLDER itself, its
    own name.
    """
    files = gather((str(folder),))
    if not files:
        raise click.UsageError(f"There is no picture in {folder}.")
    names: list[str] = []
    labels: list[str] = []
    vectors: list[np.ndarray] = []
    with _asking(model, home) as (app, entry), _bar(len(files)) as bar:
        for path, vector in _vectors(app, entry, files):
            bar.update(1)
            if isinstance(vector, str):
                click.echo(f"{_text(path)}: {vector}", err=True)
                continue
            vectors.append(vector)
            names.append(_text(path.relative_to(folder)))
            labels.append(_text(Path(path.stem if path.parent == folder else path.parent.name)))
        name, digest = entry.model.name, entry.model.digest
    if not vectors:
        raise HeliographError(Code.VALIDATION, "Not one of the pictures could be read.")
    Index(np.stack(vectors), tuple(names), tuple(labels), name, digest).save(target)
    left = len(files) - len(names)
    click.echo(f"{target}: {len(names)} pictures" + (f", {left} left out" if left else ""))
    sys.exit(1 if left else 0)


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("pictures", nargs=-1, required=True)
@click.option("--top-k", "-k", type=click.IntRange(1, 1000), default=5, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--home", help="Data folder.  [default: $HELIOGRAPH_HOME or ~/.heliograph]")
def nearest(
    file: Path, pictures: tuple[str, ...], top_k: int, *, as_json: bool, home: str | None
) -> None:
    """Find the pictures of the index FILE that look most like PICTURES."""
    found = Index.load(file)
    rows: list[dict[str, object]] = []
    with _asking(found.model, home) as (app, entry):
        if entry.model.digest != found.digest:
            raise HeliographError(
                Code.VALIDATION,
                f"{file.name!r} was made by another version of the model {found.model!r}; vectors "
                "of different models cannot be compared. Make it anew: heliograph index.",
            )
        for path, vector in _vectors(app, entry, gather(pictures)):
            row: dict[str, object] = {"file": _text(path)}
            if isinstance(vector, str):
                row["error"] = vector
            else:
                row["nearest"] = [
                    {"name": one.name, "label": one.label, "score": round(one.score, 6)}
                    for one in found.nearest(vector, top_k)
                ]
            rows.append(row)
            if not as_json:
                _tell(row)
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False, indent=2))
    sys.exit(1 if any("error" in row for row in rows) else 0)


@contextmanager
def _asking(model: str, home: str | None) -> Generator[tuple[App, Entry]]:
    """An application with one model, which must be one that embeds."""
    settings = read_settings(home_folder(home), {"serving": {"seats": 100_000}})
    app = build(settings, gate=OpenGate(), only=[model])
    try:
        app.catalog.load_all()
        entry = app.path.enter(Head(model=model, form="json"))
        task = entry.model.task
        if task is None or task.name != "embedding":
            raise HeliographError(
                Code.VALIDATION,
                f"The model {model!r} does not embed; `heliograph models` lists those whose task "
                "is embedding.",
            )
        yield app, entry
    finally:
        app.close()


def _vectors(app: App, entry: Entry, files: list[Path]) -> Iterator[tuple[Path, np.ndarray | str]]:
    """The vector of each file, in order, a few at once; or why there is none."""
    waiting: list[tuple[Path, Future[np.ndarray | str]]] = []
    head = Head(model=entry.model.name, form="json")
    plan = entry.model.lane.plan
    for path in files:
        waiting.append((path, entry.model.lane.submit(_vector, app, head, path)))
        # A window of twice the hands keeps every core busy and memory bounded.
        if len(waiting) >= 2 * plan.instances * plan.max_batch:
            done, future = waiting.pop(0)
            yield done, future.result()
    for done, future in waiting:
        yield done, future.result()


def _vector(app: App, head: Head, path: Path) -> np.ndarray | str:
    try:
        result = app.path.answer(app.path.enter(head), read(path)).result
        # Its task is known to be embedding, but a package may pair it with another decoder.
        if not isinstance(result, Embedding):
            return "the model's answer is no vector; see the decoder in its model.toml"
    except HeliographError as error:
        return f"[{error.code}] {error.detail}"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return result.vector


def _tell(row: dict[str, object]) -> None:
    if "error" in row:
        click.echo(f"{row['file']}: {row['error']}", err=True)
        return
    click.echo(click.style(str(row["file"]), bold=True))
    found = row["nearest"]
    if isinstance(found, list):
        for one in found:
            click.echo(f"  {one['score']:.3f}  {one['label']}  {one['name']}")


def _text(path: Path) -> str:
    """A path as text that can be printed and written, whatever bytes it is made of."""
    return os.fsencode(path).decode("utf-8", "replace")


def _bar(length: int) -> Any:
    return click.progressbar(
        length=length, label="pictures", file=sys.stderr, hidden=not sys.stderr.isatty()
    )
