"""Models from the Hugging Face Hub: `config.json` and `preprocessor_config.json` speak for them.

Sources: `image_processing_utils.py` of huggingface/transformers (the preprocessor's fields), and
`models/_hub.py` of huggingface/pytorch-image-models (timm's `config.json`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from heliograph.registry.importing import by_shapes
from heliograph.registry.importing.companions import MOST_LABELS, clean
from heliograph.registry.importing.draft import Draft, picture_input
from heliograph.runtimes.base import Tensor

_FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "area", 5: "bilinear"}
"""PIL's numbers for filters."""

_SIGMOID = {
    "conditional_detr", "d_fine", "dab-detr", "deformable_detr", "deta", "rt_detr", "rt_detr_v2",
}  # fmt: skip


def transformers(draft: Draft) -> bool:
    """Exports of transformers models, by the class that `architectures` names."""
    config, facts = draft.evidence.beside.config, draft.evidence.facts
    tensor = picture_input(draft.evidence)
    kinds = [str(one) for one in _list(config.get("architectures"))]
    if tensor is None or not kinds or not facts.outputs:
        return False
    by_name = {one.name: one for one in facts.outputs}
    names = _names(config)
    kind = kinds[0]
    logits = by_name.get("logits", facts.outputs[0])
    if kind.endswith(("ForImageClassification", "WithTeacher")):
        several = config.get("problem_type") == "multi_label_classification"
        _classification(draft, logits, kind, several=several)
    elif kind.endswith("ForObjectDetection") and {"logits", "pred_boxes"} <= set(by_name):
        _detection(draft, str(config.get("model_type", "")), kind)
    elif kind.endswith("ForSemanticSegmentation") and len(logits.shape) == 4:
        draft.task = "segmentation"
        draft.output.update(decoder="class-scores", output=logits.name, activation="softmax")
        draft.decide("decoder", "class-scores", f"{logits.name}: a map of logits for each class")
    elif not _features(draft, by_name):
        return False
    draft.decisions.insert(0, _says(draft, f"config.json says {kind}"))
    _input(draft, tensor)
    classes = logits.shape[-1] if draft.task == "classification" else 0
    if draft.task != "embedding":
        draft.name_classes(max(classes, 0), names, "id2label in config.json")
    return True


def timm(draft: Draft) -> bool:
    """Exports of timm models: `pretrained_cfg` (or the same fields without it)."""
    config, facts = draft.evidence.beside.config, draft.evidence.facts
    own = config.get("pretrained_cfg", config)
    tensor = picture_input(draft.evidence)
    if tensor is None or not isinstance(own, Mapping) or "architecture" not in config:
        return False
    if len(facts.outputs) != 1 or len(facts.outputs[0].shape) != 2 or "mean" not in own:
        return False
    _classification(draft, facts.outputs[0], f"timm's {config['architecture']}", several=False)
    draft.decisions.insert(0, _says(draft, f"config.json names timm's {config['architecture']}"))
    sized = [one for one in _list(own.get("input_size")) if isinstance(one, int)]
    size = (sized[2], sized[1]) if len(sized) == 3 else (0, 0)
    crop = str(own.get("crop_mode", "center"))
    draft.take_picture(
        tensor,
        size=size,
        size_from="input_size in config.json",
        fit="stretch" if crop == "squash" else "crop",
        fit_from=f"crop_mode {crop} in config.json",
    )
    if isinstance(own.get("crop_pct"), (int, float)) and draft.input["fit"] == "crop":
        draft.input["crop_fraction"] = float(own["crop_pct"])
        draft.decide("crop_fraction", own["crop_pct"], "crop_pct in config.json")
    _filter(draft, str(own.get("interpolation", "")))
    draft.colour(tensor)
    # timm's figures are for pixels of 0-1.
    mean, std = _figures(own.get("mean"), 255.0), _figures(own.get("std"), 255.0)
    draft.scale(mean=mean, std=std, reason="mean and std in config.json")
    labels = [str(one) for one in _list(own.get("label_names"))]
    draft.name_classes(
        max(facts.outputs[0].shape[1], 0), clean(labels), "label_names in config.json"
    )
    return True


def _says(draft: Draft, reason: str) -> Any:
    from heliograph.registry.importing.values import Decision

    return Decision("task", draft.task, reason)


def _classification(draft: Draft, output: Tensor, kind: str, *, several: bool) -> None:
    draft.task = "classification"
    how = "sigmoid" if several else "softmax"
    why = "problem_type is multi_label" if several else f"{kind} gives logits"
    by_shapes.read_scores(draft, output, how, why)


def _detection(draft: Draft, model_type: str, kind: str) -> None:
    draft.task = "detection"
    how = "sigmoid" if model_type in _SIGMOID else "softmax"
    draft.output.update(decoder="detr", logits="logits", boxes="pred_boxes", activation=how)
    draft.decide("decoder", "detr", f"logits and pred_boxes of {kind}")
    draft.decide(
        "activation",
        how,
        f"{model_type} scores each class on its own"
        if how == "sigmoid"
        else "the last class means no object",
    )


def _features(draft: Draft, outputs: Mapping[str, Tensor]) -> bool:
    """Models that give features: CLIP's vision part, DINO, ViT without a head."""
    whole = [one for one in ("image_embeds", "pooler_output") if one in outputs]
    tokens = outputs.get("last_hidden_state")
    if whole:
        name, pool = whole[0], "none"
    elif tokens is not None and len(tokens.shape) == 3:
        name, pool = tokens.name, "first"
    else:
        return False
    draft.task = "embedding"
    draft.output.update(decoder="embedding", output=name, pool=pool)
    draft.decide("decoder", "embedding", f"{name}: features, no classes")
    return True


def _input(draft: Draft, tensor: Tensor) -> None:
    """The `[input]` table from `preprocessor_config.json`."""
    said = draft.evidence.beside.preprocessor
    target, fraction, shortest = _sizes(said)
    if fraction:
        fit, reason = "crop", "do_center_crop in preprocessor_config.json"
    elif shortest and draft.task == "classification":
        fit, reason = "crop", "shortest_edge in preprocessor_config.json"
    else:
        fit, reason = "stretch", "do_resize to a fixed size in preprocessor_config.json"
    draft.take_picture(
        tensor,
        size=target,
        size_from="size in preprocessor_config.json",
        fit=fit,
        fit_from=reason if said else "nothing beside the model says more",
    )
    if fit == "crop" and fraction < 1.0 and fraction:
        draft.input["crop_fraction"] = fraction
        draft.decide("crop_fraction", f"{fraction:g}", "crop size over resize size")
    if isinstance(said.get("resample"), int):
        _filter(draft, _FILTERS.get(said["resample"], ""))
    draft.colour(tensor)
    mean, std, why = _scaling(said)
    draft.scale(mean=mean, std=std, reason=why)


def _sizes(said: Mapping[str, Any]) -> tuple[tuple[int, int], float, bool]:
    """Width and height; the fraction that a centre crop keeps (0 for none); a shortest edge."""
    size, crop = said.get("size"), said.get("crop_size")
    wide, high, short = _one_size(size)
    if said.get("do_center_crop") and crop is not None:
        across, down, _ = _one_size(crop)
        return (across, down), round(min(1.0, across / wide), 4) if wide else 1.0, bool(short)
    fraction = said.get("crop_pct")
    if short and isinstance(fraction, (int, float)) and 0 < fraction < 1:
        # ConvNeXT resizes the shortest edge to size / crop_pct and cuts size out of it.
        return (wide, high), float(fraction), True
    return (wide, high), 0.0, bool(short)


def _one_size(size: Any) -> tuple[int, int, bool]:
    if isinstance(size, int):
        return size, size, False
    if isinstance(size, Mapping):
        if isinstance(size.get("height"), int) and isinstance(size.get("width"), int):
            return size["width"], size["height"], False
        edge = size.get("shortest_edge")
        if isinstance(edge, int):
            return edge, edge, True
    return 0, 0, False


def _scaling(said: Mapping[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...], str]:
    """`(pixel * rescale - mean) / std` as mean and std on the 0-255 scale."""
    if not said:
        return (), (), ""
    factor = said.get("rescale_factor", 1 / 255) if said.get("do_rescale", True) else 1.0
    one = 1.0 / float(factor) if isinstance(factor, (int, float)) and factor else 255.0
    if not said.get("do_normalize", "image_mean" in said):
        return (0.0,), (one,), "do_rescale without do_normalize in preprocessor_config.json"
    mean, std = _figures(said.get("image_mean"), one), _figures(said.get("image_std"), one)
    return mean, std, "image_mean and image_std in preprocessor_config.json"


def _figures(said: Any, factor: float) -> tuple[float, ...]:
    numbers = said if isinstance(said, list) else [said]
    real = [float(one) for one in numbers if isinstance(one, (int, float))]
    return tuple(round(one * factor, 4) for one in real) if len(real) in {1, 3} else ()


def _filter(draft: Draft, name: str) -> None:
    if name in set(_FILTERS.values()):
        draft.input["resample"] = name
        draft.decide("resample", name, "as the configuration says")


def _names(config: Mapping[str, Any]) -> tuple[str, ...]:
    said = config.get("id2label")
    if not isinstance(said, Mapping):
        return ()
    names: dict[int, str] = {}
    for key, value in said.items():
        if str(key).isdigit() and len(str(key)) < 7 and int(key) < MOST_LABELS:
            names[int(key)] = str(value)
    return clean([names.get(one, "") for one in range(max(names, default=-1) + 1)])


def _list(said: Any) -> list[Any]:
    return said if isinstance(said, list) else []
