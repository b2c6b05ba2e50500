"""Which task a model does, and how it is fed and read: inferred, each decision with its reason.

Recognisers are asked in order, from the surest sign (a configuration or metadata that says so) to
the weakest (shapes alone). What nobody recognises is served as plain tensors.
"""

from __future__ import annotations

from collections.abc import Callable

from heliograph.core.errors import Code, HeliographError
from heliograph.registry.importing import by_notes, by_outputs, by_shapes
from heliograph.registry.importing.draft import Answers, Draft
from heliograph.registry.importing.values import Evidence, Inferred, spelled
from heliograph.vision.tasks import TASKS

RECOGNISERS: tuple[Callable[[Draft], bool], ...] = (
    by_notes.custom_vision,
    by_notes.ultralytics,
    by_notes.transformers,
    by_notes.timm,
    by_outputs.tensorflow_detection,
    by_outputs.detectron,
    by_outputs.torchvision,
    by_outputs.detr,
    by_shapes.movenet,
    by_shapes.yolo,
    by_shapes.segmentation,
    by_shapes.classifier,
)
"""Each fills the draft and says yes, or leaves it alone and says no."""


def infer(evidence: Evidence, answers: Answers) -> Inferred:
    """Decide what a model will be served as.

    Args:
        evidence: what is known about it.
        answers: what the operator said.

    Raises:
        HeliographError: `validation` for an answer that cannot be.
    """
    if answers.task and answers.task != "tensors" and answers.task not in TASKS:
        known = ", ".join(sorted([*TASKS, "tensors"]))
        raise HeliographError(
            Code.VALIDATION, f"--task {answers.task[:60]!r} is not one of {known}."
        )
    if answers.task == "tensors":
        draft = Draft(evidence, answers)
        draft.decide("task", "tensors", "as you said")
        return draft.finish()
    for recognise in RECOGNISERS:
        draft = Draft(evidence, answers)
        if recognise(draft) and answers.task in {"", draft.task}:
            return draft.finish()
    draft = Draft(evidence, answers)
    if answers.task or answers.decoder:
        _as_said(draft)
    else:
        draft.decide("task", "tensors", _why_not(evidence))
    return draft.finish()


def _as_said(draft: Draft) -> None:
    """The operator names the task of a model that nothing recognises."""
    from heliograph.registry.importing.draft import picture_input

    tensor = picture_input(draft.evidence)
    if tensor is None:
        raise HeliographError(
            Code.VALIDATION,
            f"--task {draft.answers.task}: the model does not take one picture; its inputs are "
            + ", ".join(map(spelled, draft.evidence.facts.inputs))
            + ".",
        )
    if not draft.answers.decoder:
        raise HeliographError(
            Code.VALIDATION,
            f"--task {draft.answers.task}: nothing says how its outputs are read; name it with "
            f"--decoder (docs/reference/model-toml.md lists them).",
        )
    draft.task = draft.answers.task
    draft.output["decoder"] = draft.answers.decoder
    draft.decide("task", draft.task, "as you said")
    draft.decide("decoder", draft.answers.decoder, "as you said")
    draft.take_picture(tensor)
    draft.colour(tensor)
    draft.scale()
    draft.name_classes(0)


def _why_not(evidence: Evidence) -> str:
    facts = evidence.facts
    inputs = ", ".join(map(spelled, facts.inputs[:3]))
    outputs = ", ".join(map(spelled, facts.outputs[:3]))
    return f"no image task that is known goes from {inputs} to {outputs}"
