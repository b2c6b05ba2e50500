"""The list of engines, and opening a file with one; an engine's library loads on first use."""

from __future__ import annotations

import importlib
from pathlib import Path

from heliograph.core.errors import Code, HeliographError
from heliograph.runtimes.base import Plan, Runner
from heliograph.runtimes.identity import IdentityRunner

ENGINES: dict[str, tuple[str, str]] = {
    "onnx": ("heliograph.runtimes.onnx", "OnnxRunner"),
    "openvino": ("heliograph.runtimes.openvino", "OpenvinoRunner"),
}
"""Engine name -> module and class; `identity` needs no file and stands beside them."""


def open_runner(path: Path, plan: Plan) -> Runner:
    """Load a model file with the plan's engine.

    Raises:
        HeliographError: `model_invalid` if the engine is unknown or cannot load the file.
    """
    if plan.engine == "identity":
        return IdentityRunner()
    if plan.engine not in ENGINES:
        raise HeliographError(
            Code.MODEL_INVALID,
            f"There is no engine {plan.engine!r}; there are {', '.join(sorted(ENGINES))}.",
        )
    module, name = ENGINES[plan.engine]
    try:
        runner: Runner = getattr(importlib.import_module(module), name)(path, plan)
    except Exception as error:
        raise HeliographError(
            Code.MODEL_INVALID,
            f"The engine {plan.engine!r} cannot load {path.name!r}; the log has its reason.",
        ) from error
    return runner
