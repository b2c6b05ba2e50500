"""Trees become ONNX as they are brought in: XGBoost, LightGBM and scikit-learn (skops).

The recipe runs in a process of its own, with a limit of memory and time, as every conversion; its
product is checked like any ONNX file.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

from heliograph.core.errors import Code, HeliographError
from heliograph.registry.importing.values import TITLES, Format

RECIPES: dict[Format, str] = {
    Format.LIGHTGBM: "lightgbm",
    Format.SKOPS: "scikit",
    Format.XGBOOST: "xgboost",
}
"""The recipe in `registry/recipes` that makes ONNX of a format."""

_MEMORY = 8 << 30
_SECONDS = 300
_RUN = (
    "import importlib,sys,pathlib;"
    "importlib.import_module(sys.argv[1]).build(pathlib.Path(sys.argv[2]),pathlib.Path(sys.argv[3]))"
)


def convert(kind: Format, source: Path, target: Path) -> None:
    """Make ONNX of a model.

    Args:
        kind: one of `RECIPES`.
        source: our copy of the model.
        target: the file to write.

    Raises:
        HeliographError: `model_invalid` with the recipe's reason, `model_unavailable` where an
            extra is missing, `model_resource_limit`.
    """
    module = f"heliograph.registry.recipes.{RECIPES[kind]}"
    try:
        done = subprocess.run(  # noqa: S603 - our own module, in our own interpreter
            [sys.executable, "-c", _RUN, module, str(source), str(target)],
            capture_output=True,
            check=False,
            timeout=_SECONDS,
            preexec_fn=_limit,
        )
    except subprocess.TimeoutExpired as error:
        raise HeliographError(
            Code.MODEL_RESOURCE_LIMIT, f"Converting took longer than {_SECONDS} s."
        ) from error
    if done.returncode == 0 and target.is_file():
        return
    kind_of, _, words = _last(done.stderr)
    if kind_of == "ModuleNotFoundError":
        raise HeliographError(
            Code.MODEL_UNAVAILABLE,
            f"Converting {TITLES[kind]} needs libraries: pip install 'heliograph[trees]'.",
        )
    if kind_of == "MemoryError" or done.returncode < 0:
        raise HeliographError(
            Code.MODEL_RESOURCE_LIMIT, "Converting the model needs more memory than it may have."
        )
    # A recipe's ValueError is our own sentence; any other text is a library's.
    why = words if kind_of == "ValueError" else "its parts do not fit together."
    raise HeliographError(Code.MODEL_INVALID, f"This {kind} model cannot be converted: {why[:300]}")


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))


def _last(stderr: bytes) -> tuple[str, str, str]:
    lines = stderr.decode("utf-8", "replace").strip().splitlines()
    return (lines[-1] if lines else "").partition(": ")
