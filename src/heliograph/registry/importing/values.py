"""The frozen values that an import passes from step to step.

A source becomes a `Found` (what it is), that an `Evidence` (what is known about it), that an
`Inferred` (what it will be served as, each decision with its reason, and what must be asked).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from heliograph.runtimes.base import Tensor


class Format(StrEnum):
    """What a model file can be, told by its content."""

    FROZEN_GRAPH = "frozen-graph"
    H5 = "h5"
    KERAS = "keras"
    LIGHTGBM = "lightgbm"
    ONNX = "onnx"
    OPENVINO = "openvino"
    PICKLE = "pickle"
    PT2 = "pt2"
    SAFETENSORS = "safetensors"
    SAVED_MODEL = "saved-model"
    SKOPS = "skops"
    TFLITE = "tflite"
    TORCH_PICKLE = "torch-pickle"
    TORCHSCRIPT = "torchscript"
    XGBOOST = "xgboost"
    ZIP = "zip"


TITLES: Mapping[Format, str] = {
    Format.FROZEN_GRAPH: "a TensorFlow frozen graph",
    Format.H5: "an HDF5 file",
    Format.KERAS: "a Keras model (.keras)",
    Format.LIGHTGBM: "a LightGBM model",
    Format.ONNX: "an ONNX model",
    Format.OPENVINO: "an OpenVINO model (IR)",
    Format.PICKLE: "a Python pickle",
    Format.PT2: "a PyTorch ExportedProgram (.pt2)",
    Format.SAFETENSORS: "safetensors weights",
    Format.SAVED_MODEL: "a TensorFlow SavedModel",
    Format.SKOPS: "a skops file",
    Format.TFLITE: "a TensorFlow Lite model",
    Format.TORCH_PICKLE: "a PyTorch pickle",
    Format.TORCHSCRIPT: "a TorchScript program",
    Format.XGBOOST: "an XGBoost model",
    Format.ZIP: "a zip archive",
}


@dataclass(frozen=True, slots=True)
class Found:
    """A model where it lies.

    Attributes:
        format: what its content is.
        main: the model file; for a SavedModel its folder.
        around: the folder whose labels and configuration files belong to it; None for a lone file
            (then only files that carry its name count).
        note: how it was found, in words, where there was a choice.
    """

    format: Format
    main: Path
    around: Path | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Staged:
    """A model copied into a folder of ours, where nobody changes it between check and use.

    Attributes:
        format: what it is.
        folder: our copy.
        file: the main file's name in it (a folder's name for a SavedModel).
        parts: paths of the other files that belong to it, relative to `folder`.
    """

    format: Format
    folder: Path
    file: str
    parts: tuple[str, ...] = ()

    @property
    def main(self) -> Path:
        """The main file."""
        return self.folder / self.file


@dataclass(frozen=True, slots=True)
class Facts:
    """What a model file says about itself.

    Attributes:
        inputs: names, numpy types and shapes, -1 where free.
        outputs: likewise.
        engine: which engine runs it.
        why_engine: the reason, where it was a choice.
        recipe: the recipe that converts it first; empty for none.
        metadata: the file's own notes, such as an ONNX model's `metadata_props`.
        last: for each output the operation that makes it, e.g. `Softmax`; empty where unknown.
        first: the operations that the (first) input goes into.
        quantised: for each quantised output its scale and zero point.
        labels: labels that lie inside the file.
    """

    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    engine: str = "onnx"
    why_engine: str = ""
    recipe: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    last: Mapping[str, str] = field(default_factory=dict[str, str])
    first: tuple[str, ...] = ()
    quantised: Mapping[str, tuple[float, float]] = field(
        default_factory=dict[str, tuple[float, float]]
    )
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Companions:
    """What lies beside a model and speaks of it.

    Attributes:
        labels: one label a line, by class id; empty for none.
        labels_from: the file they come from.
        config: Hugging Face `config.json` (transformers or timm).
        preprocessor: Hugging Face `preprocessor_config.json`.
        manifest: Azure Custom Vision's `cvexport.manifest`.
        licence: SPDX identifier, where a model card or manifest names one.
    """

    labels: tuple[str, ...] = ()
    labels_from: str = ""
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    preprocessor: Mapping[str, Any] = field(default_factory=dict[str, Any])
    manifest: Mapping[str, Any] = field(default_factory=dict[str, Any])
    licence: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that is known before anything is decided."""

    format: Format
    facts: Facts
    beside: Companions


@dataclass(frozen=True, slots=True)
class Decision:
    """One thing that was inferred: what, its value, and why."""

    field: str
    value: str
    reason: str


@dataclass(frozen=True, slots=True)
class Question:
    """One thing that cannot be inferred.

    Attributes:
        field: the option that answers it, e.g. `--mean`.
        why: what is missing and what it decides.
        choices: answers that are often right.
    """

    field: str
    why: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Inferred:
    """What a model will be served as.

    Attributes:
        task: a task of `vision/tasks`, or `tensors`.
        input: the `[input]` table; empty for `tensors`.
        output: the `[output]` table; empty for `tensors`.
        labels: by class id.
        decisions: what was decided, with reasons.
        questions: what must be asked before it can be served.
        unbatched: the model's picture has no batch axis and must be given one.
    """

    task: str = "tensors"
    input: Mapping[str, Any] = field(default_factory=dict[str, Any])
    output: Mapping[str, Any] = field(default_factory=dict[str, Any])
    labels: tuple[str, ...] = ()
    decisions: tuple[Decision, ...] = ()
    questions: tuple[Question, ...] = ()
    unbatched: bool = False


def spelled(tensor: Tensor) -> str:
    """A tensor in words, such as `pixels float32 [any, 3, 224, 224]`."""
    sizes = ", ".join("any" if size < 0 else str(size) for size in tensor.shape)
    return f"{tensor.name} {tensor.dtype} [{sizes}]"
