"""Recognising a model by what its files say in words: metadata, configurations, manifests."""

from __future__ import annotations

from collections.abc import Mapping

from heliograph.registry.importing import by_shapes, notes_hub, notes_ultralytics
from heliograph.registry.importing.draft import Draft, picture_input
from heliograph.registry.importing.values import Decision, Format
from heliograph.runtimes.base import Tensor

_BOXES = ("detected_boxes", "detected_classes", "detected_scores")
ultralytics = notes_ultralytics.recognise
transformers = notes_hub.transformers
timm = notes_hub.timm


def custom_vision(draft: Draft) -> bool:
    """Exports of Azure Custom Vision: `cvexport.manifest`, or the notes in its ONNX files.

    Source: Azure-Samples/customvision-export-samples.
    """
    manifest, facts = draft.evidence.beside.manifest, draft.evidence.facts
    noted = facts.metadata.get("Image.BitmapPixelFormat", "")
    tensor = picture_input(draft.evidence)
    outputs = {one.name.split(":")[0]: one for one in facts.outputs}
    if tensor is None or not (manifest.get("DomainType") or noted):
        return False
    reason = (
        f"cvexport.manifest says {manifest.get('DomainType')}"
        if manifest
        else f"its notes say Image.BitmapPixelFormat = {noted}, as Custom Vision's exports do"
    )
    if not (_boxes(draft, outputs) or _scores(draft)):
        return False
    draft.decisions.insert(0, Decision("task", draft.task, reason))
    draft.take_picture(
        tensor,
        size=(320, 320) if draft.task == "detection" else (224, 224),
        size_from="the size of Custom Vision's compact domains",
        fit_from="the whole picture, as Custom Vision's own samples prepare it",
    )
    _pixels(draft, tensor, noted)
    draft.name_classes(0)
    return True


def _boxes(draft: Draft, outputs: Mapping[str, Tensor]) -> bool:
    if set(outputs) >= set(_BOXES):
        draft.output["decoder"] = "custom-vision"
        draft.decide("decoder", "custom-vision", ", ".join(_BOXES))
    else:
        grids = [one for one in outputs.values() if len(one.shape) == 4]
        if len(grids) != 1 or len(outputs) != 1:
            return False
        layout = "NHWC" if grids[0].shape[1] == grids[0].shape[2] else "NCHW"
        draft.output.update(decoder="custom-vision-grid", output=grids[0].name, layout=layout)
        draft.decide("decoder", "custom-vision-grid", f"a raw grid, {list(grids[0].shape)}")
    draft.task = "detection"
    return True


def _scores(draft: Draft) -> bool:
    rows = draft.evidence.facts.outputs
    scores = [one for one in rows if len(one.shape) == 2 and one.dtype == "float32"]
    if len(scores) != 1:
        return False
    draft.task = "classification"
    by_shapes.read_scores(draft, scores[0], "none", "Custom Vision's networks end in scores")
    return True


def _pixels(draft: Draft, tensor: Tensor, noted: str) -> None:
    """Channels and scaling: ONNX exports note them, the others are as their samples say."""
    span = draft.evidence.facts.metadata.get("Image.NominalPixelRange", "")
    if draft.evidence.format is Format.ONNX:
        blue = noted == "Bgr8"
        draft.colour(
            tensor,
            channels="BGR" if blue else "RGB",
            reason=f"Image.BitmapPixelFormat = {noted or 'nothing'}",
        )
        whole = span == "NominalRange_0_255"
        why = f"Image.NominalPixelRange = {span or 'nothing'}"
        draft.scale(mean=(0.0,), std=(1.0 if whole else 255.0,), reason=why)
        return
    blue = draft.task == "classification"
    sample = "as Custom Vision's sample for this kind of export prepares it"
    draft.colour(tensor, channels="BGR" if blue else "RGB", reason=sample)
    unit = draft.output["decoder"] == "custom-vision-grid"
    draft.scale(mean=(0.0,), std=(255.0 if unit else 1.0,), reason=sample)
