"""Settings: one object each, with type, default, help and limits; a frozen tree, checked at start.

A branch is a frozen `Branch` struct; a field's `msgspec.Meta` carries its help and bounds. Values
come from the command line, then the environment (`HELIOGRAPH_BRANCH_FIELD`), then
`heliograph.toml` in the data folder, then the default. An unknown name or a value out of range
stops the start and is named; nothing is ignored.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec

from heliograph.core.errors import Code, HeliographError

S = TypeVar("S", bound=msgspec.Struct)
PREFIX = "HELIOGRAPH_"


class Branch(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One branch of the settings tree."""


def load(
    kind: type[S],
    *,
    home: Path,
    file: Path,
    environ: Mapping[str, str],
    given: Mapping[str, Mapping[str, Any]],
) -> S:
    """Merge the sources and check them.

    Args:
        kind: the root of the tree: `home` and a `Branch` per field.
        home: the data folder; chosen before anything is read from it.
        file: a TOML file with a table per branch; may be absent.
        environ: environment variables.
        given: `{"branch": {"field": value}}` from the command line.

    Raises:
        HeliographError: `validation`, naming the setting and what was expected.
    """
    tree: dict[str, dict[str, Any]] = {
        branch: {} for branch in kind.__struct_fields__ if branch != "home"
    }
    try:
        if file.exists():
            for branch, table in tomllib.loads(file.read_text("utf-8")).items():
                tree.setdefault(branch, {}).update(_table(branch, table))
        for name, value in environ.items():
            branch, _, field = name.removeprefix(PREFIX).lower().partition("_")
            if name.startswith(PREFIX) and field and branch in tree:
                tree[branch][field] = value
        for branch, table in given.items():
            tree[branch].update(table)
        return msgspec.convert({"home": home, **tree}, kind, strict=False)
    except (ValueError, AttributeError, OSError) as error:
        raise HeliographError(Code.VALIDATION, f"Settings: {error}") from error


def _table(branch: str, said: Any) -> dict[str, Any]:
    if not isinstance(said, dict):
        raise ValueError(f"{branch!r} is not a table, as in [server]")  # noqa: TRY004 - as the rest
    return cast("dict[str, Any]", said)
