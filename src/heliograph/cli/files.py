"""Pictures named on a command line: files, folders, globs and `-`."""

from __future__ import annotations

import glob
import sys
from pathlib import Path

import click

_ENDINGS = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".heic", ".avif", ".tif", ".tiff"}


def gather(names: tuple[str, ...]) -> list[Path]:
    """The files meant by the arguments, in order, none twice.

    Folders are searched to any depth for picture endings; a glob that the shell has not expanded is
    expanded here; `-` stays for standard input.

    Raises:
        click.UsageError: an argument that names nothing.
    """
    found: dict[Path, None] = {}
    for name in names:
        path = Path(name)
        if name == "-" or path.is_file():
            found[path] = None
        elif path.is_dir():
            inside = (one for one in sorted(path.rglob("*")) if one.suffix.lower() in _ENDINGS)
            found.update(dict.fromkeys(one for one in inside if one.is_file()))
        else:
            matches = sorted(glob.glob(name, recursive=True))  # noqa: PTH207 - absolute ones too
            if not matches:
                raise click.UsageError(f"{name!r} is no file, folder or pattern that matches one.")
            found.update(dict.fromkeys(Path(one) for one in matches if Path(one).is_file()))
    if not found:
        raise click.UsageError("No pictures found there.")
    return list(found)


def read(path: Path) -> bytes:
    """The bytes of a file, or of standard input for `-`."""
    return sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
