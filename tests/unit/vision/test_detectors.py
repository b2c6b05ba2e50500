"""Every detector's decoder: known boxes encoded by hand as the model would, and read back."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx.parser
import pytest
from numpy.typing import NDArray

from heliograph.core.errors import Code, HeliographError
from heliograph.runtimes.base import Plan
from heliograph.runtimes.onnx import OnnxRunner
from heliograph.vision.geometry import Placement, place
from heliograph.vision.nms import iou
from heliograph.vision.picture import Picture, Size
from heliograph.vision.prepare import InputSpec, prepare
from heliograph.vision.tasks import AnyDecoder
from heliograph.vision.tasks.base import Decoder
from heliograph.vision.tasks.detection import DetectionOptions, Detections
from heliograph.vision.tasks.detectors.detr import Detr
from heliograph.vision.tasks.detectors.tf import Ssd, TfDetection
from heliograph.vision.tasks.detectors.torchvision import Torchvision
from heliograph.vision.tasks.detectors.yolo import YoloEnd2End, YoloV3, YoloV5, YoloV8

Array = NDArray[np.float32]
Outputs = dict[str, NDArray[Any]]

LABELS = ("background", "cat", "dog", "", "bird")
CLASSES = len(LABELS)
BOXES = np.array([[300, 200, 420, 330], [150, 120, 380, 470], [430, 60, 500, 190]], np.float32)
SCORES = np.array([0.9, 0.75, 0.6], np.float32)
IDS = np.array([2, 1, 4])
SIZE = Size(640, 480)
PLACEMENTS = {
    "stretch": place(SIZE, Size(320, 320), "stretch"),
    "letterbox": place(SIZE, Size(320, 320), "contain"),
    "corner": place(SIZE, Size(320, 320), "contain", centred=False),
    "crop": place(SIZE, Size(320, 320), "crop", crop_fraction=0.9),
}


def forward(placement: Placement) -> Array:
    """The known boxes in pixels of the model's input: the placement's other way."""
    source, target = placement.source, placement.target
    scale = np.array([target.width / source.width, target.height / source.height] * 2)
    shift = np.array([target.x, target.y] * 2) - np.array([source.x, source.y] * 2) * scale
    return (BOXES * scale + shift).astype(np.float32)


def centres(corners: Array) -> Array:
    low, high = corners[:, :2], corners[:, 2:]
    return np.concatenate([(low + high) / 2, high - low], axis=1)


def fractions(corners: Array, placement: Placement) -> Array:
    return corners / np.array([*placement.input, *placement.input], np.float32)


def logit(scores: Array) -> Array:
    return np.log(scores / (1 - scores))


def table(rows: int, at: NDArray[np.intp]) -> Array:
    """Scores near 0 but for the known objects."""
    scores = np.full((rows, CLASSES), 0.01, np.float32)
    scores[at, IDS] = SCORES
    return scores


def as_tf(placement: Placement) -> Outputs:
    boxes = np.zeros((10, 4), np.float32)
    boxes[:3] = fractions(forward(placement), placement)[:, [1, 0, 3, 2]]
    return {
        "detection_boxes": boxes,
        "detection_scores": np.pad(SCORES, (0, 7), constant_values=0.99),
        "detection_classes": np.pad(IDS, (0, 7), constant_values=1).astype(np.float32),
        "num_detections": np.array(3, np.float32),
    }


def as_ssd(placement: Placement) -> Outputs:
    anchors = Ssd().anchors()
    wanted = fractions(forward(placement), placement)[:, [1, 0, 3, 2]]
    at = iou(wanted, anchors).argmax(axis=1)
    low, high = anchors[at, :2], anchors[at, 2:]
    middles, sides = (wanted[:, :2] + wanted[:, 2:]) / 2, wanted[:, 2:] - wanted[:, :2]
    encodings = np.zeros_like(anchors)
    encodings[at, :2] = (middles - (low + high) / 2) / (high - low) * 10
    encodings[at, 2:] = np.log(sides / (high - low)) * 5
    return {"encodings": encodings, "scores": table(len(anchors), at)}


def as_ssd_logits(placement: Placement) -> Outputs:
    raw = as_ssd(placement)
    return raw | {"scores": logit(raw["scores"])}


def as_yolo_v3(placement: Placement) -> Outputs:
    """Object i in grid i, at its second anchor."""
    raw: Outputs = {}
    for index, (box, cells) in enumerate(
        zip(centres(forward(placement)), (10, 20, 40), strict=True)
    ):
        grid = np.full((3, 5 + CLASSES, cells, cells), -6, np.float32)
        stride = 320 / cells
        column, row = int(box[0] // stride), int(box[1] // stride)
        inside = np.array([box[0] / stride - column, box[1] / stride - row], np.float32)
        sides = np.log(box[2:] / np.array(YoloV3().anchors[index][1], np.float32))
        grid[1, :5, row, column] = [*logit(inside), *sides, 6]
        grid[1, 5 + IDS[index], row, column] = logit(SCORES[index] * (1 + np.exp(np.float32(-6))))
        raw[f"grid{index}"] = grid.reshape(-1, cells, cells)
    return raw


def as_yolo_v3_last(placement: Placement) -> Outputs:
    return {name: grid.transpose(1, 2, 0) for name, grid in as_yolo_v3(placement).items()}


def as_yolo_v5(placement: Placement) -> Outputs:
    values = np.zeros((50, 5 + CLASSES), np.float32)
    at = np.array([7, 20, 33])
    values[at, :4] = centres(forward(placement))
    values[:, 4] = 0.5
    values[at, 4] = 0.95
    values[:, 5:] = table(50, at) / 0.95
    return {"output0": values}


def as_yolo_v8(placement: Placement) -> Outputs:
    at = np.array([7, 20, 33])
    values = np.concatenate([np.zeros((50, 4), np.float32), table(50, at)], axis=1)
    values[at, :4] = centres(forward(placement))
    return {"output0": values.T}


def as_yolo_v8_fractions(placement: Placement) -> Outputs:
    values = as_yolo_v8(placement)["output0"].copy()
    values[:4] /= 320
    return {"output0": values}


def as_yolo_end2end(placement: Placement) -> Outputs:
    values = np.zeros((300, 6), np.float32)
    values[:3] = np.column_stack([forward(placement), SCORES, IDS])
    return {"output0": values}


def as_detr(placement: Placement) -> Outputs:
    at = np.array([1, 5, 8])
    rest = np.full((10, CLASSES + 1), 1e-6, np.float32)
    rest[:, -1] = 1
    rest[at, IDS] = SCORES
    rest[at, -1] = 1 - SCORES
    boxes = np.full((10, 4), 0.5, np.float32)
    boxes[at] = centres(fractions(forward(placement), placement))
    return {"pred_logits": np.log(rest), "pred_boxes": boxes}


def as_rt_detr(placement: Placement) -> Outputs:
    at = np.array([1, 5, 8])
    return {"pred_logits": logit(table(10, at)), "pred_boxes": as_detr(placement)["pred_boxes"]}


def as_torchvision(placement: Placement) -> Outputs:
    return {"boxes": forward(placement), "labels": IDS.astype(np.int64), "scores": SCORES}


CASES: dict[str, tuple[Decoder, Callable[[Placement], Outputs]]] = {
    "tf-detection": (TfDetection(), as_tf),
    "ssd": (Ssd(), as_ssd),
    "ssd-sigmoid": (Ssd(activation="sigmoid"), as_ssd_logits),
    "yolo-v3": (YoloV3(), as_yolo_v3),
    "yolo-v3-nhwc": (YoloV3(layout="NHWC"), as_yolo_v3_last),
    "yolo-v3-named": (YoloV3(outputs=("grid0", "grid1", "grid2")), as_yolo_v3),
    "yolo-v5": (YoloV5(), as_yolo_v5),
    "yolo-v8": (YoloV8(), as_yolo_v8),
    "yolo-v8-fractions": (YoloV8(normalised=True), as_yolo_v8_fractions),
    "yolo-end2end": (YoloEnd2End(), as_yolo_end2end),
    "detr": (Detr(), as_detr),
    "rt-detr": (Detr(activation="sigmoid"), as_rt_detr),
    "torchvision": (Torchvision(), as_torchvision),
}


def decode(decoder: Decoder, raw: Outputs, placement: Placement, **asked: Any) -> Detections:
    answer = decoder.decode(raw, placement, LABELS, DetectionOptions(**asked))
    assert isinstance(answer, Detections)
    return answer


@pytest.mark.parametrize("fit", PLACEMENTS)
@pytest.mark.parametrize("case", CASES)
def test_known_boxes_come_back(case: str, fit: str) -> None:
    decoder, encode = CASES[case]
    answer = decode(decoder, encode(PLACEMENTS[fit]), PLACEMENTS[fit], min_score=0.1)
    np.testing.assert_allclose(answer.boxes, BOXES, atol=0.05)
    np.testing.assert_allclose(answer.scores, SCORES, atol=1e-3)
    assert answer.class_ids.tolist() == IDS.tolist()
    assert answer.labels == ("dog", "cat", "bird")


@pytest.mark.parametrize("case", CASES)
def test_the_caller_narrows_the_answer(case: str) -> None:
    decoder, encode = CASES[case]
    placement = PLACEMENTS["letterbox"]
    raw = encode(placement)
    assert decode(decoder, raw, placement, min_score=0.7).labels == ("dog", "cat")
    assert decode(decoder, raw, placement, min_score=0.1, top_k=1).labels == ("dog",)
    assert decode(decoder, raw, placement, min_score=0.99).boxes.shape == (0, 4)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize("case", CASES)
def test_numbers_that_are_none_never_reach_the_answer(case: str, bad: float) -> None:
    decoder, encode = CASES[case]
    placement = PLACEMENTS["letterbox"]
    clean = encode(placement)
    random = np.random.default_rng(3)
    for share, least in product((0.05, 0.5, 1), (0.0, 0.5)):
        raw: Outputs = {
            name: np.where(random.random(array.shape) < share, bad, array)
            for name, array in clean.items()
        }
        answer = decode(decoder, raw, placement, min_score=least)
        assert np.isfinite(answer.boxes).all()
        assert ((answer.scores >= 0) & (answer.scores <= 1)).all()
        assert (answer.boxes >= 0).all()
        assert (answer.boxes <= np.array([*SIZE, *SIZE])).all()
        assert (answer.boxes[:, 2:] > answer.boxes[:, :2]).all()


@pytest.mark.parametrize("case", CASES)
def test_outputs_of_another_shape_are_refused(case: str) -> None:
    decoder, encode = CASES[case]
    raw = encode(PLACEMENTS["stretch"])
    for name, array in raw.items():
        if array.ndim:
            with pytest.raises(HeliographError) as caught:
                decode(decoder, raw | {name: array[..., None]}, PLACEMENTS["stretch"])
            assert caught.value.code == Code.BAD_SHAPE


@pytest.mark.parametrize(
    ("decoder", "raw"),
    [
        (YoloV3(), {"one": np.zeros((30, 4, 4))}),
        (YoloV3(anchors=(((1, 1), (2, 2)),)), {"one": np.zeros((31, 4, 4))}),
        (YoloV3(anchors=(((1, 1), (2, 2)),)), {"one": np.zeros((10, 4, 4))}),
        (YoloV5(), {"one": np.zeros((9, 5))}),
        (YoloV8(), {"one": np.zeros((4, 9))}),
        (YoloEnd2End(), {"one": np.zeros((300, 7))}),
        (Ssd(), {"encodings": np.zeros((10, 4)), "scores": np.zeros((10, 91))}),
        (Ssd(), {"encodings": np.zeros((1917, 4)), "scores": np.zeros((10, 91))}),
        (Ssd(), {"encodings": np.zeros((1917, 4)), "scores": np.zeros((1917, 1))}),
        (Detr(), {"pred_logits": np.zeros((9, 5)), "pred_boxes": np.zeros((8, 4))}),
        (Detr(), {"pred_logits": np.zeros((8, 1)), "pred_boxes": np.zeros((8, 4))}),
        (Torchvision(), {"boxes": np.zeros((2, 4)), "labels": np.zeros(2), "scores": np.zeros(3)}),
    ],
)
def test_outputs_that_do_not_fit_together_are_refused(decoder: Decoder, raw: Outputs) -> None:
    with pytest.raises(HeliographError, match=r"expected .*, got ") as caught:
        decode(decoder, raw, PLACEMENTS["stretch"])
    assert caught.value.code == Code.BAD_SHAPE


def test_background_is_no_object() -> None:
    placement = PLACEMENTS["stretch"]
    raw = as_ssd(placement)
    raw["scores"][:, 0] = 0.99
    assert decode(Ssd(), raw, placement).labels == ("dog", "cat", "bird")
    zero = as_torchvision(placement) | {"labels": np.array([0, 1, 2])}
    assert decode(Torchvision(), zero, placement).labels == ("cat", "dog")
    assert decode(Torchvision(first_class=0), zero, placement).labels[0] == "background"


def test_a_class_without_a_name_is_its_number() -> None:
    raw = as_torchvision(PLACEMENTS["stretch"]) | {"labels": np.array([3, 99, 1])}
    assert decode(Torchvision(), raw, PLACEMENTS["stretch"]).labels == ("3", "99", "cat")


def test_nothing_found() -> None:
    raw: Outputs = {"boxes": np.zeros((0, 4)), "labels": np.zeros(0), "scores": np.zeros(0)}
    answer = decode(Torchvision(), raw, PLACEMENTS["stretch"])
    assert answer.predictions() == []


def test_overlaps_follow_the_model_unless_the_caller_says() -> None:
    placement = PLACEMENTS["stretch"]
    twice = np.array([[10, 10, 110, 110], [20, 10, 120, 110]], np.float32)  # IoU 0.82
    rows = np.column_stack([twice, [0.9, 0.8], [1, 1]]).astype(np.float32)
    raw: Outputs = {"output0": rows}
    assert len(decode(YoloEnd2End(), raw, placement).labels) == 2
    assert len(decode(YoloEnd2End(), raw, placement, iou=0.5).labels) == 1
    v8: Outputs = {"output0": np.column_stack([centres(twice), [0.9, 0.8]]).T}
    assert len(decode(YoloV8(), v8, placement).labels) == 1
    assert len(decode(YoloV8(), v8, placement, iou=0.9).labels) == 2


def test_boxes_in_the_padding_are_dropped_and_those_across_it_clipped() -> None:
    placement = PLACEMENTS["letterbox"]
    boxes = np.array([[0, 0, 320, 30], [-50, 20, 100, 400]], np.float32)
    raw: Outputs = {"boxes": boxes, "labels": np.array([1, 2]), "scores": np.array([0.9, 0.8])}
    answer = decode(Torchvision(), raw, placement)
    assert answer.labels == ("dog",)
    np.testing.assert_allclose(answer.boxes, [[0, 0, 200, 480]])


def test_anchors_are_computed_once_and_cannot_be_changed() -> None:
    assert Ssd().anchors() is Ssd().anchors()
    assert not Ssd().anchors().flags.writeable
    assert len(Ssd(grids=(4, 2)).anchors()) == 4 * 4 * 3 + 2 * 2 * 6


@pytest.mark.parametrize("case", CASES)
def test_a_model_toml_names_the_decoder_by_its_tag(case: str) -> None:
    decoder, _ = CASES[case]
    plain = msgspec.to_builtins(decoder)
    assert case.startswith(plain["decoder"]) or case == "rt-detr"
    assert msgspec.convert(plain, AnyDecoder) == decoder
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(plain | {"colour": "red"}, AnyDecoder)


TINY = """
<ir_version: 8, opset_import: ["": 13]>
tiny (float[1, 3, 64, 64] images) => (float[1, 5, 16] output0) {{
    grey = ReduceMean<axes = [1], keepdims = 1>(images)
    cells = AveragePool<kernel_shape = [16, 16], strides = [16, 16]>(grey)
    shape = Constant<value = int64[3] {{1, 1, 16}}>()
    scores = Reshape(cells, shape)
    boxes = Constant<value = float[1, 4, 16] {{{boxes}}}>()
    output0 = Concat<axis = 1>(boxes, scores)
}}
"""


def test_a_real_model_through_a_real_runtime(tmp_path: Path) -> None:
    """A YOLOv8-shaped model that finds what is bright, on a letterboxed picture."""
    rows, columns = np.divmod(np.arange(16), 4)
    boxes = np.stack([columns * 16 + 8, rows * 16 + 8, np.full(16, 16), np.full(16, 16)])
    text = TINY.format(boxes=", ".join(f"{value:.1f}" for value in boxes.ravel()))
    path = tmp_path / "tiny.onnx"
    path.write_bytes(onnx.parser.parse_model(text).SerializeToString())
    pixels = np.zeros((64, 128, 3), np.uint8)
    pixels[32:64, 64:96] = 255
    spec = InputSpec(width=64, height=64, fit="contain", std=(255,))
    tensor, placement = prepare(Picture(pixels, Size(128, 64), "png"), spec)
    outputs = OnnxRunner(path, Plan("onnx")).run({"images": tensor[None]})
    raw = {name: array[0] for name, array in outputs.items()}
    answer = YoloV8().decode(raw, placement, ("light",), DetectionOptions())
    assert answer.labels == ("light",)
    np.testing.assert_allclose(answer.boxes, [[64, 32, 96, 64]], atol=1e-3)
