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
    "tensorflow": ("heliograph.runtimes.tensorflow", "TensorflowRunner"),
    "torch": ("heliograph.runtimes.torch", "TorchRunner"),
}
"""Engine name -> module and class; `identity` needs no file and stands beside them."""

EXTRAS = {"tensorflow": "tensorflow", "torch": "torch"}
"""Engines that the base installation has no library for, and the extra that brings it."""

_UNSAFE = {"torch"}
"""Engines that know files which they load only where an operator allows it."""


def open_runner(path: Path, plan: Plan, *, unsafe: bool = False) -> Runner:
    """Load a model file with the plan's engine.

    Args:
        path: the file, or the folder of a SavedModel.
        plan: engine, threads and instances.
        unsafe: whether the operator allows formats that can carry a program (TorchScript).

    Raises:
        HeliographError: `model_unavailable` if the engine's library is not installed,
            `model_invalid` if the engine is unknown or cannot load the file; what the engine
            itself refuses.
    """
    if plan.engine in {"identity", "pipeline"}:
        return IdentityRunner()
    if plan.engine not in ENGINES:
        raise HeliographError(
            Code.MODEL_INVALID,
            f"There is no engine {plan.engine!r}; there are {', '.join(sorted(ENGINES))}.",
        )
    module, name = ENGINES[plan.engine]
    options = {"unsafe": unsafe} if plan.engine in _UNSAFE else {}
    try:
        runner: Runner = getattr(importlib.import_module(module), name)(path, plan, **options)
    except HeliographError:
        raise
    except ModuleNotFoundError as error:
        if plan.engine not in EXTRAS:
            raise
        raise HeliographError(
            Code.MODEL_UNAVAILABLE,
            f"The engine {plan.engine!r} is not installed: pip install "
            f"'heliograph[{EXTRAS[plan.engine]}]'.",
        ) from error
    except Exception as error:
        raise HeliographError(
            Code.MODEL_INVALID,
            f"The engine {plan.engine!r} cannot load {path.name!r}; the log has its reason.",
        ) from error
    return runner
