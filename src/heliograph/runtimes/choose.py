"""Which engine runs a model file, and why: decided by what the file is and by trying."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from heliograph.core.errors import Code, HeliographError
from heliograph.runtimes.base import Plan, Runner
from heliograph.runtimes.engines import open_runner

_BY_ENDING = {
    ".onnx": ("onnx", "ONNX files are ONNX Runtime's own"),
    ".xml": ("openvino", "IR is OpenVINO's own format"),
    ".tflite": ("openvino", "OpenVINO reads TFLite without TensorFlow"),
    ".keras": ("tensorflow", "only Keras reads .keras files"),
    ".pt2": ("torch", "exported programs are PyTorch's own"),
    ".pt": ("torch", "TorchScript is PyTorch's own"),
    ".torchscript": ("torch", "TorchScript is PyTorch's own"),
}


_NARROWED = {"float64", "int64", "uint64"}


class Choice(NamedTuple):
    """An engine and the reason for it, in a sentence."""

    engine: str
    reason: str


def choose_engine(
    path: Path, *, signature: str = "", load: Callable[[Path, Plan], Runner] = open_runner
) -> Choice:
    """Decide which engine runs a file.

    A SavedModel or frozen graph goes to OpenVINO where it converts and compiles: no TensorFlow is
    loaded then. Trying runs a foreign file's converter, so call this behind the wall.

    Args:
        path: a file, or the folder of a SavedModel.
        signature: the SavedModel's signature that is wanted; empty for its `serving_default`.
        load: opens a runner.

    Raises:
        HeliographError: `model_format` for a file of a kind that no engine reads.
    """
    if path.is_dir() and not (path / "saved_model.pb").is_file():
        raise HeliographError(Code.MODEL_FORMAT, "The folder holds no saved_model.pb.")
    if not path.is_dir() and path.suffix != ".pb":
        if path.suffix not in _BY_ENDING:
            raise HeliographError(
                Code.MODEL_FORMAT,
                f"No engine reads {path.suffix or 'such'} files; there are "
                f"{', '.join(_BY_ENDING)}, .pb and SavedModel folders.",
            )
        return Choice(*_BY_ENDING[path.suffix])
    if signature not in {"", "serving_default"}:
        return Choice("tensorflow", f"OpenVINO reads serving_default only, not {signature!r}")
    try:
        runner = load(path, Plan("openvino"))
    except HeliographError as error:
        return Choice("tensorflow", f"OpenVINO does not convert it: {_why(error)}")
    wide = [one.name for one in runner.inputs if one.dtype in _NARROWED]
    runner.close()
    if wide:
        return Choice("tensorflow", f"OpenVINO would compute {wide[0]!r} in 32 bits")
    return Choice("openvino", "OpenVINO converts and compiles it, so TensorFlow is not needed")


def _why(error: HeliographError) -> str:
    """The operations that OpenVINO misses, where its message names them."""
    for line in str(error.__cause__ or "").splitlines():
        _, found, missing = line.partition("No conversion rule found for operations: ")
        if found:
            return f"it has no rule for {missing.strip()[:200]}"
    return "its converter failed" if error.__cause__ else error.detail


def scratch_environment(folder: Path | None = None) -> dict[str, str]:
    """Environment for a process that loads TensorFlow or PyTorch: they write nowhere else.

    Args:
        folder: where their caches and settings may lie; a folder of the system's temporary ones
            when None.
    """
    # Not asked of `tempfile`, which fails where nothing at all may be written.
    scratch = str(folder or Path(os.environ.get("TMPDIR") or "/tmp", "heliograph-engines"))  # noqa: S108
    return {
        "KERAS_HOME": scratch,
        "TORCH_HOME": scratch,
        "TORCHINDUCTOR_CACHE_DIR": scratch,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_ENABLE_ONEDNN_OPTS": "1",
        "XDG_CACHE_HOME": scratch,
    }
