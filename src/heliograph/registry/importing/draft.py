"""What recognisers write on: one model's decisions and questions as they are found.

The steps that every picture model needs are here, too: its layout, its size, its channels, its
scaling. An operator's answer always comes first, and is said to be the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from heliograph.core.errors import Code, HeliographError
from heliograph.registry.importing.values import (
    Decision,
    Evidence,
    Inferred,
    Question,
    spelled,
)
from heliograph.runtimes.base import Tensor

SCALINGS: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "imagenet": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "0-1": ((0.0,), (255.0,)),
    "-1-1": ((127.5,), (127.5,)),
    "0-255": ((0.0,), (1.0,)),
}
"""Mean and std, on the 0-255 scale, of the usual ways to scale pixels."""

_OWN = {"Sub", "Div", "QuantizeLinear", "DequantizeLinear"}
_SAID = "as you said"


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator said; what is left empty is inferred.

    Attributes:
        task: a task, or `tensors`.
        decoder: a decoder's name.
        labels: by class id.
        width: pixels.
        height: pixels.
        layout: `NCHW` or `NHWC`.
        channels: `RGB`, `BGR` or `GRAY`.
        scaling: a key of `SCALINGS`.
        mean: on the 0-255 scale.
        std: likewise.
        set: further fields of `[input]` and `[output]`, by `input.NAME` or `output.NAME`.
    """

    task: str = ""
    decoder: str = ""
    labels: tuple[str, ...] = ()
    width: int = 0
    height: int = 0
    layout: str = ""
    channels: str = ""
    scaling: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    set: dict[str, Any] = {}


@dataclass(slots=True)
class Draft:
    """One model's `[input]`, `[output]` and the reasons for them, while they are found out."""

    evidence: Evidence
    answers: Answers
    task: str = "tensors"
    input: dict[str, Any] = field(default_factory=dict[str, Any])
    output: dict[str, Any] = field(default_factory=dict[str, Any])
    labels: tuple[str, ...] = ()
    decisions: list[Decision] = field(default_factory=list[Decision])
    questions: list[Question] = field(default_factory=list[Question])
    unbatched: bool = False

    def decide(self, name: str, value: object, reason: str) -> None:
        """Note what was decided, and why."""
        self.decisions.append(Decision(name, str(value), reason))

    def ask(self, name: str, why: str, *choices: str) -> None:
        """Note what cannot be inferred."""
        self.questions.append(Question(name, why, choices))

    def finish(self) -> Inferred:
        """The frozen result."""
        for name, value in self.answers.set.items():
            table, _, key = name.partition(".")
            if table not in {"input", "output"} or not key:
                raise HeliographError(
                    Code.VALIDATION, f"--set {name[:60]}: expected input.FIELD or output.FIELD."
                )
            (self.input if table == "input" else self.output)[key] = value
            self.decide(name, value, _SAID)
        return Inferred(
            self.task,
            self.input,
            self.output,
            self.labels,
            tuple(self.decisions),
            tuple(self.questions),
            self.unbatched,
        )

    # --- the input of every picture model ----------------------------------------------------

    def take_picture(
        self,
        tensor: Tensor,
        *,
        size: tuple[int, int] = (0, 0),
        size_from: str = "",
        fit: str = "stretch",
        fit_from: str = "the whole picture; say --set input.fit=crop for its middle",
        free: bool = False,
    ) -> None:
        """Decide name, layout, type and size of the picture's input.

        Args:
            tensor: the input.
            size: width and height that the notes beside the model give, 0 for none.
            size_from: which notes.
            fit: how a picture is laid into it.
            fit_from: why.
            free: the model takes pictures of any size as they are.
        """
        layout = self.answers.layout or layout_of(tensor) or "NCHW"
        self.input["name"] = tensor.name
        self.input["layout"] = layout
        self.input["dtype"] = "uint8" if tensor.dtype == "uint8" else "float32"
        self.decide("layout", layout, _SAID if self.answers.layout else spelled(tensor))
        self._size(tensor, layout, size, size_from, free=free)
        self.input["fit"] = fit
        self.decide("fit", fit, fit_from)

    def _size(
        self, tensor: Tensor, layout: str, noted: tuple[int, int], noted_in: str, *, free: bool
    ) -> None:
        height, width = tensor.shape[2:4] if layout == "NCHW" else tensor.shape[1:3]
        wanted = (self.answers.width, self.answers.height)
        if wanted[0]:
            for said, own in zip(wanted, (width, height), strict=True):
                if own not in {-1, said}:
                    raise HeliographError(
                        Code.VALIDATION,
                        f"--size {wanted[0]}x{wanted[1]}: the model takes {width}x{height} only.",
                    )
            self._sized(wanted, _SAID)
        elif width > 0 and height > 0:
            self._sized((width, height), spelled(tensor))
        elif noted[0]:
            self._sized(noted, noted_in)
        elif free:
            self._sized((0, 0), f"{tensor.name} takes any size: each picture as it is")
        else:
            self.ask(
                "--size",
                f"The input {tensor.name} takes pictures of any size, and nothing says at which "
                f"the model was trained.",
                "224x224",
                "640x640",
            )

    def _sized(self, size: tuple[int, int], reason: str) -> None:
        self.input["width"], self.input["height"] = size
        self.decide("size", "as it is" if not size[0] else f"{size[0]}x{size[1]}", reason)

    def colour(self, tensor: Tensor, *, channels: str = "", reason: str = "") -> None:
        """Decide the channels: `channels` if the notes name them."""
        layout = self.input.get("layout", "NCHW")
        count = tensor.shape[1] if layout == "NCHW" else tensor.shape[3]
        if self.answers.channels:
            channels, reason = self.answers.channels, _SAID
        elif count == 1:
            channels, reason = "GRAY", f"{tensor.name} has one channel"
        elif not channels:
            channels, reason = "RGB", "as nearly every export takes; say --channels BGR otherwise"
        self.input["channels"] = channels
        self.decide("channels", channels, reason)

    def scale(
        self,
        *,
        mean: tuple[float, ...] = (),
        std: tuple[float, ...] = (),
        reason: str = "",
    ) -> None:
        """Decide how pixels become numbers: `mean` and `std` on the 0-255 scale if notes say so."""
        answers, notes = self.answers, self.evidence.facts.metadata
        if not mean and "tflite.mean" in notes and self.input.get("dtype") != "uint8":
            mean, std = (
                tuple(float(one) for one in notes[key].split(","))
                for key in ("tflite.mean", "tflite.std")
            )
            reason = "the normalisation in its TFLite metadata"
        if answers.scaling:
            (mean, std), reason = SCALINGS[answers.scaling], _SAID
        if answers.mean or answers.std:
            mean, std, reason = answers.mean or mean or (0.0,), answers.std or std or (1.0,), _SAID
        elif not answers.scaling and not mean:
            if self.input.get("dtype") == "uint8":
                mean, std = SCALINGS["0-255"]
                reason = "the input is uint8: pixels as they are"
            elif set(self.evidence.facts.first) & _OWN:
                mean, std = SCALINGS["0-255"]
                first = ", ".join(self.evidence.facts.first[:3])
                reason = f"the network scales its input itself: its first operation is {first}"
        if not mean:
            self.ask(
                "--scaling",
                "Nothing says how pixels become numbers for this network: it answers nonsense if "
                "that is wrong. (--mean and --std say it freely, on the 0-255 scale.)",
                *SCALINGS,
            )
            return
        self.input["mean"], self.input["std"] = list(mean), list(std)
        self.decide("scaling", f"(pixel - {_short(mean)}) / {_short(std)}", reason)

    def name_classes(self, count: int, labels: tuple[str, ...] = (), source: str = "") -> None:
        """Decide the labels for `count` classes (0 for unknown)."""
        beside = self.evidence.beside
        options = [
            (self.answers.labels, _SAID),
            (labels, source),
            (beside.labels, f"lines of {beside.labels_from}"),
            (self.evidence.facts.labels, "a labels file inside the model file"),
        ]
        for found, origin in options:
            if not found:
                continue
            reason = origin
            if count and len(found) != count:
                if found is self.answers.labels:
                    raise HeliographError(
                        Code.VALIDATION,
                        f"--labels has {len(found)} lines, but the model has {count} classes.",
                    )
                reason = f"{reason}; the model has {count} scores"
            self.labels = tuple(found)
            self.decide("labels", f"{len(found)}: {', '.join(found[:3])} …", reason)
            return
        self.decide("labels", "none", "none lie beside the model: class numbers are answered")


def layout_of(tensor: Tensor) -> str:
    """`NCHW` or `NHWC` where the shape tells it; empty where it does not."""
    if len(tensor.shape) != 4:
        return ""
    first, last = tensor.shape[1], tensor.shape[3]
    if first in {1, 3} and last not in {1, 3}:
        return "NCHW"
    if last in {1, 3} and first not in {1, 3}:
        return "NHWC"
    return "NCHW" if first == 3 else ""


def picture_input(evidence: Evidence) -> Tensor | None:
    """The one input of a model that takes a picture; None if it takes anything else."""
    inputs = evidence.facts.inputs
    if len(inputs) != 1 or inputs[0].dtype not in {"float32", "uint8"}:
        return None
    return inputs[0] if layout_of(inputs[0]) else None


def _short(values: tuple[float, ...]) -> str:
    return ", ".join(f"{one:g}" for one in values)
