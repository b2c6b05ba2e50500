"""Recognising a model by the names of its outputs: exports of well-known libraries."""

from __future__ import annotations

from heliograph.registry.importing.by_shapes import sides
from heliograph.registry.importing.draft import Draft, picture_input
from heliograph.runtimes.base import Tensor

_TF = {"detection_boxes", "detection_scores", "detection_classes"}
_TORCHVISION = {"boxes", "labels", "scores"}
_DETECTRON = {"boxes": "pred_boxes", "labels": "pred_classes", "scores": "scores"}


def tensorflow_detection(draft: Draft) -> bool:
    """Exports of the TensorFlow Object Detection API, and models that speak as they do."""
    names = {one.name.split(":")[0]: one.name for one in draft.evidence.facts.outputs}
    tensor = picture_input(draft.evidence)
    if tensor is None or not set(names) >= _TF:
        return False
    draft.task = "detection"
    draft.decide(
        "task",
        "detection",
        f"{len(names)} outputs, among them detection_boxes, detection_scores and "
        f"detection_classes, as the TensorFlow Object Detection API exports",
    )
    draft.output["decoder"] = "tf-detection"
    for field, name in (
        ("boxes", "detection_boxes"),
        ("scores", "detection_scores"),
        ("classes", "detection_classes"),
    ):
        draft.output[field] = names[name]
    draft.output["count"] = names.get("num_detections", "")
    draft.decide("decoder", "tf-detection", "boxes are ymin, xmin, ymax, xmax as fractions")
    for mask, frame in (("detection_masks_reframed", "input"), ("detection_masks", "box")):
        if mask in names:
            draft.task = "instances"
            draft.output.update(decoder="tf-masks", masks=names[mask], frame=frame)
            draft.decide("decoder", "tf-masks", f"{mask}: a mask of each {frame}")
            break
    draft.take_picture(
        tensor, fit_from="these models resize by themselves", free=tensor.dtype == "uint8"
    )
    draft.colour(tensor)
    draft.scale()
    draft.name_classes(0)
    if draft.labels and draft.labels[0]:
        # The API's ids begin at 1; a labels file without an empty first line begins at 0.
        draft.labels = ("", *draft.labels)
        draft.decide("labels", "one line down", "class ids of this API begin at 1")
    return True


def detectron(draft: Draft) -> bool:
    """Traced exports of Detectron2: boxes, classes, scores and the picture's size, by type."""
    outputs = draft.evidence.facts.outputs
    tensor = unbatched_input(draft)
    sized = [one for one in outputs if one.shape == (2,) and one.dtype == "int64"]
    by_name = {one.name: one for one in outputs}
    named = set(by_name) >= set(_DETECTRON.values())
    if tensor is None or not (sized or named):
        return False
    if named:
        found: dict[str, Tensor] | None = {key: by_name[one] for key, one in _DETECTRON.items()}
    else:
        found = _by_type([one for one in outputs if one not in sized])
    if found is None:
        return False
    draft.task = "detection"
    draft.decide(
        "task",
        "detection",
        "boxes [n, 4], classes and scores [n] and the picture's size [2], as Detectron2's traced "
        "exports give",
    )
    _chosen_boxes(draft, found, first_class=0)
    _chosen_masks(draft, "box")
    _unbatched(draft, tensor, 800)
    draft.colour(tensor, channels="BGR", reason="Detectron2's configurations take BGR")
    draft.scale(mean=(0.0,), std=(1.0,), reason="Detectron2's networks scale pixels themselves")
    draft.name_classes(0)
    return True


def torchvision(draft: Draft) -> bool:
    """Exports of torchvision's detectors: boxes, labels and scores of the objects found."""
    outputs = draft.evidence.facts.outputs
    tensor = unbatched_input(draft) or picture_input(draft.evidence)
    if tensor is None:
        return False
    by_name = {one.name: one for one in outputs}
    if set(by_name) >= _TORCHVISION:
        found = {name: by_name[name] for name in _TORCHVISION}
        reason = "outputs named boxes, labels and scores, as torchvision's detectors give"
    else:
        guess = _by_type(list(outputs))
        if guess is None:
            return False
        found = guess
        reason = "boxes [n, 4], labels and scores [n], as torchvision's detectors give"
    if len(found["boxes"].shape) != 2:
        return False
    draft.task = "detection"
    draft.decide("task", "detection", reason)
    _chosen_boxes(draft, found, first_class=1)
    _chosen_masks(draft, "input")
    _unbatched(draft, tensor)
    draft.colour(tensor)
    draft.scale(mean=(0.0,), std=(255.0,), reason="torchvision's detectors take pixels as 0-1")
    draft.name_classes(0)
    return True


def _by_type(outputs: list[Tensor]) -> dict[str, Tensor] | None:
    """Boxes, labels and scores told apart by rank and type; None where they are not all there."""
    boxes = [one for one in outputs if len(one.shape) == 2 and one.shape[1] == 4]
    rows = [one for one in outputs if len(one.shape) == 1]
    labels = [one for one in rows if one.dtype in {"int64", "int32"}]
    scores = [one for one in rows if one.dtype == "float32"]
    if len(boxes) != 1 or len(labels) != 1 or len(scores) != 1:
        return None
    return {"boxes": boxes[0], "labels": labels[0], "scores": scores[0]}


def _chosen_boxes(draft: Draft, found: dict[str, Tensor], *, first_class: int) -> None:
    draft.output.update(
        decoder="torchvision",
        boxes=found["boxes"].name,
        labels=found["labels"].name,
        scores=found["scores"].name,
        first_class=first_class,
    )
    draft.decide(
        "decoder", "torchvision", f"corners in input pixels; class ids begin at {first_class}"
    )


def _chosen_masks(draft: Draft, frame: str) -> None:
    """Where there is a mask for each box, it is read, too."""
    masks = [
        one
        for one in draft.evidence.facts.outputs
        if one.dtype == "float32" and len(one.shape) in {3, 4} and one.shape[1:2] != (4,)
    ]
    if len(masks) != 1:
        return
    draft.task = "instances"
    draft.output.update(decoder="torchvision-masks", masks=masks[0].name, frame=frame)
    draft.decide("decoder", "torchvision-masks", f"{masks[0].name}: a mask of each {frame}")


def unbatched_input(draft: Draft) -> Tensor | None:
    """The one input where it is a picture without a batch axis, [3, height, width]."""
    inputs = draft.evidence.facts.inputs
    if len(inputs) != 1 or len(inputs[0].shape) != 3 or inputs[0].shape[0] != 3:
        return None
    return inputs[0]


def _unbatched(draft: Draft, tensor: Tensor, shortest: int = 0) -> None:
    """The input of detectors of any size; `shortest` of it where they do not resize."""
    batched = tensor
    if len(tensor.shape) == 3:
        batched = Tensor(tensor.name, tensor.dtype, (1, *tensor.shape))
        draft.unbatched = True
        draft.decide("batch", "added", f"{tensor.name} {list(tensor.shape)} has no batch axis")
    wide, _ = sides(batched)
    if wide < 0:
        draft.input.update(longest=1333, **({"shortest": shortest} if shortest else {}))
    draft.take_picture(
        batched, fit="contain", fit_from="these detectors keep the aspect", free=True
    )


def detr(draft: Draft) -> bool:
    """Detection transformers: class logits and boxes for each query."""
    tensor = picture_input(draft.evidence)
    outputs = {one.name: one for one in draft.evidence.facts.outputs}
    boxes = outputs.get("pred_boxes")
    logits = outputs.get("pred_logits") or outputs.get("logits")
    if tensor is None or boxes is None or logits is None or len(logits.shape) != 3:
        return False
    draft.task = "detection"
    draft.decide("task", "detection", f"outputs {logits.name} and pred_boxes, as DETR's kin give")
    draft.output.update(decoder="detr", logits=logits.name, boxes=boxes.name)
    draft.decide("decoder", "detr", "softmax, the last class means no object; say --set "
                 "output.activation=sigmoid for RT-DETR and Deformable DETR")  # fmt: skip
    draft.input.update({"shortest": 800, "longest": 1333} if sides(tensor)[0] < 0 else {})
    draft.take_picture(tensor, free=True)
    draft.colour(tensor)
    draft.scale()
    draft.name_classes(0)
    return True
