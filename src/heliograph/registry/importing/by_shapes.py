"""Recognising a model by the shapes of what it takes and gives, where nothing else speaks."""

from __future__ import annotations

from heliograph.registry.importing.draft import Draft, picture_input
from heliograph.runtimes.base import Tensor

_ENDS = {"Softmax": "none", "LogSoftmax": "", "Sigmoid": "none"}
_STRIDES = (8, 16, 32)


def movenet(draft: Draft) -> bool:
    """MoveNet SinglePose: one output [1, 1, 17, 3]."""
    tensor, outputs = picture_input(draft.evidence), draft.evidence.facts.outputs
    if tensor is None or len(outputs) != 1 or outputs[0].shape[-3:] != (1, 17, 3):
        return False
    draft.task = "keypoints"
    draft.decide(
        "task", "keypoints", f"{outputs[0].name} is [1, 17, 3], as MoveNet gives its joints"
    )
    draft.output["decoder"] = "movenet"
    draft.decide("decoder", "movenet", "y, x and score of the 17 points of COCO persons")
    draft.take_picture(tensor, fit="contain", fit_from="MoveNet was published with padding")
    draft.colour(tensor)
    draft.scale()
    return True


def yolo(draft: Draft) -> bool:
    """One table of boxes whose length is the number of cells of a YOLO head for this input."""
    tensor, outputs = picture_input(draft.evidence), draft.evidence.facts.outputs
    if tensor is None or len(outputs) != 1 or len(outputs[0].shape) != 3:
        return False
    if draft.evidence.facts.metadata.get("task", "detect") != "detect":
        # Its own notes say that the columns behind the boxes are points or angles.
        return False
    _, rows, columns = outputs[0].shape
    wide, high = sides(tensor)
    cells = sum((wide // s) * (high // s) for s in _STRIDES) if wide > 0 and high > 0 else 0
    name = outputs[0].name
    if cells and columns == cells and rows > 4:
        reason = f"{name} has a column for each of the {cells} cells at strides 8, 16 and 32"
        boxes(draft, tensor, "yolo-v8", rows - 4, reason)
    elif cells and rows == 3 * cells and columns > 5:
        reason = f"{name} has 3 rows for each of the {cells} cells at strides 8, 16 and 32"
        boxes(draft, tensor, "yolo-v5", columns - 5, reason)
    elif rows in {100, 300} and columns == 6:
        boxes(draft, tensor, "yolo-end2end", 0, f"{name} is a list of {rows} chosen boxes of six")
    else:
        return False
    return True


def boxes(draft: Draft, tensor: Tensor, decoder: str, classes: int, reason: str) -> None:
    """Decide for a YOLO head."""
    draft.task = "detection"
    draft.output["decoder"] = draft.answers.decoder or decoder
    draft.decide("task", "detection", reason)
    draft.decide("decoder", draft.output["decoder"], "its columns are centre, sides and classes")
    draft.input.update(pad=114)
    draft.take_picture(tensor, fit="contain", fit_from="YOLO was trained on letterboxed pictures")
    draft.colour(tensor)
    if tensor.dtype == "uint8":
        draft.scale()
    else:
        draft.scale(mean=(0.0,), std=(255.0,), reason="YOLO takes pixels as 0-1")
    draft.name_classes(classes)


def segmentation(draft: Draft) -> bool:
    """A map of class scores as large as the picture, or a whole number of times smaller."""
    tensor, outputs = picture_input(draft.evidence), draft.evidence.facts.outputs
    maps = [one for one in outputs if len(one.shape) == 4 and one.name not in {"aux", "aux_out"}]
    if tensor is None or len(maps) != 1 or maps[0].dtype != "float32":
        return False
    wide, high = sides(tensor)
    _, classes, down, across = maps[0].shape
    whole = wide > 0 and across > 0 and wide % across == 0 and high == down * (wide // across)
    named = maps[0].name in {"out", "logits"} and classes > 3
    said = draft.answers.task == "segmentation" or bool(draft.evidence.beside.labels)
    if not (said or named) or not (whole or named) or classes < 2:
        return False
    draft.task = "segmentation"
    draft.decide("task", "segmentation", f"{maps[0].name} is a map of {classes} classes")
    ends = draft.evidence.facts.last.get(maps[0].name, "")
    how = "none" if ends in {"Softmax", "Sigmoid"} else "softmax"
    draft.output.update(decoder="class-scores", output=maps[0].name, activation=how)
    draft.decide("decoder", "class-scores", f"the network ends in {ends or 'logits'}")
    draft.take_picture(tensor)
    draft.colour(tensor)
    draft.scale()
    draft.name_classes(classes)
    return True


def classifier(draft: Draft) -> bool:
    """One picture in, one row of scores out."""
    tensor, outputs = picture_input(draft.evidence), draft.evidence.facts.outputs
    if tensor is None or len(outputs) != 1 or len(outputs[0].shape) != 2:
        return False
    classes = outputs[0].shape[1]
    if outputs[0].dtype not in {"float32", "uint8", "int8", "float16"} or classes in {0, 1}:
        return False
    labels = draft.answers.labels or draft.evidence.beside.labels or draft.evidence.facts.labels
    ends = draft.evidence.facts.last.get(outputs[0].name, "")
    if not (labels or ends in _ENDS or classes in {1000, 1001, 21841, 21843}) and (
        draft.answers.task != "classification"
    ):
        # A row of numbers may as well be an embedding: without a sign it stays plain tensors.
        return False
    draft.task = "classification"
    draft.decide(
        "task", "classification", f"one picture in, one row of {classes} scores ({outputs[0].name})"
    )
    read_scores(draft, outputs[0])
    draft.take_picture(tensor)
    draft.colour(tensor)
    draft.scale()
    draft.name_classes(max(classes, 0))
    return True


def read_scores(draft: Draft, output: Tensor, activation: str = "", why: str = "") -> None:
    """Decide the decoder of one row of scores; `activation` where notes say it."""
    ends = draft.evidence.facts.last.get(output.name, "")
    draft.output.update(decoder="scores", output=output.name)
    quantised = draft.evidence.facts.quantised.get(output.name)
    if quantised:
        draft.output["scale"], draft.output["zero_point"] = quantised
        draft.decide("decoder", "scores", f"quantised: scale {quantised[0]:g}")
    if ends in {"Softmax", "Sigmoid"}:
        activation, why = "none", f"the network ends in {ends} itself"
    elif quantised and not activation:
        activation, why = "none", "quantised classifiers end in a softmax"
    elif not activation:
        activation, why = "softmax", f"the network ends in {ends or 'logits'}, not in scores"
    draft.output["activation"] = activation
    draft.decide("activation", activation, why)


def sides(tensor: Tensor) -> tuple[int, int]:
    """Width and height of a picture input, -1 where free."""
    nchw = tensor.shape[1] in {1, 3}
    return (tensor.shape[3], tensor.shape[2]) if nchw else (tensor.shape[2], tensor.shape[1])
