"""Models exported by ultralytics: their metadata names the task, the size and the classes.

Source: `engine/exporter.py` of ultralytics/ultralytics (`task`, `imgsz`, `names`, `stride`) and
`export.py` of ultralytics/yolov5 (`names`, `stride`).
"""

from __future__ import annotations

import re

from heliograph.registry.importing import by_shapes
from heliograph.registry.importing.companions import MOST_LABELS, clean
from heliograph.registry.importing.draft import Draft, picture_input
from heliograph.runtimes.base import Tensor

_NAME = re.compile(r"(\d{1,6}):\s*(?:'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\")")
_SIZE = re.compile(r"\[?\s*(\d{2,4})\s*(?:,\s*(\d{2,4}))?\s*\]?")


def recognise(draft: Draft) -> bool:
    """Decide by the notes; the shapes say which generation of the network it is."""
    notes, tensor = draft.evidence.facts.metadata, picture_input(draft.evidence)
    if tensor is None or "names" not in notes or "stride" not in notes:
        return False
    names = read_names(notes["names"])
    task = notes.get("task", "detect")
    if task == "classify":
        _classify(draft, tensor, names)
    elif task == "detect":
        if not _detect(draft, tensor, names):
            return False
    elif task == "segment":
        if not _segment(draft, tensor, names):
            return False
    else:
        return False
    draft.decisions[0] = type(draft.decisions[0])(
        "task", draft.task, f"its notes say task = {task!r}, as ultralytics exports do"
    )
    return True


def read_names(said: str) -> tuple[str, ...]:
    """`{0: 'person', 1: "bird's nest"}` to labels by class id, without evaluating anything."""
    names: dict[int, str] = {}
    for number, single, double in _NAME.findall(said):
        if int(number) < MOST_LABELS:
            names[int(number)] = re.sub(r"\\(.)", r"\1", single or double)
    return clean([names.get(one, "") for one in range(max(names, default=-1) + 1)])


def _size(draft: Draft) -> tuple[int, int]:
    match = _SIZE.match(draft.evidence.facts.metadata.get("imgsz", ""))
    if not match:
        return 0, 0
    # imgsz is height, width.
    return int(match[2] or match[1]), int(match[1])


def _classify(draft: Draft, tensor: Tensor, names: tuple[str, ...]) -> None:
    draft.task = "classification"
    draft.decide("task", "classification", "")
    by_shapes.read_scores(
        draft, draft.evidence.facts.outputs[0], "none", "ultralytics exports end in a softmax"
    )
    draft.take_picture(
        tensor,
        size=_size(draft),
        size_from="imgsz in its notes",
        fit="crop",
        fit_from="ultralytics classifies the middle of the picture",
    )
    draft.colour(tensor)
    draft.scale(mean=(0.0,), std=(255.0,), reason="ultralytics takes pixels as 0-1")
    draft.name_classes(len(names), names, "names in its notes")


def _detect(draft: Draft, tensor: Tensor, names: tuple[str, ...]) -> bool:
    outputs = draft.evidence.facts.outputs
    decoder, reason = _generation(outputs[0], len(names)) if outputs else ("", "")
    if decoder:
        _common(draft, tensor, names, decoder, reason)
    return bool(decoder)


def _generation(output: Tensor, classes: int, weights: int = 0) -> tuple[str, str]:
    """Which decoder reads a table of boxes, and why; `weights` of prototypes follow the classes."""
    if len(output.shape) != 3:
        return "", ""
    _, rows, columns = output.shape
    if columns == 6 + weights and rows != 4 + classes + weights:
        return "yolo-end2end", f"rows of {columns}: chosen boxes"
    if rows == 4 + classes + weights:
        return "yolo-v8", f"{rows} rows: centre, sides, a score for each of {classes} classes"
    if columns == 5 + classes + weights:
        return "yolo-v5", f"{columns} columns: an objectness before the {classes} classes"
    return "", ""


def _common(
    draft: Draft, tensor: Tensor, names: tuple[str, ...], decoder: str, reason: str
) -> None:
    draft.task = "detection"
    draft.decide("task", "detection", "")
    first = draft.evidence.facts.outputs[0]
    draft.output.update(decoder=decoder, output=first.name)
    draft.decide("decoder", decoder, f"{first.name} {list(first.shape)}: {reason}")
    draft.input["pad"] = 114
    draft.take_picture(
        tensor,
        size=_size(draft),
        size_from="imgsz in its notes",
        fit="contain",
        fit_from="ultralytics letterboxes pictures",
    )
    draft.colour(tensor)
    draft.scale(mean=(0.0,), std=(255.0,), reason="ultralytics takes pixels as 0-1")
    draft.name_classes(len(names), names, "names in its notes")


def _segment(draft: Draft, tensor: Tensor, names: tuple[str, ...]) -> bool:
    outputs = draft.evidence.facts.outputs
    if len(outputs) < 2 or len(outputs[1].shape) != 4:
        return False
    boxes, protos = outputs[:2]
    weights = protos.shape[1]
    decoder, reason = _generation(boxes, len(names), weights)
    if not decoder:
        return False
    _common(draft, tensor, names, f"{decoder}-masks", f"{reason}, {weights} weights of prototypes")
    draft.output["protos"] = protos.name
    draft.task = "instances"
    return True
