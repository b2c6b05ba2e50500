"""`tools/protos.py`, which is no package, for tests."""

from __future__ import annotations

import importlib.util
from pathlib import Path

_SPEC = importlib.util.spec_from_file_location(
    "protos_tool", Path(__file__).parents[2] / "tools" / "protos.py"
)
assert _SPEC is not None
assert _SPEC.loader is not None
_TOOL = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_TOOL)


def folders() -> list[Path]:
    """The edges that have `.proto` files."""
    return _TOOL.folders()


def compile_to(folder: Path, target: Path) -> None:
    """Compile every `.proto` of a folder into one descriptor set."""
    _TOOL.compile_to(folder, target)
