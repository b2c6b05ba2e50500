"""Opening the house for a command: whoever can read the data folder may run these.

A running server sees what a command changes within a second.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from heliograph.house import House, open_house
from heliograph.settings import home_folder, read_settings

ACTOR = "command"
"""What the audit log calls whoever types commands on the machine."""
_Command = Callable[..., Any]


def home_option(command: _Command) -> _Command:
    """`--home`: the data folder."""
    return click.option(
        "--home", type=click.Path(path_type=Path), help="Data folder; default HELIOGRAPH_HOME."
    )(command)


@contextmanager
def house(home: Path | None) -> Generator[House]:
    """The house of a data folder, for the length of a command."""
    folder = home_folder(str(home) if home else None)
    opened = open_house(read_settings(folder))
    try:
        yield opened
    finally:
        opened.close()


def show(columns: list[str], rows: list[list[object]]) -> None:
    """A table for people; nothing in it is read as markup."""
    table = Table(*columns)
    for row in rows:
        table.add_row(*(str(one) for one in row))
    Console(markup=False, highlight=False).print(table)
